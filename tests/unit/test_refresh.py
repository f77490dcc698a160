"""One question behind the return page, the status route and the operator's button."""

import asyncio
import random
from datetime import timedelta

import attrs
import pytest

from harness.soak import size
from payments_core import Payment, Signal
from payments_core.errors import GatewayUnavailable, NotFound, StaleWrite
from payments_core.limits import REFRESH_EVERY
from payments_core.observations import Observation
from payments_core.payment import Attempt, AttemptState, ChargeDue, CloseReason, RefundState
from payments_core.states import ChargeState
from payments_core.testing.samples import NOW
from payments_core.use_cases import refresh as module
from payments_core.use_cases.payment_status import PaymentView
from payments_core.use_cases.refresh import LocalTurns, is_unsettled, may_be_paid
from payments_core_memory import MemoryGateway
from unit.values import DEAD, HELD, PAGE, PAID, SPENT, charge, refund, with_page
from unit.world import World


async def read(world: World, *, wait_s: float = 0) -> PaymentView:
    return await world.service.status("o-1", customer_id="alice", wait_s=wait_s)


def reads(world: World) -> int:
    return world.gateway.calls.count("read")


async def test_a_plain_look_at_an_open_page_asks_nobody(world: World) -> None:
    await world.opened()
    for _ in range(100):
        await read(world)
    assert reads(world) == 0


async def test_a_look_at_a_payment_at_rest_asks_nobody(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED))
    before = reads(world)
    assert (await read(world, wait_s=25)).status.value == "success"
    assert reads(world) == before


async def test_a_buyer_who_waits_without_news_makes_us_ask(world: World) -> None:
    """He came back before the notification did, or it never comes."""
    await world.opened()
    world.tries(Signal.SETTLED)
    assert (await read(world, wait_s=25)).status.value == "success"
    assert reads(world) > 0


async def test_he_waits_two_seconds_for_that_and_no_longer(world: World) -> None:
    await world.opened()
    world.tries(Signal.SETTLED)
    assert (await read(world, wait_s=1.75)).status.value == "pending"
    assert reads(world) == 0
    assert (await read(world, wait_s=2.5)).status.value == "success"


async def test_what_is_unknown_is_asked_about_on_read_and_not_by_every_reader(world: World) -> None:
    """A refund whose answer was lost: the first reader asks, the others get what is stored."""
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED))
    world.gateway.lost_answers = 1
    await world.service.refund(world.payment.payment_id, None, None, actor="operator:o")
    assert world.payment.refunds[0].state.value in {"sent", "unknown"}
    before = reads(world)
    views = await asyncio.gather(*(read(world) for _ in range(50)))
    assert {view.status.value for view in views} == {"refunded"}
    assert reads(world) - before <= 2, "the page and its charge, once"


async def test_while_the_gateway_is_away_a_reader_gets_what_is_stored(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED))
    world.gateway.unreachable = True
    await world.service.refund(world.payment.payment_id, None, None, actor="operator:o")
    assert (await read(world)).status.value == "success"
    asked = reads(world)
    assert (await read(world)).status.value == "success"
    assert reads(world) == asked, "asked a moment ago"
    world.clock.move(timedelta(seconds=11))
    world.gateway.unreachable = False
    await read(world)
    assert reads(world) > asked


# ── what is asked about ───────────────────────────────────────────────────────────────────────────────────────────────
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("payment", "unsettled"),
    [
        (PAGE, False),
        (PAID, False),
        (DEAD, False),
        (with_page(PAGE, state=AttemptState.OPENING), True),
        (with_page(PAGE, state=AttemptState.CLOSING), True),
        (with_page(PAGE, doubt=CloseReason.EXPIRED), True),
        (with_page(PAGE, state=AttemptState.OPENING, lease_until=NOW + SECOND), False),
        (with_page(PAGE, state=AttemptState.OPENING, lease_until=NOW), True),
        (with_page(DEAD, doubt=CloseReason.EXPIRED), False),
        *((HELD.with_charge(charge(ChargeState.AUTHORIZED, due=due)), True) for due in module.WISHES),
        (PAGE.with_charge(charge(due=ChargeDue.RECHECK)), False),
        (PAGE.with_charge(charge(ChargeState.PENDING, due=ChargeDue.CANCEL)), False),
        *((PAID.with_refund(refund(state)), state.value in {"requested", "sent", "unknown"}) for state in RefundState),
    ],
)
def test_only_what_has_no_outcome_is_asked_about_for_a_reader(payment: Payment, unsettled: bool) -> None:
    """And not a page somebody is opening this moment: he brings the answer himself."""
    assert is_unsettled(payment, NOW) is unsettled


@pytest.mark.parametrize(
    ("payment", "may_be"),
    [
        (PAGE, True),
        (DEAD, False),
        (PAID, False),
        (SPENT.with_charge(charge(ChargeState.PENDING)), True),
        (DEAD.with_charge(charge(ChargeState.DENIED)), False),
    ],
)
def test_a_buyer_may_be_paying_on_an_open_page_or_a_try_that_lives(payment: Payment, may_be: bool) -> None:
    assert may_be_paid(payment) is may_be


async def test_a_turn_comes_once_in_a_while_for_each_payment() -> None:
    turns = LocalTurns()
    assert await turns.take("p", now=NOW, every=REFRESH_EVERY)
    assert not await turns.take("p", now=NOW + REFRESH_EVERY - SECOND, every=REFRESH_EVERY)
    assert await turns.take("q", now=NOW, every=REFRESH_EVERY)
    assert await turns.take("p", now=NOW + REFRESH_EVERY, every=REFRESH_EVERY)
    assert not await turns.take("p", now=NOW + REFRESH_EVERY, every=REFRESH_EVERY), "counted from the newest"


async def test_turns_of_long_ago_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process remembers so many payments and no more; one asked about anew is not the oldest any more."""
    monkeypatch.setattr(LocalTurns, "_KEPT_MAX", 2)
    turns = LocalTurns()
    for name in ("a", "b"):
        assert await turns.take(name, now=NOW, every=REFRESH_EVERY)
    assert await turns.take("a", now=NOW + REFRESH_EVERY, every=REFRESH_EVERY)
    assert await turns.take("c", now=NOW + REFRESH_EVERY, every=REFRESH_EVERY), "b is forgotten"
    later = NOW + REFRESH_EVERY + SECOND
    assert not await turns.take("a", now=later, every=REFRESH_EVERY)
    assert await turns.take("b", now=NOW + SECOND, every=REFRESH_EVERY)


# ── the question itself ───────────────────────────────────────────────────────────────────────────────────────────────
async def test_there_is_nothing_to_ask_about_a_payment_that_does_not_exist(world: World) -> None:
    with pytest.raises(NotFound) as refused:
        await world.service.refresh("nobody")
    assert refused.value.code == "no_payment"
    assert world.gateway.calls == []


async def test_the_page_and_every_try_are_asked_about(world: World) -> None:
    """An order id shows the newest try only."""
    await world.opened()
    tries = [world.tries(Signal.PENDING) for _ in range(3)]
    for transaction in tries:
        await world.hear(transaction)
    world.gateway.becomes(tries[0], Signal.SETTLED)
    before = reads(world)
    payment = await world.service.refresh(world.payment.payment_id)
    assert reads(world) - before == 1 + len(tries)
    assert payment.paid_by == tries[0]
    assert payment.version == world.payment.version, "what is stored is what is given back"


async def test_a_page_that_is_over_is_asked_about_all_the_same(world: World) -> None:
    """Money may have come to it that nobody told us of."""
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    page = attrs.evolve(world.payment.attempt(1), state=AttemptState.DEAD, check_at=None)
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(page)
    payment = await world.service.refresh(world.payment.payment_id)
    assert payment.charge(transaction) is not None


async def test_the_operator_is_told_when_the_gateway_is_away(world: World) -> None:
    await world.opened()
    world.gateway.unreachable = True
    with pytest.raises(GatewayUnavailable):
        await world.service.refresh(world.payment.payment_id)


# ── for a reader ──────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_readers_of_one_payment_share_one_question(world: World) -> None:
    await world.opened()
    refresh, payment_id = world.service.refresh, world.payment.payment_id
    assert await asyncio.gather(*(refresh.for_reader(payment_id) for _ in range(5))) == [True] * 5
    assert reads(world) == 1
    world.clock.move(REFRESH_EVERY)
    assert await refresh.for_reader(payment_id)
    assert reads(world) == 2, "the first question is over, and asked again when its turn comes"


async def test_with_too_many_questions_on_their_way_a_reader_gets_what_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFRESHES_MAX", 1)
    await world.opened()
    refresh, payment_id = world.service.refresh, world.payment.payment_id
    assert await asyncio.gather(refresh.for_reader(payment_id), refresh.for_reader("another")) == [True, False]
    assert await refresh.for_reader("another"), "the first is over"


@attrs.define
class Slow(MemoryGateway):
    """Answers when it is let."""

    may_answer: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def read_page(self, attempt: Attempt) -> Observation | None:
        await self.may_answer.wait()
        return await MemoryGateway.read_page(self, attempt)


async def test_an_answer_that_takes_too_long_is_stored_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No reader waits for it longer than the bound."""
    monkeypatch.setattr(module, "REFRESH_BOUND", timedelta(0))
    gateway = Slow()
    world = World(gateway=gateway)
    await world.opened()
    world.tries(Signal.SETTLED)
    refresh, payment_id = world.service.refresh, world.payment.payment_id
    assert await asyncio.wait_for(refresh.for_reader(payment_id), timeout=5) is False
    assert world.status.value == "pending"
    gateway.may_answer.set()
    monkeypatch.setattr(module, "REFRESH_BOUND", timedelta(seconds=5))
    assert await refresh.for_reader(payment_id)
    assert world.status.value == "success"


async def test_a_second_reader_waits_for_the_answer_to_the_first() -> None:
    gateway = Slow()
    world = World(gateway=gateway)
    await world.opened()
    world.tries(Signal.SETTLED)
    refresh, payment_id = world.service.refresh, world.payment.payment_id
    readers = [asyncio.create_task(refresh.for_reader(payment_id)) for _ in range(2)]
    for _ in range(9):
        await asyncio.sleep(0)
    assert [reader.done() for reader in readers] == [False, False]
    gateway.may_answer.set()
    assert await asyncio.gather(*readers) == [True, True]
    assert world.status.value == "success"


async def test_nothing_of_a_reader_is_on_its_way_after_the_drain() -> None:
    gateway = Slow()
    world = World(gateway=gateway)
    await world.opened()
    waiting = asyncio.create_task(world.service.refresh.for_reader(world.payment.payment_id))
    for _ in range(5):
        await asyncio.sleep(0)
    await asyncio.wait_for(world.service.refresh.drain(), timeout=5)
    assert not world.service.refresh._running
    assert await asyncio.wait_for(waiting, timeout=5), "its reader goes on with what is stored"
    gateway.may_answer.set()
    await world.service.refresh.drain()
    assert reads(world) == 0


@pytest.mark.parametrize("trouble", [GatewayUnavailable("503"), RuntimeError("a bug of ours")])
async def test_a_reader_is_never_told_of_trouble(world: World, trouble: Exception) -> None:
    """He gets what is stored, and the next question is asked when its turn comes."""
    await world.opened()
    refresh, payment_id = world.service.refresh, world.payment.payment_id

    async def fails(payment_id: str, *, now: object, every: object) -> bool:  # noqa: ARG001 - the port
        raise trouble

    turns = refresh.turns
    turns.take = fails  # type: ignore[method-assign]
    assert await refresh.for_reader(payment_id)
    del turns.take
    assert await refresh.for_reader(payment_id)
    assert reads(world) == 1


@attrs.define
class Unsteady(MemoryGateway):
    """Answers after so many other things had their turn, another number each time."""

    dice: random.Random = attrs.field(factory=lambda: random.Random(3))  # noqa: S311 - a test repeats

    async def read(self, reference: str) -> Observation | None:
        for _ in range(self.dice.randrange(4)):
            await asyncio.sleep(0)
        answer = await MemoryGateway.read(self, reference)
        for _ in range(self.dice.randrange(4)):
            await asyncio.sleep(0)
        return answer


async def test_redirect_notification_and_poller_at_one_moment_make_one_paid_effect() -> None:
    """B3: the buyer's return, the webhook and the poller, 10,000 times, each time in another order."""
    dice = random.Random(7)  # noqa: S311 - a test repeats
    tries = size(10_000, usually=500)
    for number in range(tries):
        gateway = Unsteady(dice=random.Random(number))  # noqa: S311 - a test repeats
        world = World(gateway=gateway)
        await world.opened()
        transaction = world.tries(Signal.SETTLED)
        payment_id = world.payment.payment_id
        page = world.payment.attempts[0]
        doers = [
            world.hear(transaction),
            world.service.refresh(payment_id),
            world.service.sweep.ask.page(payment_id, page),
            world.service.refresh.for_reader(payment_id),
        ]
        dice.shuffle(doers)
        ended = await asyncio.gather(*doers, return_exceptions=True)
        assert [
            error for error in ended if isinstance(error, BaseException) and not isinstance(error, StaleWrite)
        ] == []
        assert world.status.value == "success"
        assert [world.history.count(kind) for kind in ("payment.paid", "order.paid", "stock.consumed")] == [1, 1, 1]
    print(f"{tries} races of redirect, notification and poller: one paid effect in each")
