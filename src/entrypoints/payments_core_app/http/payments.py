"""Routes of paying: the click, the status."""

from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from payments_core.errors import InvalidInput
from payments_core.pages import PageWish
from payments_core.status import status
from payments_core_app.container import Container
from payments_core_app.http.answers import PAGE_PROBLEMS, PROBLEMS, success
from payments_core_app.http.auth import SECURITY, Guards, caller_of, customer_id_of
from payments_core_app.http.bodies import PayAnswer, PayBody, StatusAnswer, pay_answer, status_answer
from payments_core_app.http.closing import Closing
from payments_core_app.http.idempotency import Idempotency, Key
from payments_core_app.http.requests import Call
from payments_core_app.settings import Settings

__all__ = ["payment_routes"]

_WAIT_MAX_S = 60
"""A long poll; proxies cut idle connections at about this."""

Wait = Annotated[int, Parameter(ge=0, le=_WAIT_MAX_S, description="Answer after at most so many seconds")]
Seen = Annotated[
    int | None, Parameter(ge=0, description="Wait until the version differs; without it, until it is decided")
]


def payment_routes(
    container: Container, guards: Guards, idempotency: Idempotency, closing: Closing
) -> list[HTTPRouteHandler]:
    """`pay` and `payment-status`."""
    service, settings = container.service(), container.settings()
    shared: dict[str, Any] = {"security": SECURITY, "tags": ["payments"]}

    @post(
        "/orders/{order_id:str}/pay",
        status_code=201,
        summary="Open the payment page of an order, or find the one that is open (200)",
        before_request=guards.owner_or("payments:write"),
        responses={**PAGE_PROBLEMS, 200: success(PayAnswer, "The page that is open already")},
        **shared,
    )
    async def pay(request: Call, order_id: str, data: PayBody | None = None, key: Key = None) -> Response[PayAnswer]:
        caller, body = caller_of(request), data or PayBody()

        async def work() -> Response[PayAnswer]:
            wish = _wish(body, settings)
            paying = await service.start(order_id, wish, customer_id=customer_id_of(caller), actor=caller.actor)
            answer = pay_answer(paying, status(paying.payment).value)
            return Response(answer, status_code=201 if paying.created else 200)

        return await idempotency(request, key, order_id, body, work)

    @get(
        "/orders/{order_id:str}/payment-status",
        summary="Read the payment of an order; long-polls with `wait`",
        before_request=guards.owner_or("payments:read"),
        responses=PROBLEMS,
        **shared,
    )
    async def payment_status(request: Call, order_id: str, wait: Wait = 0, seen: Seen = None) -> StatusAnswer:
        read = partial(service.status, order_id, customer_id=customer_id_of(caller_of(request)), seen=seen)
        return status_answer(await closing.wait(partial(read, wait_s=wait), read))

    return [pay, payment_status]


def _wish(body: PayBody, settings: Settings) -> PageWish:
    """The customer's wish; the default provider takes whatever page is open."""
    if body.return_url is not None:
        _check_return_url(body.return_url, settings)
    return PageWish(
        provider=body.provider or settings.default_provider,
        any_provider=body.provider is None,
        methods=tuple(dict.fromkeys(body.methods or ())),
        return_url=body.return_url,
    )


def _check_return_url(url: str, settings: Settings) -> None:
    """Only allow-listed origins, and the shop's own: an open redirect would lend our name to anybody."""
    if not url.isprintable() or " " in url:
        raise InvalidInput("return_url holds what no URL does", code="return_url_not_allowed")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidInput("return_url is not a URL", code="return_url_not_allowed") from error
    origin = f"{parts.scheme}://{parts.netloc}"
    own = urlsplit(settings.frontend_url)
    allowed = {*settings.return_origins, f"{own.scheme}://{own.netloc}"}
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or origin not in allowed:
        raise InvalidInput(f"{origin} is not among PAYMENTS_RETURN_ORIGINS", code="return_url_not_allowed")
