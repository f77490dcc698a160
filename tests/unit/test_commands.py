"""What became necessary between two values of one payment: asked for once, by whoever saved the change."""

import attrs
import pytest

from payments_core.commands import AskPage, CancelCharge, ClosePage, SendRefund, commands_between
from payments_core.payment import AttemptState, ChargeDue, CloseReason, Payment
from payments_core.states import ChargeState
from unit.values import DEAD, PAGE, PAID, charge, refund, with_page

ID = PAGE.payment_id
BLANK = attrs.evolve(PAGE, attempts=())
DOUBTED = with_page(PAGE, doubt=CloseReason.EXPIRED)
CLOSING = with_page(PAGE, state=AttemptState.CLOSING, closing=CloseReason.EXPIRED)
CANCELLING = PAGE.with_charge(charge(ChargeState.PENDING, due=ChargeDue.CANCEL))
RETURNING = PAID.with_refund(refund(case=1))


@pytest.mark.parametrize(
    ("before", "after", "commands"),
    [
        (PAGE, DOUBTED, [AskPage(ID, 1)]),
        (BLANK, DOUBTED, [AskPage(ID, 1)]),
        (PAGE, CLOSING, [ClosePage(ID, 1)]),
        (BLANK, CLOSING, [ClosePage(ID, 1)]),
        (CLOSING, with_page(CLOSING, closing=CloseReason.PAID), [ClosePage(ID, 1)]),
        (PAGE, CANCELLING, [CancelCharge(ID, "tx")]),
        (PAGE.with_charge(charge(ChargeState.PENDING, due=ChargeDue.RECHECK)), CANCELLING, [CancelCharge(ID, "tx")]),
        (PAID, RETURNING, [SendRefund(ID, "k-1")]),
    ],
)
def test_what_became_necessary_is_asked_for(before: Payment, after: Payment, commands: list[object]) -> None:
    assert [*commands_between(before, after)] == commands
    assert [*commands_between(None, after)] == commands, "a payment stored for the first time needs the same"


@pytest.mark.parametrize("payment", [BLANK, PAGE, DOUBTED, CLOSING, CANCELLING, PAID, RETURNING])
def test_what_was_necessary_before_is_not_asked_for_again(payment: Payment) -> None:
    """Its row is due on its own."""
    assert [*commands_between(payment, payment)] == []


@pytest.mark.parametrize(
    "after",
    [
        PAGE,
        DEAD,
        with_page(DEAD, closing=CloseReason.EXPIRED),
        PAGE.with_charge(charge(ChargeState.PENDING, due=ChargeDue.RECHECK)),
        PAID.with_refund(refund()),
    ],
)
def test_nothing_else_is_necessary(after: Payment) -> None:
    """A refund somebody asked for is sent by that very request."""
    assert [*commands_between(None, after)] == []


def test_all_of_it_at_once() -> None:
    payment = CLOSING.with_charge(charge(ChargeState.PENDING, due=ChargeDue.CANCEL)).with_refund(refund(case=1))
    payment = with_page(payment, doubt=CloseReason.EXPIRED)
    assert [*commands_between(None, payment)] == [
        AskPage(ID, 1),
        ClosePage(ID, 1),
        CancelCharge(ID, "tx"),
        SendRefund(ID, "k-1"),
    ]
