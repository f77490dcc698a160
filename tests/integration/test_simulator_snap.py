"""Snap of the simulator, driven by the real Midtrans client and by raw requests."""

import base64
import re
from datetime import UTC, datetime, timedelta

import midtransclient
import pytest
import requests

from harness.simulator import TIMEOUT_S, call, order, pay, refusal
from payments_core_simulator.process import RunningSimulator

pytestmark = pytest.mark.processes


def test_a_created_page_has_a_token_of_36_characters_and_an_address_on_the_simulator(
    simulator: RunningSimulator, snap: midtransclient.Snap
):
    page = snap.create_transaction(order())
    assert len(page["token"]) == 36
    assert page["redirect_url"] == f"{simulator.url}/snap/v2/vtweb/{page['token']}"
    assert set(page) == {"token", "redirect_url"}
    assert call(simulator, "POST", "/snap/v1/transactions", order("o-2")).status_code == 201


def test_creating_again_before_a_choice_kills_the_older_token(simulator: RunningSimulator, snap: midtransclient.Snap):
    older, newer = snap.create_transaction(order())["token"], snap.create_transaction(order())["token"]
    assert older != newer
    assert simulator.view("ledger")["orders"]["o-1"]["token"] == newer
    cancelled = call(simulator, "POST", f"/snap/v1/transactions/{older}/cancel")
    assert (cancelled.status_code, cancelled.json()) == (404, {"error_messages": ["token not found"]})


@pytest.mark.parametrize(
    ("outcome", "text"), [("pending", "has already been taken"), ("settlement", "has been paid and utilized")]
)
def test_a_duplicate_order_is_a_400_that_only_its_text_tells_apart(
    simulator: RunningSimulator, snap: midtransclient.Snap, outcome: str, text: str
):
    snap.create_transaction(order())
    pay(simulator, "qris", outcome)
    error = refusal(snap.create_transaction, order())
    assert error.http_status_code == 400
    assert text in error.api_response_dict["error_messages"][0]


def test_a_sum_that_differs_from_the_amount_is_named(snap: midtransclient.Snap):
    items = [{"id": "A", "name": "Kopi", "price": 149_999, "quantity": 1}]
    error = refusal(snap.create_transaction, order(item_details=items))
    expected = "transaction_details.gross_amount is not equal to the sum of item_details"
    assert error.api_response_dict == {"error_messages": [expected]}


def test_a_body_over_16_kb_is_refused(simulator: RunningSimulator):
    answer = call(simulator, "POST", "/snap/v1/transactions", order(padding="x" * 16_000))
    assert answer.status_code == 413
    assert "error_messages" in answer.json()


def test_a_token_is_cancelled_once(simulator: RunningSimulator, snap: midtransclient.Snap):
    path = f"/snap/v1/transactions/{snap.create_transaction(order())['token']}/cancel"
    first, second = call(simulator, "POST", path), call(simulator, "POST", path)
    assert first.status_code == 200
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.json()["canceled_at"])
    assert (second.status_code, second.json()) == (400, {"error_messages": ["token already canceled"]})
    assert simulator.view("ledger")["orders"]["o-1"]["page"] == "dead"


def test_a_page_in_use_cannot_be_cancelled_until_every_try_ended(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    path = f"/snap/v1/transactions/{snap.create_transaction(order())['token']}/cancel"
    pay(simulator, "bank_transfer", "pending")
    refused = call(simulator, "POST", path)
    assert (refused.status_code, refused.json()) == (400, {"error_messages": ["Transaction is on progress"]})
    core.transactions.cancel("o-1")
    assert call(simulator, "POST", path).status_code == 200


def test_a_token_can_be_expired_too(simulator: RunningSimulator, snap: midtransclient.Snap):
    token = snap.create_transaction(order())["token"]
    assert "expired_at" in call(simulator, "POST", f"/snap/v1/transactions/{token}/expire").json()
    assert simulator.view("ledger")["orders"]["o-1"]["page"] == "dead"


def test_a_page_dies_at_the_end_of_its_expiry(simulator: RunningSimulator, snap: midtransclient.Snap):
    start = datetime.now(UTC) - timedelta(minutes=9)
    expiry = {"start_time": start.strftime("%Y-%m-%d %H:%M:%S +0000"), "duration": 10, "unit": "minutes"}
    snap.create_transaction(order(expiry=expiry, page_expiry={"duration": 5, "unit": "minutes"}))
    assert simulator.view("ledger")["orders"]["o-1"]["page"] == "open"
    simulator.control("clock", {"advance_s": 61})
    assert simulator.view("ledger")["orders"]["o-1"]["page"] == "dead"
    answer = requests.post(
        f"{simulator.url}/_sim/pay",
        json={"order_id": "o-1", "payment_type": "qris", "outcome": "pending"},
        timeout=TIMEOUT_S,
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "page_dead")


# --- who may call ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("credentials", ["", "wrong-key:", "{key}", "{key}:x", ":{key}", "{key}::"])
def test_only_the_exact_key_with_an_empty_password_opens_the_door(simulator: RunningSimulator, credentials: str):
    given = credentials.format(key=simulator.server_key)
    headers = {"Authorization": "Basic " + base64.b64encode(given.encode()).decode()} if given else {}
    snap_answer = requests.post(
        f"{simulator.url}/snap/v1/transactions", json=order(), headers=headers, timeout=TIMEOUT_S
    )
    core_answer = requests.get(f"{simulator.url}/v2/o-1/status", headers=headers, timeout=TIMEOUT_S)
    assert (snap_answer.status_code, core_answer.status_code) == (401, 401)
    assert snap_answer.json()["error_messages"][0].startswith("Access denied due to unauthorized transaction")
    assert core_answer.json()["status_code"] == "401"
    assert simulator.view("ledger")["orders"] == {}


def test_refused_calls_are_counted_too(simulator: RunningSimulator, snap: midtransclient.Snap):
    requests.get(f"{simulator.url}/v2/o-1/status", timeout=TIMEOUT_S)
    snap.create_transaction(order())
    call(simulator, "GET", "/v2/o-1/status")
    assert simulator.view("ledger")["calls"] == {"status": 2, "snap_create": 1}
