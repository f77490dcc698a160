"""The order as payments need it: who owes how much, for what.

Orders belong to the shop and are reached through the OrderBook port; these values are what passes through it.
"""

from datetime import datetime
from enum import Enum

import attrs

from payments_core.errors import InvalidInput
from payments_core.limits import ORDER_ITEMS_MAX
from payments_core.money import Currency, Money

__all__ = ["Customer", "Item", "Order", "OrderStatus", "Shipping", "StockLevel", "StockMove", "TrackedUnits"]


class OrderStatus(Enum):
    """Where an order stands; derived from its payment (design 2a)."""

    PENDING = "pending"
    PAID = "paid"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"


class StockMove(Enum):
    """What may happen to the stock reserved for one order."""

    RESERVED = "reserved"
    CONSUMED = "consumed"
    RELEASED = "released"


@attrs.frozen
class Customer:
    """Who buys; `id` is the subject of the token that may see the order."""

    id: str
    name: str
    email: str
    phone: str | None = None


@attrs.frozen
class Item:
    """One line of the order; `price` is per unit. Untracked items need no stock row and move none."""

    sku: str
    name: str
    price: Money
    quantity: int
    variant: str | None = None
    track_stock: bool = True

    @property
    def total(self) -> Money:
        """Price times quantity."""
        return self.price * self.quantity


@attrs.frozen
class Shipping:
    """Where it goes and what that costs."""

    cost: Money
    name: str
    address: str
    city: str
    postal_code: str
    phone: str | None = None


TrackedUnits = dict[str, int]
"""sku -> units, summed over the tracked lines of an order."""


@attrs.frozen
class StockLevel:
    """Units of one sku: `available` can still be reserved, `reserved` belongs to orders not yet paid."""

    sku: str
    available: int
    reserved: int


@attrs.frozen(kw_only=True)
class Order:
    """What the shop sells, frozen once its first payment page is opened.

    Units: times with their time zone.
    Errors: InvalidInput when there is no line, a line of no unit, an amount below zero, a time without its zone, or a
    total that is not above zero.
    """

    order_id: str
    customer: Customer
    currency: Currency
    items: tuple[Item, ...]
    discount: Money
    shipping: Shipping | None = None
    status: OrderStatus = OrderStatus.PENDING
    payment_id: str | None = None
    reserved_at: datetime
    expires_at: datetime
    """When an order that nobody clicked gives its stock back."""
    expired: bool = False
    """Cancelled by time, not by anybody."""

    def __attrs_post_init__(self) -> None:
        if not 1 <= len(self.items) <= ORDER_ITEMS_MAX:
            raise InvalidInput(f"an order has 1 to {ORDER_ITEMS_MAX} items", code="invalid_order")
        if any(type(item.quantity) is not int or item.quantity < 1 for item in self.items):
            raise InvalidInput("a line of an order has one unit or more", code="invalid_order")
        if any(amount.amount_minor < 0 for amount in self.amounts[1:]):
            raise InvalidInput("no price, discount or cost is below zero", code="invalid_order")
        if self.reserved_at.tzinfo is None or self.expires_at.tzinfo is None:
            raise InvalidInput("the times of an order have a time zone", code="invalid_order")
        if self.total.amount_minor <= 0:
            raise InvalidInput(f"the total is {self.total}; it must be above zero", code="invalid_order")

    @property
    def total(self) -> Money:
        """Items minus discount + shipping."""
        total = Money(0, self.currency) - self.discount
        for item in self.items:
            total += item.total
        return total + self.shipping.cost if self.shipping else total

    @property
    def amounts(self) -> tuple[Money, ...]:
        """Every amount a gateway will have to say for this order."""
        shipping = (self.shipping.cost,) if self.shipping else ()
        return (self.total, self.discount, *shipping, *(item.price for item in self.items))

    def tracked_units(self) -> TrackedUnits:
        """What this order takes from stock, by sku in sorted order (the lock order)."""
        units: TrackedUnits = {}
        for item in sorted(self.items, key=lambda i: i.sku):
            if item.track_stock:
                units[item.sku] = units.get(item.sku, 0) + item.quantity
        return units

    def sells_the_same_as(self, other: "Order") -> bool:
        """Whether both describe the same sale, whatever has happened to it since."""
        return _sale(self) == _sale(other)


def _sale(order: Order) -> tuple[object, ...]:
    return (order.order_id, order.customer, order.currency, order.items, order.discount, order.shipping)
