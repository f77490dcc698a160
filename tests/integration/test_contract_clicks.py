"""Clicks that reach several server processes, and processes that die in the middle of one (on PostgreSQL)."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from harness.postgres import PostgresCluster
from harness.product import Product, Server, running_product, token, until
from harness.questions import at_once, event_types, payable_pages, payment, problem

pytestmark = [pytest.mark.postgres, pytest.mark.processes, pytest.mark.usefixtures("healthy_gateway")]


@pytest.fixture(scope="module")
def product(postgres: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Two servers on one PostgreSQL that give up on their gateway after a second."""
    folder: Path = tmp_path_factory.mktemp("clicks")
    with running_product(postgres.create_database(), folder, MIDTRANS_TIMEOUT_SECONDS="1") as running:
        running.serve()
        yield running


def click(product: Product, server: Server, order_id: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token('alice')}"}
    return product.client.post(f"{server.url}/api/orders/{order_id}/pay/", headers=headers)


def creates(product: Product) -> int:
    return int(product.simulator.view("ledger")["calls"].get("snap_create", 0))


def clicks_over_all_servers(product: Product, order_id: str, count: int) -> list[httpx.Response]:
    servers = list(itertools.islice(itertools.cycle(product.servers), count))
    return at_once(count, lambda number: click(product, servers[number], order_id))


def gateway_token(product: Product, provider_order_id: str) -> str:
    return str(product.simulator.view("ledger")["orders"][provider_order_id]["token"])


def eventually_paid_page(product: Product, server: Server, order_id: str) -> dict[str, str]:
    """The page after as many tries as the answers ask for."""

    def answered() -> httpx.Response | None:
        answer = click(product, server, order_id)
        assert answer.is_success or answer.json()["retryable"], answer.text
        return answer if answer.is_success else None

    answer: httpx.Response = until(answered, seconds=60, what="a page")
    return dict(answer.json())


def test_fifty_clicks_over_two_servers_open_one_page(product: Product) -> None:
    order_id = product.order()
    product.simulator.control("faults", {"faults": [{"kind": "latency", "ms": 500, "calls": ["snap_create"]}]})
    before = creates(product)
    answers = clicks_over_all_servers(product, order_id, 50)
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [201]
    assert len({answer.json()["payment_url"] for answer in answers}) == 1
    assert creates(product) - before == 1
    page = answers[0].json()
    assert payable_pages(product, page["payment_id"]) == [page["provider_order_id"]]
    assert event_types(product, page["payment_id"]).count("attempt.opened") == 1


def test_clicks_over_two_servers_on_many_orders_open_a_page_each(product: Product) -> None:
    orders = [product.order() for _ in range(10)]
    before = creates(product)
    answers = at_once(40, lambda number: click(product, product.servers[number % 2], orders[number % 10]))
    assert all(answer.is_success for answer in answers)
    assert len({answer.json()["payment_url"] for answer in answers}) == 10
    assert creates(product) - before == 10


def test_the_other_server_finishes_an_opening_whose_answer_was_lost(product: Product) -> None:
    order_id = product.order()
    fault = {"kind": "cut", "applied": True, "calls": ["snap_create"], "count": 1}
    product.simulator.control("faults", {"faults": [fault]})
    first, second = product.servers
    lost = click(product, first, order_id)
    assert problem(lost, lost.status_code)["retryable"] is True
    page = eventually_paid_page(product, second, order_id)
    page = eventually_paid_page(product, first, order_id)
    assert payable_pages(product, page["payment_id"]) == [page["provider_order_id"]]
    assert gateway_token(product, page["provider_order_id"]) == page["token"]


def test_clicks_while_the_gateway_hangs_are_told_to_try_again_and_then_succeed(product: Product) -> None:
    order_id = product.order()
    fault = {"kind": "timeout", "hang_s": 6, "applied": True, "calls": ["snap_create"], "count": 1}
    product.simulator.control("faults", {"faults": [fault]})
    answers = clicks_over_all_servers(product, order_id, 10)
    for answer in answers:
        assert answer.is_success or answer.json()["code"] in {"gateway_timeout", "gateway_error", "opening"}
        assert answer.is_success or answer.json()["retryable"] is True
    pages = [eventually_paid_page(product, server, order_id) for server in product.servers]
    page = pages[-1]
    assert payable_pages(product, page["payment_id"]) == [page["provider_order_id"]]
    assert gateway_token(product, page["provider_order_id"]) == page["token"]


@pytest.mark.parametrize("applied", [True, False], ids=["after the gateway made the page", "before"])
def test_after_the_server_of_a_click_was_killed_the_next_click_succeeds(product: Product, applied: bool) -> None:
    """Only a crash waits for the end of the lease; nothing it left behind may open a second page."""
    order_id = product.order()
    # It must die waiting: with the second of the others it could give up, and answer so, before it is killed.
    doomed = product.serve("--no-worker", MIDTRANS_TIMEOUT_SECONDS="8")
    before = creates(product)
    fault = {"kind": "timeout", "hang_s": 20, "applied": applied, "calls": ["snap_create"], "count": 1}
    product.simulator.control("faults", {"faults": [fault]})
    with ThreadPoolExecutor(1) as pool:
        dying = pool.submit(click, product, doomed, order_id)
        until(lambda: creates(product) > before, what="the call at the gateway")
        doomed.kill()
        with pytest.raises(httpx.HTTPError):
            dying.result(timeout=30)
    product.servers.remove(doomed)
    page = eventually_paid_page(product, product.servers[0], order_id)
    page = eventually_paid_page(product, product.servers[1], order_id)
    assert page["provider_order_id"].endswith("-1p")
    assert payable_pages(product, page["payment_id"]) == [page["provider_order_id"]]
    assert gateway_token(product, page["provider_order_id"]) == page["token"]
    product.buyer(page["provider_order_id"], "settlement")
    assert product.settled(order_id, "success")["payment_id"] == page["payment_id"]


def test_the_sweep_finishes_what_a_killed_server_began(product: Product) -> None:
    """The buyer may never click again; what the gateway knows must still be known to us."""
    order_id = product.order()
    doomed = product.serve("--no-worker")
    before = creates(product)
    fault = {"kind": "timeout", "hang_s": 20, "applied": True, "calls": ["snap_create"], "count": 1}
    product.simulator.control("faults", {"faults": [fault]})
    with ThreadPoolExecutor(1) as pool:
        dying = pool.submit(click, product, doomed, order_id)
        until(lambda: creates(product) > before, what="the call at the gateway")
        doomed.kill()
        with pytest.raises(httpx.HTTPError):
            dying.result(timeout=30)
    product.servers.remove(doomed)
    payment_id = product.status(order_id)["payment_id"]

    def page_state() -> bool:
        return bool(payment(product, payment_id)["attempts"][0]["state"] == "open")

    until(page_state, seconds=60, what="an open page")
    page = click(product, product.servers[0], order_id)
    assert page.status_code == 200
    assert payable_pages(product, payment_id) == [f"{payment_id}-1p"]
    assert gateway_token(product, f"{payment_id}-1p") == page.json()["token"]
