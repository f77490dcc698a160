"""The status of a payment: a fold over its attempts and charges. The first row that is true wins.

Nothing else decides a status: no stored word, no clock.
`docs/state-machine.md` is printed from this table too.
"""

from collections.abc import Callable
from enum import Enum

import attrs

from payments_core.orders import OrderStatus
from payments_core.payment import AttemptState, ClosedAs, Payment
from payments_core.states import ChargeState

__all__ = ["STATUS_ROWS", "PaymentStatus", "StatusRow", "order_status", "status", "status_row"]


class PaymentStatus(Enum):
    """What a shop sees of a payment."""

    PENDING = "pending"
    PROCESSING = "processing"
    AUTHORIZED = "authorized"
    SUCCESS = "success"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    CHARGED_BACK = "charged_back"


@attrs.frozen
class StatusRow:
    """One row of the fold: when it holds, what the payment and the order are called, and what stock does."""

    number: int
    condition: str
    holds: Callable[[Payment], bool]
    status: PaymentStatus
    order: OrderStatus
    stock: str


def _charged_back_whole(payment: Payment) -> bool:
    kept = payment.keeping_charge
    return kept is not None and kept.charged_back_minor > 0 and kept.left_minor <= 0


def _refunded_whole(payment: Payment) -> bool:
    kept = payment.keeping_charge
    return kept is not None and kept.refunded_minor >= kept.captured_minor > 0


def _given_back_in_part(payment: Payment) -> bool:
    kept = payment.keeping_charge
    return kept is not None and (kept.refunded_minor + kept.charged_back_minor > 0 or kept.charged_back_unknown)


def _kept(payment: Payment) -> bool:
    return payment.keeping_charge is not None


def _authorized(payment: Payment) -> bool:
    return any(charge.is_good and charge.state is ChargeState.AUTHORIZED for charge in payment.charges)


def _in_progress(payment: Payment) -> bool:
    return any(
        charge.state is ChargeState.CHALLENGED
        or (charge.state is ChargeState.PENDING and payment.attempt(charge.attempt).state is not AttemptState.DEAD)
        for charge in payment.charges
    )


def _payable(payment: Payment) -> bool:
    return payment.payable_attempt is not None


def _closed_as(kind: ClosedAs) -> Callable[[Payment], bool]:
    return lambda payment: payment.closed is not None and payment.closed.kind is kind


_P, _O = PaymentStatus, OrderStatus

STATUS_ROWS: tuple[StatusRow, ...] = (
    StatusRow(
        1,
        "the keeping charge was charged back and nothing of it is left",
        _charged_back_whole,
        _P.CHARGED_BACK,
        _O.PAID,
        "stays consumed",
    ),
    StatusRow(
        2,
        "the keeping charge was refunded whole",
        _refunded_whole,
        _P.REFUNDED,
        _O.REFUNDED,
        "stays consumed: a refund never moves stock",
    ),
    StatusRow(
        3,
        "a part of the keeping charge was refunded or charged back",
        _given_back_in_part,
        _P.PARTIALLY_REFUNDED,
        _O.PARTIALLY_REFUNDED,
        "stays consumed",
    ),
    StatusRow(4, "there is a keeping charge", _kept, _P.SUCCESS, _O.PAID, "consumed once, when the charge is kept"),
    StatusRow(5, "a good charge is authorized", _authorized, _P.AUTHORIZED, _O.PENDING, "reserved while it lasts"),
    StatusRow(
        6,
        "a charge is challenged, or pending on a page that is not dead",
        _in_progress,
        _P.PROCESSING,
        _O.PENDING,
        "reserved",
    ),
    StatusRow(
        7,
        "a page is opening, open or closing, after any number of declines",
        _payable,
        _P.PENDING,
        _O.PENDING,
        "reserved",
    ),
    StatusRow(8, "closed as cancelled", _closed_as(ClosedAs.CANCELLED), _P.CANCELLED, _O.CANCELLED, "released once"),
    StatusRow(9, "closed as expired", _closed_as(ClosedAs.EXPIRED), _P.EXPIRED, _O.CANCELLED, "released once"),
    StatusRow(
        10,
        "otherwise: every page is dead or spent",
        lambda _payment: True,
        _P.FAILED,
        _O.PENDING,
        "reserved; a new page may be opened",
    ),
)


def status_row(payment: Payment) -> StatusRow:
    """The row of the fold that holds; the last one always does."""
    for row in STATUS_ROWS:
        if row.holds(payment):
            return row
    raise AssertionError("the last row always holds")


def status(payment: Payment) -> PaymentStatus:
    """The status of the payment."""
    return status_row(payment).status


def order_status(payment: Payment) -> OrderStatus:
    """What the order is called while its payment stands so."""
    return status_row(payment).order
