"""Routes that read payments: the list, one payment whole, its history. Cursor paging, every list bounded."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from payments_core.errors import InvalidInput, NotFound
from payments_core.identity import PAYMENT_ID
from payments_core.ports import PaymentFilter, Store
from payments_core.status import PaymentStatus
from payments_core_app.describe import EventAnswer, PaymentAnswer, event_answer, payment_answer
from payments_core_app.http.answers import PROBLEMS
from payments_core_app.http.auth import SECURITY, Guards

__all__ = ["history_routes"]

_LIMIT, _LIMIT_MAX = 50, 200
_SEQUENCE_DIGITS_MAX = 9
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
"""Beyond them an offset leads out of what a database can say."""

Limit = Annotated[int, Parameter(ge=1, le=_LIMIT_MAX)]
Cursor = Annotated[str | None, Parameter(description="`next_cursor` of the page before", max_length=64)]
Moment = Annotated[datetime | None, Parameter(description="RFC 3339, with an offset")]


class PaymentList(msgspec.Struct, kw_only=True):
    """A page of payments, newest first."""

    items: list[PaymentAnswer]
    next_cursor: str | None


class EventList(msgspec.Struct, kw_only=True):
    """A page of events, oldest first."""

    items: list[EventAnswer]
    next_cursor: str | None


def history_routes(store: Store, guards: Guards) -> list[HTTPRouteHandler]:
    """`/payments`, `/payments/{id}`, `/payments/{id}/events`."""
    shared: dict[str, Any] = {
        "before_request": guards.service("payments:read"),
        "security": SECURITY,
        "responses": PROBLEMS,
        "tags": ["payments"],
    }

    @get("/payments", summary="List payments, newest first", **shared)
    async def list_payments(
        status: PaymentStatus | None = None,
        provider: str | None = None,
        order: str | None = None,
        created_from: Annotated[datetime | None, Parameter(query="from")] = None,
        created_to: Annotated[datetime | None, Parameter(query="to")] = None,
        needs_review: bool | None = None,
        cursor: Cursor = None,
        limit: Limit = _LIMIT,
    ) -> PaymentList:
        wanted = PaymentFilter(
            status=status,
            provider=provider,
            order_id=order,
            created_from=_aware(created_from),
            created_to=_aware(created_to),
            needs_review=needs_review,
        )
        async with store.reading() as uow:
            found = await uow.payments.newest(wanted, before=_payment_id(cursor), limit=limit + 1)
        page = found[:limit]
        following = page[-1].payment_id if len(found) > limit else None
        return PaymentList(items=[payment_answer(payment) for payment in page], next_cursor=following)

    @get("/payments/{payment_id:str}", summary="Read a payment whole", **shared)
    async def get_payment(payment_id: str) -> PaymentAnswer:
        async with store.reading() as uow:
            payment = (await uow.payments.load([payment_id])).get(payment_id)
        if payment is None:
            raise NotFound(f"no payment {payment_id}", code="no_payment")
        return payment_answer(payment)

    @get("/payments/{payment_id:str}/events", summary="Read the history of a payment, oldest first", **shared)
    async def list_events(payment_id: str, cursor: Cursor = None, limit: Limit = _LIMIT) -> EventList:
        after = _sequence(cursor)
        async with store.reading() as uow:
            if payment_id not in await uow.payments.load([payment_id]):
                raise NotFound(f"no payment {payment_id}", code="no_payment")
            found = await uow.payments.history(payment_id, after=after, limit=limit + 1)
        page = found[:limit]
        following = str(page[-1].sequence) if len(found) > limit else None
        return EventList(items=[event_answer(event) for event in page], next_cursor=following)

    return [list_payments, get_payment, list_events]


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise InvalidInput("a time has an offset, such as Z", code="invalid_request")
    if moment is not None and not _FIRST_YEAR < moment.year < _LAST_YEAR:
        raise InvalidInput(f"a time is after {_FIRST_YEAR} and before {_LAST_YEAR}", code="invalid_request")
    return moment


def _payment_id(cursor: str | None) -> str | None:
    if cursor is not None and not PAYMENT_ID.fullmatch(cursor):
        raise InvalidInput("this cursor is not one of ours", code="invalid_request")
    return cursor


def _sequence(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > _SEQUENCE_DIGITS_MAX:
        raise InvalidInput("this cursor is not one of ours", code="invalid_request")
    return int(cursor)
