"""A store whose transactions interleave at every statement, as those of PostgreSQL at READ COMMITTED do.

Rows are what the memory twin keeps and its code decides what they say; here are locks, versions, visibility, failures.
A statement reads what is committed when it runs, and what its own transaction wrote. A claim of due work locks the row
of the attempt, charge or refund and not its payment, so it can pass a writer of the same payment.
"""

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterator, MutableMapping, Sequence
from datetime import datetime
from functools import cached_property
from random import Random
from typing import Any, TypeVar

import attrs

from payments_core.decide import Verdict
from payments_core.errors import StaleWrite, StorageUnavailable
from payments_core.facts import Event
from payments_core.orders import Order, OrderStatus, StockLevel, StockMove
from payments_core.payment import Payment
from payments_core.ports import (
    Change,
    Due,
    DueKind,
    Kept,
    NotificationKey,
    OrderEffect,
    OrderPayment,
    PaymentFilter,
)
from payments_core_memory.orders import MemoryOrders
from payments_core_memory.store import _fits, _Inbox
from unit.simulation.locks import Deadlock, Locks, Owner
from unit.simulation.loop import PROCESS

__all__ = ["Committed", "Mood", "SimulatedStore"]

Value = TypeVar("Value")
Rewrite = Callable[[Payment | None], Payment]


FactKey = tuple[str, int, str]


@attrs.frozen
class Fact:
    """An event that waits for a subscriber; a dead letter has no time."""

    try_at: datetime | None
    tries: int = 0


@attrs.define
class Committed:
    """What is durable."""

    payments: dict[str, Payment] = attrs.field(factory=dict)
    events: dict[str, tuple[Event, ...]] = attrs.field(factory=dict)
    bound: dict[tuple[str, str, str], str] = attrs.field(factory=dict)
    inbox: dict[NotificationKey, Kept] = attrs.field(factory=dict)
    orders: dict[str, Order] = attrs.field(factory=dict)
    available: dict[str, int] = attrs.field(factory=dict)
    held: dict[str, StockMove] = attrs.field(factory=dict)
    bodies: set[bytes] = attrs.field(factory=set)
    """Of the notifications, to find one by."""
    outbox: dict[FactKey, Fact] = attrs.field(factory=dict)
    """By payment, sequence and subscriber."""


@attrs.define
class Mood:
    """How the database behaves just now; probabilities of one statement, or of one commit."""

    down: bool = False
    slow: float = 0.0
    """A statement takes up to 50 milliseconds."""
    stalls: float = 0.0
    """A statement takes up to a minute: a lease may end meanwhile."""
    commit_refused: float = 0.0
    """Not applied, and the caller is told to run it again (SQLSTATE 40001)."""
    commit_unknown: float = 0.0
    """The connection is lost during COMMIT: it was applied, or not, and the caller cannot tell."""


class _Overlay(MutableMapping[Any, Any]):
    """Committed rows with the writes of one transaction over them."""

    def __init__(self, committed: dict[Any, Any]) -> None:
        self.committed = committed
        self.own: dict[Any, Any] = {}

    def __getitem__(self, key: Any) -> Any:
        return self.own[key] if key in self.own else self.committed[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.own[key] = value

    def __delitem__(self, key: Any) -> None:
        raise NotImplementedError("nothing here is ever deleted")

    def __iter__(self) -> Iterator[Any]:
        return iter({**self.committed, **self.own})

    def __len__(self) -> int:
        return len({**self.committed, **self.own})


# ── one transaction ───────────────────────────────────────────────────────────────────────────────────────────────────
class _Unit(Owner):
    """A transaction; also a reading one, which locks nothing."""

    def __init__(self, store: "SimulatedStore") -> None:
        super().__init__()
        self.store = store
        self.process = PROCESS.get()
        self.over = False
        self.rewrites: dict[str, list[Rewrite]] = {}
        self.inbox_rows = _Overlay(store.committed.inbox)
        self.events = _Overlay(store.committed.events)
        self.bound = _Overlay(store.committed.bound)
        self.facts: dict[FactKey, Fact | None] = {}
        """Rows of the outbox this transaction writes, or deletes."""
        self.payments = store.payments_type(self)

    @cached_property
    def inbox(self) -> "_UnitInbox":
        return self.store.inbox_type(self)

    @cached_property
    def orders(self) -> "_UnitOrders":
        return self.store.orders_type(self)

    async def __aenter__(self) -> "_Unit":
        self.store.open[id(self)] = self  # BEGIN travels with the first statement
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.end()

    async def statement(self, name: str) -> None:
        """One round trip to the database."""
        if self.over:
            raise AssertionError(f"{name} after the end of its transaction")
        await self.store.round_trip(name)

    async def lock(self, *rows: Hashable) -> None:
        for row in rows:
            try:
                await self.store.locks.take(self, row)
            except Deadlock as deadlock:
                self.store.complaints.append(str(deadlock))
                raise StaleWrite("deadlock detected") from deadlock

    def payment(self, payment_id: str) -> Payment | None:
        row = self.store.committed.payments.get(payment_id)
        for rewrite in self.rewrites.get(payment_id, ()):
            row = rewrite(row)
        return row

    def rewrite(self, payment_id: str, how: Rewrite) -> None:
        self.rewrites.setdefault(payment_id, []).append(how)

    async def claim_due(self, kind: DueKind, *, now: datetime, until: datetime, limit: int) -> list[Due]:
        await self.statement(f"claim {kind.value}")
        claimed = []
        for at, due in sorted(self.store.due(kind), key=lambda pair: pair[0]):
            if at > now or len(claimed) >= limit:
                break
            if kind is DueKind.ORDER or self.store.locks.try_take(self, _row_of(due)):
                claimed.append(due)
                self._lease(due, until)
        return claimed

    def _lease(self, due: Due, until: datetime) -> None:
        if due.kind is DueKind.NOTIFICATION and due.key is not None:
            self.inbox_rows[due.key] = attrs.evolve(self.inbox_rows[due.key], check_at=until)
        elif due.kind is not DueKind.ORDER:
            self.rewrite(due.id, lambda payment: _leased(payment, due, until))

    async def commit(self) -> None:
        if not self._writes():
            self.over = True
            self.store.locks.release_all(self)
            return
        await self.statement("commit")
        random, mood = self.store.random, self.store.mood
        if random.random() < mood.commit_refused:
            raise StaleWrite("could not serialize access")
        if random.random() < mood.commit_unknown:
            if random.random() < 0.5:
                self._apply()
            raise StorageUnavailable("the connection was lost during COMMIT")
        self._apply()
        await self.store.round_trip("committed")

    def _writes(self) -> bool:
        orders_changed = "orders" in self.__dict__ and self.orders.overlays_changed()
        return bool(self.rewrites or self.inbox_rows.own or self.bound.own or self.facts or orders_changed)

    def _apply(self) -> None:
        if self.over:
            raise AssertionError("a transaction that is over is committed")
        self.over = True
        store, committed = self.store, self.store.committed
        changed = {}
        for payment_id in self.rewrites:
            after = self.payment(payment_id)
            assert after is not None
            changed[payment_id] = (committed.payments.get(payment_id), after)
        for payment_id, (_before, after) in changed.items():
            committed.payments[payment_id] = after
        for hear in store.inbox_watchers:
            for key, kept in self.inbox_rows.own.items():
                hear(committed.inbox.get(key), kept)
        committed.inbox.update(self.inbox_rows.own)
        committed.bodies.update(kept.notification.body for kept in self.inbox_rows.own.values())
        committed.events.update(self.events.own)
        committed.bound.update(self.bound.own)
        for key, fact in self.facts.items():
            if fact is None:
                committed.outbox.pop(key, None)
            else:
                committed.outbox[key] = fact
        if "orders" in self.__dict__:
            self.orders.write(committed)
        store.locks.release_all(self)
        store.committed_now(changed)

    def end(self) -> None:
        """Whatever was not committed is undone, its locks are free."""
        self.over = True
        self.store.locks.release_all(self)
        self.store.open.pop(id(self), None)


class _UnitPayments:
    """The `Payments` port inside one transaction."""

    def __init__(self, unit: _Unit) -> None:
        self.unit = unit

    async def lock(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        await self.unit.statement("payments.lock")
        known = [key for key in sorted(payment_ids) if self.unit.payment(key) is not None]
        await self.unit.lock(*(("payments", key) for key in known))
        return self._read(known)

    async def load(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        await self.unit.statement("payments.load")
        return self._read(sorted(payment_ids))

    def _read(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        return {key: row for key in payment_ids if (row := self.unit.payment(key)) is not None}

    async def save(self, changes: Sequence[Change]) -> dict[str, Payment]:
        await self.unit.statement("payments.save")
        saved = {}
        for change in sorted(changes, key=lambda change: change.after.payment_id):
            saved[change.after.payment_id] = await self._save(change)
        return saved

    async def _save(self, change: Change) -> Payment:
        payment_id, before = change.after.payment_id, change.before
        await self.unit.lock(("payments", payment_id))
        known = self.unit.payment(payment_id)
        if (known.version if known else None) != (before.version if before else None):
            raise StaleWrite(f"payment {payment_id} was changed by somebody else")
        stored = attrs.evolve(change.after, version=(known.version if known else 0) + 1)
        await self.unit.lock(*_children(before, stored))
        self.unit.rewrite(payment_id, lambda current: _written(current, before, stored))
        self.publish(payment_id, change.events)
        return stored

    def publish(self, payment_id: str, events: Sequence[Event]) -> None:
        """They are history, and wait for every subscriber."""
        self.unit.events[payment_id] = (*self.unit.events.get(payment_id, ()), *events)
        for subscriber in self.unit.store.subscribers:
            self.unit.facts |= {(payment_id, event.sequence, subscriber): Fact(event.at) for event in events}

    async def take_numbers(self, payment_ids: Collection[str]) -> dict[str, int]:
        await self.unit.statement("payments.take_numbers")
        known = [key for key in sorted(payment_ids) if self.unit.payment(key) is not None]
        await self.unit.lock(*(("payments", key) for key in known))
        for key in known:
            self.unit.rewrite(key, _numbered)
        return {key: row.reading_number for key, row in self._read(known).items()}

    async def keep_numbers(self, payments: Sequence[Payment]) -> None:
        await self.unit.statement("payments.keep_numbers")
        for payment in payments:
            number = payment.reading_number
            self.unit.rewrite(payment.payment_id, lambda row, number=number: attrs.evolve(row, reading_number=number))

    async def history(self, payment_id: str, *, after: int, limit: int) -> list[Event]:
        await self.unit.statement("payments.history")
        return [event for event in self.unit.events.get(payment_id, ()) if event.sequence > after][:limit]

    async def newest(self, wanted: PaymentFilter, *, before: str | None, limit: int) -> list[Payment]:
        await self.unit.statement("payments.newest")
        rows = self._read({**self.unit.store.committed.payments, **self.unit.rewrites})
        newest_first = sorted(rows.values(), key=lambda payment: payment.payment_id, reverse=True)
        older = (p for p in newest_first if before is None or p.payment_id < before)
        return [payment for payment in older if _fits(payment, wanted)][:limit]

    async def bind(self, payment_id: str, provider: str, account: str, transaction_id: str) -> bool:
        await self.unit.statement("payments.bind")
        key = (provider, account, transaction_id)
        await self.unit.lock(("bound", key))
        return bool(self.unit.bound.setdefault(key, payment_id) == payment_id)

    async def owners(self, provider: str, account: str, transaction_ids: Collection[str]) -> dict[str, str]:
        await self.unit.statement("payments.owners")
        bound = {known: self.unit.bound.get((provider, account, known)) for known in transaction_ids}
        return {known: owner for known, owner in bound.items() if owner is not None}


class _UnitInbox:
    """The `Inbox` port inside one transaction: the memory twin's answers, behind locks."""

    def __init__(self, unit: _Unit) -> None:
        self.unit = unit
        self.rows = _Inbox(rows=unit.inbox_rows)  # type: ignore[arg-type]

    async def put(self, kept: Sequence[Kept]) -> None:
        await self.unit.statement("inbox.put")
        await self._lock({item.notification.key for item in kept})
        await self.rows.put(kept)

    async def waiting(self, payment_ids: Collection[str], transaction_ids: Collection[str]) -> list[Kept]:
        await self.unit.statement("inbox.waiting")
        found = await self.rows.waiting(payment_ids, transaction_ids)
        await self._lock({kept.notification.key for kept in found})
        return [kept for kept in await self.load_again(found) if kept.verdict is Verdict.WAITING]

    async def load_again(self, found: Sequence[Kept]) -> list[Kept]:
        return _oldest_first(await self.rows.load([kept.notification.key for kept in found]))

    async def load(self, keys: Collection[NotificationKey]) -> list[Kept]:
        await self.unit.statement("inbox.load")
        return _oldest_first(await self.rows.load(keys))

    async def lock(self, keys: Collection[NotificationKey]) -> list[Kept]:
        await self.unit.statement("inbox.lock")
        await self._lock({key for key in keys if key in self.rows.rows})
        return _oldest_first(await self.rows.load(keys))

    async def _lock(self, keys: Collection[NotificationKey]) -> None:
        await self.unit.lock(*(("notifications", key) for key in sorted(keys, key=attrs.astuple)))


class _UnitOrders(MemoryOrders):
    """The order registry inside one transaction: the memory twin's answers, behind locks."""

    def __init__(self, unit: _Unit) -> None:
        committed = unit.store.committed
        super().__init__(
            orders=_Overlay(committed.orders),  # type: ignore[arg-type]
            available=_Overlay(committed.available),  # type: ignore[arg-type]
            held=_Overlay(committed.held),  # type: ignore[arg-type]
        )
        self.unit = unit

    def overlays_changed(self) -> bool:
        return any(rows.own for rows in (self.orders, self.available, self.held) if isinstance(rows, _Overlay))

    def write(self, committed: Committed) -> None:
        for mine, theirs in (
            (self.orders, committed.orders),
            (self.available, committed.available),
            (self.held, committed.held),
        ):
            theirs.update(mine.own if isinstance(mine, _Overlay) else mine)

    async def _lock(self, order_id: str, *, stock: bool) -> None:
        await self.unit.lock(("orders", order_id))
        if stock and (order := self.orders.get(order_id)) is not None:
            await self.unit.lock(*(("stock", sku) for sku in order.tracked_units()))

    async def get(self, order_id: str) -> Order | None:
        await self.unit.statement("orders.get")
        return await super().get(order_id)

    async def lock(self, order_ids: Collection[str]) -> dict[str, Order]:
        await self.unit.statement("orders.lock")
        for order_id in sorted(order_ids):
            await self._lock(order_id, stock=False)
        return await super().lock(order_ids)

    async def claim(self, order_id: str, payment_id: str) -> bool:
        await self.unit.statement("orders.claim")
        await self._lock(order_id, stock=False)
        return await super().claim(order_id, payment_id)

    async def apply(self, effects: Sequence[OrderEffect]) -> dict[str, StockMove]:
        await self.unit.statement("orders.apply")
        for effect in effects:
            await self._lock(effect.order_id, stock=effect.stock is StockMove.RELEASED)
        return await super().apply(effects)

    async def reserve_again(self, order_id: str, now: datetime) -> bool:
        await self.unit.statement("orders.reserve_again")
        await self._lock(order_id, stock=True)
        return await super().reserve_again(order_id, now)

    async def place(self, order: Order) -> Any:
        await self.unit.statement("orders.place")
        await self._lock(order.order_id, stock=True)
        await self.unit.lock(*(("stock", sku) for sku in order.tracked_units()))
        return await super().place(order)

    async def expire(self, order_id: str, now: datetime) -> bool:
        await self.unit.statement("orders.expire")
        await self._lock(order_id, stock=True)
        return await super().expire(order_id, now)

    async def cancel(self, order_id: str, now: datetime) -> bool:
        await self.unit.statement("orders.cancel")
        await self._lock(order_id, stock=True)
        return await super().cancel(order_id, now)

    async def put_stock(self, sku: str, available: int) -> StockLevel:
        await self.unit.statement("orders.put_stock")
        await self.unit.lock(("stock", sku))
        return await super().put_stock(sku, available)

    async def stock(self, sku: str) -> StockLevel | None:
        await self.unit.statement("orders.stock")
        return await super().stock(sku)


def _oldest_first(found: list[Kept]) -> list[Kept]:
    return sorted(found, key=lambda kept: (kept.notification.received_at, attrs.astuple(kept.notification.key)))


def _row_of(due: Due) -> Hashable:
    if due.kind is DueKind.NOTIFICATION:
        return (due.kind.value, due.key)
    return (due.kind.value, due.id) if due.kind is DueKind.DEADLINE else (due.kind.value, due.id, due.part)


def _numbered(payment: Payment | None) -> Payment:
    assert payment is not None
    return attrs.evolve(payment, reading_number=payment.reading_number + 1)


def _leased(payment: Payment | None, due: Due, until: datetime) -> Payment:
    assert payment is not None
    match due.kind:
        case DueKind.DEADLINE:
            return attrs.evolve(payment, deadline_at=until)
        case DueKind.ATTEMPT:
            return payment.with_attempt(attrs.evolve(payment.attempt(int(due.part)), check_at=until))
        case DueKind.REFUND:
            refund = payment.refund(due.part)
            assert refund is not None
            return payment.with_refund(attrs.evolve(refund, check_at=until))
        case _:
            charge = payment.charge(due.part)
            assert charge is not None
            return payment.with_charge(attrs.evolve(charge, check_at=until))


def _children(before: Payment | None, after: Payment) -> Iterator[Hashable]:
    """The rows beside the payment's own that this save writes."""
    for attempt in after.attempts:
        if before is None or attempt not in before.attempts:
            yield (DueKind.ATTEMPT.value, after.payment_id, str(attempt.number))
    for charge in after.charges:
        if before is None or charge not in before.charges:
            yield (DueKind.CHARGE.value, after.payment_id, charge.transaction_id)
    for refund in after.refunds:
        if before is None or refund not in before.refunds:
            yield (DueKind.REFUND.value, after.payment_id, refund.key)


def _written(current: Payment | None, before: Payment | None, after: Payment) -> Payment:
    """What the rows say after this save: those it did not change stay as somebody else left them."""
    if current is before or current is None or before is None:
        return after
    for attempt in current.attempts:
        if attempt in after.attempts or after.attempt(attempt.number) == before.attempt(attempt.number):
            after = after.with_attempt(attempt)
    for charge in current.charges:
        if after.charge(charge.transaction_id) == before.charge(charge.transaction_id):
            after = after.with_charge(charge)
    for refund in current.refunds:
        if after.refund(refund.key) == before.refund(refund.key):
            after = after.with_refund(refund)
    return after


# ── the store ─────────────────────────────────────────────────────────────────────────────────────────────────────────
class SimulatedStore:
    """The `ShopStore` port; `committed` is what survives every crash.

    `watch` is told of every payment a commit changed. `complaints` are faults that are the store's to find.
    """

    payments_type: type[_UnitPayments] = _UnitPayments
    inbox_type: type[_UnitInbox] = _UnitInbox
    orders_type: type[_UnitOrders] = _UnitOrders

    def __init__(self, random: Random | None = None) -> None:
        self.random = random or Random(0)
        self.committed = Committed()
        self.mood = Mood()
        self.locks = Locks()
        self.open: dict[int, _Unit] = {}
        self.complaints: list[str] = []
        self.watchers: list[Callable[[dict[str, tuple[Payment | None, Payment]]], None]] = []
        self.inbox_watchers: list[Callable[[Kept | None, Kept], None]] = []
        self.commits = 0
        self._next_due_at = -1
        self._next_due: datetime | None = None
        self.said: Callable[[str], None] = lambda _name: None
        self.subscribers: tuple[str, ...] = ()

    async def round_trip(self, name: str) -> None:
        """Time passes, others go on; a database that is down says so.

        Errors: StorageUnavailable.
        """
        self.said(name)
        draw = self.random.random()
        if draw < self.mood.stalls:
            await asyncio.sleep(self.random.uniform(1, 60))
        elif draw < self.mood.slow:
            await asyncio.sleep(self.random.uniform(0, 0.05))
        else:
            await asyncio.sleep(0)
        if self.mood.down:
            raise StorageUnavailable("the database is down")

    def transaction(self) -> _Unit:
        """A unit of work that writes."""
        return _Unit(self)

    def reading(self) -> _Unit:
        """A unit of work that only reads."""
        return _Unit(self)

    async def find(self, order_id: str) -> OrderPayment | None:
        """The payment of this order as it is, read in one transaction."""
        async with self.reading() as unit:
            order = await unit.orders.get(order_id)
            if order is None or order.payment_id is None:
                return OrderPayment(order.customer.id, None) if order else None
            return OrderPayment(order.customer.id, (await unit.payments.load([order.payment_id])).get(order.payment_id))

    def committed_now(self, changed: dict[str, tuple[Payment | None, Payment]]) -> None:
        self.commits += 1
        for watcher in self.watchers:
            watcher(changed)

    def forget(self, process: object) -> None:
        """This process is dead: its connections are gone, and what they had not committed."""
        for unit in [unit for unit in self.open.values() if unit.process is process]:
            unit.end()

    # ── due work ──────────────────────────────────────────────────────────────────────────────────────────────────
    def due(self, kind: DueKind) -> Iterator[tuple[datetime, Due]]:
        """Rows of this kind with the time they are due at."""
        match kind:
            case DueKind.NOTIFICATION:
                for key, kept in self.committed.inbox.items():
                    if kept.check_at is not None:
                        yield kept.check_at, Due(kind, key.shard, key=key)
            case DueKind.ORDER:
                for order in self.committed.orders.values():
                    if order.status is OrderStatus.PENDING and order.payment_id is None:
                        yield order.expires_at, Due(kind, order.order_id)
            case _:
                for payment in self.committed.payments.values():
                    for at, part in _PARTS[kind](payment):
                        if at is not None:
                            yield at, Due(kind, payment.payment_id, part)

    def free_facts(self) -> Iterator[tuple[FactKey, datetime]]:
        """The first fact of each payment and subscriber that is still here, and when it is due."""
        first: dict[tuple[str, str], FactKey] = {}
        for key in sorted(self.committed.outbox):
            first.setdefault((key[0], key[2]), key)
        for key in first.values():
            if (at := self.committed.outbox[key].try_at) is not None:
                yield key, at

    def next_due(self) -> datetime | None:
        """When the next row is due; looked for once after each commit."""
        if self._next_due_at != self.commits:
            self._next_due_at = self.commits
            self._next_due = min(self._times(), default=None)
        return self._next_due

    def _times(self) -> Iterator[datetime]:
        rows = self.committed
        times = [kept.check_at for kept in rows.inbox.values()]
        for payment in rows.payments.values():
            times += [payment.deadline_at, *[attempt.check_at for attempt in payment.attempts]]
            times += [part.check_at for part in (*payment.charges, *payment.refunds)]
        for order in rows.orders.values():
            if order.payment_id is None and order.status is OrderStatus.PENDING:
                times.append(order.expires_at)
        times += [at for _, at in self.free_facts()]
        return (at for at in times if at is not None)


_PARTS: dict[DueKind, Callable[[Payment], Iterator[tuple[datetime | None, str]]]] = {
    DueKind.DEADLINE: lambda payment: iter(((payment.deadline_at, ""),)),
    DueKind.ATTEMPT: lambda payment: ((part.check_at, str(part.number)) for part in payment.attempts),
    DueKind.CHARGE: lambda payment: ((part.check_at, part.transaction_id) for part in payment.charges),
    DueKind.REFUND: lambda payment: ((part.check_at, part.key) for part in payment.refunds),
}
