"""A crash before and after every commit, call to the gateway and delivery of a fact, on real databases (A2).

The walk of `tests/unit/simulation` stops a process at every await, over a store it makes up. Here the store is the one
that serves: SQLite and PostgreSQL say what a commit means. The points are enumerated by running: point n stops the
process there, until a run gets through unharmed; `pytest -s` prints them.
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path as Folder
from typing import Any, TypeVar

import attrs
import pytest

from harness.postgres import PostgresCluster
from payments_core.decide import Verdict
from payments_core.errors import PaymentsError
from payments_core.facts import Event, FactType
from payments_core.money import Money
from payments_core.policy import GatewayTraits, LatePayment, Policy
from payments_core.service import PaymentService
from payments_core.states import ENDED, ChargeState, Signal
from payments_core.status import status
from payments_core.testing.order_registries import RegistryKeeper
from payments_core.testing.world import World
from payments_core_memory import ManualClock, MemoryGateway, SequentialIds
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.migrate import migrate_async
from payments_core_sqlalchemy.outbox import SqlOutbox
from payments_core_sqlalchemy.session import Session

Answer = TypeVar("Answer")
ORDER = "o-1"
SUBSCRIBER = "warehouse"
SETTLES = timedelta(hours=30)
"""Longer than any page lives and any refund is asked about at first."""


class Killed(BaseException):
    """The process is gone; nothing of it may catch this and go on."""


@attrs.define
class Life:
    """Counts the points of a process, and ends it at one of them."""

    stop_at: int | None = None
    points: list[str] = attrs.field(factory=list)
    is_over: bool = False

    def reaches(self, point: str) -> None:
        """A dead process reaches nothing any more: what it does while it falls has no effect outside."""
        if not self.is_over:
            self.is_over = len(self.points) == self.stop_at
            self.points.append(point)
        if self.is_over:
            raise Killed(point)


@attrs.define
class MortalGateway(MemoryGateway):
    """Whoever calls it may die before the call, and after it took effect and before he heard so."""

    life: Life = attrs.field(factory=Life)

    def _call(self, name: str, effect: Callable[[], Answer]) -> Answer:
        self.life.reaches(f"before the call {name}")
        answer = super()._call(name, effect)
        self.life.reaches(f"after the call {name}")
        return answer


@attrs.define
class Shop:
    """What outlives a process: the database, the gateway, the clock, and the shop that is told of facts."""

    url: str
    policy: Policy
    gateway: MortalGateway = attrs.field(factory=lambda: MortalGateway(traits=GatewayTraits()))
    clock: ManualClock = attrs.field(factory=ManualClock)
    ids: SequentialIds = attrs.field(factory=SequentialIds)
    told: list[tuple[int, str]] = attrs.field(factory=list)
    """Sequence and type of the facts the subscriber took, each as often as he was told."""

    async def is_told(self, event: Event, _delivery_id: str) -> None:
        self.gateway.life.reaches("before a fact is delivered")
        self.told.append((event.sequence, event.type.value))
        self.gateway.life.reaches("after a fact was delivered")

    @asynccontextmanager
    async def process(self) -> AsyncIterator[World]:
        """A process over what there is."""
        store = SqlStore(self.url, subscribers=(SUBSCRIBER,))
        try:
            world = World(
                store=store,
                shop=store,
                keeper=RegistryKeeper(store),
                gateway=self.gateway,
                clock=self.clock,
                ids=self.ids,
                policy=self.policy,
                pause=timedelta(minutes=20),
                placed=[ORDER],
            )
            world.service = PaymentService.over(
                store,
                {self.gateway.name: self.gateway},
                clock=self.clock,
                ids=self.ids,
                errands=world.errands,
                policy=self.policy,
                shop=store,
                outbox=SqlOutbox(store),
                subscribers={SUBSCRIBER: self.is_told},
            )
            yield world
        finally:
            await store.close()


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch) -> Callable[[Life], None]:
    """From then on a commit of anybody is a point of this life."""
    current = Life()
    commit = Session.commit

    async def commit_of_a_mortal(session: Session) -> None:
        current.reaches("before a commit")
        await commit(session)
        current.reaches("after a commit")

    monkeypatch.setattr(Session, "commit", commit_of_a_mortal)

    def become(life: Life) -> None:
        nonlocal current
        current = life

    return become


Become = Callable[[Life], None]
Deed = Callable[[World], Awaitable[Any]]


@attrs.frozen
class Path:
    """One path of the service: what came before it, the path itself, and what its caller does after a crash."""

    name: str
    before: tuple[Deed, ...]
    path: Deed
    again: Deed
    late: LatePayment = LatePayment.REOPEN_OR_REVIEW


# ── what people and the gateway do ────────────────────────────────────────────────────────────────────────────────────
async def click(world: World) -> None:
    await world.click(ORDER)


async def click_after_the_lease(world: World) -> None:
    await world.pass_time(timedelta(minutes=1))
    await world.click(ORDER)


async def nothing(_world: World) -> None:
    """The sweep alone finishes it."""


def tried(word: Signal, method: str = "bank_transfer") -> Deed:
    async def deed(world: World) -> None:
        page = [*world.gateway.pages.values()][-1]
        world.gateway.buyer_tries(page.token, word, method=method)

    return deed


async def told(world: World) -> None:
    """The gateway tells of its newest transaction."""
    await world.deliver_bytes(*world.gateway.notification([*world.gateway.transactions][-1]))


async def payment_id(world: World) -> str:
    payment = (await world.look(ORDER)).payment
    assert payment is not None
    return payment.payment_id


async def refund(world: World) -> None:
    part = Money(30_000, (await world.look(ORDER)).order.total.currency)
    await world.service.refund(await payment_id(world), part, None, actor="olga", asked_as="request 1")


async def capture(world: World) -> None:
    part = Money(60_000, (await world.look(ORDER)).order.total.currency)
    await world.service.operate.capture(await payment_id(world), part, actor="olga")


async def void(world: World) -> None:
    await world.service.operate.cancel(await payment_id(world), actor="olga")


async def cancel_order(world: World) -> None:
    assert world.service.cancel_order is not None
    await world.service.cancel_order(ORDER, actor="shop")


async def until_just_before_the_deadline(world: World) -> None:
    await world.pass_time(timedelta(minutes=59))


async def deadline_passes(world: World) -> None:
    await world.pass_time(timedelta(minutes=10))


async def facts_are_delivered(world: World) -> None:
    assert world.service.deliver is not None
    await world.service.deliver.once()


PAID = (click, tried(Signal.SETTLED), told)
PATHS = (
    Path("create", (), click, click_after_the_lease),
    Path("notification", (click, tried(Signal.SETTLED)), told, told),
    Path("notification of a decline", (click, tried(Signal.DENIED)), told, told),
    Path("refund", PAID, refund, refund),
    Path("void", (click, tried(Signal.CAPTURED, "card"), told), void, void),
    Path("capture", (click, tried(Signal.AUTHORIZED, "card"), told), capture, capture),
    Path("cancellation of the order", (click, tried(Signal.PENDING), told), cancel_order, cancel_order),
    Path(
        "closing at the deadline",
        (click, tried(Signal.PENDING), told, until_just_before_the_deadline), deadline_passes, nothing,
    ),
    Path(
        "surplus payment", (*PAID, tried(Signal.SETTLED)), told, told, late=LatePayment.REOPEN_OR_REFUND
    ),
    Path("delivery of facts", PAID, facts_are_delivered, nothing),
)  # fmt: skip
SHORT = ("create", "notification", "refund", "surplus payment")
"""The paths between which all statements of a save are made; the others differ in what is decided."""


# ── one life after the other ──────────────────────────────────────────────────────────────────────────────────────────
async def does(world: World, deed: Deed) -> None:
    """The deed, and what it leads to; what the rules forbid after a crash was done before it."""
    with suppress(PaymentsError):
        await deed(world)
    await world.do_errands()


async def ending(url: str, path: Path, become: Become, stop_at: int | None) -> tuple[Mapping[str, Any], list[str]]:
    """How it ends when the process is killed at this point, and the points it reached."""
    shop = Shop(url, Policy(expiry=timedelta(hours=1), late_payment=path.late))
    life = Life()
    become(life)
    async with shop.process() as world:
        await world.keeper.place(units=2, left=5, at=world.clock.now())
        for deed in path.before:
            await does(world, deed)
        life = shop.gateway.life = Life(stop_at)
        become(life)
        with suppress(Killed):
            await does(world, path.path)
    after = shop.gateway.life = Life()
    become(after)
    async with shop.process() as world:
        if life.is_over:
            await does(world, path.again)
        await world.pass_time(SETTLES)
        await does(world, facts_are_delivered)
        return await _seen(world, shop), life.points


async def _seen(world: World, shop: Shop) -> Mapping[str, Any]:
    """All that must be the same; how often the gateway was asked, and when, may differ."""
    seen = await world.look(ORDER)
    payment = seen.payment
    assert payment is not None
    async with world.store.transaction() as uow:
        waiting = await uow.inbox.waiting([payment.payment_id], ())
    return {
        "status": status(payment),
        "order": seen.order.status,
        "stock": (seen.held, seen.left),
        "attempts": [(a.number, a.state) for a in payment.attempts],
        "charges": [(c.transaction_id, _class(c.state), c.captured_minor, c.refunded_minor) for c in payment.charges],
        "refunds": [(r.key, r.amount, r.state, r.by) for r in payment.refunds],
        "cases": [(c.kind, c.transaction_id, c.decision) for c in payment.cases],
        "money": [event.type for event in seen.history if event.type in MONEY],
        "told of all, and of nothing else": {*shop.told} == {(e.sequence, e.type.value) for e in seen.history},
        "told in order": [*dict.fromkeys(shop.told)] == sorted({*shop.told}),
        "unanswered": [kept.verdict for kept in waiting if kept.verdict is Verdict.WAITING],
        "pages": [page.is_gone for page in world.gateway.pages.values()],
        "ledger": [(t.transaction_id, t.words[-1], t.refunded) for t in world.gateway.transactions.values()],
    }


def _class(state: ChargeState) -> str:
    return "ended" if state in ENDED else state.value


MONEY = frozenset(
    {
        FactType.PAYMENT_PAID, FactType.PAYMENT_REVERSED, FactType.PAYMENT_REFUNDED, FactType.ORDER_PAID,
        FactType.ORDER_CANCELLED, FactType.STOCK_RESERVED, FactType.STOCK_CONSUMED, FactType.STOCK_RELEASED,
    }
)  # fmt: skip


async def _every_point(path: Path, copies: Callable[[], str], lives: Become) -> None:
    wanted, points = await ending(copies(), path, lives, None)
    assert points, "the path has points"
    print(f"\n{path.name}: {len(points)} points")
    for number, point in enumerate(points):
        seen, reached = await ending(copies(), path, lives, number)
        print(f"  {number:3} {point}")
        assert reached[number] == point
        assert seen == wanted, f"killed {point} (point {number})"


# Databases are copied: migrating anew for each point would take the time.
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
async def test_a_crash_at_every_commit_of_sqlite_ends_as_if_there_had_been_none(
    path: Path, tmp_path: Folder, lives: Become
) -> None:
    """D1 too: a fact is in the outbox exactly when what it tells of is stored."""
    empty = tmp_path / "empty.sqlite3"
    await migrate_async(f"sqlite+aiosqlite:///{empty}")
    numbers = count()
    copy = tmp_path / "copy.sqlite3"
    await _every_point(
        path, lambda: f"sqlite+aiosqlite:///{shutil.copy(empty, copy.with_stem(str(next(numbers))))}", lives
    )


@pytest.mark.postgres
@pytest.mark.parametrize("path", [path for path in PATHS if path.name in SHORT], ids=lambda path: path.name)
async def test_a_crash_at_every_commit_of_postgresql_ends_as_if_there_had_been_none(
    path: Path, postgres: PostgresCluster, lives: Become
) -> None:
    """Where a save is one statement, and a connection may be lost while it commits."""
    empty = postgres.create_database()
    await migrate_async(empty)
    await _every_point(path, lambda: postgres.create_database(empty), lives)
