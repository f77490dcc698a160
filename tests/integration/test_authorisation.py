"""Who may call what: every route of the OpenAPI document, with every kind of caller (G1, OWASP API1 and API5)."""

import base64
import json
import time
from typing import Any

import pytest

from harness.product import Product, token
from harness.questions import problem
from payments_core_app.tokens import SCOPES

pytestmark = pytest.mark.processes

OWNERS = "owner"
PUBLIC = "anyone"
ROUTES: dict[str, tuple[str, str | None]] = {
    # who beside a service with the scope; the scope
    "put /api/stock/{sku}": ("nobody", "orders:write"),
    "get /api/stock/{sku}": ("nobody", "orders:write"),
    "put /api/orders/{order_id}": ("nobody", "orders:write"),
    "get /api/orders/{order_id}": (OWNERS, "orders:read"),
    "post /api/orders/{order_id}/cancel": ("nobody", "orders:write"),
    "post /api/orders/{order_id}/pay": (OWNERS, "payments:write"),
    "get /api/orders/{order_id}/payment-status": (OWNERS, "payments:read"),
    "get /api/payments": ("nobody", "payments:read"),
    "get /api/payments/{payment_id}": ("nobody", "payments:read"),
    "get /api/payments/{payment_id}/events": ("nobody", "payments:read"),
    "post /api/payments/{payment_id}/refunds": ("nobody", "payments:operate"),
    "post /api/payments/{payment_id}/capture": ("nobody", "payments:operate"),
    "post /api/payments/{payment_id}/cancel": ("nobody", "payments:operate"),
    "post /api/payments/{payment_id}/approve": ("nobody", "payments:operate"),
    "post /api/payments/{payment_id}/deny": ("nobody", "payments:operate"),
    "post /api/payments/{payment_id}/refresh": ("nobody", "payments:operate"),
    "post /api/payments/{payment_id}/cases/{case_id}/resolve": ("nobody", "payments:operate"),
    "post /api/payments/{payment_id}/transfers": ("nobody", "payments:operate"),
    "post /api/webhooks/{provider}": (PUBLIC, None),
    "get /health/live": (PUBLIC, None),
    "get /health/ready": (PUBLIC, None),
    "get /metrics": (PUBLIC, None),
}
GUARDED = [route for route, (who, _) in ROUTES.items() if who != PUBLIC]


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(subject: str) -> str:
    """`alg: none`: whoever believes the header believes anybody."""
    claims = {
        "sub": subject,
        "aud": "payments-core",
        "exp": int(time.time()) + 3600,
        "payments_role": "operator",
        "scope": " ".join(SCOPES),
    }
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


EVERYTHING: dict[str, Any] = {"payments_role": "service", "scope": " ".join(SCOPES)}
NOT_LET_IN = {
    "no token": None,
    "an expired one": token("shop", exp=int(time.time()) - 60, **EVERYTHING),
    "one of another key": token("shop", secret="another-secret-that-is-long-enough!!", **EVERYTHING),
    "one for another audience": token("shop", aud="another-service", **EVERYTHING),
    "one without an end": token("shop", exp=None, **EVERYTHING),
    "an unsigned one": unsigned("shop"),
    "no token at all": "not.a.token",
}


@pytest.fixture(scope="module")
def described(product: Product) -> dict[str, Any]:
    return dict(product.call("GET", "/schema/openapi.json").raise_for_status().json())


@pytest.fixture
def alices(product: Product) -> dict[str, str]:
    """An order of Alice's with an open page, fresh for each route."""
    order_id, page = product.clicked()
    return {"order_id": order_id, "payment_id": page["payment_id"], "sku": "book", "case_id": "1"}


def call(product: Product, route: str, alices: dict[str, str], as_: str | None) -> Any:
    method, path = route.split(" ")
    body = {} if method in {"post", "put"} else None
    return product.call(method.upper(), path.format(**alices), as_=as_, json=body)


def test_every_route_of_the_description_is_in_this_table(described: dict[str, Any]) -> None:
    """A route somebody adds has to say here who may call it."""
    found = {f"{method} {path}" for path, methods in described["paths"].items() for method in methods}
    assert found == ROUTES.keys()
    for route, (who, _) in ROUTES.items():
        method, path = route.split(" ")
        assert bool(described["paths"][path][method].get("security")) is (who != PUBLIC), route


@pytest.mark.parametrize("route", GUARDED)
def test_without_a_good_token_nothing_opens(product: Product, alices: dict[str, str], route: str) -> None:
    for kind, encoded in NOT_LET_IN.items():
        assert problem(call(product, route, alices, encoded), 401)["code"] == "invalid_token", kind


@pytest.mark.parametrize("route", GUARDED)
def test_another_customer_learns_nothing(product: Product, alices: dict[str, str], route: str) -> None:
    """Of an order 404, as of one that is not there; of what no customer may, 403. Scopes change nothing."""
    expected = 404 if "{order_id}" in route else 403
    for encoded in (token("mallory"), token("mallory", scope=" ".join(SCOPES))):
        problem(call(product, route, alices, encoded), expected)


@pytest.mark.parametrize("route", GUARDED)
def test_the_owner_reaches_her_order_and_nothing_else(product: Product, alices: dict[str, str], route: str) -> None:
    for encoded in (token("alice"), token("alice", scope=" ".join(SCOPES))):
        answer = call(product, route, alices, encoded)
        if ROUTES[route][0] == OWNERS:
            assert answer.is_success, answer.text
        else:
            assert problem(answer, 403)["code"] == "insufficient_scope"


@pytest.mark.parametrize("role", ["service", "operator"])
@pytest.mark.parametrize("route", GUARDED)
def test_a_role_needs_the_scope_of_the_route(product: Product, alices: dict[str, str], route: str, role: str) -> None:
    for scope in ("", *SCOPES):
        answer = call(product, route, alices, token("somebody", payments_role=role, scope=scope))
        if scope == ROUTES[route][1]:
            assert answer.status_code not in {401, 403}, (scope, answer.text)
        else:
            assert problem(answer, 403)["code"] == "insufficient_scope", scope


@pytest.mark.parametrize("role", ["admin", "customer", "", 1, None, ["service"]])
def test_a_role_nobody_knows_is_no_role(product: Product, alices: dict[str, str], role: object) -> None:
    encoded = token("alice", payments_role=role, scope=" ".join(SCOPES))
    answer = call(product, "get /api/payments", alices, encoded)
    problem(answer, 403 if role is None else 401)
