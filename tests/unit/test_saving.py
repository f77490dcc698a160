"""Saving what was decided: the payment, its history, its order and its stock, as one."""

from datetime import datetime
from itertools import pairwise

import attrs
import pytest

from payments_core import Signal
from payments_core.errors import StaleWrite
from payments_core.facts import stock_fact
from payments_core.limits import STALE_PAUSE, STALE_RETRIES_MAX
from payments_core.orders import StockMove
from payments_core.payment import Payment
from payments_core.policy import LatePayment, Policy
from payments_core.states import CaseKind
from payments_core.testing.samples import LATER, NOW
from payments_core.use_cases.saving import Decided, again_if_stale, save_all
from payments_core_memory import ManualClock
from unit.values import (
    DISMISSED,
    EXPIRED,
    PAGE,
    PAID,
    SPENT,
    UNPAID,
    case,
    charge,
    kinds,
    with_cases,
)
from unit.world import World

RESERVED, CONSUMED, RELEASED = StockMove.RESERVED, StockMove.CONSUMED, StockMove.RELEASED


# ── stock that has to be had first ────────────────────────────────────────────────────────────────────────────────────
async def save(world: World, before: Payment | None, after: Payment, late: LatePayment) -> Payment:
    async with world.store.transaction() as uow:
        decided = [Decided(before, after)]
        saved = await save_all(uow, decided, now=world.clock.now(), actor="test", late=late)
        await uow.commit()
    return saved[after.payment_id].payment


REVIEW, REFUND = LatePayment


async def stored(world: World, payment: Payment, *, left: int, held: StockMove = RELEASED) -> Payment:
    """This payment of order o-1, with so many units left beside the two it may need."""
    order = world.order(stock=left + 2)
    world.store.orders.orders["o-1"] = attrs.evolve(order, payment_id=payment.payment_id)
    if held is RELEASED:
        world.store.orders._move(order, RELEASED)
        world.store.orders.available["book"] = left
    return await save(world, None, payment, REVIEW)


async def test_late_money_takes_stock_again_and_pays(world: World) -> None:
    before = await stored(world, EXPIRED, left=2)
    after = await save(world, before, before.with_charge(charge()), REVIEW)
    assert (after.paid_by, after.closed, after.reserved_at) == ("tx", None, world.clock.now())
    assert world.stock == 0
    moves = [event for event in world.history if event.startswith("stock.")]
    assert moves[-2:] == ["stock.reserved", "stock.consumed"]


@pytest.mark.parametrize(("late", "returns"), [(REVIEW, 0), (REFUND, 1)])
async def test_late_money_without_stock_is_a_case_and_goes_back_where_the_policy_says_so(
    world: World, late: LatePayment, returns: int
) -> None:
    before = await stored(world, EXPIRED, left=1)
    after = await save(world, before, before.with_charge(charge()), late)
    assert (after.paid_by, kinds(after), len(after.refunds)) == (None, ["late_payment"], returns)
    assert world.stock == 1
    assert "stock.reserved" not in world.history


async def test_money_after_a_dismissed_reversal_takes_its_stock_again(world: World) -> None:
    world.clock.at = LATER
    before = await stored(world, with_cases(UNPAID, DISMISSED), left=2)
    after = await save(world, before, attrs.evolve(before, paid_by="tx", paid_at=NOW), REVIEW)
    assert (after.reserved_at, kinds(after), world.stock) == (LATER, [], 0)
    assert world.history[-1] == "stock.consumed"
    assert "stock.reserved" in world.history


async def test_money_after_a_dismissed_reversal_whose_goods_are_gone_is_a_case(world: World) -> None:
    before = await stored(world, with_cases(UNPAID, DISMISSED), left=1)
    after = await save(world, before, attrs.evolve(before, paid_by="tx", paid_at=NOW), REVIEW)
    (_, opened) = after.cases
    evidence = {"why": "its stock was released and cannot be had any more"}
    assert opened == case(CaseKind.LATE_PAYMENT, number=2, opened_at=world.clock.now(), evidence=evidence)
    assert (after.reserved_at, world.stock) == (before.reserved_at, 1)


@pytest.mark.parametrize("late", LatePayment)
async def test_what_was_paid_before_asks_for_no_stock(world: World, late: LatePayment) -> None:
    before = await stored(world, with_cases(PAID, DISMISSED), left=5)
    after = await save(world, before, before.with_charge(charge(refunded_minor=1)), late)
    assert (world.stock, len(after.cases)) == (5, 1)


async def test_what_did_not_change_is_not_saved(world: World) -> None:
    """No version, no event, no errand."""
    before = await stored(world, PAGE, left=5, held=RESERVED)
    history = world.history
    assert await save(world, before, before, REVIEW) == before
    assert (world.payment.version, world.history) == (before.version, history)


async def test_a_question_alone_is_no_change_of_a_payment_and_a_fact_beside_it_is_told(world: World) -> None:
    before = await stored(world, PAGE, left=5, held=RESERVED)
    asked = attrs.evolve(before, reading_number=before.reading_number + 1)
    history = world.history
    assert (await save(world, before, asked, REVIEW)).version == before.version
    assert (world.payment.reading_number, world.history) == (asked.reading_number, history)
    again = attrs.evolve(asked, reading_number=asked.reading_number + 1)
    async with world.store.transaction() as uow:
        told = Decided(asked, again, also=(stock_fact(RESERVED),))
        await save_all(uow, [told], now=world.clock.now(), actor="test", late=REVIEW)
        await uow.commit()
    assert world.history == [*history, "stock.reserved"]


async def test_a_surplus_payment_goes_back_by_itself_where_the_policy_says_so() -> None:
    world = World(policy=Policy(late_payment=REFUND))
    await world.opened()
    page = world.payment.attempt(1)
    await world.hear(world.tries(Signal.SETTLED))
    other = world.gateway.buyer_tries(page.token or "", Signal.SETTLED)
    await world.hear(other)
    (made,) = world.payment.refunds
    assert (made.transaction_id, made.by, made.state.value) == (other, "policy", "confirmed")


async def test_every_event_names_who_did_it_and_when(world: World) -> None:
    before = await stored(world, SPENT.with_charge(charge()), left=5, held=RESERVED)
    await save(world, before, attrs.evolve(before, paid_by="tx", paid_at=NOW), REVIEW)
    events = world.store.payments.events[before.payment_id]
    assert [event.sequence for event in events] == [*range(1, len(events) + 1)]
    assert {(event.actor, event.at) for event in events} == {("test", world.clock.now())}
    newest = world.store.payments.saves[before.payment_id][-1]
    assert (newest.actor, newest.at) == ("test", world.clock.now()), "also where nothing is published"


# ── races ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("lost", [0, 1, STALE_RETRIES_MAX])
async def test_a_lost_race_is_run_again(lost: int) -> None:
    runs: list[datetime] = []

    async def work() -> str:
        runs.append(NOW)
        if len(runs) <= lost:
            raise StaleWrite("somebody was first")
        return "done"

    assert await again_if_stale(work, ManualClock()) == "done"
    assert len(runs) == lost + 1


async def test_races_that_are_lost_for_ever_end() -> None:
    runs: list[datetime] = []

    async def work() -> str:
        runs.append(NOW)
        raise StaleWrite("somebody was first")

    with pytest.raises(StaleWrite):
        await again_if_stale(work, ManualClock())
    assert len(runs) == STALE_RETRIES_MAX + 1


async def test_those_who_lost_wait_longer_each_time_and_not_all_equally_long() -> None:
    """Those that met once should not meet again."""

    async def pauses(clock: ManualClock) -> list[float]:
        ends: list[datetime] = []

        async def work() -> None:
            ends.append(clock.now())
            if len(ends) <= 4:
                raise StaleWrite("somebody was first")

        await again_if_stale(work, clock)
        return [(after - before).total_seconds() for before, after in pairwise(ends)]

    early, late = await pauses(ManualClock(NOW)), await pauses(ManualClock(NOW.replace(microsecond=900_000)))
    for waited in (early, late):
        assert all(1.5 * before < after < 2.5 * before for before, after in pairwise(waited))
    assert early[0] == pytest.approx(STALE_PAUSE.total_seconds() * 0.5)
    assert late[0] == pytest.approx(STALE_PAUSE.total_seconds() * 1.4)


async def test_a_desk_changes_nothing_that_is_not_there(world: World) -> None:
    desk = world.service.perform.ask.desk
    assert await desk.look("nobody") is None
    assert await desk.change("nobody", lambda payment: payment, actor="test") is None
