"""Facts reach each subscriber at least once, in the order of their payment, on a schedule, whoever else is down."""

import asyncio
from datetime import datetime, timedelta

import attrs
import pytest

from payments_core.errors import StaleWrite, StorageUnavailable
from payments_core.facts import Event
from payments_core.limits import DELIVERY_SCHEDULE, FACTS_AT_ONCE_MAX, LEASE
from payments_core.ports import Delivery, DueKind, Subscriber
from payments_core.testing.samples import event, payment
from payments_core.use_cases import deliver as module
from payments_core.use_cases.deliver import DeliverFacts, DeliveryReport
from payments_core_memory import ManualClock
from unit.world import World

Row = tuple[str, str, int]
"""Subscriber, payment, sequence."""


@attrs.define
class MemoryOutbox:
    """The `Outbox` port in memory: a fact is free when none before it of its payment is left."""

    waiting: dict[Row, Delivery] = attrs.field(factory=dict)
    try_at: dict[Row, datetime | None] = attrs.field(factory=dict)
    leases: list[timedelta] = attrs.field(factory=list)
    limits: list[int] = attrs.field(factory=list)
    is_away: bool = False
    """What was taken, or was not, cannot be written down."""

    def put(self, subscriber: str, *events: Event, at: datetime) -> None:
        for one in events:
            row = (subscriber, one.payment_id, one.sequence)
            self.waiting[row] = Delivery(subscriber=subscriber, event=one, tries=0)
            self.try_at[row] = at

    async def claim(self, *, now: datetime, until: datetime, limit: int) -> list[Delivery]:
        self.leases.append(until - now)
        self.limits.append(limit)
        first: dict[tuple[str, str], Row] = {}
        for row in sorted(self.waiting):
            first.setdefault(row[:2], row)
        due = [row for row in first.values() if (at := self.try_at[row]) is not None and at <= now][:limit]
        self.try_at.update(dict.fromkeys(due, until))
        return [self.waiting[row] for row in due]

    async def delivered(self, delivery: Delivery) -> None:
        self._there()
        del self.waiting[_row(delivery)]

    async def failed(self, delivery: Delivery, *, try_at: datetime | None) -> None:
        self._there()
        self.waiting[_row(delivery)] = attrs.evolve(delivery, tries=delivery.tries + 1)
        self.try_at[_row(delivery)] = try_at

    def _there(self) -> None:
        if self.is_away:
            raise StorageUnavailable("the database is gone")

    async def revive(self, subscriber: str, *, now: datetime) -> int:
        dead = [row for row, at in self.try_at.items() if row[0] == subscriber and at is None]
        self.try_at.update(dict.fromkeys(dead, now))
        return len(dead)


def _row(delivery: Delivery) -> Row:
    return delivery.subscriber, delivery.event.payment_id, delivery.event.sequence


@attrs.define
class Crm:
    """A subscriber that remembers what it took, and can be down."""

    taken: list[tuple[str, int]] = attrs.field(factory=list)
    names: list[str] = attrs.field(factory=list)
    trouble: BaseException | None = None

    async def __call__(self, event: Event, delivery_id: str) -> None:
        self.names.append(delivery_id)
        if self.trouble is not None:
            raise self.trouble
        self.taken.append((event.payment_id, event.sequence))


@attrs.define
class Post:
    """Facts of one payment for one subscriber, and what is needed to deliver them."""

    crm: Crm = attrs.field(factory=Crm)
    outbox: MemoryOutbox = attrs.field(factory=MemoryOutbox)
    clock: ManualClock = attrs.field(factory=ManualClock)
    subscribers: dict[str, Subscriber] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.subscribers["crm"] = self.crm

    def holds(self, count: int, *, subscriber: str = "crm", number: int = 1) -> str:
        """The id of a payment with so many facts."""
        made = payment(number)
        self.outbox.put(subscriber, *(event(made, n) for n in range(1, count + 1)), at=self.clock.now())
        return made.payment_id

    @property
    def deliver(self) -> DeliverFacts:
        return DeliverFacts(self.outbox, self.subscribers, self.clock)


@pytest.fixture
def post() -> Post:
    return Post()


async def test_facts_come_in_the_order_of_their_payment_in_one_go(post: Post) -> None:
    payment_id = post.holds(3)
    assert await post.deliver.once() == DeliveryReport(done=3)
    assert post.crm.taken == [(payment_id, 1), (payment_id, 2), (payment_id, 3)]
    assert post.crm.names == [f"{payment_id}-{number}" for number in (1, 2, 3)]
    assert await post.deliver.once() == DeliveryReport()
    assert len(post.crm.taken) == 3, "what was taken is not offered again"


async def test_facts_are_leased_as_long_as_any_work_and_so_many_at_once(post: Post) -> None:
    await post.deliver.once()
    assert (post.outbox.leases, post.outbox.limits) == ([LEASE], [FACTS_AT_ONCE_MAX])


async def test_a_very_long_history_is_not_delivered_in_one_go(post: Post) -> None:
    """One payment must not keep a sweep for ever; the rest comes with the next."""
    post.holds(25)
    assert await post.deliver.once() == DeliveryReport(done=20)
    assert await post.deliver.once() == DeliveryReport(done=5)


async def test_a_fact_that_is_not_taken_comes_again_on_the_schedule_and_is_a_dead_letter_in_the_end(post: Post) -> None:
    """Whatever a subscriber raises; always under the same id."""
    payment_id = post.holds(2)
    row = ("crm", payment_id, 1)
    post.crm.trouble = RuntimeError("down")
    for number, pause in enumerate(DELIVERY_SCHEDULE, start=1):
        assert await post.deliver.once() == DeliveryReport(postponed=1)
        assert post.outbox.try_at[row] == post.clock.now() + pause
        assert post.outbox.waiting[row].tries == number
        post.clock.move(pause)
    assert await post.deliver.once() == DeliveryReport(dead=1)
    assert post.outbox.try_at[row] is None
    post.clock.move(timedelta(days=30))
    assert await post.deliver.once() == DeliveryReport(), "nothing of it is offered any more, nor what is behind it"
    assert set(post.crm.names) == {f"{payment_id}-1"}
    post.crm.trouble = None
    assert await post.outbox.revive("crm", now=post.clock.now()) == 1
    assert await post.deliver.once() == DeliveryReport(done=2)


async def test_a_subscriber_that_is_down_keeps_nothing_from_the_others(post: Post) -> None:
    post.crm.trouble = ConnectionError("down")
    warehouse = post.subscribers["warehouse"] = Crm()
    post.holds(2)
    post.holds(2, subscriber="warehouse")
    assert await post.deliver.once() == DeliveryReport(done=2, postponed=1)
    assert len(warehouse.taken) == 2


async def test_subscribers_are_served_side_by_side(post: Post) -> None:
    """A slow one may take its whole time-out: this one even waits for the other."""
    other_has_it = asyncio.Event()

    async def slow(event: Event, delivery_id: str) -> None:  # noqa: ARG001 - the port
        await other_has_it.wait()

    async def quick(event: Event, delivery_id: str) -> None:  # noqa: ARG001 - the port
        other_has_it.set()

    post.subscribers.update({"a-slow": slow, "quick": quick})
    post.holds(1, subscriber="a-slow")
    post.holds(1, subscriber="quick")
    assert await asyncio.wait_for(post.deliver.once(), timeout=5) == DeliveryReport(done=2)


async def test_a_subscriber_that_never_answers_is_given_up_after_a_while(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(event: Event, delivery_id: str) -> None:  # noqa: ARG001 - the port
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "DELIVERY_TIMEOUT", timedelta(0))
    post.subscribers["silent"] = silent
    post.holds(1, subscriber="silent")
    assert await asyncio.wait_for(post.deliver.once(), timeout=5) == DeliveryReport(postponed=1)


async def test_a_subscriber_another_process_knows_is_not_counted_against(post: Post) -> None:
    payment_id = post.holds(1, subscriber="theirs")
    assert await post.deliver.once() == DeliveryReport(postponed=1)
    assert post.outbox.waiting["theirs", payment_id, 1].tries == 0
    assert post.outbox.try_at["theirs", payment_id, 1] == post.clock.now() + LEASE, "it comes again after its lease"


async def test_every_fact_for_others_is_counted(post: Post) -> None:
    for number in (1, 2):
        post.holds(1, subscriber="theirs", number=number)
    assert await post.deliver.once() == DeliveryReport(postponed=2)


@pytest.mark.parametrize("trouble", [None, RuntimeError("down")])
async def test_a_store_that_is_away_ends_the_delivery(post: Post, trouble: Exception | None) -> None:
    """It is no subscriber's fault, so it costs none of his tries; whether he took the fact cannot be written down."""
    payment_id = post.holds(1)
    post.crm.trouble = trouble
    post.outbox.is_away = True
    with pytest.raises(StorageUnavailable):
        await post.deliver.once()
    post.outbox.is_away = False
    assert post.outbox.waiting["crm", payment_id, 1].tries == 0
    assert post.outbox.try_at["crm", payment_id, 1] == post.clock.now() + LEASE, "it comes again after its lease"


async def test_what_was_under_way_when_the_store_went_is_still_finished(post: Post) -> None:
    """The store is back by then."""
    post.outbox.is_away = True
    post.holds(1)
    taken: list[str] = []

    async def slow(event: Event, delivery_id: str) -> None:  # noqa: ARG001 - the port
        for _ in range(3):
            await asyncio.sleep(0)
        taken.append(delivery_id)
        post.outbox.is_away = False

    post.subscribers["slow"] = slow
    payment_id = post.holds(1, subscriber="slow")
    with pytest.raises(StorageUnavailable):
        await post.deliver.once()
    assert taken == [f"{payment_id}-1"]
    assert ("slow", payment_id, 1) not in post.outbox.waiting
    assert post.outbox.waiting["crm", payment_id, 1].tries == 0


OWN_TROUBLE = [
    asyncio.CancelledError("a task of his was cancelled"),
    StorageUnavailable("his own database is away"),
    StaleWrite("somebody was before him"),
    BaseExceptionGroup("his tasks", [asyncio.CancelledError()]),
]


@pytest.mark.parametrize("trouble", OWN_TROUBLE, ids=lambda trouble: type(trouble).__name__)
async def test_whatever_a_subscriber_raises_is_his_own_trouble(post: Post, trouble: BaseException) -> None:
    """Also what would mean something else if it came from us: it counts, and keeps nothing from the others."""
    payment_id = post.holds(1)
    post.crm.trouble = trouble
    warehouse = post.subscribers["warehouse"] = Crm()
    post.holds(3, subscriber="warehouse")
    assert await post.deliver.once() == DeliveryReport(done=3, postponed=1)
    for pause in DELIVERY_SCHEDULE:
        post.clock.move(pause)
        await post.deliver.once()
    row = ("crm", payment_id, 1)
    assert (post.outbox.waiting[row].tries, post.outbox.try_at[row]) == (len(DELIVERY_SCHEDULE) + 1, None)
    assert len(warehouse.taken) == 3


async def test_a_subscriber_that_awaits_a_cancelled_task_is_not_taken_for_our_end(post: Post) -> None:
    async def gave_up(event: Event, delivery_id: str) -> None:  # noqa: ARG001 - the port
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        await task

    post.subscribers["crm"] = gave_up
    post.holds(1)
    assert await post.deliver.once() == DeliveryReport(postponed=1)


def test_a_subscriber_may_end_the_process(post: Post) -> None:
    payment_id = post.holds(1)
    post.crm.trouble = SystemExit(3)
    with pytest.raises(SystemExit):
        asyncio.run(post.deliver.once())
    assert post.outbox.waiting["crm", payment_id, 1].tries == 0


async def test_a_delivery_that_is_cancelled_ends_and_counts_against_nobody(post: Post) -> None:
    """The process is asked to end while a subscriber is at it."""
    begun = asyncio.Event()

    async def at_it(event: Event, delivery_id: str) -> None:  # noqa: ARG001 - the port
        begun.set()
        await asyncio.Event().wait()

    post.subscribers["crm"] = at_it
    payment_id = post.holds(1)
    delivery = asyncio.create_task(post.deliver.once())
    await begun.wait()
    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivery
    assert post.outbox.waiting["crm", payment_id, 1].tries == 0


async def test_the_sweep_delivers_what_waits_and_counts_it(world: World, post: Post) -> None:
    sweep = attrs.evolve(world.service.sweep, deliver=post.deliver)
    post.holds(2)
    post.holds(1, subscriber="theirs")
    assert (await sweep.once(kinds=[DueKind.DEADLINE])).total == 0, "asked for rows of one kind, it does nothing else"
    report = await sweep.once()
    assert (report.done, report.postponed) == ({"outbox": 2}, {"outbox": 1})


async def test_the_sweep_counts_a_dead_letter_among_what_could_not_be_finished(world: World, post: Post) -> None:
    sweep = attrs.evolve(world.service.sweep, deliver=post.deliver)
    payment_id = post.holds(1)
    row = ("crm", payment_id, 1)
    post.outbox.waiting[row] = attrs.evolve(post.outbox.waiting[row], tries=len(DELIVERY_SCHEDULE))
    post.crm.trouble = RuntimeError("down")
    post.holds(1, subscriber="theirs")
    report = await sweep.once()
    assert (report.done, report.postponed) == ({}, {"outbox": 2})


async def test_every_fact_that_was_not_taken_is_counted(post: Post) -> None:
    post.crm.trouble = RuntimeError("down")
    ids = [post.holds(1, number=number) for number in (1, 2)]
    assert await post.deliver.once() == DeliveryReport(postponed=2)
    for payment_id in ids:
        row = ("crm", payment_id, 1)
        post.outbox.waiting[row] = attrs.evolve(post.outbox.waiting[row], tries=len(DELIVERY_SCHEDULE))
    post.clock.move(DELIVERY_SCHEDULE[0])
    assert await post.deliver.once() == DeliveryReport(dead=2)
