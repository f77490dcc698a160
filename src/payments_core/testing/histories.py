"""What one transaction can live through at a gateway: the legal histories that laws are explored over.

**Source**: the moves of a Midtrans transaction, a settlement after an expiry included; other gateways know fewer.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import attrs

from payments_core.states import Signal

__all__ = ["FIRST", "LEGAL", "PARTS", "STEPS", "Step", "histories"]

FIRST = (Signal.PENDING, Signal.CHALLENGED, Signal.AUTHORIZED, Signal.CAPTURED, Signal.SETTLED, Signal.DENIED)
"""What the first word of a transaction may be."""

LEGAL: Mapping[Signal, tuple[Signal, ...]] = MappingProxyType(
    {
        Signal.PENDING: (
            Signal.AUTHORIZED,
            Signal.CAPTURED,
            Signal.SETTLED,
            Signal.DENIED,
            Signal.EXPIRED,
            Signal.CANCELLED,
        ),
        Signal.CHALLENGED: (Signal.CAPTURED, Signal.DENIED, Signal.CANCELLED),
        Signal.AUTHORIZED: (Signal.CAPTURED, Signal.CANCELLED, Signal.EXPIRED),
        Signal.CAPTURED: (Signal.SETTLED, Signal.CANCELLED),
        Signal.SETTLED: (Signal.DENIED,),
        Signal.EXPIRED: (Signal.SETTLED,),
        Signal.DENIED: (),
        Signal.CANCELLED: (),
    }
)
"""The words that may follow a word; none where the transaction has ended for good."""


PARTS = 4
"""Into how many parts the money of a charge is divided when some of it is given back."""


@attrs.frozen
class Step:
    """One state of a transaction, and how many `PARTS` of its money were given back by then, in all."""

    word: Signal
    refunded: int = 0
    charged_back: int = 0

    @property
    def following(self) -> "tuple[Step, ...]":
        """What may come next; where money was given back already, only more of the same."""
        back = _GIVEN_BACK.get(self, ())
        return back if self.refunded or self.charged_back else (*(Step(word) for word in LEGAL[self.word]), *back)


_SETTLED = Step(Signal.SETTLED)
_REFUNDED_SOME, _REFUNDED_MORE, _REFUNDED = (Step(Signal.SETTLED, refunded=parts) for parts in (1, 2, PARTS))
_CHARGED_BACK_SOME, _CHARGED_BACK = (Step(Signal.SETTLED, charged_back=parts) for parts in (1, PARTS))
_GIVEN_BACK: Mapping[Step, tuple[Step, ...]] = {
    _SETTLED: (_REFUNDED_SOME, _REFUNDED, _CHARGED_BACK_SOME, _CHARGED_BACK),
    _REFUNDED_SOME: (_REFUNDED_MORE, _REFUNDED),
    _REFUNDED_MORE: (_REFUNDED,),
    _CHARGED_BACK_SOME: (_CHARGED_BACK,),
}

STEPS = (*(Step(word) for word in Signal), *dict.fromkeys(step for back in _GIVEN_BACK.values() for step in back))
"""Every step there is."""


def histories(steps_max: int) -> Iterator[tuple[Step, ...]]:
    """Every legal history of one to `steps_max` steps, a history before its continuations."""

    def grow(history: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
        yield history
        if len(history) < steps_max:
            for following in history[-1].following:
                yield from grow((*history, following))

    for first in FIRST:
        yield from grow((Step(first),))
