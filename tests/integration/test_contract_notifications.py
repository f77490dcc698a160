"""Notifications that are true: repeated, late, declined, for other amounts, for nobody, for the future."""

import asyncio
import secrets
from typing import Any

import httpx
import pytest

from harness.midtrans import made_up, notification, notifications_kept, raw, signed
from harness.product import Product, until
from harness.questions import at_once, event_types, order_status, payment, problem

pytestmark = pytest.mark.usefixtures("healthy_gateway")


def paid(product: Product) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """An order, its page and the settled transaction."""
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], "settlement")
    product.settled(order_id, "success")
    return order_id, page, transaction


def quiet(product: Product, order_id: str) -> dict[str, Any]:
    """The status once the gateway was heard of every delivery it made."""
    until(lambda: product.simulator.view("ledger")["notifications"]["pending"] == 0, what="every delivery")
    return product.status(order_id)


def case_opened(product: Product, order_id: str, kind: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        status = product.status(order_id)
        return status if kind in status["needs_review"] else None

    return dict(until(found, what=f"case {kind}"))


async def test_a_settlement_a_hundred_times_at_once_pays_once(product: Product) -> None:
    """Gateways repeat themselves, through several URLs and after every time-out."""
    order_id, page = product.clicked()
    before = product.available("book")
    transaction = product.buyer(page["provider_order_id"], "settlement", notify=False)
    body = raw(notification(product, transaction))
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as client:
        url = f"{product.url}/api/webhooks/midtrans/"
        answers = await asyncio.gather(*(client.post(url, content=body) for _ in range(100)))
    assert [answer.status_code for answer in answers] == [200] * 100
    assert all(answer.json() == {"status": "ok"} for answer in answers)
    product.settled(order_id, "success")
    history = event_types(product, page["payment_id"])
    assert [history.count(kind) for kind in ("payment.paid", "order.paid", "stock.consumed")] == [1, 1, 1]
    assert order_status(product, order_id) == "paid"
    assert product.available("book") == before


def test_a_late_pending_changes_nothing(product: Product) -> None:
    order_id, page, transaction = paid(product)
    before, history = product.status(order_id), event_types(product, page["payment_id"])
    late = notification(product, transaction, transaction_status="pending")
    assert product.notify(raw(late)).status_code == 200
    after = quiet(product, order_id)
    assert (after["status"], after["paid_at"], after["needs_review"]) == ("success", before["paid_at"], [])
    assert event_types(product, page["payment_id"]) == history
    assert order_status(product, order_id) == "paid"


def test_notifications_that_overtake_each_other_end_in_the_same_state(product: Product) -> None:
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], "pending", payment_type="bank_transfer", notify=False)
    pending = raw(notification(product, transaction))
    settled = product.transition(transaction["transaction_id"], "settlement", notify=False)
    for body in (raw(notification(product, settled)), pending, raw(notification(product, settled)), pending):
        assert product.notify(body).status_code == 200
    assert product.settled(order_id, "success")["method"] == "bank_transfer"
    assert event_types(product, page["payment_id"]).count("order.paid") == 1


def test_a_decline_leaves_the_page_payable_and_a_later_success_pays(product: Product) -> None:
    """The buyer takes another card out of the wallet."""
    order_id, page = product.clicked()
    for _ in range(2):
        product.buyer(page["provider_order_id"], "deny", payment_type="credit_card")
    status = until(lambda: (answer := product.status(order_id))["last_decline"] and answer, what="the decline")
    assert status["status"] in {"pending", "processing"}
    assert status["last_decline"].keys() == {"code", "method", "at"}
    assert status["last_decline"]["method"] == "credit_card"
    assert status["payment_url"] == page["payment_url"]
    again = product.pay(order_id)
    assert (again.status_code, again.json()["payment_url"]) == (200, page["payment_url"])
    product.buyer(page["provider_order_id"], "capture", payment_type="credit_card")
    assert product.settled(order_id, "success")["method"] == "credit_card"
    history = event_types(product, page["payment_id"])
    assert history.count("charge.declined") == 2
    assert history.count("order.paid") == 1


def test_a_challenged_card_is_not_paid_until_it_is_accepted(product: Product) -> None:
    """Under review is not paid: do not deliver."""
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], "challenge", payment_type="credit_card")
    product.settled(order_id, "processing")
    assert order_status(product, order_id) == "pending"
    product.transition(transaction["transaction_id"], "capture")
    product.settled(order_id, "success")


@pytest.mark.parametrize("amount", ["99999", "100001", "1", "1000000", "100000.01", "10000000"])
def test_another_amount_never_pays_and_opens_a_case(product: Product, amount: str) -> None:
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], "pending", payment_type="bank_transfer", notify=False)
    product.transition(transaction["transaction_id"], "settlement", amount=amount)
    case_opened(product, order_id, "amount_mismatch")
    status = until(
        lambda: (answer := product.status(order_id))["payment_url"] is None and answer, what="the page's end"
    )
    assert (status["status"], status["paid_at"]) == ("failed", None)
    problem(product.pay(order_id), 409, "needs_review")
    assert order_status(product, order_id) == "pending"
    history = event_types(product, page["payment_id"])
    assert "case.opened" in history
    assert "order.paid" not in history
    assert "stock.consumed" not in history


@pytest.mark.parametrize(
    ("changes", "case"),
    [({"currency": "USD"}, "currency_mismatch"), ({"merchant_id": "G111111111"}, "merchant_mismatch")],
)
def test_another_currency_or_merchant_never_pays_and_opens_a_case(
    product: Product, changes: dict[str, str], case: str
) -> None:
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], "pending", notify=False)
    product.transition(transaction["transaction_id"], "settlement", **changes)
    assert case_opened(product, order_id, case)["status"] != "success"
    assert order_status(product, order_id) == "pending"


def test_a_second_payment_on_a_paid_page_is_a_case_and_not_lost(product: Product) -> None:
    order_id, page, _ = paid(product)
    product.buyer(page["provider_order_id"], "settlement", payment_type="bank_transfer")
    status = case_opened(product, order_id, "surplus_payment")
    assert status["status"] == "success"
    assert event_types(product, page["payment_id"]).count("order.paid") == 1
    charges = payment(product, page["payment_id"])["charges"]
    assert sorted(charge["state"] for charge in charges) == ["settled", "settled"]


def test_a_reversal_by_the_bank_makes_the_order_unpaid(product: Product) -> None:
    """Settlement, then deny on the same transaction: the money went back."""
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], "settlement", payment_type="echannel")
    product.settled(order_id, "success")
    before = product.available("book")
    product.transition(transaction["transaction_id"], "deny")
    status = case_opened(product, order_id, "reversed")
    assert status["status"] != "success"
    problem(product.pay(order_id), 409, "needs_review")
    assert order_status(product, order_id) == "pending"
    assert product.available("book") == before, "goods may have left; a person decides"
    assert event_types(product, page["payment_id"]).count("payment.reversed") == 1


def test_a_notification_for_an_unknown_order_is_kept(product: Product) -> None:
    """Another system of the merchant shares the account; answering an error would only make the gateway repeat it."""
    kept = notifications_kept(product)
    for order_id in (f"other-{secrets.token_hex(4)}", f"{'0' * 26}-1p", f"{'z' * 26}-1p", "x" * 100, "a/b#c?d", "é"):
        body = raw(made_up(product, order_id))
        assert product.notify(body).json() == {"status": "ok"}
        assert product.notify(body).status_code == 200
        kept += 1
        assert notifications_kept(product) == kept, "kept, and once"


def test_a_notification_for_an_attempt_that_never_was_pays_nothing(product: Product) -> None:
    order_id, page = product.clicked()
    assert product.notify(raw(made_up(product, f"{page['payment_id']}-2p"))).status_code == 200
    assert quiet(product, order_id)["status"] == "pending"
    assert product.pay(order_id).json()["payment_url"] == page["payment_url"]


def test_the_dashboards_test_probe_is_answered_200(product: Product) -> None:
    product.simulator.control("test-notification", {})

    def probe() -> dict[str, Any] | None:
        deliveries = product.simulator.view("notifications", limit="50")
        deliveries = deliveries["notifications"] if isinstance(deliveries, dict) else deliveries
        found = [one for one in deliveries if "payment_notif_test" in str(one)]
        return found[0] if found and found[0]["state"] not in {"pending", "waiting"} else None

    assert until(probe, what="the probe's delivery")["state"] == "acknowledged"


def test_unknown_words_and_fields_are_kept_and_change_nothing(product: Product) -> None:
    """Midtrans adds fields without notice, and one day a status."""
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], "pending", payment_type="bank_transfer")
    product.settled(order_id, "processing")
    before, kept = product.status(order_id), notifications_kept(product)
    strange = notification(product, transaction, transaction_status="levitating", karma={"deep": [1, None, 1.5]})
    assert product.notify(raw(strange)).status_code == 200
    assert notifications_kept(product) == kept + 1
    after = product.status(order_id)
    assert (after["status"], after["payment_url"]) == (before["status"], before["payment_url"])
    product.transition(transaction["transaction_id"], "settlement", notify=False)
    later = notification(
        product, {**transaction, "transaction_status": "settlement"}, new_field="x", fraud_status="ACCEPT"
    )
    assert product.notify(raw(later)).status_code == 200
    product.settled(order_id, "success")


@pytest.mark.parametrize("key", ["subscription", "account_id", "originalReferenceNo"])
def test_a_body_about_something_else_is_answered_and_not_kept(product: Product, key: str) -> None:
    kept = notifications_kept(product)
    assert product.notify({key: "x", "status": "active"}).json() == {"status": "ok"}
    assert notifications_kept(product) == kept


@pytest.mark.parametrize("field", ["order_id", "status_code", "gross_amount", "transaction_id", "transaction_status"])
def test_a_body_without_what_it_takes_is_400(product: Product, field: str) -> None:
    order_id = f"other-{secrets.token_hex(4)}"
    body = made_up(product, order_id)
    del body[field]
    answer = product.notify(body)
    assert answer.status_code in {400, 401}, answer.text
    problem(answer, answer.status_code)
    if field.startswith("transaction"):
        problem(product.notify(signed(product, body)), 400)


def test_many_payments_notified_at_once_are_all_paid(product: Product) -> None:
    pages = [product.clicked() for _ in range(25)]
    bodies = []
    for _, page in pages:
        transaction = product.buyer(page["provider_order_id"], "settlement", notify=False)
        bodies.append(raw(notification(product, transaction)))
    answers = at_once(50, lambda number: product.notify(bodies[number % 25]).status_code)
    assert answers == [200] * 50
    for order_id, page in pages:
        product.settled(order_id, "success")
        assert event_types(product, page["payment_id"]).count("order.paid") == 1
