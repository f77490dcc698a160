"""The people around one order: a buyer, a shop, an operator; and a note of everything they asked for."""

import asyncio
import random
import secrets
import time
from collections.abc import Mapping
from typing import Any

import attrs

from chaos.client import Client, GaveUpError
from chaos.plan import SKUS, UNIT_RUPIAH
from harness.clock import lasting_token

_SHOP = "orders:write orders:read payments:read payments:write"
_OPERATES = "payments:operate payments:read"
OPERATOR = "operator:olivia"
"""The name under which the product remembers what the operator asked for."""


@attrs.define
class Deed:
    """What was asked for one order, as those who asked remember it."""

    order_id: str
    story: str
    sku: str
    quantity: int
    payment_id: str | None = None
    refunds: dict[str, int | None] = attrs.field(factory=dict)
    """Idempotency-Key to rupiah, None for all that is left."""
    granted: dict[str, str] = attrs.field(factory=dict)
    """Idempotency-Key to the refund that was answered under it."""
    gave_up: str = ""

    @property
    def rupiah(self) -> int:
        """What the order costs."""
        return self.quantity * UNIT_RUPIAH


@attrs.define
class People:
    """They act on one order, and insist."""

    client: Client
    deed: Deed
    chance: random.Random
    shop: str = attrs.field(factory=lambda: lasting_token("shop", payments_role="service", scope=_SHOP), repr=False)
    operator: str = attrs.field(
        factory=lambda: lasting_token("olivia", payments_role="operator", scope=_OPERATES), repr=False
    )

    @classmethod
    def meet(cls, client: Client, story: str, number: int, seed: int) -> "People":
        """Those of order `number`; what they choose follows from the seed."""
        chance = random.Random(f"people:{seed}:{number}")  # noqa: S311 - a replayable chance, not a secret
        deed = Deed(f"c{seed}-{number}", story, chance.choice(SKUS), chance.randint(1, 3))
        return cls(client, deed, chance)

    # ── shop ──────────────────────────────────────────────────────────────────────────────────────────────────────
    async def place(self) -> None:
        """The order is placed, its stock reserved."""
        line = {"sku": self.deed.sku, "name": "A book", "price": str(UNIT_RUPIAH), "quantity": self.deed.quantity}
        body = {
            "customer": {"id": "alice", "name": "Alice", "email": "alice@example.com"},
            "currency": "IDR",
            "items": [line],
        }
        answer = await self.client.insist("PUT", f"/api/orders/{self.deed.order_id}", as_=self.shop, json=body)
        answer.raise_for_status()

    async def cancel(self) -> None:
        """The shop gives the order up; a page that was paid meanwhile wins."""
        await self.client.insist("POST", f"/api/orders/{self.deed.order_id}/cancel", as_=self.shop, key=_key())

    # ── buyer ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def click(self, provider: str = "midtrans") -> dict[str, Any] | None:
        """The page to pay on at this gateway; None when the order is over, or is paid elsewhere just now."""
        key = _key() if self.chance.random() < 0.5 else None
        path, wish = f"/api/orders/{self.deed.order_id}/pay/", {"provider": provider}
        answer = await self.client.insist("POST", path, as_=self.shop, json=wish, key=key)
        if not answer.is_success:
            return None
        self.deed.payment_id = str(answer.json()["payment_id"])
        return dict(answer.json())

    async def pay(self, page: Mapping[str, Any], payment_type: str, outcome: str) -> dict[str, Any] | None:
        """The buyer's try on the page; None when the gateway's page refuses it."""
        body = {"order_id": page["provider_order_id"], "payment_type": payment_type, "outcome": outcome}
        return await self.client.simulator("pay", body)

    async def move(self, transaction: Mapping[str, Any] | None, to: str) -> dict[str, Any] | None:
        """The transaction moves on at the gateway."""
        if transaction is None:
            return None
        return await self.client.simulator("transition", {"transaction_id": transaction["transaction_id"], "to": to})

    async def pay_at_stripe(
        self, page: Mapping[str, Any], outcome: str, method: str | None = None
    ) -> dict[str, Any] | None:
        """The buyer's try on the session; None when it cannot be paid."""
        body = {"session": page["token"], "outcome": outcome, **({} if method is None else {"method": method})}
        return await self.client.simulator("pay", body, "stripe")

    async def move_at_stripe(self, page: Mapping[str, Any], to: str) -> dict[str, Any] | None:
        """Bank, time or dashboard move the payment of this session; None when they cannot."""
        return await self.client.simulator("transition", {"session": page["token"], "to": to}, "stripe")

    async def see(self, *statuses: str, patience_s: float = 90.0) -> bool:
        """Whether the status of the payment became one of these in time."""
        path, until = f"/api/orders/{self.deed.order_id}/payment-status/?wait=5", time.monotonic() + patience_s
        while time.monotonic() < until:
            answer = await self.client.insist("GET", path, as_=self.shop)
            if answer.is_success and answer.json()["status"] in statuses:
                return True
            await asyncio.sleep(0.2)
        return False

    # ── operator ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def refund(self, rupiah: int | None) -> None:
        """So much is given back, asked for under one key however often it takes."""
        key = _key()
        self.deed.refunds[key] = rupiah
        body: dict[str, int] = {} if rupiah is None else {"amount": rupiah}
        path = f"/api/payments/{self.deed.payment_id}/refunds"
        answer = await self.client.insist("POST", path, as_=self.operator, json=body, key=key)
        if answer.is_success:
            self.deed.granted[key] = str(answer.json()["refund_id"])

    async def operate(self, what: str) -> None:
        """Capture, approve, deny: the operator's word on this payment."""
        body: dict[str, int] | None = {} if what == "capture" else None
        path = f"/api/payments/{self.deed.payment_id}/{what}"
        await self.client.insist("POST", path, as_=self.operator, json=body, key=_key())

    async def live(self, story: Any) -> None:
        """The story is over, one way or another; a caller who lost patience says where."""
        try:
            await story(self)
        except GaveUpError as error:
            self.deed.gave_up = str(error)


def _key() -> str:
    return secrets.token_hex(12)
