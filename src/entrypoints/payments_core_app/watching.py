"""The database as Prometheus sees it: looked at now and then, told as often as asked.

Every process would tell the same, so these figures are made when they are asked for and kept out of the files in which
several processes add up what they count.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from time import monotonic
from typing import Generic, TypeVar

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric

from payments_core.errors import StorageError
from payments_core.ports import Clock
from payments_core_sqlalchemy.watch import Backlog, Broken, Watch

__all__ = ["DatabaseMetrics"]

log = structlog.get_logger(__name__)

Seen = TypeVar("Seen")

_BACKLOG_KEPT_S, _BROKEN_KEPT_S = 15.0, 300.0
"""How long one look serves; the invariants read whole tables."""
_WAIT_S = 2.0
"""A scrape waits no longer; it gets what was seen last, or nothing yet."""


class DatabaseMetrics:
    """A collector of what waits and of what must agree."""

    def __init__(self, watch: Watch, clock: Clock) -> None:
        self._clock = clock
        self._backlog = _Look(lambda: watch.backlog(clock.now()), _BACKLOG_KEPT_S)
        self._broken = _Look(watch.broken, _BROKEN_KEPT_S)

    async def look(self) -> None:
        """What is told next is not older than it may be, if the database answers soon."""
        await asyncio.gather(self._backlog.look(), self._broken.look())

    def collect(self) -> Iterator[Metric]:
        """The figures seen last; none that was never seen, because 0 would be a claim."""
        backlog, broken = self._backlog.seen, self._broken.seen
        sees = GaugeMetricFamily("payments_watch_up", "Whether the last look at the database succeeded.")
        sees.add_metric([], float(self._backlog.succeeded and self._broken.succeeded))
        yield sees
        if backlog is not None:
            yield from _of_backlog(backlog, self._clock.now())
        if broken is not None:
            yield _of_invariants(broken)


def _of_backlog(backlog: Backlog, now: datetime) -> Iterator[Metric]:
    counts = GaugeMetricFamily("payments_waiting", "What waits, by what it is.", labels=["what"])
    ages = GaugeMetricFamily(
        "payments_oldest_waiting_seconds", "How long the oldest of it has waited.", labels=["what"]
    )
    cases = GaugeMetricFamily("payments_open_cases", "Cases nobody has decided, by kind.", labels=["kind"])
    for what, waiting in sorted(backlog.waiting.items()):
        counts.add_metric([what], waiting.count)
        ages.add_metric([what], waiting.age_s(now))
    for kind, count in sorted(backlog.open_cases.items()):
        cases.add_metric([kind], count)
    yield from (counts, ages, cases)


def _of_invariants(broken: dict[str, Broken]) -> Metric:
    violations = GaugeMetricFamily(
        "payments_invariant_violations",
        "Payments an invariant does not hold for; 0 when all is well.",
        labels=["invariant"],
    )
    for name, found in sorted(broken.items()):
        violations.add_metric([name], found.count)
    return violations


class _Look(Generic[Seen]):
    """One look at a time, kept for a while; whoever asks meanwhile waits for the one that is under way."""

    def __init__(self, look: Callable[[], Awaitable[Seen]], kept_s: float) -> None:
        self._look, self._kept_s = look, kept_s
        self._again_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self.seen: Seen | None = None
        self.succeeded = False

    async def look(self) -> None:
        if monotonic() < self._again_at:
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._once())
        await asyncio.wait([self._looking], timeout=_WAIT_S)

    async def _once(self) -> None:
        try:
            self.seen = await self._look()
        except StorageError as error:
            self.succeeded = False
            log.warning("watch.failed", why=error.code)
        else:
            self.succeeded = True
            self._again_at = monotonic() + self._kept_s
