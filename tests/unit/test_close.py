"""Closing a page: stock comes back once, and only when nobody can pay any more."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Confirm, GatewayTraits, Policy, Signal
from payments_core.consequences import begin_closing
from payments_core.errors import Conflict, GatewayTimeout, GatewayUnavailable, StaleWrite
from payments_core.limits import OPENING_GRACE, PAGE_LEFT_MIN, RETRY_SCHEDULE
from payments_core.pages import page_taken
from payments_core.payment import Attempt, AttemptState, ChargeDue, CloseReason, Payment
from payments_core.ports import Due, DueKind, PageOpened, PageRefused, PageReply, PageTaken
from payments_core.use_cases.close import _Seen
from payments_core.use_cases.operate import CancelOrder
from payments_core.use_cases.saving import Desk
from payments_core_memory import MemoryGateway
from payments_core_memory.store import _Unit as Unit
from unit.world import World, commits_are_answered_after


async def cancel(world: World, order_id: str = "o-1") -> bool:
    cancel_order = world.service.cancel_order
    assert isinstance(cancel_order, CancelOrder)
    _order, done = await cancel_order(order_id, actor="service:shop")
    return done


async def closing_without_a_token(world: World) -> None:
    """A page whose create was never answered, and whose gateway could not be asked to end it."""
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    world.gateway.unreachable = True
    assert not await cancel(world)
    world.gateway.unreachable = False


async def test_at_its_deadline_an_unpaid_page_is_closed_and_stock_comes_back_once(world: World) -> None:
    await world.opened()
    assert world.stock == 8
    await world.pass_time(timedelta(hours=24, seconds=5))
    assert world.status.value == "expired"
    events = world.store.payments.events[world.payment.payment_id]
    assert [event.actor for event in events if event.type.value == "attempt.closing"] == ["deadline"]
    assert world.payment.attempt(1).proof == "closed"
    assert world.shop_order().status.value == "cancelled"
    assert world.stock == 10
    await world.pass_time(timedelta(days=3))
    assert world.stock == 10
    assert world.history.count("stock.released") == 1


async def test_a_gateways_expire_gives_page_and_stock_up(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.EXPIRED))
    assert world.status.value == "expired"
    assert world.stock == 10


async def test_five_expire_notifications_release_stock_once(world: World) -> None:
    """The tutorial released it five times."""
    await world.opened()
    transaction = world.tries(Signal.EXPIRED)
    for copy in range(5):
        await world.deliver(transaction, extra=copy)
    await world.do_errands()
    assert world.stock == 10
    assert world.history.count("stock.released") == 1


async def test_an_expired_card_try_ends_only_that_try(world: World) -> None:
    """3-D Secure was abandoned; the buyer may take another card."""
    await world.opened()
    await world.hear(world.tries(Signal.EXPIRED, method="card"))
    assert world.status.value == "pending"
    assert world.payment.attempt(1).state is AttemptState.OPEN


async def test_an_expired_try_beside_a_living_one_ends_only_that_try(world: World) -> None:
    await world.opened()
    first = world.tries(Signal.EXPIRED)
    world.tries(Signal.PENDING)
    await world.hear(first)
    assert world.payment.attempt(1).state is AttemptState.OPEN
    assert world.status.value == "processing"


async def test_a_page_that_is_closed_cancels_what_is_pending_on_it(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    assert await cancel(world)
    assert world.gateway.transactions[transaction].words[-1] is Signal.CANCELLED
    assert world.status.value == "cancelled"
    assert world.stock == 10


async def test_an_unreachable_gateway_proves_nothing(world: World) -> None:
    await world.opened()
    world.gateway.unreachable = True
    assert not await cancel(world)
    await world.pass_time(timedelta(hours=2))
    assert world.payment.attempt(1).state is AttemptState.CLOSING
    assert world.stock == 8
    world.gateway.unreachable = False
    await world.pass_time(timedelta(hours=2))
    assert world.status.value == "cancelled"
    assert world.stock == 10


async def test_a_page_that_turns_out_paid_wins_over_its_cancellation(world: World) -> None:
    await world.opened()
    world.tries(Signal.SETTLED)
    with pytest.raises(Conflict) as refused:
        await cancel(world)
    assert refused.value.code == "already_paid"
    assert world.status.value == "success"
    assert "order.cancel_refused" in world.history
    with pytest.raises(Conflict):
        await cancel(world)


async def test_cancelling_twice_is_cancelling_once(world: World) -> None:
    await world.opened()
    assert await cancel(world)
    assert await cancel(world)
    assert world.history.count("order.cancelled") == 1


async def test_before_the_first_click_an_order_is_cancelled_at_once(world: World) -> None:
    world.order()
    assert await cancel(world)
    assert world.stock == 10
    with pytest.raises(Conflict) as refused:
        await world.click()
    assert refused.value.code == "order_cancelled"


async def test_an_order_nobody_clicked_gives_its_stock_back_in_time(world: World) -> None:
    world.order()
    await world.pass_time(timedelta(hours=24, seconds=1))
    assert world.stock == 10
    with pytest.raises(Conflict) as refused:
        await world.click()
    assert refused.value.code == "order_expired"


async def test_a_page_without_a_url_is_over_an_hour_after_its_end(world: World) -> None:
    """Nothing can be cancelled without a token, so time and a status answer are the proof."""
    world.order()
    world.gateway.refused_calls = 10_000
    with pytest.raises(Exception, match="503"):
        await world.click()
    await world.pass_time(timedelta(hours=24, minutes=1))
    world.gateway.refused_calls = 0
    await world.pass_time(timedelta(minutes=50))
    assert world.payment.attempt(1).state is AttemptState.CLOSING
    await world.pass_time(timedelta(hours=2))
    assert world.payment.attempt(1).proof == "over"
    assert world.status.value == "expired"
    assert world.stock == 10


async def test_an_opening_that_crashed_is_finished_by_the_sweep(world: World) -> None:
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(Exception, match="no answer"):
        await world.click()
    await world.pass_time(timedelta(seconds=6))
    assert world.payment.attempt(1).state is AttemptState.OPEN
    assert len(world.gateway.pages) == 1


async def test_held_money_is_not_given_up_at_the_deadline(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.AUTHORIZED, method="card")
    await world.hear(transaction)
    await world.pass_time(timedelta(hours=25))
    assert world.status.value == "authorized"
    world.gateway.becomes(transaction, Signal.CAPTURED)
    await world.hear(transaction)
    assert world.status.value == "success"


async def test_a_review_is_waited_for_at_the_deadline(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.CHALLENGED, method="card")
    await world.hear(transaction)
    await world.pass_time(timedelta(hours=25))
    assert world.status.value == "processing"
    world.gateway.becomes(transaction, Signal.DENIED)
    await world.hear(transaction)
    await world.pass_time(timedelta(minutes=10))
    assert world.status.value == "expired"


async def test_a_settlement_after_expiry_takes_stock_again_and_pays(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.EXPIRED)
    await world.hear(transaction)
    assert world.stock == 10
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    assert world.status.value == "success"
    assert world.stock == 8
    assert world.history[-5:] == ["payment.paid", "order.reopened", "order.paid", "stock.reserved", "stock.consumed"]


async def test_a_settlement_after_expiry_without_stock_is_a_case(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.EXPIRED)
    await world.hear(transaction)
    world.store.orders.available["book"] = 1
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    assert world.status.value == "expired"
    assert world.cases == ["late_payment"]
    assert world.stock == 1


async def test_a_settlement_after_a_cancellation_is_a_case(world: World) -> None:
    """Somebody decided to give this order up; money does not overrule a person."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    await cancel(world)
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    assert world.status.value == "cancelled"
    assert world.cases == ["late_payment"]
    assert world.stock == 10


async def test_when_one_try_pays_the_others_are_cancelled_and_the_page_is_spent(world: World) -> None:
    await world.opened()
    other = world.tries(Signal.PENDING)
    await world.hear(other)
    await world.hear(world.tries(Signal.SETTLED, method="card"))
    assert world.payment.attempt(1).state is AttemptState.SPENT
    assert world.gateway.transactions[other].words[-1] is Signal.CANCELLED


async def test_a_second_payment_is_a_case_the_moment_it_is_recorded(world: World) -> None:
    await world.opened()
    first = world.tries(Signal.SETTLED)
    second = world.tries(Signal.SETTLED, method="card")
    await world.hear(first)
    await world.hear(second)
    assert world.payment.paid_by == first
    assert world.cases == ["surplus_payment"]
    assert world.history.count("order.paid") == 1


async def test_a_reversal_takes_the_payment_back_and_asks_a_person(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.DENIED)
    await world.hear(transaction)
    assert world.payment.paid_by is None
    assert world.cases == ["reversed"]
    assert world.shop_order().status.value == "pending"
    assert world.stock == 8, "goods may have left; a person decides"
    with pytest.raises(Conflict) as refused:
        await world.click()
    assert refused.value.code == "needs_review"


async def test_a_payment_after_a_reversal_pays_without_consuming_stock_again(world: World) -> None:
    await world.opened()
    first = world.tries(Signal.SETTLED)
    second = world.tries(Signal.PENDING, method="card")
    await world.hear(first)
    world.gateway.becomes(first, Signal.DENIED)
    await world.hear(first)
    world.gateway.becomes(second, Signal.SETTLED)
    await world.hear(second)
    assert world.payment.paid_by == second
    assert world.history.count("stock.consumed") == 1
    assert world.history.count("order.paid") == 2, "once, plus once for the reversal"


async def test_one_contradiction_is_a_lag_and_insisting_on_it_is_a_case() -> None:
    world = World(traits=GatewayTraits(confirm=Confirm.SIGNATURE, status_lag=timedelta(minutes=10)))
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    was = world.gateway.transactions[transaction]
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    world.gateway.transactions[transaction] = was
    ask = world.service.perform.ask
    await ask.charge_now(world.payment, transaction)
    assert world.cases == []
    await world.pass_time(timedelta(minutes=11))
    assert world.cases == ["contradiction"]
    assert world.status.value == "success", "money is not taken away by a fault of the gateway"


async def test_a_contradiction_that_was_a_lag_leaves_no_case() -> None:
    world = World(traits=GatewayTraits(confirm=Confirm.SIGNATURE, status_lag=timedelta(minutes=10)))
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    world.gateway.lag = 1
    await world.service.perform.ask.charge_now(world.payment, transaction)
    world.gateway.lag = 0
    await world.pass_time(timedelta(minutes=11))
    assert world.cases == []
    charge = world.payment.charge(transaction)
    assert charge is not None
    assert (charge.contradicted, charge.due) == (False, None)


async def test_a_page_being_replaced_is_still_given_up_at_the_deadline() -> None:
    world = World(policy=Policy(expiry=timedelta(hours=1)))
    await world.opened()
    page = world.payment.attempt(1)
    replaced = attrs.evolve(page, state=AttemptState.CLOSING, closing=CloseReason.REPLACED, check_at=None)
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(replaced)
    await world.pass_time(timedelta(hours=2))
    assert world.status.value == "expired"
    assert world.stock == 10


async def test_a_failed_order_is_given_up_at_its_deadline(world: World) -> None:
    """Every page was refused: nothing is left to close, and stock must not be held for ever."""
    world.order()
    world.gateway.refuse_pages = True
    with pytest.raises(Exception, match="refuses"):
        await world.click()
    assert world.status.value == "failed"
    await world.pass_time(timedelta(hours=25))
    assert world.status.value == "expired"
    assert world.stock == 10


# ── one step of closing ───────────────────────────────────────────────────────────────────────────────────────────────
async def test_what_we_ask_to_be_cancelled_is_stored_before_it_is_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ending that we caused is never taken for one that happened."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    stored: list[bool] = []
    cancel_at_the_gateway = type(world.gateway)._cancel

    def noting(self: MemoryGateway, transaction_id: str) -> None:
        stored.extend(charge.cancel_asked for charge in world.payment.charges)
        cancel_at_the_gateway(self, transaction_id)

    monkeypatch.setattr(type(world.gateway), "_cancel", noting)
    await cancel(world)
    assert stored == [True]
    assert world.payment.charges[0].cancel_asked


@pytest.mark.parametrize("checks", [0, len(RETRY_SCHEDULE) - 1, len(RETRY_SCHEDULE), 9])
async def test_a_charge_that_stays_alive_is_cancelled_again_later_each_time(
    world: World, monkeypatch: pytest.MonkeyPatch, checks: int
) -> None:
    await world.opened()
    other = world.tries(Signal.PENDING)
    await world.hear(other)
    monkeypatch.setattr(type(world.gateway), "_cancel", lambda *_: None)
    await world.hear(world.tries(Signal.SETTLED))
    stubborn = next(charge for charge in world.payment.charges if charge.transaction_id == other)
    tried = world.payment.with_charge(attrs.evolve(stubborn, checks=checks))
    world.store.payments.rows[tried.payment_id] = tried
    await world.service.perform.closing.charge(tried.payment_id, other)
    again = next(charge for charge in world.payment.charges if charge.transaction_id == other)
    pause = RETRY_SCHEDULE[min(checks, len(RETRY_SCHEDULE) - 1)]
    assert (again.check_at, again.checks) == (world.clock.now() + pause, checks + 1)
    assert again.due is ChargeDue.CANCEL


async def test_a_charge_that_is_over_or_not_there_is_not_cancelled(world: World) -> None:
    await world.opened()
    paid = world.tries(Signal.SETTLED)
    await world.hear(paid)
    closing = world.service.perform.closing
    for payment_id, transaction_id in ((world.payment.payment_id, paid), (world.payment.payment_id, "t"), ("p", "t")):
        assert await closing.charge(payment_id, transaction_id) is None
    assert "cancel" not in world.gateway.calls


async def test_a_page_that_is_open_or_whose_create_is_in_flight_is_not_closed(world: World) -> None:
    """A create in flight could bring the page to life after we had seen it dead."""
    await world.opened()
    closing = world.service.perform.closing
    assert await closing.page(world.payment.payment_id, 1) is None
    assert await closing.page("nobody", 1) is None
    now = world.clock.now()
    page = begin_closing(world.payment.attempt(1), CloseReason.EXPIRED, "deadline", now)
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(
        attrs.evolve(page, lease_until=now + timedelta(seconds=1))
    )
    assert await closing.page(world.payment.payment_id, 1) is None
    assert "close" not in world.gateway.calls
    world.clock.move(timedelta(seconds=1))
    closed = await closing.page(world.payment.payment_id, 1)
    assert closed is not None
    assert closed.attempt(1).proof == "closed"


async def test_every_step_of_closing_is_the_cores_deed(world: World) -> None:
    await world.opened()
    world.gateway.unreachable = True
    await cancel(world)
    world.gateway.unreachable = False
    await cancel(world)
    actors = [change.actor for change in world.store.payments.saves[world.payment.payment_id]]
    assert actors[-1] == "core"
    assert set(actors) == {"customer:alice", "gateway:memory", "service:shop", "core"}


async def test_a_page_whose_create_was_never_answered_is_created_once_more_to_be_closed(world: World) -> None:
    """Only with a token can it be cancelled."""
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    assert await cancel(world)
    assert world.gateway.calls == ["open", "open", "close", "read"]
    actors = {change.actor for change in world.store.payments.saves[world.payment.payment_id]}
    assert actors == {"customer:alice", "gateway:memory", "service:shop", "core"}
    page = world.payment.attempt(1)
    assert (page.state, page.proof) == (AttemptState.DEAD, "closed")
    assert (page.url or "").endswith(page.token or "no token")


async def test_two_closings_at_once_create_the_page_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two tokens nobody knows which is the newest: the older one is gone while the page lives by the other."""
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    opened = MemoryGateway.open_page

    async def meanwhile(gateway: MemoryGateway, attempt: Attempt) -> PageReply:
        monkeypatch.setattr(MemoryGateway, "open_page", opened)
        await world.service.sweep.closing.page(world.payment.payment_id, 1)  # another process, at this very moment
        assert world.payment.attempt(1).is_payable
        return await opened(gateway, attempt)

    monkeypatch.setattr(MemoryGateway, "open_page", meanwhile)
    assert await cancel(world)
    assert world.gateway.calls == ["open", "open", "close", "read"], "the one that was lost, and one more"


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1)])
async def test_a_create_that_may_outlast_its_lease_makes_no_token_to_close(world: World, late: timedelta) -> None:
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    with commits_are_answered_after(world.clock, OPENING_GRACE + late):
        assert await cancel(world) is not bool(late)
    assert world.gateway.calls.count("open") == (1 if late else 2)
    due_at = world.payment.attempt(1).check_at
    if late:
        assert due_at is not None
        world.clock.at = due_at
    assert await cancel(world), "it is due again when the lease is over"
    assert world.gateway.calls.count("open") == 2


@pytest.mark.parametrize("reply", [PageOpened("older", "https://pay.example/older"), PageRefused(("no",)), PageTaken()])
async def test_an_answer_stored_after_another_took_the_lease_tells_a_closing_nothing(
    world: World, reply: PageReply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other's page may be alive: neither an older token nor a refusal proves anything about it."""
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    until = world.clock.now() + timedelta(minutes=1)

    async def overtaken(_gateway: MemoryGateway, attempt: Attempt) -> PageReply:
        newer = attrs.evolve(world.payment.attempt(attempt.number), lease_until=until)
        world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(newer)
        return reply

    monkeypatch.setattr(MemoryGateway, "open_page", overtaken)
    assert not await cancel(world)
    page = world.payment.attempt(1)
    assert (page.state, page.token, page.lease_until) == (AttemptState.CLOSING, None, until)


async def test_who_could_not_create_the_page_to_close_it_gives_his_lease_up(world: World) -> None:
    """Only a crash waits for its end."""
    world.order()
    world.gateway.lost_answers = 2
    with pytest.raises(GatewayTimeout):
        await world.click()
    assert not await cancel(world)
    page = world.payment.attempt(1)
    assert (page.state, page.lease_until, page.checks) == (AttemptState.CLOSING, None, 1)
    assert await cancel(world)


async def test_a_lease_that_was_lost_to_another_in_a_race_is_not_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await closing_without_a_token(world)
    payment_id, calls, commit = world.payment.payment_id, [*world.gateway.calls], Unit.commit

    async def beaten(_unit: Unit) -> None:
        monkeypatch.setattr(Unit, "commit", commit)
        anothers = attrs.evolve(world.payment.attempt(1), lease_until=world.clock.now() + timedelta(minutes=1))
        world.store.payments.rows[payment_id] = world.payment.with_attempt(anothers)
        raise StaleWrite("another was first")

    monkeypatch.setattr(Unit, "commit", beaten)
    await world.service.sweep.closing.page(payment_id, 1)
    assert world.gateway.calls == calls


async def test_a_page_that_was_told_to_be_taken_meanwhile_is_not_created_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by forty thousand worlds: looked at before another's answer was stored, and leased after it."""
    await closing_without_a_token(world)
    looked_at, calls = world.payment, [*world.gateway.calls]
    world.store.payments.rows[looked_at.payment_id] = page_taken(looked_at, 1, world.clock.now())

    async def earlier(_desk: Desk, _payment_id: str) -> Payment:
        return looked_at

    monkeypatch.setattr(Desk, "look", earlier)
    await world.service.sweep.closing.page(looked_at.payment_id, 1)
    assert world.gateway.calls == calls
    assert world.payment.attempt(1).lease_until is None


async def test_a_page_whose_create_is_under_way_elsewhere_is_not_judged(world: World) -> None:
    """It could come to life after it was called dead."""
    await world.opened()
    world.gateway.unreachable = True
    assert not await cancel(world)
    closing, now = world.service.sweep.closing, world.clock.now()
    proved = _Seen(world.payment, token_gone=world.payment.attempt(1).token)
    for until, payable in ((now + timedelta(seconds=1), True), (now, False)):
        leased = world.payment.with_attempt(attrs.evolve(world.payment.attempt(1), lease_until=until))
        assert closing._judge(leased, 1, proved, now).attempt(1).is_payable is payable


async def test_a_page_whose_create_is_refused_on_the_way_to_its_end_is_dead(world: World) -> None:
    world.order()
    world.gateway.refused_calls = 1
    with pytest.raises(GatewayUnavailable):
        await world.click()
    world.gateway.refuse_pages = True
    assert await cancel(world)
    assert world.payment.attempt(1).proof == "refused"
    assert world.gateway.calls.count("open") == 2


async def test_with_too_little_time_left_no_page_is_created_to_be_closed(world: World) -> None:
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    world.clock.at = world.payment.attempt(1).ends_at - PAGE_LEFT_MIN + timedelta(seconds=1)
    assert not await cancel(world)
    assert world.gateway.calls == ["open", "read"]
    assert world.payment.attempt(1).state is AttemptState.CLOSING


async def test_a_token_that_was_replaced_while_it_was_closed_proves_nothing(world: World) -> None:
    """Found by the simulation: two closings at once each made a token, and the end of the older one was believed."""
    await world.opened()
    world.gateway.unreachable = True
    assert world.service.cancel_order is not None
    await world.service.cancel_order("o-1", actor="shop")
    closing, now = world.service.sweep.closing, world.clock.now()
    assert closing._judge(world.payment, 1, _Seen(world.payment, token_gone="older"), now).attempt(1).is_payable
    newest = _Seen(world.payment, token_gone=world.payment.attempt(1).token)
    assert not closing._judge(world.payment, 1, newest, now).attempt(1).is_payable


async def test_a_review_is_cancelled_with_its_order(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.CHALLENGED, method="card")
    await world.hear(transaction)
    await cancel(world)
    assert world.gateway.transactions[transaction].words[-1] is Signal.CANCELLED
    assert world.status.value == "cancelled"
    changes = world.store.payments.saves[world.payment.payment_id]
    assert {change.actor for change in changes} == {
        "customer:alice",
        "gateway:memory",
        "service:shop",
        "core",
    }


async def test_a_review_that_is_found_when_only_time_has_run_out_is_waited_for(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.CHALLENGED, method="card")
    world.clock.at = world.payment.deadline_at or world.clock.at
    await world.service.sweep.attend(Due(DueKind.DEADLINE, world.payment.payment_id))
    await world.do_errands()
    assert world.payment.attempt(1).closing is CloseReason.EXPIRED
    assert world.gateway.transactions[transaction].words[-1] is Signal.CHALLENGED
    assert "cancel" not in world.gateway.calls
