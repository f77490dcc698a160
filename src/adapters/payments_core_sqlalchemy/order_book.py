"""The SQL order book: orders, what they reserve, and the stock it comes from.

Locks are taken in one order: orders by id, then skus by name.
Being paid touches the order's own reservation rows only; `stock.available` moves when units are reserved or released.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

import attrs
from sqlalchemy import String, bindparam, func, select, update

from payments_core.errors import Conflict, InvalidInput, StaleWrite
from payments_core.orders import Order, OrderStatus, StockLevel, StockMove, TrackedUnits
from payments_core.ports import OrderEffect, Placed
from payments_core_sqlalchemy.repositories import insert_into
from payments_core_sqlalchemy.rows import Row, order_from_row, order_to_row
from payments_core_sqlalchemy.session import Session
from payments_core_sqlalchemy.statements import Statement, any_of, update_by, written_out
from payments_core_sqlalchemy.tables import orders, reservations, stock

__all__ = ["SqlOrderBook"]

_PENDING, _RESERVED = OrderStatus.PENDING.value, StockMove.RESERVED.value
_BY_ID = select(orders).where(orders.c.order_id == bindparam("order_id", type_=String()))
_FIND, _LOCK = Statement(_BY_ID), Statement(_BY_ID.with_for_update())
_LOCK_ALL = Statement(
    select(orders).where(any_of(orders.c.order_id, "ids")).order_by(orders.c.order_id).with_for_update()
)
_CLAIM = update_by(orders, {"order_id": "order_id"}, ["payment_id"])
_STAND = update_by(orders, {"order_id": "order_id"}, ["status", "expired"])
_CONSUME = update_by(reservations, {"order_id": "order_id", "state": "state_was"}, ["state"])
_CONSUME_AND_TELL = update_by(
    reservations, {"order_id": "order_id", "state": "state_was"}, ["state"], returning=("order_id",)
)


class SqlOrderBook:
    """The `OrderRegistry` port.

    `held` says of orders whose payment this transaction has locked whether units are reserved for them: nobody without
    that lock touches the units of an order that has a payment.
    """

    def __init__(self, session: Session, held: dict[str, bool]) -> None:
        self._session = session
        self._connection = session.connection
        self._held = held
        self._locked: dict[str, Order] = {}
        self._claimed: set[str] = set()

    # ── what payments need ────────────────────────────────────────────────────────────────────────────────────────
    async def get(self, order_id: str) -> Order | None:
        """The order, or None."""
        return await self._find(order_id, lock=False)

    async def lock(self, order_ids: Collection[str]) -> dict[str, Order]:
        """These orders, locked in the order of their ids until the transaction ends."""
        rows = await self._session.rows(_LOCK_ALL, ids=sorted(order_ids)) if order_ids else []
        locked = {row["order_id"]: order_from_row(row) for row in rows}
        self._locked |= locked
        return locked

    async def claim(self, order_id: str, payment_id: str) -> bool:
        """Whether this payment is now the order's; written with the payment."""
        order = self._locked.get(order_id) or (await self.lock([order_id])).get(order_id)
        if order is None or order.payment_id is not None or order.status is not OrderStatus.PENDING:
            return False
        self._session.write_later(_CLAIM, [{"order_id": order_id, "payment_id": payment_id}])
        self._locked[order_id] = attrs.evolve(order, payment_id=payment_id)
        self._claimed.add(order_id)
        return True

    async def apply(self, effects: Sequence[OrderEffect]) -> dict[str, StockMove]:
        """The orders with their new status; the stock moves that really happened, by order id."""
        if not self._claimed.isdisjoint(effect.order_id for effect in effects):
            await self._session.flush()  # one statement does not write a row twice
        changed = [{"order_id": e.order_id, "status": e.status.value, "expired": e.expired} for e in effects]
        consumed = [effect.order_id for effect in effects if effect.stock is StockMove.CONSUMED]
        moved = dict.fromkeys(await self._stand(changed, consumed), StockMove.CONSUMED)
        for effect in effects:
            if effect.stock is StockMove.RELEASED and await self._release(effect.order_id, effect.also_consumed):
                moved[effect.order_id] = StockMove.RELEASED
        return moved

    async def reserve_again(self, order_id: str, now: datetime) -> bool:
        """Whether the order has its units: what was released could be reserved anew, or was not released."""
        order = await self._find(order_id, lock=True)
        if order is None:
            return False
        if await self._has_its_units(order_id):
            return True
        units = order.tracked_units()
        levels = await self._lock_stock(units)
        if any(levels.get(sku, 0) < quantity for sku, quantity in units.items()):
            return False
        await self._reserve(order_id, units)
        self._held[order_id] = bool(units)
        await self._session.execute(update(orders).where(orders.c.order_id == order_id).values(reserved_at=now))
        return True

    # ── what the shop asks ────────────────────────────────────────────────────────────────────────────────────────
    async def place(self, order: Order) -> tuple[Order, Placed]:
        """The order stored with its stock reserved, or found the same, or changed before its first page.

        Errors: Conflict `order_frozen`, `out_of_stock`; InvalidInput `unknown_sku`; StaleWrite when another call
        stored it first.
        """
        known = await self._find(order.order_id, lock=True)
        if known is not None and known.sells_the_same_as(order):
            return known, Placed.SAME
        if known is not None and (known.payment_id is not None or known.status is not OrderStatus.PENDING):
            raise Conflict("a page was opened for this order, or it is over: it cannot change", code="order_frozen")
        if known is not None:
            await self._lock_stock({**known.tracked_units(), **order.tracked_units()})  # all skus in one order
            await self._release(order.order_id)
        await self._take_from_stock(order.tracked_units())
        await self._store(order, known)
        await self._write_reservations(order.order_id, order.tracked_units())
        return order, Placed.CHANGED if known else Placed.NEW

    async def expire(self, order_id: str, now: datetime) -> bool:
        """Whether an order without a payment was given up at its time, its stock released."""
        return await self._give_up(order_id, expired=True, due_by=now)

    async def cancel(self, order_id: str, now: datetime) -> bool:  # noqa: ARG002 - the port names it
        """Whether an order without a payment was cancelled, its stock released."""
        return await self._give_up(order_id, expired=False, due_by=None)

    async def overdue(self, now: datetime, limit: int) -> list[str]:
        """Orders without a payment whose time is over, oldest first."""
        due = (
            (orders.c.status == written_out(OrderStatus.PENDING))
            & orders.c.payment_id.is_(None)
            & (orders.c.expires_at <= now)
        )
        query = select(orders.c.order_id).where(due).order_by(orders.c.expires_at).limit(limit)
        return [*await self._session.scalars(query)]

    async def put_stock(self, sku: str, available: int) -> StockLevel:
        """The stock of this sku with so many units that can still be reserved."""
        insert = insert_into(self._connection, stock).values(sku=sku, available=available)
        set_to = {"available": insert.excluded.available}
        await self._session.execute(insert.on_conflict_do_update(index_elements=["sku"], set_=set_to))
        return StockLevel(sku, available, await self._reserved(sku))

    async def stock(self, sku: str) -> StockLevel | None:
        """The stock of this sku, or None."""
        available = await self._session.scalar(select(stock.c.available).where(stock.c.sku == sku))
        return None if available is None else StockLevel(sku, available, await self._reserved(sku))

    # ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _find(self, order_id: str, *, lock: bool) -> Order | None:
        rows = await self._session.rows(_LOCK if lock else _FIND, order_id=order_id)
        return order_from_row(rows[0]) if rows else None

    async def _store(self, order: Order, known: Order | None) -> None:
        row = order_to_row(order)
        if known is not None:
            await self._session.execute(update(orders).where(orders.c.order_id == order.order_id).values(row))
            return
        insert = insert_into(self._connection, orders).values(row).on_conflict_do_nothing()
        if (await self._session.execute(insert)).rowcount != 1:
            raise StaleWrite(f"order {order.order_id} was stored by another call")

    async def _give_up(self, order_id: str, *, expired: bool, due_by: datetime | None) -> bool:
        free = (orders.c.order_id == order_id) & orders.c.payment_id.is_(None) & (orders.c.status == _PENDING)
        if due_by is not None:
            free &= orders.c.expires_at <= due_by
        changed = {"status": OrderStatus.CANCELLED.value, "expired": expired}
        result = await self._session.execute(update(orders).where(free).values(changed))
        if result.rowcount != 1:
            return False
        await self._release(order_id)
        return True

    # ── units ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _stand(self, changed: Sequence[Row], consumed: Sequence[str]) -> set[str]:
        """The orders stand so now; those whose reserved units were consumed.

        Both are written with what comes next, whose parts lock in no promised order: nobody else can have locked a row
        of these, because whoever touches an order that has a payment, or its units, holds that payment's lock.
        """
        self._session.write_later(_STAND, changed)
        state = {"state": StockMove.CONSUMED.value, "state_was": _RESERVED}
        rows = [{"order_id": order_id, **state} for order_id in consumed]
        if any(order_id not in self._held for order_id in consumed):
            return {row["order_id"] for row in await self._session.write_returning(_CONSUME_AND_TELL, rows)}
        held = {order_id for order_id in consumed if self._held[order_id]}
        self._session.write_later(_CONSUME, [row for row in rows if row["order_id"] in held])
        self._held.update(dict.fromkeys(held, False))
        return held

    async def _release(self, order_id: str, also_consumed: bool = False) -> bool:
        self._held[order_id] = False
        states = [_RESERVED, StockMove.CONSUMED.value] if also_consumed else [_RESERVED]
        reserved = (reservations.c.order_id == order_id) & reservations.c.state.in_(states)
        statement = update(reservations).where(reserved).values(state=StockMove.RELEASED.value)
        freed = await self._session.execute(statement.returning(reservations.c.sku, reservations.c.quantity))
        units = {row.sku: row.quantity for row in freed}
        for sku in sorted(units):
            more = stock.c.available + units[sku]
            await self._session.execute(update(stock).where(stock.c.sku == sku).values(available=more))
        return bool(units)

    async def _take_from_stock(self, units: TrackedUnits) -> None:
        levels = await self._lock_stock(units)
        unknown = [sku for sku in units if sku not in levels]
        if unknown:
            raise InvalidInput(f"no stock is known for {', '.join(unknown)}", code="unknown_sku")
        short = [sku for sku, quantity in units.items() if levels[sku] < quantity]
        if short:
            raise Conflict(f"not enough stock of {', '.join(short)}", code="out_of_stock")
        await self._subtract(units)

    async def _has_its_units(self, order_id: str) -> bool:
        query = select(reservations.c.state).where(reservations.c.order_id == order_id)
        return any(state != StockMove.RELEASED.value for state in await self._session.scalars(query))

    async def _lock_stock(self, units: TrackedUnits) -> dict[str, int]:
        if not units:
            return {}
        query = select(stock).where(stock.c.sku.in_(sorted(units))).order_by(stock.c.sku).with_for_update()
        return {row.sku: row.available for row in await self._session.execute(query)}

    async def _reserve(self, order_id: str, units: TrackedUnits) -> None:
        await self._subtract(units)
        await self._write_reservations(order_id, units)

    async def _subtract(self, units: TrackedUnits) -> None:
        for sku in sorted(units):
            less = stock.c.available - units[sku]
            await self._session.execute(update(stock).where(stock.c.sku == sku).values(available=less))

    async def _write_reservations(self, order_id: str, units: TrackedUnits) -> None:
        if not units:
            return
        insert = insert_into(self._connection, reservations)
        set_to = {"quantity": insert.excluded.quantity, "state": insert.excluded.state}
        statement = insert.on_conflict_do_update(index_elements=["order_id", "sku"], set_=set_to)
        rows = [{"order_id": order_id, "sku": sku, "quantity": n, "state": _RESERVED} for sku, n in units.items()]
        await self._session.execute(statement, rows)

    async def _reserved(self, sku: str) -> int:
        waiting = (reservations.c.sku == sku) & (reservations.c.state == written_out(StockMove.RESERVED))
        return int(await self._session.scalar(select(func.sum(reservations.c.quantity)).where(waiting)) or 0)
