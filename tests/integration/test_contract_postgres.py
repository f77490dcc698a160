"""The same product on PostgreSQL: two server processes, a worker of its own, a database that goes away."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness import outage
from harness.clock import ahead, sweep_later
from harness.midtrans import notification, raw
from harness.postgres import PostgresCluster
from harness.product import Product, payments, running_product, token, until
from harness.questions import at_once, cancel, event_types, order_status, payable_pages, problem

pytestmark = [pytest.mark.postgres, pytest.mark.processes, pytest.mark.usefixtures("healthy_gateway")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    """A server of this module's own, to be killed."""
    with (
        tempfile.TemporaryDirectory(prefix="outage-", ignore_cleanup_errors=True) as folder,
        PostgresCluster.running(Path(folder)) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def product(cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """`payments serve --workers 2`."""
    folder = tmp_path_factory.mktemp("pg")
    with running_product(cluster.create_database(), folder, "--workers", "2") as running:
        yield running


def test_an_order_gets_paid(product: Product) -> None:
    order_id = product.order()
    before = product.available("book")
    page = product.pay(order_id)
    assert page.status_code == 201
    assert product.pay(order_id).json() == page.json()
    product.buyer(page.json()["provider_order_id"], "settlement")
    assert product.settled(order_id, "success")["method"] == "gopay"
    assert order_status(product, order_id) == "paid"
    assert product.available("book") == before
    history = event_types(product, page.json()["payment_id"])
    assert [history.count(kind) for kind in ("payment.paid", "order.paid", "stock.consumed")] == [1, 1, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux deals connections out among listeners")
def test_connections_are_dealt_out_among_the_server_processes(product: Product) -> None:
    """Of one listener for all, whichever process is awake would take every connection that waits."""
    until(lambda: len(server_processes(product)) == 2, what="both server processes listen")
    before = {pid: sockets_of(pid) for pid in server_processes(product)}
    port = int(product.url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: shop\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        more = [sockets_of(pid) - count for pid, count in before.items()]
    assert min(more) >= 10, more


def server_processes(product: Product) -> list[int]:
    """The processes under the supervisor that listen."""
    mine = Path(f"/proc/{product.servers[0].process.pid}/task/{product.servers[0].process.pid}/children").read_text()
    return [int(pid) for pid in mine.split() if listens(int(pid))]


def listens(pid: int) -> bool:
    listening = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line}
    return any(f"socket:[{inode}]" in names_of(pid) for inode in listening)


def names_of(pid: int) -> list[str]:
    names = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            names.append(str(descriptor.readlink()))
    return names


def sockets_of(pid: int) -> int:
    return sum(name.startswith("socket:") for name in names_of(pid))


def test_two_migrations_at_once_leave_a_whole_schema(cluster: PostgresCluster, product: Product) -> None:
    """Two replicas of a deployment start together; one may have to try again, none may break the other's work."""
    environment = {**product.environment, "PAYMENTS_DATABASE_URL": cluster.create_database()}
    done = at_once(2, lambda _: payments("migrate", environment=environment, cwd=product.folder))
    assert 0 in {one.returncode for one in done}
    assert all("Traceback" not in one.stderr for one in done)
    assert payments("migrate", environment=environment, cwd=product.folder).returncode == 0
    assert payments("doctor", environment=environment, cwd=product.folder).returncode == 0


def test_the_last_units_are_sold_once_over_all_processes(product: Product) -> None:
    product.stock("rare", 6)

    def ordered(_: int) -> bool:
        with contextlib.suppress(httpx.HTTPStatusError):
            return bool(product.order(sku="rare"))
        return False

    assert sum(at_once(12, ordered)) == 3
    assert product.available("rare") == 0


def test_clicks_and_notifications_over_all_processes_have_one_effect(product: Product) -> None:
    order_id = product.order()
    pages = at_once(20, lambda _: product.pay(order_id))
    assert sorted(page.status_code for page in pages) == [200] * 19 + [201]
    page = pages[0].json()
    assert payable_pages(product, page["payment_id"]) == [page["provider_order_id"]]
    transaction = product.buyer(page["provider_order_id"], "settlement", notify=False)
    body = raw(notification(product, transaction))
    assert at_once(50, lambda _: product.notify(body).status_code) == [200] * 50
    product.settled(order_id, "success")
    assert event_types(product, page["payment_id"]).count("order.paid") == 1


def test_a_waiting_browser_hears_of_news_from_another_process(product: Product) -> None:
    order_id, page = product.clicked()
    seen = int(product.status(order_id)["version"])

    def ask(number: int) -> int:
        if number == 0:
            product.buyer(page["provider_order_id"], "settlement")
            return seen + 1
        return int(product.status(order_id, query=f"?wait=25&seen={seen}")["version"])

    assert all(version > seen for version in at_once(7, ask))


def test_a_second_server_may_join_and_leave(product: Product) -> None:
    order_id, page = product.clicked()
    second = product.serve()
    headers = {"Authorization": f"Bearer {token('alice')}"}
    answer = product.client.post(f"{second.url}/api/orders/{order_id}/pay/", headers=headers)
    assert (answer.status_code, answer.json()["payment_url"]) == (200, page["payment_url"])
    product.servers.remove(second)
    assert second.stop() in {0, -15}
    assert product.pay(order_id).status_code == 200


def test_a_worker_of_its_own_finishes_what_servers_leave_to_it(product: Product) -> None:
    order_id, page = product.clicked()
    product.simulator.control("faults", {"faults": [{"kind": "server_error", "calls": ["token_cancel"]}]})
    assert cancel(product, order_id).status_code == 202
    command = [sys.executable, "-m", "payments_core_app", "worker"]
    product.servers[0].stop()
    product.simulator.control("faults", {})
    # The servers' own try holds a lease of 30 seconds; this worker comes when it is over.
    environment = {**os.environ, **product.environment, **ahead(600)}
    with subprocess.Popen(command, env=environment, cwd=product.folder, stderr=subprocess.DEVNULL) as worker:
        try:
            until(lambda: payable_pages(product, page["payment_id"]) == [], seconds=60, what="the page's end")
        finally:
            worker.terminate()
        assert worker.wait(30) in {0, -15}
    product.servers.clear()
    product.serve("--workers", "2")
    product.simulator.control("settings", {"notify_url": f"{product.url}/api/webhooks/midtrans/"})
    until(lambda: order_status(product, order_id) == "cancelled", what="cancelled")


def test_while_the_database_is_down_nothing_is_promised_and_nothing_is_lost(
    cluster: PostgresCluster, product: Product
) -> None:
    """503 makes the gateway come again; a 200 for what was not stored would lose the money's only witness."""
    order_id, page = product.clicked()
    transaction = product.buyer(page["provider_order_id"], "settlement", notify=False)
    body = raw(notification(product, transaction))
    outage.stop(cluster)
    try:
        for answer in (product.notify(body), product.notify(body)):
            assert int(answer.headers["retry-after"]) > 0
            assert problem(answer, 503)["retryable"] is True
            assert product.environment["PAYMENTS_DATABASE_URL"] not in answer.text
        assert problem(product.pay(order_id), 503)["retryable"] is True
        assert problem(product.call("GET", "/health/ready"), 503)["retryable"] is True
        assert product.call("GET", "/health/live").is_success
        problem(product.notify(raw({**notification(product, transaction), "signature_key": "x"})), 401)
    finally:
        outage.start(cluster)
    until(lambda: product.notify(body).status_code == 200, what="the notification, sent again, is taken")
    product.settled(order_id, "success")
    assert event_types(product, page["payment_id"]).count("order.paid") == 1


def test_what_was_acknowledged_survives_the_death_of_the_database(cluster: PostgresCluster, product: Product) -> None:
    """A 200 is sent after the commit, and a commit is on the disk."""
    pages = [product.clicked() for _ in range(10)]
    bodies = []
    for _, page in pages:
        transaction = product.buyer(page["provider_order_id"], "settlement", notify=False)
        bodies.append(raw(notification(product, transaction)))
    # Connections that died in an earlier outage may each cost one 503; the gateway comes again.
    at_once(10, lambda number: until(lambda: product.notify(bodies[number]).status_code == 200, what="200"))
    outage.kill(cluster)
    outage.start(cluster)
    until(lambda: product.call("GET", "/health/ready").is_success, what="ready again")
    # A question that was in flight then is asked again when its lease of 30 seconds is over.
    sweep_later(product, 60)
    for order_id, page in pages:
        product.settled(order_id, "success", seconds=30)
        assert event_types(product, page["payment_id"]).count("order.paid") == 1


def test_after_all_of_it_every_payment_is_what_its_history_says(product: Product) -> None:
    """Two servers, a worker, a database that died: every save left its entry, in its transaction (G10)."""
    done = product.run("verify")
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all is well\n")
