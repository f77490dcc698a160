"""A process that dies for ever leaves nothing undone: whoever is left takes its work over within one lease.

Nothing of a process is kept with its work (no id, no host, no version): a process of another deploy is as good as any.
"""

import asyncio
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import create_async_engine

import payments_core
from chaos.clock import SharedClock
from harness.midtrans import notification, raw
from harness.postgres import PostgresCluster
from harness.product import Product, running_product, token, until
from harness.questions import cancel, event_types, order_status, payable_pages, payment
from payments_core.limits import LEASE
from payments_core_sqlalchemy import tables

pytestmark = [pytest.mark.postgres, pytest.mark.processes]

FASTER = 10.0
"""Thirty seconds of a lease pass in three."""
HANGING = {"kind": "timeout", "hang_s": 300, "calls": ["status", "snap_create", "token_cancel", "refund"]}


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedClock:
    """One clock for all processes of the test."""
    shared = SharedClock(tmp_path / "clock", FASTER)
    for name, value in shared.environment().items():
        monkeypatch.setenv(name, value)
    return shared


@pytest.fixture
def product(clock: SharedClock, postgres: PostgresCluster, tmp_path: Path) -> Iterator[Product]:
    """One API process that leaves due work to others."""
    assert clock.rate == FASTER
    # A call may hang as long as the test lasts: who waits for it is to die waiting, and not to note that it failed.
    with running_product(postgres.create_database(), tmp_path, "--no-worker", MIDTRANS_TIMEOUT_SECONDS="15") as running:
        yield running


def another_version(folder: Path, clock: SharedClock) -> dict[str, str]:
    """The environment of a deploy from another place, under another version."""
    source, copy = Path(payments_core.__file__).parent.parent, folder / "next" / "src"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    app = copy / "entrypoints" / "payments_core_app" / "http" / "app.py"
    app.write_text(re.sub(r'version="[0-9.]+"', 'version="99.0.0"', app.read_text()))
    roots = [copy, copy / "adapters", copy / "entrypoints"]
    return {"PYTHONPATH": ":".join([*map(str, roots), clock.environment()["PYTHONPATH"]])}


def calls(product: Product) -> dict[str, int]:
    """Calls the gateway got so far, by name."""
    return dict(product.simulator.view("ledger")["calls"])


def arrived(product: Product, before: dict[str, int], **more: int) -> None:
    """So many more calls of each kind reached the gateway."""

    def enough() -> bool:
        now = calls(product)
        return all(now.get(name, 0) - before.get(name, 0) >= many for name, many in more.items())

    until(enough, seconds=60, what=f"calls {more} beyond {before}")


async def _check_times(url: str) -> list[tuple[str, str, datetime]]:
    """Where work is due, what it is about, and when."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            due = [
                select(literal(table.name), state, table.c.check_at).where(table.c.check_at.is_not(None))
                for table, state in (
                    (tables.notifications, tables.notifications.c.verdict),
                    (tables.attempts, tables.attempts.c.state),
                    (tables.refunds, tables.refunds.c.state),
                )
            ]
            return [tuple(row) for query in due for row in await connection.execute(query)]
    finally:
        await engine.dispose()


def test_what_dead_processes_held_is_taken_over_within_one_lease_by_another_deploy(
    product: Product, clock: SharedClock, tmp_path: Path
) -> None:
    """An API process and a worker die in the middle of four kinds of work, and neither ever comes back."""
    hinted, hinted_page = product.clicked()
    closing, closing_page = product.clicked()
    refunding, refunding_page = product.clicked()
    opening = product.order()
    paid = product.buyer(hinted_page["provider_order_id"], "settlement", notify=False)
    product.buyer(refunding_page["provider_order_id"], "settlement")
    product.settled(refunding, "success")

    product.simulator.control("faults", {"faults": [HANGING]})
    before = calls(product)
    assert product.notify(raw(notification(product, paid))).status_code == 200
    with ThreadPoolExecutor(3) as pool:
        for work in (
            lambda: cancel(product, closing),
            lambda: product.pay(opening),
            lambda: refund(product, refunding_page["payment_id"]),
        ):
            pool.submit(work)
        arrived(product, before, status=1, token_cancel=1, snap_create=1, refund=1)
        product.servers.pop().kill()
    held = calls(product)
    worker = product.work()
    arrived(product, held, status=2, token_cancel=1, snap_create=1)
    product.workers.pop().kill()
    assert worker.process.returncode is not None

    now = datetime.fromtimestamp(clock.now(), UTC)
    due = asyncio.run(_check_times(database_of(product)))
    assert [one for one in due if one[2] > now + LEASE + timedelta(seconds=1)] == []
    product.simulator.control("faults", {})
    deploy = another_version(tmp_path, clock)
    product.work(**deploy)
    product.serve("--no-worker", **deploy)
    assert product.call("GET", "/schema/openapi.json").json()["info"]["version"] == "99.0.0"

    product.settled(hinted, "success", seconds=60)
    until(lambda: state_of_page(product, opening) == "open", seconds=60, what="the page that was being opened")
    until(lambda: order_status(product, closing) == "cancelled", seconds=60, what="the page that was being closed")
    product.settled(refunding, "refunded", seconds=60)
    assert payable_pages(product, closing_page["payment_id"]) == []
    page = product.pay(opening).raise_for_status().json()
    assert payable_pages(product, page["payment_id"]) == [page["provider_order_id"]]
    assert [one["state"] for one in payment(product, refunding_page["payment_id"])["refunds"]] == ["confirmed"]
    assert refunded(product, refunding_page) == "100000.00"
    assert event_types(product, hinted_page["payment_id"]).count("order.paid") == 1


def state_of_page(product: Product, order_id: str) -> str:
    (page,) = payment(product, str(product.status(order_id)["payment_id"]))["attempts"]
    return str(page["state"])


def database_of(product: Product) -> str:
    return product.environment["PAYMENTS_DATABASE_URL"]


def refund(product: Product, payment_id: str) -> Any:
    olivia = token("olivia", payments_role="operator", scope="payments:operate")
    headers = {"Idempotency-Key": "once"}
    return product.call("POST", f"/api/payments/{payment_id}/refunds", as_=olivia, json={}, headers=headers)


def refunded(product: Product, page: dict[str, Any]) -> str:
    (transaction,) = product.simulator.view("ledger")["orders"][page["provider_order_id"]]["transactions"]
    return str(transaction["refunded_amount"])
