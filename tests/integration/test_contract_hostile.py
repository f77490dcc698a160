"""What a nasty caller may send to any route: never a fault of ours, never a hang, never more than was asked."""

import itertools
import json
import secrets
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from harness.product import Product, order_body, running_product, token
from harness.questions import operator, problem, put_order

NASTY_IDS = [
    "%00",
    "%0a",
    "%0d%0aSet-Cookie:%20a=b",
    "%ff%fe",
    "%F0%9F%92%A9",
    "..%2f..%2fetc%2fpasswd",
    "'%20or%201=1--",
    "%22%3E%3Cscript%3E",
    "%7B%7B7*7%7D%7D",
    "x" * 4000,
    "-1",
    "null",
    "%20",
    "a%2fb",
    "%25s%25n",
    "9" * 400,
]
DEEP = {"list": b"[" * 10_000, "mapping": b'{"a":' * 10_000, "closed": b"[" * 10_000 + b"]" * 10_000}


@pytest.fixture(scope="module", params=[pytest.param("sqlite"), pytest.param("postgres", marks=[pytest.mark.postgres])])
def product(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """On both databases: what one stores without a word the other refuses (a NUL, a huge number)."""
    folder = tmp_path_factory.mktemp("hostile")
    url = f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").create_database()
    with running_product(url, folder) as running:
        yield running


def call(product: Product, method: str, path: str, as_: str, body: bytes | None = None) -> int:
    """The status of a call that must not be a fault of ours."""
    answer = product.call(method, path, as_=as_, content=body)
    assert answer.status_code < 500, f"{method} {path[:80]} {(body or b'')[:80]!r}: {answer.text[:300]}"
    if answer.status_code >= 400 and method != "HEAD":
        problem(answer, answer.status_code)
    return answer.status_code


@pytest.mark.parametrize("kind", DEEP)
def test_json_of_ten_thousand_levels_is_refused(product: Product, kind: str) -> None:
    """B9: one such body must not be a fault, whoever sends it and wherever."""
    order_id = product.order()
    alice = token("alice")
    for method, path, as_ in (
        ("PUT", f"/api/orders/{order_id}", product.shop),
        ("PUT", "/api/stock/book", product.shop),
        ("POST", f"/api/orders/{order_id}/pay/", alice),
        ("POST", "/api/webhooks/midtrans/", alice),
    ):
        assert call(product, method, path, as_, DEEP[kind]) == 400


@pytest.mark.parametrize("end", ["/a\0b", "/a\r\nb", "/a b", "/\ud800"])
def test_a_return_url_with_what_no_url_holds_is_refused(product: Product, end: str) -> None:
    order_id = product.order()
    wish = json.dumps({"return_url": f"{product.url}{end}"}).encode()
    assert 400 <= call(product, "POST", f"/api/orders/{order_id}/pay/", token("alice"), wish) < 500


def test_no_name_is_too_long_for_an_idempotency_key(product: Product) -> None:
    """It is the name of nothing, and that is what is said."""
    long = "x" * 500
    for path in (f"/api/orders/{long}/pay/", f"/api/payments/{long}/refunds", f"/api/payments/{long}/capture"):
        answer = product.call("POST", path, as_=operator(), json={}, headers={"Idempotency-Key": "k-1"})
        assert problem(answer, answer.status_code)["status"] in {403, 404}, path


def test_stock_has_no_sku_that_no_order_could_name(product: Product) -> None:
    assert call(product, "PUT", f"/api/stock/{'x' * 51}", product.shop, b'{"available": 1}') == 400


def test_json_whose_text_is_no_utf_8_is_refused(product: Product) -> None:
    for method, path in (("PUT", f"/api/orders/o-{secrets.token_hex(4)}"), ("PUT", "/api/stock/book")):
        assert call(product, method, path, product.shop, b'{"customer": "\xff"}') == 400


@pytest.mark.parametrize("literal", ["1e309", "-1e309", "NaN", "Infinity", "9" * 4400, "1" + "0" * 400])
def test_numbers_beyond_reason_are_refused(product: Product, literal: str) -> None:
    body = json.dumps(order_body(discount="@")).replace('"@"', literal).encode()
    assert 400 <= call(product, "PUT", f"/api/orders/o-{secrets.token_hex(4)}", product.shop, body) < 500
    stock = b'{"available": ' + literal.encode() + b"}"
    assert 400 <= call(product, "PUT", "/api/stock/x", product.shop, stock) < 500


@pytest.mark.parametrize("text", ["\0", "\ud800", "\u202e", "\x1b[2J", "a\r\nb", "\uffff", "\U0010ffff", "%s%n"])
def test_letters_beyond_reason_are_refused_or_kept_as_they_are(product: Product, text: str) -> None:
    """A NUL is no letter of PostgreSQL's, half a surrogate pair is no letter at all."""
    shipping = {"cost": "1", "name": "A", "address": "B", "city": "C", "postal_code": "1"}
    bodies = [
        order_body(items=[{"sku": f"x{text}", "name": "x", "price": 1, "quantity": 1, "track_stock": False}]),
        order_body(items=[{"sku": "book", "name": f"x{text}", "price": 1, "quantity": 1}]),
        order_body(items=[{"sku": "book", "name": "x", "variant": f"x{text}", "price": 1, "quantity": 1}]),
        order_body() | {"customer": {"id": f"x{text}", "name": "x", "email": "x@example.com"}},
        order_body() | {"customer": {"id": "alice", "name": f"x{text}", "email": "x@example.com"}},
        order_body() | {"customer": {"id": "alice", "name": "x", "email": f"x{text}@example.com"}},
        order_body() | {"customer": {"id": "alice", "name": "x", "email": "x@example.com", "phone": f"1{text}"}},
        *(order_body(shipping={**shipping, field: f"1{text}"}) for field in ("name", "address", "city", "postal_code")),
        order_body(currency=text),
    ]
    for body in bodies:
        order_id = f"o-{secrets.token_hex(4)}"
        if call(product, "PUT", f"/api/orders/{order_id}", product.shop, json.dumps(body).encode()) == 201:
            owner = body["customer"]["id"]
            assert product.call("GET", f"/api/orders/{order_id}", as_=product.shop).json()["id"] == order_id
            assert product.call("POST", f"/api/orders/{order_id}/pay/", as_=token(owner)).status_code in {201, 422}


@pytest.mark.parametrize("nasty", NASTY_IDS)
def test_ids_that_are_none_are_answered_politely(product: Product, nasty: str) -> None:
    for method, path, as_ in (
        ("GET", f"/api/orders/{nasty}", product.shop),
        ("GET", f"/api/orders/{nasty}", token("alice")),
        ("PUT", f"/api/orders/{nasty}", product.shop),
        ("POST", f"/api/orders/{nasty}/pay/", token("alice")),
        ("GET", f"/api/orders/{nasty}/payment-status/?wait=0", token("alice")),
        ("POST", f"/api/orders/{nasty}/cancel", product.shop),
        ("GET", f"/api/stock/{nasty}", product.shop),
        ("GET", f"/api/payments/{nasty}", operator()),
        ("GET", f"/api/payments/{nasty}/events", operator()),
        ("POST", f"/api/webhooks/{nasty}/", product.shop),
        ("GET", f"/{nasty}", product.shop),
        ("GET", f"/pages/{nasty}", product.shop),
    ):
        assert call(product, method, path, as_, b"{}" if method == "PUT" else None) >= 400


@pytest.mark.parametrize("nasty", NASTY_IDS)
def test_questions_that_are_none_are_answered_politely(product: Product, nasty: str) -> None:
    page = product.pay(product.order()).json()
    for name in ("cursor", "status", "provider", "order", "from", "to", "needs_review", "limit", nasty):
        call(product, "GET", f"/api/payments?{name}={nasty}", operator())
    for name in ("cursor", "limit"):
        call(product, "GET", f"/api/payments/{page['payment_id']}/events?{name}={nasty}", operator())


def test_a_name_in_a_token_that_no_database_stores_is_answered_politely(product: Product) -> None:
    order_id = product.order()
    nobody = ("a\0b", "\0", "\ud800", "x" * 3000)
    for name in (*nobody, "\u202e", "x" * 255, "' or 1=1 --"):
        for method, path in (("GET", ""), ("POST", "/pay/"), ("GET", "/payment-status/")):
            assert call(product, method, f"/api/orders/{order_id}{path}", token(name)) == (
                401 if name in nobody else 404
            )
    service = token("a\0b", payments_role="service", scope="orders:write orders:read payments:write")
    assert (
        call(product, "PUT", f"/api/orders/o-{secrets.token_hex(4)}", service, json.dumps(order_body()).encode()) < 500
    )
    assert call(product, "POST", f"/api/orders/{order_id}/pay/", service) < 500
    assert call(product, "POST", f"/api/orders/{order_id}/cancel", service) < 500


def test_return_urls_that_are_none_are_answered_politely(product: Product) -> None:
    order_id = product.order()
    for url in (
        "http://[",
        "http://[::1",
        "http://a:99999999/",
        "http://\0/",
        "\ud83d",
        "https://" + "a" * 5000,
        "\\\\x",
        "data:,",
    ):
        body = json.dumps({"return_url": url}).encode()
        assert call(product, "POST", f"/api/orders/{order_id}/pay/", token("alice"), body) in {400, 422}


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data", ";", "\xff"]
)
def test_a_wrong_content_type_is_no_fault_of_ours(product: Product, kind: str) -> None:
    headers = {"Content-Type": kind.encode("latin-1")}
    for body in (b"", b"a=b", b"\x00\x01", json.dumps(order_body()).encode()):
        for method, path in (("PUT", f"/api/orders/o-{secrets.token_hex(4)}"), ("POST", "/api/webhooks/midtrans/")):
            answer = product.call(method, path, as_=product.shop, content=body, headers=headers)
            assert answer.status_code < 500, answer.text


def test_verbs_a_route_does_not_take_are_refused(product: Product) -> None:
    paths = (
        "/api/orders/x",
        "/api/orders/x/pay/",
        "/api/payments",
        "/api/webhooks/midtrans/",
        "/health/live",
        "/console",
    )
    for verb, path in itertools.product(("HEAD", "OPTIONS", "PATCH", "DELETE", "TRACE", "BREW"), paths):
        answer = product.call(verb, path, as_=product.shop)
        assert answer.status_code in {200, 204, 400, 404, 405, 501}, f"{verb} {path}: {answer.status_code}"
        assert "access-control-allow-origin" not in answer.headers


def test_a_header_cannot_be_smuggled_through_a_request_id(product: Product) -> None:
    for said in ("a" * 5000, "x y", "<script>", "\u00e9".encode("latin-1").decode("latin-1"), "a,b"):
        answer = product.call("GET", "/api/orders/x", headers={"X-Request-Id": said.encode("latin-1")})
        echoed = answer.headers["x-request-id"]
        assert len(echoed) <= 200
        assert answer.json()["request_id"] == echoed
        assert "<" not in echoed


RAW_REQUESTS = [
    b"GET /health/live HTTP/1.1\r\n\r\n",
    b"GET /health/live HTTP/9.9\r\nHost: x\r\n\r\n",
    b"POST /api/webhooks/midtrans/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /api/webhooks/midtrans/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(5000)) + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 1000,
    b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
]


@pytest.mark.parametrize("sent", RAW_REQUESTS, ids=range(len(RAW_REQUESTS)))
def test_what_is_no_http_is_dropped_and_the_server_lives_on(product: Product, sent: bytes) -> None:
    address = urlsplit(product.url)
    assert address.hostname
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = connection.recv(64)
    assert b" 500 " not in received
    assert product.call("GET", "/health/ready").is_success


def test_a_key_that_stands_twice_does_not_change_what_is_owed_unseen(product: Product) -> None:
    """Two readers of one body may read two amounts; here the answer says which one counts."""
    order_id = f"o-{secrets.token_hex(4)}"
    body = json.dumps(order_body(discount="1")).encode()[:-1] + b', "discount": "99999"}'
    answer = put_order(product, order_id, body)
    assert answer.status_code in {201, 400}
    if answer.status_code == 201:
        assert answer.json()["total"] in {"99999", "1"}
        assert product.pay(order_id).json()["amount"] == answer.json()["total"]
