"""POST /api/orders/{id}/pay/: one page per order, whatever the gateway does to the call that opens it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from harness.midtrans import notification, signature
from harness.product import Product, running_product, token, until
from harness.questions import at_once, event_types, payable_pages, payment, problem

pytestmark = pytest.mark.usefixtures("healthy_gateway")

ANSWER_FIELDS = {
    "payment_id",
    "attempt_id",
    "provider_order_id",
    "status",
    "provider",
    "payment_url",
    "token",
    "expires_at",
    "amount",
    "currency",
}
RETURN_ORIGIN = "https://app.shop.example"
YESTERDAYS_KEY = "SB-Mid-server-yesterdays"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product that gives up on its gateway after a second, and leaves due work alone: the clicks do it all."""
    folder = tmp_path_factory.mktemp("paying")
    with running_product(
        f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}",
        folder,
        "--no-worker",
        MIDTRANS_TIMEOUT_SECONDS="1",
        PAYMENTS_RETURN_ORIGINS=RETURN_ORIGIN,
        MIDTRANS_SERVER_KEY_PREVIOUS=YESTERDAYS_KEY,
    ) as running:
        yield running


def break_create(product: Product, kind: str, count: int = 1, **more: object) -> None:
    """The next calls that open a page fail so."""
    rule = {"kind": kind, "calls": ["snap_create"], "count": count, **more}
    product.simulator.control("faults", {"faults": [rule]})


def creates(product: Product) -> int:
    return int(product.simulator.view("ledger")["calls"].get("snap_create", 0))


def gateway_token(product: Product, page: dict[str, Any]) -> str:
    """The token the gateway would accept for this page."""
    return str(product.simulator.view("ledger")["orders"][page["provider_order_id"]]["token"])


def clicked(product: Product, order_id: str) -> httpx.Response:
    """A click by somebody who tries again as long as the answer says that this helps."""

    def click() -> httpx.Response | None:
        answer = product.pay(order_id)
        assert answer.is_success or answer.json()["retryable"], answer.text
        return answer if answer.is_success else None

    answer: httpx.Response = until(click, what="a page")
    return answer


def test_the_first_click_opens_a_page_and_the_next_ones_find_it(product: Product) -> None:
    order_id = product.order()
    first = product.pay(order_id)
    assert first.status_code == 201
    page = first.json()
    assert page.keys() == ANSWER_FIELDS
    assert (page["status"], page["provider"], page["amount"], page["currency"]) == (
        "pending",
        "midtrans",
        "100000",
        "IDR",
    )
    again = product.pay(order_id)
    assert (again.status_code, again.json()) == (200, page)
    assert gateway_token(product, page) == page["token"]


def test_fifty_clicks_at_once_open_one_page(product: Product) -> None:
    order_id = product.order()
    product.simulator.control("faults", {"faults": [{"kind": "latency", "ms": 400, "calls": ["snap_create"]}]})
    before = creates(product)
    answers = at_once(50, lambda _: product.pay(order_id))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["payment_url"] for answer in answers}) == 1
    assert creates(product) - before == 1


@pytest.mark.parametrize(
    ("kind", "more", "status", "code"),
    [
        ("server_error", {"status": 500}, 502, "gateway_error"),
        ("server_error", {"status": 503, "applied": True}, 502, "gateway_error"),
        ("html", {}, 502, "gateway_error"),
        ("html", {"applied": True}, 502, "gateway_error"),
        ("empty_body", {}, 502, "gateway_error"),
        ("empty_body", {"applied": True}, 502, "gateway_error"),
        ("error_in_200", {}, 502, "gateway_error"),
        ("rate_limit", {}, 502, "gateway_error"),
        ("timeout", {"hang_s": 3, "applied": False}, 504, "gateway_timeout"),
        ("timeout", {"hang_s": 3, "applied": True}, 504, "gateway_timeout"),
    ],
)
def test_after_an_opening_that_failed_the_next_click_succeeds(
    product: Product, kind: str, more: dict[str, Any], status: int, code: str
) -> None:
    """Nobody knows whether the gateway made the page; the same order id makes it the same page."""
    order_id = product.order()
    break_create(product, kind, **more)
    failed = problem(product.pay(order_id), status, code)
    assert failed["retryable"] is True
    page = product.pay(order_id)
    assert page.status_code == 201, page.text
    assert page.json()["provider_order_id"].endswith("-1p")
    assert payable_pages(product, page.json()["payment_id"]) == [page.json()["provider_order_id"]]
    assert gateway_token(product, page.json()) == page.json()["token"]


@pytest.mark.parametrize("applied", [True, False])
def test_after_a_connection_cut_in_the_middle_the_next_click_succeeds(product: Product, applied: bool) -> None:
    order_id = product.order()
    break_create(product, "cut", applied=applied)
    failed = product.pay(order_id)
    assert failed.status_code in {502, 504}
    assert problem(failed, failed.status_code)["retryable"] is True
    page = product.pay(order_id)
    assert page.status_code == 201
    assert payable_pages(product, page.json()["payment_id"]) == [page.json()["provider_order_id"]]


def test_a_page_whose_creation_was_repeated_is_made_once_more_at_the_next_click(product: Product) -> None:
    """A first call that arrives late would replace the token handed out; the last one made is the one that lives."""
    order_id = product.order()
    break_create(product, "cut", applied=True)
    product.pay(order_id)
    first = product.pay(order_id)
    assert first.status_code == 201
    second = product.pay(order_id)
    assert second.status_code == 200
    assert gateway_token(product, second.json()) == second.json()["token"]
    sent = creates(product)
    third = product.pay(order_id)
    assert (third.status_code, third.json()["payment_url"]) == (200, second.json()["payment_url"])
    assert creates(product) == sent
    assert gateway_token(product, third.json()) == third.json()["token"]


def test_clicks_at_once_on_a_gateway_that_fails_at_first_end_on_one_page(product: Product) -> None:
    order_id = product.order()
    break_create(product, "server_error", count=3, status=503, applied=True)
    answers = at_once(20, lambda _: clicked(product, order_id))
    product.simulator.control("faults", {})
    last = product.pay(order_id).json()
    assert gateway_token(product, last) == last["token"]
    assert {answer.json()["provider_order_id"] for answer in answers} == {last["provider_order_id"]}
    assert payable_pages(product, last["payment_id"]) == [last["provider_order_id"]]


def test_a_buyer_who_paid_on_a_page_we_never_heard_of_has_paid(product: Product) -> None:
    """The answer was lost, the page was made and paid: "already taken" must not open a second one."""
    order_id = product.order()
    break_create(product, "cut", applied=True)
    product.pay(order_id)
    payment_id = product.status(order_id)["payment_id"]
    product.buyer(f"{payment_id}-1p", "settlement", notify=False)

    def told() -> bool:
        answer = product.pay(order_id)
        assert answer.status_code in {409, 503}, answer.text
        return bool(answer.json()["code"] == "already_paid")

    until(told, what="409 already_paid")
    assert product.status(order_id)["status"] == "success"
    assert event_types(product, payment_id).count("order.paid") == 1
    assert len(payable_pages(product, payment_id)) <= 1


def test_a_page_we_never_heard_of_with_a_pending_transaction_is_ended_before_another_is_opened(
    product: Product,
) -> None:
    """Its token was lost with the answer and nobody holds its URL; what can still be paid is the virtual account."""
    order_id = product.order()
    break_create(product, "cut", applied=True)
    product.pay(order_id)
    payment_id = product.status(order_id)["payment_id"]
    product.buyer(f"{payment_id}-1p", "pending", payment_type="bank_transfer", bank="bca", notify=False)

    def transactions_alive() -> list[str]:
        ledger = product.simulator.view("ledger")["orders"]
        return [
            transaction["transaction_status"]
            for name, order in ledger.items()
            if name.startswith(payment_id)
            for transaction in order["transactions"]
            if transaction["transaction_status"] == "pending"
        ]

    for _ in range(5):
        answer = product.pay(order_id)
        assert answer.status_code in {200, 201, 409, 503}, answer.text
        if answer.is_success:
            assert transactions_alive() == []
            break
        assert answer.json()["retryable"] is True
        product.run("sweep", "--once")
    else:
        pytest.fail("no page could be opened again")


def test_other_methods_while_a_page_is_open_close_it_first(product: Product) -> None:
    order_id = product.order()
    first = product.pay(order_id, json={"methods": ["gopay"]}).json()
    answer = product.pay(order_id, json={"methods": ["bca_va"]})
    assert answer.status_code == 201, answer.text
    second = answer.json()
    assert second["provider_order_id"] == f"{first['payment_id']}-2p"
    assert payable_pages(product, first["payment_id"]) == [second["provider_order_id"]]


def test_other_methods_while_the_page_cannot_be_closed_are_refused_with_its_url(product: Product) -> None:
    order_id = product.order()
    first = product.pay(order_id, json={"methods": ["gopay"]}).json()
    product.simulator.control("faults", {"faults": [{"kind": "server_error", "calls": ["token_cancel"]}]})
    refused = product.pay(order_id, json={"methods": ["bca_va"]})
    assert problem(refused, 409, "page_still_payable")["payment_url"] == first["payment_url"]
    assert payable_pages(product, first["payment_id"]) == [first["provider_order_id"]]


@pytest.mark.parametrize("provider", ["stripe", "paypal"])
def test_a_gateway_without_keys_is_named_as_such(product: Product, provider: str) -> None:
    order_id = product.order()
    problem(product.pay(order_id, json={"provider": provider}), 422, "gateway_not_configured")
    assert product.pay(order_id).status_code == 201


def test_the_webhook_of_a_gateway_without_keys_is_not_there(product: Product) -> None:
    """404, and not 401: nothing here could ever prove its sender."""
    answer = product.client.post(f"{product.url}/api/webhooks/stripe/", json={"id": "evt_1"})
    problem(answer, 404, "gateway_not_configured")


@pytest.mark.parametrize("url", ["https://evil.example/", "javascript:alert(1)", "//evil.example", "", "http://["])
def test_a_return_to_an_origin_that_is_not_listed_is_refused(product: Product, url: str) -> None:
    """The gateway sends the buyer's browser there; anyone's address would make us a place to phish from."""
    answer = product.pay(product.order(), json={"return_url": url})
    assert answer.status_code in {400, 422}, answer.text
    lookalike = product.pay(product.order(), json={"return_url": f"{RETURN_ORIGIN}.evil.example/"})
    assert lookalike.status_code == 422
    userinfo = product.pay(product.order(), json={"return_url": f"{RETURN_ORIGIN}@evil.example/"})
    assert userinfo.status_code == 422


def test_a_return_to_a_listed_origin_is_taken(product: Product) -> None:
    assert product.pay(product.order(), json={"return_url": f"{RETURN_ORIGIN}/thanks?x=1"}).status_code == 201


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"methods": "gopay"}', b'{"methods": [1]}', b'{"x": 1}'])
def test_a_body_that_cannot_be_read_opens_nothing(product: Product, body: bytes) -> None:
    order_id, before = product.order(), creates(product)
    headers = {"Content-Type": "application/json"}
    problem(
        product.call("POST", f"/api/orders/{order_id}/pay/", as_=token("alice"), content=body, headers=headers), 400
    )
    assert creates(product) == before


def test_an_order_nobody_put_is_404(product: Product) -> None:
    problem(product.pay("nothing"), 404)


def test_a_paid_order_is_not_payable(product: Product) -> None:
    order_id = product.order()
    page = product.pay(order_id).json()
    product.buyer(page["provider_order_id"], "settlement")
    product.settled(order_id, "success")
    refused = problem(product.pay(order_id), 409, "already_paid")
    assert refused["retryable"] is False
    assert payment(product, page["payment_id"])["attempts"][0]["state"] == "spent"


def test_a_notification_signed_with_yesterdays_key_is_taken_during_a_rotation(product: Product) -> None:
    """The gateway repeats for hours what it signed before the key was changed."""
    order_id = product.order()
    page = product.pay(order_id).json()
    body = notification(product, product.buyer(page["provider_order_id"], "settlement", notify=False))
    problem(product.notify({**body, "signature_key": signature(body, "SB-Mid-server-the-day-before")}), 401)
    assert product.notify({**body, "signature_key": signature(body, YESTERDAYS_KEY)}).status_code == 200
    product.settled(order_id, "success")
