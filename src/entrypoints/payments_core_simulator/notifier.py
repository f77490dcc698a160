"""Delivers notifications: again by the gateway's retry table, late or never by fault.

A gateway that keeps the order of an order's notifications keeps it for the first attempts: a delivery starts when the
one before it was tried once. Retries, and deliveries a fault delays or holds back, are overtaken, as they are there.
"""

import asyncio
import itertools
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import attrs
import msgspec

from .courier import Courier
from .faults import Faults, NotificationFaults
from .limits import DELIVERIES_IN_FLIGHT_MAX, DELIVERIES_WAITING_MAX, NOTIFICATION_LOG_MAX
from .retries import Answer, RetryTable, acknowledged

log = logging.getLogger(__name__)


@attrs.frozen
class Message:
    """What a merchant is told. `word` is what a rule about notifications names: a status, or the type of an event."""

    body: bytes
    order_id: str
    transaction_id: str
    word: str


@attrs.frozen
class PostalHabits:
    """How a gateway sends. `headers` is asked before every attempt, so that each can carry a signature of its own."""

    retries: RetryTable
    headers: Callable[[bytes], Mapping[str, str]]
    in_order: bool


@attrs.define(eq=False)
class Delivery:
    """One message on its way to one URL."""

    number: int
    url: str
    message: Message
    attempts: int = 0
    last_answer: Answer | None = None
    state: str = "waiting"
    tried: asyncio.Event = attrs.field(factory=asyncio.Event)
    released: asyncio.Event = attrs.field(factory=asyncio.Event)
    # Deliveries a fault holds back until this one was tried.
    holds: list["Delivery"] = attrs.field(factory=list)

    def report(self) -> dict[str, object]:
        """Return the delivery as `/_sim/notifications` shows it."""
        told = self.message
        names = ("number", "url", "state", "attempts", "last_answer")
        about = {"order_id": told.order_id, "transaction_id": told.transaction_id, "body": msgspec.Raw(told.body)}
        return {name: getattr(self, name) for name in names} | about


@attrs.define
class _Lane:
    """The deliveries of one order to one URL: the last in line, and those held back."""

    last: Delivery | None = None
    held: list[Delivery] = attrs.field(factory=list)


class Notifier:
    """Keeps every delivery until it is acknowledged or given up. `default_speed_up` counts when the plan names none."""

    def __init__(
        self,
        faults: Faults,
        habits: PostalHabits,
        default_speed_up: float,
        courier: Callable[[RetryTable], Courier] = Courier,
    ) -> None:
        self._faults = faults
        self._habits = habits
        self._default_speed_up = default_speed_up
        self._new_courier = courier
        self._courier: Courier | None = None
        self._slots = asyncio.Semaphore(DELIVERIES_IN_FLIGHT_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self.reset()

    def reset(self) -> None:
        """Stop every delivery and forget all."""
        for task in self._tasks:
            task.cancel()
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._numbers = itertools.count(1)
        self._log: deque[Delivery] = deque(maxlen=NOTIFICATION_LOG_MAX)
        self._counts = dict.fromkeys(("sent", "acknowledged", "given_up", "dropped", "pending"), 0)
        self.reseed()

    def reseed(self) -> None:
        """Shift the retries from now on by the seed of the plan in effect."""
        self._chances = random.Random(self._faults.seed)  # noqa: S311 - the random shift of retries, not a secret

    def counts(self) -> dict[str, int]:
        """Return how many deliveries were tried, acknowledged, given up, dropped, and are still under way."""
        return dict(self._counts)

    def recent(self, limit: int, order_id: str | None = None) -> list[Delivery]:
        """Return the newest deliveries, oldest first."""
        chosen = [one for one in self._log if order_id is None or one.message.order_id == order_id]
        return chosen[-limit:]

    def send(self, message: Message, urls: Iterable[str]) -> None:
        """Put one message on its way to each URL."""
        for url in urls:
            drawn = self._faults.draw_notification(message.word)
            for _ in range(1 + drawn.copies):
                delivery = Delivery(next(self._numbers), url, message)
                self._log.append(delivery)
                self._start(delivery, drawn)

    def _start(self, delivery: Delivery, drawn: NotificationFaults) -> None:
        full = self._counts["pending"] >= DELIVERIES_WAITING_MAX
        if full:
            log.warning("notification %d dropped: %d are waiting", delivery.number, DELIVERIES_WAITING_MAX)
        if full or drawn.dropped:
            return self._finish(delivery, "dropped")
        self._counts["pending"] += 1
        before = self._line_up(delivery, drawn)
        task = asyncio.get_running_loop().create_task(self._deliver(delivery, before, drawn))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    def _line_up(self, delivery: Delivery, drawn: NotificationFaults) -> Delivery | None:
        """Give the delivery its place in line, and return the one it waits for."""
        lane = self._lanes.setdefault((delivery.url, delivery.message.order_id), _Lane())
        if drawn.held_s > 0:
            lane.held.append(delivery)
            return None
        delivery.holds, lane.held = lane.held, []
        if drawn.delay_s > 0 or not self._habits.in_order:
            return None
        before, lane.last = lane.last, delivery
        return before

    async def _deliver(self, delivery: Delivery, before: Delivery | None, drawn: NotificationFaults) -> None:
        try:
            await asyncio.sleep(drawn.delay_s)
            if drawn.held_s > 0:
                await _wait_at_most(delivery.released, drawn.held_s)
            if before is not None:
                await before.tried.wait()
            await self._attempt_until_done(delivery)
        finally:
            _mark_tried(delivery)
            self._leave_lane(delivery)

    async def _attempt_until_done(self, delivery: Delivery) -> None:
        for retry in itertools.count():
            answer = await self._attempt(delivery)
            if acknowledged(answer):
                return self._finish(delivery, "acknowledged", pending=-1)
            if retry >= self._habits.retries.allowed(answer):
                log.warning("notification %d given up after %s", delivery.number, answer)
                return self._finish(delivery, "given_up", pending=-1)
            await asyncio.sleep(self._pause_s(retry))
        return None

    def _pause_s(self, retry: int) -> float:
        plan, retries = self._faults.delivery, self._habits.retries
        speed_up = plan.speed_up or self._default_speed_up
        return retries.pause_s(retry, plan.intervals_s or retries.intervals_s, speed_up, self._chances)

    async def _attempt(self, delivery: Delivery) -> Answer:
        async with self._slots:
            if self._courier is None:
                self._courier = self._new_courier(self._habits.retries)
            if delivery.attempts == 0:
                self._counts["sent"] += 1
            delivery.attempts += 1
            body = delivery.message.body
            headers = self._habits.headers(body)
            answer = await self._courier.post(delivery.url, body, headers, self._faults.delivery.timeout_s)
        delivery.last_answer = answer
        _mark_tried(delivery)
        return answer

    def _finish(self, delivery: Delivery, state: str, pending: int = 0) -> None:
        delivery.state = state
        self._counts[state] += 1
        self._counts["pending"] += pending

    def _leave_lane(self, delivery: Delivery) -> None:
        key = (delivery.url, delivery.message.order_id)
        lane = self._lanes.get(key)
        if lane is None:
            return
        lane.held = [one for one in lane.held if one is not delivery]
        # Once the last in line was tried nobody needs to wait for it.
        if not lane.held and (lane.last is None or lane.last.tried.is_set()):
            del self._lanes[key]

    async def close(self) -> None:
        """Stop every delivery and close the connections."""
        tasks = list(self._tasks)
        self.reset()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._courier is not None:
            await self._courier.close()


def _mark_tried(delivery: Delivery) -> None:
    delivery.tried.set()
    for held in delivery.holds:
        held.released.set()


async def _wait_at_most(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
