"""`make simulation SEEDS=10000` lives through so many worlds; `make simulation SEED=123` shows one of them."""

import argparse
import sys
import time
from collections import Counter

from unit.simulation.run import Outcome, replay_command, simulate


def main() -> int:
    """0 when every world was good."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first")
    parser.add_argument("--seed", type=int, help="one world, with its trace")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _show(simulate(asked.seed))
    return _run(asked.first, asked.seeds)


def _show(outcome: Outcome) -> int:
    print("\n".join(outcome.trace))
    print(f"gateways: {' and '.join(outcome.gateways)}")
    print(f"digest {outcome.digest}, {outcome.steps} steps, {outcome.virtual_s:.0f} s of made-up time")
    for complaint in outcome.complaints:
        print(f"WRONG: {complaint}")
    return int(not outcome.is_good)


def _run(first: int, seeds: int) -> int:
    began, steps, days, failed = time.process_time(), 0, 0.0, 0
    ends, gateways = Counter[str](), Counter[str]()
    for seed in range(first, first + seeds):
        outcome = simulate(seed)
        steps, days = steps + outcome.steps, days + outcome.virtual_s / 86_400
        ends.update(outcome.payments)
        drew = " and ".join(outcome.gateways)
        gateways[drew] += 1
        if not outcome.is_good:
            failed += 1
            print(f"seed {seed} ({drew}): {outcome.complaints[0]}\n  again: {replay_command(seed)}", flush=True)
        if sys.stderr.isatty() and seed % 100 == 0:
            print(f"\r{seed - first} of {seeds}", end="", file=sys.stderr)
    cpu_s = time.process_time() - began
    lived = f"{steps} steps, {days:.0f} days of made-up time, {cpu_s:.0f} s of CPU"
    print(f"{seeds} seeds from {first}: {failed} failed, {lived}")
    print("gateways: " + ", ".join(f"{name} in {count}" for name, count in gateways.most_common()))
    print("payments ended: " + ", ".join(f"{name} {count}" for name, count in ends.most_common()))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
