"""One process of the service: the use cases, the real batcher and errands, a sweep, and a clock of its own.

Killing it stops all its tasks where they are, throws away what it held in memory, and cuts its connections: the
database undoes what was not committed, its callers see a broken connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context, copy_context
from datetime import datetime, timedelta
from typing import Any, TypeVar

from payments_core.errors import PaymentsError, StorageError
from payments_core.limits import SWEEP_BATCH_MAX
from payments_core.policy import Policy
from payments_core.ports import Foreign, Gateway, Ids, Outbox, Subscriber
from payments_core.service import PaymentService
from payments_core_app.batcher import Batcher
from payments_core_app.errands import BackgroundErrands
from payments_core_app.worker import several_at_once
from unit.simulation.loop import PROCESS, SimulatedLoop
from unit.simulation.network import BEGAN
from unit.simulation.store import SimulatedStore

__all__ = ["ConnectionLost", "Process", "SkewedClock"]

Result = TypeVar("Result")

_AFTER_TROUBLE_S = 5.0
_AT_ONCE = 3


class ConnectionLost(Exception):
    """The process died before it answered, or does not run."""


class SkewedClock:
    """The time a process believes it is."""

    def __init__(self, loop: SimulatedLoop, skew: timedelta) -> None:
        self._loop = loop
        self.skew = skew

    def now(self) -> datetime:
        """The time of this world and a mistake."""
        return BEGAN + timedelta(seconds=self._loop.time()) + self.skew

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await asyncio.sleep(seconds)


class Process:
    """A running copy of the service."""

    def __init__(
        self,
        name: str,
        loop: SimulatedLoop,
        store: SimulatedStore,
        gateways: Mapping[str, Gateway],
        *,
        ids: Ids,
        policy: Policy,
        skew: timedelta = timedelta(0),
        wire: Callable[..., PaymentService] = PaymentService.over,
        outbox: Outbox | None = None,
        subscribers: Mapping[str, Subscriber] | None = None,
    ) -> None:
        self.name, self.loop, self.store = name, loop, store
        self.alive = True
        self.fuse: int | None = None
        self.on_step: Callable[[], None] | None = None
        self.died: Callable[[Process], None] = lambda _process: None
        self.broken: Callable[[Exception], None] = lambda _error: None
        self.clock = SkewedClock(loop, skew)
        self.context = copy_context()
        self.context.run(PROCESS.set, self)
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._poked: asyncio.Future[None] | None = None
        self.errands = BackgroundErrands(_AT_ONCE)
        self.service = wire(
            store,
            gateways,
            clock=self.clock,
            ids=ids,
            errands=self.errands,
            policy=policy,
            shop=store,
            outbox=outbox,
            subscribers=subscribers,
        )
        self.batcher = Batcher(self.service.receive.accept)
        self.errands.give_way(lambda: self.batcher.is_pressed)

    def start(self, *, sweeping: bool = True) -> None:
        """Errands are done, and the sweep runs."""
        self.context.run(self.errands.begin, self.service.perform)
        if sweeping:
            self.loop.create_task(self._sweep_for_ever(), context=self._own_context())

    def _own_context(self) -> Context:
        return self.context.copy()

    # ── life and death ────────────────────────────────────────────────────────────────────────────────────────────
    def before_step(self) -> None:
        """Its fuse burns by one step."""
        if self.on_step is not None:
            self.on_step()
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.die()

    def die(self) -> None:
        """Killed, here and now."""
        if not self.alive:
            return
        self.alive = False
        self.store.forget(self)
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(ConnectionLost(self.name))
        self._replies.clear()
        self.died(self)

    # ── what comes from outside ───────────────────────────────────────────────────────────────────────────────────
    async def call(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """The answer of this process to one request.

        Errors: those of the request; ConnectionLost when it dies first.
        """
        if not self.alive:
            raise ConnectionLost(self.name)
        reply: asyncio.Future[Result] = self.loop.create_future()
        self._replies[id(reply)] = reply

        async def handle() -> None:
            try:
                result = await work()
            except (PaymentsError, asyncio.CancelledError) as error:
                outcome: tuple[Any, Any] = (reply.set_exception, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a complaint
                self.broken(error)
                outcome = (reply.set_exception, error)
            else:
                outcome = (reply.set_result, result)
            self._replies.pop(id(reply), None)
            if not reply.done():
                outcome[0](outcome[1])

        self.loop.create_task(handle(), context=self._own_context())
        return await reply

    async def webhook(self, provider: str, body: bytes, headers: dict[str, str]) -> None:
        """A delivery, answered 2xx when this returns."""

        async def receive() -> None:
            notification = self.service.receive.understand(provider, body, headers)
            if not isinstance(notification, Foreign):
                await self.batcher.submit(notification)

        await self.call(receive)

    # ── the sweep ─────────────────────────────────────────────────────────────────────────────────────────────────
    def poke(self) -> None:
        """Something was committed; perhaps there is something due."""
        if self._poked is not None and not self._poked.done():
            self._poked.set_result(None)

    async def _sweep_for_ever(self) -> None:
        """As `SweepLoop` does, but asleep while nothing is due instead of looking every second."""
        each = several_at_once(_AT_ONCE)
        while True:
            pause = 1.0
            try:
                report = await self.service.sweep.once(each=each)
                pause = 0.01 if report.total >= SWEEP_BATCH_MAX else 1.0
            except StorageError:
                pause = _AFTER_TROUBLE_S
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a complaint
                self.broken(error)
            await asyncio.sleep(pause)
            await self._until_due()

    async def _until_due(self) -> None:
        while True:
            due = self.store.next_due()
            left = None if due is None else (due - self.clock.now()).total_seconds()
            if left is not None and left <= 0:
                return
            self._poked = self.loop.create_future()
            timer = None if left is None else self.loop.call_later(left, self.poke)
            await self._poked
            if timer is not None:
                timer.cancel()
