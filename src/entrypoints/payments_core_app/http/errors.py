"""Errors as RFC 9457 problem details: one table from our errors to status codes."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from payments_core.errors import (
    Busy,
    Conflict,
    GatewayNotConfigured,
    GatewayRefused,
    GatewayTimeout,
    GatewayUnavailable,
    InvalidInput,
    MalformedNotification,
    NotAuthentic,
    NotFound,
    PaymentsError,
    StorageError,
)
from payments_core_app.http.requests import request_id_of
from payments_core_app.tokens import Forbidden, KeysUnavailable, Unauthenticated

__all__ = ["CODES", "Problem", "handlers", "problem"]

log = structlog.get_logger(__name__)

STATUS: tuple[tuple[type[PaymentsError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (InvalidInput, 422),
    (NotFound, 404),
    (Conflict, 409),
    (Busy, 503),
    (KeysUnavailable, 503),
    (GatewayNotConfigured, 422),
    (GatewayRefused, 422),
    (GatewayTimeout, 504),
    (GatewayUnavailable, 502),
    (MalformedNotification, 400),
    (NotAuthentic, 401),
    (StorageError, 503),
)
"""The first class that fits decides."""
_BY_CODE = {
    "body_too_large": 413,
    "gateway_busy": 503,
    "idempotency_key_missing": 400,
    "invalid_request": 400,
    "no_case": 404,
}
"""Codes whose status differs from their class's."""
_OF_HTTP = {
    400: "invalid_request",
    401: "invalid_token",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}
"""Errors that the framework finds before any of our code."""

CODES: dict[str, tuple[str, str]] = {
    "already_confirmed": ("409", "this bank transfer was confirmed before"),
    "already_paid": ("409", "the order is paid"),
    "amount_not_representable": ("422", "the currency, or the gateway, cannot say this amount"),
    "authorized": ("409", "the money for this order is held already"),
    "body_too_large": ("413", "the body is larger than this route takes"),
    "card_number_refused": ("422", "a free text holds what looks like a card number"),
    "already_settled": ("409", "the money has settled; it can be refunded, not cancelled"),
    "case_closed": ("409", "the case was decided already"),
    "charged_back": ("409", "the payment was charged back"),
    "decision_not_possible": ("409", "this case cannot be decided so"),
    "exceeds_authorized": ("409", "more than is held"),
    "exceeds_refundable": ("409", "more than is left to give back"),
    "gateway_busy": ("503", "too many calls are on their way to the gateway; try again shortly"),
    "gateway_error": ("502", "the gateway answered with an error; try again"),
    "gateway_not_configured": ("422, of a webhook 404", "this gateway has no keys here"),
    "gateway_refused": ("422", "the gateway refused the request for good"),
    "gateway_timeout": ("504", "the gateway did not answer in time; try again"),
    "idempotency_in_progress": ("409", "the same request is under way; try again shortly"),
    "idempotency_key_missing": ("400", "this route takes an Idempotency-Key"),
    "idempotency_key_reused": ("422", "the key was used for another request"),
    "insufficient_scope": ("403", "the token does not allow this"),
    "internal": ("500", "a fault of ours; it was logged under the request id"),
    "invalid_order": ("422", "the order cannot be (no items, or a total that is not above zero)"),
    "invalid_request": ("400", "the request cannot be read: its JSON, a field, a parameter"),
    "invalid_signature": ("401", "the notification's signature is wrong, absent or not text"),
    "invalid_token": ("401", "no token, or one that is bad, expired or for another audience"),
    "keys_unavailable": ("503", "the keys that tokens are checked with cannot be read; try again"),
    "malformed_notification": ("400", "the notification is not JSON, lacks fields, or nests too deep"),
    "method_not_allowed": ("405", "this path does not take this method"),
    "needs_review": ("409", "a person has to look at this payment first"),
    "no_case": ("404", "the payment has no such case"),
    "no_payment": ("404", "the order has no payment before the first click"),
    "not_authorized": ("409", "no money is held for this order"),
    "not_challenged": ("409", "no charge of this payment is under review"),
    "not_found": ("404", "no such path"),
    "not_paid": ("409", "no money was taken that could be given back"),
    "not_settled_yet": ("409", "until it has settled, only the whole can be given back"),
    "nothing_left": ("409", "nothing is left to give back"),
    "opening": ("503", "the page is being opened; try again shortly"),
    "order_cancelled": ("409", "the order was cancelled"),
    "order_expired": ("409", "the order was not paid in time, or too little time is left"),
    "order_frozen": ("409", "a page was opened for this order, so it cannot change"),
    "order_not_found": ("404", "no such order, or not yours"),
    "out_of_stock": ("409", "not enough stock"),
    "overloaded": ("503", "too many notifications are waiting; send it again"),
    "page_closing": ("409", "the page is being closed; try again shortly"),
    "page_still_payable": ("409", "the page that is open may still be paid, so no other is opened"),
    "refunded": ("409", "the payment was refunded"),
    "return_by_hand": ("409", "the method, or its time, does not let the gateway give it back"),
    "return_url_not_allowed": ("422", "the return URL's origin is not on the list"),
    "stale_write": ("503", "somebody else changed it first; try again"),
    "stopping": ("503", "the process was asked to stop; a balancer sends it nothing new"),
    "storage_error": ("503", "the database refused what was to be stored; it was logged"),
    "storage_unavailable": ("503", "the database cannot be reached; try again"),
    "too_many_attempts": ("409", "twenty pages were opened for this order already"),
    "too_many_refunds": ("409", "a hundred refunds were made of this payment already"),
    "under_way": ("409", "something else was asked of this charge; try again shortly"),
    "unknown_sku": ("422, of GET stock 404", "no stock is known for a tracked item"),
}
"""Every stable code with its HTTP status and its title; `docs/reference/errors.md` is printed from here."""


class Problem(msgspec.Struct, kw_only=True):
    """RFC 9457 problem details, with a stable code."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retryable: bool


def problem(
    request: Request[Any, Any, Any],
    status: int,
    code: str,
    detail: str,
    *,
    retryable: bool = False,
    extra: Mapping[str, str] | None = None,
) -> Response[dict[str, Any]]:
    """The answer that says what went wrong."""
    body = Problem(
        type=f"urn:payments-core:problem:{code}",
        title=CODES[code][1] if code in CODES else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request_id_of(request.scope),
        retryable=retryable,
    )
    headers = {"X-Request-Id": body.request_id}
    if status == HTTPStatus.SERVICE_UNAVAILABLE or code == "idempotency_in_progress":
        headers["Retry-After"] = "1"
    if status == HTTPStatus.UNAUTHORIZED and code == "invalid_token":
        headers["WWW-Authenticate"] = "Bearer"
    content = {**msgspec.to_builtins(body), **(extra or {})}
    return Response(content, status_code=status, media_type="application/problem+json", headers=headers)


def _of_ours(request: Request[Any, Any, Any], error: PaymentsError) -> Response[dict[str, Any]]:
    of_class = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    status = _BY_CODE.get(error.code, of_class)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request.failed", path=request.url.path, status=status, code=error.code, why=error.detail)
    return problem(request, status, error.code, error.detail, retryable=error.retryable, extra=error.extra)


def _of_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    status = error.status_code
    detail = error.detail
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        told = [_told(item) for item in error.extra if isinstance(item, dict)]
        detail = "; ".join(told) or detail
    answer = problem(request, status, _OF_HTTP.get(status, "invalid_request"), detail)
    allowed = [value for name, value in (error.headers or {}).items() if name.lower() == "allow"]
    if allowed:
        answer.headers["Allow"] = allowed[0]
    return answer


def _told(item: Mapping[str, Any]) -> str:
    """What the framework says is wrong, with the parameter it is wrong of; a body is `data` to it, and nobody else."""
    name, message = item.get("key", ""), item.get("message", "")
    return str(message) if name in ("", "data") else f"{name}: {message}"


def _of_a_bug(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    log.error("request.broke", path=request.url.path, exc_info=error)
    return problem(request, 500, "internal", "a fault of ours; it was logged under this request id")


handlers: dict[Any, Any] = {PaymentsError: _of_ours, HTTPException: _of_framework, Exception: _of_a_bug}
"""What Litestar calls for what."""
