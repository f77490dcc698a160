"""One seed, from the first order to the last check."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from unit.simulation.checks import Checks
from unit.simulation.loop import Stuck
from unit.simulation.workload import Workload
from unit.simulation.world import Parts, quiet_logs

__all__ = ["Outcome", "replay_command", "simulate"]

_QUIET_AFTER_S = 1800.0
_LOOK_EVERY_S = 3600.0
_END_AFTER_S = 12 * 86_400.0
"""Longer than every schedule of ours: a week of refunds, three days of stock."""


@attrs.frozen
class Outcome:
    """What became of one seed."""

    seed: int | str
    complaints: tuple[str, ...]
    digest: str
    trace: tuple[str, ...]
    steps: int
    virtual_s: float
    payments: tuple[str, ...]
    gateways: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not self.complaints


def replay_command(seed: int | str) -> str:
    """How to see this very world again."""
    return f"make simulation SEED={seed}"


def simulate(
    seed: int | str, parts: Parts | None = None, *, prepare: Callable[[Workload], None] | None = None
) -> Outcome:
    """The world of this seed lived through, and checked at every commit and at its end."""
    work = Workload(seed, parts)
    world = work.world
    checks = Checks(work)
    if prepare is not None:
        prepare(work)
    with quiet_logs(world.complain), _garbage_kept():
        try:
            work.begin()
            end = world.actor(_until_quiet(work))
            world.run_until(lambda: end.done() or bool(world.complaints))
            if not world.complaints:
                end.result()
                checks.at_the_end()
        except Stuck as stuck:
            world.complain(f"stuck: {stuck}; due: {checks.still_due()}")
        finally:
            world.check_the_actors()
            of_ledgers = [said for ledger in world.ledgers.values() for said in ledger.complaints]
            outcome = Outcome(
                seed=seed,
                complaints=(*world.complaints, *of_ledgers, *world.store.complaints),
                gateways=work.plan.gateways,
                digest=world.digest(),
                trace=tuple(world.trace),
                steps=world.loop.steps,
                virtual_s=world.loop.time(),
                payments=checks.statuses(),
            )
            world.loop.close()
    return outcome


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """A world is short and its tasks are circles that live as long: looking for garbage in it finds none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


async def _until_quiet(work: Workload) -> None:
    await asyncio.sleep(work.plan.lasts_s)
    work.calm_down()
    await asyncio.sleep(_QUIET_AFTER_S)
    work.tell_the_rest()
    until = work.world.loop.time() + _END_AFTER_S
    await asyncio.sleep(_LOOK_EVERY_S)
    while not work.is_quiet and work.world.loop.time() < until:  # noqa: ASYNC110 - made-up time costs nothing
        await asyncio.sleep(_LOOK_EVERY_S)
