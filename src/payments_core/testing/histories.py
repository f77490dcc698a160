"""What one transaction can live through at a gateway: the legal histories that laws are explored over.

**Source**: the moves of a Midtrans transaction, a settlement after an expiry included; other gateways know fewer.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from payments_core.states import Signal

__all__ = ["FIRST", "LEGAL", "histories"]

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


def histories(steps_max: int) -> Iterator[tuple[Signal, ...]]:
    """Every legal history of one to `steps_max` words, a history before its continuations."""

    def grow(history: tuple[Signal, ...]) -> Iterator[tuple[Signal, ...]]:
        yield history
        if len(history) < steps_max:
            for following in LEGAL[history[-1]]:
                yield from grow((*history, following))

    for first in FIRST:
        yield from grow((first,))
