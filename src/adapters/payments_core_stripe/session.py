"""The body that opens a Checkout Session, exact to the byte: stored before it is sent, and sent again unchanged.

**Lines.** A cart without a discount is said item by item, with shipping as the last line: integers whose sum is the
total, and readable for the buyer. Lines cannot be negative, and a coupon is another call that can fail, so a cart with
a discount is one line of the net total which names what is in it: that form can never disagree with the order. So is a
cart of more lines than Stripe takes, or with a price it cannot say.
Source: stripe.md sections 2 and 3.
"""

import json
from datetime import timedelta
from typing import Any

from payments_core.errors import AmountNotRepresentable
from payments_core.money import Money
from payments_core.orders import Item, Order
from payments_core.payment import Attempt
from payments_core_stripe.amounts import to_stripe

__all__ = ["page_request"]

SESSION_MIN = timedelta(minutes=31)
"""A session lives 30 minutes at least, by Stripe's clock. A page of ours that ends sooner is expired by us."""
LINES_MAX = 100
_NAMED_MAX = 500
"""Characters of the list of what is in a cart of one line."""

Line = dict[str, Any]


def page_request(order: Order, attempt: Attempt, finish_url: str) -> str:
    """The JSON of what is sent: the idempotency key, and the parameters of the session.

    Both come from the attempt alone, and `expires_at` from its stored opening, so that the same request sent again is
    the same to Stripe.
    Errors: AmountNotRepresentable.
    """
    named = {"provider_order_id": attempt.provider_order_id, "order_id": order.order_id}
    expires_at = max(attempt.ends_at, attempt.opened_at + SESSION_MIN)
    params: dict[str, Any] = {
        "mode": "payment",
        "client_reference_id": attempt.provider_order_id,
        "customer_email": order.customer.email,
        "line_items": _lines(order, attempt.amount),
        "metadata": named,
        "payment_intent_data": {"metadata": named},
        "success_url": finish_url,
        "cancel_url": finish_url,
        "expires_at": int(expires_at.timestamp()),
        "adaptive_pricing": {"enabled": False},
        "automatic_tax": {"enabled": False},
    }
    if attempt.methods:
        params["allowed_payment_method_types"] = list(attempt.methods)
    request = {"idempotency_key": f"{attempt.provider_order_id}:create", "params": params}
    return json.dumps(request, ensure_ascii=False, separators=(",", ":"))


def _lines(order: Order, total: Money) -> list[Line]:
    """Lines that add up to the total: one for each item where they can say it, else one for the whole."""
    if order.discount.amount_minor == 0 and order.total == total:
        try:
            lines = [_line(_named(item), item.price, item.quantity) for item in order.items]
            if order.shipping and order.shipping.cost.amount_minor:
                lines.append(_line("Shipping", order.shipping.cost, 1))
        except AmountNotRepresentable:
            lines = []
        if 0 < len(lines) <= LINES_MAX:
            return lines
    whole = _line(f"Order {order.order_id}", total, 1)
    whole["price_data"]["product_data"]["description"] = _contents(order)
    return [whole]


def _line(name: str, price: Money, quantity: int) -> Line:
    return {
        "quantity": quantity,
        "price_data": {
            "currency": price.currency.code.lower(),
            "unit_amount": to_stripe(price),
            "product_data": {"name": name},
        },
    }


def _named(item: Item) -> str:
    return f"{item.name} - {item.variant}" if item.variant else item.name


def _contents(order: Order) -> str:
    """What is in the cart, whole names only, and how many more there are."""
    told = ""
    for position, item in enumerate(order.items):
        more = f"{item.quantity} x {_named(item)}"
        if told and len(told) + len(more) > _NAMED_MAX:
            return f"{told}, and {len(order.items) - position} more"
        told = f"{told}, {more}" if told else more
    extra = [name for name, money in (("discount", order.discount), ("shipping", _cost(order))) if money.amount_minor]
    return f"{told} ({' and '.join(extra)} included)" if extra else told


def _cost(order: Order) -> Money:
    return order.shipping.cost if order.shipping else Money(0, order.currency)
