"""An event loop without threads, sockets or real time: who goes next is drawn from a seed, and time jumps.

The code under test is ordinary asyncio code and does not know. One step is what a task does between two awaits. Time
passes only when nobody has anything to do at the present moment.

A **process** is whatever runs in a context whose `PROCESS` is set to it; tasks hand it on to the tasks they make. When
it dies none of its steps is ever run again: that is a crash at an await, without any clean-up of ours.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, Protocol

__all__ = ["PROCESS", "SimulatedLoop", "Stuck"]


class Mortal(Protocol):
    """Something whose tasks can be stopped."""

    alive: bool

    def before_step(self) -> None:
        """Called before each step of its tasks; it may die here."""


PROCESS: ContextVar["Mortal | None"] = ContextVar("PROCESS", default=None)


class Stuck(AssertionError):
    """Nothing is left to happen, and what was waited for has not."""


class _Step:
    """One callback in its context: what of `asyncio.TimerHandle` is used, at a third of its price."""

    __slots__ = ("_args", "_callback", "_cancelled", "_when", "context")

    def __init__(self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self._when, self._callback, self._args, self.context = when, callback, args, context
        self._cancelled = False

    def when(self) -> float:
        """When it is to run."""
        return self._when

    def cancel(self) -> None:
        """It is passed over when its time comes."""
        self._cancelled = True

    def cancelled(self) -> bool:
        """Whether it will be passed over."""
        return self._cancelled

    def run(self) -> None:
        """Do it, unless it was cancelled."""
        if not self._cancelled:
            self.context.run(self._callback, *self._args)


class SimulatedLoop(asyncio.AbstractEventLoop):
    """The smallest loop asyncio's tasks and futures can live on.

    `random` None takes steps in the order they became possible.
    """

    def __init__(self, random: Random | None) -> None:
        self._random = random
        self._now = 0.0
        self._ready: list[_Step] = []
        self._timers: list[tuple[float, int, _Step]] = []
        self._made = 0
        self._closed = False
        self.tasks: list[asyncio.Task[Any]] = []
        self.steps = 0

    # ── what tasks and futures ask of a loop ──────────────────────────────────────────────────────────────────────
    def time(self) -> float:
        """Seconds since the beginning of this world."""
        return self._now

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Always, as far as anybody inside can tell."""
        return not self._closed

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """The callback runs at this moment, after or before whatever else is possible now."""
        step = _Step(self._now, callback, args, copy_context() if context is None else context)
        if not self._closed:
            self._ready.append(step)
        return step  # type: ignore[return-value]

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """The callback runs after so many seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """The callback runs at this time."""
        step = _Step(when, callback, args, copy_context() if context is None else context)
        if not self._closed:
            self._made += 1
            heapq.heappush(self._timers, (when, self._made, step))
        return step  # type: ignore[return-value]

    def create_future(self) -> "asyncio.Future[Any]":
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> "asyncio.Task[Any]":
        """A task, kept until the end of this world so that nothing is cleaned up before."""
        task = asyncio.Task(coro, loop=self, name=name, context=copy_context() if context is None else context)
        self.tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An exception nobody fetched: its task says so too, or died with its process."""

    # ── running ───────────────────────────────────────────────────────────────────────────────────────────────────
    def run_until(self, done: Callable[[], bool], *, steps_max: int) -> None:
        """Step after step until `done`.

        Errors: Stuck when nothing is left to do, or after too many steps.
        """
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        asyncio._set_running_loop(self)
        try:
            while not done():
                self._step()
                if self.steps > steps_max:
                    raise Stuck(f"not done after {steps_max} steps")
        finally:
            asyncio._set_running_loop(running)

    def _step(self) -> None:
        while self._timers and (self._timers[0][0] <= self._now or not self._ready):
            when, _, step = heapq.heappop(self._timers)
            if not step.cancelled():
                self._now = max(self._now, when)
                self._ready.append(step)
        if not self._ready:
            raise Stuck("nothing is left to happen")
        ready = self._ready
        place = self._random.randrange(len(ready)) if self._random is not None and len(ready) > 1 else 0
        step = ready.pop(place)
        process = step.context.get(PROCESS)
        if process is not None:
            if not process.alive:
                return
            process.before_step()
            if not process.alive:
                return
        self.steps += 1
        step.run()

    def close(self) -> None:
        """Everything that still waits is taken apart; nothing of it runs any more."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        for task in self.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                task.get_coro().close()  # type: ignore[union-attr]
        self.tasks.clear()
