"""The `Gateway` port for Stripe: hosted Checkout Sessions, retrieved objects, signed events."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from payments_core.body import Fields, read_fields
from payments_core.errors import AmountNotRepresentable, GatewayUnavailable, MalformedNotification, NotAuthentic
from payments_core.money import Money
from payments_core.observations import Observation
from payments_core.orders import Order
from payments_core.payment import Attempt, Refund
from payments_core.policy import GatewayTraits
from payments_core.ports import (
    CaptureReply,
    Clock,
    Done,
    Foreign,
    Genuine,
    KeyUsed,
    PageClosing,
    PageOpened,
    PageRefused,
    PageReply,
    RefundReply,
    Refused,
    Waiting,
)
from payments_core.system import SystemClock
from payments_core_stripe.amounts import to_stripe
from payments_core_stripe.client import ApiRefusal, Object, StripeApi
from payments_core_stripe.observe import PROVIDER, identifier, observe
from payments_core_stripe.reading import is_alive, needs_session, read_intent, read_page_alone
from payments_core_stripe.session import page_request
from payments_core_stripe.settings import API_VERSION, StripeSettings
from payments_core_stripe.signature import is_signed

__all__ = ["StripeGateway"]

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_NOT_FOUND = 404
_MISSING = "resource_missing"
_USED_KEY = "idempotency_error"
_SESSION = "cs_"
_ID_MAX, _URL_MAX = 255, 4096
_GIVEN_BACK = frozenset({"succeeded"})
_ON_ITS_WAY = frozenset({"pending", "requires_action"})
_NO_REVIEW = "Stripe has no charges that wait for our review"


class StripeGateway:
    """Stripe as a payment provider; owns its connections until `close`."""

    name = PROVIDER

    def __init__(self, settings: StripeSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._api = StripeApi(settings)
        self._versions = {API_VERSION}

    def __repr__(self) -> str:
        return f"StripeGateway({self._settings!r})"

    @property
    def traits(self) -> GatewayTraits:
        """Stripe signs whole events; its refunds and disputes name no order."""
        return self._settings.traits

    # ── events ────────────────────────────────────────────────────────────────────────────────────────────────────
    def authenticate(self, body: bytes, headers: Mapping[str, str]) -> Genuine | Foreign:
        """What the bytes say, once their sender is proved; an event of another account is foreign.

        Errors: MalformedNotification, NotAuthentic.
        """
        header = next((value for name, value in headers.items() if name.lower() == "stripe-signature"), "")
        if not is_signed(body, header, self._settings.webhook_secrets, self._clock.now()):
            raise NotAuthentic("Stripe-Signature is wrong, absent, or too far from our time")
        event = read_fields(body)
        identity = identifier(event)
        if identity is None:
            raise MalformedNotification("an event has an id")
        if event.get("account") is not None:
            return Foreign("an event of a connected account")
        self._note_version(event)
        return Genuine(observe(event), identity)

    def observe(self, body: bytes) -> Observation:
        """What a stored event says."""
        return observe(read_fields(body))

    def _note_version(self, event: Fields) -> None:
        """Events come in their endpoint's version; one that is not ours is told once, since fields may differ."""
        version = event.get("api_version")
        if isinstance(version, str) and version not in self._versions:
            self._versions = {API_VERSION, version}
            log.warning("Stripe sends events in version %.32s; make the endpoint with %s", version, API_VERSION)

    # ── amounts ───────────────────────────────────────────────────────────────────────────────────────────────────
    def refuse_unsayable(self, order: Order) -> None:
        """Nothing, when Stripe can say the order's total; a line it cannot say is folded into one with the others."""
        to_stripe(order.total)

    def refuse_amount(self, amount: Money) -> None:
        """Nothing, when Stripe can say the amount."""
        to_stripe(amount)

    # ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────
    def page_request(self, order: Order, attempt: Attempt) -> str:
        """The exact parameters, and the idempotency key, that open this attempt."""
        finish = attempt.return_url or f"{self._settings.frontend_url.rstrip('/')}/orders/{order.order_id}/finish"
        return page_request(order, attempt, finish)

    async def open_page(self, attempt: Attempt) -> PageReply:
        """The session and its URL; the same key again brings the same session.

        A session over another total than ours is expired before anybody can see it, and the attempt has failed.
        """
        if attempt.request is None:
            raise ValueError(f"attempt {attempt.provider_order_id} has no stored request")
        request = json.loads(attempt.request)
        try:
            session = await self._api.create_session(request["params"], request["idempotency_key"])
        except ApiRefusal as refusal:
            if refusal.status == _NOT_FOUND or refusal.code == _USED_KEY:  # a create has no such answers of its own
                raise _unavailable(refusal) from None
            return PageRefused((refusal.message,))
        token, url = _text(session, "id", _ID_MAX), _text(session, "url", _URL_MAX)
        if not url.startswith(("https://", "http://")):
            raise GatewayUnavailable("Stripe answered with something that is no URL")
        if (difference := _difference(session, attempt)) is not None:
            await self._end(token)
            return PageRefused((difference,))
        return PageOpened(token, url)

    async def close_page(self, attempt: Attempt) -> PageClosing:
        """Expire the session; one that is complete takes no other try, and waits for the one it took.

        Stripe forgets no session, so one it does not know was asked for under another account's key: no proof.
        """
        token = attempt.token or ""
        try:
            await self._api.expire_session(token)
        except ApiRefusal as refusal:
            if refusal.status == _NOT_FOUND:
                return PageClosing.IN_PROGRESS
        else:
            return PageClosing.GONE
        session = await self._found(self._api.session(token))
        if session is None:
            return PageClosing.IN_PROGRESS
        match session.get("status"):
            case "expired":
                return PageClosing.GONE
            case "complete":
                return PageClosing.IN_PROGRESS if is_alive(session.get("payment_intent")) else PageClosing.GONE
            case _:
                raise GatewayUnavailable("Stripe does not expire this session now")

    async def _end(self, session_id: str) -> None:
        """Nobody can pay on this session any more. Errors: as `close_page`; the same create comes here again."""
        try:
            await self._api.expire_session(session_id)
        except ApiRefusal:
            session = await self._found(self._api.session(session_id))
            if session is None or session.get("status") != "expired":
                raise GatewayUnavailable("Stripe does not expire this session now") from None

    # ── readings ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def read(self, transaction_id: str) -> Observation | None:
        """The intent as it stands, beside its session where only that tells whether it is over."""
        if transaction_id.startswith(_SESSION):
            return await self._read_session(transaction_id)
        intent = await self._found(self._api.intent(transaction_id))
        if intent is None:
            return None
        session = None
        if needs_session(intent):
            session = await self._found(self._api.session_of(transaction_id))
        return await self._read(intent, session)

    async def read_page(self, attempt: Attempt) -> Observation | None:
        """The session's intent, or the session's own end when nobody has tried to pay on it."""
        return await self._read_session(attempt.token) if attempt.token is not None else None

    async def _read_session(self, session_id: str) -> Observation | None:
        session = await self._found(self._api.session(session_id))
        if session is None:
            return None
        intent = session.get("payment_intent")
        if intent is None:
            return _understood(lambda: read_page_alone(session))
        if not isinstance(intent, dict):
            raise GatewayUnavailable("Stripe answered without the intent it was asked for")
        return await self._read(intent, session)

    async def _read(self, intent: Object, session: Object | None) -> Observation:
        """With what was given back and fought over, once there is money."""
        refunds, disputes = list[Object](), list[Object]()
        intent_id, charge = identifier(intent) or "", intent.get("latest_charge")
        try:
            if intent.get("status") == "succeeded":
                refunds = await self._api.refunds(intent_id)
                if isinstance(charge, dict) and charge.get("disputed") is True:
                    disputes = await self._api.disputes(intent_id)
        except ApiRefusal as refusal:
            raise _unavailable(refusal) from None
        return _understood(lambda: read_intent(intent, session, refunds=refunds, disputes=disputes))

    async def _found(self, call: Awaitable[Answer]) -> Answer | None:
        """The answer; None when Stripe says that it has no such thing."""
        try:
            return await call
        except ApiRefusal as refusal:
            if refusal.code == _MISSING:
                return None
            raise _unavailable(refusal) from None

    # ── money ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def cancel(self, transaction_id: str) -> None:
        """Cancel the intent; the one of an open session ends with its session only. A refusal is no error."""
        if transaction_id.startswith(_SESSION):
            return  # paid without an intent: there is nothing to cancel
        try:
            await self._api.cancel_intent(transaction_id)
        except ApiRefusal:
            session = await self._found(self._api.session_of(transaction_id))
            if session is not None and session.get("status") == "open":
                try:
                    await self._api.expire_session(identifier(session) or "")
                except ApiRefusal:
                    return

    async def capture(self, transaction_id: str, amount: Money) -> CaptureReply:
        """Take held money, once: an intent that was captured refuses another capture by itself."""
        try:
            await self._api.capture(transaction_id, to_stripe(amount))
        except ApiRefusal as refusal:
            return Refused((refusal.message,))
        return Done()

    async def approve(self, transaction_id: str) -> CaptureReply:  # noqa: ARG002 - nothing waits
        """There is nothing to let through."""
        return Refused((_NO_REVIEW,))

    async def deny(self, transaction_id: str) -> CaptureReply:  # noqa: ARG002 - nothing waits
        """There is nothing to refuse."""
        return Refused((_NO_REVIEW,))

    async def refund(self, refund: Refund) -> RefundReply:
        """Give money back under the refund's key, which travels in the metadata too: a reading finds it by it."""
        params = {
            "payment_intent": refund.transaction_id,
            "amount": to_stripe(refund.amount),
            "reason": "requested_by_customer",
            "metadata": {"refund_key": refund.key},
        }
        try:
            made = await self._api.refund(params, f"{refund.key}:refund")
        except ApiRefusal as refusal:
            return KeyUsed() if refusal.code == _USED_KEY else Refused((refusal.message,))
        match made.get("status"):
            case word if word in _GIVEN_BACK:
                return Done()
            case word if word in _ON_ITS_WAY:
                return Waiting()
            case "failed" | "canceled":
                return Refused((f"Stripe says: {made.get('failure_reason') or made['status']}",))
            case _:
                return Waiting()

    async def close(self) -> None:
        """The connections are given back."""
        await self._api.close()


def _text(answer: Object, name: str, length_max: int) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= length_max:
        raise GatewayUnavailable(f"Stripe answered without a usable {name}")
    return value


def _difference(session: Object, attempt: Attempt) -> str | None:
    """What is wrong with the total of this session; None when it is ours, to the unit."""
    total, currency = session.get("amount_total"), session.get("currency")
    ours, in_currency = to_stripe(attempt.amount), attempt.amount.currency.code.lower()
    if (total, currency) == (ours, in_currency):
        return None
    return f"Stripe would ask for {total} {currency} instead of {ours} {in_currency}"


def _understood(read: Callable[[], Answer]) -> Answer:
    """What an answer says. Errors: GatewayUnavailable when it is none of Stripe's."""
    try:
        return read()
    except (AmountNotRepresentable, MalformedNotification, TypeError) as error:
        raise GatewayUnavailable(f"Stripe's answer cannot be read: {error}") from None


def _unavailable(refusal: ApiRefusal) -> GatewayUnavailable:
    return GatewayUnavailable(f"Stripe answered {refusal.status}: {refusal.message}")
