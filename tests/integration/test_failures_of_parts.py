"""Parts fail one at a time: the answer is clear, the wait bounded, nothing is lost, and it comes back by itself."""

import resource
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from harness import outage
from harness.midtrans import notification, raw
from harness.postgres import PostgresCluster
from harness.product import Product, order_body, running_product, token, until
from harness.questions import at_once, event_types, problem
from payments_core_app.tokens import SCOPES

pytestmark = pytest.mark.processes

ALL = " ".join(SCOPES)
WITHOUT_DATABASE = {("get", "/health/live"), ("get", "/metrics")}
BODIES: dict[tuple[str, str], Any] = {
    ("put", "/api/stock/{sku}"): {"available": 5},
    ("put", "/api/orders/{order_id}"): order_body(),
    ("post", "/api/payments/{payment_id}/transfers"): {
        "reference": "r-1",
        "amount": "1000",
        "bank_reference": "booking-1",
    },
    ("post", "/api/payments/{payment_id}/refunds"): {},
    ("post", "/api/payments/{payment_id}/capture"): {},
    ("post", "/api/payments/{payment_id}/cases/{case_id}/resolve"): {"decision": "dismiss", "note": "seen"},
}


# ── the database ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    """A server of this module's own, to be taken away."""
    with (
        tempfile.TemporaryDirectory(prefix="parts-", ignore_cleanup_errors=True) as folder,
        PostgresCluster.running(Path(folder)) as running,
    ):
        yield running


@pytest.mark.postgres
def test_without_its_database_every_route_says_503_and_works_again_by_itself(
    cluster: PostgresCluster, tmp_path: Path
) -> None:
    """Each route of the API's own description; the client's patience is the bound on every wait (B8)."""
    with running_product(cluster.create_database(), tmp_path) as product:
        order_id, page = product.clicked()
        paid = product.buyer(page["provider_order_id"], "settlement", notify=False)
        told = raw(notification(product, paid))
        routes = described(product)
        assert len(routes) >= 19
        other, other_page = product.clicked()
        assert all(ask(product, route, other, other_page, b"{}").status_code != 503 for route in routes)
        outage.stop(cluster)
        try:
            took = {}
            for route in routes:
                answer = ask(product, route, order_id, page, told)
                took[route] = answer.elapsed.total_seconds()
                assert problem(answer, 503)["retryable"] is True, route
                assert int(answer.headers["retry-after"]) > 0
            print(f"503 after at most {max(took.values()):.2f} s over {len(routes)} routes")
            assert product.call("GET", "/health/live").is_success
        finally:
            outage.start(cluster)
        until(lambda: product.call("GET", "/health/ready").is_success, what="ready again")
        until(lambda: product.notify(told).status_code == 200, what="the notification, sent again, is taken")
        product.settled(order_id, "success")
        assert event_types(product, page["payment_id"]).count("order.paid") == 1


def described(product: Product) -> list[tuple[str, str]]:
    """Every route that needs the database, from the OpenAPI document."""
    paths = product.call("GET", "/schema/openapi.json").json()["paths"]
    routes = {(method, path) for path, methods in paths.items() for method in methods}
    return sorted(routes - WITHOUT_DATABASE)


def ask(product: Product, route: tuple[str, str], order_id: str, page: dict[str, Any], told: bytes) -> httpx.Response:
    """One request to this route, as somebody who may do everything."""
    method, path = route
    if "webhooks" in path:
        return product.notify(told)
    values = {"sku": "spare", "order_id": order_id, "payment_id": page["payment_id"], "case_id": "1"}
    role = "operator" if "payments:operate" in ALL and "/api/payments" in path else "service"
    anybody = token("anybody", payments_role=role, scope=ALL)
    headers = {"Idempotency-Key": f"k-{len(path)}"} if method == "post" else {}
    return product.call(
        method.upper(), path.format(**values), as_=anybody, json=BODIES.get(route), headers=headers, timeout=10
    )


# ── the gateway ───────────────────────────────────────────────────────────────────────────────────────────────────────
BROKEN: dict[str, dict[str, Any]] = {
    "down": {"kind": "cut"},
    "silent": {"kind": "timeout", "hang_s": 600, "applied": False},
    "slow": {"kind": "latency", "ms": 600_000},
    "failing": {"kind": "server_error"},
    "HTML": {"kind": "html"},
    "empty": {"kind": "empty_body"},
    "an error inside 200": {"kind": "error_in_200"},
    "limiting": {"kind": "rate_limit"},
}
THREADS = 4
CONNECTIONS = 6
"""SQLite's one writer and five readers have a thread each, made when they are first needed."""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product that waits a second for the gateway, in four threads."""
    folder = tmp_path_factory.mktemp("impatient")
    url = f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}"
    with running_product(url, folder, MIDTRANS_TIMEOUT_SECONDS="1", MIDTRANS_THREADS=str(THREADS)) as running:
        yield running


def threads(product: Product) -> int:
    return int(psutil.Process(product.servers[0].process.pid).num_threads())


@pytest.mark.parametrize("how", BROKEN)
def test_a_gateway_that_fails_is_not_waited_for_and_piles_nothing_up(impatient: Product, how: str) -> None:
    """Five times as many buyers as threads click at once; each is told to try again, and then can."""
    product = impatient
    orders = [product.order() for _ in range(5 * THREADS)]
    most = threads(product) + THREADS + CONNECTIONS
    product.simulator.control("faults", {"faults": [BROKEN[how]]})
    try:
        clicks = at_once(len(orders), lambda number: product.pay(orders[number]))
        assert {click.status_code for click in clicks} <= {502, 503, 504}, [click.text for click in clicks]
        assert all(problem(click, click.status_code)["retryable"] for click in clicks)
        assert threads(product) <= most
    finally:
        product.simulator.control("faults", {})
    again = at_once(
        len(orders),
        lambda number: until(lambda: page_of(product.pay(orders[number])), seconds=60, what="a page"),
    )
    assert len({page["provider_order_id"] for page in again}) == len(orders)
    assert threads(product) <= most


def page_of(answer: httpx.Response) -> dict[str, Any] | None:
    return dict(answer.json()) if answer.is_success else None


# ── the disk, and the file ────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def on_a_file(tmp_path: Path) -> Iterator[Product]:
    with running_product(f"sqlite+aiosqlite:///{tmp_path / 'payments.sqlite3'}", tmp_path) as running:
        yield running


def test_on_a_full_disk_nothing_is_promised_and_nothing_is_lost(on_a_file: Product) -> None:
    """The kernel lets no file of the server grow any more, as a full disk does; then there is room again."""
    product = on_a_file
    order_id, page = product.clicked()
    told = raw(notification(product, product.buyer(page["provider_order_id"], "settlement", notify=False)))
    pid = product.servers[0].process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    log = product.folder / "payments.sqlite3-wal"
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        for number in range(3):
            refused = product.call("PUT", f"/api/orders/full-{number}", as_=product.shop, json=order_body())
            assert problem(refused, 503)["retryable"] is True
        refused = product.notify(told)
        assert problem(refused, 503)["code"] == "storage_unavailable"
        assert int(refused.headers["retry-after"]) > 0
        assert product.status(order_id)["status"] == "pending", "what is there can be read"
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    until(lambda: product.notify(told).status_code == 200, what="the notification, sent again, is taken")
    product.settled(order_id, "success")
    assert event_types(product, page["payment_id"]).count("order.paid") == 1
    assert product.run("verify").returncode == 0


def test_while_another_process_holds_the_file_nothing_is_promised_and_nothing_is_lost(on_a_file: Product) -> None:
    """A backup or a forgotten shell with a transaction open: SQLite has one writer, and it is somebody else."""
    product = on_a_file
    order_id, page = product.clicked()
    told = raw(notification(product, product.buyer(page["provider_order_id"], "settlement", notify=False)))
    with closing(sqlite3.connect(product.folder / "payments.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = product.notify(told)
        assert problem(refused, 503)["retryable"] is True
        assert product.status(order_id)["status"] == "pending", "readers are apart"
        other.execute("ROLLBACK")
    until(lambda: product.notify(told).status_code == 200, what="the notification, sent again, is taken")
    product.settled(order_id, "success")
    assert event_types(product, page["payment_id"]).count("order.paid") == 1
