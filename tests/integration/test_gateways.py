"""The gateways keep the contract: the memory twin, and Midtrans through midtransclient against the simulator."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest

from harness.memory_wire import MemoryWire
from payments_core.payment import Attempt
from payments_core.ports import PageOpened
from payments_core.states import Signal
from payments_core.testing.gateways import GatewayContract, Wire
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


class TestMidtransGateway(GatewayContract):
    secrets = (TEST_SERVER_KEY, "Mid-server")

    @pytest.fixture
    async def gateway(self, simulator: RunningSimulator) -> AsyncIterator[MidtransGateway]:
        simulator.control("faults", {})
        settings = MidtransSettings(
            server_key=simulator.server_key,
            snap_url=f"{simulator.url}/snap/v1",
            api_url=simulator.url,
            timeout=timedelta(seconds=5),
            threads=4,
        )
        gateway = MidtransGateway(settings)
        yield gateway
        await gateway.close()

    @pytest.fixture
    def wire(self, simulator: RunningSimulator) -> Wire:
        return SimulatorWire(simulator)
