"""What a decision asks for at once, done in the background of an event loop. What is lost is due on its own."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from payments_core.commands import Command
from payments_core.errors import PaymentsError

__all__ = ["ErrandTasks"]

log = logging.getLogger(__name__)

_AT_ONCE_MAX = 64
"""Most of an errand is waiting for a gateway; more at once would only wait for each other."""
_WAITING_MAX = 10_000
"""Errands held in memory; beyond it they are dropped, and the sweep finds their rows."""


class ErrandTasks:
    """Errands tried at once, each a task of the running event loop, in the order they came in."""

    def __init__(self) -> None:
        self._perform: Callable[[Command], Awaitable[None]] | None = None
        self._waiting: deque[Command] = deque()
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, perform: Callable[[Command], Awaitable[None]]) -> None:
        """Errands are done from now on."""
        self._perform = perform

    def __call__(self, commands: Sequence[Command]) -> None:
        """Take these commands; returns at once."""
        room = _WAITING_MAX - len(self._waiting)
        self._waiting.extend(commands[:room])
        if len(commands) > room:
            log.warning("%d errands are left to the sweep: %d wait", len(commands) - room, len(self._waiting))
        self._start_more()

    async def drain(self, within_s: float) -> None:
        """Nothing is under way any more: errands, and those they led to, have ended or their time was over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while self._running and (left_s := until - loop.time()) > 0:
            await asyncio.wait([*self._running], timeout=left_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start_more(self) -> None:
        while self._perform is not None and self._waiting and len(self._running) < _AT_ONCE_MAX:
            task = asyncio.get_running_loop().create_task(self._do(self._perform(self._waiting.popleft())))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled():  # else the loop is about to end
            self._start_more()

    async def _do(self, errand: Awaitable[None]) -> None:
        try:
            await errand
        except PaymentsError as error:
            log.info("an errand is left to the sweep: %s", error.code)
        except Exception:
            # A bug in one errand must not stop the others.
            log.exception("an errand failed, and is left to the sweep")
