"""An order nobody pays: deadlines, a gateway's own expiry, stock that comes back once, money that comes late."""

import secrets
from typing import Any

import pytest

from harness.clock import HOUR_S, sweep_later
from harness.midtrans import notification, raw
from harness.product import Product, until
from harness.questions import at_once, event_types, order_status, payable_pages, payment, problem

pytestmark = pytest.mark.usefixtures("healthy_gateway")

DAY_S = 24 * HOUR_S + 5


@pytest.fixture
def sku(product: Product) -> str:
    """A sku of this test's own, 2 in stock: just what one order takes."""
    name = f"sku-{secrets.token_hex(4)}"
    product.stock(name, 2)
    return name


def account(product: Product, page: dict[str, Any], outcome: str = "pending", **more: bool) -> dict[str, Any]:
    """What became of the virtual account the buyer chose."""
    return product.buyer(page["provider_order_id"], outcome, payment_type="bank_transfer", bank="bca", **more)


def expired(product: Product, order_id: str) -> None:
    """Given up: as the buyer sees it, as the shop sees it, and for every later click."""
    status = product.settled(order_id, "expired")
    assert (status["payment_url"], status["needs_review"]) == (None, [])
    assert order_status(product, order_id) == "cancelled"
    problem(product.pay(order_id), 409, "order_expired")


def test_a_page_is_given_up_at_its_deadline_and_not_before(product: Product, sku: str) -> None:
    order_id, page = product.clicked(sku=sku)
    sweep_later(product, 23 * HOUR_S)
    assert product.status(order_id)["status"] == "pending"
    assert product.pay(order_id).json()["payment_url"] == page["payment_url"]
    sweep_later(product, DAY_S)
    expired(product, order_id)
    assert product.available(sku) == 2
    assert payable_pages(product, page["payment_id"]) == [], "ended at the gateway too"
    history = event_types(product, page["payment_id"])
    assert [history.count(kind) for kind in ("payment.expired", "order.cancelled", "stock.released")] == [1, 1, 1]
    assert history.index("attempt.dead") < history.index("stock.released"), "until then somebody may be paying"


def test_an_order_that_is_never_clicked_expires_in_the_order_book_alone(product: Product, sku: str) -> None:
    order_id = product.order(sku=sku)
    sweep_later(product, DAY_S)
    assert order_status(product, order_id) == "cancelled"
    assert product.available(sku) == 2
    problem(product.pay(order_id), 409, "order_expired")


def test_sweeps_at_once_and_again_give_stock_back_once(product: Product, sku: str) -> None:
    order_id, page = product.clicked(sku=sku)
    unclicked_sku = f"{sku}-u"
    product.stock(unclicked_sku, 2)
    unclicked = product.order(sku=unclicked_sku)
    at_once(3, lambda _: sweep_later(product, DAY_S))
    sweep_later(product, DAY_S + 60)
    expired(product, order_id)
    assert order_status(product, unclicked) == "cancelled"
    assert (product.available(sku), product.available(unclicked_sku)) == (2, 2)
    assert event_types(product, page["payment_id"]).count("stock.released") == 1


def test_while_the_gateway_cannot_end_the_page_its_stock_stays_reserved(product: Product, sku: str) -> None:
    """Our clock alone proves nothing: the buyer may be paying right now."""
    order_id, page = product.clicked(sku=sku)
    product.simulator.control("faults", {"faults": [{"kind": "server_error", "calls": ["token_cancel"]}]})
    sweep_later(product, DAY_S)
    refused = problem(product.pay(order_id), 409, "page_closing")
    assert refused["retryable"] is True
    assert (product.status(order_id)["status"], order_status(product, order_id)) == ("pending", "pending")
    assert product.available(sku) == 0
    assert "stock.released" not in event_types(product, page["payment_id"])
    product.simulator.control("faults", {})
    sweep_later(product, DAY_S + HOUR_S)
    expired(product, order_id)
    assert product.available(sku) == 2


def test_an_unpaid_virtual_account_is_ended_with_its_page(product: Product, sku: str) -> None:
    order_id, page = product.clicked(sku=sku)
    account(product, page)
    product.settled(order_id, "processing")
    sweep_later(product, DAY_S)
    expired(product, order_id)
    (transaction,) = product.simulator.view("ledger")["orders"][page["provider_order_id"]]["transactions"]
    assert transaction["transaction_status"] in {"cancel", "expire"}
    assert product.available(sku) == 2


def test_a_payment_nobody_told_us_of_is_found_at_the_deadline(product: Product, sku: str) -> None:
    order_id, page = product.clicked(sku=sku)
    account(product, page, "settlement", notify=False)
    sweep_later(product, DAY_S)
    assert product.settled(order_id, "success")["method"] == "bank_transfer"
    assert order_status(product, order_id) == "paid"
    assert product.available(sku) == 0
    assert "stock.released" not in event_types(product, page["payment_id"])


@pytest.mark.parametrize("outcome", ["challenge", "authorize"])
def test_a_card_under_review_or_held_is_waited_for_at_the_deadline(product: Product, sku: str, outcome: str) -> None:
    order_id, page = product.clicked(sku=sku)
    transaction = product.buyer(page["provider_order_id"], outcome, payment_type="credit_card")
    waited_for = product.settled(order_id, {"challenge": "processing", "authorize": "authorized"}[outcome])["status"]
    sweep_later(product, DAY_S)
    assert product.status(order_id)["status"] == waited_for
    assert product.available(sku) == 0
    product.transition(transaction["transaction_id"], "capture")
    product.settled(order_id, "success")
    assert order_status(product, order_id) == "paid"


@pytest.mark.parametrize(("outcome", "status"), [("expire", "expired"), ("cancel", "cancelled")])
def test_what_the_gateway_ends_by_itself_gives_page_and_stock_up(
    product: Product, sku: str, outcome: str, status: str
) -> None:
    order_id, page = product.clicked(sku=sku)
    account(product, page, outcome)
    product.settled(order_id, status)
    assert order_status(product, order_id) == "cancelled"
    assert product.available(sku) == 2
    assert payable_pages(product, page["payment_id"]) == []
    problem(product.pay(order_id), 409)
    history = event_types(product, page["payment_id"])
    assert history.count("stock.released") == 1
    assert history.index("attempt.dead") < history.index("stock.released")


def test_an_expired_card_charge_ends_that_charge_only(product: Product, sku: str) -> None:
    """The buyer left 3-D Secure; the page is still there for another try."""
    order_id, page = product.clicked(sku=sku)
    product.buyer(page["provider_order_id"], "expire", payment_type="credit_card")
    until(lambda: payment(product, page["payment_id"])["charges"], what="the charge")
    assert product.pay(order_id).json()["payment_url"] == page["payment_url"]
    assert product.available(sku) == 0
    product.buyer(page["provider_order_id"], "settlement")
    product.settled(order_id, "success")


def test_an_expired_account_beside_a_living_one_ends_alone(product: Product, sku: str) -> None:
    order_id, page = product.clicked(sku=sku)
    living = account(product, page)
    product.settled(order_id, "processing")
    product.buyer(page["provider_order_id"], "expire", payment_type="qris")
    until(lambda: len(payment(product, page["payment_id"])["charges"]) == 2, what="both charges")
    until(lambda: product.simulator.view("ledger")["notifications"]["pending"] == 0, what="every delivery")
    assert product.status(order_id)["status"] == "processing"
    product.transition(living["transaction_id"], "settlement")
    product.settled(order_id, "success")


def given_up(product: Product, sku: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """An expired order, its page, and its virtual account, into which somebody may still pay."""
    order_id, page = product.clicked(sku=sku)
    transaction = account(product, page)
    product.settled(order_id, "processing")
    sweep_later(product, DAY_S)
    expired(product, order_id)
    return order_id, page, transaction


def test_money_that_comes_after_the_end_reserves_again_and_pays(product: Product, sku: str) -> None:
    order_id, page, transaction = given_up(product, sku)
    assert product.available(sku) == 2
    product.transition(transaction["transaction_id"], "settlement")
    status = product.settled(order_id, "success")
    assert status["needs_review"] == []
    assert order_status(product, order_id) == "paid"
    assert product.available(sku) == 0
    history = event_types(product, page["payment_id"])
    assert [history.count(kind) for kind in ("order.reopened", "order.paid", "stock.consumed")] == [1, 1, 1]
    assert history.index("stock.released") < len(history) - history[::-1].index("stock.reserved") - 1
    problem(product.pay(order_id), 409, "already_paid")


def test_late_money_told_of_many_times_is_one_payment(product: Product, sku: str) -> None:
    order_id, page, transaction = given_up(product, sku)
    settled = product.transition(transaction["transaction_id"], "settlement", notify=False)
    body = raw(notification(product, settled))
    assert at_once(20, lambda _: product.notify(body).status_code) == [200] * 20
    product.settled(order_id, "success")
    assert event_types(product, page["payment_id"]).count("order.paid") == 1
    assert product.available(sku) == 0


def test_late_money_for_goods_that_are_gone_is_a_case(product: Product, sku: str) -> None:
    """Neither dropped nor sold twice: a person returns it, or finds another copy."""
    order_id, page, transaction = given_up(product, sku)
    second = product.order(sku=sku)
    product.transition(transaction["transaction_id"], "settlement")
    until(lambda: product.status(order_id)["needs_review"] == ["late_payment"], what="case late_payment")
    status = product.status(order_id)
    assert (status["status"], status["payment_url"]) == ("expired", None)
    assert (order_status(product, order_id), order_status(product, second)) == ("cancelled", "pending")
    assert product.available(sku) == 0
    history = event_types(product, page["payment_id"])
    assert "order.paid" not in history
    assert "case.opened" in history
    problem(product.pay(order_id), 409)
    assert product.pay(second).status_code == 201


def test_late_money_for_a_cancelled_order_is_a_case_even_with_stock(product: Product, sku: str) -> None:
    """The shop gave the order up on purpose; paying it again is not ours to decide."""
    order_id, page = product.clicked(sku=sku)
    transaction = account(product, page)
    product.settled(order_id, "processing")
    product.call("POST", f"/api/orders/{order_id}/cancel", as_=product.shop)
    product.settled(order_id, "cancelled")
    product.transition(transaction["transaction_id"], "settlement")
    until(lambda: product.status(order_id)["needs_review"] == ["late_payment"], what="case late_payment")
    assert product.status(order_id)["status"] == "cancelled"
    assert (order_status(product, order_id), product.available(sku)) == ("cancelled", 2)
