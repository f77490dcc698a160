"""Stopping a process at its n-th step, for every n there is, and letting another finish the work.

A step is what a task does between two awaits, so the points are found by running, not by listing them: code that gains
an await gains a point. Each point is named by what the process had said last to the outside: a statement to the
database, a call to the gateway.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import attrs

from payments_core.decide import Verdict
from payments_core.payment import Payment
from payments_core.policy import GatewayTraits, LatePayment, Policy
from payments_core.states import ENDED, ChargeState
from payments_core.status import status
from unit.simulation.far_side import Letter
from unit.simulation.messages import Messenger
from unit.simulation.network import PROVIDER
from unit.simulation.process import ConnectionLost, Process
from unit.simulation.stripe_ledger import STRIPE
from unit.simulation.world import World

__all__ = ["Ending", "Path", "Point", "Stage", "crash_points", "undisturbed"]

OTHERS = {PROVIDER: (STRIPE,), STRIPE: (PROVIDER,)}
_SETTLES_S = 36 * 3600.0


@attrs.define
class Stage:
    """One world with one order, one process that can be killed, and the post."""

    world: World
    post: Messenger
    process: Process
    gateway: str = PROVIDER
    """Where a click opens a page."""
    letters: list[Letter] = attrs.field(factory=list)
    """Everything the gateways had to say so far."""
    said: list[str] = attrs.field(factory=list)

    @property
    def payment(self) -> Payment:
        payment = self.world.payment_of("o1")
        assert payment is not None
        return payment

    def run(self, work: Callable[[Process], Awaitable[Any]]) -> None:
        """A request to the process, or its end."""

        async def ask() -> None:
            try:
                await self.process.call(lambda: work(self.process))
            except ConnectionLost:
                return

        self.world.run(ask())


Deed = Callable[[Stage], None]


@attrs.frozen
class Path:
    """One path of the service: what comes before it, the path itself, and what its caller does after a crash."""

    name: str
    gateway: str
    before: Deed
    path: Deed
    again: Deed
    after: Deed = lambda _stage: None
    sweeping: bool = False
    """The path is what the sweep does: the process that is killed sweeps."""
    late: LatePayment = LatePayment.REOPEN_OR_REVIEW
    subscriber: bool = False
    """Somebody is told the facts."""


@attrs.frozen
class Point:
    """Where the process was stopped: before its step of this number, after it had said this."""

    number: int
    after: str


@attrs.frozen
class Ending:
    """All that must be the same, whether the process died or not.

    Versions, times, verdicts of what was answered, and which of the four words an unpaid end has may differ.
    """

    status: str
    order: str
    stock: str
    left: int
    attempts: tuple[Any, ...]
    charges: tuple[Any, ...]
    refunds: tuple[Any, ...]
    cases: tuple[Any, ...]
    money_events: tuple[str, ...]
    unanswered: tuple[str, ...]
    ledger: tuple[Any, ...]
    wrongly_told: str | None


def _stage(path: Path) -> Stage:
    policy = Policy(expiry=timedelta(hours=1), late_payment=path.late)
    world = World(
        None, policy, GatewayTraits(status_lag=timedelta(minutes=2)), gateways=(path.gateway, *OTHERS[path.gateway])
    )
    if path.subscriber:
        world.subscribe()
    post = Messenger(world, world.random)
    world.put_order("o1", units=2, price=50_000, stock=7)
    process = world.start_process(sweeping=False)
    stage = Stage(world, post, process, path.gateway)
    for ledger in world.ledgers.values():
        ledger.told = _noting(stage, ledger.told)
    path.before(stage)
    world.run_until(lambda: not _busy(stage))
    if path.sweeping:  # the sweeping one is started for the path alone
        process.die()
        stage.process = world.start_process(sweeping=True)
    world.store.said = stage.said.append
    for wire in (*world.wires.values(), *([world.hearer.wire] if world.hearer else [])):
        wire.said = stage.said.append
    stage.said.clear()
    return stage


def _noting(stage: Stage, tell: Callable[[Letter], None]) -> Callable[[Letter], None]:
    def told(letter: Letter) -> None:
        stage.letters.append(letter)
        tell(letter)

    return told


def _busy(stage: Stage) -> bool:
    return bool(stage.process.errands._running or stage.process.errands._waiting)


def _live_through(path: Path, stop_before: int | None) -> tuple[Ending, int, str, list[str]]:
    """Where it ends, how many steps the process made on its path, and what it had said last."""
    stage = _stage(path)
    steps = 0
    last = "the beginning"

    def step() -> None:
        nonlocal steps, last
        if steps == stop_before:
            last = stage.said[-1] if stage.said else "the beginning"
            stage.process.die()
        steps += 1

    stage.process.on_step = step
    path.path(stage)
    if stage.process.alive:
        stage.world.run_until(lambda: not stage.process.alive or not _busy(stage))
    stage.process.on_step = None
    said = [*stage.said]
    died = not stage.process.alive
    if stage.process.alive and path.sweeping:
        stage.process.die()
    if not path.sweeping and not died:
        stage.process.die()  # what it would do later is done by the next one in either case
    stage.process = stage.world.start_process(sweeping=True)
    if died:
        path.again(stage)
    path.after(stage)
    stage.world.run(asyncio.sleep(_SETTLES_S))
    ending = _ending(stage)
    assert not stage.world.complaints, stage.world.complaints
    stage.world.loop.close()
    return ending, steps, last, said


def undisturbed(path: Path) -> tuple[Ending, int, list[str]]:
    """The ending without a crash, the number of steps, and everything that was said to the outside."""
    ending, steps, _last, said = _live_through(path, None)
    return ending, steps, said


def crash_points(path: Path) -> "list[tuple[Point, Ending]]":
    """The ending for every point there is; it is over when the process got to the end of its path unharmed."""
    found = []
    number = 0
    while True:
        ending, steps, last, _said = _live_through(path, number)
        if steps <= number:
            return found
        found.append((Point(number, last), ending))
        number += 1


def _ending(stage: Stage) -> Ending:
    store, payment, hearer = stage.world.store.committed, stage.payment, stage.world.hearer
    events = [e for e in store.events[payment.payment_id] if e.type.value in _MONEY]
    return Ending(
        status=status(payment).value,
        order=store.orders["o1"].status.value,
        stock=store.held["o1"].value,
        left=store.available["book-o1"],
        attempts=tuple((a.number, a.state.value, a.closing) for a in payment.attempts),
        charges=tuple(
            (c.transaction_id, _class(c.state), c.captured_minor, c.refunded_minor, c.due) for c in payment.charges
        ),
        refunds=tuple((r.key, r.amount.amount_minor, r.state.value, r.by) for r in payment.refunds),
        cases=tuple((c.kind.value, c.transaction_id, c.decision) for c in payment.cases),
        money_events=tuple(f"{e.type.value} {e.data.get('amount', '')}" for e in events),
        unanswered=tuple(sorted(kept.verdict.value for kept in store.inbox.values() if kept.verdict not in _ANSWERED)),
        ledger=tuple(
            (t.transaction_id, _class(ChargeState(t.now.word.value)), t.now.minor, t.now.refunds)
            for t in stage.world.transactions.values()
        ),
        wrongly_told=hearer.complaint(payment.payment_id, payment.events) if hearer else None,
    )


def _class(state: ChargeState) -> str:
    return "ended" if state in ENDED else state.value


_ANSWERED = (Verdict.APPLIED, Verdict.STALE)
_MONEY = frozenset(
    {
        "payment.authorized", "payment.paid", "payment.reversed", "payment.refunded", "order.paid", "order.cancelled",
        "order.reopened", "stock.reserved", "stock.consumed", "stock.released", "payment.expired", "payment.cancelled",
    }
)  # fmt: skip
