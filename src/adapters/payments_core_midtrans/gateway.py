"""The `Gateway` port for Midtrans: Snap's page, the Core API's answers, the signed notification."""

from collections.abc import Awaitable, Mapping

from payments_core.body import Fields, read_fields
from payments_core.errors import GatewayUnavailable, MalformedNotification, NotAuthentic
from payments_core.money import Money
from payments_core.observations import Observation
from payments_core.orders import Order
from payments_core.payment import Attempt, Refund
from payments_core.policy import GatewayTraits
from payments_core.ports import (
    CaptureReply,
    Done,
    Foreign,
    Genuine,
    KeyUsed,
    PageClosing,
    PageOpened,
    PageRefused,
    PageReply,
    PageTaken,
    RefundReply,
    Refused,
    Waiting,
)
from payments_core_midtrans.client import ApiRefusal, MidtransClient
from payments_core_midtrans.observe import PROVIDER, observe
from payments_core_midtrans.settings import MidtransSettings
from payments_core_midtrans.signature import is_signed
from payments_core_midtrans.snap import page_request, refuse_unsayable, whole_rupiah

__all__ = ["MidtransGateway"]

_FOREIGN = {"subscription": "subscription", "account_id": "pay account", "originalReferenceNo": "BI-SNAP"}
"""Fields that tell an unsigned body about something else from a payment's (midtrans.md section 6)."""
_TAKEN = ("has already been taken", "has been paid and utilized", "sudah digunakan")
"""A duplicate is HTTP 400 at Snap, told apart by text alone, in two languages."""
_GONE = ("token already canceled", "token not found")
_IN_PROGRESS = "transaction is on progress"
_OK = 200
_NOT_FOUND = 404
_ABOUT_US = frozenset({401, 402, 403, 408, 429})
"""Refusals of our key, our account or our pace, not of this request: after they are mended it can succeed."""
_WRONG_ADDRESS = frozenset({404, 405})
"""A create has no such answers of its own: this is not Snap."""
_DUPLICATE = 406
_GIVEN_BACK = frozenset({"refund", "partial_refund"})
_REASON = "refund"
"""BNI needs a reason."""
_TOKEN_MAX, _URL_MAX = 256, 2048
_SERVER_ERROR = 500


class MidtransGateway:
    """Midtrans as a payment provider; owns its connections until `close`."""

    name = PROVIDER

    def __init__(self, settings: MidtransSettings) -> None:
        self._settings = settings
        self._client = MidtransClient(settings)

    def __repr__(self) -> str:
        return f"MidtransGateway({self._settings!r})"

    @property
    def traits(self) -> GatewayTraits:
        """Midtrans signs no status, and its answers may lag."""
        return self._settings.traits

    def authenticate(self, body: bytes, headers: Mapping[str, str]) -> Genuine | Foreign:  # noqa: ARG002 - it signs no header
        """What the bytes say, once their sender is proved.

        Errors: MalformedNotification, NotAuthentic.
        """
        fields = read_fields(body)
        if "signature_key" not in fields or "order_id" not in fields:
            foreign = next((kind for field, kind in _FOREIGN.items() if field in fields), None)
            if foreign is not None:
                return Foreign(foreign)
        order_id, code, gross = (_required(fields, name) for name in ("order_id", "status_code", "gross_amount"))
        signature = fields.get("signature_key")
        if not isinstance(signature, str) or not is_signed(order_id, code, gross, signature, self._settings.keys):
            raise NotAuthentic("signature_key is wrong, absent or not text")
        return Genuine(observe(fields))

    def observe(self, body: bytes) -> Observation:
        """What a stored notification says."""
        return observe(read_fields(body))

    def refuse_unsayable(self, order: Order) -> None:
        """Nothing, when every amount of the order is whole rupiah."""
        refuse_unsayable(order)

    def refuse_amount(self, amount: Money) -> None:
        """Nothing, when the amount is whole rupiah."""
        whole_rupiah(amount)

    def page_request(self, order: Order, attempt: Attempt) -> str:
        """The exact body that opens this attempt."""
        finish = attempt.return_url or f"{self._settings.frontend_url.rstrip('/')}/orders/{order.order_id}/finish"
        return page_request(order, attempt, finish)

    async def open_page(self, attempt: Attempt) -> PageReply:
        """Snap's token and URL; the same order id again replaces a token whose page nobody has used."""
        if attempt.request is None:
            raise ValueError(f"attempt {attempt.provider_order_id} has no stored request")
        try:
            answer = await self._client.create_page(attempt.request)
        except ApiRefusal as refusal:
            return _reply_to(refusal)
        token, url = _text(answer, "token", _TOKEN_MAX), _text(answer, "redirect_url", _URL_MAX)
        if not url.startswith(("https://", "http://")):
            raise GatewayUnavailable("Midtrans answered with something that is no URL")
        return PageOpened(token, url)

    async def close_page(self, attempt: Attempt) -> PageClosing:
        """Cancel the Snap token. Only Snap's own words count: a 404 of another kind proves nothing."""
        try:
            answer = await self._client.cancel_page(attempt.token or "")
        except ApiRefusal as refusal:
            return _closing_of(refusal)
        if isinstance(answer.get("canceled_at"), str):
            return PageClosing.GONE
        said = answer.get("error_messages")
        return _closing_of(ApiRefusal(_OK, tuple(map(str, said)) if isinstance(said, list) else ()))

    async def read(self, transaction_id: str) -> Observation | None:
        """The status of a transaction."""
        return await self._status(transaction_id)

    async def read_page(self, attempt: Attempt) -> Observation | None:
        """The status of an order id, which is that of its newest transaction."""
        return await self._status(attempt.provider_order_id)

    async def _status(self, reference: str) -> Observation | None:
        """None for Midtrans' 404, in either of its two forms."""
        try:
            answer = await self._client.status(reference)
        except ApiRefusal as refusal:
            if refusal.code == _NOT_FOUND:
                return None
            raise _unavailable(refusal) from None
        try:
            return observe(answer)
        except MalformedNotification as error:
            raise GatewayUnavailable(f"Midtrans' status answer cannot be read: {error.detail}") from None

    async def cancel(self, transaction_id: str) -> None:
        """Ask for the cancellation of one transaction; a refusal is no error, the reading tells."""
        try:
            await self._client.cancel(transaction_id)
        except ApiRefusal as refusal:
            if refusal.code >= _SERVER_ERROR or refusal.code in _ABOUT_US:
                raise _unavailable(refusal) from None

    async def capture(self, transaction_id: str, amount: Money) -> CaptureReply:
        """Take held money. A bank's refusal is `deny` in an answer, while the stored status stays `authorize`."""
        body = {"transaction_id": transaction_id, "gross_amount": whole_rupiah(amount)}
        return await self._changed(self._client.capture(body))

    async def approve(self, transaction_id: str) -> CaptureReply:
        """Let a challenged card charge through."""
        return await self._changed(self._client.approve(transaction_id))

    async def deny(self, transaction_id: str) -> CaptureReply:
        """Refuse a challenged card charge."""
        return await self._changed(self._client.deny(transaction_id), denied_is_done=True)

    async def refund(self, refund: Refund) -> RefundReply:
        """Give settled money back under the refund's key.

        A refusal comes as HTTP 202 with the status unchanged, without any exception of the client (midtrans.md 7).
        """
        body = {"refund_key": refund.key, "amount": whole_rupiah(refund.amount), "reason": refund.reason or _REASON}
        try:
            answer = await self._client.refund(refund.transaction_id, body)
        except ApiRefusal as refusal:
            if refusal.code == _DUPLICATE:
                return KeyUsed()
            if refusal.code >= _SERVER_ERROR or refusal.code in _ABOUT_US:
                raise _unavailable(refusal) from None
            return Refused(refusal.messages)
        match str(answer.get("status_code")):
            case "201":
                return Waiting()
            case "200" if str(answer.get("transaction_status", "")).lower() in _GIVEN_BACK:
                return Done()
            case "202":
                return Refused((str(answer.get("status_message") or "the bank refused it")[:200],))
            case _:
                return Waiting()

    async def _changed(self, call: Awaitable[Fields], *, denied_is_done: bool = False) -> CaptureReply:
        try:
            answer = await call
        except ApiRefusal as refusal:
            if refusal.code >= _SERVER_ERROR or refusal.code in _ABOUT_US:
                raise _unavailable(refusal) from None
            return Refused(refusal.messages)
        if str(answer.get("transaction_status", "")).lower() == "deny" and not denied_is_done:
            return Refused((str(answer.get("status_message") or "the bank refused it")[:200],))
        return Done()

    async def close(self) -> None:
        """Connections are given back."""
        await self._client.close()


def _required(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedNotification(f"{name} is missing, or is not text")
    return value


def _text(answer: Fields, name: str, length_max: int) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= length_max:
        raise GatewayUnavailable(f"Midtrans answered without a usable {name}")
    return value


def _reply_to(refusal: ApiRefusal) -> PageReply:
    if refusal.code >= _SERVER_ERROR or refusal.code in _ABOUT_US | _WRONG_ADDRESS:
        raise _unavailable(refusal)
    said = " ".join(refusal.messages).lower()
    if any(words in said for words in _TAKEN):
        return PageTaken()
    return PageRefused(refusal.messages)


def _closing_of(refusal: ApiRefusal) -> PageClosing:
    """What Snap's words mean, whatever HTTP status they came under; without them nothing is proved."""
    said = " ".join(refusal.messages).lower()
    if any(words in said for words in _GONE):
        return PageClosing.GONE
    if _IN_PROGRESS in said:
        return PageClosing.IN_PROGRESS
    raise _unavailable(refusal)


def _unavailable(refusal: ApiRefusal) -> GatewayUnavailable:
    return GatewayUnavailable(f"Midtrans answered {refusal.code}: {'; '.join(refusal.messages)}")
