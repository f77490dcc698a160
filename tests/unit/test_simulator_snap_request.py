"""What the simulated Snap accepts and refuses, in the gateway's words."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments_core_simulator.midtrans.limits import SNAP_BODY_BYTES_MAX
from payments_core_simulator.midtrans.snap_request import read_snap_request
from payments_core_simulator.refusals import Refusal, Why


def body(**changes: object) -> bytes:
    details = {"order_id": "o-1", "gross_amount": 150_000} | changes.pop("details", {})
    return json.dumps({"transaction_details": details, **changes}).encode()


def item(**changes: object) -> dict[str, object]:
    return {"id": "A", "name": "Kopi", "price": 150_000, "quantity": 1} | changes


def messages(raw: bytes, headers: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(Refusal) as refused:
        read_snap_request(raw, headers or {})
    assert refused.value.why is Why.INVALID
    return refused.value.messages


def test_a_full_request_is_understood():
    raw = body(
        item_details=[item(price=90_000, quantity=2), item(id="DISCOUNT", name="Promo", price=-30_000)],
        customer_details={"first_name": "Sari", "last_name": "Wulandari", "email": "sari@example.com"},
        callbacks={"finish": "https://shop.example/return"},
        enabled_payments=["bca_va", "gopay"],
        credit_card={"type": "authorize"},
        expiry={"start_time": "2026-05-27 14:30:00 +0700", "duration": 2, "unit": "hours"},
        page_expiry={"duration": 30, "unit": "minute"},
        custom_field1="shop-7",
    )
    headers = {"X-Append-Notification": "https://a.example/n, https://b.example/n"}
    request = read_snap_request(raw, headers)
    assert request.order_id == "o-1"
    assert [line.price for line in request.items] == [90_000, -30_000]
    assert request.customer_name == "Sari Wulandari"
    assert request.finish_url == "https://shop.example/return"
    assert request.authorize_only
    assert request.expiry_start == datetime(2026, 5, 27, 7, 30, tzinfo=UTC)
    assert request.expiry_duration == timedelta(hours=2)
    assert request.page_duration == timedelta(minutes=30)
    assert request.custom_fields == (("custom_field1", "shop-7"),)
    assert request.append_urls == ("https://a.example/n", "https://b.example/n")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"details": {"order_id": None}}, "transaction_details.order_id is required"),
        ({"details": {"order_id": ""}}, "transaction_details.order_id is required"),
        ({"details": {"order_id": 7}}, "letters, digits"),
        ({"details": {"order_id": "a/b"}}, "letters, digits"),
        ({"details": {"order_id": "a b"}}, "letters, digits"),
        ({"details": {"order_id": "a" * 51}}, "too long"),
        ({"details": {"gross_amount": None}}, "transaction_details.gross_amount is required"),
        ({"details": {"gross_amount": "150000"}}, "transaction_details.gross_amount is not a number"),
        ({"details": {"gross_amount": 150_000.5}}, "transaction_details.gross_amount is not a number"),
        ({"details": {"gross_amount": True}}, "transaction_details.gross_amount is not a number"),
        ({"details": {"gross_amount": 0}}, "must be greater than 0"),
        ({"details": {"gross_amount": -1}}, "must be greater than 0"),
        ({"item_details": [item(price=149_999)]}, "is not equal to the sum of item_details"),
        ({"item_details": []}, "item_details is invalid"),
        ({"item_details": ["x"]}, "item_details is invalid"),
        ({"item_details": [item(name=None)]}, "item_details[0].name is required"),
        ({"item_details": [item(name="")]}, "item_details[0].name is required"),
        ({"item_details": [item(name="n" * 51)]}, "item_details[0].name is too long"),
        ({"item_details": [item(price="1")]}, "item_details[0].price is not a number"),
        ({"item_details": [item(quantity=0)]}, "item_details[0].quantity"),
        ({"customer_details": {"first_name": "n" * 256}}, "customer_details.first_name is too long"),
        ({"customer_details": []}, "customer_details is invalid"),
        ({"enabled_payments": "gopay"}, "enabled_payments must be a list"),
        ({"custom_field2": "n" * 256}, "custom_field2 is too long"),
        ({"expiry": {"duration": 0, "unit": "day"}}, "expiry.duration"),
        ({"expiry": {"duration": 1, "unit": "second"}}, "expiry.unit"),
        ({"expiry": {"duration": 1, "unit": "day", "start_time": "2026-05-27T14:30:00Z"}}, "expiry.start_time"),
        ({"expiry": {"duration": 1, "unit": "day", "start_time": "9999-12-31 23:59:59 +0000"}}, "expiry.start_time"),
        ({"page_expiry": {"duration": 4, "unit": "minutes"}}, "between 5 minutes and 7 days"),
        ({"page_expiry": {"duration": 8, "unit": "days"}}, "between 5 minutes and 7 days"),
        ({"callbacks": {"finish": 7}}, "callbacks.finish is not a string"),
    ],
)
def test_a_broken_rule_is_named(changes: dict[str, object], expected: str):
    assert any(expected in message for message in messages(body(**changes)))


def test_every_broken_rule_is_named_at_once():
    assert len(messages(body(details={"order_id": None, "gross_amount": "x"}))) == 2


@pytest.mark.parametrize(
    ("duration", "unit", "expected"),
    [(1, "minute", timedelta(minutes=1)), (3, "days", timedelta(days=3)), (999, "days", timedelta(days=180))],
)
def test_a_payment_expiry_is_read_and_trimmed(duration: int, unit: str, expected: timedelta):
    read = read_snap_request(body(expiry={"duration": duration, "unit": unit}), {})
    assert read.expiry_duration == expected


@pytest.mark.parametrize("minutes", [5, 10_080])
def test_the_bounds_of_the_page_expiry_belong_to_it(minutes: int):
    read = read_snap_request(body(page_expiry={"duration": minutes, "unit": "minutes"}), {})
    assert read.page_duration == timedelta(minutes=minutes)


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"[]", b'"text"', b"null", b"[" * 15_000, b'{"a": NaN}', b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(raw: bytes):
    assert messages(raw)[0].startswith("request body is not")


def test_an_integer_of_thousands_of_digits_is_refused_and_not_a_crash():
    assert messages(body().replace(b"150000", b"9" * 5_000))


def test_a_body_over_the_limit_is_too_large():
    raw = body(padding="")
    padded = raw.replace(b'"padding": ""', b'"padding": "' + b"x" * (SNAP_BODY_BYTES_MAX - len(raw)) + b'"')
    assert len(padded) == SNAP_BODY_BYTES_MAX
    read_snap_request(padded, {})
    with pytest.raises(Refusal) as refused:
        read_snap_request(padded + b" ", {})
    assert refused.value.why is Why.TOO_LARGE


@pytest.mark.parametrize("name", ["X-Append-Notification", "X-Override-Notification"])
@pytest.mark.parametrize("urls", ["https://a.example,https://b.example,https://c.example", "ftp://a.example"])
def test_notification_urls_are_at_most_two_and_web_addresses(name: str, urls: str):
    assert name in messages(body(), {name: urls})[0]


texts = st.text(st.characters(codec="ascii"), max_size=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def objects(*fields: str) -> st.SearchStrategy[object]:
    return json_values | st.fixed_dictionaries({}, optional=dict.fromkeys(fields, json_values))


requests = st.fixed_dictionaries(
    {},
    optional={
        "transaction_details": objects("order_id", "gross_amount"),
        "item_details": json_values | st.lists(objects("id", "name", "price", "quantity"), max_size=3),
        "customer_details": objects("first_name", "email"),
        "callbacks": objects("finish"),
        "enabled_payments": json_values,
        "credit_card": objects("type"),
        "expiry": objects("start_time", "duration", "unit"),
        "page_expiry": objects("duration", "unit"),
        "custom_field1": json_values,
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests)
def test_any_json_is_either_read_or_refused(data: dict[str, object]):
    """Never a 500: whatever a client sends, the answer names what is wrong."""
    with suppress(Refusal):
        read_snap_request(json.dumps(data).encode(), {})
