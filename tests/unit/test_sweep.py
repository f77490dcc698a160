"""Due work is state: what was left undone is found and finished, without another notification."""

from datetime import timedelta

import attrs

from payments_core import Signal
from payments_core.limits import LEASE
from payments_core.payment import AttemptState, ChargeDue
from payments_core.ports import DueKind
from unit.world import World


async def test_a_missed_webhook_is_recovered_by_polling(world: World) -> None:
    """The gateway sends nothing at all (B11)."""
    await world.opened()
    world.tries(Signal.SETTLED)
    await world.pass_time(timedelta(minutes=5, seconds=1))
    assert world.status.value == "success"
    assert world.stock == 8


async def test_polling_slows_down_to_once_an_hour(world: World) -> None:
    await world.opened()
    await world.pass_time(timedelta(hours=12))
    reads = world.gateway.calls.count("read")
    await world.pass_time(timedelta(hours=10))
    assert world.gateway.calls.count("read") - reads == 10


async def test_a_process_that_dies_between_accepting_and_asking_loses_nothing(world: World) -> None:
    await world.opened()
    await world.deliver(world.tries(Signal.SETTLED))
    world.errands.waiting.clear()
    await world.pass_time(LEASE + timedelta(seconds=1))
    assert world.status.value == "success"


async def test_claimed_work_is_nobody_elses_until_the_lease_ends(world: World) -> None:
    await world.opened()
    await world.deliver(world.tries(Signal.SETTLED))
    world.clock.move(LEASE)
    claimed = await world.service.sweep.claim(DueKind.NOTIFICATION)
    assert len(claimed) == 1
    assert await world.service.sweep.claim(DueKind.NOTIFICATION) == []
    world.clock.move(LEASE)
    assert len(await world.service.sweep.claim(DueKind.NOTIFICATION)) == 1


async def test_an_unreachable_gateway_postpones_the_row_and_not_the_sweep(world: World) -> None:
    await world.opened()
    world.gateway.unreachable = True
    world.clock.move(timedelta(minutes=6))
    report = await world.service.sweep.once()
    assert report.postponed == {"attempts": 1}
    assert world.payment.attempt(1).check_at == world.clock.now() + LEASE


async def test_nothing_due_is_nothing_done(world: World) -> None:
    await world.opened()
    assert (await world.service.sweep.once()).total == 0


async def test_a_charge_that_cannot_be_cancelled_is_tried_again(world: World) -> None:
    await world.opened()
    other = world.tries(Signal.PENDING)
    await world.hear(other)
    paid = world.tries(Signal.SETTLED, method="card")
    await world.deliver(paid)
    question = world.errands.waiting.popleft()
    await world.service.perform(question)
    world.gateway.unreachable = True
    await world.do_errands()
    charge = world.payment.charge(other)
    assert charge is not None
    assert charge.due is ChargeDue.CANCEL
    world.gateway.unreachable = False
    await world.pass_time(timedelta(minutes=1))
    assert world.gateway.transactions[other].words[-1] is Signal.CANCELLED
    charge = world.payment.charge(other)
    assert charge is not None
    assert charge.due is None


async def test_surprising_money_is_asked_for_once_more_after_the_lag(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.DENIED, method="card")
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    assert world.status.value == "success"
    reads = world.gateway.calls.count("read")
    await world.pass_time(timedelta(minutes=11))
    assert world.gateway.calls.count("read") == reads + 1
    await world.pass_time(timedelta(hours=2))
    assert world.gateway.calls.count("read") == reads + 1


async def test_the_sweep_of_a_shop_with_its_own_orders_leaves_orders_alone(world: World) -> None:
    world.order()
    sweep = attrs.evolve(world.service.sweep, shop=None)
    world.clock.move(timedelta(days=2))
    assert (await sweep.once()).total == 0
    assert world.shop_order().status.value == "pending"


async def test_a_spent_page_is_polled_no_more(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED))
    assert world.payment.attempt(1).state is AttemptState.SPENT
    reads = world.gateway.calls.count("read")
    await world.pass_time(timedelta(hours=5))
    assert world.gateway.calls.count("read") == reads
