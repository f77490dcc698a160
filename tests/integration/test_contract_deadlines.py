"""How long a page lives: PAYMENTS_EXPIRY_HOURS after it was opened, never longer than the stock is held."""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.clock import HOUR_S, lasting_token, serve_later, sweep_later
from harness.product import Product, running_product
from harness.questions import problem

pytestmark = pytest.mark.processes
MINUTE_S = 60


def product_with(folder: Path, **settings: str) -> Any:
    return running_product(f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}", folder, "--no-worker", **settings)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Pages of 24 hours, stock held for 25."""
    with product_with(tmp_path_factory.mktemp("deadlines"), PAYMENTS_HOLD_MAX_HOURS="25") as running:
        yield running


def pay(product: Product, order_id: str) -> httpx.Response:
    return product.call("POST", f"/api/orders/{order_id}/pay/", as_=lasting_token("alice"))


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def test_pages_of_later_clicks_end_with_the_reservation(product: Product) -> None:
    """24 hours from the click, but stock is held 25 hours from the order, and 24 for an order nobody clicks."""
    first, second, third, late = (product.order() for _ in range(4))
    page = pay(product, first).json()
    product.servers[0].stop()
    put_by = moment(page["expires_at"]) - datetime.timedelta(hours=24)
    reserved_until = put_by + datetime.timedelta(hours=25)

    serve_later(product, 0.5 * HOUR_S, "--no-worker")
    assert moment(pay(product, second).json()["expires_at"]) < reserved_until, "half an hour later: a full day"

    serve_later(product, 2 * HOUR_S, "--no-worker")
    ends = moment(pay(product, third).json()["expires_at"])
    assert abs(ends - reserved_until) < datetime.timedelta(minutes=1), "two hours later: 23 hours are left"
    assert pay(product, first).json()["payment_url"] == page["payment_url"]

    serve_later(product, 24 * HOUR_S + MINUTE_S, "--no-worker")
    sweep_later(product, 24 * HOUR_S + MINUTE_S)
    problem(pay(product, late), 409, "order_expired")


def test_with_less_than_five_minutes_left_no_page_is_opened(tmp_path: Path) -> None:
    with product_with(tmp_path, PAYMENTS_HOLD_MAX_HOURS="24") as product:
        early, late = product.order(), product.order()
        serve_later(product, 24 * HOUR_S - 8 * MINUTE_S, "--no-worker")
        assert pay(product, early).status_code == 201
        serve_later(product, 24 * HOUR_S - 4 * MINUTE_S, "--no-worker")
        problem(pay(product, late), 409, "order_expired")
        ledger = product.simulator.view("ledger")
        assert len(ledger["orders"]) == 1


def test_five_minutes_are_the_shortest_page(tmp_path: Path) -> None:
    with product_with(tmp_path, PAYMENTS_EXPIRY_HOURS=str(5 / 60)) as product:
        answer = product.pay(product.order())
        assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    "settings",
    [
        {"PAYMENTS_EXPIRY_HOURS": "0.05"},
        {"PAYMENTS_EXPIRY_HOURS": "0"},
        {"PAYMENTS_EXPIRY_HOURS": "-24"},
        {"PAYMENTS_EXPIRY_HOURS": "169", "PAYMENTS_HOLD_MAX_HOURS": "400"},
        {"PAYMENTS_EXPIRY_HOURS": "73"},
        {"PAYMENTS_EXPIRY_HOURS": "a day"},
        {"PAYMENTS_EXPIRY_HOURS": "nan"},
    ],
)
def test_a_length_no_page_can_have_is_refused_by_name(product: Product, settings: dict[str, str]) -> None:
    kept = dict(product.environment)
    product.environment |= settings
    try:
        refused = product.run("sweep", "--once")
    finally:
        product.environment = kept
    assert refused.returncode != 0
    assert "PAYMENTS_EXPIRY_HOURS" in refused.stderr
    assert "Traceback" not in refused.stderr
