"""The order book in memory: orders, reservations, stock."""

from collections.abc import Collection, Sequence
from datetime import datetime

import attrs

from payments_core.errors import Conflict, InvalidInput
from payments_core.orders import Order, OrderStatus, StockLevel, StockMove
from payments_core.ports import OrderEffect, Placed

__all__ = ["MemoryOrders"]


@attrs.define
class MemoryOrders:
    """Orders and stock; `held` says where the reserved units of an order are now."""

    orders: dict[str, Order] = attrs.field(factory=dict)
    available: dict[str, int] = attrs.field(factory=dict)
    held: dict[str, StockMove] = attrs.field(factory=dict)

    def copy(self) -> "MemoryOrders":
        """A copy that can be changed and thrown away."""
        return MemoryOrders(dict(self.orders), dict(self.available), dict(self.held))

    # ── what payments need ────────────────────────────────────────────────────────────────────────────────────────
    async def get(self, order_id: str) -> Order | None:
        """The order, or None."""
        return self.orders.get(order_id)

    async def lock(self, order_ids: Collection[str]) -> dict[str, Order]:
        """These orders; one transaction runs at a time, so nobody else changes them."""
        return {order_id: self.orders[order_id] for order_id in sorted(order_ids) if order_id in self.orders}

    async def claim(self, order_id: str, payment_id: str) -> bool:
        """Whether this payment is now the order's."""
        order = self.orders[order_id]
        if order.payment_id is not None or order.status is not OrderStatus.PENDING:
            return False
        self.orders[order_id] = attrs.evolve(order, payment_id=payment_id)
        return True

    async def apply(self, effects: Sequence[OrderEffect]) -> dict[str, StockMove]:
        """The orders with their new status; the stock moves that really happened."""
        moved = {}
        for effect in effects:
            order = self.orders[effect.order_id]
            self.orders[effect.order_id] = attrs.evolve(order, status=effect.status, expired=effect.expired)
            held = self.held.get(effect.order_id)
            comes_back = effect.also_consumed and held is StockMove.CONSUMED
            if effect.stock is not None and (held is StockMove.RESERVED or comes_back):
                self._move(order, effect.stock)
                moved[effect.order_id] = effect.stock
        return moved

    async def reserve_again(self, order_id: str, now: datetime) -> bool:
        """Whether the order has its units: what was released could be reserved anew, or was not released."""
        if self.held.get(order_id) in (StockMove.RESERVED, StockMove.CONSUMED):
            return True
        order = self.orders[order_id]
        if not self._can_reserve(order):
            return False
        self._reserve(order)
        self.orders[order_id] = attrs.evolve(order, reserved_at=now)
        return True

    # ── what the shop asks ────────────────────────────────────────────────────────────────────────────────────────
    async def place(self, order: Order) -> tuple[Order, Placed]:
        """The order stored with its stock reserved, or found the same, or changed before its first page."""
        known = self.orders.get(order.order_id)
        if known is not None and known.sells_the_same_as(order):
            return known, Placed.SAME
        if known is not None and (known.payment_id is not None or known.status is not OrderStatus.PENDING):
            raise Conflict("a page was opened for this order, so it cannot change", code="order_frozen")
        unknown = sorted(order.tracked_units().keys() - self.available.keys())
        if unknown:
            raise InvalidInput(f"no stock is known for {', '.join(unknown)}", code="unknown_sku")
        before = self.copy()
        if known is not None:
            self._move(known, StockMove.RELEASED)
        if not self._can_reserve(order):
            self.orders, self.available, self.held = before.orders, before.available, before.held
            raise Conflict("not enough stock for this order", code="out_of_stock")
        self._reserve(order)
        self.orders[order.order_id] = order
        return order, Placed.CHANGED if known else Placed.NEW

    async def expire(self, order_id: str, now: datetime) -> bool:
        """Whether an order without a payment was given up at its time."""
        order = self.orders[order_id]
        return order.expires_at <= now and self._give_up(order, expired=True)

    async def cancel(self, order_id: str, now: datetime) -> bool:  # noqa: ARG002 - the port names it
        """Whether an order without a payment was cancelled."""
        return self._give_up(self.orders[order_id], expired=False)

    async def put_stock(self, sku: str, available: int) -> StockLevel:
        """The stock of this sku with so many units that can still be reserved."""
        self.available[sku] = available
        return self._level(sku)

    async def stock(self, sku: str) -> StockLevel | None:
        """The stock of this sku, or None."""
        return self._level(sku) if sku in self.available else None

    # ── units ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _give_up(self, order: Order, *, expired: bool) -> bool:
        if order.payment_id is not None or order.status is not OrderStatus.PENDING:
            return False
        self._move(order, StockMove.RELEASED)
        self.orders[order.order_id] = attrs.evolve(order, status=OrderStatus.CANCELLED, expired=expired)
        return True

    def _can_reserve(self, order: Order) -> bool:
        return all(self.available.get(sku, 0) >= units for sku, units in order.tracked_units().items())

    def _reserve(self, order: Order) -> None:
        for sku, units in order.tracked_units().items():
            self.available[sku] -= units
        if order.tracked_units():
            self.held[order.order_id] = StockMove.RESERVED

    def _move(self, order: Order, move: StockMove) -> None:
        if self.held.get(order.order_id) in (None, StockMove.RELEASED):
            return
        self.held[order.order_id] = move
        if move is StockMove.RELEASED:
            for sku, units in order.tracked_units().items():
                self.available[sku] += units

    def _level(self, sku: str) -> StockLevel:
        reserved = sum(
            self.orders[order_id].tracked_units().get(sku, 0)
            for order_id, move in self.held.items()
            if move is StockMove.RESERVED
        )
        return StockLevel(sku, self.available[sku], reserved)
