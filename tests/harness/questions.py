"""What tests ask the product again and again."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx

from harness.product import Product, token

Result = TypeVar("Result")
_PROBLEM = {"type", "title", "status", "detail", "code", "request_id", "retryable"}


def problem(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The answer is this error, said as RFC 9457 problem details; without a code, any stable one."""
    assert answer.status_code == status, answer.text[:400]
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    body = dict(answer.json())
    assert body.keys() >= _PROBLEM
    assert (body["status"], body["code"]) == (status, code or body["code"]), answer.text[:400]
    assert re.fullmatch(r"[a-z][a-z0-9_]+", body["code"])
    assert isinstance(body["retryable"], bool)
    assert body["request_id"]
    assert body["detail"]
    return body


def operator() -> str:
    """The token of a person who may look at payments."""
    return token("olivia", payments_role="operator", scope="payments:read payments:operate orders:read")


def payment(product: Product, payment_id: str) -> dict[str, Any]:
    """Everything the API says of a payment."""
    return dict(product.call("GET", f"/api/payments/{payment_id}", as_=operator()).raise_for_status().json())


def events(product: Product, payment_id: str) -> list[dict[str, Any]]:
    """The history of a payment, oldest first."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = product.call("GET", f"/api/payments/{payment_id}/events{cursor}", as_=operator())
        page = answer.raise_for_status().json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = f"?cursor={page['next_cursor']}"


def event_types(product: Product, payment_id: str) -> list[str]:
    """The types of its events, oldest first."""
    return [str(event["type"]) for event in events(product, payment_id)]


def order_status(product: Product, order_id: str) -> str:
    """What the shop sees."""
    answer = product.call("GET", f"/api/orders/{order_id}", as_=product.shop)
    return str(answer.raise_for_status().json()["status"])


def cancel(product: Product, order_id: str) -> httpx.Response:
    """The shop gives the order up."""
    return product.call("POST", f"/api/orders/{order_id}/cancel", as_=product.shop)


def put_order(product: Product, order_id: str, body: object) -> httpx.Response:
    """The shop says what the order is: a value as JSON, or bytes as they are."""
    path = f"/api/orders/{order_id}"
    if isinstance(body, bytes):
        return product.call("PUT", path, as_=product.shop, content=body, headers={"Content-Type": "application/json"})
    return product.call("PUT", path, as_=product.shop, json=body)


def payable_pages(product: Product, payment_id: str) -> list[str]:
    """The provider order ids of this payment whose page the gateway would still let a buyer pay on."""
    orders = product.simulator.view("ledger")["orders"]
    return [name for name, order in orders.items() if name.startswith(payment_id) and order["page"] == "open"]


def at_once(count: int, call: Callable[[int], Result]) -> list[Result]:
    """The results of so many calls made at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))
