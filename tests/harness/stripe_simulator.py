"""What tests of the Stripe simulator ask it: the real SDK, the levers, and a receiver that verifies as the SDK does."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import stripe

from payments_core_simulator.process import RunningSimulator, running_simulator

KEY = "sk_test_simulated"
SECRETS = ("whsec_new", "whsec_old")
PRICE = 7_500_000


@contextmanager
def running_stripe(*arguments: str, secrets: tuple[str, ...] = SECRETS) -> Iterator[RunningSimulator]:
    """The simulator as a process of its own; every secret signs."""
    signing = [word for secret in secrets for word in ("--webhook-secret", secret)]
    with running_simulator("--gateway", "stripe", *signing, *arguments, server_key=KEY) as running:
        yield running


@attrs.frozen
class Stripe:
    """The simulator with a client of its API."""

    simulator: RunningSimulator
    client: stripe.StripeClient

    @classmethod
    def of(cls, simulator: RunningSimulator, *, key: str = KEY) -> "Stripe":
        """A client without retries of its own, so that a test sees each answer."""
        client = stripe.StripeClient(key, base_addresses={"api": simulator.url}, max_network_retries=0)
        return cls(simulator, client)

    def create(self, reference: str = "o-1", *, key: str | None = None, **changes: Any) -> stripe.checkout.Session:
        """A session over two items; `changes` replace parameters."""
        options: Any = {"idempotency_key": key} if key else {}
        return self.client.v1.checkout.sessions.create(params(reference, **changes), options)

    def pay(self, reference: str = "o-1", outcome: str = "succeeded", **more: object) -> dict[str, Any]:
        """The buyer's try on the page; the session with its intent and its newest charge inside."""
        return dict(self.simulator.control("pay", {"order_id": reference, "outcome": outcome, **more}))

    def becomes(self, to: str, reference: str = "o-1", **more: object) -> dict[str, Any]:
        """Bank, time or somebody in the dashboard moved the payment."""
        return dict(self.simulator.control("transition", {"order_id": reference, "to": to, **more}))

    def paid(self, reference: str = "o-1", **changes: Any) -> str:
        """The intent of a new session that was paid by card."""
        self.create(reference, **changes)
        return str(self.pay(reference)["payment_intent"]["id"])

    def transaction(self, reference: str = "o-1") -> dict[str, Any]:
        """What really happened to the order's money."""
        return dict(self.simulator.view("ledger")["orders"][reference]["transactions"][0])

    def events(self) -> list[str]:
        """The types of every event so far, oldest first."""
        listed = self.client.v1.events.list({"limit": 100}).auto_paging_iter()
        return [event.type for event in listed][::-1]


def params(reference: str = "o-1", **changes: Any) -> Any:
    """The parameters of a create."""
    usual = {
        "mode": "payment",
        "success_url": "https://shop.example/done?session={CHECKOUT_SESSION_ID}",
        "client_reference_id": reference,
        "metadata": {"order_id": "shop-1"},
        "expires_at": int(time.time()) + 3600,
        "line_items": [line()],
        "payment_intent_data": {"metadata": {"provider_order_id": reference}},
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def line(amount: int = PRICE, currency: str = "idr", quantity: int = 2) -> dict[str, Any]:
    """A line with an inline price."""
    data = {"currency": currency, "unit_amount": amount, "product_data": {"name": "A book"}}
    return {"quantity": quantity, "price_data": data}


def error_of(call: Callable[[], object]) -> stripe.StripeError:
    """What the SDK raises."""
    try:
        call()
    except stripe.StripeError as error:
        return error
    raise AssertionError("the call was not refused")
