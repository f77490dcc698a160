"""Group commit: what arrives while one transaction commits goes into the next one together.

No delay is added. One batch is under way at a time, and each caller gets its own answer; a caller that goes away
cancels nothing, since its item is in a batch already.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from payments_core.errors import StorageError
from payments_core.limits import BATCH_ITEMS_MAX

__all__ = ["Together"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Together(Generic[Item, Result]):
    """Hands items to `work` in batches; an exception among its results belongs to that item's caller."""

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        at_once: int = BATCH_ITEMS_MAX,
    ) -> None:
        self._work, self._at_once = work, at_once
        self._queue: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._is_busy = False
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """What became of this item. Errors: those of `work`."""
        if self._is_busy:
            done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
            self._queue.append((item, done))
            return await done
        self._is_busy = True
        try:
            (result,) = await self._work([item])
        finally:
            self._go_on()
        if isinstance(result, Exception):
            raise result
        return result

    def _go_on(self) -> None:
        """Whoever came meanwhile is not bound to the caller they waited for; when their loop is over, nobody waits."""
        loop = self._queue[0][1].get_loop() if self._queue else None
        if loop is not None and loop.is_running():
            self._running = loop.create_task(self._run())
        else:
            self._queue.clear()
            self._is_busy = False

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._next([self._queue.popleft() for _ in range(min(len(self._queue), self._at_once))])
        finally:
            self._is_busy = False

    async def _next(self, batch: "Sequence[tuple[Item, asyncio.Future[Result]]]") -> None:
        results = await self._results([item for item, _ in batch])
        for (_, done), result in zip(batch, results, strict=True):
            _answer(done, result)

    async def _results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        """What became of each; what one of them breaks is no trouble of the others, so then each is tried by itself."""
        try:
            return await self._work(items)
        except StorageError as error:
            return [error] * len(items)
        except Exception as error:  # noqa: BLE001 - raised to its caller; nobody may wait for ever
            if len(items) == 1:
                return [error]
        return [result for item in items for result in await self._results([item])]


def _answer(done: "asyncio.Future[Result]", result: Result | Exception) -> None:
    if done.done():  # the caller is gone
        return
    if isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)
