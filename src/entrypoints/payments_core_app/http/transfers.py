"""Bank transfers that an operator confirms: the page a buyer reads, and the operator's word."""

from html import escape
from string import Template
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from payments_core.errors import NotFound
from payments_core.identity import PAYMENT_ID
from payments_core.payment import AttemptState
from payments_core_app.container import Container
from payments_core_app.describe import PaymentAnswer, payment_answer
from payments_core_app.http.answers import PROBLEMS
from payments_core_app.http.auth import SECURITY, Guards, caller_of
from payments_core_app.http.idempotency import Idempotency, Key
from payments_core_app.http.requests import Call
from payments_core_app.transfers import confirm_transfer, manual_page

__all__ = ["transfer_page", "transfer_routes"]

_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = Template(
    """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Bank transfer</title>
<link rel="icon" href="/pages/icon.svg">
<link rel="stylesheet" href="/pages/style.css">
<header><h1>Bank transfer</h1></header>
<main>
<p>$said</p>
$asked
<p><a href="$back">Back to the shop</a></p>
</main>
</html>
"""
)
_SAID = {
    AttemptState.SPENT: "Your transfer has arrived. Thank you.",
    AttemptState.DEAD: "This page is over. Please do not transfer money for it; ask the shop for a new one.",
    AttemptState.CLOSING: "This page is being closed. Please do not transfer money for it.",
}


class TransferBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A booking on the bank statement; `reference` is the one the buyer was asked to give."""

    reference: Annotated[str, Meta(min_length=1, max_length=64)]
    amount: Annotated[str, Meta(min_length=1, max_length=40)]
    bank_reference: Annotated[str, Meta(min_length=1, max_length=128)]


def transfer_routes(container: Container, guards: Guards, idempotency: Idempotency) -> list[HTTPRouteHandler]:
    """`POST /payments/{id}/transfers`."""

    @post(
        "/payments/{payment_id:str}/transfers",
        status_code=200,
        summary="Say that a bank transfer arrived",
        before_request=guards.service("payments:operate"),
        security=SECURITY,
        responses=PROBLEMS,
        tags=["operations"],
    )
    async def transfers(request: Call, payment_id: str, data: TransferBody, key: Key = None) -> Response[PaymentAnswer]:
        async def work() -> Response[PaymentAnswer]:
            if not PAYMENT_ID.fullmatch(payment_id) or not data.reference.startswith(f"{payment_id}-"):
                raise NotFound("the reference is not of this payment", code="no_payment")
            said = await confirm_transfer(
                container, data.reference, data.amount, data.bank_reference, actor=caller_of(request).actor
            )
            return Response(payment_answer(said.payment), status_code=200)

        return await idempotency(request, key, payment_id, data, work)

    return [transfers]


def transfer_page(container: Container) -> list[HTTPRouteHandler]:
    """`/transfer/{reference}`: what to transfer, and where to; its address cannot be guessed."""
    store, settings = container.store(), container.settings()
    manual = settings.manual
    shared: dict[str, Any] = {"include_in_schema": False}

    @get("/transfer/{reference:str}", **shared)
    async def page(reference: str) -> Response[bytes]:
        if manual is None:
            raise NotFound("bank transfers are not taken here")
        payment, attempt = await manual_page(store, reference)
        said = _SAID.get(attempt.state, "Please transfer exactly this amount, and give exactly this reference.")
        rows = {
            "Amount": str(attempt.amount),
            "Reference": reference,
            "To": manual.bank_details,
            "Order": payment.order_id,
            "Until": f"{attempt.ends_at:%Y-%m-%d %H:%M} UTC",
        }
        payable = attempt.state in (AttemptState.OPENING, AttemptState.OPEN)
        finish = attempt.return_url or f"{settings.frontend_url.rstrip('/')}/orders/{payment.order_id}/finish"
        document = _PAGE.substitute(said=escape(said), asked=_rows(rows) if payable else "", back=escape(finish))
        return Response(
            document.encode(),
            media_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": _CSP, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"},
        )

    return [page]


def _rows(rows: dict[str, str]) -> str:
    lines = "".join(f"<dt>{name}<dd>{escape(value)}" for name, value in rows.items())
    return f'<dl class="card">{lines}</dl>'
