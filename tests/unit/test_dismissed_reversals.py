"""A reversal that a person dismissed: the stock it held is free, and is reserved once more when the order is paid."""

import asyncio
from datetime import datetime, timedelta

import attrs
import pytest

from payments_core import LatePayment, Policy, Reading, Signal
from payments_core.errors import Conflict
from payments_core.payment import AttemptState, CaseDecision, CloseReason
from payments_core_memory import MemoryOrders
from unit.world import World, decide


async def reversed_payment(world: World) -> str:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.DENIED)
    await world.hear(transaction)
    assert world.cases == ["reversed"]
    assert world.stock == 8, "goods may have left"
    world.clock.move(timedelta(minutes=1))
    return transaction


async def test_a_dismissed_reversal_gives_stock_back_and_lets_the_order_be_paid_again(world: World) -> None:
    await reversed_payment(world)
    with pytest.raises(Conflict) as refused:
        await world.click()
    assert refused.value.code == "needs_review"
    await decide(world, CaseDecision.DISMISS)
    assert world.stock == 10
    assert world.payment.deadline_at == world.clock.now() + world.policy.expiry
    world.clock.move(timedelta(minutes=1))
    paying = await world.click()
    assert (paying.created, world.stock) == (True, 8)
    await world.hear(world.tries(Signal.SETTLED))
    assert (world.status.value, world.stock) == ("success", 8)
    moves = [kind for kind in world.history if kind.startswith("stock.")]
    assert moves == ["stock.reserved", "stock.consumed", "stock.released", "stock.reserved", "stock.consumed"]


async def test_a_reversal_dismissed_after_another_charge_paid_moves_no_stock(world: World) -> None:
    """The stock is that charge's by now."""
    await world.opened()
    first, second = world.tries(Signal.SETTLED), world.tries(Signal.SETTLED, method="card")
    await world.hear(first)
    await world.hear(second)
    world.gateway.becomes(first, Signal.DENIED)
    await world.hear(first)
    assert world.payment.paid_by == second
    world.clock.move(timedelta(minutes=1))
    number = next(case.number for case in world.payment.open_cases if case.kind.value == "reversed")
    await decide(world, CaseDecision.DISMISS, number)
    assert (world.status.value, world.stock) == ("success", 8)
    assert "stock.released" not in world.history


async def test_a_dismissed_reversal_whose_goods_are_gone_is_out_of_stock(world: World) -> None:
    await reversed_payment(world)
    await decide(world, CaseDecision.DISMISS)
    world.order("o-2", units=10)
    with pytest.raises(Conflict) as refused:
        await world.click()
    assert refused.value.code == "out_of_stock"


async def test_a_dismissed_reversal_nobody_pays_is_given_up(world: World) -> None:
    await reversed_payment(world)
    await decide(world, CaseDecision.DISMISS)
    await world.pass_time(timedelta(hours=26))
    assert (world.status.value, world.stock) == ("expired", 10)


@pytest.fixture
def asked_again(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every order whose units were asked for again."""
    asked: list[str] = []
    reserve_again = MemoryOrders.reserve_again

    async def noted(book: MemoryOrders, order_id: str, now: datetime) -> bool:
        asked.append(order_id)
        return await reserve_again(book, order_id, now)

    monkeypatch.setattr(MemoryOrders, "reserve_again", noted)
    return asked


ONCE = ["stock.reserved", "stock.consumed", "stock.released", "stock.reserved", "stock.consumed"]
"""What became of the units of an order that was paid, given back, and paid again."""


async def test_late_money_that_is_accepted_after_a_dismissed_reversal_reserves_its_stock_once(
    world: World, asked_again: list[str]
) -> None:
    """Found by thirty thousand worlds: both the decision and the save reserved, and two units were nobody's."""
    await world.opened()
    expired = world.tries(Signal.EXPIRED, method="card")
    await world.hear(expired)
    first = world.tries(Signal.SETTLED)
    await world.hear(first)
    world.gateway.becomes(first, Signal.DENIED)
    await world.hear(first)
    world.clock.move(timedelta(minutes=1))
    await decide(world, CaseDecision.DISMISS)
    await world.service.operate.cancel(world.payment.payment_id, actor="operator:olga")
    await world.do_errands()
    assert (world.status.value, world.stock) == ("cancelled", 10)
    world.gateway.becomes(expired, Signal.SETTLED)
    await world.hear(expired)
    assert world.cases == ["late_payment"]
    await decide(world, CaseDecision.ACCEPT, world.payment.open_cases[0].number)
    assert (world.status.value, world.stock) == ("success", 8)
    assert [kind for kind in world.history if kind.startswith("stock.")] == ONCE
    assert asked_again == ["o-1"]


async def test_money_that_comes_back_for_goods_that_are_gone_is_accepted_once_they_can_be_had(
    world: World, asked_again: list[str]
) -> None:
    """The order is paid all the time, and published so once for each time it was."""
    transaction = await reversed_payment(world)
    await decide(world, CaseDecision.DISMISS)
    world.store.orders.available["book"] = 1
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction, seq=2)
    assert (world.status.value, world.cases, world.stock) == ("success", ["late_payment"], 1)
    before = list(world.history)
    with pytest.raises(Conflict) as refused:
        await decide(world, CaseDecision.ACCEPT, 2)
    assert (refused.value.code, world.cases, world.history) == ("out_of_stock", ["late_payment"], before)
    world.store.orders.available["book"] = 10
    await decide(world, CaseDecision.ACCEPT, 2)
    assert (world.status.value, world.cases, world.stock) == ("success", [], 8)
    assert world.store.orders.held["o-1"].value == "consumed"
    assert world.history[len(before) :] == ["case.closed", "stock.reserved", "stock.consumed"]
    assert asked_again == ["o-1"] * 3
    await world.pass_time(timedelta(days=2))
    assert (world.payment.paid_by, world.stock) == (transaction, 8)


@pytest.mark.parametrize("late", LatePayment)
@pytest.mark.parametrize("apart", [timedelta(seconds=-1), timedelta(0)], ids=["behind", "at once"])
async def test_whether_stock_was_released_or_reserved_last_is_known_where_clocks_disagree(
    late: LatePayment, apart: timedelta, asked_again: list[str]
) -> None:
    """A click on a server whose clock is behind that of the dismissal: it is paid and kept, never paid back."""
    world = World(policy=Policy(late_payment=late))
    await reversed_payment(world)
    await decide(world, CaseDecision.DISMISS)
    world.clock.move(apart)
    await world.click()
    assert world.stock == 8
    world.clock.move(timedelta(minutes=1))
    await world.hear(world.tries(Signal.SETTLED))
    assert (world.status.value, world.stock, world.cases, world.payment.refunds) == ("success", 8, [], ())
    assert [kind for kind in world.history if kind.startswith("stock.")] == ONCE
    assert asked_again == ["o-1"]


async def test_a_reversal_dismissed_by_a_clock_that_is_behind_gives_its_stock_back(world: World) -> None:
    await reversed_payment(world)
    world.clock.at = world.payment.reserved_at - timedelta(seconds=1)
    await decide(world, CaseDecision.DISMISS)
    assert world.stock == 10
    world.clock.move(timedelta(minutes=1))
    await world.click()
    await world.hear(world.tries(Signal.SETTLED))
    assert (world.status.value, world.stock) == ("success", 8)
    assert [kind for kind in world.history if kind.startswith("stock.")] == ONCE


@pytest.mark.parametrize("late", LatePayment)
async def test_an_end_and_late_money_in_one_save_keep_the_stock(late: LatePayment, asked_again: list[str]) -> None:
    """The units were to be released with the end: they are still the order's, and need not be had again."""
    world = World(policy=Policy(late_payment=late))
    await world.opened()
    card, transfer = world.tries(Signal.EXPIRED, method="card"), world.tries(Signal.PENDING)
    await world.hear(card)
    await world.hear(transfer)
    payment_id, over = world.payment.payment_id, {"closing": CloseReason.EXPIRED, "closing_by": "deadline"}
    page = attrs.evolve(world.payment.attempt(1), state=AttemptState.DEAD, request=None, check_at=None, **over)
    world.store.payments.rows[payment_id] = attrs.evolve(world.payment.with_attempt(page), deadline_at=None)
    world.gateway.becomes(transfer, Signal.EXPIRED)
    world.gateway.becomes(card, Signal.SETTLED)
    ask, readings = world.service.sweep.ask, []
    for tried in (transfer, card):
        number, answer = await ask.take_number(payment_id), await world.gateway.read(tried)
        about = Reading(number=number, asked_at=world.clock.now(), attempt=1, transaction_id=tried, answer=answer)
        readings.append(about)
    async with world.store.transaction():  # answers that come while another is stored are stored together
        first = asyncio.create_task(ask.apply("nobody", readings[0]))
        await asyncio.sleep(0)
        both = [asyncio.create_task(ask.apply(payment_id, reading)) for reading in readings]
        await asyncio.sleep(0)
    await asyncio.gather(first, *both)
    await world.do_errands()
    assert (world.status.value, world.stock, world.cases, world.payment.refunds) == ("success", 8, [], ())
    assert "payment.expired" not in world.history, "both were one save"
    assert asked_again == []


async def test_a_reversal_cannot_be_accepted(world: World) -> None:
    await reversed_payment(world)
    for decision in (CaseDecision.ACCEPT, CaseDecision.RETURN):
        with pytest.raises(Conflict) as refused:
            await decide(world, decision)
        assert refused.value.code == "decision_not_possible"
