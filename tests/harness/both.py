"""The product with both gateways: each simulator a process of its own, events signed as Stripe signs them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from harness.product import Product, running_product, token
from payments_core_simulator.process import RunningSimulator, running_simulator

__all__ = ["STRIPE_KEY", "STRIPE_SECRETS", "Both", "running_both"]

STRIPE_KEY = "sk_test_simulated_4eC39HqLyjWDarjtT1zdp7dc"
STRIPE_SECRETS = ("whsec_simulated_one", "whsec_simulated_two")
"""The endpoint's secret, and the one it is being rolled to."""


@attrs.define
class Both:
    """The API, and the two gateways it talks to."""

    product: Product
    stripe: RunningSimulator

    @property
    def operator(self) -> str:
        """The token of an operator."""
        return token("olivia", payments_role="operator", scope="payments:operate payments:read")

    def pay(self, order_id: str, provider: str, **more: Any) -> dict[str, Any]:
        """The page a click with this provider opened or found."""
        answer = self.product.pay(order_id, json={"provider": provider, **more})
        return dict(answer.raise_for_status().json())

    def buyer(self, page: dict[str, Any], outcome: str = "succeeded", **more: Any) -> dict[str, Any]:
        """The buyer tries to pay on this Stripe page; its session, with the intent inside."""
        return dict(self.stripe.control("pay", {"session": page["token"], "outcome": outcome, **more}))

    def becomes(self, page: dict[str, Any], to: str, **more: Any) -> dict[str, Any]:
        """Bank, time or dashboard move the payment of this Stripe page."""
        return dict(self.stripe.control("transition", {"session": page["token"], "to": to, **more}))

    def operate(self, payment_id: str, what: str, key: str | None = None, json: Any = None) -> Any:
        """An operator's request."""
        headers = {"Idempotency-Key": key} if key else {}
        path = f"/api/payments/{payment_id}/{what}"
        return self.product.call("POST", path, as_=self.operator, json=json, headers=headers)


@contextlib.contextmanager
def running_both(database_url: str, folder: Path, **overrides: str) -> Iterator[Both]:
    """Both simulators and one server."""
    secrets = [part for secret in STRIPE_SECRETS[:1] for part in ("--webhook-secret", secret)]
    with running_simulator("--gateway", "stripe", *secrets, server_key=STRIPE_KEY) as stripe:
        settings = {
            "STRIPE_SECRET_KEY": STRIPE_KEY,
            "STRIPE_WEBHOOK_SECRET": ",".join(STRIPE_SECRETS),
            "STRIPE_API_URL": stripe.url,
            **overrides,
        }
        with running_product(database_url, folder, **settings) as product:
            stripe.control("settings", {"notify_url": f"{product.url}/api/webhooks/stripe/"})
            yield Both(product, stripe)
