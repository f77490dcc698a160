"""The body that opens a Snap page, exact to the byte: stored before it is sent, and sent again unchanged.

Source: midtrans.md section 2.
"""

import json
from datetime import timedelta, timezone
from typing import Any

import regex

from payments_core.errors import AmountNotRepresentable
from payments_core.money import Money
from payments_core.orders import Item, Order, Shipping
from payments_core.payment import Attempt

__all__ = ["BODY_BYTES_MAX", "NAME_CODE_POINTS_MAX", "cut", "page_request", "refuse_unsayable", "whole_rupiah"]

BODY_BYTES_MAX = 16_000
"""Snap takes 16 kB; longer carts are folded."""
NAME_CODE_POINTS_MAX = 50
"""Of an item's id and name."""
_PERSON_MAX, _PHONE_MAX, _ADDRESS_MAX, _CITY_MAX, _POSTAL_MAX = 100, 32, 255, 100, 10
"""At most what Snap takes; names and phones shorter, so that the longest of everything still fits one body."""
_SHIPPING, _DISCOUNT, _MORE = "SHIPPING", "DISCOUNT", "MORE"
_COUNTRY = "IDN"
_JAKARTA = timezone(timedelta(hours=7))
_GRAPHEME = regex.compile(r"\X")

Line = dict[str, Any]


def whole_rupiah(money: Money) -> int:
    """The amount as Midtrans says it: an integer of rupiah.

    Errors: AmountNotRepresentable for another currency, or a part of a rupiah.
    """
    if money.currency.code != "IDR":
        raise AmountNotRepresentable(f"Midtrans takes rupiah only, not {money.currency.code}")
    whole, rest = divmod(money.amount_minor, 100)
    if rest:
        raise AmountNotRepresentable(f"Midtrans takes whole rupiah only, not {money}")
    return whole


def refuse_unsayable(order: Order) -> None:
    """Nothing, when every amount of the order is whole rupiah.

    Errors: AmountNotRepresentable.
    """
    for amount in order.amounts:
        whole_rupiah(amount)


def page_request(order: Order, attempt: Attempt, finish_url: str) -> str:
    """The JSON that opens this attempt; lines sum to the gross amount, and the whole fits what Snap takes.

    Units: whole rupiah, minutes. `expiry` counts from our stored opening time, so that the page and a virtual account
    chosen late end at the same known moment; without `start_time` it would count from the choice.
    Errors: AmountNotRepresentable.
    """
    minutes = (attempt.ends_at - attempt.opened_at) // timedelta(minutes=1)
    start = attempt.opened_at.astimezone(_JAKARTA).strftime("%Y-%m-%d %H:%M:%S %z")
    body: dict[str, Any] = {
        "transaction_details": {
            "order_id": attempt.provider_order_id,
            "gross_amount": whole_rupiah(attempt.amount),
        },
        "item_details": [],
        "customer_details": _customer(order),
        "credit_card": {"secure": True},
        "callbacks": {"finish": finish_url},
        "expiry": {"start_time": start, "unit": "minutes", "duration": minutes},
        "page_expiry": {"unit": "minutes", "duration": minutes},
        "custom_field1": order.order_id,
    }
    if attempt.methods:
        body["enabled_payments"] = list(attempt.methods)
    lines, extra = _item_lines(order.items), _extra_lines(order)
    whole = _dumped(body, [*lines, *extra])
    if _size(whole) <= BODY_BYTES_MAX:
        return whole
    if _size(_dumped(body, [*_folded(lines, 0), *extra])) > BODY_BYTES_MAX:
        body["customer_details"].pop("billing_address", None)  # it repeats the shipping address
    return _fitting(body, lines, extra)


def cut(text: str, code_points_max: int) -> str:
    """The longest beginning of whole grapheme clusters with at most so many code points."""
    if len(text) <= code_points_max:
        return text
    kept = ""
    for cluster in _GRAPHEME.findall(text):
        if len(kept) + len(cluster) > code_points_max:
            break
        kept += cluster
    return kept.rstrip()


def _fitting(body: dict[str, Any], lines: list[Line], extra: list[Line]) -> str:
    """As many lines of the cart as fit, the rest folded into one; discount and shipping always stay."""
    low, high = 0, len(lines)
    best = _dumped(body, [*_folded(lines, 0), *extra])
    while low <= high:
        kept = (low + high) // 2
        text = _dumped(body, [*_folded(lines, kept), *extra])
        if _size(text) <= BODY_BYTES_MAX:
            best, low = text, kept + 1
        else:
            high = kept - 1
    return best


def _size(text: str) -> int:
    return len(text.encode())


def _dumped(body: dict[str, Any], lines: list[Line]) -> str:
    """As `midtransclient` will write it: the size that counts is the size that is sent."""
    return json.dumps({**body, "item_details": lines})


def _folded(lines: list[Line], kept: int) -> list[Line]:
    rest = lines[kept:]
    if not rest:
        return lines
    total = sum(line["price"] * line["quantity"] for line in rest)
    named = f"{len(rest)} more items" if kept else f"{len(rest)} items"
    return [*lines[:kept], {"id": _MORE, "price": total, "quantity": 1, "name": named}]


def _item_lines(items: tuple[Item, ...]) -> list[Line]:
    """One line an item; ids differ, because some channels refuse a repeated one."""
    taken = {_SHIPPING, _DISCOUNT, _MORE}
    lines = []
    for item in items:
        line_id = _unused(item.sku, taken)
        taken.add(line_id)
        named = f"{item.name} - {item.variant}" if item.variant else item.name
        name = cut(named, NAME_CODE_POINTS_MAX) or line_id
        lines.append({"id": line_id, "price": whole_rupiah(item.price), "quantity": item.quantity, "name": name})
    return lines


def _unused(sku: str, taken: set[str]) -> str:
    wanted, suffix = cut(sku, NAME_CODE_POINTS_MAX), 2
    while wanted in taken:
        tail = f"~{suffix}"
        wanted, suffix = cut(sku, NAME_CODE_POINTS_MAX - len(tail)) + tail, suffix + 1
    return wanted


def _extra_lines(order: Order) -> list[Line]:
    lines = []
    if order.discount.amount_minor:
        price = -whole_rupiah(order.discount)
        lines.append({"id": _DISCOUNT, "price": price, "quantity": 1, "name": "Discount"})
    if order.shipping and order.shipping.cost.amount_minor:
        price = whole_rupiah(order.shipping.cost)
        lines.append({"id": _SHIPPING, "price": price, "quantity": 1, "name": "Shipping"})
    return lines


def _customer(order: Order) -> dict[str, Any]:
    customer = order.customer
    details: dict[str, Any] = {"first_name": cut(customer.name, _PERSON_MAX), "email": customer.email}
    if customer.phone:
        details["phone"] = cut(customer.phone, _PHONE_MAX)
    if order.shipping:
        details["billing_address"] = _address(order.shipping, customer.name, customer.phone or order.shipping.phone)
        details["shipping_address"] = _address(
            order.shipping, order.shipping.name, order.shipping.phone or customer.phone
        )
    return details


def _address(shipping: Shipping, name: str, phone: str | None) -> dict[str, str]:
    """The shop tells one address: goods go there, and the bill does."""
    named = {
        "first_name": cut(name, _PERSON_MAX),
        "address": cut(shipping.address, _ADDRESS_MAX),
        "city": cut(shipping.city, _CITY_MAX),
        "postal_code": cut(shipping.postal_code, _POSTAL_MAX),
        "country_code": _COUNTRY,
    }
    return {**named, "phone": cut(phone, _PHONE_MAX)} if phone else named
