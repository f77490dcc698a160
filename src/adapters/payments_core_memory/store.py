"""The store in memory: one writer at a time, copies inside a transaction, versions checked when it is saved."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import attrs

from payments_core.decide import Verdict
from payments_core.errors import StaleWrite
from payments_core.facts import Event
from payments_core.orders import OrderStatus
from payments_core.payment import Payment
from payments_core.ports import Change, Due, DueKind, Kept, NotificationKey, OrderPayment, PaymentFilter
from payments_core.status import status
from payments_core_memory.orders import MemoryOrders

__all__ = ["MemoryStore"]


@attrs.define
class _Payments:
    """`saves` is the history: what every save changed, appended. No chain: the process could read its key anyway."""

    rows: dict[str, Payment] = attrs.field(factory=dict)
    events: dict[str, list[Event]] = attrs.field(factory=dict)
    bound: dict[tuple[str, str, str], str] = attrs.field(factory=dict)
    saves: dict[str, tuple[Change, ...]] = attrs.field(factory=dict)

    def copy(self) -> "_Payments":
        events = {key: list(value) for key, value in self.events.items()}
        return _Payments(dict(self.rows), events, dict(self.bound), dict(self.saves))

    async def lock(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        return await self.load(payment_ids)

    async def load(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        return {key: self.rows[key] for key in sorted(payment_ids) if key in self.rows}

    async def save(self, changes: Sequence[Change]) -> dict[str, Payment]:
        saved = {}
        for change in changes:
            payment_id = change.after.payment_id
            known = self.rows.get(payment_id)
            if (known.version if known else None) != (change.before.version if change.before else None):
                raise StaleWrite(f"payment {payment_id} was changed by somebody else")
            stored = attrs.evolve(change.after, version=(known.version if known else 0) + 1)
            self.rows[payment_id] = saved[payment_id] = stored
            self.events.setdefault(payment_id, []).extend(change.events)
            self.saves[payment_id] = (*self.saves.get(payment_id, ()), attrs.evolve(change, after=stored))
        return saved

    async def take_numbers(self, payment_ids: Collection[str]) -> dict[str, int]:
        for payment_id in payment_ids:
            if payment_id in self.rows:
                row = self.rows[payment_id]
                self.rows[payment_id] = attrs.evolve(row, reading_number=row.reading_number + 1)
        return {key: self.rows[key].reading_number for key in payment_ids if key in self.rows}

    async def keep_numbers(self, payments: Sequence[Payment]) -> None:
        for payment in payments:
            stored = self.rows[payment.payment_id]
            self.rows[payment.payment_id] = attrs.evolve(stored, reading_number=payment.reading_number)

    async def history(self, payment_id: str, *, after: int, limit: int) -> list[Event]:
        return [event for event in self.events.get(payment_id, []) if event.sequence > after][:limit]

    async def newest(self, wanted: PaymentFilter, *, before: str | None, limit: int) -> list[Payment]:
        newest_first = sorted(self.rows.values(), key=lambda payment: payment.payment_id, reverse=True)
        older = (p for p in newest_first if before is None or p.payment_id < before)
        return [payment for payment in older if _fits(payment, wanted)][:limit]

    async def bind(self, payment_id: str, provider: str, account: str, transaction_id: str) -> bool:
        return self.bound.setdefault((provider, account, transaction_id), payment_id) == payment_id

    async def owners(self, provider: str, account: str, transaction_ids: Collection[str]) -> dict[str, str]:
        keys = {transaction_id: (provider, account, transaction_id) for transaction_id in transaction_ids}
        return {name: self.bound[key] for name, key in keys.items() if key in self.bound}


def _fits(payment: Payment, wanted: PaymentFilter) -> bool:
    page = payment.payable_attempt or payment.last_attempt
    return (
        wanted.status in (None, status(payment))
        and wanted.provider in (None, page.provider if page else "")
        and wanted.order_id in (None, payment.order_id)
        and (wanted.created_from is None or payment.created_at >= wanted.created_from)
        and (wanted.created_to is None or payment.created_at < wanted.created_to)
        and wanted.needs_review in (None, bool(payment.open_cases))
    )


@attrs.define
class _Inbox:
    rows: dict[NotificationKey, Kept] = attrs.field(factory=dict)

    def copy(self) -> "_Inbox":
        return _Inbox(dict(self.rows))

    async def put(self, kept: Sequence[Kept]) -> None:
        for item in kept:
            key = item.notification.key
            known = self.rows.get(key)
            if item.fresh and known is not None:
                self.rows[key] = attrs.evolve(known, times=known.times + item.times)
                continue
            says_no_more = attrs.evolve(item.notification, says=None)
            self.rows[key] = attrs.evolve(item, fresh=False, notification=says_no_more)

    async def waiting(self, payment_ids: Collection[str], transaction_ids: Collection[str]) -> list[Kept]:
        return [
            kept
            for kept in self.rows.values()
            if kept.verdict is Verdict.WAITING
            and (
                kept.notification.key.shard in payment_ids
                or (not kept.notification.key.shard and kept.notification.transaction_id in transaction_ids)
            )
        ]

    async def load(self, keys: Collection[NotificationKey]) -> list[Kept]:
        return [kept for key, kept in self.rows.items() if key in set(keys)]

    async def lock(self, keys: Collection[NotificationKey]) -> list[Kept]:
        return await self.load(keys)


@attrs.define
class _Unit:
    payments: _Payments
    inbox: _Inbox
    orders: MemoryOrders
    writes: bool = True
    committed: tuple[_Payments, _Inbox, MemoryOrders] | None = None

    async def commit(self) -> None:
        if not self.writes:
            raise RuntimeError("this unit of work reads, or is over: nothing of it can be stored")
        self.writes = False
        self.committed = self.payments.copy(), self.inbox.copy(), self.orders.copy()  # what it writes later is nobody's

    async def claim_due(self, kind: DueKind, *, now: datetime, until: datetime, limit: int) -> list[Due]:
        found = sorted(self._due(kind), key=lambda pair: pair[0])
        claimed = [due for at, due in found if at <= now][:limit]
        for due in claimed:
            self._lease(due, until)
        return claimed

    def _due(self, kind: DueKind) -> Iterator[tuple[datetime, Due]]:
        match kind:
            case DueKind.NOTIFICATION:
                for key, kept in self.inbox.rows.items():
                    if kept.check_at:
                        yield kept.check_at, Due(kind, key.shard, key=key)
            case DueKind.ORDER:
                for order in self.orders.orders.values():
                    if order.status is OrderStatus.PENDING and order.payment_id is None:
                        yield order.expires_at, Due(kind, order.order_id)
            case _:
                for payment in self.payments.rows.values():
                    yield from _due_in(payment, kind)

    def _lease(self, due: Due, until: datetime) -> None:
        if due.kind is DueKind.NOTIFICATION and due.key is not None:
            self.inbox.rows[due.key] = attrs.evolve(self.inbox.rows[due.key], check_at=until)
            return
        if due.kind is DueKind.ORDER:
            return  # giving an order up is one transaction, which looks at the time again
        payment = self.payments.rows[due.id]
        if due.kind is DueKind.DEADLINE:
            payment = attrs.evolve(payment, deadline_at=until)
        elif due.kind is DueKind.ATTEMPT:
            payment = payment.with_attempt(attrs.evolve(payment.attempt(int(due.part)), check_at=until))
        elif due.kind is DueKind.REFUND and (refund := payment.refund(due.part)):
            payment = payment.with_refund(attrs.evolve(refund, check_at=until))
        elif charge := payment.charge(due.part):
            payment = payment.with_charge(attrs.evolve(charge, check_at=until))
        self.payments.rows[due.id] = payment


def _due_in(payment: Payment, kind: DueKind) -> Iterator[tuple[datetime, Due]]:
    rows: dict[DueKind, list[tuple[datetime | None, str]]] = {
        DueKind.DEADLINE: [(payment.deadline_at, "")],
        DueKind.ATTEMPT: [(attempt.check_at, str(attempt.number)) for attempt in payment.attempts],
        DueKind.CHARGE: [(charge.check_at, charge.transaction_id) for charge in payment.charges],
        DueKind.REFUND: [(refund.check_at, refund.key) for refund in payment.refunds],
    }
    return ((at, Due(kind, payment.payment_id, part)) for at, part in rows[kind] if at is not None)


@attrs.define
class MemoryStore:
    """Payments, notifications and orders of one process."""

    payments: _Payments = attrs.field(factory=_Payments)
    inbox: _Inbox = attrs.field(factory=_Inbox)
    orders: MemoryOrders = attrs.field(factory=MemoryOrders)
    _writer: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[_Unit]:
        """A unit of work that writes; one at a time, and all or nothing."""
        async with self._writer:
            unit = _Unit(self.payments.copy(), self.inbox.copy(), self.orders.copy())
            try:
                yield unit
            finally:
                unit.writes = False
            if unit.committed is not None:
                self.payments, self.inbox, self.orders = unit.committed

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[_Unit]:
        """A unit of work that only reads."""
        yield _Unit(self.payments.copy(), self.inbox.copy(), self.orders.copy(), writes=False)

    async def find(self, order_id: str) -> OrderPayment | None:
        """The payment of this order, or None when there is no such order."""
        order = self.orders.orders.get(order_id)
        return OrderPayment(order.customer.id, self.payments.rows.get(order.payment_id or "")) if order else None
