"""Closing a page: stock comes back once, and only when nobody can pay any more."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Confirm, GatewayTraits, Policy, Signal
from payments_core.errors import Conflict
from payments_core.payment import AttemptState, CloseReason
from payments_core.use_cases.close import _Seen
from payments_core.use_cases.operate import CancelOrder
from unit.world import World


async def cancel(world: World, order_id: str = "o-1") -> bool:
    cancel_order = world.service.cancel_order
    assert isinstance(cancel_order, CancelOrder)
    _order, done = await cancel_order(order_id, actor="service:shop")
    return done


async def test_at_its_deadline_an_unpaid_page_is_closed_and_stock_comes_back_once(world: World) -> None:
    await world.opened()
    assert world.stock == 8
    await world.pass_time(timedelta(hours=24, seconds=5))
    assert world.status.value == "expired"
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
