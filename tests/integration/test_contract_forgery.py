"""Notifications that are not true: nothing but the gateway's own answer makes an order paid."""

import itertools
import json
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from harness.midtrans import made_up, notification, notifications_kept, raw, signature, signed
from harness.product import Product, until
from harness.questions import event_types, order_status, problem

OTHER_KEY = "SB-Mid-server-somebody-elses"


def pending_account(product: Product) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """An order, its page, and a virtual account the buyer has not paid into."""
    order_id = product.order()
    page = product.pay(order_id).json()
    transaction = product.buyer(page["provider_order_id"], "pending", payment_type="bank_transfer", bank="bca")
    product.settled(order_id, "processing")
    # Who waits for a status may be told by the gateway itself, before the genuine notification has arrived.
    until(lambda: product.simulator.view("ledger")["notifications"]["pending"] == 0, what="its notification")
    return order_id, page, transaction


def asked(product: Product) -> int:
    return int(product.simulator.view("ledger")["calls"].get("status", 0))


def untouched(product: Product, order_id: str, page: dict[str, Any]) -> None:
    """Nobody believed that this order was paid, ended or in need of a person."""
    status = product.status(order_id)
    assert (status["status"], status["paid_at"], status["needs_review"]) == ("processing", None, [])
    assert status["payment_url"] == page["payment_url"]
    assert order_status(product, order_id) == "pending"
    history = event_types(product, page["payment_id"])
    assert not {"payment.paid", "order.paid", "stock.consumed", "case.opened", "attempt.closing"} & set(history)


WRONG_SIGNATURES: dict[str, Callable[[str], Any]] = {
    "absent": lambda _: ...,
    "null": lambda _: None,
    "empty": lambda _: "",
    "truncated": lambda true: true[:-1],
    "half": lambda true: true[:64],
    "longer": lambda true: true + "0",
    "wrong case": lambda true: true.upper(),
    "look-alike": lambda true: true.replace("a", "\u0430").replace("e", "\u0435"),
    "full-width": lambda true: "".join(chr(ord(letter) + 0xFEE0) for letter in true),
    "leading blank": lambda true: " " + true,
    "trailing newline": lambda true: true + "\n",
    "nul at the end": lambda true: true + "\0",
    "a list": lambda true: [true],
    "a mapping": lambda true: {"signature": true},
    "a number": lambda _: 0,
    "true": lambda _: True,
    "one digit changed": lambda true: ("0" if true[0] != "0" else "1") + true[1:],
    "zeroes": lambda _: "0" * 128,
    "very long": lambda true: true * 500,
}


@pytest.mark.parametrize("kind", WRONG_SIGNATURES)
def test_a_wrong_signature_is_401_and_leaves_no_trace(product: Product, kind: str) -> None:
    order_id, page, transaction = pending_account(product)
    body = notification(product, transaction, transaction_status="settlement", status_code="200")
    wrong = WRONG_SIGNATURES[kind](body["signature_key"])
    body["signature_key"] = wrong
    if wrong is ...:
        del body["signature_key"]
    kept, questions = notifications_kept(product), asked(product)
    problem(product.notify(raw(body)), 401, "invalid_signature")
    assert notifications_kept(product) == kept
    assert asked(product) == questions, "a stranger must not make us ask either"
    untouched(product, order_id, page)


@pytest.mark.parametrize("key", [OTHER_KEY, "", "SB-Mid-server-simulate", "SB-Mid-server-simulated "])
def test_a_signature_by_another_key_is_401(product: Product, key: str) -> None:
    order_id, page, transaction = pending_account(product)
    body = notification(product, transaction, transaction_status="settlement", status_code="200")
    body["signature_key"] = signature(body, key)
    problem(product.notify(raw(body)), 401, "invalid_signature")
    untouched(product, order_id, page)


@pytest.mark.parametrize(
    "changes",
    [{"gross_amount": "1.00"}, {"status_code": "201"}, {"order_id": f"{'0' * 26}-1p"}, {"gross_amount": "100000"}],
    ids=["amount", "code", "order", "amount spelled otherwise"],
)
def test_a_signature_of_other_signed_words_is_401(product: Product, changes: dict[str, str]) -> None:
    _, _, transaction = pending_account(product)
    body = notification(product, transaction, transaction_status="settlement", status_code="200")
    problem(product.notify(raw({**body, **changes})), 401, "invalid_signature")


@pytest.mark.parametrize("twice", ["signature_key", "transaction_status", "order_id", "gross_amount", "custom_field1"])
def test_a_key_that_stands_twice_is_refused(product: Product, twice: str) -> None:
    """Two readers may take two different values; what was signed is then unknown."""
    order_id, page, transaction = pending_account(product)
    body = notification(product, transaction, transaction_status="settlement", status_code="200", custom_field1="x")
    kept = notifications_kept(product)
    for value in ("pending", body[twice]):
        second = f', "{twice}": {json.dumps(value)}}}'.encode()
        problem(product.notify(raw(body)[:-1] + second), 401)
    assert notifications_kept(product) == kept
    untouched(product, order_id, page)


@pytest.mark.parametrize(
    ("order", "code", "amount"), [("", "2001", "00000.00"), ("", "20", "0100000.00"), ("2", "00100", "000.00")]
)
def test_the_missing_separators_cannot_be_moved(product: Product, order: str, code: str, amount: str) -> None:
    """order_id, status_code and gross_amount are hashed without separators: one signature, several readings."""
    order_id, page, transaction = pending_account(product)
    body = notification(product, transaction, transaction_status="settlement", status_code="200")
    moved = {**body, "order_id": body["order_id"] + order, "status_code": code, "gross_amount": amount}
    assert product.notify(raw(moved)).status_code in {200, 400, 401}
    untouched(product, order_id, page)


def test_a_hundred_rewritten_statuses_under_a_true_signature_pay_nothing(product: Product) -> None:
    """The status is not signed: one genuine body can be edited into anything. B5, scaled down."""
    order_id, page, transaction = pending_account(product)
    statuses = ("settlement", "capture", "SETTLEMENT", "authorize", "refund")
    frauds = (None, "accept", "ACCEPT", "challenge")
    kinds = ("bank_transfer", "credit_card", "gopay", "qris", "")
    sent = 0
    for status, fraud, kind in itertools.product(statuses, frauds, kinds):
        body = notification(product, transaction, transaction_status=status, payment_type=kind, fraud_status=fraud)
        assert product.notify(raw(body)).status_code == 200
        sent += 1
    assert sent == 100
    until(lambda: product.simulator.view("ledger")["notifications"]["pending"] == 0)
    untouched(product, order_id, page)
    product.transition(transaction["transaction_id"], "settlement")
    product.settled(order_id, "success")


@pytest.mark.parametrize("status", ["cancel", "expire", "deny", "failure", "chargeback"])
def test_a_rewritten_end_does_not_close_a_page_that_lives(product: Product, status: str) -> None:
    order_id, page, transaction = pending_account(product)
    body = notification(product, transaction, transaction_status=status)
    questions = asked(product)
    assert product.notify(raw(body)).status_code == 200
    until(lambda: asked(product) > questions, what="a question to the gateway")
    untouched(product, order_id, page)


@pytest.mark.parametrize("rewritten", [{"currency": "USD"}, {"merchant_id": "G999999999"}])
def test_a_rewritten_currency_or_merchant_calls_nobody_in(product: Product, rewritten: dict[str, str]) -> None:
    """Neither is signed; a blocking case made by a stranger would keep a buyer from paying."""
    order_id, page, transaction = pending_account(product)
    body = notification(product, transaction, transaction_status="settlement", status_code="200", **rewritten)
    questions = asked(product)
    assert product.notify(raw(body)).status_code == 200
    until(lambda: asked(product) > questions, what="a question to the gateway")
    untouched(product, order_id, page)


def test_the_transaction_of_another_paid_order_pays_only_that_one(product: Product) -> None:
    """A body that names my order and somebody else's payment: the answer to the question is "settlement"."""
    other_order = product.order()
    other_page = product.pay(other_order).json()
    theirs = product.buyer(other_page["provider_order_id"], "settlement", payment_type="bank_transfer")
    product.settled(other_order, "success")
    order_id, page, transaction = pending_account(product)
    body = notification(
        product,
        transaction,
        transaction_status="settlement",
        status_code="200",
        transaction_id=theirs["transaction_id"],
    )
    questions = asked(product)
    assert product.notify(raw(body)).status_code == 200
    until(lambda: asked(product) > questions, what="a question to the gateway")
    status = product.status(order_id)
    assert (status["status"], status["paid_at"]) == ("processing", None)
    assert order_status(product, order_id) == "pending"
    assert "order.paid" not in event_types(product, page["payment_id"])
    assert event_types(product, other_page["payment_id"]).count("order.paid") == 1


def test_a_transaction_the_gateway_does_not_know_pays_nothing(product: Product) -> None:
    order_id, page, _ = pending_account(product)
    questions = asked(product)
    assert product.notify(raw(made_up(product, page["provider_order_id"]))).status_code == 200
    until(lambda: asked(product) > questions, what="a question to the gateway")
    untouched(product, order_id, page)


def test_the_redirect_back_proves_nothing(product: Product) -> None:
    """A return page's query can be typed by anybody."""
    order_id, page, _ = pending_account(product)
    query = f"?order_id={page['provider_order_id']}&status_code=200&transaction_status=settlement"
    product.call("GET", f"/shop/orders/{order_id}/finish{query}")
    product.call("GET", f"/shop{query}")
    untouched(product, order_id, page)


HOSTILE = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "half": b'{"order_id": "a',
    "not utf-8": b'\xff\xfe{"order_id": 1}',
    "deep list": b"[" * 10_000,
    "deep mapping": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "beyond a float": b'{"order_id": 1e309}',
    "not a number": b'{"order_id": NaN}',
    "endless number": b'{"order_id": ' + b"9" * 100_000 + b"}",
    "65 deep": b'{"a":' * 65 + b"1" + b"}" * 65,
    "surrogate": b'{"order_id": "\\ud800", "signature_key": "\\udfff"}',
    "nul": b'{"order_id": "\\u0000"}',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_body_made_to_break_a_reader_is_refused(product: Product, kind: str) -> None:
    answer = product.notify(HOSTILE[kind])
    assert 400 <= answer.status_code < 500, answer.text[:300]
    problem(answer, answer.status_code)


def test_a_body_larger_than_256_kib_is_413(product: Product) -> None:
    largest = raw(made_up(product, f"other-{secrets.token_hex(4)}")).ljust(256 * 1024)
    assert product.notify(largest).status_code == 200
    problem(product.notify(largest + b" "), 413)
    problem(product.notify(b"x" * 2**20), 413)


def test_a_body_that_never_says_how_long_it_is_is_bounded_too(product: Product) -> None:
    chunks = (b" " * 2**16 for _ in range(64))
    try:
        answer = product.client.post(f"{product.url}/api/webhooks/midtrans/", content=chunks)
    except httpx.TransportError:
        answer = None
    assert answer is None or answer.status_code == 413
    assert product.call("GET", "/health/live").is_success


def test_hostile_bodies_do_not_make_the_server_grow(product: Product) -> None:
    """B9, scaled down: less than 10 MiB."""
    bodies = [*HOSTILE.values(), b"x" * 2**20, raw(made_up(product, "x")).ljust(256 * 1024 + 1)]

    def resident() -> int:
        server = psutil.Process(product.servers[0].process.pid)
        return sum(process.memory_info().rss for process in (server, *server.children(recursive=True)))

    for body in bodies * 2:
        product.notify(body)
    before = resident()
    for body in bodies * 8:
        assert product.notify(body).status_code < 500
    assert resident() - before < 10 * 2**20


def test_a_signed_body_with_numbers_for_words_is_refused_or_ignored(product: Product) -> None:
    order_id, page, transaction = pending_account(product)
    for field in ("order_id", "transaction_status", "transaction_id", "gross_amount", "status_code"):
        values: tuple[object, ...] = (1, None, True, [], {})
        for value in values:
            body = signed(product, {**transaction, "status_code": "200", field: value})
            assert product.notify(raw(body)).status_code in {400, 401}
    untouched(product, order_id, page)
