"""The simulation finds what it is for: each of these bugs, planted alone, within ten thousand seeds (F2)."""

import pytest

from unit.simulation.bugs import BUGS, Bug
from unit.simulation.bugs_at_stripe import BUGS_AT_STRIPE
from unit.simulation.bugs_in_returns import BUGS_IN_RETURNS
from unit.simulation.run import simulate
from unit.simulation.workload import plan_of

SEEDS_MAX = 10_000


def test_there_are_enough_of_them() -> None:
    every = (*BUGS, *BUGS_AT_STRIPE, *BUGS_IN_RETURNS)
    assert len({bug.name for bug in every}) == len(every) >= 44


@pytest.mark.parametrize("bug", [*BUGS, *BUGS_AT_STRIPE, *BUGS_IN_RETURNS], ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search begins at the first seed; the same seeds without the bug are good, which `test_simulation.py` says."""
    parts = bug.plant(monkeypatch)
    for seed in (seed for seed in range(SEEDS_MAX) if bug.where(plan_of(seed))):
        outcome = simulate(seed, parts)
        if not outcome.is_good:
            print(f"{bug.name}: seed {seed}, {outcome.complaints[0]}")
            return
    pytest.fail(f"{bug.name} was not found in {SEEDS_MAX} seeds")
