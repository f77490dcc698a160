"""Routes of money: what an operator may ask of a payment. Each is safe to repeat."""

from typing import Annotated, Any, Protocol

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from payments_core.errors import AmountNotRepresentable, GatewayRefused, NotFound
from payments_core.money import Money
from payments_core.payment import CaseDecision, Payment, RefundState
from payments_core.ports import Store
from payments_core.use_cases.operate_payment import OperatePayment
from payments_core_app.container import Container
from payments_core_app.describe import PaymentAnswer, RefundAnswer, payment_answer, refund_answer
from payments_core_app.http.answers import PAGE_PROBLEMS
from payments_core_app.http.auth import SECURITY, Guards, caller_of
from payments_core_app.http.bodies import Amount, In
from payments_core_app.http.idempotency import Idempotency, Key, asked_as
from payments_core_app.http.order_input import check_free_text
from payments_core_app.http.requests import Call

__all__ = ["operation_routes"]


class Ask(Protocol):
    """An operation that needs nothing but the payment and who asks."""

    async def __call__(self, payment_id: str, *, actor: str) -> Payment:
        """The payment afterwards."""


class RefundBody(In, kw_only=True):
    """How much to give back, in major units; all that is left when it is not said."""

    amount: Amount | None = None
    reason: Annotated[str, Meta(max_length=255)] | None = None


class CaptureBody(In, kw_only=True):
    """How much of the held money to take, in major units; all of it when it is not said."""

    amount: Amount | None = None


class ResolveBody(In, kw_only=True):
    """What a person decided, and why."""

    decision: CaseDecision
    note: Annotated[str, Meta(min_length=1, max_length=1000)]


def operation_routes(container: Container, guards: Guards, idempotency: Idempotency) -> list[HTTPRouteHandler]:
    """Refunds, capture, cancel, approve, deny, refresh, and the decision of a case."""
    shared: dict[str, Any] = {
        "before_request": guards.service("payments:operate"),
        "security": SECURITY,
        "responses": PAGE_PROBLEMS,
        "tags": ["operations"],
    }
    operate = container.service().operate
    asks: list[tuple[str, str, Ask]] = [
        ("cancel", "Close the page, let held money go, or void captured money", operate.cancel),
        ("approve", "Let a charge under review through", operate.approve),
        ("deny", "Refuse a charge under review", operate.deny),
        ("refresh", "Ask the gateway how it stands", container.service().refresh),
    ]
    return [
        _refunds(container, idempotency, shared),
        _capture(container, idempotency, shared),
        *(_plain(name, summary, ask, idempotency, shared) for name, summary, ask in asks),
        _resolve(operate, idempotency, shared),
    ]


def _refunds(container: Container, idempotency: Idempotency, shared: dict[str, Any]) -> HTTPRouteHandler:
    refund, store = container.service().refund, container.store()

    @post("/payments/{payment_id:str}/refunds", status_code=201, summary="Give money back", **shared)
    async def refunds(
        request: Call, payment_id: str, data: RefundBody | None = None, key: Key = None
    ) -> Response[RefundAnswer]:
        body = data or RefundBody()

        async def work() -> Response[RefundAnswer]:
            reason = check_free_text("reason", body.reason) if body.reason is not None else None
            money = await _money(store, payment_id, body.amount)
            named, actor = asked_as(request, key, payment_id), caller_of(request).actor
            payment, made = await refund(payment_id, money, reason, actor=actor, asked_as=named)
            if made.state is RefundState.REFUSED:
                raise GatewayRefused(made.refused or "the gateway refused the refund")
            return Response(refund_answer(payment, made), status_code=201)

        return await idempotency(request, key, payment_id, body, work, required=True)

    return refunds


def _capture(container: Container, idempotency: Idempotency, shared: dict[str, Any]) -> HTTPRouteHandler:
    operate, store = container.service().operate, container.store()

    @post("/payments/{payment_id:str}/capture", status_code=200, summary="Take money that is held", **shared)
    async def capture(
        request: Call, payment_id: str, data: CaptureBody | None = None, key: Key = None
    ) -> Response[PaymentAnswer]:
        body = data or CaptureBody()

        async def work() -> Response[PaymentAnswer]:
            money = await _money(store, payment_id, body.amount)
            return _answer(await operate.capture(payment_id, money, actor=caller_of(request).actor))

        return await idempotency(request, key, payment_id, body, work, required=True)

    return capture


def _plain(name: str, summary: str, ask: Ask, idempotency: Idempotency, shared: dict[str, Any]) -> HTTPRouteHandler:
    """A route without a body, named for what it asks."""

    @post(f"/payments/{{payment_id:str}}/{name}", status_code=200, summary=summary, name=name, **shared)
    async def route(request: Call, payment_id: str, key: Key = None) -> Response[PaymentAnswer]:
        async def work() -> Response[PaymentAnswer]:
            return _answer(await ask(payment_id, actor=caller_of(request).actor))

        return await idempotency(request, key, payment_id, None, work)

    return route


def _resolve(operate: OperatePayment, idempotency: Idempotency, shared: dict[str, Any]) -> HTTPRouteHandler:
    @post("/payments/{payment_id:str}/cases/{case_id:str}/resolve", status_code=200, summary="Decide a case", **shared)
    async def resolve(
        request: Call, payment_id: str, case_id: str, data: ResolveBody, key: Key = None
    ) -> Response[PaymentAnswer]:
        async def work() -> Response[PaymentAnswer]:
            number, actor = _case_number(case_id), caller_of(request).actor
            note = check_free_text("note", data.note)
            return _answer(await operate.resolve(payment_id, number, data.decision, note, actor=actor))

        return await idempotency(request, key, payment_id, data, work)

    return resolve


def _answer(payment: Payment) -> Response[PaymentAnswer]:
    return Response(payment_answer(payment), status_code=200)


async def _money(store: Store, payment_id: str, amount: Amount | None) -> Money | None:
    """The amount in the payment's currency, None when the caller leaves it to the payment."""
    async with store.reading() as uow:
        payment = (await uow.payments.load([payment_id])).get(payment_id)
    if payment is None:
        raise NotFound(f"no payment {payment_id}", code="no_payment")
    try:
        return None if amount is None else Money.parse(str(amount), payment.amount.currency)
    except AmountNotRepresentable as error:
        raise AmountNotRepresentable(f"amount: {error.detail}") from error


def _case_number(case_id: str) -> int:
    if not case_id.isascii() or not case_id.isdigit() or len(case_id) > 4:  # noqa: PLR2004 - a payment has 100 cases
        raise NotFound(f"no case {case_id}", code="no_case")
    return int(case_id)
