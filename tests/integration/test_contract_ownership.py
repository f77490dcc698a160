"""Who may do what: tokens, owners, scopes, on every route."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from harness.product import JWT_SECRET, Product, order_body, token
from harness.questions import operator, payment, problem

OTHER_SECRET = "another-secret-that-is-long-enough-for-hs256"
EVERY_SCOPE = "orders:read orders:write payments:read payments:write payments:operate"
CUSTOMERS_ROUTES = [
    ("GET", "/api/orders/{order}"),
    ("POST", "/api/orders/{order}/pay/"),
    ("GET", "/api/orders/{order}/payment-status/"),
]
SHOPS_ROUTES = [
    ("PUT", "/api/orders/{order}"),
    ("POST", "/api/orders/{order}/cancel"),
    ("PUT", "/api/stock/book"),
    ("GET", "/api/stock/book"),
]
OPERATORS_ROUTES = [
    ("GET", "/api/payments"),
    ("GET", "/api/payments/{payment}"),
    ("GET", "/api/payments/{payment}/events"),
]
ROUTES = [*CUSTOMERS_ROUTES, *SHOPS_ROUTES, *OPERATORS_ROUTES]
BODIES: dict[str, Any] = {"/api/orders/{order}": order_body(), "/api/stock/book": {"available": 5}}


@pytest.fixture(scope="module")
def alices(product: Product) -> dict[str, str]:
    """Her order, and the payment of its open page."""
    order_id = product.order(customer="alice")
    return {"order": order_id, "payment": product.pay(order_id).json()["payment_id"]}


def call(product: Product, route: tuple[str, str], alices: dict[str, str], as_: str | None, **options: Any) -> Any:
    method, path = route
    body = BODIES.get(path) if method == "PUT" else None
    return product.call(method, path.format(**alices), as_=as_, json=body, **options)


def encoded(part: object) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def handmade(header: object, claims: object, secret: str | None = JWT_SECRET) -> str:
    """A token made without a library, so that it may be a wrong one."""
    said = f"{encoded(header)}.{encoded(claims)}"
    digest = hmac.new((secret or "").encode(), said.encode(), hashlib.sha256).digest() if secret is not None else b""
    return f"{said}.{encoded(digest) if digest else ''}"


def claims(**changes: object) -> dict[str, object]:
    usual = {"sub": "alice", "aud": "payments-core", "exp": int(time.time()) + 600}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


HS256 = {"alg": "HS256", "typ": "JWT"}
BAD_TOKENS = {
    "words": "let-me-in",
    "empty parts": "..",
    "expired": handmade(HS256, claims(exp=int(time.time()) - 1)),
    "without expiry": handmade(HS256, claims(exp=None)),
    "expiry in words": handmade(HS256, claims(exp="tomorrow")),
    "endless expiry": handmade(HS256, b'{"sub": "alice", "aud": "payments-core", "exp": 1e999}'),
    "not yet valid": handmade(HS256, claims(nbf=int(time.time()) + 600)),
    "for another audience": handmade(HS256, claims(aud="another-service")),
    "for a list of others": handmade(HS256, claims(aud=["another-service"])),
    "for no audience": handmade(HS256, claims(aud=None)),
    "for nobody": handmade(HS256, claims(sub=None)),
    "for an empty name": handmade(HS256, claims(sub="")),
    "for a list": handmade(HS256, claims(sub=["alice"])),
    "by another secret": handmade(HS256, claims(), OTHER_SECRET),
    "by an empty secret": handmade(HS256, claims(), ""),
    "alg none": handmade({"alg": "none", "typ": "JWT"}, claims(), None),
    "alg None": handmade({"alg": "None"}, claims(), None),
    "alg none but signed": handmade({"alg": "none"}, claims()),
    "alg nOnE with role": handmade({"alg": "nOnE"}, claims(payments_role="operator", scope=EVERY_SCOPE), None),
    "no alg": handmade({"typ": "JWT"}, claims()),
    "alg RS256": handmade({"alg": "RS256"}, claims()),
    "alg HS384": handmade({"alg": "HS384"}, claims()),
    "claims are a list": handmade(HS256, []),
    "claims are deep": handmade(HS256, b"[" * 5000),
    "claims are not utf-8": handmade(HS256, b"\xff\xfe"),
    "unknown role": handmade(HS256, claims(payments_role="admin", scope=EVERY_SCOPE)),
    "very long": "a" * 60_000,
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_bad_token_opens_no_route(product: Product, alices: dict[str, str], kind: str) -> None:
    for route in ROUTES:
        answer = call(product, route, alices, BAD_TOKENS[kind])
        body = problem(answer, 401, "invalid_token")
        assert body["retryable"] is False
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header", [None, "", "Basic YWxpY2U6eA==", "Bearer", f"Token {token('alice')}", token("alice")]
)
def test_without_a_bearer_token_no_route_opens(product: Product, alices: dict[str, str], header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for route in ROUTES:
        problem(call(product, route, alices, None, headers=headers), 401, "invalid_token")


def test_a_token_in_the_query_or_a_cookie_counts_for_nothing(product: Product, alices: dict[str, str]) -> None:
    """Both end up in places where strangers read or send them."""
    path = f"/api/orders/{alices['order']}"
    for name in ("token", "access_token"):
        problem(product.call("GET", f"{path}?{name}={token('alice')}"), 401, "invalid_token")
        problem(product.call("GET", path, headers={"Cookie": f"{name}={token('alice')}"}), 401, "invalid_token")


def test_a_good_token_among_several_audiences_opens(product: Product, alices: dict[str, str]) -> None:
    both = handmade(HS256, claims(aud=["another-service", "payments-core"]))
    assert call(product, CUSTOMERS_ROUTES[0], alices, both).status_code == 200


@pytest.mark.parametrize("scope", [None, EVERY_SCOPE, EVERY_SCOPE.split()])
def test_another_customers_order_is_not_there(product: Product, alices: dict[str, str], scope: object) -> None:
    """404 on every route, and never 403: that somebody ordered is nobody's business. Scopes change nothing."""
    mallory = token("mallory", scope=scope)
    for route in (*CUSTOMERS_ROUTES, ("PUT", "/api/orders/{order}"), ("POST", "/api/orders/{order}/cancel")):
        theirs = call(product, route, alices, mallory)
        nobodys = call(product, route, {"order": "nothing"}, mallory)
        for answer in (theirs, nobodys):
            problem(answer, 404)
        assert theirs.json()["code"] == nobodys.json()["code"]
        assert theirs.json()["detail"] == nobodys.json()["detail"].replace("nothing", alices["order"])


def test_a_name_that_looks_like_the_owners_is_another_name(product: Product, alices: dict[str, str]) -> None:
    for name in ("Alice", "alice ", " alice", "al\u0456ce", "alice\n", "%61lice"):
        problem(call(product, CUSTOMERS_ROUTES[0], alices, token(name)), 404)


def test_a_customers_token_with_scopes_gains_nothing(product: Product, alices: dict[str, str]) -> None:
    alice = token("alice", scope=EVERY_SCOPE)
    before = product.available("book")
    for route in (*SHOPS_ROUTES, *OPERATORS_ROUTES):
        answer = call(product, route, alices, alice)
        problem(answer, answer.status_code)
        assert answer.status_code in {403, 404}, route
    assert call(product, CUSTOMERS_ROUTES[0], alices, alice).status_code == 200
    assert product.available("book") == before
    assert product.status(alices["order"])["status"] == "pending"


@pytest.mark.parametrize("role", ["service", "operator"])
def test_a_role_without_the_scope_of_a_route_is_refused(product: Product, alices: dict[str, str], role: str) -> None:
    needed = {
        CUSTOMERS_ROUTES[0]: "orders:read",
        CUSTOMERS_ROUTES[1]: "payments:write",
        CUSTOMERS_ROUTES[2]: "payments:read",
        **dict.fromkeys(OPERATORS_ROUTES, "payments:read"),
        **dict.fromkeys(SHOPS_ROUTES, "orders:write"),
    }
    for route, scope in needed.items():
        others = " ".join(word for word in EVERY_SCOPE.split() if word != scope)
        for lacking in (others, "", scope.upper(), f"{scope}x", scope.replace(" ", ",") + "," + others):
            answer = call(product, route, alices, token("alice", payments_role=role, scope=lacking))
            problem(answer, 403, "insufficient_scope")


def test_a_role_with_the_scope_reaches_every_customers_order(product: Product, alices: dict[str, str]) -> None:
    for (method, path), scope in zip(CUSTOMERS_ROUTES, ("orders:read", "payments:write", "payments:read"), strict=True):
        service = token("backend", payments_role="service", scope=scope)
        assert call(product, (method, path), alices, service).status_code == 200


def test_a_services_name_does_not_make_it_an_owner(product: Product, alices: dict[str, str]) -> None:
    """A role's rights come from its scope alone, also when its `sub` is a customer's id."""
    named_alice = token("alice", payments_role="service", scope="")
    for route in CUSTOMERS_ROUTES:
        problem(call(product, route, alices, named_alice), 403, "insufficient_scope")


@pytest.mark.parametrize("body", [b"{", b"[" * 10_000, b'{"x": 1}'])
def test_a_body_nobody_may_send_is_not_read(product: Product, alices: dict[str, str], body: bytes) -> None:
    """A stranger learns nothing of what a body should look like, and nothing of whose order it is."""
    for method, path in (("PUT", "/api/orders/{}"), ("POST", "/api/orders/{}/pay/"), ("PUT", "/api/stock/{}")):
        problem(product.call(method, path.format(alices["order"]), content=body), 401, "invalid_token")
        theirs, nobodys = (
            product.call(method, path.format(order), as_=token("mallory"), content=body)
            for order in (alices["order"], "nothing")
        )
        assert theirs.status_code == nobodys.status_code < 500, theirs.text


def test_who_clicked_is_in_the_history(product: Product, alices: dict[str, str]) -> None:
    answer = product.call("GET", f"/api/payments/{alices['payment']}/events", as_=operator())
    assert answer.json()["items"][0]["actor"] == "customer:alice"
    assert payment(product, alices["payment"])["order_id"] == alices["order"]
