"""Money given back, taken, reviewed and decided over HTTP, with the real client against the simulator's ledger."""

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.clock import serve_later
from harness.product import Product, running_product, token, until
from harness.questions import at_once, event_types, order_status, payment, problem

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("healthy_gateway")]


def olivia(**claims: object) -> str:
    """A token that may move money."""
    return token("olivia", **{"payments_role": "operator", "scope": "payments:operate payments:read", **claims})


def ask(
    product: Product, path: str, body: object = None, *, key: str | None = None, as_: str | None = None
) -> httpx.Response:
    """POST to `/api/payments/{path}`."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return product.call("POST", f"/api/payments/{path}", as_=as_ or olivia(), json=body, headers=headers)


def refund(product: Product, payment_id: str, body: object = None, *, key: str | None = None) -> httpx.Response:
    return ask(product, f"{payment_id}/refunds", body, key=key or secrets.token_hex(8))


def paid(product: Product, outcome: str = "settlement", payment_type: str = "gopay") -> tuple[str, dict[str, Any]]:
    """A paid order's id, and its transaction."""
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], outcome, payment_type=payment_type)
    product.settled(order_id, "success")
    return order_id, {**transaction, "payment_id": page["payment_id"]}


def held(product: Product, outcome: str) -> tuple[str, dict[str, Any]]:
    """An order whose card is authorized, or under review."""
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], outcome, payment_type="credit_card")
    product.settled(order_id, "authorized" if outcome == "authorize" else "processing")
    return order_id, {**transaction, "payment_id": page["payment_id"]}


def in_ledger(product: Product, transaction: dict[str, Any]) -> dict[str, Any]:
    found = product.simulator.view("ledger")["orders"][transaction["order_id"]]["transactions"]
    return next(one for one in found if one["transaction_id"] == transaction["transaction_id"])


def calls(product: Product, name: str) -> int:
    return int(product.simulator.view("ledger")["calls"].get(name, 0))


# ── refunds ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_part_and_then_the_rest_are_given_back(product: Product) -> None:
    order_id, transaction = paid(product)
    first = refund(product, transaction["payment_id"], {"amount": "30000", "reason": "torn cover"})
    assert first.status_code == 201, first.text
    assert first.json()["refund_id"] == f"{transaction['payment_id']}-r1"
    assert (first.json()["state"], first.json()["amount"]) == ("confirmed", "30000")
    assert product.settled(order_id, "partially_refunded")["refunded_amount"] == "30000"
    assert refund(product, transaction["payment_id"]).json()["amount"] == "70000"
    assert product.settled(order_id, "refunded")["refunded_amount"] == "100000"
    assert order_status(product, order_id) == "refunded"
    assert Decimal(in_ledger(product, transaction)["refunded_amount"]) == 100_000


def test_two_notifications_about_one_refund_count_once(product: Product) -> None:
    """Midtrans notifies each refund without and then with `bank_confirmed_at`."""
    order_id, transaction = paid(product)
    refund(product, transaction["payment_id"], {"amount": 25_000})

    def both_came() -> bool:
        about = product.simulator.view(f"notifications?order_id={transaction['order_id']}")
        refunds = [one for one in about["notifications"] if "refund" in one["body"]["transaction_status"]]
        return len(refunds) >= 2 and all(one["state"] == "acknowledged" for one in refunds)

    until(both_came, what="two notifications of the refund")
    told = payment(product, transaction["payment_id"])
    assert [(one["state"], one["amount"]) for one in told["refunds"]] == [("confirmed", "25000")]
    assert product.status(order_id)["refunded_amount"] == "25000"
    assert event_types(product, transaction["payment_id"]).count("payment.refunded") == 1


def test_a_refund_made_in_the_dashboard_is_taken_in(product: Product) -> None:
    order_id, transaction = paid(product)
    product.transition(transaction["transaction_id"], "partial_refund", amount=40_000)
    assert product.settled(order_id, "partially_refunded")["refunded_amount"] == "40000"
    told = payment(product, transaction["payment_id"])["refunds"]
    assert [(one["by"], one["amount"], one["state"]) for one in told] == [("gateway", "40000", "confirmed")]
    assert problem(refund(product, transaction["payment_id"], {"amount": 60_001}), 409)["code"] == "exceeds_refundable"


@pytest.mark.parametrize(
    ("payment_type", "body", "code"),
    [("bank_transfer", None, "return_by_hand"), ("ovo", {"amount": 1}, "return_by_hand")],
)
def test_what_the_method_does_not_allow_is_refused(
    product: Product, payment_type: str, body: object, code: str
) -> None:
    _, transaction = paid(product, payment_type=payment_type)
    before = calls(product, "refund")
    assert problem(refund(product, transaction["payment_id"], body), 409)["code"] == code
    assert calls(product, "refund") == before, "the gateway was not even asked"


@pytest.mark.parametrize("amount", ["0", "-1", "0.5", "1e3", "abc", 0, -1, True, [], 10**20])
def test_an_amount_that_is_none_moves_nothing(product: Product, amount: object) -> None:
    _, transaction = paid(product)
    answer = refund(product, transaction["payment_id"], {"amount": amount})
    assert answer.status_code in {400, 409, 422}, answer.text
    assert payment(product, transaction["payment_id"])["refunds"] == []


def test_a_refusal_of_the_bank_is_an_error_and_recorded(product: Product) -> None:
    _, transaction = paid(product)
    product.simulator.control("faults", {"faults": [{"kind": "bank_refusal", "count": 1}]})
    key = secrets.token_hex(8)
    for _ in range(2):
        answer = ask(product, f"{transaction['payment_id']}/refunds", None, key=key)
        assert problem(answer, 422)["code"] == "gateway_refused"
    assert [one["state"] for one in payment(product, transaction["payment_id"])["refunds"]] == ["refused"]
    assert refund(product, transaction["payment_id"]).status_code == 201


def test_a_refund_whose_answer_was_lost_is_resolved_by_asking(product: Product) -> None:
    """The gateway gave the money and the connection was cut: unknown, then found, never given twice (A3)."""
    order_id, transaction = paid(product)
    product.simulator.control("faults", {"faults": [{"kind": "cut", "applied": True, "calls": ["refund"], "count": 1}]})
    answer = refund(product, transaction["payment_id"], {"amount": 30_000})
    assert answer.status_code == 201
    assert answer.json()["state"] in {"unknown", "confirmed"}
    product.settled(order_id, "partially_refunded")
    until(lambda: payment(product, transaction["payment_id"])["refunds"][0]["state"] == "confirmed", what="confirmed")
    assert Decimal(in_ledger(product, transaction)["refunded_amount"]) == 30_000


def test_many_clients_together_never_get_more_than_there_is(product: Product) -> None:
    """Sixteen operators at once, each wanting a part (A5)."""
    _, transaction = paid(product)
    answers = at_once(16, lambda _: refund(product, transaction["payment_id"], {"amount": 15_000}))
    granted = [answer for answer in answers if answer.status_code == 201]
    assert len(granted) == 6
    assert {answer.json()["code"] for answer in answers if answer.status_code != 201} == {"exceeds_refundable"}
    assert Decimal(in_ledger(product, transaction)["refunded_amount"]) == 90_000


def test_captured_money_is_voided(product: Product) -> None:
    order_id, transaction = paid(product, "capture", "credit_card")
    assert problem(refund(product, transaction["payment_id"], {"amount": 1_000}), 409)["code"] == "not_settled_yet"
    assert refund(product, transaction["payment_id"]).json()["state"] == "confirmed"
    assert product.settled(order_id, "refunded")["needs_review"] == []
    assert in_ledger(product, transaction)["transaction_status"] == "cancel"


# ── capture and review ────────────────────────────────────────────────────────────────────────────────────────────────
def test_held_money_is_taken_in_part(product: Product) -> None:
    order_id, transaction = held(product, "authorize")
    path = f"{transaction['payment_id']}/capture"
    assert problem(ask(product, path, {"amount": 100_001}, key="a"), 409)["code"] == "exceeds_authorized"
    answer = ask(product, path, {"amount": 60_000}, key="b")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["owed"]) == ("success", "60000")
    assert product.settled(order_id, "success")["needs_review"] == []
    assert Decimal(in_ledger(product, transaction)["captured_amount"]) == 60_000
    assert problem(ask(product, path, None, key="c"), 409)["code"] == "already_paid"


def test_a_capture_the_bank_refuses_can_be_tried_again(product: Product) -> None:
    _, transaction = held(product, "authorize")
    path, key = f"{transaction['payment_id']}/capture", secrets.token_hex(8)
    product.simulator.control("faults", {"faults": [{"kind": "bank_refusal", "count": 1}]})
    assert problem(ask(product, path, None, key=key), 422)["code"] == "gateway_refused"
    assert ask(product, path, None, key=key).json()["status"] == "success"


def test_a_capture_whose_answer_was_lost_is_found(product: Product) -> None:
    order_id, transaction = held(product, "authorize")
    product.simulator.control(
        "faults", {"faults": [{"kind": "cut", "applied": True, "calls": ["capture"], "count": 1}]}
    )
    answer = ask(product, f"{transaction['payment_id']}/capture", None, key=secrets.token_hex(8))
    assert problem(answer, 502)["retryable"] is True
    product.settled(order_id, "success")
    assert calls(product, "capture") >= 1


@pytest.mark.parametrize(("name", "status"), [("approve", "success"), ("deny", "pending")])
def test_a_review_is_decided(product: Product, name: str, status: str) -> None:
    order_id, transaction = held(product, "challenge")
    answer = ask(product, f"{transaction['payment_id']}/{name}")
    assert (answer.status_code, answer.json()["status"]) == (200, status), answer.text
    product.settled(order_id, status)
    assert problem(ask(product, f"{transaction['payment_id']}/{name}"), 409)["retryable"] is False


def test_cancelling_a_payment_closes_its_page(product: Product) -> None:
    order_id, page = product.clicked()
    assert ask(product, f"{page['payment_id']}/cancel").json()["status"] == "cancelled"
    assert order_status(product, order_id) == "cancelled"
    _, transaction = paid(product)
    assert problem(ask(product, f"{transaction['payment_id']}/cancel"), 409)["code"] == "already_settled"


def test_refreshing_brings_what_nobody_told(product: Product) -> None:
    order_id, page = product.clicked()
    product.buyer(page["provider_order_id"], "settlement", notify=False)
    assert ask(product, f"{page['payment_id']}/refresh").json()["status"] == "success"
    assert order_status(product, order_id) == "paid"


# ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_surplus_payment_is_returned_by_a_decision(product: Product) -> None:
    order_id, transaction = paid(product)
    second = product.buyer(transaction["order_id"], "settlement", payment_type="shopeepay")
    until(lambda: product.status(order_id)["needs_review"] == ["surplus_payment"], what="the case")
    path = f"{transaction['payment_id']}/cases/1/resolve"
    assert problem(ask(product, path, {"decision": "accept", "note": "x"}), 409)["code"] == "decision_not_possible"
    assert ask(product, path, {"decision": "return", "note": "paid twice"}).status_code == 200
    until(lambda: product.status(order_id)["needs_review"] == [], what="the money back")
    assert Decimal(in_ledger(product, {**second, "order_id": transaction["order_id"]})["refunded_amount"]) == 100_000
    case = payment(product, transaction["payment_id"])["cases"][0]
    assert (case["decision"], case["decided_by"], case["note"]) == ("return", "operator:olivia", "paid twice")
    assert product.status(order_id)["status"] == "success"


def test_a_mismatch_is_accepted_by_a_decision_that_is_recorded(product: Product) -> None:
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], "pending", payment_type="bank_transfer")
    product.transition(transaction["transaction_id"], "settlement", amount=99_999)
    until(lambda: product.status(order_id)["needs_review"] == ["amount_mismatch"], what="the case")
    path = f"{page['payment_id']}/cases/1/resolve"
    for wrong in ({}, {"decision": "accept"}, {"decision": "accept", "note": ""}, {"decision": "maybe", "note": "x"}):
        assert ask(product, path, wrong).status_code == 400
    assert problem(ask(product, f"{page['payment_id']}/cases/9/resolve", {"decision": "dismiss", "note": "x"}), 404)
    assert ask(product, path, {"decision": "accept", "note": "agreed by phone"}).json()["status"] == "success"
    assert product.settled(order_id, "success")["needs_review"] == []
    reviewed = product.run("review")
    assert page["payment_id"] not in reviewed.stdout
    shown = product.run("show", page["payment_id"])
    assert "agreed by phone" in shown.stdout


# ── Idempotency-Key ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_key_is_needed_where_money_moves(product: Product) -> None:
    _, transaction = paid(product)
    for name in ("refunds", "capture"):
        answer = ask(product, f"{transaction['payment_id']}/{name}")
        assert problem(answer, 400)["code"] == "idempotency_key_missing"
    for bad in ("", "a b", "x" * 256):
        assert ask(product, f"{transaction['payment_id']}/refunds", key=bad).status_code == 400
    assert payment(product, transaction["payment_id"])["refunds"] == []


def test_the_same_request_again_is_answered_the_same(product: Product) -> None:
    _, transaction = paid(product)
    path, key = f"{transaction['payment_id']}/refunds", secrets.token_hex(8)
    first = ask(product, path, {"amount": "10000", "reason": "a"}, key=key)
    raw = b'{ "reason":"a",\n "amount":"10000" }'
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    again = product.call("POST", f"/api/payments/{path}", as_=olivia(), content=raw, headers=headers)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert len(payment(product, transaction["payment_id"])["refunds"]) == 1


def test_another_request_under_a_used_key_is_refused(product: Product) -> None:
    _, transaction = paid(product)
    path, key = f"{transaction['payment_id']}/refunds", secrets.token_hex(8)
    assert ask(product, path, {"amount": "10000"}, key=key).status_code == 201
    for other in ({"amount": "10001"}, {"amount": 10000}, {"amount": "10000", "reason": "x"}, None):
        assert problem(ask(product, path, other, key=key), 422)["code"] == "idempotency_key_reused"
    assert len(payment(product, transaction["payment_id"])["refunds"]) == 1


def test_a_key_belongs_to_its_caller_and_its_payment(product: Product) -> None:
    (_, first), (_, second), key = paid(product), paid(product), secrets.token_hex(8)
    assert ask(product, f"{first['payment_id']}/refunds", {"amount": 10_000}, key=key).status_code == 201
    assert ask(product, f"{second['payment_id']}/refunds", {"amount": 10_000}, key=key).status_code == 201
    oscar = olivia(sub="oscar")
    answer = ask(product, f"{first['payment_id']}/refunds", {"amount": 10_000}, key=key, as_=oscar)
    assert (answer.status_code, answer.headers.get("idempotency-replayed")) == (201, None)
    assert len(payment(product, first["payment_id"])["refunds"]) == 2


def test_fifty_requests_at_once_under_one_key_give_back_once(product: Product) -> None:
    _, transaction = paid(product)
    before, key = calls(product, "refund"), secrets.token_hex(8)
    path = f"{transaction['payment_id']}/refunds"
    answers = at_once(50, lambda _: ask(product, path, {"amount": 10_000}, key=key))
    made = [answer for answer in answers if answer.status_code == 201]
    assert sum("idempotency-replayed" not in answer.headers for answer in made) == 1
    for waiting in (answer for answer in answers if answer.status_code != 201):
        assert problem(waiting, 409)["code"] == "idempotency_in_progress"
        assert int(waiting.headers["retry-after"]) > 0
    assert calls(product, "refund") == before + 1
    assert len(payment(product, transaction["payment_id"])["refunds"]) == 1


def test_two_bodies_at_once_under_one_key_have_one_effect(product: Product) -> None:
    _, transaction = paid(product)
    key, gate = secrets.token_hex(8), threading.Barrier(2)

    def send(amount: int) -> httpx.Response:
        gate.wait()
        return ask(product, f"{transaction['payment_id']}/refunds", {"amount": amount}, key=key)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(send, (10_000, 20_000)))
    assert sorted(answer.status_code for answer in answers) == [201, 422]
    (made,) = payment(product, transaction["payment_id"])["refunds"]
    winner = next(answer for answer in answers if answer.status_code == 201)
    assert made["amount"] == winner.json()["amount"]


def test_an_error_does_not_burn_the_key(product: Product) -> None:
    _, transaction = paid(product)
    path, key = f"{transaction['payment_id']}/refunds", secrets.token_hex(8)
    assert ask(product, path, {"amount": "999999"}, key=key).status_code == 409
    assert ask(product, path, {"amount": "10000"}, key=key).status_code == 201


def test_a_click_under_a_key_is_answered_the_same(product: Product) -> None:
    order_id, key = product.order(), secrets.token_hex(8)
    headers = {"Idempotency-Key": key}
    first = product.call("POST", f"/api/orders/{order_id}/pay/", as_=token("alice"), headers=headers)
    again = product.call("POST", f"/api/orders/{order_id}/pay/", as_=token("alice"), headers=headers)
    assert (first.status_code, again.status_code, first.json()) == (201, 201, again.json())
    assert again.headers["idempotency-replayed"] == "true"


def test_a_crash_with_a_key_in_hand_is_finished_by_the_same_request(tmp_path: Path) -> None:
    """The lease ends, the re-send finds the refund the dead server began, and the money moves once (C5)."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'payments.sqlite3'}"
    with running_product(url, tmp_path) as product:
        _, transaction = paid(product)
        path, key = f"{transaction['payment_id']}/refunds", secrets.token_hex(8)
        fault = {"kind": "timeout", "hang_s": 20, "applied": True, "calls": ["refund"], "count": 1}
        product.simulator.control("faults", {"faults": [fault]})
        with ThreadPoolExecutor(1) as pool:
            dying = pool.submit(ask, product, path, {"amount": 10_000}, key=key)
            until(lambda: calls(product, "refund") == 1, what="the call at the gateway")
            product.servers[0].kill()
            with pytest.raises(httpx.HTTPError):
                dying.result(timeout=30)
        product.servers.clear()
        product.serve()
        assert problem(ask(product, path, {"amount": 10_000}, key=key), 409)["code"] == "idempotency_in_progress"
        serve_later(product, 120)
        answer = until(
            lambda: found if (found := ask(product, path, {"amount": 10_000}, key=key)).is_success else None,
            what="the same request again",
        )
        assert answer.json()["refund_id"].endswith("-r1")
        until(
            lambda: payment(product, transaction["payment_id"])["refunds"][0]["state"] == "confirmed",
            seconds=60,
            what="confirmed",
        )
        assert Decimal(in_ledger(product, transaction)["refunded_amount"]) == 10_000
