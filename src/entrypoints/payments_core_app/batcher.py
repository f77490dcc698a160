"""Group commit: what arrives while one batch commits is the next batch.

No delay is added; what has arrived already is read before a batch is closed. One batch is under way at a time; the
queue before it is bounded, and beyond the bound a delivery is told to come again. A caller that goes away cancels
nothing: its notification is in a batch already.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from payments_core.errors import Busy, StorageError, StorageUnavailable
from payments_core.limits import BATCH_ITEMS_MAX
from payments_core.ports import Notification
from payments_core.use_cases.receive_notification import Accepted

__all__ = ["Batcher"]

log = structlog.get_logger(__name__)

_QUEUE_MAX = 20_000
"""Notifications waiting in one process, about 20 MB; beyond it 503, and the gateway sends again."""
_BATCH_BYTES_MAX = 4 * 1024 * 1024
_TURNS = 3
"""Turns of the loop until a delivery that stands in a socket stands in the queue: read, understood, put there.

Without them the callers of a busy server part into those of this batch and those of the next, often one and thirty, and
a batch costs its six round trips whatever it holds.
"""
_MANY, _PRESSED_S = 4, 0.05
"""So many at once are the callers of a busy server, who come again soon after they were answered."""

Accept = Callable[[Sequence[Notification]], Awaitable[list[Accepted | StorageError]]]
_Waiting = tuple[Notification, "asyncio.Future[Accepted]"]


class Batcher:
    """Hands notifications to `accept` in batches, one batch at a time."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        self._queue: deque[_Waiting] = deque()
        self._working: asyncio.Task[None] | None = None
        self._closed = False
        self._pressed_until = 0.0

    async def submit(self, notification: Notification) -> Accepted:
        """What became of this notification, once it is durably stored.

        Errors: Busy when too many wait; StorageError when it could not be stored.
        """
        if self._closed or len(self._queue) >= _QUEUE_MAX:
            raise Busy("too many notifications are waiting; send it again", code="overloaded")
        stored: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._queue.append((notification, stored))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await stored

    @property
    def is_pressed(self) -> bool:
        """Whether notifications wait for the next batch, or many are in this one or were a moment ago."""
        return bool(self._queue) or asyncio.get_running_loop().time() < self._pressed_until

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            batch = self._next_batch()
            many = len(batch) >= _MANY
            if many:
                self._pressed_until = math.inf
            try:
                results = await self._accept([notification for notification, _ in batch])
            except Exception:
                # Whatever broke, nobody may wait for ever: all of them are sent again by the gateway.
                log.exception("batch.failed", items=len(batch))
                results = [StorageUnavailable("the notification could not be stored")] * len(batch)
            finally:
                if many:
                    self._pressed_until = loop.time() + _PRESSED_S  # also of a loop that is being taken apart
            for (_, stored), result in zip(batch, results, strict=True):
                _answer(stored, result)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < BATCH_ITEMS_MAX and size < _BATCH_BYTES_MAX:
            item = self._queue.popleft()
            batch.append(item)
            size += len(item[0].body)
        return batch

    async def drain(self) -> None:
        """Everything taken in is stored or answered; nothing more is taken in."""
        self._closed = True
        if self._working is not None:
            await self._working


def _answer(stored: "asyncio.Future[Accepted]", result: Accepted | StorageError) -> None:
    if stored.done():  # the caller is gone
        return
    if isinstance(result, StorageError):
        stored.set_exception(result)
    else:
        stored.set_result(result)
