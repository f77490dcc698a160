"""Both gateways behind one shop, over HTTP: paid through Stripe, switched between the two, and never paid twice."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from stripe import WebhookSignature

from harness.both import STRIPE_SECRETS, Both, running_both
from harness.product import until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    url = f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}"
    with running_both(url, folder, PAYMENTS_LATE_PAYMENT="reopen_or_refund") as both:
        yield both


@pytest.fixture
def both(running: Both) -> Iterator[Both]:
    yield running
    running.stripe.control("faults", {})
    running.product.simulator.control("faults", {})
    running.stripe.control("settings", {"tax_minor": 0, "refunds": "succeeded"})


def ledger(both: Both, page: dict[str, Any]) -> dict[str, Any]:
    """What really happened on a page at Stripe."""
    return dict(both.stripe.view("ledger")["orders"][page["provider_order_id"]])


def snap_ledger(both: Both, page: dict[str, Any]) -> dict[str, Any]:
    """What really happened on a page at Midtrans."""
    return dict(both.product.simulator.view("ledger")["orders"][page["provider_order_id"]])


# ── paid through Stripe ───────────────────────────────────────────────────────────────────────────────────────────────
def test_an_order_with_a_discount_is_paid_through_stripe_for_its_very_total(both: Both) -> None:
    """Rp150,000 is 15000000 at Stripe; discount and shipping are in the one total that is asked for."""
    shipping = {"cost": "20000", "name": "Alice", "address": "Jalan 1", "city": "Jakarta", "postal_code": "10110"}
    order_id = both.product.order(quantity=3, discount="20000", shipping=shipping)
    page = both.pay(order_id, "stripe")
    assert (page["provider"], page["amount"], page["token"][:8]) == ("stripe", "150000", "cs_test_")
    assert both.buyer(page)["amount_total"] == 15_000_000
    paid = both.product.settled(order_id, "success")
    assert (paid["provider"], paid["amount"], paid["needs_review"]) == ("stripe", "150000", [])
    assert ledger(both, page)["gross_amount"] == "150000.00"


@pytest.mark.parametrize(
    ("currency", "price", "total"), [("USD", "12.50", "25.00"), ("JPY", "500", "1000"), ("KWD", "1.250", "2.500")]
)
def test_another_currency_is_paid_to_its_last_digit(both: Both, currency: str, price: str, total: str) -> None:
    """Midtrans cannot say these; the order is taken because Stripe can."""
    items = [{"sku": "book", "name": "A book", "price": price, "quantity": 2}]
    order_id = both.product.order(currency=currency, items=items)
    page = both.pay(order_id, "stripe")
    both.buyer(page)
    paid = both.product.settled(order_id, "success")
    assert (paid["amount"], paid["currency"]) == (total.removesuffix(".00"), currency)
    assert float(ledger(both, page)["transactions"][0]["captured_amount"]) == float(total)


def test_a_total_that_stripe_changed_is_never_shown_to_the_buyer(both: Both) -> None:
    both.stripe.control("settings", {"tax_minor": 100})
    order_id = both.product.order()
    answer = both.product.pay(order_id, json={"provider": "stripe"})
    assert (answer.status_code, answer.json()["code"]) == (422, "gateway_refused")
    assert "instead of" in answer.json()["detail"]
    reports = [report for name, report in both.stripe.view("ledger")["orders"].items() if report["page"] == "open"]
    assert not [report for report in reports if report["gross_amount"] == "100001.00"]
    both.stripe.control("settings", {"tax_minor": 0})
    assert both.product.pay(order_id, json={"provider": "stripe"}).status_code == 201


def test_after_a_lost_answer_the_next_click_finds_the_one_session(both: Both) -> None:
    order_id = both.product.order()
    both.stripe.control("faults", {"faults": [{"kind": "cut", "applied": True, "calls": "all", "count": 1}]})
    assert both.product.pay(order_id, json={"provider": "stripe"}).status_code in (502, 503, 504)
    page = both.pay(order_id, "stripe")
    assert len(ledger(both, page)["sessions"]) == 1


def test_a_delayed_method_that_bounced_leaves_the_order_payable(both: Both) -> None:
    order_id = both.product.order()
    page = both.pay(order_id, "stripe")
    both.buyer(page, "processing")
    both.product.settled(order_id, "processing")
    both.becomes(page, "fail")
    both.product.settled(order_id, "failed")
    again = both.pay(order_id, "stripe")
    assert again["provider_order_id"] != page["provider_order_id"]
    both.buyer(again, "processing")
    both.becomes(again, "succeed")
    both.product.settled(order_id, "success")


def test_a_session_that_expired_gives_the_stock_back(both: Both) -> None:
    both.product.stock("rare-stripe", 3)
    order_id = both.product.order(sku="rare-stripe")
    page = both.pay(order_id, "stripe")
    both.becomes(page, "expire")
    both.product.settled(order_id, "expired")
    assert both.product.available("rare-stripe") == 3


def test_what_no_event_told_is_found_by_asking(both: Both) -> None:
    order_id = both.product.order()
    page = both.pay(order_id, "stripe")
    both.buyer(page, notify=False)
    assert both.operate(page["payment_id"], "refresh").status_code == 200
    assert both.product.status(order_id)["status"] == "success"


def test_a_refund_goes_back_once_and_one_that_fails_calls_a_person(both: Both) -> None:
    order_id = both.product.order()
    page = both.pay(order_id, "stripe")
    both.buyer(page)
    both.product.settled(order_id, "success")
    for _ in range(2):
        made = both.operate(page["payment_id"], "refunds", key="refund-once", json={"amount": "30000"})
        assert made.status_code == 201
    assert both.product.settled(order_id, "partially_refunded")["refunded_amount"] == "30000"
    (transaction,) = ledger(both, page)["transactions"]
    assert (transaction["refunded_amount"], len(transaction["refunds"])) == ("30000.00", 1)
    both.becomes(page, "refund_failed")
    assert both.product.settled(order_id, "success")["needs_review"] == ["refund_returned"]


def test_a_dispute_is_told_taken_and_given_back(both: Both) -> None:
    order_id = both.product.order()
    page = both.pay(order_id, "stripe")
    both.buyer(page)
    both.product.settled(order_id, "success")
    both.becomes(page, "dispute")
    until(lambda: both.product.status(order_id)["needs_review"] == ["dispute_open"], what="the dispute")
    both.becomes(page, "funds_withdrawn")
    both.product.settled(order_id, "charged_back")
    both.becomes(page, "dispute_won")
    until(
        lambda: (answer := both.product.status(order_id))["status"] == "success" and not answer["needs_review"],
        what="the money back and the cases over",
    )


# ── the webhook ───────────────────────────────────────────────────────────────────────────────────────────────────────
def post_event(both: Both, event: dict[str, Any], secret: str = STRIPE_SECRETS[0], seconds: int = 0) -> int:
    """The status this event is answered with, signed so many seconds from now."""
    body = json.dumps(event)
    header = WebhookSignature.generate_signature_header(body, secret, int(time.time()) + seconds)
    url = f"{both.product.url}/api/webhooks/stripe/"
    return both.product.client.post(url, content=body, headers={"Stripe-Signature": header}).status_code


EVENT = {"id": "evt_probe", "type": "customer.created", "data": {"object": {"id": "cus_1"}}}


@pytest.mark.parametrize(
    ("secret", "seconds", "status"),
    [
        (STRIPE_SECRETS[0], 0, 200),
        (STRIPE_SECRETS[1], 0, 200),
        (STRIPE_SECRETS[0], -290, 200),
        (STRIPE_SECRETS[0], 290, 200),
        (STRIPE_SECRETS[0], -310, 401),
        (STRIPE_SECRETS[0], 310, 401),
        ("whsec_another", 0, 401),
    ],
)
def test_the_webhook_takes_what_stripe_signed_a_moment_ago(both: Both, secret: str, seconds: int, status: int) -> None:
    assert post_event(both, EVENT, secret, seconds) == status


@pytest.mark.parametrize(
    ("body", "status"), [(b"{}", 401), (b"\xff", 401), (b"", 401), (b"[" * 100_000, 401), (b"x" * 300_000, 413)]
)
def test_bytes_nobody_signed_are_refused(both: Both, body: bytes, status: int) -> None:
    answer = both.product.client.post(f"{both.product.url}/api/webhooks/stripe/", content=body)
    assert answer.status_code == status


def test_no_genuine_event_is_refused_while_the_secret_is_rolled(both: Both) -> None:
    """Under load: Stripe signs with the old secret, with both, then with the new one."""
    pages = [(order_id := both.product.order(), both.pay(order_id, "stripe")) for _ in range(6)]

    def pay_all(some: list[tuple[str, dict[str, Any]]]) -> None:
        for _, page in some:
            both.buyer(page)

    for secrets, some in zip(
        (STRIPE_SECRETS[:1], STRIPE_SECRETS, STRIPE_SECRETS[1:]), (pages[:2], pages[2:4], pages[4:]), strict=True
    ):
        both.stripe.control("settings", {"webhook_secrets": list(secrets)})
        threads = [threading.Thread(target=pay_all, args=([page],)) for page in some]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for order_id, _ in pages:
        both.product.settled(order_id, "success")
    both.stripe.control("settings", {"webhook_secrets": [STRIPE_SECRETS[0]]})


# ── two gateways, one order ───────────────────────────────────────────────────────────────────────────────────────────
def test_a_click_that_names_no_provider_is_paid_through_midtrans_and_takes_what_is_open(both: Both) -> None:
    order_id = both.product.order()
    assert both.product.pay(order_id).json()["provider"] == "midtrans"
    other_id = both.product.order()
    stripe_page = both.pay(other_id, "stripe")
    assert both.product.pay(other_id).json()["payment_url"] == stripe_page["payment_url"]


def test_an_order_whose_midtrans_page_is_left_is_paid_through_stripe(both: Both) -> None:
    """A virtual account was shown there; it is ended at its gateway before the other page opens."""
    order_id = both.product.order()
    first = both.pay(order_id, "midtrans")
    transaction = both.product.buyer(first["provider_order_id"], "pending", payment_type="bank_transfer", bank="bca")
    second = both.pay(order_id, "stripe")
    assert snap_ledger(both, first)["page"] == "dead"
    (left,) = snap_ledger(both, first)["transactions"]
    assert (left["transaction_id"], left["transaction_status"]) == (transaction["transaction_id"], "cancel")
    both.buyer(second)
    assert both.product.settled(order_id, "success")["provider"] == "stripe"


def test_an_order_whose_stripe_page_is_left_is_paid_through_midtrans(both: Both) -> None:
    order_id = both.product.order()
    first = both.pay(order_id, "stripe")
    both.buyer(first, "declined")
    second = both.pay(order_id, "midtrans")
    assert ledger(both, first)["page"] == "dead"
    both.product.buyer(second["provider_order_id"], "settlement", payment_type="qris")
    assert both.product.settled(order_id, "success")["provider"] == "midtrans"


@pytest.mark.parametrize(("first", "second"), [("midtrans", "stripe"), ("stripe", "midtrans")])
def test_while_the_open_page_cannot_be_proved_dead_no_other_opens(both: Both, first: str, second: str) -> None:
    """The customer is sent to the page that may still be paid."""
    order_id = both.product.order()
    page = both.pay(order_id, first)
    simulator = both.product.simulator if first == "midtrans" else both.stripe
    simulator.control("faults", {"faults": [{"kind": "server_error", "status": 503, "applied": False, "calls": "all"}]})
    answer = both.product.pay(order_id, json={"provider": second})
    assert (answer.status_code, answer.json()["code"]) == (409, "page_still_payable")
    assert answer.json()["payment_url"] == page["payment_url"]
    simulator.control("faults", {})
    opened = until(
        lambda: (again := both.product.pay(order_id, json={"provider": second})).is_success and again.json(),
        what="the other page",
        seconds=60,
    )
    assert opened["provider"] == second


def test_a_delayed_payment_under_way_at_stripe_keeps_the_other_page_shut(both: Both) -> None:
    """Processing is alive: whoever opens another page beside it may be charged twice."""
    order_id = both.product.order()
    page = both.pay(order_id, "stripe")
    both.buyer(page, "processing")
    both.product.settled(order_id, "processing")
    answer = both.product.pay(order_id, json={"provider": "midtrans"})
    assert (answer.status_code, answer.json()["code"]) in ((409, "page_still_payable"), (409, "page_closing"))
    both.becomes(page, "succeed")
    both.product.settled(order_id, "success")


def test_a_payment_that_slips_through_at_the_other_gateway_is_returned_once(both: Both) -> None:
    """The page was ended and its transaction cancelled, and its bank paid all the same."""
    order_id = both.product.order()
    first = both.pay(order_id, "midtrans")
    left = both.product.buyer(first["provider_order_id"], "pending", payment_type="qris")
    second = both.pay(order_id, "stripe")
    both.buyer(second)
    both.product.settled(order_id, "success")
    both.product.transition(left["transaction_id"], "settlement")
    until(
        lambda: snap_ledger(both, first)["transactions"][0]["refunded_amount"] == "100000.00",
        what="the surplus payment to go back",
        seconds=60,
    )
    until(lambda: both.product.status(order_id)["needs_review"] == [], what="its case to close", seconds=60)
    paid = both.product.status(order_id)
    assert (paid["status"], paid["provider"], paid["refunded_amount"]) == ("success", "stripe", "0")
    assert ledger(both, second)["transactions"][0]["refunded_amount"] == "0.00"


def test_both_pages_clicked_at_once_leave_one_that_can_be_paid(both: Both) -> None:
    """Eight clicks, four for each gateway."""
    order_id = both.product.order()
    answers: list[Any] = []

    def click(provider: str) -> None:
        answers.append(both.product.pay(order_id, json={"provider": provider}))

    threads = [threading.Thread(target=click, args=(name,)) for name in ("midtrans", "stripe") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answer.status_code in (200, 201, 409, 503) for answer in answers), [a.text for a in answers]

    def payable() -> list[str]:
        snap = both.product.simulator.view("ledger")["orders"]
        sessions = both.stripe.view("ledger")["orders"]
        payment_id = both.product.status(order_id)["payment_id"]
        ours = {**snap, **sessions}
        return [name for name, page in ours.items() if name.startswith(payment_id) and page["page"] == "open"]

    assert len(payable()) <= 1
