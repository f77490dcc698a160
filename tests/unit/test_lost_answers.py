"""The gateway did it and did not say so, or cannot be asked: nothing happens twice, nothing fails by time."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random

import attrs
import pytest

from payments_core import Signal
from payments_core.errors import PaymentsError
from payments_core.limits import UNKNOWN_SCHEDULE
from payments_core.orders import StockMove
from payments_core.payment import Attempt, AttemptState, ChargeDue, Refund, RefundState
from payments_core.ports import PageReply, RefundReply
from payments_core.states import ChargeState
from payments_core_memory import MemoryGateway
from unit.world import World, rupiah

RUNS = 250
WHOLE_SCHEDULE = sum(UNKNOWN_SCHEDULE, timedelta(0))


@attrs.define
class Watched(MemoryGateway):
    """Writes down under which names it was asked."""

    opened: list[tuple[str, str | None]] = attrs.field(factory=list)
    asked: list[tuple[str, int]] = attrs.field(factory=list)

    async def open_page(self, attempt: Attempt) -> PageReply:
        self.opened.append((attempt.provider_order_id, attempt.request))
        return await super().open_page(attempt)

    async def refund(self, refund: Refund) -> RefundReply:
        self.asked.append((refund.key, refund.amount.amount_minor))
        return await super().refund(refund)


Deed = Callable[[World], Awaitable[object]]


async def click(world: World) -> object:
    return await world.click()


async def refund(world: World) -> object:
    return await world.service.refund(world.payment.payment_id, rupiah(30_000), None, actor="olga", asked_as="one")


async def void(world: World) -> object:
    return await world.service.operate.cancel(world.payment.payment_id, actor="olga")


async def capture(world: World) -> object:
    return await world.service.operate.capture(world.payment.payment_id, rupiah(60_000), actor="olga")


async def approve(world: World) -> object:
    return await world.service.operate.approve(world.payment.payment_id, actor="olga")


async def deny(world: World) -> object:
    return await world.service.operate.deny(world.payment.payment_id, actor="olga")


async def cancel_order(world: World) -> object:
    assert world.service.cancel_order is not None
    return await world.service.cancel_order("o-1", actor="shop")


async def attempt(world: World, deed: Deed) -> None:
    """It may be answered that nobody knows, which is the point."""
    try:
        await deed(world)
    except PaymentsError:
        return


def watched() -> tuple[World, Watched]:
    gateway = Watched()
    world = World(gateway=gateway, pause=timedelta(minutes=10))
    world.order()
    return world, gateway


async def after_a_try(word: Signal) -> tuple[World, Watched]:
    world, gateway = watched()
    await world.click()
    await world.hear(world.tries(word, method="card"))
    return world, gateway


async def lose_some(world: World, gateway: Watched, deed: Deed, random: Random) -> None:
    """The deed, again and again while answers get lost; then everything is answered, and time passes."""
    for _ in range(random.randrange(1, 4)):
        gateway.lost_answers, gateway.refused_calls = random.randrange(1, 5), random.randrange(2)
        await attempt(world, deed)
        await world.pass_time(timedelta(seconds=random.choice([0, 1, 20, 400])))
    gateway.lost_answers = gateway.refused_calls = 0
    await world.pass_time(timedelta(hours=8))


@pytest.mark.parametrize("word", [Signal.SETTLED, Signal.CAPTURED, Signal.AUTHORIZED, None])
async def test_lost_answers_charge_and_refund_nothing_twice(word: Signal | None) -> None:
    """A thousand runs: creates, refunds, voids and captures whose answers got lost (A3)."""
    deeds = {Signal.SETTLED: refund, Signal.CAPTURED: void, Signal.AUTHORIZED: capture, None: click}
    for seed in range(RUNS):
        random = Random(seed)  # noqa: S311 - drawn on purpose
        world, gateway = watched() if word is None else await after_a_try(word)
        await lose_some(world, gateway, deeds[word], random)
        assert len(set(gateway.opened)) == 1, "one page, always asked for with the same bytes"
        assert len(set(gateway.asked)) <= 1, "one refund, always under the same key"
        check = {
            Signal.SETTLED: _refunded_once,
            Signal.CAPTURED: _voided,
            Signal.AUTHORIZED: _captured_once,
            None: _opened,
        }
        check[word](world, gateway)


def _opened(world: World, gateway: Watched) -> None:
    assert len(gateway.pages) == len(world.payment.attempts) == 1


def _refunded_once(world: World, gateway: Watched) -> None:
    (transaction,) = gateway.transactions.values()
    assert transaction.refunded == rupiah(30_000)
    assert [known.state for known in world.payment.refunds] == [RefundState.CONFIRMED]


def _voided(world: World, gateway: Watched) -> None:
    (transaction,) = gateway.transactions.values()
    assert transaction.words[-1] is Signal.CANCELLED
    assert [known.state for known in world.payment.refunds] == [RefundState.CONFIRMED]
    assert world.status.value == "refunded"


def _captured_once(world: World, gateway: Watched) -> None:
    (transaction,) = gateway.transactions.values()
    assert transaction.words == (Signal.AUTHORIZED, Signal.CAPTURED)
    assert world.payment.charges[0].captured_minor == rupiah(60_000).amount_minor
    assert world.status.value == "success"


# ── a gateway that cannot tell ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("word", "deed", "due"),
    [
        (Signal.AUTHORIZED, capture, ChargeDue.CAPTURE),
        (Signal.CHALLENGED, approve, ChargeDue.APPROVE),
        (Signal.CHALLENGED, deny, ChargeDue.DENY),
    ],
)
async def test_a_wish_nobody_answers_stays_open_and_becomes_a_case(word: Signal, deed: Deed, due: ChargeDue) -> None:
    """Asked after 5 s, 30 s, 2 min, 10 min, 1 h, 6 h, 24 h; then somebody is called, and it is asked on (A4)."""
    world, gateway = await after_a_try(word)
    gateway.unreachable = True
    await attempt(world, deed)
    await world.pass_time(WHOLE_SCHEDULE - timedelta(hours=1))
    assert world.cases == []
    await world.pass_time(timedelta(hours=2))
    assert world.cases == ["outcome_unknown"]
    await world.pass_time(timedelta(days=4))
    assert world.payment.charges[0].due is due
    assert world.payment.charges[0].state is ChargeState(word.value)
    assert world.store.orders.held["o-1"] is StockMove.RESERVED
    assert world.cases == ["outcome_unknown"], "it goes on being visible"
    gateway.unreachable = False
    await world.service.refresh(world.payment.payment_id, actor="olga")
    assert world.payment.charges[0].state is ChargeState(word.value), "what was not done is not assumed"


async def test_a_refund_nobody_answers_stays_unknown_and_becomes_a_case() -> None:
    """The same schedule, the same key; never failed by time (A4)."""
    world, gateway = await after_a_try(Signal.SETTLED)
    gateway.unreachable = True
    await refund(world)
    await world.pass_time(WHOLE_SCHEDULE - timedelta(hours=1))
    assert (world.cases, world.payment.refunds[0].state) == ([], RefundState.UNKNOWN)
    await world.pass_time(timedelta(hours=2))
    assert world.cases == ["outcome_unknown"]
    await world.pass_time(timedelta(days=4))
    assert (world.cases, world.payment.refunds[0].state) == (["outcome_unknown"], RefundState.UNKNOWN)
    assert {key for key, _ in gateway.asked} == {world.payment.refunds[0].key}


async def test_a_case_nobody_needs_any_more_is_closed_when_the_gateway_tells() -> None:
    """The refund had been made, and only its answer was lost: nobody has to look at it, and the record says why."""
    world, gateway = await after_a_try(Signal.SETTLED)
    gateway.lost_answers = 1
    await refund(world)
    gateway.unreachable = True
    await world.pass_time(WHOLE_SCHEDULE + timedelta(hours=1))
    assert world.cases == ["outcome_unknown"]
    gateway.unreachable = False
    await world.pass_time(timedelta(days=2))
    assert world.payment.refunds[0].state is RefundState.CONFIRMED
    assert world.cases == []
    assert world.payment.cases[0].decided_by == "gateway"


async def test_an_opening_nobody_answers_is_never_called_dead_by_time() -> None:
    """It may be payable all the same: its stock stays reserved, and somebody is called in the end (A4)."""
    world, gateway = watched()
    gateway.lost_answers = 1
    await attempt(world, click)
    gateway.unreachable = True
    await world.pass_time(timedelta(days=5))
    assert world.payment.attempts[0].state is AttemptState.CLOSING
    assert world.status.value == "pending"
    assert world.cases == ["outcome_unknown"]
    assert world.store.orders.held["o-1"] is StockMove.RESERVED
    gateway.unreachable = False
    await world.pass_time(timedelta(hours=2))
    assert (world.status.value, world.cases) == ("expired", [])
    assert world.store.orders.held["o-1"] is StockMove.RELEASED


async def test_a_closing_nobody_answers_is_never_called_dead_by_time() -> None:
    """The shop's wish to cancel waits until the page is proved dead."""
    world, gateway = watched()
    await click(world)
    gateway.unreachable = True
    await attempt(world, cancel_order)
    await world.pass_time(WHOLE_SCHEDULE - timedelta(hours=2))
    assert world.cases == []
    await world.pass_time(timedelta(days=4))
    assert (world.payment.attempts[0].state, world.cases) == (AttemptState.CLOSING, ["outcome_unknown"])
    assert world.store.orders.held["o-1"] is StockMove.RESERVED
    gateway.unreachable = False
    await world.pass_time(timedelta(hours=2))
    assert (world.status.value, world.cases) == ("cancelled", [])


async def test_while_an_opening_is_answered_with_404_it_is_not_dead() -> None:
    """The gateway answers, and knows nothing of the order id: no method was chosen yet, which proves nothing."""
    world, gateway = watched()
    gateway.lost_answers = 1
    await attempt(world, click)
    await world.service.refresh(world.payment.payment_id, actor="olga")
    assert world.payment.attempts[0].state is AttemptState.OPENING
    assert world.status.value == "pending"
