"""What anyone may open: health, the API's description, pages for people."""

import re
from typing import Any

import httpx
import pytest

from harness.product import Product, token
from harness.questions import problem

CALLS = {
    ("PUT", "/api/stock/{sku}"),
    ("GET", "/api/stock/{sku}"),
    ("PUT", "/api/orders/{order_id}"),
    ("GET", "/api/orders/{order_id}"),
    ("POST", "/api/orders/{order_id}/cancel"),
    ("POST", "/api/orders/{order_id}/pay"),
    ("GET", "/api/orders/{order_id}/payment-status"),
    ("GET", "/api/payments"),
    ("GET", "/api/payments/{payment_id}"),
    ("GET", "/api/payments/{payment_id}/events"),
}
PAGES = ["/docs", "/console", "/shop"]


@pytest.fixture(scope="module")
def described(product: Product) -> dict[str, Any]:
    return dict(product.call("GET", "/schema/openapi.json").raise_for_status().json())


def policy(answer: httpx.Response) -> dict[str, str]:
    """The directives of its Content-Security-Policy."""
    parts = (part.strip().partition(" ") for part in answer.headers["content-security-policy"].split(";"))
    return {name: sources for name, _, sources in parts if name}


def test_health_is_anyones_to_ask(product: Product) -> None:
    assert product.call("GET", "/health/live").json()["status"] == "ok"
    assert product.call("GET", "/health/ready").json()["status"] == "ok"


def test_metrics_are_written_for_prometheus_and_name_no_secret(product: Product) -> None:
    metrics = product.call("GET", "/metrics")
    assert metrics.status_code == 200
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "# TYPE" in metrics.text
    assert product.environment["MIDTRANS_SERVER_KEY"] not in metrics.text


def test_the_description_names_every_call(described: dict[str, Any]) -> None:
    spelled = {(method.upper(), path.rstrip("/")) for path, item in described["paths"].items() for method in item}
    assert spelled >= CALLS
    assert any(path.startswith("/api/webhooks/") for _, path in spelled)


def test_the_description_names_the_answers_that_calls_give(described: dict[str, Any]) -> None:
    """A client generated from the description must not stumble over a success it was not told of."""
    expected = {
        ("put", "/api/orders/{order_id}"): {"200", "201", "400", "401", "403", "404", "409", "422"},
        ("post", "/api/orders/{order_id}/pay"): {"200", "201", "401", "404", "409", "422", "502", "503", "504"},
        ("post", "/api/orders/{order_id}/cancel"): {"200", "202", "401", "404", "409"},
        ("get", "/api/orders/{order_id}/payment-status"): {"200", "401", "404"},
    }
    missing = {
        f"{method} {path}": sorted(codes - described["paths"][path][method]["responses"].keys())
        for (method, path), codes in expected.items()
        if codes - described["paths"][path][method]["responses"].keys()
    }
    assert not missing


def test_errors_are_described_as_problems(described: dict[str, Any]) -> None:
    answers = described["paths"]["/api/orders/{order_id}/pay"]["post"]["responses"]
    assert "application/problem+json" in answers["409"]["content"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_its_own_scripts_and_no_others(product: Product, path: str) -> None:
    """A page that holds a token must not be a place where strangers' scripts run, nor a frame in their pages."""
    answer = product.call("GET", path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["x-content-type-options"] == "nosniff"
    directives = policy(answer)
    assert directives["default-src"] in {"'none'", "'self'"}
    assert directives.get("frame-ancestors") == "'none'"
    assert directives.get("base-uri") == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "*" not in answer.headers["content-security-policy"]
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", PAGES)
def test_a_page_keeps_its_own_policy(product: Product, path: str) -> None:
    """Inline scripts, styles and handlers would be refused by the browser; everything named must be there."""
    html = product.call("GET", path).text
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
    named = re.findall(r"(?:src|href)=\"([^\"#]+)\"", html)
    assert named
    for reference in named:
        assert reference.startswith("/"), "everything is served from here"
        found = product.call("GET", reference)
        assert found.status_code == 200, reference
        assert found.headers["x-content-type-options"] == "nosniff"


def test_no_file_of_the_server_can_be_reached_beside_the_pages(product: Product) -> None:
    for path in ("/pages/../http/app.py", "/pages/%2e%2e/settings.py", "/pages/..%2fsettings.py", "/pages//etc/passwd"):
        answer = product.client.get(product.url + path)
        assert answer.status_code in {400, 404}, path


def test_a_path_that_does_not_exist_is_a_problem(product: Product) -> None:
    for path in ("/", "/api", "/api/nothing", "/api/orders", "/api/orders/a/b", "/console/../x"):
        problem(product.call("GET", path, as_=product.shop), 404, "not_found")


def test_a_verb_a_path_does_not_take_is_a_problem(product: Product) -> None:
    answer = product.call("DELETE", "/api/orders/x")
    assert {"GET", "PUT"} <= set(answer.headers["allow"].split(", "))
    problem(product.call("DELETE", "/api/orders/a", as_=product.shop), 405)
    problem(product.call("GET", "/api/webhooks/midtrans/"), 405)


def test_every_answer_has_a_request_id_and_is_not_cached(product: Product) -> None:
    order_id = product.order()
    for path in ("/api/orders/nothing", f"/api/orders/{order_id}", "/api/payments/x"):
        answer = product.call("GET", path, as_=token("alice"))
        assert answer.headers["x-request-id"]
        assert answer.headers.get("cache-control") == "no-store"


def test_answers_allow_no_other_origin(product: Product) -> None:
    answer = product.call("GET", "/health/live", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
