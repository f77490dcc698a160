"""Faults as a client meets them: what it sees on the wire, and what the ledger says really happened."""

import socket
import time
from typing import Any

import midtransclient
import pytest
import requests

from harness.simulator import TIMEOUT_S, create
from payments_core_simulator.process import RunningSimulator

pytestmark = pytest.mark.processes


def plan(simulator: RunningSimulator, *rules: dict[str, object]) -> None:
    simulator.control("faults", {"faults": rules})


def core(simulator: RunningSimulator, method: str, path: str, body: object = None) -> requests.Response:
    auth = (simulator.server_key, "")
    return requests.request(method, f"{simulator.url}/v2/{path}", json=body, auth=auth, timeout=TIMEOUT_S)


def paid(simulator: RunningSimulator, payment_type: str = "qris", outcome: str = "settlement") -> dict[str, Any]:
    create(simulator)
    return simulator.control("pay", {"order_id": "o-1", "payment_type": payment_type, "outcome": outcome})


def orders(simulator: RunningSimulator) -> dict[str, Any]:
    return simulator.view("ledger")["orders"]


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(
    "fault",
    [{"kind": "server_error", "status": 503}, {"kind": "html"}, {"kind": "empty_body"}, {"kind": "error_in_200"}],
)
def test_an_answer_can_be_lost_before_or_after_the_call_took_effect(
    simulator: RunningSimulator, fault: dict[str, object], applied: bool
):
    """A client cannot tell the two apart; the ledger can."""
    plan(simulator, fault | {"applied": applied, "count": 1, "calls": ["snap_create"]})
    answer = create(simulator)
    assert "token" not in answer.text
    assert ("o-1" in orders(simulator)) is applied
    assert create(simulator).status_code == 201


@pytest.mark.parametrize("applied", [False, True])
def test_a_connection_can_be_cut_before_or_after_the_call_took_effect(simulator: RunningSimulator, applied: bool):
    plan(simulator, {"kind": "cut", "applied": applied, "count": 1})
    with pytest.raises(requests.ConnectionError):
        create(simulator)
    assert ("o-1" in orders(simulator)) is applied
    assert create(simulator).status_code == 201


def test_a_cut_connection_carries_not_a_single_byte(simulator: RunningSimulator):
    plan(simulator, {"kind": "cut", "count": 1})
    host, port = simulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as client:
        head = f"GET /v2/o-1/status HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {credentials(simulator)}\r\n\r\n"
        client.sendall(head.encode())
        try:
            received = client.recv(1)
        except ConnectionResetError:
            received = b""
    assert received == b""


def credentials(simulator: RunningSimulator) -> str:
    request = requests.Request("GET", simulator.url, auth=(simulator.server_key, "")).prepare()
    return request.headers["Authorization"].removeprefix("Basic ")


def test_a_timeout_takes_effect_hangs_and_ends_without_an_answer(simulator: RunningSimulator):
    plan(simulator, {"kind": "timeout", "hang_s": 0.3, "count": 1})
    began = time.monotonic()
    with pytest.raises(requests.ConnectionError):
        create(simulator)
    assert time.monotonic() - began >= 0.3
    assert "o-1" in orders(simulator)


def test_a_client_that_gives_up_first_leaves_the_simulator_well(simulator: RunningSimulator):
    plan(simulator, {"kind": "timeout", "hang_s": 30, "count": 1})
    with pytest.raises(requests.Timeout):
        requests.get(f"{simulator.url}/v2/o-1/status", auth=(simulator.server_key, ""), timeout=0.2)
    assert create(simulator).status_code == 201


def test_latency_is_waited_before_the_call_begins(simulator: RunningSimulator):
    plan(simulator, {"kind": "latency", "ms": 200, "calls": ["status"]})
    began = time.monotonic()
    core(simulator, "GET", "o-1/status")
    assert time.monotonic() - began >= 0.2


def test_a_rate_limit_is_429_in_each_products_shape_and_changes_nothing(simulator: RunningSimulator):
    plan(simulator, {"kind": "rate_limit", "retry_after_s": 7})
    snap_answer, core_answer = create(simulator), core(simulator, "GET", "o-1/status")
    assert (snap_answer.status_code, core_answer.status_code) == (429, 429)
    assert snap_answer.headers["Retry-After"] == "7"
    assert snap_answer.json() == {"error_messages": ["API rate limit exceeded."]}
    assert core_answer.json()["status_code"] == "429"
    assert orders(simulator) == {}


def test_an_html_page_loses_the_http_code_in_the_official_client(simulator: RunningSimulator):
    plan(simulator, {"kind": "html"})
    client = midtransclient.CoreApi(server_key=simulator.server_key)
    client.api_config.CORE_SANDBOX_BASE_URL = simulator.url
    with pytest.raises(Exception, match=r"JSON|Expecting value") as lost:
        client.transactions.status("o-1")
    assert not hasattr(lost.value, "http_status_code")


def test_an_error_inside_http_200_is_an_error_to_the_official_client(simulator: RunningSimulator):
    plan(simulator, {"kind": "error_in_200", "status_code": "505"})
    client = midtransclient.CoreApi(server_key=simulator.server_key)
    client.api_config.CORE_SANDBOX_BASE_URL = simulator.url
    with pytest.raises(midtransclient.error_midtrans.MidtransAPIError) as error:
        client.transactions.status("o-1")
    assert (error.value.http_status_code, error.value.api_response_dict["status_code"]) == (200, "505")


def test_a_lagging_status_shows_the_past(simulator: RunningSimulator):
    made = paid(simulator, "qris", "pending")
    simulator.control("clock", {"advance_s": 60})
    simulator.control("transition", {"transaction_id": made["transaction_id"], "to": "settlement"})
    plan(simulator, {"kind": "status_lag", "seconds": 30, "count": 1})
    assert core(simulator, "GET", "o-1/status").json()["transaction_status"] == "pending"
    assert core(simulator, "GET", "o-1/status").json()["transaction_status"] == "settlement"


def test_a_status_that_lags_behind_the_choice_of_a_method_is_404(simulator: RunningSimulator):
    paid(simulator)
    plan(simulator, {"kind": "status_lag", "seconds": 30})
    assert core(simulator, "GET", "o-1/status").status_code == 404


def test_a_refund_the_bank_refuses_moves_nothing_and_may_be_tried_again(simulator: RunningSimulator):
    paid(simulator)
    plan(simulator, {"kind": "bank_refusal", "count": 1})
    asked = {"refund_key": "k-1", "amount": 5_000}
    refused, given = core(simulator, "POST", "o-1/refund", asked), core(simulator, "POST", "o-1/refund", asked)
    assert (refused.json()["status_code"], refused.json()["refund_amount"]) == ("202", "0.00")
    assert given.json()["status_code"] == "200"
    assert orders(simulator)["o-1"]["transactions"][0]["refunded_amount"] == "5000.00"


def test_a_capture_the_bank_refuses_leaves_the_hold(simulator: RunningSimulator):
    made = paid(simulator, "credit_card", "authorize")
    plan(simulator, {"kind": "bank_refusal", "count": 1})
    refused = core(simulator, "POST", "capture", {"transaction_id": made["transaction_id"]})
    assert (refused.json()["status_code"], refused.json()["transaction_status"]) == ("202", "deny")
    assert core(simulator, "GET", "o-1/status").json()["transaction_status"] == "authorize"


def test_an_applied_refund_whose_answer_was_lost_is_not_given_twice(simulator: RunningSimulator):
    """The point of the key: a client that tries again must not pay twice."""
    paid(simulator)
    plan(simulator, {"kind": "cut", "applied": True, "calls": ["refund"], "count": 1})
    asked = {"refund_key": "k-1", "amount": 5_000}
    with pytest.raises(requests.ConnectionError):
        core(simulator, "POST", "o-1/refund", asked)
    assert core(simulator, "POST", "o-1/refund", asked).json()["refund_amount"] == "5000.00"
    assert orders(simulator)["o-1"]["transactions"][0]["refunded_amount"] == "5000.00"


def test_a_second_plan_replaces_the_first_and_an_empty_one_clears(simulator: RunningSimulator):
    plan(simulator, {"kind": "html"})
    plan(simulator, {"kind": "server_error", "status": 504})
    assert create(simulator).status_code == 504
    simulator.control("faults", {})
    assert create(simulator).status_code == 201


def test_the_plan_in_effect_can_be_read_with_how_often_it_fired(simulator: RunningSimulator):
    plan(simulator, {"kind": "server_error", "calls": ["status"], "probability": 1.0})
    core(simulator, "GET", "o-1/status")
    report = simulator.view("faults")
    assert report["fired"] == [1]
    assert report["faults"][0]["kind"] == "server_error"
