"""Bodies that come in and go out, as the contract writes them; unknown fields are refused.

Amounts come in as decimal strings or JSON integers, in major units; `requests.py` refuses a JSON number with a fraction
or an exponent before a body gets here. They go out as strings.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from payments_core.orders import Order, StockLevel
from payments_core.use_cases.payment_status import PaymentView
from payments_core.use_cases.start_payment import Paying
from payments_core_app.describe import rfc3339

__all__ = [
    "Amount",
    "CustomerBody",
    "In",
    "ItemBody",
    "OrderAnswer",
    "OrderBody",
    "PayAnswer",
    "PayBody",
    "ShippingBody",
    "StatusAnswer",
    "StockAnswer",
    "StockBody",
    "order_answer",
    "pay_answer",
    "status_answer",
    "stock_answer",
]

Amount = str | int
Text = Annotated[str, Meta(min_length=1, max_length=255)]
Email = Annotated[str, Meta(max_length=255, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
SKU_MAX = 50
Sku = Annotated[str, Meta(min_length=1, max_length=SKU_MAX)]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
Method = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,32}$")]


class In(msgspec.Struct, forbid_unknown_fields=True):
    """A body that comes in."""


class CustomerBody(In, kw_only=True):
    """Who buys; `id` is the `sub` of the token that may see the order."""

    id: Id
    name: Text
    email: Email
    phone: Text | None = None


class ItemBody(In, kw_only=True):
    """One line; `price` is per unit, in major units."""

    sku: Sku
    name: Text
    variant: Text | None = None
    price: Amount
    quantity: Quantity
    track_stock: bool = True


class ShippingBody(In, kw_only=True):
    """Where it goes and what that costs."""

    cost: Amount
    name: Text
    phone: Text | None = None
    address: Annotated[str, Meta(min_length=1, max_length=1000)]
    city: Text
    postal_code: Annotated[str, Meta(min_length=1, max_length=32)]


class OrderBody(In, kw_only=True):
    """An order of the shop. Total = items - discount + shipping."""

    customer: CustomerBody
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    items: Annotated[list[ItemBody], Meta(min_length=1, max_length=500)]
    discount: Amount = "0"
    shipping: ShippingBody | None = None


class PayBody(In, kw_only=True):
    """What a customer asks for; all of it optional."""

    provider: Annotated[str, Meta(pattern="^[a-z]{1,32}$")] | None = None
    methods: Annotated[list[Method], Meta(max_length=32)] | None = None
    return_url: Annotated[str, Meta(max_length=2048)] | None = None


class StockBody(In, kw_only=True):
    """Units that can still be reserved."""

    available: Annotated[int, Meta(ge=0, le=2_000_000_000)]


class StockAnswer(msgspec.Struct, kw_only=True):
    """Units of one sku."""

    sku: str
    available: int
    reserved: int


class OrderItemAnswer(msgspec.Struct, kw_only=True):
    """One line of an order."""

    sku: str
    name: str
    variant: str | None
    price: str
    quantity: int


class OrderAnswer(msgspec.Struct, kw_only=True):
    """An order."""

    id: str
    status: str
    total: str
    currency: str
    items: list[OrderItemAnswer]
    payment_id: str | None


class PayAnswer(msgspec.Struct, kw_only=True):
    """The page to send the customer to."""

    payment_id: str
    attempt_id: str
    provider_order_id: str
    status: str
    provider: str
    payment_url: str
    token: str
    expires_at: str
    amount: str
    currency: str


class DeclineAnswer(msgspec.Struct, kw_only=True):
    """The refusal a buyer saw last."""

    code: str
    method: str | None
    at: str


class StatusAnswer(msgspec.Struct, kw_only=True):
    """A payment as a shop sees it; times are RFC 3339 in UTC."""

    payment_id: str
    order_id: str
    status: str
    provider: str
    method: str | None
    amount: str
    currency: str
    refunded_amount: str
    paid_at: str | None
    expires_at: str | None
    payment_url: str | None
    needs_review: list[str]
    last_decline: DeclineAnswer | None
    version: int


def order_answer(order: Order) -> OrderAnswer:
    """The order as the contract writes it."""
    return OrderAnswer(
        id=order.order_id,
        status=order.status.value,
        total=order.total.major(),
        currency=order.currency.code,
        items=[
            OrderItemAnswer(
                sku=item.sku,
                name=item.name,
                variant=item.variant,
                price=item.price.major(),
                quantity=item.quantity,
            )
            for item in order.items
        ],
        payment_id=order.payment_id,
    )


def stock_answer(level: StockLevel) -> StockAnswer:
    """The stock as the contract writes it."""
    return StockAnswer(sku=level.sku, available=level.available, reserved=level.reserved)


def pay_answer(paying: Paying, status: str) -> PayAnswer:
    """The page as the contract writes it."""
    attempt = paying.attempt
    return PayAnswer(
        payment_id=paying.payment.payment_id,
        attempt_id=f"{paying.payment.payment_id}-{attempt.number}",
        provider_order_id=attempt.provider_order_id,
        status=status,
        provider=attempt.provider,
        payment_url=attempt.url or "",
        token=attempt.token or "",
        expires_at=rfc3339(attempt.ends_at),
        amount=attempt.amount.major(),
        currency=attempt.amount.currency.code,
    )


def status_answer(view: PaymentView) -> StatusAnswer:
    """The payment as the contract writes it."""
    decline = view.last_decline
    return StatusAnswer(
        payment_id=view.payment_id,
        order_id=view.order_id,
        status=view.status.value,
        provider=view.provider,
        method=view.method,
        amount=view.amount.major(),
        currency=view.amount.currency.code,
        refunded_amount=view.refunded.major(),
        paid_at=rfc3339(view.paid_at) if view.paid_at else None,
        expires_at=rfc3339(view.expires_at) if view.expires_at else None,
        payment_url=view.payment_url,
        needs_review=[*view.needs_review],
        last_decline=DeclineAnswer(code=decline.code, method=decline.method, at=rfc3339(decline.at))
        if decline
        else None,
        version=view.version,
    )
