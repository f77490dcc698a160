"""What an operator watches: what waits and since when, and whether orders, ledgers and stock agree.

Ages come from partial indexes, so they cost little however many payments there are. The invariants read whole tables;
each is one SQL that names the payments it is broken for, and finds none in a sound database.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import (
    BigInteger,
    Numeric,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.expression import ColumnElement

from payments_core.decide import Verdict
from payments_core.facts import FactType
from payments_core.money import CURRENCY_EXPONENTS
from payments_core.operations import WISHES
from payments_core.orders import OrderStatus, StockMove
from payments_core.payment import UNDER_WAY, AttemptState, RefundState
from payments_core.states import MONEY, CaseKind
from payments_core.status import STATUS_ROWS
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.tables import (
    attempts,
    cases,
    charges,
    events,
    notifications,
    orders,
    outbox,
    payments,
    refunds,
    reservations,
)

__all__ = ["INVARIANTS", "WAITING", "Backlog", "Broken", "Waiting", "Watch", "what_is"]

_EXAMPLES_MAX = 5
_USUAL_EXPONENT = 2


@attrs.frozen
class Waiting:
    """How many wait, and the moment the oldest began to."""

    count: int
    oldest: datetime | None

    def age_s(self, now: datetime) -> float:
        """Seconds the oldest has waited; 0 when nothing waits."""
        return max(0.0, (now - self.oldest).total_seconds()) if self.oldest is not None else 0.0


@attrs.frozen
class Backlog:
    """What waits, by what it is; and open cases by kind."""

    at: datetime
    waiting: Mapping[str, Waiting]
    open_cases: Mapping[str, int]


@attrs.frozen
class Broken:
    """How many payments an invariant does not hold for, and a few of them."""

    count: int
    examples: tuple[str, ...]


# ── what waits ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _said_at(kind: FactType, payment_id: ColumnElement[str]) -> Any:  # noqa: ANN401 - a scalar select
    """When this was last published of the payment."""
    last = select(func.max(events.c.at)).where(events.c.payment_id == payment_id, events.c.type == kind.value)
    return last.scalar_subquery()


def _in(column: ColumnElement[str], words: Any) -> ColumnElement[bool]:  # noqa: ANN401 - some Enum's members
    return column.in_(sorted(word.value for word in words))


_N, _A, _C, _R, _O = notifications.c, attempts.c, charges.c, refunds.c, outbox.c

WAITING: Mapping[str, tuple[str, Select[Any]]] = {
    "notification": (
        "notifications the gateway has not borne out yet",
        select(_N.received_at.label("since")).where(_N.verdict == Verdict.WAITING.value),
    ),
    "unmatched_notification": (
        "genuine notifications about no payment we know",
        select(_N.received_at.label("since")).where(_N.verdict == Verdict.UNMATCHED.value),
    ),
    "opening": (
        "pages whose creation has no answer",
        select(_A.opened_at.label("since")).where(_A.state == AttemptState.OPENING.value, _A.check_at.is_not(None)),
    ),
    "closing": (
        "pages that are not proved dead",
        select(_said_at(FactType.ATTEMPT_CLOSING, _A.payment_id).label("since")).where(
            _A.state == AttemptState.CLOSING.value, _A.check_at.is_not(None)
        ),
    ),
    "refund": (
        "refunds without an outcome",
        select(_R.at.label("since")).where(_in(_R.state, UNDER_WAY), _R.check_at.is_not(None)),
    ),
    "operation": (
        "captures and reviews without an outcome",
        select(_said_at(FactType.CHARGE_ASKED, _C.payment_id).label("since")).where(
            _in(_C.due, WISHES), _C.check_at.is_not(None)
        ),
    ),
    "fact": (
        "facts a subscriber has not taken",
        select(events.c.at.label("since")).select_from(
            outbox.join(events, and_(events.c.payment_id == _O.payment_id, events.c.sequence == _O.sequence))
        ),
    ),
    "dead_fact": (
        "facts that are offered no more (dead letters)",
        select(events.c.at.label("since"))
        .select_from(outbox.join(events, and_(events.c.payment_id == _O.payment_id, events.c.sequence == _O.sequence)))
        .where(_O.try_at.is_(None)),
    ),
    "case": (
        "cases nobody has decided",
        select(cases.c.opened_at.label("since")).where(cases.c.decision.is_(None)),
    ),
}
"""What waits: its label in the metrics, what it is, and the moment each of it began."""

_DUE = "due_work"
_DUE_IS = "rows that are due and nobody attends to"


def _overdue(now: datetime) -> Select[Any]:
    """The sweep's own lag: rows whose time has come; a lease moves it on, so what is worked on is not among them."""
    times = (_N.check_at, _A.check_at, _C.check_at, _R.check_at, payments.c.deadline_at)
    parts = [select(column.label("since")).where(column <= now) for column in times]
    return select(union_all(*parts).subquery())


# ── what must agree ───────────────────────────────────────────────────────────────────────────────────────────────────
_P, _D = payments.c, orders.c


def _one_end() -> Select[Any]:
    return select(_P.payment_id).where(_P.closed_as.is_not(None), _P.paid_by.is_not(None))


def _one_keeping_charge() -> Select[Any]:
    kept = payments.outerjoin(charges, and_(_C.payment_id == _P.payment_id, _C.transaction_id == _P.paid_by))
    missing = or_(_C.transaction_id.is_(None), not_(_in(_C.state, MONEY)))
    differs = and_(_C.captured_minor != _P.owed_minor, _P.cases == 0)
    return select(_P.payment_id).select_from(kept).where(_P.paid_by.is_not(None), or_(missing, differs))


def _bounded_returns() -> Select[Any]:
    """What was given back, charged back and reversed is no more than was taken, unless a case says so."""
    overdrawn = (
        select(literal(1)).where(cases.c.payment_id == _C.payment_id, cases.c.kind == CaseKind.OVERDRAWN.value).exists()
    )
    gone = _C.refunded_minor + _C.charged_back_minor + _C.reversed_minor
    too_much = select(_C.payment_id).where(gone > _C.captured_minor, ~overdrawn)
    confirmed = (
        select(_R.payment_id, _R.transaction_id, func.sum(_R.amount_minor).label("given"))
        .where(_R.state == RefundState.CONFIRMED.value)
        .group_by(_R.payment_id, _R.transaction_id)
        .subquery()
    )
    of_charge = and_(_C.payment_id == confirmed.c.payment_id, _C.transaction_id == confirmed.c.transaction_id)
    uncounted = select(confirmed.c.payment_id).join(charges, of_charge).where(confirmed.c.given > _C.refunded_minor)
    return select(union_all(too_much, uncounted).subquery())


_SIGNS = {
    FactType.PAYMENT_PAID: ("taken", 1),
    FactType.PAYMENT_REVERSED: ("taken", -1),
    FactType.PAYMENT_REFUNDED: ("refunded", 1),
    FactType.PAYMENT_REFUND_RETURNED: ("refunded", -1),
    FactType.PAYMENT_CHARGED_BACK: ("charged_back", 1),
    FactType.PAYMENT_CHARGE_BACK_RETURNED: ("charged_back", -1),
}


def _minor_of_event() -> ColumnElement[Any]:
    """The amount of an event in minor units, by the exponent of its currency."""
    code = events.c.data["currency"].as_string()
    odd = {exponent for exponent in CURRENCY_EXPONENTS.values() if exponent != _USUAL_EXPONENT}
    codes = {exponent: sorted(c for c, e in CURRENCY_EXPONENTS.items() if e == exponent) for exponent in sorted(odd)}
    factors = [(code.in_(codes[exponent]), 10**exponent) for exponent in codes]
    major = cast(events.c.data["amount"].as_string(), Numeric(24, 4))
    return cast(func.round(major * case(*factors, else_=10**_USUAL_EXPONENT)), BigInteger)


def _summed(name: str, minor: ColumnElement[Any]) -> ColumnElement[Any]:
    signed = [(events.c.type == kind.value, minor * sign) for kind, (of, sign) in _SIGNS.items() if of == name]
    return func.sum(case(*signed, else_=0)).label(name)


def _published_money() -> Select[Any]:
    """The facts published about a payment add up to its charges: taken, given back, charged back."""
    minor = _minor_of_event()
    sums = [_summed(name, minor) for name in ("taken", "refunded", "charged_back")]
    said = (
        select(events.c.payment_id, *sums)
        .where(events.c.type.in_(sorted(kind.value for kind in _SIGNS)))
        .group_by(events.c.payment_id)
        .subquery("said")
    )
    stored = (
        select(
            _C.payment_id,
            func.sum(case((_C.transaction_id == _P.paid_by, _C.captured_minor), else_=0)).label("taken"),
            func.sum(_C.refunded_minor).label("refunded"),
            func.sum(_C.charged_back_minor).label("charged_back"),
        )
        .join(payments, _P.payment_id == _C.payment_id)
        .group_by(_C.payment_id)
        .subquery("stored")
    )
    both = payments.outerjoin(said, said.c.payment_id == _P.payment_id).outerjoin(
        stored, stored.c.payment_id == _P.payment_id
    )
    differ = [func.coalesce(said.c[n], 0) != func.coalesce(stored.c[n], 0) for n in ("refunded", "charged_back")]
    taken = and_(func.coalesce(said.c.taken, 0) != func.coalesce(stored.c.taken, 0), _P.cases == 0)
    return select(_P.payment_id).select_from(both).where(or_(taken, *differ))


def _orders_agree() -> Select[Any]:
    """An order says what its payment says."""
    rows = {row.status.value: row.order.value for row in STATUS_ROWS}
    expected = case(rows, value=_P.status, else_="?")
    joined = orders.outerjoin(payments, _P.payment_id == _D.payment_id)
    return (
        select(_D.payment_id)
        .select_from(joined)
        .where(_D.payment_id.is_not(None), or_(_P.payment_id.is_(None), _D.status != expected))
    )


def _stock_agrees() -> Select[Any]:
    """Units are held for pending orders only, and consumed for paid ones; after a case a person may have decided."""
    r = reservations.c
    joined = reservations.join(orders, _D.order_id == r.order_id).outerjoin(payments, _P.payment_id == _D.payment_id)
    held = and_(r.state == StockMove.RESERVED.value, _D.status != OrderStatus.PENDING.value)
    unpaid = _D.status.in_([OrderStatus.PENDING.value, OrderStatus.CANCELLED.value])
    gone = and_(r.state == StockMove.CONSUMED.value, unpaid, func.coalesce(_P.cases, 0) == 0)
    return select(func.coalesce(_D.payment_id, _D.order_id)).select_from(joined).where(or_(held, gone))


INVARIANTS: Mapping[str, tuple[str, Select[Any]]] = {
    "one_end": ("no payment is both paid and given up", _one_end()),
    "one_keeping_charge": ("every paid payment is kept by one charge, whose money it owes", _one_keeping_charge()),
    "bounded_returns": ("no more goes back than was taken", _bounded_returns()),
    "published_money": ("published facts add up to the charges", _published_money()),
    "orders_agree": ("every order says what its payment says", _orders_agree()),
    "stock_agrees": ("stock is held for pending orders and consumed for paid ones", _stock_agrees()),
}
"""One SQL each; it names what it is broken for."""


class Watch:
    """Looks at the database for an operator, and keeps what it saw for a while."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def backlog(self, now: datetime) -> Backlog:
        """What waits now.

        Errors: StorageUnavailable.
        """
        parts = {name: query for name, (_, query) in WAITING.items()} | {_DUE: _overdue(now)}
        counted = []
        for name, query in parts.items():
            rows = query.subquery()
            counted.append(select(literal(name), func.count(), func.min(rows.c.since)).select_from(rows))
        kinds = select(cases.c.kind, func.count()).where(cases.c.decision.is_(None)).group_by(cases.c.kind)
        async with self._store.reading() as uow:
            found = (await uow.connection.execute(union_all(*counted))).all()
            by_kind = (await uow.connection.execute(kinds)).all()
        waiting = {name: Waiting(count, oldest) for name, count, oldest in found}
        return Backlog(now, waiting, {kind: int(count) for kind, count in by_kind})

    async def broken(self, names: Iterable[str] = INVARIANTS) -> dict[str, Broken]:
        """Every invariant, or those of these names, with what it is broken for.

        Errors: StorageUnavailable.
        """
        answers = {}
        async with self._store.reading_through() as uow:
            for name in names:
                _, query = INVARIANTS[name]
                which = query.subquery()
                count = await uow.connection.scalar(select(func.count()).select_from(which))
                some = await uow.connection.scalars(query.limit(_EXAMPLES_MAX)) if count else ()
                answers[name] = Broken(int(count or 0), tuple(map(str, some)))
        return answers


def what_is(name: str) -> str:
    """A label of the backlog in words."""
    return WAITING[name][0] if name in WAITING else _DUE_IS
