"""A small storm of real crashes: orders are paid while API, worker and database processes die by `kill -9` (A1, F4).

The full size is `make chaos PAYMENTS=10000 KILLS=1000`; `docs/reference/chaos.md` has its output.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.plan import Plan
from chaos.run import run

pytestmark = pytest.mark.processes


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder the database's own user keeps access to: pytest closes its own to others at every start."""
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@pytest.mark.postgres
async def test_a_storm_of_kills_on_postgresql_loses_nothing_and_charges_nobody_twice(folder: Path) -> None:
    """Two API processes, two workers and the database itself are killed while a faulty gateway is paid through."""
    outcome = await run(Plan(payments=60, kills=8, clients=16, seed=1), folder)
    assert outcome.violations == [], "\n".join(outcome.lines())
    assert outcome.kills.keys() == {"api", "worker", "database"}
    assert outcome.kills.total() == 8
    assert outcome.faults["cut"], "the gateway did lose answers"
    assert outcome.receipts, "notifications were acknowledged"


async def test_a_storm_of_kills_on_sqlite_loses_nothing_and_charges_nobody_twice(folder: Path) -> None:
    """One process is everything there: API, worker and database die together."""
    outcome = await run(Plan(payments=30, kills=4, clients=8, seed=2, database="sqlite"), folder)
    assert outcome.violations == [], "\n".join(outcome.lines())
    assert outcome.kills == {"api": 4}


async def test_a_storm_with_two_gateways_charges_nobody_at_both(folder: Path) -> None:
    """Stripe stands beside Midtrans, orders change from one to the other, and the one process dies meanwhile."""
    outcome = await run(Plan(payments=14, kills=2, clients=8, seed=210, database="sqlite", gateway="both"), folder)
    assert outcome.violations == [], "\n".join(outcome.lines())
    assert outcome.kills == {"api": 2}
    assert outcome.ledger is not None
    assert outcome.ledger.calls["session_create"], "Stripe was called"
    assert outcome.ledger.calls["snap_create"], "Midtrans was called"
