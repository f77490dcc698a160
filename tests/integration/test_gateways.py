"""The gateways keep the contract: the memory twin, and Midtrans through midtransclient against the simulator."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from harness.memory_wire import MemoryWire
from payments_core.money import Currency, Money
from payments_core.payment import Attempt
from payments_core.ports import PageOpened
from payments_core.states import Signal
from payments_core.testing.gateways import GatewayContract, Wire
from payments_core.testing.proofs import Change
from payments_core_memory import MemoryGateway
from payments_core_midtrans import MidtransGateway, MidtransSettings
from payments_core_simulator.process import TEST_SERVER_KEY, RunningSimulator, running_simulator

WORDS = {
    Signal.PENDING: "pending",
    Signal.SETTLED: "settlement",
    Signal.DENIED: "deny",
    Signal.EXPIRED: "expire",
    Signal.CANCELLED: "cancel",
    Signal.AUTHORIZED: "authorize",
    Signal.CHALLENGED: "challenge",
}
HANG_S = 30
"""Longer than anybody here waits."""
CARDS_ONLY = frozenset({Signal.AUTHORIZED, Signal.CHALLENGED})


class SimulatorWire(Wire):
    """The simulator's control endpoints."""

    def __init__(self, simulator: RunningSimulator) -> None:
        self._simulator = simulator

    def is_payable(self, page: PageOpened) -> bool:
        """The simulator answers 404 for an address that was replaced, and 410 for a page that is closed."""
        return httpx.get(page.url, trust_env=False).status_code == 200

    def buyer_tries(self, page: PageOpened, attempt: Attempt, outcome: Signal) -> str:  # noqa: ARG002 - by order id
        method = "credit_card" if outcome in CARDS_ONLY else "qris"
        body = {"order_id": attempt.provider_order_id, "payment_type": method, "outcome": WORDS[outcome]}
        return str(self._simulator.control("pay", body)["transaction_id"])

    def becomes(self, transaction_id: str, word: Signal) -> None:
        self._simulator.control("transition", {"transaction_id": transaction_id, "to": WORDS[word]})

    def asked_for(self, page: PageOpened, attempt: Attempt) -> Money:  # noqa: ARG002 - the token says it
        orders = self._simulator.view("ledger")["orders"].values()
        gross = next(order["gross_amount"] for order in orders if order["token"] == page.token)
        return Money(int(Decimal(gross) * 100), Currency.of("IDR"))

    def reproved(self, body: bytes, headers: Mapping[str, str], change: Change) -> tuple[bytes, dict[str, str]]:
        fields = json.loads(body)
        proof = change(fields.pop("signature_key"))
        return json.dumps(fields if proof is None else {**fields, "signature_key": proof}).encode(), dict(headers)

    def says(self, transaction_id: str, word: str) -> None:  # noqa: ARG002 - no word of ours
        pytest.skip("the simulator knows Midtrans' words alone; one table reads answers and notifications")

    def notification_saying(self, transaction_id: str, word: str) -> tuple[bytes, dict[str, str]]:
        body, headers = self.notification(transaction_id)
        return json.dumps({**json.loads(body), "transaction_status": word}).encode(), headers  # Midtrans signs no word

    def holds_the_next_answer(self) -> None:
        fault = {"kind": "timeout", "hang_s": HANG_S, "calls": "all", "count": 1}
        self._simulator.control("faults", {"faults": [fault]})

    def notification(self, transaction_id: str) -> tuple[bytes, dict[str, str]]:
        sent = self._simulator.view("notifications")["notifications"]
        body = next(n["body"] for n in reversed(sent) if n["body"]["transaction_id"] == transaction_id)
        return json.dumps(body).encode(), {}

    def refuses_the_next_call(self) -> None:
        fault = {"kind": "server_error", "status": 503, "applied": False, "calls": "all", "count": 1}
        self._simulator.control("faults", {"faults": [fault]})

    def loses_the_next_answer(self) -> None:
        fault = {"kind": "cut", "applied": True, "calls": "all", "count": 1}
        self._simulator.control("faults", {"faults": [fault]})


class TestMemoryGateway(GatewayContract):
    secrets = ("memory-secret",)

    @pytest.fixture
    def gateway(self) -> MemoryGateway:
        return MemoryGateway()

    @pytest.fixture
    def wire(self, gateway: MemoryGateway) -> Wire:
        return MemoryWire(gateway)


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator("--notify-url", "http://127.0.0.1:9/") as running:
        yield running


@asynccontextmanager
async def midtrans_at(simulator: RunningSimulator, *, timeout_s: float) -> AsyncIterator[MidtransGateway]:
    simulator.control("faults", {})
    settings = MidtransSettings(
        server_key=simulator.server_key,
        snap_url=f"{simulator.url}/snap/v1",
        api_url=simulator.url,
        timeout=timedelta(seconds=timeout_s),
        threads=4,
    )
    gateway = MidtransGateway(settings)
    yield gateway
    await gateway.close()


class TestMidtransGateway(GatewayContract):
    secrets = (TEST_SERVER_KEY, "Mid-server")

    @pytest.fixture
    async def gateway(self, simulator: RunningSimulator) -> AsyncIterator[MidtransGateway]:
        async with midtrans_at(simulator, timeout_s=5) as gateway:
            yield gateway

    @pytest.fixture
    async def impatient(self, simulator: RunningSimulator) -> AsyncIterator[MidtransGateway]:
        async with midtrans_at(simulator, timeout_s=0.2) as gateway:
            yield gateway

    @pytest.fixture
    def wire(self, simulator: RunningSimulator) -> Wire:
        return SimulatorWire(simulator)
