"""A light race against the floor, so that nobody makes the webhook path slow without seeing it."""

import asyncio
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.postgres import PostgresCluster

BENCH = Path(__file__).parents[2] / "bench"
REFERENCE = 2.1
"""CPU of one settlement, in CPUs of the floor "one statement"; measured as `docs/reference/speed.md` says."""
ROUNDS, COUNT = 3, 400


@pytest.mark.postgres
@pytest.mark.processes
def test_a_webhook_costs_less_than_twice_what_it_cost_when_it_was_measured(
    postgres: PostgresCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPU time against a floor in the same round, the best of several: a crowded machine slows both alike."""
    monkeypatch.syspath_prepend(str(BENCH))
    race = __import__("race")
    url = urlsplit(postgres.create_database())
    database = f"postgresql://{url.netloc}{url.path}?{url.query}"
    results = asyncio.run(race.race(database, tmp_path, rounds=ROUNDS, count=COUNT))
    best = min(race.ratios(results, "webhook", "cpu_ms"))
    print(race.table(results), file=sys.stderr)
    assert best < 2 * REFERENCE, race.table(results)
