"""The wire between us and a gateway: calls that are slow, lost, refused, or done and cut off; and Midtrans behind it.

A request that outlives its caller's time-out arrives all the same, and takes effect late.
"""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any, TypeVar

import attrs

from payments_core.errors import GatewayTimeout, GatewayUnavailable, MalformedNotification, NotAuthentic
from payments_core.money import Money
from payments_core.observations import Observation, Unknown
from payments_core.orders import Order
from payments_core.payment import Attempt, Refund
from payments_core.policy import GatewayTraits
from payments_core.ports import CaptureReply, Foreign, Genuine, PageClosing, PageReply, RefundReply
from payments_core.states import Signal
from unit.simulation.far_side import FarSide
from unit.simulation.ledger import PROVIDER, Ledger
from unit.simulation.loop import PROCESS
from unit.simulation.telling import refunds_in

__all__ = ["BEGAN", "PROVIDER", "Openings", "SimulatedGateway", "Weather", "Wire", "seconds", "sign"]

BEGAN = datetime(2026, 1, 1, 5, 0, tzinfo=UTC)
"""What the clocks show when a world begins."""
Answer = TypeVar("Answer")
_SECRET = b"memory-secret"
_CURRENCY = "IDR"


@attrs.define
class Weather:
    """How the wire behaves just now; probabilities of one call. `lag_s` is how old a status answer may be."""

    unreachable: bool = False
    refused: float = 0.0
    """An error, and nothing happened."""
    lost: float = 0.0
    """It happened, and the answer never came."""
    broken: float = 0.0
    """It happened, and the answer was an error."""
    slow: float = 0.0
    """Up to 40 seconds each way: many time out and take effect later."""
    lag_s: float = 0.0


@attrs.define
class Wire:
    """Calls to one gateway; each ends within the time-out."""

    random: Random
    timeout: timedelta
    weather: Weather = attrs.field(factory=Weather)
    said: Callable[[str], None] = lambda _name: None
    caught_up_at: float = 0.0
    """Since when answers lag at most: a clock that leaps would call a lag over that is not."""

    async def call(self, name: str, effect: Callable[[], Answer]) -> Answer:
        """The answer of the far side, to which `effect` is done when the request arrives there.

        Errors: GatewayUnavailable, GatewayTimeout, whether or not it was done.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        weather, random, far_side = self.weather, self.random, Context()
        self.said(name)

        def tell(how: Callable[[Any], None], what: object) -> None:
            if not answer.done():
                how(what)

        def arrive() -> None:
            if weather.unreachable or random.random() < weather.refused:
                loop.call_later(self._pause(), tell, answer.set_exception, GatewayUnavailable("503"), context=far_side)
                return
            result = effect()
            draw = random.random()
            if draw < weather.broken:
                loop.call_later(self._pause(), tell, answer.set_exception, GatewayUnavailable("502"), context=far_side)
            elif draw >= weather.broken + weather.lost:
                loop.call_later(self._pause(), tell, answer.set_result, result, context=far_side)

        loop.call_later(self._pause(), arrive, context=far_side)
        late = GatewayTimeout("no answer in time")
        limit = loop.call_later(self.timeout.total_seconds(), tell, answer.set_exception, late)
        try:
            return await answer
        finally:
            limit.cancel()

    def lag_s(self) -> float:
        """How old the next answer is."""
        drawn = self.random.uniform(0, self.weather.lag_s)
        return min(drawn, asyncio.get_running_loop().time() - self.caught_up_at)

    def _pause(self) -> float:
        slow = self.random.random() < self.weather.slow
        return self.random.uniform(0, 40) if slow else self.random.uniform(0.01, 0.4)


@attrs.define
class Openings:
    """Whether a page is opened by one caller at a time, as its lease promises while no clock jumps."""

    far_side: FarSide
    leases_hold: bool = True
    _under_way: dict[str, tuple[float, Any]] = attrs.field(factory=dict)

    async def opened(self, attempt: Attempt, call: Awaitable[Answer]) -> Answer:
        """The answer of this call, which opens the page of this attempt."""
        order_id, now, process = attempt.provider_order_id, asyncio.get_running_loop().time(), PROCESS.get()
        earlier = self._under_way.get(order_id)
        held = earlier is not None and now < earlier[0] and (earlier[1] is None or earlier[1].alive)
        if held and self.leases_hold:
            self.far_side.complaints.append(f"{order_id} is opened twice at once, its lease notwithstanding")
        mine = self._under_way[order_id] = (seconds(attempt.lease_until) if attempt.lease_until else now, process)
        try:
            return await call
        finally:
            if self._under_way.get(order_id) == mine:
                del self._under_way[order_id]


@attrs.define
class SimulatedGateway:
    """The `Gateway` port with the manners of Midtrans; `ledger` is the far side."""

    ledger: Ledger
    wire: Wire
    openings: Openings
    traits: GatewayTraits = attrs.field(factory=GatewayTraits)
    name: str = PROVIDER

    # ── what needs no call ────────────────────────────────────────────────────────────────────────────────────────
    def authenticate(self, body: bytes, headers: Mapping[str, str]) -> Genuine | Foreign:
        """What the bytes say, once their signature is proved."""
        if b"transaction_id" not in body:
            raise MalformedNotification("no transaction_id")
        if not hmac.compare_digest(headers.get("signature", ""), sign(body)):
            raise NotAuthentic("the signature is wrong")
        return Genuine(self.observe(body))

    def observe(self, body: bytes) -> Observation:
        """What a notification says."""
        return observe(json.loads(body))

    def refuse_unsayable(self, order: Order) -> None:
        """This wire can say every amount."""

    def refuse_amount(self, amount: Money) -> None:
        """This wire can say every amount."""

    def page_request(self, order: Order, attempt: Attempt) -> str:  # noqa: ARG002 - the amount is the attempt's
        """The body that opens this attempt."""
        ends_at = (attempt.ends_at - BEGAN).total_seconds()
        return json.dumps({"amount_minor": attempt.amount.amount_minor, "ends_at": ends_at})

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def open_page(self, attempt: Attempt) -> PageReply:
        """Send the stored request."""
        order_id, request = attempt.provider_order_id, attempt.request
        if request is None:
            raise ValueError("a request is stored before it is sent")
        call = self.wire.call("open_page", lambda: self.ledger.open(order_id, request))
        return await self.openings.opened(attempt, call)

    async def close_page(self, attempt: Attempt) -> PageClosing:
        """End the page named by the attempt's token."""
        return await self.wire.call("close_page", lambda: self.ledger.close(attempt.provider_order_id, attempt.token))

    async def read(self, transaction_id: str) -> Observation | None:
        """The transaction of this id."""
        return await self._look(transaction_id)

    async def read_page(self, attempt: Attempt) -> Observation | None:
        """The newest transaction of this attempt's order id."""
        return await self._look(attempt.provider_order_id)

    async def _look(self, reference: str) -> Observation | None:
        seen = await self.wire.call("read", lambda: self.ledger.read(reference, self.wire.lag_s()))
        return observe(self.ledger.shown(*seen)) if seen else None

    async def cancel(self, transaction_id: str) -> None:
        """Cancel a transaction."""
        await self.wire.call("cancel", lambda: self.ledger.cancel(transaction_id))

    async def capture(self, transaction_id: str, amount: Money) -> CaptureReply:
        """Take held money."""
        return await self.wire.call("capture", lambda: self.ledger.capture(transaction_id, amount.amount_minor))

    async def approve(self, transaction_id: str) -> CaptureReply:
        """Let a transaction under review through."""
        return await self.wire.call("approve", lambda: self.ledger.review(transaction_id, Signal.CAPTURED))

    async def deny(self, transaction_id: str) -> CaptureReply:
        """Refuse a transaction under review."""
        return await self.wire.call("deny", lambda: self.ledger.review(transaction_id, Signal.DENIED))

    async def refund(self, refund: Refund) -> RefundReply:
        """Give settled money back."""
        key, transaction_id, minor = refund.key, refund.transaction_id, refund.amount.amount_minor
        return await self.wire.call("refund", lambda: self.ledger.refund(key, transaction_id, minor))


# ── the wire's words ──────────────────────────────────────────────────────────────────────────────────────────────────
def sign(body: bytes) -> str:
    """The signature of a notification."""
    return hmac.new(_SECRET, body, sha256).hexdigest()


def observe(fields: dict[str, Any]) -> Observation:
    """The same in our words."""
    word, method = fields["status"], fields["method"]
    refunded, refunds = refunds_in(fields)
    return Observation(
        provider=PROVIDER,
        provider_order_id=fields["order_id"],
        transaction_id=fields["transaction_id"],
        meaning=Signal(word) if word in Signal._value2member_map_ else Unknown(word),
        amount=Money.of(fields["amount_minor"], _CURRENCY),
        method=method,
        occurred_at=None if (taken_at := fields["taken_at"]) is None else BEGAN + timedelta(seconds=taken_at),
        ends_page=word in ("expired", "cancelled") and method != "card",
        refunded=refunded,
        refunds=refunds,
        charged_back=Money.of(fields["charged_back"], _CURRENCY),
    )


def seconds(of: datetime) -> float:
    """A moment as seconds since a world began."""
    return (of - BEGAN) / timedelta(seconds=1)
