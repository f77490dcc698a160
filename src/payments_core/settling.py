"""What a change of a payment means for its order: the units it wants back, and what becomes of status and stock.

Whoever saves a payment asks here, in the same transaction: the use cases do, and so does a program that decides alone.
"""

from datetime import datetime

from payments_core.consequences import late_charge, lost_its_stock, open_case, reopen, reserved_anew, review_late
from payments_core.orders import OrderStatus, StockMove
from payments_core.payment import ClosedAs, Payment
from payments_core.ports import OrderEffect
from payments_core.states import CaseKind
from payments_core.status import order_status

__all__ = ["order_effect", "settle_stock", "wants_stock"]


def wants_stock(before: Payment | None, after: Payment) -> bool:
    """Whether money came when the units of the order were given back already: they have to be reserved again first."""
    if late_charge(after) is not None:
        return not _has_its_stock(before)
    return _comes_back(before, after)


def settle_stock(before: Payment | None, after: Payment, *, reserved: bool, now: datetime) -> Payment:
    """The payment as it is to be saved: money that came late pays when its order has its units, else it is a case.

    `reserved` says whether the order book could `reserve_again` what `wants_stock`; False where it was not asked.
    """
    charge, kept = late_charge(after), after.keeping_charge
    if charge is not None:
        pays = reserved or _has_its_stock(before)
        return reopen(after, charge, now) if pays else review_late(after, charge, now)
    if kept is None or not _comes_back(before, after):
        return after
    if reserved:
        return reserved_anew(after, now)
    evidence = {"why": "its stock was released and cannot be had any more"}
    return open_case(after, CaseKind.LATE_PAYMENT, kept.transaction_id, now, evidence)


def _has_its_stock(before: Payment | None) -> bool:
    """It was to be released with this very change."""
    return before is not None and before.closed is None and not lost_its_stock(before)


def _comes_back(before: Payment | None, after: Payment) -> bool:
    """Money that comes after a dismissed reversal wants the stock that was released with the dismissal.

    Unless whoever decided reserved it already, as late money is accepted.
    """
    is_paid_now = before is not None and before.paid_by is None and after.keeping_charge is not None
    return is_paid_now and lost_its_stock(after)


def order_effect(before: Payment | None, after: Payment) -> OrderEffect | None:
    """What the change of a payment does to its order, None when nothing."""
    paid = after.paid_by is not None and (before is None or before.paid_by is None)
    gave_up = after.closed is not None and (before is None or before.closed is None)
    status_was = order_status(before) if before else OrderStatus.PENDING
    status = order_status(after)
    came_back = before is not None and not paid and lost_its_stock(after) and not lost_its_stock(before)
    found = before is not None and after.paid_by is not None and lost_its_stock(before) and not lost_its_stock(after)
    if status is status_was and not (paid or gave_up or came_back or found):
        return None
    move = StockMove.CONSUMED if paid or found else StockMove.RELEASED if gave_up or came_back else None
    expired = after.closed is not None and after.closed.kind is ClosedAs.EXPIRED
    return OrderEffect(after.order_id, status, move, expired, also_consumed=came_back)
