"""The Stripe simulator's API, driven by the official SDK over real HTTP."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest
import requests
import stripe

from harness.product import until
from harness.stripe_simulator import KEY, PRICE, Stripe, error_of, line, params, running_stripe

pytestmark = pytest.mark.processes
TOTAL = 2 * PRICE
HOUR = 3600


@pytest.fixture(scope="module")
def server() -> Iterator[Stripe]:
    with running_stripe() as running:
        yield Stripe.of(running)


@pytest.fixture
def api(server: Stripe) -> Stripe:
    server.simulator.control("reset")
    return server


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_new_session_is_open_and_has_an_address_but_no_intent(api: Stripe):
    made = api.create()
    assert (made.status, made.payment_status, made.amount_total, made.currency) == ("open", "unpaid", TOTAL, "idr")
    assert made.payment_intent is None
    assert made.url == f"{api.simulator.url}/c/pay/{made.id}"
    assert made.livemode is False
    assert requests.get(made.url, timeout=10).status_code == 200


def test_a_paid_session_shows_its_intent_and_charge_and_no_address(api: Stripe):
    made = api.create()
    api.pay()
    seen: Any = api.client.v1.checkout.sessions.retrieve(made.id, {"expand": ["payment_intent.latest_charge"]})
    assert (seen.status, seen.payment_status, seen.url) == ("complete", "paid", None)
    intent = seen.payment_intent
    assert (intent.status, intent.amount_received, intent.metadata["provider_order_id"]) == ("succeeded", TOTAL, "o-1")
    assert (intent.latest_charge.captured, intent.latest_charge.amount_captured) == (True, TOTAL)
    found = api.client.v1.checkout.sessions.list({"payment_intent": intent.id})
    assert [one.id for one in found.data] == [made.id]


def test_discount_and_shipping_are_in_the_total(api: Stripe):
    coupon = {
        "id": "o-1-discount",
        "amount_off": 1_000_000,
        "currency": "idr",
        "duration": "once",
        "max_redemptions": 1,
    }
    api.client.v1.coupons.create(coupon)  # type: ignore[arg-type]
    rate = {"display_name": "Post", "type": "fixed_amount", "fixed_amount": {"amount": 500_000, "currency": "idr"}}
    made = api.create(discounts=[{"coupon": "o-1-discount"}], shipping_options=[{"shipping_rate_data": rate}])
    assert made.amount_total == TOTAL - 1_000_000 + 500_000
    used_up = error_of(lambda: api.create("o-2", discounts=[{"coupon": "o-1-discount"}]))
    assert used_up.code == "coupon_expired"


def test_tax_added_by_the_account_changes_the_total(api: Stripe):
    """A merchant must compare: what he added up is not always what is charged."""
    api.simulator.control("settings", {"tax_minor": 100})
    assert api.create().amount_total == TOTAL + 100


def test_only_an_open_session_is_expired(api: Stripe):
    made = api.create()
    assert api.client.v1.checkout.sessions.expire(made.id).status == "expired"
    assert error_of(lambda: api.client.v1.checkout.sessions.expire(made.id)).http_status == 400
    api.create("o-2")
    paid = api.pay("o-2")["id"]
    assert error_of(lambda: api.client.v1.checkout.sessions.expire(paid)).http_status == 400


def test_an_expired_session_takes_no_payment_and_its_intent_is_over(api: Stripe):
    made = api.create()
    intent = api.pay(outcome="declined")["payment_intent"]["id"]
    api.client.v1.checkout.sessions.expire(made.id)
    assert api.client.v1.payment_intents.retrieve(intent).status == "canceled"
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        api.pay()


def test_a_session_expires_by_the_clock(api: Stripe):
    made = api.create(expires_at=int(time.time()) + 31 * 60)
    api.simulator.control("clock", {"advance_s": 32 * 60})
    assert api.client.v1.checkout.sessions.retrieve(made.id).status == "expired"
    assert "checkout.session.expired" in api.events()


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"colour": "red"}, "colour", "parameter_unknown"),
        ({"line_items": [{**line(), "price_data": {**line()["price_data"], "colour": "x"}}]},
         "line_items[0][price_data][colour]", "parameter_unknown"),
        ({"mode": "nope"}, "mode", None),
        ({"mode": None}, "mode", "parameter_missing"),
        ({"success_url": None}, "success_url", "parameter_missing"),
        ({"success_url": "shop.example"}, "success_url", "url_invalid"),
        ({"line_items": []}, "line_items", "parameter_missing"),
        ({"line_items": [line(amount=-1)]}, "line_items[0][price_data][unit_amount]", "parameter_invalid_integer"),
        ({"line_items": [line(), line(currency="usd")]}, "line_items", None),
        ({"line_items": [line(amount=24, currency="usd", quantity=1)]}, "line_items", "amount_too_small"),
        ({"line_items": [line(amount=1005, currency="kwd", quantity=1)]}, "line_items", None),
        ({"expires_at": int(time.time()) + 60}, "expires_at", None),
        ({"expires_at": int(time.time()) + 26 * HOUR}, "expires_at", None),
        ({"discounts": [{"coupon": "unknown"}]}, "discounts[0][coupon]", "resource_missing"),
        ({"client_reference_id": "x" * 201}, "client_reference_id", None),
        ({"metadata": {"x" * 41: "y"}}, "metadata", None),
        ({"metadata": {str(n): "y" for n in range(51)}}, "metadata", None),
        ({"payment_intent_data": {"capture_method": "later"}}, "payment_intent_data[capture_method]", None),
        ({"custom_text": {"submit": {"message": "hi"}}}, "custom_text", None),
    ],
)  # fmt: skip
def test_what_stripe_refuses_is_refused_with_the_parameter(
    api: Stripe, changes: dict[str, Any], param: str, code: str | None
):
    refused = error_of(lambda: api.create(**changes))
    assert isinstance(refused, stripe.InvalidRequestError)
    assert (refused.http_status, refused.code) == (400, code), refused
    assert str(refused.param).startswith(param)
    assert refused.request_id
    assert api.simulator.view("ledger")["orders"] == {}


def test_idr_has_two_decimals_here(api: Stripe):
    """A wrong table is an error by a factor of a hundred."""
    api.create()
    assert api.simulator.view("ledger")["orders"]["o-1"]["gross_amount"] == "150000.00"


@pytest.mark.parametrize(("currency", "amount", "shown"), [("jpy", 500, "500"), ("kwd", 12_340, "12.340")])
def test_other_currencies_have_their_own_decimals(api: Stripe, currency: str, amount: int, shown: str):
    api.create(line_items=[line(amount, currency, 1)])
    assert api.simulator.view("ledger")["orders"]["o-1"]["gross_amount"] == shown


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_wrong_or_missing_key_is_refused(api: Stripe):
    refused = error_of(lambda: Stripe.of(api.simulator, key="sk_test_other_account").create())
    assert isinstance(refused, stripe.AuthenticationError)
    assert "sk_test_other_account" not in str(refused)
    assert requests.get(f"{api.simulator.url}/v1/events", timeout=10).status_code == 401
    assert requests.get(f"{api.simulator.url}/v1/events", auth=(KEY, ""), timeout=10).status_code == 200


def test_a_repeated_key_gets_the_first_answer_again(api: Stripe):
    first = api.create(key="k")
    api.pay()
    again = api.create(key="k")
    assert (again.id, again.status, again.url) == (first.id, "open", first.url)
    assert again.last_response is not None
    assert again.last_response.headers["idempotent-replayed"] == "true"


def test_a_key_used_for_something_else_is_refused(api: Stripe):
    api.create(key="k")
    refused = error_of(lambda: api.create(key="k", cancel_url="https://shop.example/"))
    assert isinstance(refused, stripe.IdempotencyError)
    assert refused.http_status == 400


def test_what_was_refused_by_validation_may_be_repeated_with_its_key(api: Stripe):
    error_of(lambda: api.create(key="k", mode="nope"))
    assert api.create(key="k").status == "open"


def test_a_refusal_of_the_object_as_it_stands_is_kept_under_its_key(api: Stripe):
    """The first answer to a key stays the answer, also when the object has moved on."""
    made = api.create()
    api.pay(outcome="declined")
    intent = api.client.v1.checkout.sessions.retrieve(made.id).payment_intent
    body: Any = {"payment_intent": intent}
    first = error_of(lambda: api.client.v1.refunds.create(body, {"idempotency_key": "r"}))
    api.pay()
    again = error_of(lambda: api.client.v1.refunds.create(body, {"idempotency_key": "r"}))
    assert (first.code, again.code) == ("payment_intent_unexpected_state",) * 2


def test_a_key_is_forgotten_after_a_day(api: Stripe):
    """The local record has to be the real guard: the same key makes a new object then."""
    body = params(expires_at=None)
    first = api.client.v1.checkout.sessions.create(body, {"idempotency_key": "k"})
    api.simulator.control("clock", {"advance_s": 25 * HOUR})
    assert api.client.v1.checkout.sessions.create(body, {"idempotency_key": "k"}).id != first.id


def test_a_twin_in_flight_is_a_conflict(api: Stripe):
    api.simulator.control("faults", {"faults": [{"kind": "timeout", "hang_s": 60, "count": 1}]})
    with hanging_create(api, key="k"):
        until(lambda: api.simulator.view("ledger")["orders"], what="the first create")
        refused: Any = error_of(lambda: api.create(key="k"))
    assert (refused.http_status, refused.json_body["error"]["code"]) == (409, "idempotency_key_in_use")
    assert len(api.simulator.view("ledger")["orders"]["o-1"]["sessions"]) == 1


@contextmanager
def hanging_create(api: Stripe, key: str) -> Iterator[None]:
    """A create that was sent and whose answer nobody has got yet."""
    form = "mode=payment&success_url=https://shop.example/&client_reference_id=o-1"
    form += "&line_items[0][price_data][currency]=idr&line_items[0][price_data][unit_amount]=7500000"
    form += "&line_items[0][price_data][product_data][name]=book"
    headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": key}
    connection = HTTPConnection(api.simulator.url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/v1/checkout/sessions", form, headers)
    try:
        yield
    finally:
        connection.close()


def test_an_answer_of_500_is_kept_too(api: Stripe):
    """A client that repeats the key gets the 500 again, although the session exists."""
    fault = {"kind": "server_error", "status": 500, "applied": True, "count": 1}
    api.simulator.control("faults", {"faults": [fault]})
    for _ in range(2):
        assert error_of(lambda: api.create(key="k")).http_status == 500
    assert len(api.simulator.view("ledger")["orders"]["o-1"]["sessions"]) == 1


# ── money ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_declined_try_leaves_the_page_open_and_the_next_one_is_on_the_same_intent(api: Stripe):
    made = api.create()
    declined = api.pay(outcome="declined", decline_code="insufficient_funds")
    assert (declined["status"], declined["payment_intent"]["status"]) == ("open", "requires_payment_method")
    assert declined["payment_intent"]["last_payment_error"]["decline_code"] == "insufficient_funds"
    paid = api.pay()
    assert (paid["id"], paid["payment_intent"]["id"]) == (made.id, declined["payment_intent"]["id"])
    tries = api.client.v1.charges.list({"payment_intent": paid["payment_intent"]["id"]}).data
    assert [one.status for one in tries] == ["succeeded", "failed"]


def test_three_d_secure_is_asked_passed_and_failed(api: Stripe):
    api.create()
    assert api.pay(outcome="requires_action")["payment_intent"]["status"] == "requires_action"
    failed = api.becomes("fail")
    assert (failed["status"], failed["payment_intent"]["status"]) == ("open", "requires_payment_method")
    api.pay(outcome="requires_action")
    assert api.becomes("succeed")["payment_status"] == "paid"


@pytest.mark.parametrize(
    ("to", "payment_status", "intent", "event"),
    [
        ("succeed", "paid", "succeeded", "checkout.session.async_payment_succeeded"),
        ("fail", "unpaid", "requires_payment_method", "checkout.session.async_payment_failed"),
    ],
)
def test_a_delayed_method_is_processing_then_ends(api: Stripe, to: str, payment_status: str, intent: str, event: str):
    api.create()
    waiting = api.pay(outcome="processing")
    assert (waiting["status"], waiting["payment_status"]) == ("complete", "unpaid")
    assert waiting["payment_intent"]["status"] == "processing"
    ended = api.becomes(to)
    assert (ended["status"], ended["payment_status"]) == ("complete", payment_status)
    assert ended["payment_intent"]["status"] == intent
    assert event in api.events()


MANUAL = {"payment_intent_data": {"capture_method": "manual"}}


def test_a_hold_is_captured_in_part_once(api: Stripe):
    api.create(**MANUAL)
    held = api.pay()
    assert (held["payment_status"], held["payment_intent"]["amount_capturable"]) == ("unpaid", TOTAL)
    intent = held["payment_intent"]["id"]
    too_much = error_of(lambda: api.client.v1.payment_intents.capture(intent, {"amount_to_capture": TOTAL + 1}))
    assert too_much.code == "amount_too_large"
    taken = api.client.v1.payment_intents.capture(intent, {"amount_to_capture": PRICE})
    assert (taken.status, taken.amount_received, taken.amount) == ("succeeded", PRICE, TOTAL)
    assert error_of(lambda: api.client.v1.payment_intents.capture(intent)).code == "payment_intent_unexpected_state"
    assert api.transaction()["captured_amount"] == "75000.00"


def test_a_hold_is_voided_or_lapses(api: Stripe):
    api.create(**MANUAL)
    intent = api.pay()["payment_intent"]["id"]
    assert api.client.v1.payment_intents.cancel(intent).status == "canceled"
    api.create("o-2", **MANUAL)
    lapsing = api.pay("o-2")["payment_intent"]["id"]
    api.simulator.control("clock", {"advance_s": 8 * 24 * HOUR})
    seen = api.client.v1.payment_intents.retrieve(lapsing)
    assert (seen.status, seen.cancellation_reason) == ("canceled", "automatic")
    assert api.transaction()["captured_amount"] == "0.00"


def test_a_released_hold_may_show_as_a_refund_of_its_charge(api: Stripe):
    """Both have been reported; a client must not count it as money given back."""
    api.simulator.control("settings", {"released_as_refund": True})
    api.create(**MANUAL)
    intent = api.pay()["payment_intent"]["id"]
    api.client.v1.payment_intents.capture(intent, {"amount_to_capture": PRICE})
    charge: Any = api.client.v1.payment_intents.retrieve(intent, {"expand": ["latest_charge"]}).latest_charge
    assert (charge.amount_captured, charge.amount_refunded) == (PRICE, TOTAL - PRICE)
    assert api.transaction()["refunded_amount"] == "0.00"


def test_the_intent_of_an_open_session_is_not_cancelled_by_itself(api: Stripe):
    api.create()
    intent = api.pay(outcome="declined")["payment_intent"]["id"]
    assert error_of(lambda: api.client.v1.payment_intents.cancel(intent)).code == "payment_intent_unexpected_state"


def test_refunds_are_bounded_and_listed(api: Stripe):
    intent = api.paid()
    part = api.client.v1.refunds.create({"payment_intent": intent, "amount": PRICE, "metadata": {"refund_key": "r1"}})
    assert (part.status, part.amount) == ("succeeded", PRICE)
    more: Any = {"payment_intent": intent, "amount": PRICE + 1}
    assert error_of(lambda: api.client.v1.refunds.create(more)).http_status == 400
    api.client.v1.refunds.create({"payment_intent": intent})
    assert error_of(lambda: api.client.v1.refunds.create({"payment_intent": intent})).code == "charge_already_refunded"
    listed = api.client.v1.refunds.list({"payment_intent": intent}).data
    assert [one.amount for one in listed] == [PRICE, PRICE]
    assert listed[1].to_dict()["metadata"] == {"refund_key": "r1"}
    assert api.transaction()["refunded_amount"] == "150000.00"


@pytest.mark.parametrize(("to", "counted"), [("refund_succeeded", "150000.00"), ("refund_failed", "0.00")])
def test_a_pending_refund_ends_one_way_or_the_other(api: Stripe, to: str, counted: str):
    api.simulator.control("settings", {"refunds": "pending"})
    intent = api.paid()
    assert api.client.v1.refunds.create({"payment_intent": intent}).status == "pending"
    api.becomes(to)
    assert api.transaction()["refunded_amount"] == counted


def test_a_refund_that_failed_after_it_had_succeeded_can_be_made_again(api: Stripe):
    intent = api.paid()
    first = api.client.v1.refunds.create({"payment_intent": intent})
    api.becomes("refund_failed")
    assert api.client.v1.refunds.retrieve(first.id).status == "failed"
    assert api.events()[-1] == "refund.failed"
    assert api.client.v1.refunds.create({"payment_intent": intent}).status == "succeeded"


def test_a_refund_that_waits_for_the_buyer_can_be_taken_back(api: Stripe):
    api.simulator.control("settings", {"refunds": "requires_action"})
    intent = api.paid()
    made = api.client.v1.refunds.create({"payment_intent": intent})
    assert api.client.v1.refunds.cancel(made.id).status == "canceled"
    assert api.transaction()["refunded_amount"] == "0.00"


@pytest.mark.parametrize(
    ("to", "gone", "status"), [("dispute_won", "0.00", "won"), ("dispute_lost", "150000.00", "lost")]
)
def test_a_dispute_is_opened_withdrawn_and_closed(api: Stripe, to: str, gone: str, status: str):
    intent = api.paid()
    api.becomes("dispute")
    assert error_of(lambda: api.client.v1.refunds.create({"payment_intent": intent})).code == "charge_disputed"
    api.becomes("funds_withdrawn")
    assert api.transaction()["charged_back_amount"] == "150000.00"
    api.becomes(to)
    (dispute,) = api.client.v1.disputes.list({"payment_intent": intent}).data
    assert (dispute.status, api.transaction()["charged_back_amount"]) == (status, gone)


def test_an_inquiry_moves_no_money(api: Stripe):
    intent = api.paid()
    api.becomes("inquiry")
    api.becomes("dispute_won")
    (dispute,) = api.client.v1.disputes.list({"payment_intent": intent}).data
    assert (dispute.status, api.transaction()["charged_back_amount"]) == ("warning_closed", "0.00")


def test_lists_are_read_a_page_at_a_time(api: Stripe):
    made = [api.create(f"o-{number}").id for number in range(5)]
    first = api.client.v1.checkout.sessions.list({"limit": 2})
    assert ([one.id for one in first.data], first.has_more) == (made[:2:-1], True)
    everything = api.client.v1.checkout.sessions.list({"limit": 2}).auto_paging_iter()
    assert [one.id for one in everything] == made[::-1]
    assert error_of(lambda: api.client.v1.checkout.sessions.list({"limit": 101})).http_status == 400


def test_an_unknown_id_is_404_and_an_unknown_path_too(api: Stripe):
    missing = error_of(lambda: api.client.v1.checkout.sessions.retrieve("cs_test_nothing"))
    assert (missing.http_status, missing.code) == (404, "resource_missing")
    answer = requests.get(f"{api.simulator.url}/v1/nothing", auth=(KEY, ""), timeout=10)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")
