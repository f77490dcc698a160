"""An order body, checked and turned into an Order; everything wrong with it is a clear error."""

import re
import unicodedata
from datetime import datetime, timedelta

from payments_core.errors import AmountNotRepresentable, InvalidInput
from payments_core.money import Currency, Money
from payments_core.orders import Customer, Item, Order, Shipping
from payments_core_app.http.bodies import SKU_MAX, Amount, CustomerBody, ItemBody, OrderBody, ShippingBody

__all__ = ["ORDER_ID", "check_free_text", "order_from"]

ORDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_~.-]{0,63}")
"""1 to 64 characters, beginning with a letter or a digit (the contract)."""
_CARD_DIGITS = re.compile(r"(?:[0-9][ -]?){13,19}")
_CARD_DIGITS_MIN, _CARD_DIGITS_MAX = 13, 19
_UNSTORABLE = frozenset({"Cc", "Cs"})
"""Control characters and lone surrogates: databases and gateways refuse them, each in its own way."""


def order_from(order_id: str, body: OrderBody, now: datetime, expiry: timedelta) -> Order:
    """The order this body describes, reserved now and given up after `expiry` when nobody clicks.

    Errors: InvalidInput (`invalid_request`, `invalid_order`, `card_number_refused`), AmountNotRepresentable.
    """
    if not ORDER_ID.fullmatch(order_id):
        raise InvalidInput(
            "an order id has 1 to 64 of A-Z a-z 0-9 _ ~ . - and begins with a letter or a digit", code="invalid_request"
        )
    currency = Currency.of(body.currency)
    return Order(
        order_id=order_id,
        customer=_customer(body.customer),
        currency=currency,
        items=tuple(_item(item, currency, f"items[{index}]") for index, item in enumerate(body.items)),
        discount=_amount(body.discount, currency, "discount"),
        shipping=_shipping(body.shipping, currency) if body.shipping else None,
        reserved_at=now,
        expires_at=now + expiry,
    )


def check_free_text(name: str, text: str) -> str:
    """The text, when it can be stored and holds nothing that looks like a card number.

    Errors: InvalidInput `invalid_request`, `card_number_refused`.
    """
    if any(unicodedata.category(character) in _UNSTORABLE for character in text):
        raise InvalidInput(f"{name} holds a control character", code="invalid_request")
    if any(_is_card_number(match[0]) for match in _CARD_DIGITS.finditer(text)):
        raise InvalidInput(f"{name} holds what looks like a card number", code="card_number_refused")
    return text


def _is_card_number(text: str) -> bool:
    digits = [int(character) for character in text if character.isdigit()]
    if not _CARD_DIGITS_MIN <= len(digits) <= _CARD_DIGITS_MAX:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]  # noqa: PLR2004 - Luhn
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _customer(body: CustomerBody) -> Customer:
    return Customer(
        id=_plain("customer.id", body.id),
        name=check_free_text("customer.name", body.name),
        email=_plain("customer.email", body.email),
        phone=_plain("customer.phone", body.phone) if body.phone else None,
    )


def _item(body: ItemBody, currency: Currency, where: str) -> Item:
    return Item(
        sku=check_sku(body.sku),
        name=check_free_text(f"{where}.name", body.name),
        variant=check_free_text(f"{where}.variant", body.variant) if body.variant else None,
        price=_amount(body.price, currency, f"{where}.price"),
        quantity=body.quantity,
        track_stock=body.track_stock,
    )


def _shipping(body: ShippingBody, currency: Currency) -> Shipping:
    return Shipping(
        cost=_amount(body.cost, currency, "shipping.cost"),
        name=check_free_text("shipping.name", body.name),
        address=check_free_text("shipping.address", body.address),
        city=check_free_text("shipping.city", body.city),
        postal_code=_plain("shipping.postal_code", body.postal_code),
        phone=_plain("shipping.phone", body.phone) if body.phone else None,
    )


def check_sku(sku: str) -> str:
    """The sku, when a path and a gateway can carry it, and an order could name it."""
    if "/" in sku or sku != sku.strip() or not 1 <= len(sku) <= SKU_MAX:
        told = f"a sku has 1 to {SKU_MAX} characters, no slash, and no blank at its ends"
        raise InvalidInput(told, code="invalid_request")
    return _plain("sku", sku)


def _plain(name: str, text: str) -> str:
    """Numbers are the point of a phone number, so only what cannot be stored is refused."""
    if any(unicodedata.category(character) in _UNSTORABLE for character in text):
        raise InvalidInput(f"{name} holds a control character", code="invalid_request")
    return text


def _amount(given: Amount, currency: Currency, where: str) -> Money:
    try:
        money = Money.parse(str(given), currency)
    except AmountNotRepresentable as error:
        raise AmountNotRepresentable(f"{where}: {error.detail}") from error
    if money.amount_minor < 0:
        raise InvalidInput(f"{where} is below zero", code="invalid_order")
    return money
