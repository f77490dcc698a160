"""Recovery as an operator meets it: the real server and the real commands against the simulator."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlalchemy import select

from harness.clock import HOUR_S, run_later
from harness.product import Product, running_product, token, until
from harness.questions import cancel, order_status, payable_pages, problem
from harness.scripted import scripted_server
from payments_core.limits import SWEEP_BATCH_MAX
from payments_core_sqlalchemy import SqlStore, tables

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("healthy_gateway")]

DROP_ALL = {"faults": [{"kind": "notification_drop"}]}
BUYERS = [
    # payment type, what the buyer does, the status it leads to
    ("gopay", "settlement", "success"),
    ("qris", "settlement", "success"),
    ("bank_transfer", "settlement", "success"),
    ("credit_card", "capture", "success"),
    ("credit_card", "authorize", "authorized"),
    ("credit_card", "challenge", "processing"),
    ("credit_card", "deny", "pending"),
    ("bank_transfer", "pending", "processing"),
    ("bank_transfer", "expire", "expired"),
    ("gopay", "cancel", "cancelled"),
]
"""Channels that answer to their order id; the others are a limit that the guarantees name."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A server that leaves due work alone, so that what is found was found by the command."""
    folder = tmp_path_factory.mktemp("recovery")
    with running_product(f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}", folder, "--no-worker") as running:
        yield running


@pytest.fixture(scope="module")
def polling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A server that polls often."""
    folder = tmp_path_factory.mktemp("polling")
    url = f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}"
    with running_product(url, folder, PAYMENTS_POLL_SECONDS="1", MIDTRANS_STATUS_LAG_SECONDS="1") as running:
        yield running


def bought(product: Product) -> list[tuple[str, str]]:
    """One order for each kind of buyer, and the status it should have; no notification has left the gateway."""
    product.simulator.control("faults", DROP_ALL)
    orders = []
    for payment_type, outcome, status in BUYERS:
        order_id, page = product.clicked()
        product.buyer(page["provider_order_id"], outcome, payment_type=payment_type)
        orders.append((order_id, status))
    return orders


def reconcile(product: Product, *options: str) -> dict[str, Any]:
    done = product.run("reconcile", "--json", *options)
    assert done.returncode in {0, 1}, done.stderr
    answer = dict(json.loads(done.stdout))
    assert answer["done"] is (done.returncode == 0)
    return answer


def test_with_every_notification_dropped_polling_alone_brings_every_payment_to_its_state(polling: Product) -> None:
    """B11: 100 % of the payments of channels that answer to their order id."""
    orders = bought(polling)
    right = [polling.settled(order_id, status, seconds=120)["status"] for order_id, status in orders]
    assert right == [status for _, _, status in BUYERS]
    sent = polling.simulator.view("ledger")["notifications"]
    assert (sent["sent"], sent["acknowledged"]) == (0, 0)


def test_with_every_notification_dropped_one_reconciliation_brings_every_payment_to_its_state(
    product: Product,
) -> None:
    """The same by the command alone; run again it finds no difference."""
    orders = bought(product)
    found = reconcile(product)
    assert [product.status(order_id)["status"] for order_id, _ in orders] == [status for _, _, status in BUYERS]
    assert found["done"]
    assert found["counts"]["missing_here repaired"] == len(BUYERS)
    again = reconcile(product)
    assert (again["done"], again["counts"]) == (True, {})


def test_what_cannot_be_asked_is_left_behind_and_told(product: Product) -> None:
    _, page = product.clicked()
    product.simulator.control("faults", {"faults": [{"kind": "server_error", "calls": ["status"]}]})
    found = reconcile(product)
    assert not found["done"]
    assert found["counts"]["unreachable left"] >= 1
    assert page["provider_order_id"] in {difference["reference"] for difference in found["differences"]}
    told = product.run("reconcile")
    assert told.returncode == 1
    assert "left behind" in told.stdout


def test_a_payment_that_cannot_be_read_is_left_behind_and_the_others_are_compared(product: Product) -> None:
    """It would end every run at the same place, and nothing after it would ever be compared."""
    _, unreadable = product.clicked()
    order_id, page = product.clicked()
    product.buyer(page["provider_order_id"], "settlement", notify=False)
    database = product.environment["PAYMENTS_DATABASE_URL"].removeprefix("sqlite+aiosqlite:///")
    state = "UPDATE attempts SET state = ? WHERE payment_id = ?"
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        connection.execute(state, ("nonsense", unreadable["payment_id"]))
    try:
        found = reconcile(product, "--anew")
    finally:
        with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
            connection.execute(state, ("open", unreadable["payment_id"]))
    left = [difference for difference in found["differences"] if difference["outcome"] == "left"]
    assert [difference["payment_id"] for difference in left] == [unreadable["payment_id"]]
    assert not found["done"]
    assert product.status(order_id)["status"] == "success"


def test_pages_that_must_close_are_closed_before_the_command_returns(product: Product) -> None:
    order_id, page = product.clicked()
    product.simulator.control("faults", {"faults": [{"kind": "server_error", "calls": ["token_cancel"]}]})
    assert cancel(product, order_id).status_code == 202
    product.simulator.control("faults", {})
    assert payable_pages(product, page["payment_id"])
    assert reconcile(product)["done"]
    assert payable_pages(product, page["payment_id"]) == []
    assert order_status(product, order_id) == "cancelled"


def test_a_killed_reconciliation_is_gone_on_with_where_it_was(product: Product) -> None:
    """kill -9 in the middle; the next run ends the work, and tells what both found."""
    for _ in range(45):
        product.clicked()
    total = reconcile(product, "--anew")["payments"]
    product.simulator.control("faults", {"faults": [{"kind": "latency", "calls": ["status"], "ms": 500}]})
    command = [sys.executable, "-m", "payments_core_app", "reconcile", "--json"]
    database = product.environment["PAYMENTS_DATABASE_URL"].removeprefix("sqlite+aiosqlite:///")
    with subprocess.Popen(
        command, env=_environment(product), cwd=product.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        until(lambda: _rows(database, "SELECT cursor FROM reconciliations"), seconds=120, what="a first page")
        running.send_signal(signal.SIGKILL)
    product.simulator.control("faults", {})
    found = reconcile(product)
    assert (found["resumed"], found["payments"], found["done"]) == (True, total, True)
    assert _rows(database, "SELECT cursor FROM reconciliations") == []
    assert reconcile(product)["resumed"] is False


def test_sweeping_once_attends_to_everything_that_is_due(product: Product) -> None:
    """Also to more than one claim takes: whoever sweeps by a timer would fall behind, and be told that all is done."""
    for _ in range(SWEEP_BATCH_MAX + 10):
        product.clicked()
    done = run_later(product, HOUR_S, "sweep", "--once", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"]["attempts"] >= SWEEP_BATCH_MAX + 10


def test_expire_gives_up_what_is_over_its_time_and_nothing_else(product: Product) -> None:
    order_id, page = product.clicked()
    never_clicked = product.order()
    early = product.run("expire", "--json")
    assert early.returncode == 0, early.stderr
    assert json.loads(early.stdout) == {"deadlines": 0, "orders": 0, "postponed": 0, "closing": 0}
    late = run_later(product, 25 * HOUR_S, "expire", "--json")
    assert late.returncode == 0, late.stderr
    assert json.loads(late.stdout)["deadlines"] >= 1
    assert payable_pages(product, page["payment_id"]) == []
    assert product.status(order_id)["status"] == "expired"
    assert order_status(product, never_clicked) == "cancelled"


@pytest.mark.parametrize("moment", ["lately", "0001-01-01T00:00:00+14:00"])
def test_a_moment_that_is_none_is_refused(product: Product, moment: str) -> None:
    done = product.run("reconcile", "--since", moment)
    assert done.returncode == 2
    assert moment in done.stderr


# ── watching ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_metrics_and_doctor_tell_what_waits_and_that_all_agrees(product: Product) -> None:
    told = product.call("GET", "/metrics").raise_for_status().text
    for line in (
        'payments_oldest_waiting_seconds{what="notification"}',
        'payments_oldest_waiting_seconds{what="refund"}',
        'payments_oldest_waiting_seconds{what="fact"}',
        'payments_oldest_waiting_seconds{what="case"}',
        'payments_invariant_violations{invariant="orders_agree"} 0.0',
        "payments_watch_up 1.0",
    ):
        assert line in told
    doctor = product.run("doctor", "--json")
    findings = [finding["what"] for finding in json.loads(doctor.stdout)["findings"]]
    assert any(finding.startswith("published_money: ") for finding in findings)
    assert doctor.returncode == 0


def test_metrics_can_be_put_behind_a_token_or_turned_off(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'payments.sqlite3'}"
    with running_product(url, tmp_path, PAYMENTS_METRICS_TOKEN="a-token-for-prometheus") as running:
        problem(running.call("GET", "/metrics"), 401, "invalid_token")
        problem(running.call("GET", "/metrics", as_="another"), 401, "invalid_token")
        assert running.call("GET", "/metrics", as_="a-token-for-prometheus").is_success
        running.servers.pop().stop()
        running.serve(PAYMENTS_METRICS="off")
        problem(running.call("GET", "/metrics", as_="a-token-for-prometheus"), 404)


# ── a gateway's limits, over processes ────────────────────────────────────────────────────────────────────────────────
@attrs.define
class Busy:
    """A gateway that opens pages slowly, and counts how many it opens at once."""

    now: int = 0
    most: int = 0
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.05)  # a call takes its time; nothing waits for this
        with self.lock:
            self.now -= 1
        body = json.dumps({"token": f"t-{id(handler)}", "redirect_url": "https://pay.example/t"}).encode()
        handler.send_response(201)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.mark.postgres
def test_two_servers_together_never_have_more_calls_on_their_way_than_the_limit(
    new_database: Callable[[str], str], tmp_path: Path
) -> None:
    """MIDTRANS_CALLS_IN_FLIGHT is a limit of all processes, not of each."""
    busy, url = Busy(), new_database("postgres")
    with scripted_server() as gateway:
        gateway.answer = busy
        there = {"MIDTRANS_SNAP_URL": gateway.url, "MIDTRANS_API_URL": gateway.url, "MIDTRANS_CALLS_IN_FLIGHT": "2"}
        with running_product(url, tmp_path, "--no-worker", **there) as running:
            second = running.serve("--no-worker")

            def shares() -> bool:
                return asyncio.run(_shares(url)) == [1, 1]

            until(shares, seconds=60, what="a share for each")
            orders = [running.order() for _ in range(24)]

            def click(number: int) -> int:
                server = running.servers[0] if number % 2 else second
                path = f"{server.url}/api/orders/{orders[number]}/pay/"
                headers = {"Authorization": f"Bearer {token('alice')}"}
                return running.client.post(path, headers=headers).status_code

            with ThreadPoolExecutor(24) as pool:
                assert set(pool.map(click, range(24))) == {201}
            assert busy.most <= 2


async def _shares(url: str) -> list[int]:
    store = SqlStore(url)
    try:
        async with store.reading() as uow:
            table = tables.gateway_shares.c
            return [*await uow.connection.scalars(select(table.in_flight).where(table.holder != ""))]
    finally:
        await store.close()


def _environment(product: Product) -> dict[str, str]:
    return {**os.environ, **product.environment}


def _rows(database: str, query: str) -> list[Any]:
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        return connection.execute(query).fetchall()
