"""One question behind the return page, the status route and the operator's button."""

import asyncio
import random
from datetime import timedelta

import attrs

from harness.soak import size
from payments_core import Signal
from payments_core.errors import StaleWrite
from payments_core.observations import Observation
from payments_core.use_cases.payment_status import PaymentView
from payments_core_memory import MemoryGateway
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
