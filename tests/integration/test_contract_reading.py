"""What the API says of orders and payments: status, long-polling, lists, histories."""

import re
import threading
from typing import Any

import pytest

from harness.product import Product, token
from harness.questions import event_types, events, operator, payment, problem

STATUS_FIELDS = {
    "payment_id",
    "order_id",
    "status",
    "provider",
    "method",
    "amount",
    "currency",
    "refunded_amount",
    "paid_at",
    "expires_at",
    "payment_url",
    "needs_review",
    "last_decline",
    "version",
}
RFC_3339_UTC = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"


def listed(product: Product, query: str = "") -> dict[str, Any]:
    return dict(product.call("GET", f"/api/payments{query}", as_=operator()).raise_for_status().json())


def paid_order(product: Product) -> tuple[str, str]:
    """An order and its payment, paid by GoPay."""
    order_id = product.order()
    page = product.pay(order_id).json()
    product.buyer(page["provider_order_id"], "settlement")
    product.settled(order_id, "success")
    return order_id, page["payment_id"]


def test_before_the_first_click_there_is_no_payment(product: Product) -> None:
    order_id = product.order()
    answer = product.call("GET", f"/api/orders/{order_id}/payment-status/", as_=token("alice"))
    problem(answer, 404, "no_payment")


def test_the_status_answer_of_an_open_page(product: Product) -> None:
    order_id = product.order()
    page = product.pay(order_id).json()
    status = product.status(order_id)
    assert status.keys() == STATUS_FIELDS
    assert status["payment_url"] == page["payment_url"]
    assert status["expires_at"] == page["expires_at"]
    assert (status["status"], status["provider"], status["amount"]) == ("pending", "midtrans", "100000")
    assert (status["refunded_amount"], status["paid_at"], status["needs_review"]) == ("0", None, [])
    assert status["last_decline"] is None


def test_the_status_answer_of_a_paid_order_offers_no_page(product: Product) -> None:
    order_id, payment_id = paid_order(product)
    status = product.status(order_id)
    assert (status["status"], status["method"], status["payment_url"]) == ("success", "gopay", None)
    assert status["payment_id"] == payment_id
    assert all(re.match(RFC_3339_UTC, moment) for moment in (status["paid_at"], status["expires_at"]))


def test_a_payment_id_cannot_be_guessed_and_is_26_characters_of_crockford(product: Product) -> None:
    first, second = (product.pay(product.order()).json() for _ in range(2))
    for page in (first, second):
        assert len(page["payment_id"]) == 26
        assert set(page["payment_id"]) <= set("0123456789abcdefghjkmnpqrstvwxyz")
        assert page["provider_order_id"] == f"{page['payment_id']}-1p"
    assert first["payment_id"] != second["payment_id"]
    assert first["payment_id"][:6] == second["payment_id"][:6], "time-ordered"


def test_a_waiting_shop_page_hears_of_the_payment(product: Product) -> None:
    """`wait` and `seen`: the browser asks once and is answered when there is news."""
    order_id = product.order()
    page = product.pay(order_id).json()
    seen = product.status(order_id)["version"]
    heard: list[dict[str, Any]] = []
    waiting = threading.Thread(
        target=lambda: heard.append(product.status(order_id, query=f"?wait=25&seen={seen}")), daemon=True
    )
    waiting.start()
    product.buyer(page["provider_order_id"], "settlement")
    waiting.join(25)
    assert heard
    assert heard[0]["version"] > seen
    product.settled(order_id, "success")


def test_a_version_that_is_old_news_is_answered_at_once(product: Product) -> None:
    order_id, _ = paid_order(product)
    status = product.status(order_id, query="?wait=25&seen=0")
    assert status["status"] == "success"


def test_a_wait_without_news_ends_with_the_status_as_it_is(product: Product) -> None:
    order_id = product.order()
    product.pay(order_id)
    before = product.status(order_id)
    assert product.status(order_id, query=f"?wait=1&seen={before['version']}") == before


@pytest.mark.parametrize("query", ["?wait=abc", "?wait=-1", "?wait=NaN", "?seen=abc", "?wait=1.5", "?wait="])
def test_a_wait_that_is_no_number_of_seconds_is_refused(product: Product, query: str) -> None:
    order_id = product.order()
    product.pay(order_id)
    answer = product.call("GET", f"/api/orders/{order_id}/payment-status/{query}", as_=token("alice"))
    problem(answer, 400, "invalid_request")


def test_every_path_works_with_and_without_its_last_slash(product: Product) -> None:
    """Gateways and shops spell URLs as they like; a redirect would lose the body."""
    order_id, payment_id = paid_order(product)
    paths = [
        ("GET", f"/api/orders/{order_id}"),
        ("GET", f"/api/orders/{order_id}/payment-status"),
        ("POST", f"/api/orders/{order_id}/pay"),
        ("POST", f"/api/orders/{order_id}/cancel"),
        ("GET", "/api/payments"),
        ("GET", f"/api/payments/{payment_id}"),
        ("GET", f"/api/payments/{payment_id}/events"),
        ("GET", "/api/stock/book"),
        ("POST", "/api/webhooks/midtrans"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
        ("GET", "/console"),
        ("GET", "/shop"),
    ]
    for method, path in paths:
        plain, slashed = (product.call(method, path + end, as_=product.shop).status_code for end in ("", "/"))
        assert plain == slashed, path
        assert plain in {200, 400, 409}, path


def test_payments_are_listed_newest_first_a_page_at_a_time(product: Product) -> None:
    made = [product.pay(product.order()).json()["payment_id"] for _ in range(5)]
    found: list[str] = []
    page = listed(product, "?limit=2")
    while True:
        found += [item["payment_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        page = listed(product, f"?limit=2&cursor={page['next_cursor']}")
    assert found[:5] == made[::-1]
    assert len(found) == len(set(found))
    assert [item["payment_id"] for item in listed(product)["items"]][:5] == made[::-1]


def test_a_payment_made_meanwhile_neither_repeats_nor_hides_one(product: Product) -> None:
    made = [product.pay(product.order()).json()["payment_id"] for _ in range(3)]
    first = listed(product, "?limit=2")
    product.pay(product.order())
    second = listed(product, f"?limit=2&cursor={first['next_cursor']}")
    assert [item["payment_id"] for item in (*first["items"], *second["items"])][:3] == made[::-1]


def test_payments_are_found_by_status_order_provider_time_and_need(product: Product) -> None:
    order_id, payment_id = paid_order(product)
    open_payment = product.pay(product.order()).json()["payment_id"]

    def found(query: str) -> list[str]:
        return [item["payment_id"] for item in listed(product, query)["items"]]

    assert found(f"?order={order_id}") == [payment_id]
    assert payment_id in found("?status=success")
    assert open_payment not in found("?status=success")
    assert open_payment in found("?status=pending")
    assert payment_id in found("?provider=midtrans")
    assert found("?provider=stripe") == []
    assert payment_id not in found("?needs_review=true")
    created = payment(product, payment_id)["created_at"]
    assert payment_id in found(f"?from={created}")
    assert payment_id not in found(f"?to={created[:4]}-01-01T00:00:00Z")
    assert found("?from=2999-01-01T00:00:00Z") == []


@pytest.mark.parametrize("query", ["status=nonsense", "from=yesterday", "needs_review=maybe"])
def test_a_filter_that_means_nothing_is_refused(product: Product, query: str) -> None:
    """An operator at night must not take an empty list for an answer."""
    answer = product.call("GET", f"/api/payments?{query}", as_=operator())
    problem(answer, 400, "invalid_request")


def test_a_payment_that_does_not_exist_is_404(product: Product) -> None:
    unknown = "0" * 26
    for path in (f"/api/payments/{unknown}", f"/api/payments/{unknown}/events", "/api/payments/x"):
        problem(product.call("GET", path, as_=operator()), 404)


def test_the_history_tells_what_happened_oldest_first(product: Product) -> None:
    _, payment_id = paid_order(product)
    history = events(product, payment_id)
    assert [event["sequence"] for event in history] == list(range(1, len(history) + 1))
    assert all(event.keys() == {"sequence", "type", "at", "actor", "data"} for event in history)
    types = [event["type"] for event in history]
    expected = ["payment.created", "attempt.opened", "payment.paid", "order.paid", "stock.consumed"]
    assert [kind for kind in types if kind in expected] == expected
    assert [types.count(kind) for kind in expected] == [1] * 5


def test_the_history_is_read_a_page_at_a_time(product: Product) -> None:
    _, payment_id = paid_order(product)
    found: list[str] = []
    query = "?limit=2"
    while query:
        answer = product.call("GET", f"/api/payments/{payment_id}/events{query}", as_=operator())
        page = answer.raise_for_status().json()
        found += [event["type"] for event in page["items"]]
        query = f"?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert found == event_types(product, payment_id)


@pytest.mark.parametrize(
    "query",
    [
        "/api/payments?cursor=garbage",
        "/api/payments?cursor=",
        "/api/payments?from=0001-01-01T00:00:00%2B07:00",
        "/api/payments?to=9999-12-31T23:59:59-07:00",
        "/api/payments?from=2026-01-01T00:00:00",
        "/api/payments/{payment}/events?cursor=99999999999999999999999999",
        "/api/payments/{payment}/events?cursor=9999999999",
        "/api/payments/{payment}/events?cursor=-1",
    ],
)
def test_a_question_no_database_could_answer_is_a_clear_error(product: Product, query: str) -> None:
    """A client's mistake must not look like an outage, nor begin its list anew for ever."""
    _, page = product.clicked()
    problem(product.call("GET", query.format(payment=page["payment_id"]), as_=operator()), 400, "invalid_request")
