"""The webhook: raw bytes in, and an answer only when they are durably stored.

A body that does not authenticate writes nothing: it is counted, and logged now and then with its length, digest and
source, because anybody can send as many as they like.
"""

from functools import cache
from hashlib import sha256
from time import monotonic
from typing import Literal

import structlog
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from msgspec import Struct
from prometheus_client import Counter

from payments_core.decide import Verdict
from payments_core.errors import NotificationRefused
from payments_core.limits import NOTIFICATION_BYTES_MAX
from payments_core.ports import Foreign
from payments_core.use_cases.receive_notification import ReceiveNotification
from payments_core_app.batcher import Batcher
from payments_core_app.http.answers import PROBLEMS, success
from payments_core_app.http.requests import Call
from payments_core_app.metrics import NOTIFICATIONS

__all__ = ["webhook_routes"]

log = structlog.get_logger(__name__)

_LOG_EVERY_S = 1.0
_OK = ASGIResponse(body=b'{"status":"ok"}')
"""Encoded once: every notification that is taken gets this answer."""


class Taken(Struct):
    """The answer to a notification."""

    status: Literal["ok"]


def webhook_routes(receive: ReceiveNotification, batcher: Batcher) -> list[HTTPRouteHandler]:
    """`/webhooks/{provider}`."""
    refused = _RarelyLogged()
    problems = {status: PROBLEMS[status] for status in (400, 401, 404, 503)}

    @post(
        "/webhooks/{provider:str}",
        status_code=200,
        summary="A gateway's notification",
        request_max_body_size=NOTIFICATION_BYTES_MAX,
        responses={200: success(Taken, "It is stored"), **problems},
        tags=["webhooks"],
    )
    async def webhook(request: Call, provider: str) -> ASGIResponse:
        body = await request.body()
        try:
            understood = receive.understand(provider, body, request.headers)
        except NotificationRefused as error:
            NOTIFICATIONS.labels(provider=provider, result=error.code).inc()
            refused.log(error.code, provider, body, request)
            raise
        if isinstance(understood, Foreign):
            NOTIFICATIONS.labels(provider=provider, result="foreign").inc()
            refused.log(f"foreign: {understood.kind}", provider, body, request)
            return _OK
        accepted = await batcher.submit(understood)
        _taken(provider, accepted.verdict).inc()
        return _OK

    return [webhook]


@cache
def _taken(provider: str, verdict: Verdict) -> Counter:
    """The series of these labels; both lists are closed."""
    return NOTIFICATIONS.labels(provider=provider, result=verdict.value)


class _RarelyLogged:
    """One line a second, with the number of those it stands for."""

    def __init__(self) -> None:
        self._next_at, self._unlogged = 0.0, 0

    def log(self, why: str, provider: str, body: bytes, request: Call) -> None:
        if monotonic() < self._next_at:
            self._unlogged += 1
            return
        self._next_at = monotonic() + _LOG_EVERY_S
        log.warning(
            "notification.not_taken",
            why=why,
            provider=provider,
            length=len(body),
            sha256=sha256(body).hexdigest(),
            source=request.client.host if request.client else None,
            unlogged=self._unlogged,
        )
        self._unlogged = 0
