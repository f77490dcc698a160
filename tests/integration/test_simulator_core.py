"""The Core API of the simulator, driven by the real Midtrans client and by raw requests."""

import re

import midtransclient
import pytest

from harness.simulator import call, order, pay, refusal, transaction
from payments_core_simulator.process import RunningSimulator

pytestmark = pytest.mark.processes


def test_a_page_without_a_chosen_method_is_404(snap: midtransclient.Snap, core: midtransclient.CoreApi):
    snap.create_transaction(order())
    error = refusal(core.transactions.status, "o-1")
    assert error.http_status_code == 404
    assert error.api_response_dict["status_message"] == "Transaction doesn't exist."


def test_business_errors_can_travel_inside_http_200(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    """Both forms have been seen; a client must read the body's code first."""
    simulator.control("settings", {"core_errors": "body"})
    snap.create_transaction(order())
    error = refusal(core.transactions.status, "o-1")
    assert (error.http_status_code, error.api_response_dict["status_code"]) == (200, "404")
    pay(simulator, "qris", "settlement")
    answer = call(simulator, "POST", "/v2/o-1/cancel")
    assert (answer.status_code, answer.json()["status_code"]) == (200, "412")


def test_several_tries_on_one_order_are_transactions_of_their_own(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    snap.create_transaction(order())
    declined, paid = pay(simulator, "credit_card", "deny"), pay(simulator, "qris", "settlement")
    assert core.transactions.status("o-1")["transaction_id"] == paid["transaction_id"]
    assert core.transactions.status(declined["transaction_id"])["transaction_status"] == "deny"


def test_a_bi_snap_transaction_answers_to_its_own_id_only(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    snap.create_transaction(order())
    made = pay(simulator, "bank_transfer", "pending", bank="bsi")
    assert re.fullmatch(r"A1\d{14}\w{10}ID", made["transaction_id"])
    assert refusal(core.transactions.status, "o-1").http_status_code == 404
    assert core.transactions.status(made["transaction_id"])["order_id"] == made["transaction_id"]


@pytest.mark.parametrize(("action", "code", "status"), [("cancel", "200", "cancel"), ("expire", "407", "expire")])
def test_a_pending_transaction_is_ended_by_the_merchant_once(
    simulator: RunningSimulator,
    snap: midtransclient.Snap,
    core: midtransclient.CoreApi,
    action: str,
    code: str,
    status: str,
):
    snap.create_transaction(order())
    pay(simulator, "bank_transfer", "pending")
    done = getattr(core.transactions, action)("o-1")
    assert (done["status_code"], done["transaction_status"]) == (code, status)
    error = refusal(getattr(core.transactions, action), "o-1")
    assert error.api_response_dict["status_code"] == "412"


def test_an_expired_transaction_reads_407_and_the_client_takes_it_for_success(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    snap.create_transaction(order())
    pay(simulator, "qris", "expire")
    assert core.transactions.status("o-1")["status_code"] == "407"


def test_a_challenge_is_approved_or_denied(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    snap.create_transaction(order())
    first = pay(simulator, "credit_card", "challenge")
    assert (first["status_code"], first["transaction_status"], first["fraud_status"]) == ("201", "capture", "challenge")
    assert transaction(simulator)["captured_amount"] == "0.00"
    approved = core.transactions.approve(first["transaction_id"])
    assert (approved["status_code"], approved["fraud_status"]) == ("200", "accept")
    assert transaction(simulator)["captured_amount"] == "150000.00"
    second = pay(simulator, "credit_card", "challenge")
    denied = core.transactions.deny(second["transaction_id"])
    assert (denied["status_code"], denied["transaction_status"], denied["fraud_status"]) == ("200", "deny", "deny")
    assert refusal(core.transactions.approve, second["transaction_id"]).api_response_dict["status_code"] == "412"


def test_a_hold_is_captured_in_part(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    snap.create_transaction(order())
    held = pay(simulator, "credit_card", "authorize")
    captured = core.capture({"transaction_id": held["transaction_id"], "gross_amount": 100_000})
    assert (captured["transaction_status"], captured["gross_amount"]) == ("capture", "100000.00")
    known = transaction(simulator)
    assert (known["authorized_amount"], known["captured_amount"]) == ("150000.00", "100000.00")


def test_capturing_more_than_was_held_is_refused(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    snap.create_transaction(order())
    held = pay(simulator, "credit_card", "authorize")
    error = refusal(core.capture, {"transaction_id": held["transaction_id"], "gross_amount": 150_001})
    assert error.api_response_dict["status_code"] == "400"
    assert transaction(simulator)["captured_amount"] == "0.00"


def test_a_refund_key_moves_money_once(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    snap.create_transaction(order())
    pay(simulator, "qris", "settlement")
    asked = {"refund_key": "k-1", "amount": 50_000, "reason": "broken"}
    first, again = core.transactions.refund("o-1", asked), core.transactions.refund("o-1", asked)
    assert first == again
    assert (first["transaction_status"], first["refund_amount"]) == ("partial_refund", "50000.00")
    assert transaction(simulator)["refunded_amount"] == "50000.00"


def test_a_repeated_refund_key_can_be_406(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    simulator.control("settings", {"repeated_refund_key": "406"})
    snap.create_transaction(order())
    pay(simulator, "credit_card", "settlement")
    core.transactions.refund("o-1", {"refund_key": "k-1", "amount": 50_000})
    error = refusal(core.transactions.refund, "o-1", {"refund_key": "k-1", "amount": 50_000})
    assert error.api_response_dict["status_message"] == "Duplicate refund ID"
    assert transaction(simulator)["refunded_amount"] == "50000.00"


def test_parts_make_a_full_refund_and_then_nothing_is_left(
    simulator: RunningSimulator, snap: midtransclient.Snap, core: midtransclient.CoreApi
):
    snap.create_transaction(order())
    pay(simulator, "gopay", "settlement")
    core.transactions.refundDirect("o-1", {"refund_key": "k-1", "amount": "100000"})
    assert (
        refusal(core.transactions.refund, "o-1", {"refund_key": "k-2", "amount": 50_001}).api_response_dict[
            "status_code"
        ]
        == "414"
    )
    assert core.transactions.refund("o-1", {"refund_key": "k-3"})["transaction_status"] == "refund"
    read = core.transactions.status("o-1")
    assert read["refund_amount"] == "150000.00"
    assert [line["refund_key"] for line in read["refunds"]] == ["k-1", "k-3"]
    assert all("bank_confirmed_at" in line for line in read["refunds"])


@pytest.mark.parametrize(
    ("payment_type", "outcome"), [("bank_transfer", "settlement"), ("credit_card", "capture"), ("qris", "pending")]
)
def test_what_cannot_be_refunded_is_412(
    simulator: RunningSimulator,
    snap: midtransclient.Snap,
    core: midtransclient.CoreApi,
    payment_type: str,
    outcome: str,
):
    snap.create_transaction(order())
    pay(simulator, payment_type, outcome)
    error = refusal(core.transactions.refund, "o-1", {"refund_key": "k-1"})
    assert error.api_response_dict["status_code"] == "412"


@pytest.mark.parametrize("body", [{"amount": "x"}, {"amount": 1.5}, {"refund_key": "a b"}, {"reason": "r" * 256}])
def test_a_refund_that_cannot_be_read_is_400_and_says_why(
    simulator: RunningSimulator, snap: midtransclient.Snap, body: dict[str, object]
):
    snap.create_transaction(order())
    pay(simulator, "qris", "settlement")
    answer = call(simulator, "POST", "/v2/o-1/refund", body)
    assert answer.status_code == 400
    assert len(answer.json()["validation_messages"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "shape"),
    [
        ("GET", "/v2/a/b/c", "status_code"),
        ("PUT", "/v2/o-1/cancel", "status_code"),
        ("GET", "/snap/v1/transactions", "error_messages"),
        ("GET", "/snap/v1/nothing", "error_messages"),
    ],
)
def test_an_unknown_path_or_verb_is_refused_in_the_products_own_shape(
    simulator: RunningSimulator, method: str, path: str, shape: str
):
    answer = call(simulator, method, path)
    assert answer.status_code in {404, 405}
    assert shape in answer.json()
