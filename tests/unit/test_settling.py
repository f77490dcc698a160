"""What a change of a payment means for its order, on values alone."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Payment, order_effect, settle_stock, status, wants_stock
from payments_core.orders import OrderStatus, StockMove
from payments_core.ports import OrderEffect
from payments_core.testing.samples import LATER
from unit.values import (
    CANCELLED,
    DEAD,
    DISMISSED,
    EXPIRED,
    PAGE,
    PAID,
    REVERSAL,
    SPENT,
    UNPAID,
    WHOLE,
    charge,
    kinds,
    with_cases,
)

CONSUMED, RELEASED = StockMove.CONSUMED, StockMove.RELEASED
LATE = EXPIRED.with_charge(charge())
RELEASED_BEFORE, PAID_AGAIN = with_cases(UNPAID, DISMISSED), with_cases(PAID, DISMISSED)
TOMORROW = LATER + timedelta(days=1)


def effect(status: OrderStatus, move: StockMove | None, **more: bool) -> OrderEffect:
    return OrderEffect("o-1", status, move, **more)


# ── what a change does to the order ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("before", "after", "does"),
    [
        (PAGE, PAGE, None),
        (None, PAGE, None),
        (PAGE, DEAD, None),
        (SPENT, PAID, effect(OrderStatus.PAID, CONSUMED)),
        (None, PAID, effect(OrderStatus.PAID, CONSUMED)),
        (PAID, PAID.with_charge(charge(refunded_minor=1)), effect(OrderStatus.PARTIALLY_REFUNDED, None)),
        (PAID, PAID.with_charge(charge(refunded_minor=WHOLE)), effect(OrderStatus.REFUNDED, None)),
        (SPENT, PAID.with_charge(charge(refunded_minor=WHOLE)), effect(OrderStatus.REFUNDED, CONSUMED)),
        (PAID, UNPAID, effect(OrderStatus.PENDING, None)),
        (DEAD, EXPIRED, effect(OrderStatus.CANCELLED, RELEASED, expired=True)),
        (None, EXPIRED, effect(OrderStatus.CANCELLED, RELEASED, expired=True)),
        (DEAD, CANCELLED, effect(OrderStatus.CANCELLED, RELEASED)),
        (EXPIRED, EXPIRED, None),
        (CANCELLED, EXPIRED, None),
        (
            with_cases(DEAD, REVERSAL),
            with_cases(DEAD, DISMISSED),
            effect(OrderStatus.PENDING, RELEASED, also_consumed=True),
        ),
        (with_cases(DEAD, DISMISSED), with_cases(DEAD, DISMISSED), None),
        (with_cases(UNPAID, DISMISSED), with_cases(PAID, DISMISSED), effect(OrderStatus.PAID, CONSUMED)),
        (
            with_cases(PAID, DISMISSED),
            attrs.evolve(with_cases(PAID, DISMISSED), reserved_at=LATER),
            effect(OrderStatus.PAID, CONSUMED),
        ),
        (with_cases(UNPAID, DISMISSED), attrs.evolve(with_cases(UNPAID, DISMISSED), reserved_at=LATER), None),
    ],
)
def test_stock_and_order_follow_the_table(before: Payment | None, after: Payment, does: OrderEffect | None) -> None:
    assert order_effect(before, after) == does


# ── stock that has to be had first ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("before", "after", "wants"),
    [
        (EXPIRED, LATE, True),
        (None, LATE, True),
        (DEAD, LATE, False),
        (with_cases(DEAD, DISMISSED), with_cases(LATE, DISMISSED), True),
        (RELEASED_BEFORE, PAID_AGAIN, True),
        (PAID_AGAIN, PAID_AGAIN, False),
        (None, PAID_AGAIN, False),
        (RELEASED_BEFORE, attrs.evolve(PAID_AGAIN, reserved_at=LATER), False),
        (RELEASED_BEFORE, RELEASED_BEFORE, False),
        (SPENT, PAID, False),
        (PAGE, PAGE, False),
    ],
)
def test_only_money_that_comes_when_the_units_are_gone_asks_for_them(
    before: Payment | None, after: Payment, wants: bool
) -> None:
    """What was to be released with this very change is still there."""
    assert wants_stock(before, after) is wants
    if not wants and after.closed is None:
        assert settle_stock(before, after, reserved=False, now=TOMORROW) is after


def test_late_money_pays_with_the_units_it_has_got_and_is_a_case_without() -> None:
    paid = settle_stock(EXPIRED, LATE, reserved=True, now=TOMORROW)
    assert (status(paid).value, paid.closed, paid.reserved_at) == ("success", None, TOMORROW)
    assert order_effect(EXPIRED, paid) == effect(OrderStatus.PAID, CONSUMED)
    left = settle_stock(EXPIRED, LATE, reserved=False, now=TOMORROW)
    assert (status(left).value, left.closed, kinds(left)) == ("expired", EXPIRED.closed, ["late_payment"])
    assert order_effect(EXPIRED, left) is None


def test_money_that_comes_with_the_end_of_its_order_pays_with_the_units_it_still_has() -> None:
    paid = settle_stock(DEAD, LATE, reserved=False, now=TOMORROW)
    assert (status(paid).value, paid.closed) == ("success", None)


def test_money_after_a_dismissed_reversal_keeps_its_charge_and_is_a_case_without_units() -> None:
    had = settle_stock(RELEASED_BEFORE, PAID_AGAIN, reserved=True, now=TOMORROW)
    assert (had.paid_by, had.reserved_at, len(had.open_cases)) == ("tx", TOMORROW, 0)
    gone = settle_stock(RELEASED_BEFORE, PAID_AGAIN, reserved=False, now=TOMORROW)
    assert (gone.paid_by, gone.reserved_at, kinds(gone)[-1]) == ("tx", PAID_AGAIN.reserved_at, "late_payment")
