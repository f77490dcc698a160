"""The alerts of the documentation watch metrics that exist."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from payments_core.states import CaseKind
from payments_core_app import metrics
from payments_core_app.watching import DatabaseMetrics
from payments_core_memory import ManualClock
from payments_core_sqlalchemy.watch import INVARIANTS, WAITING, Backlog, Broken, Waiting

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "monitor.md"
NOW = datetime(2026, 11, 27, tzinfo=UTC)
KINDS = {*WAITING, "due_work"}


class Seen:
    """A database in which something of every kind waits, for an hour."""

    async def backlog(self, now: datetime) -> Backlog:
        waiting = {name: Waiting(2, now - timedelta(hours=1)) for name in KINDS}
        return Backlog(now, waiting, {CaseKind.REVERSED.value: 1})

    async def broken(self) -> dict[str, Broken]:
        return {name: Broken(0, ()) for name in INVARIANTS}


def exported() -> str:
    """What `/metrics` says, those it counts and those it finds in the database."""
    database = DatabaseMetrics(Seen(), ManualClock(NOW))  # type: ignore[arg-type]
    asyncio.run(database.look())
    registry = CollectorRegistry()
    registry.register(database)
    for metric in (metrics.NOTIFICATIONS, metrics.ERRANDS, metrics.SWEPT, metrics.REQUESTS):
        registry.register(metric)
    return generate_latest(registry).decode()


def test_every_metric_an_alert_or_the_table_names_is_exported() -> None:
    names = {line.split()[2] for line in exported().splitlines() if line.startswith("# TYPE")}
    named = set(re.findall(r"payments_[a-z_]+", PAGE.read_text())) - {"payments_core_sqlalchemy"}
    assert len(named) > 5
    assert named <= names


def test_every_label_an_alert_names_is_exported() -> None:
    told = exported()
    words = {word for found in re.findall(r'what=~?"([a-z_|]+)"', PAGE.read_text()) for word in found.split("|")}
    assert words
    assert words <= KINDS
    for what in KINDS:
        assert f'payments_oldest_waiting_seconds{{what="{what}"}} 3600.0' in told
        assert f"`{what}`" in PAGE.read_text()
    for invariant in INVARIANTS:
        assert f"`{invariant}`" in PAGE.read_text()
