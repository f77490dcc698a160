"""Checks a session create beyond its types, and adds up what the buyer will pay."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from .api_errors import parameter_error
from .books import Books
from .limits import AMOUNT_MAX, SESSION_LIFE_MAX, SESSION_LIFE_MIN
from .money import least_amount, step
from .params import CreateSession
from .render import metadata_of
from .values import Coupon, Line, SessionRequest, Shipping


def session_request(wish: CreateSession, books: Books, now: datetime, tax: int) -> SessionRequest:
    """Return the request, checked; `tax` is what Stripe adds on its own.

    **Errors**: `ApiRefusal` naming the parameter.
    """
    currency = _currency(wish)
    _refuse_bad_urls(wish)
    lines = tuple(
        Line(one.price_data.product_data.name, one.price_data.unit_amount, one.quantity) for one in wish.line_items
    )
    subtotal = sum(line.unit_amount * line.quantity for line in lines)
    coupon = _coupon(wish, books, currency, now)
    request = SessionRequest(
        currency=currency,
        lines=lines,
        success_url=wish.success_url,
        cancel_url=wish.cancel_url or None,
        expires_at=_expires_at(wish, now),
        client_reference_id=wish.client_reference_id or None,
        customer_email=wish.customer_email,
        metadata=metadata_of(wish.metadata),
        intent_metadata=metadata_of(wish.payment_intent_data.metadata),
        intent_description=wish.payment_intent_data.description,
        capture_method=wish.payment_intent_data.capture_method,
        coupon_id=coupon.id if coupon else None,
        discount=_discount(coupon, subtotal),
        shipping=_shipping(wish),
        tax=tax,
    )
    _refuse_bad_total(request)
    return request


def _currency(wish: CreateSession) -> str:
    named = {one.price_data.currency.lower() for one in wish.line_items}
    named |= {one.shipping_rate_data.fixed_amount.currency.lower() for one in wish.shipping_options}
    if len(named) > 1:
        raise parameter_error("line_items", "The currencies of all line items and shipping options must be the same.")
    return named.pop()


def _refuse_bad_urls(wish: CreateSession) -> None:
    for name, url in (("success_url", wish.success_url), ("cancel_url", wish.cancel_url)):
        # The template of the session's id is no part of a URL until it is filled in.
        parts = urlsplit((url or "").replace("{CHECKOUT_SESSION_ID}", "cs"))
        if url and (parts.scheme not in {"http", "https"} or not parts.netloc):
            raise parameter_error(name, "Not a valid URL", "url_invalid")


def _expires_at(wish: CreateSession, now: datetime) -> datetime:
    if wish.expires_at is None:
        return now + SESSION_LIFE_MAX
    ends = datetime.fromtimestamp(wish.expires_at, UTC)
    # The wire has whole seconds; what was asked within this second counts as asked now.
    begins = now.replace(microsecond=0)
    if not begins + SESSION_LIFE_MIN <= ends <= now + SESSION_LIFE_MAX:
        raise parameter_error(
            "expires_at",
            "The `expires_at` timestamp must be at least 30 minutes and less than 24 hours from Checkout Session "
            "creation.",
        )
    return ends


def _coupon(wish: CreateSession, books: Books, currency: str, now: datetime) -> Coupon | None:
    if not wish.discounts:
        return None
    if wish.allow_promotion_codes:
        raise parameter_error(
            "discounts", "You may only specify one of these parameters: allow_promotion_codes, discounts."
        )
    param = "discounts[0][coupon]"
    coupon = books.get(Coupon, wish.discounts[0].coupon, param)
    if not coupon.valid_at(now):
        raise parameter_error(param, f"Coupon {coupon.id} is used up or expired.", "coupon_expired")
    if coupon.currency is not None and coupon.currency != currency:
        raise parameter_error(param, f"Coupon {coupon.id} is in {coupon.currency}, the session in {currency}.")
    return coupon


def _discount(coupon: Coupon | None, subtotal: int) -> int:
    if coupon is None:
        return 0
    if coupon.amount_off is not None:
        return min(coupon.amount_off, subtotal)
    return round(subtotal * (coupon.percent_off or 0) / 100)


def _shipping(wish: CreateSession) -> Shipping | None:
    if not wish.shipping_options:
        return None
    rate = wish.shipping_options[0].shipping_rate_data
    return Shipping(rate.display_name, rate.fixed_amount.amount)


def _refuse_bad_total(request: SessionRequest) -> None:
    least = least_amount(request.currency)
    if request.total % step(request.currency):
        raise parameter_error(
            "line_items", f"Invalid amount: {request.currency} must be divisible by {step(request.currency)}."
        )
    if request.total > AMOUNT_MAX:
        raise parameter_error("line_items", "The total amount is too large.", "amount_too_large")
    if 0 < request.total < least:
        raise parameter_error(
            "line_items",
            f"The Checkout Session's total amount due must add up to at least {least}.",
            "amount_too_small",
        )
