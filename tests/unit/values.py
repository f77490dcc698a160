"""Values for tests of plain functions: a payment of Rp 100,000 with one open page, and what may stand on it."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Observation, Payment, Signal
from payments_core.limits import UNKNOWN_SCHEDULE
from payments_core.payment import AttemptState, Case, CaseDecision, Charge, Closed, ClosedAs, Refund, RefundState
from payments_core.states import CaseKind, ChargeState
from payments_core.testing import samples
from payments_core.testing.samples import LATER, NOW
from unit.world import rupiah

PAGE = samples.payment()
WHOLE = 10_000_000


def charge(state: ChargeState = ChargeState.SETTLED, transaction_id: str = "tx", **more: object) -> Charge:
    """A good try on the first page; captured and settled took the whole."""
    taken = WHOLE if state in (ChargeState.CAPTURED, ChargeState.SETTLED) else 0
    held = WHOLE if state is ChargeState.AUTHORIZED else 0
    values = {
        "attempt": 1,
        "amount": rupiah(100_000),
        "authorized_minor": held,
        "captured_minor": taken,
        "had_money": bool(taken or held),
        "method": "qris",
        **more,
    }
    return Charge(transaction_id=transaction_id, state=state, **values)  # type: ignore[arg-type]


def refund(state: RefundState = RefundState.REQUESTED, by: str = "operator:bob", **more: object) -> Refund:
    """Rp 40,000 of the try `tx` on their way back."""
    values = {"key": "k-1", "transaction_id": "tx", "amount": rupiah(40_000), "at": NOW, "reason": "torn", **more}
    return Refund(state=state, by=by, **values)  # type: ignore[arg-type]


def case(kind: CaseKind = CaseKind.OVERDRAWN, **more: object) -> Case:
    """The first case, about the try `tx`."""
    values = {"number": 1, "transaction_id": "tx", "opened_at": NOW, **more}
    return Case(kind=kind, **values)  # type: ignore[arg-type]


def with_page(payment: Payment, **changes: object) -> Payment:
    """The payment with its first page changed."""
    return payment.with_attempt(attrs.evolve(payment.attempt(1), **changes))


def with_cases(payment: Payment, *cases: Case) -> Payment:
    """The payment with these cases and no other."""
    return attrs.evolve(payment, cases=cases)


def kinds(payment: Payment) -> list[str]:
    """Of its open cases."""
    return [one.kind.value for one in payment.open_cases]


def says(meaning: Signal, transaction_id: str = "tx", **more: object) -> Observation:
    """A message of the gateway about a try on the first page."""
    values = {
        "provider": "midtrans",
        "provider_order_id": PAGE.attempt(1).provider_order_id,
        "transaction_id": transaction_id,
        "meaning": meaning,
        "amount": rupiah(100_000),
        **more,
    }
    return Observation(**values)  # type: ignore[arg-type]


DEAD = with_page(PAGE, state=AttemptState.DEAD, proof="closed")
SPENT = with_page(PAGE, state=AttemptState.SPENT)
HELD = PAGE.with_charge(charge(ChargeState.AUTHORIZED))
PAID = attrs.evolve(SPENT.with_charge(charge()), paid_by="tx", paid_at=NOW)
UNPAID = attrs.evolve(PAID, paid_by=None, paid_at=None)
EXPIRED = attrs.evolve(DEAD, closed=Closed(ClosedAs.EXPIRED, NOW, "deadline"))
CANCELLED = attrs.evolve(DEAD, closed=Closed(ClosedAs.CANCELLED, NOW, "bob"))
REVERSAL = case(CaseKind.REVERSED)
DISMISSED = case(
    CaseKind.REVERSED, decision=CaseDecision.DISMISS, decided_by="bob", decided_at=LATER, evidence={"stock": "released"}
)


_OVER = sum(UNKNOWN_SCHEDULE, timedelta(0))
SENT_ENOUGH = pytest.mark.parametrize(
    ("checks", "age", "sent"),
    [
        (len(UNKNOWN_SCHEDULE) + 1, _OVER, 0),
        (len(UNKNOWN_SCHEDULE), _OVER, 1),
        (len(UNKNOWN_SCHEDULE) + 1, _OVER - timedelta(seconds=1), 1),
    ],
)
"""Looks there were, how long ago it was asked for, and whether it is sent once more: both ends have to be reached."""
