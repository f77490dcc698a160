"""The money we believe in is the money in the simulator's ledger, whatever was lost, repeated or late on the way.

The simulator keeps its own ledger and imports nothing of ours; it is the oracle. Buyers try, banks take back, merchants
refund in the dashboard, notifications are dropped, doubled and overtaken, status answers lag and fail. After the last
change one message about each transaction reaches us, which is what the law of convergence assumes.
"""

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.clock import sweep_later
from harness.midtrans import notification, raw
from harness.product import Product, running_product, until
from harness.questions import at_once, event_types, order_status, payment

pytestmark = pytest.mark.processes

MOVES = {
    "gopay": {
        "pending": ("settlement", "expire", "cancel", "deny"),
        "settlement": ("deny", "refund", "partial_refund", "chargeback"),
    },
    "credit_card": {
        "capture": ("settlement", "cancel"),
        "challenge": ("capture", "deny", "cancel"),
        "authorize": ("capture", "cancel"),
        "settlement": ("refund", "partial_refund", "chargeback", "partial_chargeback"),
        "deny": (),
    },
    "bank_transfer": {"pending": ("settlement", "expire", "cancel"), "settlement": ()},
}
AMOUNTS = {"partial_refund": 30_000, "partial_chargeback": 20_000}
PAID = {"success", "partially_refunded", "refunded", "charged_back"}


@attrs.frozen
class Try:
    """What a buyer did on a page, and what happened to that transaction afterwards."""

    payment_type: str
    outcome: str
    moves: tuple[str, ...]


@st.composite
def tries(draw: st.DrawFn) -> Try:
    payment_type = draw(st.sampled_from(sorted(MOVES)))
    word = outcome = draw(st.sampled_from(sorted(MOVES[payment_type])))
    moves = []
    for _ in range(draw(st.integers(0, 2))):
        if not (following := MOVES[payment_type].get(word, ())):
            break
        word = draw(st.sampled_from(following))
        moves.append(word)
    return Try(payment_type, outcome, tuple(moves))


FAULTS = [
    {"kind": "notification_drop", "probability": 0.3},
    {"kind": "notification_duplicate", "copies": 2, "probability": 0.4},
    {"kind": "notification_reorder", "within_ms": 300, "probability": 0.3},
    {"kind": "status_lag", "seconds": 0.5, "probability": 0.3},
    {"kind": "server_error", "calls": ["status", "cancel", "token_cancel"], "probability": 0.2},
    {"kind": "cut", "applied": True, "calls": ["snap_create", "cancel"], "probability": 0.2},
]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("ledger")
    url = f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}"
    with running_product(url, folder, MIDTRANS_STATUS_LAG_SECONDS="1", PAYMENTS_POLL_SECONDS="1") as running:
        yield running


def opened(product: Product) -> tuple[str, dict[str, Any]]:
    """An order and its page, after as many clicks as that takes."""
    order_id = product.order()
    page = until(lambda: answer if (answer := product.pay(order_id)).is_success else None, what="a page")
    return order_id, page.json()


def lived(product: Product, page: dict[str, Any], tried: list[Try]) -> None:
    """Everything that happens at the gateway; what it refuses (a page that is closed) did not happen."""
    for one in tried:
        body = {"order_id": page["provider_order_id"], "payment_type": one.payment_type, "outcome": one.outcome}
        answer = product.client.post(f"{product.simulator.url}/_sim/pay", json=body)
        for word in one.moves if answer.is_success else ():
            amount = {"amount": AMOUNTS[word]} if word in AMOUNTS else {}
            move = {"transaction_id": answer.json()["transaction_id"], "to": word, **amount}
            product.client.post(f"{product.simulator.url}/_sim/transition", json=move)


def ledger(product: Product, page: dict[str, Any]) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """What was taken, given back and charged back, a transaction that ever had money."""
    order = product.simulator.view("ledger")["orders"][page["provider_order_id"]]
    return {
        one["transaction_id"]: (
            Decimal(one["captured_amount"]),
            Decimal(one["refunded_amount"]),
            Decimal(one["charged_back_amount"]),
        )
        for one in order["transactions"]
        if Decimal(one["captured_amount"])
    }


def believed(product: Product, page: dict[str, Any]) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """The same, as the product believes."""
    return {
        charge["transaction_id"]: (
            Decimal(charge["captured"]),
            Decimal(charge["refunded"]),
            Decimal(charge["charged_back"]),
        )
        for charge in payment(product, page["payment_id"])["charges"]
        if charge["state"] in {"captured", "settled"}
    }


def told_at_last(product: Product, pages: list[dict[str, Any]], order: random.Random) -> None:
    """One genuine message about each transaction as it stands, after its last change."""
    last = []
    for page in pages:
        for one in product.simulator.view("ledger")["orders"][page["provider_order_id"]]["transactions"]:
            status = product.client.get(
                f"{product.simulator.url}/v2/{one['transaction_id']}/status", auth=(product.simulator.server_key, "")
            )
            last.append(raw(notification(product, status.json())))
    order.shuffle(last)
    assert set(at_once(len(last), lambda number: product.notify(last[number]).status_code)) == {200}


def agrees(product: Product, page: dict[str, Any]) -> bool:
    return ledger(product, page) == believed(product, page)


@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
@given(stories=st.lists(st.lists(tries(), min_size=1, max_size=3), min_size=6, max_size=6), seed=st.integers(0, 2**32))
def test_money_adds_up_to_the_simulators_ledger(product: Product, stories: list[list[Try]], seed: int) -> None:
    product.simulator.control("faults", {"seed": seed, "faults": FAULTS, "delivery": {"speed_up": 1000}})
    orders = [opened(product) for _ in stories]
    pages = [page for _, page in orders]
    at_once(len(orders), lambda number: lived(product, pages[number], stories[number]))
    product.simulator.control("faults", {})
    told_at_last(product, pages, random.Random(seed))  # noqa: S311 - an order of deliveries
    for later in (120, 900, 5000, 12_000):
        # Questions that failed are asked again on a schedule; the sweep of a later hour has seen all of it.
        if not all(agrees(product, page) for page in pages):
            sweep_later(product, later)
    for (order_id, page), story in zip(orders, stories, strict=True):
        assert ledger(product, page) == believed(product, page), (story, payment(product, page["payment_id"]))
        history = event_types(product, page["payment_id"])
        paid = history.count("order.paid") - history.count("payment.reversed")
        status = product.status(order_id)["status"]
        assert paid == (status in PAID), (story, history)
        assert history.count("stock.consumed") <= 1, "goods leave once"
        assert order_status(product, order_id) in {"pending", "paid", "refunded", "partially_refunded", "cancelled"}


def test_the_oracle_can_disagree(product: Product) -> None:
    """A notification that nobody sent leaves us behind the ledger; so the comparison is one."""
    product.simulator.control("faults", {"faults": [{"kind": "server_error", "calls": ["status"]}]})
    _, page = opened(product)
    product.buyer(page["provider_order_id"], "settlement", notify=False)
    assert not agrees(product, page)
    product.simulator.control("faults", {})


def test_after_all_of_it_every_payment_is_what_its_history_says(product: Product) -> None:
    """Retries, leases and readings under faults: none of it may look like tampering (G10)."""
    done = product.run("verify")
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all is well\n")
