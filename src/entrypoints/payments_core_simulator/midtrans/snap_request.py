"""Reads the body and headers of a Snap create, and names every rule it breaks, as the gateway would."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

import msgspec

from payments_core_simulator.refusals import Refusal, Why

from .limits import (
    CUSTOM_FIELD_CHARS_MAX,
    CUSTOMER_TEXT_CHARS_MAX,
    EXPIRY_MAX,
    EXPIRY_START_YEARS,
    GROSS_AMOUNT_RUPIAH_MAX,
    ITEM_TEXT_CHARS_MAX,
    NOTIFICATION_URLS_MAX,
    ORDER_ID_CHARS_MAX,
    PAGE_EXPIRY_MAX,
    PAGE_EXPIRY_MIN,
    SNAP_BODY_BYTES_MAX,
)
from .values import Item, PageRequest

_ORDER_ID = re.compile(r"[A-Za-z0-9_~.-]+")
_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
# The longest duration any unit can say before it is trimmed or refused; a bigger number must not overflow a timedelta.
_DURATION_MAX = 1_000_000
_ITEM_TEXTS = ("id", "name", "brand", "category", "merchant_name", "url")
_CUSTOMER_TEXTS = ("first_name", "last_name", "email", "phone")
_CUSTOM_FIELDS = ("custom_field1", "custom_field2", "custom_field3")

Complain = Callable[[str], None]
Json = Mapping[str, object]


def read_snap_request(body: bytes, headers: Mapping[str, str]) -> PageRequest:
    """Return the request, checked.

    **Errors**: `Refusal` with every message at once; nothing was changed.
    """
    if len(body) > SNAP_BODY_BYTES_MAX:
        raise Refusal(Why.TOO_LARGE, f"request body is larger than {SNAP_BODY_BYTES_MAX} bytes")
    data = read_object(body)
    messages: list[str] = []
    request = _read(data, headers, messages.append)
    if messages:
        raise Refusal(Why.INVALID, *messages)
    return request


def read_object(body: bytes) -> Json:
    """Return a body that is one JSON object."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise Refusal(Why.INVALID, "request body is not valid JSON") from error
    if not isinstance(data, dict):
        raise Refusal(Why.INVALID, "request body is not a JSON object")
    return data


def _read(data: Json, headers: Mapping[str, str], complain: Complain) -> PageRequest:
    details = _object(data, "transaction_details", complain)
    gross_amount = _gross_amount(details, complain)
    expiry = _object(data, "expiry", complain)
    return PageRequest(
        order_id=_order_id(details, complain),
        gross_amount=gross_amount,
        items=_items(data, gross_amount, complain),
        customer_name=_customer_name(_object(data, "customer_details", complain), complain),
        finish_url=_text(_object(data, "callbacks", complain), "finish", "callbacks", None, complain),
        enabled_payments=_enabled_payments(data, complain),
        authorize_only=_object(data, "credit_card", complain).get("type") == "authorize",
        expiry_start=_start_time(expiry, complain),
        expiry_duration=_expiry_duration(expiry, complain),
        page_duration=_page_duration(_object(data, "page_expiry", complain), complain),
        custom_fields=_custom_fields(data, complain),
        append_urls=_urls(headers, "X-Append-Notification", complain),
        override_urls=_urls(headers, "X-Override-Notification", complain),
    )


# --- who and how much ------------------------------------------------------------------------------------------------


def _order_id(details: Json, complain: Complain) -> str:
    order_id = details.get("order_id")
    name = "transaction_details.order_id"
    if order_id is None or order_id == "":
        complain(f"{name} is required")
        return ""
    if not isinstance(order_id, str) or not _ORDER_ID.fullmatch(order_id):
        complain(f"{name} may hold letters, digits and - _ ~ . only")
        return ""
    if len(order_id) > ORDER_ID_CHARS_MAX:
        complain(f"{name} is too long (maximum is {ORDER_ID_CHARS_MAX} characters)")
    return order_id


def _gross_amount(details: Json, complain: Complain) -> int:
    amount = details.get("gross_amount")
    name = "transaction_details.gross_amount"
    if amount is None:
        complain(f"{name} is required")
    elif not _is_integer(amount):
        complain(f"{name} is not a number")
    elif not 0 < amount <= GROSS_AMOUNT_RUPIAH_MAX:
        complain(f"{name} must be greater than 0 and at most {GROSS_AMOUNT_RUPIAH_MAX}")
    else:
        return amount
    return 0


def _items(data: Json, gross_amount: int, complain: Complain) -> tuple[Item, ...]:
    lines = data.get("item_details")
    if lines is None:
        return ()
    if not isinstance(lines, list) or not lines or not all(isinstance(line, dict) for line in lines):
        complain("item_details is invalid")
        return ()
    items = tuple(_item(line, f"item_details[{number}]", complain) for number, line in enumerate(lines))
    if gross_amount and sum(item.price * item.quantity for item in items) != gross_amount:
        complain("transaction_details.gross_amount is not equal to the sum of item_details")
    return items


def _item(line: Json, where: str, complain: Complain) -> Item:
    price, quantity = line.get("price"), line.get("quantity")
    if not _is_integer(price):
        complain(f"{where}.price is not a number")
        price = 0
    if not _is_integer(quantity) or quantity < 1:
        complain(f"{where}.quantity must be an integer of at least 1")
        quantity = 1
    if line.get("name") in (None, ""):
        complain(f"{where}.name is required")
    for field in _ITEM_TEXTS:
        _text(line, field, where, ITEM_TEXT_CHARS_MAX, complain)
    return Item(name=str(line.get("name")), price=price, quantity=quantity)


def _customer_name(customer: Json, complain: Complain) -> str:
    texts = [_text(customer, field, "customer_details", CUSTOMER_TEXT_CHARS_MAX, complain) for field in _CUSTOMER_TEXTS]
    return " ".join(part for part in texts[:2] if part)


def _enabled_payments(data: Json, complain: Complain) -> tuple[str, ...]:
    methods = data.get("enabled_payments")
    if methods is None:
        return ()
    if not isinstance(methods, list) or not all(isinstance(method, str) for method in methods):
        complain("enabled_payments must be a list of payment methods")
        return ()
    return tuple(methods)


def _custom_fields(data: Json, complain: Complain) -> tuple[tuple[str, str], ...]:
    texts = {field: _text(data, field, "", CUSTOM_FIELD_CHARS_MAX, complain) for field in _CUSTOM_FIELDS}
    return tuple((field, text) for field, text in texts.items() if text)


# --- how long --------------------------------------------------------------------------------------------------------


def _start_time(expiry: Json, complain: Complain) -> datetime | None:
    written = expiry.get("start_time")
    if written is None:
        return None
    try:
        start = datetime.strptime(str(written), "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        start = None
    if start is None or start.year not in EXPIRY_START_YEARS:
        complain("expiry.start_time must look like 2026-01-31 09:30:00 +0700")
        return None
    return start.astimezone(UTC)


def _expiry_duration(expiry: Json, complain: Complain) -> timedelta | None:
    duration = _duration(expiry, "expiry", complain) if expiry else None
    return None if duration is None else min(duration, EXPIRY_MAX)


def _page_duration(page_expiry: Json, complain: Complain) -> timedelta | None:
    duration = _duration(page_expiry, "page_expiry", complain) if page_expiry else None
    if duration is not None and not PAGE_EXPIRY_MIN <= duration <= PAGE_EXPIRY_MAX:
        complain("page_expiry must be between 5 minutes and 7 days")
    return duration


def _duration(data: Json, where: str, complain: Complain) -> timedelta | None:
    count, unit = data.get("duration"), str(data.get("unit"))
    if not _is_integer(count) or not 1 <= count <= _DURATION_MAX:
        complain(f"{where}.duration must be an integer of at least 1")
        return None
    if unit.removesuffix("s") not in _UNITS:
        complain(f"{where}.unit must be minute, hour or day, or their plural")
        return None
    return count * _UNITS[unit.removesuffix("s")]


# --- small readers ---------------------------------------------------------------------------------------------------


def _is_integer(value: object) -> TypeGuard[int]:
    # In Python a bool is an int; on the wire `true` is no number.
    return isinstance(value, int) and not isinstance(value, bool)


def _object(data: Json, field: str, complain: Complain) -> Json:
    value = data.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        complain(f"{field} is invalid")
        return {}
    return value


def _text(data: Json, field: str, where: str, chars_max: int | None, complain: Complain) -> str:
    value = data.get(field)
    name = f"{where}.{field}" if where else field
    if value is None:
        return ""
    if not isinstance(value, str):
        complain(f"{name} is not a string")
        return ""
    if chars_max is not None and len(value) > chars_max:
        complain(f"{name} is too long (maximum is {chars_max} characters)")
    return value


def _urls(headers: Mapping[str, str], name: str, complain: Complain) -> tuple[str, ...]:
    urls: Sequence[str] = [url.strip() for url in headers.get(name, "").split(",") if url.strip()]
    if len(urls) > NOTIFICATION_URLS_MAX:
        complain(f"{name} takes at most {NOTIFICATION_URLS_MAX} URLs")
    if not all(url.startswith(("http://", "https://")) for url in urls):
        complain(f"{name} takes http and https URLs")
    return tuple(urls)
