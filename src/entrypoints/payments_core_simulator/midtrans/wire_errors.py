"""Error bodies: Snap and Core each have their own shape."""

from collections.abc import Sequence
from uuid import uuid4

from payments_core_simulator.refusals import Refusal, Why
from payments_core_simulator.replies import Reply, json_reply

# Core codes that the published definitions list under HTTP 200: the switch `core_errors` decides how they travel.
BUSINESS_CODES = frozenset({404, 406, 412, 414})


# --- Snap ------------------------------------------------------------------------------------------------------------

_SNAP: dict[Why, tuple[int, str]] = {
    Why.ORDER_TAKEN: (400, "transaction_details.order_id has already been taken"),
    Why.ORDER_PAID: (
        400,
        "transaction_details.order_id has been paid and utilized, please use another order ID",
    ),
    Why.TOKEN_UNKNOWN: (404, "token not found"),
    Why.TOKEN_CANCELLED: (400, "token already canceled"),
    Why.ON_PROGRESS: (400, "Transaction is on progress"),
}
_SNAP_HTTP = {Why.INVALID: 400, Why.TOO_LARGE: 413, Why.FULL: 503}
SNAP_UNAUTHORIZED = (
    "Access denied due to unauthorized transaction, please check client or server key",
    "Visit https://snap-docs.midtrans.com/#request-headers for more details",
)
SNAP_INTERNAL = "Sorry, we encountered internal server error. We will fix this soon."


def snap_error(http_status: int, messages: Sequence[str]) -> Reply:
    """Return Snap's error shape: a real HTTP code and texts, no status_code."""
    return json_reply(http_status, {"error_messages": list(messages)})


def snap_refusal(refusal: Refusal) -> Reply:
    """Return Snap's words for a refusal."""
    if refusal.why in _SNAP:
        http_status, message = _SNAP[refusal.why]
        return snap_error(http_status, [message])
    return snap_error(_SNAP_HTTP.get(refusal.why, 400), refusal.messages)


# --- Core ------------------------------------------------------------------------------------------------------------

_CORE: dict[Why, tuple[int, str]] = {
    Why.UNKNOWN_TRANSACTION: (404, "Transaction doesn't exist."),
    Why.STATE: (412, "Merchant cannot modify the status of the transaction"),
    Why.REFUND_AMOUNT: (414, "Refund request is rejected due to invalid amount"),
    Why.REFUND_KEY_USED: (406, "Duplicate refund ID"),
}
CORE_UNAUTHORIZED = "Transaction cannot be authorized with the current client/server key."
CORE_INVALID = "One or more parameters in the payload is invalid."
CORE_INTERNAL = "Sorry, we encountered an unexpected error."
RATE_LIMITED = "API rate limit exceeded."


def core_error(http_status: int, code: int, message: str, validation: Sequence[str] = ()) -> Reply:
    """Return Core's error shape; its `id` is that of the answer, not of a transaction."""
    body: dict[str, object] = {"status_code": str(code), "status_message": message, "id": str(uuid4())}
    if validation:
        body["validation_messages"] = list(validation)
    return json_reply(http_status, body)


def core_refusal(refusal: Refusal, *, errors_in_body: bool) -> Reply:
    """Return Core's words for a refusal; business errors may travel inside HTTP 200."""
    if refusal.why not in _CORE:
        return core_error(400, 400, CORE_INVALID, refusal.messages)
    code, message = _CORE[refusal.why]
    return core_error(200 if errors_in_body and code in BUSINESS_CODES else code, code, message)
