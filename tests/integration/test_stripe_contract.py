"""Stripe keeps the contract of gateways: the official SDK over real HTTP, against two that speak its wire.

The simulator is a witness of its own; the double, which the other tests of the adapter use, can also hold money.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal

import pytest

from harness.stripe_double import KEY, SECRET, StripeDouble, signed, stripe_double
from payments_core.money import Currency, Money
from payments_core.payment import Attempt
from payments_core.ports import PageClosing, PageOpened
from payments_core.states import Signal
from payments_core.testing.gateways import GatewayContract, Wire
from payments_core_simulator.process import RunningSimulator, running_simulator
from payments_core_stripe import StripeGateway, StripeSettings

HANG_S = 30
"""Longer than anybody here waits."""
DEEDS = {Signal.PENDING: "action", Signal.SETTLED: "paid", Signal.AUTHORIZED: "authorized"}


class DoubleWire(Wire):
    """The double's buyer and saboteur."""

    def __init__(self, double: StripeDouble) -> None:
        self._double = double

    def is_payable(self, page: PageOpened) -> bool:
        session = self._double.sessions.get(page.token)
        return session is not None and session["status"] == "open" and session["url"] == page.url

    def buyer_tries(self, page: PageOpened, attempt: Attempt, outcome: Signal) -> str:  # noqa: ARG002 - by the session
        if outcome is Signal.EXPIRED:
            intent_id = self._double.buyer(page.token, "action")
            self._double.expires(page.token)
            return intent_id
        if outcome not in DEEDS:
            pytest.skip(f"Stripe has no {outcome.value} charge: a declined try may be repeated, reviews are its own")
        return self._double.buyer(page.token, DEEDS[outcome])

    def becomes(self, transaction_id: str, word: Signal) -> None:
        assert word is Signal.SETTLED
        self._double.succeeds(transaction_id)

    def asked_for(self, page: PageOpened, attempt: Attempt) -> Money:  # noqa: ARG002 - by the session
        session = self._double.sessions[page.token]
        return Money(session["amount_total"], Currency.of(session["currency"].upper()))  # two decimals at Stripe too

    def says(self, transaction_id: str, word: str) -> None:
        self._double.says(transaction_id, word)

    def holds_the_next_answer(self) -> None:
        self._double.faults = ["hold"]

    def notification(self, transaction_id: str) -> tuple[bytes, dict[str, str]]:
        about = (event for event in reversed(self._double.events) if event["data"]["object"]["id"] == transaction_id)
        return signed(next(about))

    def refuses_the_next_call(self) -> None:
        self._double.faults = ["refuse"]

    def loses_the_next_answer(self) -> None:
        self._double.faults = ["lose"]


@pytest.fixture(scope="module")
def double() -> Iterator[StripeDouble]:
    with stripe_double() as running:
        yield running


@asynccontextmanager
async def stripe_at(url: str, *, timeout_s: float) -> AsyncIterator[StripeGateway]:
    timeout = timedelta(seconds=timeout_s)
    gateway = StripeGateway(StripeSettings(secret_key=KEY, webhook_secrets=(SECRET,), api_url=url, timeout=timeout))
    yield gateway
    await gateway.close()


class TestStripeGateway(GatewayContract):
    secrets = (KEY, "sk_test", SECRET, "whsec")
    price_minor = 7_500_000
    unknown_page = PageClosing.IN_PROGRESS

    @pytest.fixture
    async def gateway(self, double: StripeDouble) -> AsyncIterator[StripeGateway]:
        double.faults.clear()
        async with stripe_at(double.url, timeout_s=5) as gateway:
            yield gateway

    @pytest.fixture
    async def impatient(self, double: StripeDouble) -> AsyncIterator[StripeGateway]:
        async with stripe_at(double.url, timeout_s=0.2) as gateway:
            yield gateway

    @pytest.fixture
    def wire(self, double: StripeDouble) -> Wire:
        return DoubleWire(double)


# ── the simulator ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator("--gateway", "stripe", "--webhook-secret", SECRET, server_key=KEY) as running:
        running.control("settings", {"notify_url": "http://127.0.0.1:9/"})
        yield running


class SimulatorWire(Wire):
    """The simulator's control endpoints."""

    def __init__(self, simulator: RunningSimulator) -> None:
        self._simulator = simulator

    def is_payable(self, page: PageOpened) -> bool:
        reports = self._simulator.view("ledger")["orders"].values()
        sessions = {session["id"]: session["status"] for report in reports for session in report["sessions"]}
        return sessions.get(page.token) == "open"

    def buyer_tries(self, page: PageOpened, attempt: Attempt, outcome: Signal) -> str:  # noqa: ARG002 - by the session
        words = {Signal.PENDING: "requires_action", Signal.EXPIRED: "requires_action", Signal.SETTLED: "succeeded"}
        if outcome not in words:
            pytest.skip(f"the simulated Stripe has no {outcome.value} charge of a session that was opened so")
        shown = self._simulator.control("pay", {"session": page.token, "outcome": words[outcome]})
        if outcome is Signal.EXPIRED:
            self._simulator.control("transition", {"session": page.token, "to": "expire"})
        return str(shown["payment_intent"]["id"])

    def becomes(self, transaction_id: str, word: Signal) -> None:
        assert word is Signal.SETTLED
        self._simulator.control("transition", {"transaction_id": transaction_id, "to": "succeed"})

    def asked_for(self, page: PageOpened, attempt: Attempt) -> Money:  # noqa: ARG002 - by the session
        orders = self._simulator.view("ledger")["orders"].values()
        order = next(order for order in orders if order["token"] == page.token)
        return Money(int(Decimal(order["gross_amount"]) * 100), Currency.of(order["currency"]))

    def says(self, transaction_id: str, word: str) -> None:  # noqa: ARG002 - no word of ours
        pytest.skip("the simulator knows Stripe's words alone; the double knows any")

    def holds_the_next_answer(self) -> None:
        fault = {"kind": "timeout", "hang_s": HANG_S, "calls": "all", "count": 1}
        self._simulator.control("faults", {"faults": [fault]})

    def notification(self, transaction_id: str) -> tuple[bytes, dict[str, str]]:
        sent = self._simulator.view("notifications")["notifications"]
        about = (n["body"] for n in reversed(sent) if n["body"]["data"]["object"]["id"] == transaction_id)
        return signed(next(about))

    def refuses_the_next_call(self) -> None:
        fault = {"kind": "server_error", "status": 503, "applied": False, "calls": "all", "count": 1}
        self._simulator.control("faults", {"faults": [fault]})

    def loses_the_next_answer(self) -> None:
        fault = {"kind": "cut", "applied": True, "calls": "all", "count": 1}
        self._simulator.control("faults", {"faults": [fault]})


class TestStripeAtTheSimulator(GatewayContract):
    secrets = (KEY, "sk_test", SECRET, "whsec")
    price_minor = 7_500_000
    unknown_page = PageClosing.IN_PROGRESS

    @pytest.fixture
    async def gateway(self, simulator: RunningSimulator) -> AsyncIterator[StripeGateway]:
        simulator.control("faults", {})
        async with stripe_at(simulator.url, timeout_s=5) as gateway:
            yield gateway

    @pytest.fixture
    async def impatient(self, simulator: RunningSimulator) -> AsyncIterator[StripeGateway]:
        async with stripe_at(simulator.url, timeout_s=0.2) as gateway:
            yield gateway

    @pytest.fixture
    def wire(self, simulator: RunningSimulator) -> Wire:
        return SimulatorWire(simulator)
