"""The real adapter of Stripe on the made-up wire: where the SDK was stands Stripe's API as `StripeLedger` has it."""

import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TypeVar

import attrs

from payments_core.errors import GatewayUnavailable
from payments_core.payment import Attempt
from payments_core.ports import PageReply
from payments_core_stripe import StripeGateway, StripeSettings
from payments_core_stripe.client import ApiRefusal, Object, StripeApi
from payments_core_stripe.settings import API_VERSION
from unit.simulation.network import BEGAN, Openings, Wire
from unit.simulation.stripe_ledger import Broken, StripeLedger

__all__ = ["SETTINGS", "GatewayClock", "SimulatedStripe", "StripeWire", "signed_at"]

Answer = TypeVar("Answer")

_SECRET = "whsec_simulated"
SETTINGS = StripeSettings(secret_key="sk_test_simulated", webhook_secrets=(_SECRET,))


@attrs.frozen
class GatewayClock:
    """The time of the far side, which is right: a machine whose clock is wrong takes no event at all."""

    seconds: Callable[[], float]

    def now(self) -> datetime:
        """The time of this world."""
        return BEGAN + timedelta(seconds=self.seconds())

    async def sleep(self, seconds: float) -> None:
        """Nobody waits by it."""
        raise NotImplementedError


class StripeWire(StripeApi):
    """The calls the adapter makes; a refusal is an answer, and gets lost like one."""

    def __init__(self, ledger: StripeLedger, wire: Wire) -> None:
        self.ledger, self.wire = ledger, wire

    async def _sent(self, name: str, effect: Callable[[], Answer]) -> Answer:
        def answered() -> Answer | Exception:
            try:
                return effect()
            except ApiRefusal as refusal:
                return refusal
            except Broken:
                return GatewayUnavailable("Stripe answered 500")

        answer = await self.wire.call(name, answered)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _then(self) -> float:
        return self.ledger.clock() - self.wire.lag_s()

    async def create_session(self, params: Object, idempotency_key: str) -> Object:
        """The session of these parameters."""
        return await self._sent("create", lambda: self.ledger.keyed(idempotency_key, params, self.ledger.create))

    async def session(self, session_id: str) -> Object:
        """This session with its intent."""
        return await self._sent("session", lambda: self.ledger.session(session_id, self._then()))

    async def session_of(self, intent_id: str) -> Object | None:
        """The session of an intent."""
        return await self._sent("session_of", lambda: self.ledger.session_with(intent_id, self._then()))

    async def expire_session(self, session_id: str) -> Object:
        """The session, expired."""
        return await self._sent("expire", lambda: self.ledger.expire(session_id))

    async def intent(self, intent_id: str) -> Object:
        """This intent."""
        return await self._sent("intent", lambda: self.ledger.intent(intent_id, self._then()))

    async def capture(self, intent_id: str, amount: int) -> Object:
        """The intent, captured."""
        return await self._sent("capture", lambda: self.ledger.capture(intent_id, amount))

    async def cancel_intent(self, intent_id: str) -> Object:
        """The intent, cancelled."""
        return await self._sent("cancel", lambda: self.ledger.cancel(intent_id))

    async def refund(self, params: Object, idempotency_key: str) -> Object:
        """The refund of these parameters."""
        return await self._sent("refund", lambda: self.ledger.keyed(idempotency_key, params, self.ledger.refund))

    async def refunds(self, intent_id: str) -> list[Object]:
        """The refunds of an intent."""
        return await self._sent("refunds", lambda: self.ledger.refunds(intent_id, self._then()))

    async def disputes(self, intent_id: str) -> list[Object]:
        """The disputes about an intent."""
        return await self._sent("disputes", lambda: self.ledger.disputes(intent_id, self._then()))


class SimulatedStripe(StripeGateway):
    """The adapter as it is, but for what opens connections."""

    def __init__(self, api: StripeWire, openings: Openings) -> None:
        self._settings, self._clock = SETTINGS, GatewayClock(api.ledger.clock)
        self._api, self._versions, self._openings = api, {API_VERSION}, openings

    async def open_page(self, attempt: Attempt) -> PageReply:
        """As the adapter does it; that nobody else does is looked at."""
        return await self._openings.opened(attempt, super().open_page(attempt))


def signed_at(body: bytes, seconds: float) -> dict[str, str]:
    """The header of a delivery made at this time of the world; each delivery is signed anew."""
    timestamp = int((BEGAN + timedelta(seconds=seconds)).timestamp())
    signature = hmac.new(_SECRET.encode(), f"{timestamp}.".encode() + body, sha256).hexdigest()
    return {"Stripe-Signature": f"t={timestamp},v1={signature}"}
