"""The real use cases in a thousand made-up worlds, each drawn from a seed; `make simulation` lives through more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from payments_core.testing.order_registries import RegistryKeeper
from payments_core.testing.stores import StoreContract
from unit.simulation.run import replay_command, simulate
from unit.simulation.store import SimulatedStore

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "1000"))
_AT_ONCE = 100
SEEDS_REPLAYED = [2, 4]
TESTS = Path(__file__).parents[2]


class TestSimulatedStore(StoreContract):
    """The made-up store keeps the contract of every store, so what is found over it is a fault of ours."""

    @pytest.fixture
    def store(self) -> SimulatedStore:
        return SimulatedStore()

    @pytest.fixture
    def shop(self, store: SimulatedStore) -> RegistryKeeper:
        return RegistryKeeper(store)


@pytest.mark.parametrize("first", range(0, SEEDS, _AT_ONCE))
def test_every_world_is_right_at_each_commit_and_at_its_end(first: int) -> None:
    """Crashes, lost answers, lagging readings, forged hints, failing commits: nothing lost, nothing twice (F1, F3)."""
    for seed in range(first, min(first + _AT_ONCE, SEEDS)):
        outcome = simulate(seed)
        told = "\n".join(outcome.trace[-30:])
        assert outcome.is_good, f"{outcome.complaints[0]}\n{told}\nsee it again: {replay_command(seed)}"


def test_the_worlds_are_not_all_alike() -> None:
    """A workload that never pays, never refunds or never expires would find nothing."""
    ends = {end for seed in range(60) for end in simulate(seed).payments}
    assert ends >= {"success", "refunded", "cancelled", "expired", "partially_refunded"}


def test_every_gateway_is_drawn_and_says_so() -> None:
    """Midtrans, Stripe, or both in one world, and bank transfers; the trace of a seed begins with its gateways."""
    outcomes = [simulate(seed) for seed in range(25)]
    assert {outcome.gateways for outcome in outcomes} == {
        ("midtrans",),
        ("stripe",),
        ("manual",),
        ("midtrans", "stripe"),
        ("midtrans", "manual"),
    }
    assert all(outcome.trace[0].endswith(f"gateways: {' and '.join(outcome.gateways)}") for outcome in outcomes)


@pytest.mark.parametrize("seed", SEEDS_REPLAYED)
def test_a_seed_replays_byte_for_byte_in_another_interpreter(seed: int) -> None:
    """Whatever a failing seed shows, it shows to everybody: nothing depends on hashes, addresses or real time."""
    traces = {_trace(seed, hash_seed) for hash_seed in ("1", "4711")}
    assert len(traces) == 1
    (trace,) = traces
    assert simulate(seed).digest in trace
    assert len(trace.splitlines()) > 20


def _trace(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "unit.simulation", "--seed", str(seed)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, check=True).stdout
