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
from payments_core_app.tokens import Forbidden, Unauthenticated

__all__ = ["CODES", "Problem", "handlers", "problem"]

log = structlog.get_logger(__name__)

STATUS: tuple[tuple[type[PaymentsError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (InvalidInput, 422),
    (NotFound, 404),
    (Conflict, 409),
    (Busy, 503),
    (GatewayRefused, 422),
    (GatewayTimeout, 504),
    (GatewayUnavailable, 502),
    (MalformedNotification, 400),
    (NotAuthentic, 401),
    (StorageError, 503),
)
"""The first class that fits decides."""
_BY_CODE = {"body_too_large": 413, "invalid_request": 400}
"""Codes whose status differs from their class's."""
_OF_HTTP = {
    400: "invalid_request",
    401: "invalid_token",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
}
"""Errors that the framework finds before any of our code."""

CODES: dict[str, str] = {
    "already_paid": "the order is paid",
    "amount_not_representable": "the currency, or the gateway, cannot say this amount",
    "authorized": "the money for this order is held already",
    "body_too_large": "the body is larger than this route takes",
    "card_number_refused": "a free text holds what looks like a card number",
    "charged_back": "the payment was charged back",
    "gateway_error": "the gateway answered with an error; try again",
    "gateway_not_configured": "this gateway has no keys here",
    "gateway_refused": "the gateway refused the request for good",
    "gateway_timeout": "the gateway did not answer in time; try again",
    "insufficient_scope": "the token does not allow this",
    "internal": "a fault of ours; it was logged under the request id",
    "invalid_order": "the order cannot be (no items, or a total that is not above zero)",
    "invalid_request": "the request cannot be read: its JSON, a field, a parameter",
    "invalid_signature": "the notification's signature is wrong, absent or not text",
    "invalid_token": "no token, or one that is bad, expired or for another audience",
    "malformed_notification": "the notification is not JSON, lacks fields, or nests too deep",
    "method_not_allowed": "this path does not take this method",
    "needs_review": "a person has to look at this payment first",
    "no_payment": "the order has no payment before the first click",
    "not_found": "no such path",
    "opening": "the page is being opened; try again shortly",
    "order_cancelled": "the order was cancelled",
    "order_expired": "the order was not paid in time, or too little time is left",
    "order_frozen": "a page was opened for this order, so it cannot change",
    "order_not_found": "no such order, or not yours",
    "out_of_stock": "not enough stock",
    "overloaded": "too many notifications are waiting; send it again",
    "page_closing": "the page is being closed; try again shortly",
    "page_still_payable": "the page that is open may still be paid, so no other is opened",
    "refunded": "the payment was refunded",
    "return_url_not_allowed": "the return URL's origin is not on the list",
    "stale_write": "somebody else changed it first; try again",
    "storage_unavailable": "the database cannot be reached; try again",
    "too_many_attempts": "twenty pages were opened for this order already",
    "too_many_requests": "too many requests",
    "unknown_sku": "no stock is known for a tracked item",
    "unsupported_media_type": "the body is not JSON",
}
"""Every stable code with its title; `docs/reference/errors.md` is printed from here."""


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
        title=CODES.get(code, HTTPStatus(status).phrase),
        status=status,
        detail=detail,
        code=code,
        request_id=request_id_of(request.scope),
        retryable=retryable,
    )
    headers = {"X-Request-Id": body.request_id}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    if status == HTTPStatus.UNAUTHORIZED and code == "invalid_token":
        headers["WWW-Authenticate"] = "Bearer"
    content = {**msgspec.to_builtins(body), **(extra or {})}
    return Response(content, status_code=status, media_type="application/problem+json", headers=headers)


def _of_ours(request: Request[Any, Any, Any], error: PaymentsError) -> Response[dict[str, Any]]:
    of_class = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    status = _BY_CODE.get(error.code, of_class)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request.failed", status=status, code=error.code, why=error.detail)
    return problem(request, status, error.code, error.detail, retryable=error.retryable, extra=error.extra)


def _of_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    status = error.status_code
    detail = error.detail
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        told = [f"{item.get('key', '')}: {item.get('message', '')}" for item in error.extra if isinstance(item, dict)]
        detail = "; ".join(told) or detail
    return problem(request, status, _OF_HTTP.get(status, "invalid_request"), detail)


def _of_a_bug(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    log.error("request.broke", path=request.url.path, exc_info=error)
    return problem(request, 500, "internal", "a fault of ours; it was logged under this request id")


handlers: dict[Any, Any] = {PaymentsError: _of_ours, HTTPException: _of_framework, Exception: _of_a_bug}
"""What Litestar calls for what."""
