"""The use cases wired, their errands, and the machine's own clock and ids."""

import asyncio
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest

from payments_core import PageWish, PaymentService, Signal
from payments_core.commands import AskCharge, AskPage, CancelCharge, ClosePage, SendRefund
from payments_core.errors import AmountNotRepresentable, Conflict, NotFound, PaymentsError, StaleWrite
from payments_core.identity import PAYMENT_ID
from payments_core.orders import Order, OrderStatus
from payments_core.policy import LatePayment, Policy
from payments_core.ports import Outbox, Placed, Subscriber, Survey
from payments_core.service import ErrandList
from payments_core.system import SystemClock, SystemIds
from payments_core.testing.samples import order
from payments_core.use_cases.operate import CancelOrder, PlaceOrder
from payments_core.use_cases.refresh import LocalTurns
from payments_core_memory import MemoryGateway, MemoryStore
from payments_core_memory.orders import MemoryOrders
from unit.world import World


def test_a_service_is_wired_over_one_store_one_clock_and_one_policy(world: World) -> None:
    policy = Policy(late_payment=LatePayment.REOPEN_OR_REFUND)
    service = PaymentService.over(
        world.store, {"memory": world.gateway}, clock=world.clock, ids=world.ids, errands=ErrandList(), policy=policy
    )
    assert service.cancel_order is None, "a shop that keeps its own orders cancels them itself"
    assert (service.start.policy, service.sweep.policy, service.operate.policy) == (policy, policy, policy)
    assert service.receive.late is service.start.desk.late is LatePayment.REOPEN_OR_REFUND
    assert service.start.closing is service.perform.closing


def test_without_a_policy_the_usual_one_holds(world: World) -> None:
    service = PaymentService.over(world.store, {}, clock=world.clock, ids=world.ids, errands=ErrandList())
    assert service.start.policy == Policy()
    assert service.receive.late is LatePayment.REOPEN_OR_REVIEW


def test_without_a_survey_or_an_outbox_there_is_nothing_to_compare_and_nobody_to_tell(world: World) -> None:
    assert (world.service.reconcile, world.service.deliver, world.service.sweep.deliver) == (None, None, None)


def test_what_finds_what_was_left_behind_works_over_the_same_parts(world: World) -> None:
    survey, outbox, turns = Mock(Survey), Mock(Outbox), LocalTurns()
    subscribers = {"crm": Mock(Subscriber)}
    service = PaymentService.over(
        world.store,
        {"memory": world.gateway},
        clock=world.clock,
        ids=world.ids,
        errands=ErrandList(),
        turns=turns,
        survey=survey,
        outbox=outbox,
        subscribers=subscribers,
    )
    assert service.sweep.deliver is service.deliver is not None
    assert (service.deliver.outbox, service.deliver.clock) == (outbox, world.clock)
    assert service.deliver.subscribers is subscribers, "who subscribes later is told as well"
    assert service.reconcile is not None
    assert (service.reconcile.survey, service.reconcile.sweep) == (survey, service.sweep)
    assert service.reconcile.ask is service.sweep.ask is service.refresh.ask
    assert (service.refresh.turns, service.status.refresh) == (turns, service.refresh)


def test_a_process_without_turns_takes_its_own(world: World) -> None:
    assert isinstance(world.service.refresh.turns, LocalTurns)


async def test_errands_a_gateway_does_not_answer_are_left_to_the_sweep(world: World) -> None:
    """Their rows are due on their own."""
    await world.opened()
    await world.deliver(world.tries(Signal.DENIED))
    world.gateway.refused_calls = 1
    await world.deliver(world.tries(Signal.SETTLED))
    await world.do_errands()
    assert not world.errands.waiting
    assert world.status.value == "success"


async def test_an_errand_about_nothing_is_no_errand(world: World) -> None:
    for command in (
        AskPage("nobody", 1),
        ClosePage("nobody", 1),
        CancelCharge("nobody", "tx"),
        SendRefund("nobody", "k-1"),
        AskCharge("nobody", "memory", 1, "tx", 1),
    ):
        await world.service.perform(command)
    assert world.store.payments.rows == {}


# ── errands and the end ───────────────────────────────────────────────────────────────────────────────────────────────
async def test_without_anybody_to_do_errands_they_are_done_at_once_by_the_loop(world: World) -> None:
    service = PaymentService.over(world.store, {"memory": world.gateway}, clock=world.clock)
    world.order()
    await service.start("o-1", PageWish(provider="memory"), customer_id="alice", actor="customer:alice")
    await service.receive("memory", *world.gateway.notification(world.tries(Signal.SETTLED)))
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert world.status.value == "success"


def test_time_and_ids_are_the_machines_unless_told(world: World) -> None:
    service = PaymentService.over(world.store, {})
    assert isinstance(service.start.desk.clock, SystemClock)
    assert isinstance(service.start.ids, SystemIds)
    assert PaymentService.over(world.store, {}, clock=world.clock, ids=world.ids).start.desk.clock is world.clock


async def test_a_service_that_ends_finishes_its_errands_and_gives_connections_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    async def close(store: MemoryStore) -> None:
        assert world.status.value == "success", "errands need the store"
        closed.append(type(store).__name__)

    monkeypatch.setattr(MemoryStore, "close", close, raising=False)
    monkeypatch.setattr(MemoryGateway, "close", lambda gateway: closed.append(gateway.name), raising=False)
    service = PaymentService.over(world.store, {"memory": world.gateway}, clock=world.clock)
    await world.opened()
    await service.receive("memory", *world.gateway.notification(world.tries(Signal.SETTLED)))
    await service.close()
    assert closed == ["memory", "MemoryStore"]


async def test_a_service_over_parts_that_own_nothing_ends_as_well(world: World) -> None:
    await world.opened()
    await world.service.close()
    assert world.status.value == "pending"


# ── placing an order ──────────────────────────────────────────────────────────────────────────────────────────────────
def placing(world: World) -> PlaceOrder:
    place = world.service.place_order
    assert place is not None
    return place


async def test_an_order_is_taken_in_once(world: World) -> None:
    world.store.orders.available["book"] = 10
    for how in (Placed.NEW, Placed.SAME):
        assert await placing(world)(order()) == (order(), how)
    assert world.stock == 8


async def test_an_order_no_gateway_can_say_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can is enough: the buyer pays there."""

    def refuse(gateway: MemoryGateway, order: Order) -> None:
        if gateway.name == "other":
            raise AmountNotRepresentable(f"{order.total} cannot be said")

    world.store.orders.available["book"] = 10
    other = MemoryGateway(name="other")
    monkeypatch.setattr(MemoryGateway, "refuse_unsayable", refuse)
    both = PaymentService.over(world.store, {"other": other, "memory": world.gateway}, shop=world.store).place_order
    alone = PaymentService.over(world.store, {"other": other}, shop=world.store).place_order
    assert both is not None
    assert alone is not None
    with pytest.raises(AmountNotRepresentable):
        await alone(order())
    assert (await both(order()))[1] is Placed.NEW


async def test_an_order_another_call_stored_meanwhile_is_the_same_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, lost = type(world.store.orders).place, [StaleWrite("somebody else was first")]

    async def place(orders: MemoryOrders, order: Order) -> tuple[Order, Placed]:
        placed = await original(orders, order)
        if lost:
            raise lost.pop()
        return placed

    world.store.orders.available["book"] = 10
    monkeypatch.setattr(type(world.store.orders), "place", place)
    assert (await placing(world)(order()))[1] is Placed.NEW
    assert not lost


def test_a_shop_that_keeps_its_own_orders_places_them_itself(world: World) -> None:
    assert PaymentService.over(world.store, {}).place_order is None


# ── cancelling an order ───────────────────────────────────────────────────────────────────────────────────────────────
def cancelling(world: World) -> CancelOrder:
    cancel = world.service.cancel_order
    assert cancel is not None
    return cancel


async def test_an_order_nobody_clicked_is_cancelled_at_once_and_again(world: World) -> None:
    world.order(units=2, stock=10)
    for _ in range(2):
        order, done = await cancelling(world)("o-1", actor="shop")
        assert (order.status, done, world.stock) == (OrderStatus.CANCELLED, True, 10)


async def test_an_order_with_a_page_is_cancelled_when_the_page_is_dead(world: World) -> None:
    await world.opened()
    order, done = await cancelling(world)("o-1", actor="shop")
    assert (order.order_id, done) == ("o-1", True)
    closed = world.payment.closed
    assert closed is not None
    assert closed.by == "shop"


async def test_an_order_whose_page_cannot_be_closed_now_waits(world: World) -> None:
    await world.opened()
    world.gateway.unreachable = True
    order, done = await cancelling(world)("o-1", actor="shop")
    assert (order.status, done) == (OrderStatus.PENDING, False)
    world.gateway.unreachable = False
    assert (await cancelling(world)("o-1", actor="shop"))[1]


async def test_an_order_that_is_paid_or_unknown_is_not_cancelled(world: World) -> None:
    with pytest.raises(NotFound) as unknown:
        await cancelling(world)("o-9", actor="shop")
    assert unknown.value.code == "order_not_found"
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED))
    with pytest.raises(Conflict) as paid:
        await cancelling(world)("o-1", actor="shop")
    assert paid.value.code == "already_paid"


async def test_a_page_that_turns_out_paid_while_it_is_cancelled_wins(world: World) -> None:
    await world.opened()
    world.tries(Signal.SETTLED)
    with pytest.raises(Conflict) as paid:
        await cancelling(world)("o-1", actor="shop")
    assert paid.value.code == "already_paid"
    assert world.status.value == "success"


async def test_a_first_click_in_between_makes_a_payment_to_cancel(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order had none when the cancellation looked, and one when it wrote."""
    world.order()
    original = type(world.store.orders).cancel
    clicks: list[str] = []

    async def too_late(self: object, order_id: str, now: datetime) -> bool:
        if not clicks:
            clicks.append(order_id)
            return False
        return await original(self, order_id, now)  # type: ignore[arg-type]

    monkeypatch.setattr(type(world.store.orders), "cancel", too_late)
    assert (await cancelling(world)("o-1", actor="shop"))[1]
    assert clicks == ["o-1"]


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_error_says_what_it_is_once_and_keeps_its_kind_otherwise() -> None:
    plain = Conflict("no")
    assert (str(plain), plain.detail, plain.code, plain.retryable, plain.extra) == ("no", "no", "conflict", False, {})
    told = PaymentsError("no", code="other", retryable=True, extra={"payment_url": "x"})
    assert (told.code, told.retryable, told.extra) == ("other", True, {"payment_url": "x"})


# ── the machine ───────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_the_machines_time_is_in_utc_and_passes() -> None:
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0.002)
    assert before.tzinfo is UTC
    assert timedelta(0) < clock.now() - before
    assert abs(datetime.now(UTC) - clock.now()) < timedelta(minutes=1)


def test_the_machines_ids_sort_by_time_and_cannot_be_guessed() -> None:
    ids = [SystemIds().payment_id() for _ in range(20)]
    assert len(set(ids)) == 20
    assert all(PAYMENT_ID.fullmatch(one) for one in ids)
    assert len({one[10:] for one in ids}) == 20, "eighty bits of each are chance"
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    made_at = sum(alphabet.index(letter) << 5 * n for n, letter in enumerate(reversed(ids[0][:10])))
    assert abs(made_at - datetime.now(UTC).timestamp() * 1000) < 60_000


def test_a_wish_is_for_any_provider_unless_it_says_otherwise() -> None:
    assert PageWish(provider="midtrans").any_provider
