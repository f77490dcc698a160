"""A gateway whose calls are bounded in number, over all processes; and that notices when it is back.

It stands around any `Gateway`, so an adapter knows nothing of it. A call waits for its turn for half its time-out at
most, and ends within the whole of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from time import monotonic
from typing import Any, TypeVar

from payments_core.errors import GatewayRefused, GatewayTimeout, GatewayUnavailable
from payments_core.limits import RECOVERED_EVERY
from payments_core.money import Money
from payments_core.observations import Observation
from payments_core.orders import Order
from payments_core.payment import Attempt, Refund
from payments_core.policy import GatewayTraits
from payments_core.ports import CaptureReply, Foreign, Gateway, Genuine, PageClosing, PageReply, RefundReply
from payments_core_app.budget import CallBudget

__all__ = ["LimitedGateway"]

Answer = TypeVar("Answer")

_BUSY = "gateway_busy"


class LimitedGateway:
    """The `Gateway` port around another one.

    `budget` says how many calls may be on their way; whoever keeps this process's share resizes it.
    `recovered` is called when a call is answered after calls that were not.
    """

    def __init__(self, inner: Gateway, budget: CallBudget) -> None:
        self.inner, self.budget = inner, budget
        self.recovered: Callable[[str], None] = lambda _: None
        self._failing = False
        self._told_at = -RECOVERED_EVERY.total_seconds()

    def __repr__(self) -> str:
        return f"LimitedGateway({self.inner!r})"

    def close(self) -> Awaitable[None] | None:
        """The gateway's connections are given back, once what is returned was awaited."""
        closing: Awaitable[None] | None = getattr(self.inner, "close", lambda: None)()
        return closing

    # ── what asks nobody ──────────────────────────────────────────────────────────────────────────────────────────
    @property
    def name(self) -> str:
        """The provider's word."""
        return self.inner.name

    @property
    def traits(self) -> GatewayTraits:
        """Those of the gateway: the time-out covers waiting too."""
        return self.inner.traits

    def authenticate(self, body: bytes, headers: Mapping[str, str]) -> Genuine | Foreign:
        """As the gateway."""
        return self.inner.authenticate(body, headers)

    def observe(self, body: bytes) -> Observation:
        """As the gateway."""
        return self.inner.observe(body)

    def refuse_unsayable(self, order: Order) -> None:
        """As the gateway."""
        self.inner.refuse_unsayable(order)

    def refuse_amount(self, amount: Money) -> None:
        """As the gateway."""
        self.inner.refuse_amount(amount)

    def page_request(self, order: Order, attempt: Attempt) -> str:
        """As the gateway."""
        return self.inner.page_request(order, attempt)

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def open_page(self, attempt: Attempt) -> PageReply:
        """As the gateway, in its turn."""
        return await self._in_turn(lambda: self.inner.open_page(attempt))

    async def close_page(self, attempt: Attempt) -> PageClosing:
        """As the gateway, in its turn."""
        return await self._in_turn(lambda: self.inner.close_page(attempt))

    async def read(self, transaction_id: str) -> Observation | None:
        """As the gateway, in its turn."""
        return await self._in_turn(lambda: self.inner.read(transaction_id))

    async def read_page(self, attempt: Attempt) -> Observation | None:
        """As the gateway, in its turn."""
        return await self._in_turn(lambda: self.inner.read_page(attempt))

    async def cancel(self, transaction_id: str) -> None:
        """As the gateway, in its turn."""
        await self._in_turn(lambda: self.inner.cancel(transaction_id))

    async def capture(self, transaction_id: str, amount: Money) -> CaptureReply:
        """As the gateway, in its turn."""
        return await self._in_turn(lambda: self.inner.capture(transaction_id, amount))

    async def approve(self, transaction_id: str) -> CaptureReply:
        """As the gateway, in its turn."""
        return await self._in_turn(lambda: self.inner.approve(transaction_id))

    async def deny(self, transaction_id: str) -> CaptureReply:
        """As the gateway, in its turn."""
        return await self._in_turn(lambda: self.inner.deny(transaction_id))

    async def refund(self, refund: Refund) -> RefundReply:
        """As the gateway, in its turn."""
        return await self._in_turn(lambda: self.inner.refund(refund))

    async def _in_turn(self, call: Callable[[], Coroutine[Any, Any, Answer] | Awaitable[Answer]]) -> Answer:
        """A call that outlasts its time-out goes on being counted until it has really ended."""
        timeout_s = self.traits.timeout.total_seconds()
        until = monotonic() + timeout_s
        await self.budget.enter(timeout_s / 2)
        running = asyncio.ensure_future(call())
        running.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(max(0.0, until - monotonic())):
                return await asyncio.shield(running)
        except TimeoutError:
            raise GatewayTimeout("the gateway did not answer in time") from None

    def _ended(self, running: "asyncio.Future[Any]") -> None:
        self.budget.leave()
        error = None if running.cancelled() else running.exception()
        if isinstance(error, GatewayUnavailable | GatewayTimeout):
            self._failing = True
        elif (error is None or isinstance(error, GatewayRefused)) and self._failing and not running.cancelled():
            self._failing = False
            if monotonic() >= self._told_at + RECOVERED_EVERY.total_seconds():
                self._told_at = monotonic()
                self.recovered(self.name)
