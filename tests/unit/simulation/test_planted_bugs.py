"""The simulation finds what it is for: each of these bugs, planted alone, within ten thousand seeds (F2)."""

import pytest

from unit.simulation.bugs import BUGS, Bug
from unit.simulation.run import simulate

SEEDS_MAX = 10_000


def test_there_are_enough_of_them() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 15


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """`first` only says where the search begins; what is found there is looked for anew, and on from there if need be."""
    parts = bug.plant(monkeypatch)
    for seed in (*range(bug.first, SEEDS_MAX), *range(bug.first)):
        outcome = simulate(seed, parts)
        if not outcome.is_good:
            print(f"{bug.name}: seed {seed}, {outcome.complaints[0]}")
            return
    pytest.fail(f"{bug.name} was not found in {SEEDS_MAX} seeds")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_without_the_bug_the_same_seed_is_good(bug: Bug) -> None:
    """Otherwise something else was found."""
    assert simulate(bug.first).is_good
