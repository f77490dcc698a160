"""Due work is state: what was left undone is found and finished, without another notification."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Signal, Verdict
from payments_core.errors import StorageUnavailable
from payments_core.limits import LEASE, POLL_CHARGES_MAX, SWEEP_BATCH_MAX
from payments_core.payment import AttemptState, ChargeDue
from payments_core.ports import Due, DueKind, NotificationKey
from payments_core.use_cases.sweep import Attend
from payments_core_app import worker
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


async def test_who_sweeps_what_was_due_at_a_moment_meets_no_row_twice(world: World) -> None:
    """What could not be done comes due again, also for somebody who sweeps for longer than a lease."""
    await world.opened()
    world.gateway.unreachable = True
    world.clock.move(timedelta(minutes=6))
    by = world.clock.now()
    assert (await world.service.sweep.once(by=by - timedelta(minutes=2))).total == 0
    assert (await world.service.sweep.once(by=by)).postponed == {"attempts": 1}
    world.clock.move(LEASE + timedelta(seconds=1))
    assert (await world.service.sweep.once(by=by)).total == 0
    assert (await world.service.sweep.once(by=by + timedelta(days=1))).postponed == {"attempts": 1}
    assert (await world.service.sweep.once(by=by + timedelta(days=1))).total == 0, "nothing is due before its time"


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


async def test_a_sweep_counts_what_it_did_and_what_it_postponed(world: World) -> None:
    await world.opened()
    world.order("o-2")
    world.clock.move(timedelta(minutes=5))
    report = await world.service.sweep.once()
    assert (report.done, report.postponed, report.total) == ({"attempts": 1}, {}, 1)
    world.gateway.unreachable = True
    world.clock.move(timedelta(hours=24))
    report = await world.service.sweep.once()
    assert report.done == {"payments": 1, "orders": 1}
    assert report.postponed == {"attempts": 1}
    assert report.total == 3


async def test_a_batch_may_be_worked_on_in_another_way(world: World) -> None:
    await world.opened()
    world.clock.move(timedelta(minutes=5))
    seen: list[str] = []

    async def backwards(attend: Attend, rows: list[Due]) -> None:
        for row in reversed(rows):
            seen.append(row.kind.value)
            await attend(row)

    report = await world.service.sweep.once(each=backwards)
    assert (seen, report.total) == (["attempts"], 1)


async def test_a_sweep_takes_one_batch_of_a_kind(world: World) -> None:
    for number in range(SWEEP_BATCH_MAX + 1):
        world.order(f"o-{number}", units=1, stock=SWEEP_BATCH_MAX + 1)
    world.clock.move(timedelta(hours=25))
    assert (await world.service.sweep.once()).done == {"orders": SWEEP_BATCH_MAX}
    assert (await world.service.sweep.once()).done == {"orders": 1}


@pytest.mark.parametrize(("passes", "done"), [(2, 2 * SWEEP_BATCH_MAX), (3, 2 * SWEEP_BATCH_MAX + 1)])
async def test_a_run_takes_batch_after_batch_and_has_an_end(
    world: World, monkeypatch: pytest.MonkeyPatch, passes: int, done: int
) -> None:
    """All that was due at its beginning, up to a bound: nobody watches a run of a timer."""
    monkeypatch.setattr(worker, "_PASSES_MAX", passes)
    for number in range(2 * SWEEP_BATCH_MAX + 1):
        world.order(f"o-{number}", units=1, stock=2 * SWEEP_BATCH_MAX + 1)
    world.clock.move(timedelta(hours=25))
    assert (await worker.attend_to_all(world.service.sweep, 4)).done == {"orders": done}


async def test_a_store_that_fails_ends_the_sweep(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it nothing can be attended to; the caller waits and begins again."""
    await world.opened()
    world.clock.move(timedelta(minutes=5))

    async def gone(*_: object, **__: object) -> None:
        raise StorageUnavailable("the database is gone")

    monkeypatch.setattr("payments_core.use_cases.apply_reading.AskGateway.page", gone)
    with pytest.raises(StorageUnavailable):
        await world.service.sweep.once()


async def test_only_the_newest_tries_of_a_page_are_asked_about(world: World) -> None:
    """An order id shows one transaction only; without a bound one page could ask for hours."""
    await world.opened()
    tries = [world.tries(Signal.PENDING) for _ in range(POLL_CHARGES_MAX + 2)]
    for transaction in tries:
        await world.hear(transaction)
    before = world.gateway.calls.count("read")
    world.clock.move(timedelta(minutes=5))
    await world.service.sweep.once()
    assert world.gateway.calls.count("read") - before == 1 + POLL_CHARGES_MAX
    asked = {c.transaction_id for c in world.payment.charges if c.reading_number > len(tries) + 1}
    assert asked == set(tries[2:])


async def test_a_notification_whose_gateway_is_gone_waits_until_it_is_back(world: World) -> None:
    await world.opened()
    await world.deliver(world.tries(Signal.SETTLED))
    world.errands.waiting.clear()
    gateways = dict(world.service.sweep.ask.gateways)
    world.forget_the_gateway()
    world.clock.move(LEASE)
    await world.service.sweep.once()
    (kept,) = world.store.inbox.rows.values()
    assert (kept.verdict, kept.check_at) == (Verdict.WAITING, world.clock.now() + LEASE)
    world.service.sweep.ask.gateways.update(gateways)  # type: ignore[attr-defined]
    world.clock.move(LEASE)
    await world.service.sweep.once()
    assert world.status.value == "success"


async def test_rows_of_a_payment_that_is_gone_are_no_work(world: World) -> None:
    for due in (
        Due(DueKind.ATTEMPT, "nobody", "1"),
        Due(DueKind.CHARGE, "nobody", "tx"),
        Due(DueKind.REFUND, "nobody", "k"),
        Due(DueKind.DEADLINE, "nobody"),
        Due(DueKind.NOTIFICATION, "nobody", key=NotificationKey("nobody", "memory", "default", "digest")),
    ):
        await world.service.sweep.attend(due)
    assert world.store.payments.rows == {}


async def test_rows_that_break_us_are_counted_and_keep_no_others_waiting(world: World) -> None:
    """Their gateway is not set up any more: whatever comes of it, they come due again."""
    await world.opened()
    world.order("o-2")
    await world.click("o-2")
    world.forget_the_gateway()
    world.clock.move(timedelta(minutes=6))
    assert (await world.service.sweep.once()).postponed == {"attempts": 2}


async def test_an_unclicked_order_is_not_given_up_before_its_time(world: World) -> None:
    order = world.order()
    await world.service.sweep.attend(Due(DueKind.ORDER, "o-1"))
    assert world.shop_order().status.value == "pending"
    world.clock.at = order.expires_at
    await world.service.sweep.attend(Due(DueKind.ORDER, "o-1"))
    assert (world.shop_order().status.value, world.shop_order().expired) == ("cancelled", True)


async def test_every_row_that_had_to_wait_is_counted(world: World) -> None:
    await world.opened()
    world.order("o-2")
    await world.click("o-2")
    world.gateway.unreachable = True
    world.clock.move(timedelta(minutes=6))
    assert (await world.service.sweep.once()).postponed == {"attempts": 2}
