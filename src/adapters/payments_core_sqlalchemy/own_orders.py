"""Payments in our tables, orders in the shop's own: the same database, and one transaction over both."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import attrs
from sqlalchemy.ext.asyncio import AsyncConnection

from payments_core.ports import Due, DueKind, Inbox, OrderBook, OrderPayment, Payments
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.unit_of_work import SqlUnitOfWork

__all__ = ["OwnOrdersStore"]


@attrs.frozen
class _Unit:
    """The `UnitOfWork` port: ours, but for the orders."""

    _ours: SqlUnitOfWork
    orders: OrderBook

    @property
    def payments(self) -> Payments:
        return self._ours.payments

    @property
    def inbox(self) -> Inbox:
        return self._ours.inbox

    async def claim_due(self, kind: DueKind, *, now: datetime, until: datetime, limit: int) -> list[Due]:
        return await self._ours.claim_due(kind, now=now, until=until, limit=limit)

    async def commit(self) -> None:
        await self._ours.commit()


class OwnOrdersStore:
    """A `Store` over an `SqlStore` and an order book of the shop's own.

    `orders` makes the order book over a connection whose transaction has begun: it executes statements, and leaves
    the end of the transaction to us. What else is made over the `SqlStore` (outbox, survey, turns) stays so.
    """

    def __init__(self, store: SqlStore, orders: Callable[[AsyncConnection], OrderBook]) -> None:
        self._store, self._orders = store, orders

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[_Unit]:
        """A unit of work that writes. Errors: StorageUnavailable, StaleWrite; also for what the order book says."""
        async with self._store.transaction() as ours:
            yield _Unit(ours, self._orders(ours.connection))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[_Unit]:
        """A unit of work that reads one consistent picture. Errors: StorageUnavailable."""
        async with self._store.reading() as ours:
            yield _Unit(ours, self._orders(ours.connection))

    async def find(self, order_id: str) -> OrderPayment | None:
        """The payment of this order, None when the shop has no such order. Errors: StorageUnavailable."""
        async with self.reading() as uow:
            order = await uow.orders.get(order_id)
            if order is None:
                return None
            wanted = [] if order.payment_id is None else [order.payment_id]
            found = await uow.payments.load(wanted)
        return OrderPayment(order.customer.id, found.get(order.payment_id or ""))

    async def close(self) -> None:
        """Every connection is given back."""
        await self._store.close()
