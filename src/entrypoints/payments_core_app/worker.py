"""The loop that runs the sweep: every second, as long as the process lives."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic

import structlog

from payments_core.errors import StorageError
from payments_core.limits import SWEEP_BATCH_MAX
from payments_core.ports import Due, DueKind
from payments_core.use_cases.sweep import Sweep, SweepReport
from payments_core_app.metrics import SWEPT
from payments_core_sqlalchemy.housekeeping import Housekeeping

__all__ = ["SweepLoop", "attend_to_all", "several_at_once"]

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 1.0
_AFTER_TROUBLE_S = 5.0
_FORGET_EVERY_S = 600.0
_DRAIN_S = 5.0
"""A batch whose gateway hangs takes longer than anybody waits for a process to end; its rows come due again."""
_PASSES_MAX = 1000
"""Batches of one run, which nobody watches: fifty thousand rows of a kind; a timer comes again for the rest."""


def several_at_once(
    at_once: int,
) -> Callable[[Callable[[Due], Awaitable[None]], list[Due]], Awaitable[None]]:
    """Rows of a batch are worked on side by side, so many at a time: most of the work is waiting for a gateway."""

    async def each(attend: Callable[[Due], Awaitable[None]], rows: list[Due]) -> None:
        gate = asyncio.Semaphore(at_once)

        async def one(due: Due) -> None:
            async with gate:
                await attend(due)

        ended = await asyncio.gather(*(one(due) for due in rows), return_exceptions=True)
        if broken := next((result for result in ended if isinstance(result, BaseException)), None):
            raise broken

    return each


async def attend_to_all(
    sweep: Sweep, at_once: int, *, kinds: Iterable[DueKind] = DueKind, told: Callable[[int], None] = lambda _: None
) -> SweepReport:
    """Every row that is due at this moment was attended to once, up to a thousand batches of each kind.

    `told` hears now and then how many there were so far. What is beyond the bound is due still, and logged.
    Errors: StorageError.
    """
    whole, by = SweepReport(Counter(), Counter()), sweep.desk.clock.now()
    for _ in range(_PASSES_MAX):
        report = await sweep.once(each=several_at_once(at_once), kinds=kinds, by=by)
        whole = SweepReport(whole.done + report.done, whole.postponed + report.postponed)
        if max((report.done + report.postponed).values(), default=0) < SWEEP_BATCH_MAX:
            return whole
        told(whole.total)
    log.warning("sweep.more_is_due", rows=whole.total)
    return whole


class SweepLoop:
    """Attends to what is due, in the background of a server or in a process of its own."""

    def __init__(self, sweep: Sweep, at_once: int, housekeeping: Housekeeping) -> None:
        self._sweep = sweep
        self._housekeeping = housekeeping
        self._forget_at = 0.0
        self._each = several_at_once(at_once)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Sweep until stopped; a database that is away is waited for."""
        while not self._stop.is_set():
            pause = await self._once()
            try:
                await asyncio.wait_for(self._stop.wait(), pause)
            except TimeoutError:
                continue

    async def _once(self) -> float:
        """How long to wait before the next look: not at all while whole batches are due."""
        try:
            report = await self._sweep.once(each=self._each)
            await self._forget()
        except StorageError as error:
            log.warning("sweep.storage_unavailable", why=error.detail)
            return _AFTER_TROUBLE_S
        except Exception:
            # The loop is what recovers everything else, so nothing may end it.
            log.exception("sweep.failed")
            return _AFTER_TROUBLE_S
        count(report)
        return 0 if report.total >= SWEEP_BATCH_MAX else _LOOK_EVERY_S

    async def _forget(self) -> None:
        if monotonic() >= self._forget_at:
            await self._housekeeping.forget(self._sweep.desk.clock.now())
            self._forget_at = monotonic() + _FORGET_EVERY_S

    async def run_until_stopped(self) -> None:
        """Sweep until stopped, and end soon after."""
        running = asyncio.create_task(self.run())
        await self._stop.wait()
        await self.drain(running)

    def stop(self) -> None:
        """The loop ends after the batch it is at."""
        self._stop.set()

    async def drain(self, running: "asyncio.Task[None]") -> None:
        """The batch at hand is finished, or its time was over."""
        self.stop()
        await asyncio.wait([running], timeout=_DRAIN_S)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def count(report: SweepReport) -> None:
    """Add this sweep to the metrics."""
    for kind, rows in report.done.items():
        SWEPT.labels(kind=kind, result="done").inc(rows)
    for kind, rows in report.postponed.items():
        SWEPT.labels(kind=kind, result="postponed").inc(rows)
