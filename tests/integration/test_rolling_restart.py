"""A deploy under load: one server after the other is asked to stop and replaced, and nobody outside notices (H5)."""

import contextlib
import itertools
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from harness.midtrans import notification
from harness.postgres import PostgresCluster
from harness.product import Product, Server, new_client, order_body, running_product, token, until
from harness.questions import event_types

pytestmark = [pytest.mark.postgres, pytest.mark.processes]

CLIENTS = 6
DRAINS_S = 5
"""More than the balancer needs to notice, also on a busy machine."""


@pytest.fixture
def product(postgres: PostgresCluster, tmp_path: Path) -> Iterator[Product]:
    with running_product(postgres.create_database(), tmp_path, PAYMENTS_DRAIN_SECONDS=str(DRAINS_S)) as running:
        running.serve()
        yield running


@attrs.define
class Balancer:
    """A client of two servers, as a balancer: it sends to those that say they are ready, which it asks all the time.

    It tries the other one when a connection is refused; nothing else is forgiven.
    """

    servers: list[Server]
    http: httpx.Client = attrs.field(factory=new_client)
    answers: "Counter[int]" = attrs.field(factory=Counter)
    turn: "itertools.count[int]" = attrs.field(factory=itertools.count)
    away: set[str] = attrs.field(factory=set)

    def watch(self, over: threading.Event) -> None:
        """Who is not ready is known within a moment, until it is over."""
        with new_client() as asking:
            while not over.wait(0.05):
                self.away = {server.url for server in list(self.servers) if not _is_ready(asking, server)}

    def call(self, method: str, path: str, *, as_: str | None = None, json: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {as_}"} if as_ else {}
        known = list(self.servers)
        servers = [server for server in known if server.url not in self.away] or known
        first = next(self.turn)
        for server in [servers[(first + offset) % len(servers)] for offset in range(len(servers))]:
            try:
                answer = self.http.request(method, f"{server.url}{path}", headers=headers, json=json)
            except httpx.ConnectError:
                continue
            self.answers[answer.status_code] += 1
            return answer.raise_for_status()
        raise AssertionError("both servers refused the connection")


def _is_ready(asking: httpx.Client, server: Server) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return asking.get(f"{server.url}/health/ready").is_success
    return False


def buy(product: Product, balancer: Balancer, name: str) -> str:
    """An order is placed, its page opened and paid, the gateway's notification taken, the buyer told; its payment."""
    balancer.call("PUT", f"/api/orders/{name}", as_=product.shop, json=order_body())
    page = balancer.call("POST", f"/api/orders/{name}/pay/", as_=token("alice")).json()
    paid = product.buyer(page["provider_order_id"], "settlement", notify=False)
    balancer.call("POST", "/api/webhooks/midtrans/", json=notification(product, paid))
    path = f"/api/orders/{name}/payment-status/?wait=25"
    until(
        lambda: balancer.call("GET", path, as_=token("alice")).json()["status"] == "success",
        seconds=90,
        what=f"{name} paid",
    )
    return str(page["payment_id"])


def test_a_rolling_restart_under_load_loses_no_request_and_no_work(product: Product) -> None:
    """Slow calls to the gateway, a long poll and fresh connections are under way when each server has to go."""
    product.simulator.control(
        "faults", {"faults": [{"kind": "latency", "ms": 700, "calls": ["snap_create", "status"]}]}
    )
    balancer = Balancer(product.servers)
    over = threading.Event()

    def shop_all_day(client: int) -> list[str]:
        bought = []
        for number in itertools.count():
            if over.is_set():
                return bought
            bought.append(buy(product, balancer, f"rolling-{client}-{number}"))
        raise AssertionError

    def wait_for_news() -> int:
        """A page nobody pays: its status is waited for as long as one may."""
        while not over.is_set():
            balancer.call("GET", f"/api/orders/{quiet}/payment-status/?wait=25&seen={seen}", as_=token("alice"))
        return seen

    quiet, _ = product.clicked()
    seen = int(product.status(quiet)["version"])
    with ThreadPoolExecutor(CLIENTS + 2) as pool:
        watching = pool.submit(balancer.watch, over)
        shopping = [pool.submit(shop_all_day, client) for client in range(CLIENTS)]
        waiting = pool.submit(wait_for_news)
        try:
            for old in list(product.servers):
                before = balancer.answers.total()
                until(lambda seen=before: balancer.answers.total() > seen + 20, seconds=90, what="load")
                assert old.stop() in {0, -15}, "it ended by itself, in less than thirty seconds"
                product.servers.remove(old)
                product.serve()
        finally:
            over.set()
        bought = [payment_id for client in shopping for payment_id in client.result()]
        waiting.result()
        watching.result()
    assert len(bought) >= CLIENTS
    assert set(balancer.answers) <= {200, 201}
    assert all(event_types(product, payment_id).count("order.paid") == 1 for payment_id in bought)


def test_a_server_that_was_asked_to_stop_serves_on_until_the_balancer_knows(tmp_path: Path) -> None:
    """Asked again, it does not wait for anybody."""
    database = f"sqlite+aiosqlite:///{tmp_path / 'payments.sqlite3'}"
    with running_product(database, tmp_path, PAYMENTS_DRAIN_SECONDS="300") as product:
        (server,) = product.servers
        order_id, page = product.clicked()
        assert product.call("GET", "/health/ready").is_success
        server.process.send_signal(signal.SIGTERM)
        answer = until(
            lambda: (got := product.call("GET", "/health/ready")).status_code == 503 and got, what="the news"
        )
        assert answer.json()["code"] == "stopping"
        assert product.call("GET", "/health/live").is_success
        with new_client() as stranger:
            again = stranger.post(
                f"{server.url}/api/orders/{order_id}/pay/", headers={"Authorization": f"Bearer {token('alice')}"}
            )
        assert (again.status_code, again.json()["payment_url"]) == (200, page["payment_url"])
        paid = product.buyer(page["provider_order_id"], "settlement", notify=False)
        assert product.notify(notification(product, paid)).is_success
        assert product.status(order_id, query="?wait=25")["order_id"] == order_id, "nobody waits for news any more"
        assert server.stop() in {0, -15}


@pytest.mark.parametrize("sweeps", ["serve", "worker"])
def test_a_process_whose_gateway_hangs_still_ends_in_time(
    postgres: PostgresCluster, tmp_path: Path, sweeps: str
) -> None:
    """A batch of questions nobody answers would take most of a minute; a deploy kills what has not ended in time."""
    options = ["--no-worker"] if sweeps == "worker" else []
    patient = {"PAYMENTS_POLL_SECONDS": "1", "MIDTRANS_TIMEOUT_SECONDS": "15"}
    with running_product(postgres.create_database(), tmp_path, *options, **patient) as product:
        product.simulator.control("faults", {"faults": [{"kind": "timeout", "hang_s": 600, "calls": ["status"]}]})
        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(lambda _: product.clicked(), range(48)))) == 48
        process = product.work() if sweeps == "worker" else product.servers[0]
        until(
            lambda: int(product.simulator.view("ledger")["calls"].get("status", 0)) >= 16,
            seconds=60,
            what="a whole round of questions at once",
        )
        assert process.stop() == {"serve": -15, "worker": 0}[sweeps], "it ended by itself, in less than thirty seconds"
