"""Delivery of facts: each to every subscriber, at least once, in order for each payment.

A fact waits in a row that was written in the transaction that made it, so none is lost and none is told that did not
happen. Its row goes when the subscriber has it; until then the later facts of its payment wait behind it.
"""

import asyncio
import logging
from collections.abc import Mapping

import attrs

from payments_core.limits import DELIVERY_SCHEDULE, DELIVERY_TIMEOUT, FACTS_AT_ONCE_MAX, LEASE
from payments_core.ports import Clock, Delivery, Outbox, Subscriber

__all__ = ["DeliverFacts", "DeliveryReport"]

log = logging.getLogger(__name__)

_ROUNDS_MAX = 20
"""A payment has about ten facts; more of them come with the next sweep."""


@attrs.define
class DeliveryReport:
    """Facts that were taken, those that will be offered again, and those given up until somebody says so."""

    done: int = 0
    postponed: int = 0
    dead: int = 0


@attrs.frozen
class DeliverFacts:
    """Hands facts to subscribers; any number may run at once, on any machine."""

    outbox: Outbox
    subscribers: Mapping[str, Subscriber]
    clock: Clock

    async def once(self) -> DeliveryReport:
        """Every fact that is due was offered once, and those that became free behind it.

        Errors: StorageError, of the outbox alone.
        """
        report = DeliveryReport()
        for _ in range(_ROUNDS_MAX):
            now = self.clock.now()
            due = await self.outbox.claim(now=now, until=now + LEASE, limit=FACTS_AT_ONCE_MAX)
            # Side by side, so that one dead subscriber does not hold up the others (each may take its whole time-out).
            ended = await asyncio.gather(*(self._offer(delivery, report) for delivery in due), return_exceptions=True)
            if broken := next((result for result in ended if isinstance(result, BaseException)), None):
                raise broken
            if not due:
                break
        return report

    async def _offer(self, delivery: Delivery, report: DeliveryReport) -> None:
        subscriber = self.subscribers.get(delivery.subscriber)
        if subscriber is None:
            # Set up in the store and not here: another process may know it, so nothing is counted against it.
            report.postponed += 1
            return
        trouble = await _trouble_of(subscriber, delivery)
        if trouble is not None:
            await self._later(delivery, report, trouble)
            return
        await self.outbox.delivered(delivery)
        report.done += 1

    async def _later(self, delivery: Delivery, report: DeliveryReport, trouble: BaseException) -> None:
        is_last = delivery.tries >= len(DELIVERY_SCHEDULE)
        try_at = None if is_last else self.clock.now() + DELIVERY_SCHEDULE[delivery.tries]
        await self.outbox.failed(delivery, try_at=try_at)
        report.dead += is_last
        report.postponed += not is_last
        log.warning(
            "fact %s not taken by %s after %d tries (%s)%s",
            delivery.delivery_id,
            delivery.subscriber,
            delivery.tries + 1,
            type(trouble).__name__,
            ": a dead letter" if is_last else "",
        )


async def _trouble_of(subscriber: Subscriber, delivery: Delivery) -> BaseException | None:
    """What kept the subscriber from taking the fact, None when he has it.

    Whatever he raises is his: a StorageError is of his own database, a CancelledError of a task of his, unless it is
    this task that is being cancelled.
    Errors: CancelledError then; and what ends the whole process.
    """
    try:
        async with asyncio.timeout(DELIVERY_TIMEOUT.total_seconds()):
            await subscriber(delivery.event, delivery.delivery_id)
    except (GeneratorExit, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
            raise
        return error
    return None


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
