"""The status of a payment: each row of the fold, and which row wins."""

import attrs
import pytest

from payments_core import PaymentStatus, Signal, order_status, status
from payments_core.payment import AttemptState, Charge, Closed, ClosedAs, CloseReason, Payment
from payments_core.states import CaseKind, ChargeState
from payments_core.status import STATUS_ROWS, status_row
from unit.world import World


async def paid(world: World) -> Payment:
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED))
    return world.payment


def with_charge(payment: Payment, **changes: object) -> Payment:
    (charge,) = payment.charges
    return payment.with_charge(attrs.evolve(charge, **changes))


def said(payment: Payment) -> tuple[int, str, str]:
    return status_row(payment).number, status(payment).value, order_status(payment).value


def test_the_rows_are_numbered_and_the_last_always_holds() -> None:
    assert [row.number for row in STATUS_ROWS] == [*range(1, 11)]
    assert {row.status for row in STATUS_ROWS} == set(PaymentStatus)


async def test_row_1_charged_back_whole(world: World) -> None:
    payment = with_charge(await paid(world), charged_back_minor=10_000_000)
    assert said(payment) == (1, "charged_back", "paid")


async def test_row_1_refunded_in_part_and_the_rest_charged_back(world: World) -> None:
    payment = with_charge(await paid(world), refunded_minor=4_000_000, charged_back_minor=6_000_000)
    assert said(payment) == (1, "charged_back", "paid")


async def test_rows_1_and_2_are_exact_to_the_minor_unit(world: World) -> None:
    payment = await paid(world)
    assert said(with_charge(payment, refunded_minor=9_999_999, charged_back_minor=1))[0] == 1
    assert said(with_charge(payment, charged_back_minor=9_999_999))[0] == 3
    assert said(with_charge(payment, refunded_minor=9_999_999))[0] == 3
    one = with_charge(payment, captured_minor=1, refunded_minor=1)
    assert said(one)[0] == 2


async def test_row_2_needs_money_that_was_taken(world: World) -> None:
    """A gateway that captures nothing has refunded nothing."""
    assert said(with_charge(await paid(world), captured_minor=0))[0] == 4


async def test_row_2_refunded_whole(world: World) -> None:
    assert said(with_charge(await paid(world), refunded_minor=10_000_000)) == (2, "refunded", "refunded")


@pytest.mark.parametrize(
    "given_back",
    [{"refunded_minor": 1}, {"charged_back_minor": 1}, {"charged_back_unknown": True}],
    ids=["refunded", "charged back", "charged back by an unknown amount"],
)
async def test_row_3_given_back_in_part(world: World, given_back: dict[str, object]) -> None:
    payment = with_charge(await paid(world), **given_back)
    assert said(payment) == (3, "partially_refunded", "partially_refunded")


async def test_row_4_a_keeping_charge(world: World) -> None:
    assert said(await paid(world)) == (4, "success", "paid")


async def test_row_5_money_is_held(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.AUTHORIZED, method="card"))
    assert said(world.payment) == (5, "authorized", "pending")


async def test_row_5_needs_a_good_charge(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.AUTHORIZED, method="card"))
    payment = with_charge(world.payment, faults=frozenset({CaseKind.AMOUNT_MISMATCH}))
    assert said(payment) == (7, "pending", "pending")


@pytest.mark.parametrize("signal", [Signal.PENDING, Signal.CHALLENGED])
async def test_row_6_a_try_is_on_its_way(world: World, signal: Signal) -> None:
    await world.opened()
    await world.hear(world.tries(signal, method="card"))
    assert said(world.payment) == (6, "processing", "pending")


async def test_row_6_is_not_a_pending_try_on_a_dead_page(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.PENDING))
    page = attrs.evolve(world.payment.attempt(1), state=AttemptState.DEAD)
    assert said(world.payment.with_attempt(page)) == (10, "failed", "pending")


@pytest.mark.parametrize("state", ["opening", "open", "closing"])
async def test_row_7_a_page_that_may_be_paid(world: World, state: str) -> None:
    await world.opened()
    page = attrs.evolve(world.payment.attempt(1), state=AttemptState(state))
    assert said(world.payment.with_attempt(page)) == (7, "pending", "pending")


async def test_row_7_after_any_number_of_declines(world: World) -> None:
    await world.opened()
    for _ in range(5):
        await world.hear(world.tries(Signal.DENIED, method="card"))
    assert said(world.payment) == (7, "pending", "pending")
    decline = world.payment.last_decline
    assert decline is not None
    assert (decline.code, decline.method) == ("denied", "card")


@pytest.mark.parametrize(
    ("kind", "row"),
    [(ClosedAs.CANCELLED, (8, "cancelled", "cancelled")), (ClosedAs.EXPIRED, (9, "expired", "cancelled"))],
)
async def test_rows_8_and_9_given_up(world: World, kind: ClosedAs, row: tuple[int, str, str]) -> None:
    await world.opened()
    page = attrs.evolve(world.payment.attempt(1), state=AttemptState.DEAD, closing=CloseReason(kind.value))
    closed = attrs.evolve(world.payment.with_attempt(page), closed=Closed(kind, world.clock.now(), "somebody"))
    assert said(closed) == row
    assert STATUS_ROWS[row[0] - 1].holds(closed)
    assert not STATUS_ROWS[16 - row[0]].holds(closed), "the other of the two does not"


async def test_row_10_every_page_is_dead(world: World) -> None:
    await world.opened()
    page = attrs.evolve(world.payment.attempt(1), state=AttemptState.DEAD)
    assert said(world.payment.with_attempt(page)) == (10, "failed", "pending")


async def test_a_keeping_charge_outranks_a_hold_and_an_open_page(world: World) -> None:
    payment = await paid(world)
    held = Charge(transaction_id="other", attempt=1, state=ChargeState.AUTHORIZED, amount=payment.amount)
    assert said(payment.with_charge(held)) == (4, "success", "paid")


async def test_a_decline_is_no_longer_told_once_a_charge_has_paid(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.DENIED, method="card"))
    await world.hear(world.tries(Signal.SETTLED, method="card"))
    assert world.payment.last_decline is None
