"""Aggregates to rows and back, by hand: what you see is what is stored.

`from_rows(to_rows(payment)) == payment` is a law, checked with generated payments.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, TypeVar

import attrs

from payments_core.facts import Event
from payments_core.money import Currency, Money
from payments_core.orders import Customer, Item, Order, OrderStatus, Shipping
from payments_core.payment import (
    Attempt,
    AttemptState,
    Case,
    CaseDecision,
    Charge,
    ChargeDue,
    Closed,
    ClosedAs,
    CloseReason,
    Decline,
    Payment,
    Refund,
    RefundState,
)
from payments_core.states import CaseKind, ChargeState
from payments_core.status import status

__all__ = ["PaymentRows", "Row", "changed", "event_to_row", "from_rows", "order_from_row", "order_to_row", "to_rows"]

Row = dict[str, Any]
_Word = TypeVar("_Word", bound=Enum)


@attrs.frozen
class PaymentRows:
    """The rows of one payment, by table."""

    payment: Mapping[Any, Any]
    attempts: list[Row]
    charges: list[Row]
    refunds: list[Row]
    cases: list[Row]


def to_rows(payment: Payment) -> PaymentRows:
    """The rows that hold this payment."""
    numbered = [*enumerate(payment.charges)]
    return PaymentRows(
        payment=_payment_row(payment),
        attempts=[_attempt_row(payment.payment_id, attempt) for attempt in payment.attempts],
        charges=[_charge_row(payment.payment_id, position, charge) for position, charge in numbered],
        refunds=[_refund_row(payment.payment_id, position, r) for position, r in enumerate(payment.refunds)],
        cases=[_case_row(payment.payment_id, case) for case in payment.cases],
    )


def from_rows(rows: PaymentRows) -> Payment:
    """The payment these rows hold."""
    row = rows.payment
    return Payment(
        payment_id=row["payment_id"],
        account=row["account"],
        order_id=row["order_id"],
        amount=_money(row["amount_minor"], row["currency"]),
        owed=_money(row["owed_minor"], row["owed_currency"]),
        created_at=row["created_at"],
        reserved_at=row["reserved_at"],
        closed=_closed(row),
        paid_by=row["paid_by"],
        paid_at=row["paid_at"],
        attempts=tuple(_attempt(r) for r in sorted(rows.attempts, key=lambda r: r["number"])),
        charges=tuple(_charge(r) for r in sorted(rows.charges, key=lambda r: r["position"])),
        refunds=tuple(_refund(r) for r in sorted(rows.refunds, key=lambda r: r["position"])),
        cases=tuple(_case(r) for r in sorted(rows.cases, key=lambda r: r["number"])),
        reading_number=row["reading_number"],
        deadline_at=row["deadline_at"],
        version=row["version"],
        events=row["events"],
    )


# ── payments ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _payment_row(payment: Payment) -> Row:
    last = payment.payable_attempt or payment.last_attempt
    return {
        "payment_id": payment.payment_id,
        "account": payment.account,
        "order_id": payment.order_id,
        "currency": payment.amount.currency.code,
        "amount_minor": payment.amount.amount_minor,
        "owed_currency": payment.owed.currency.code,
        "owed_minor": payment.owed.amount_minor,
        "status": status(payment).value,  # for lists only: the fold decides
        "provider": last.provider if last else "",
        "needs_review": bool(payment.open_cases),
        "created_at": payment.created_at,
        "reserved_at": payment.reserved_at,
        "closed_as": payment.closed.kind.value if payment.closed else None,
        "closed_at": payment.closed.at if payment.closed else None,
        "closed_by": payment.closed.by if payment.closed else None,
        "paid_by": payment.paid_by,
        "paid_at": payment.paid_at,
        "reading_number": payment.reading_number,
        "deadline_at": payment.deadline_at,
        "version": payment.version,
        "events": payment.events,
        "refunds": len(payment.refunds),
        "cases": len(payment.cases),
    }


def _closed(row: Mapping[Any, Any]) -> Closed | None:
    if row["closed_as"] is None:
        return None
    return Closed(ClosedAs(row["closed_as"]), row["closed_at"], row["closed_by"])


def _attempt_row(payment_id: str, attempt: Attempt) -> Row:
    return {
        "payment_id": payment_id,
        "number": attempt.number,
        "provider": attempt.provider,
        "account": attempt.account,
        "provider_order_id": attempt.provider_order_id,
        "state": attempt.state.value,
        "currency": attempt.amount.currency.code,
        "amount_minor": attempt.amount.amount_minor,
        "merchant_id": attempt.merchant_id,
        "live": attempt.live,
        "methods": list(attempt.methods),
        "return_url": attempt.return_url,
        "request": attempt.request,
        "token": attempt.token,
        "url": attempt.url,
        "opened_at": attempt.opened_at,
        "ends_at": attempt.ends_at,
        "sends": attempt.sends,
        "resend": attempt.resend,
        "lease_until": attempt.lease_until,
        "closing": _word(attempt.closing),
        "closing_by": attempt.closing_by,
        "doubt": _word(attempt.doubt),
        "proof": attempt.proof,
        "check_at": attempt.check_at,
        "checks": attempt.checks,
    }


def _attempt(row: Row) -> Attempt:
    return Attempt(
        number=row["number"],
        provider=row["provider"],
        account=row["account"],
        provider_order_id=row["provider_order_id"],
        state=AttemptState(row["state"]),
        amount=_money(row["amount_minor"], row["currency"]),
        merchant_id=row["merchant_id"],
        live=row["live"],
        methods=tuple(row["methods"]),
        return_url=row["return_url"],
        request=row["request"],
        token=row["token"],
        url=row["url"],
        opened_at=row["opened_at"],
        ends_at=row["ends_at"],
        sends=row["sends"],
        resend=row["resend"],
        lease_until=row["lease_until"],
        closing=_maybe(CloseReason, row["closing"]),
        closing_by=row["closing_by"],
        doubt=_maybe(CloseReason, row["doubt"]),
        proof=row["proof"],
        check_at=row["check_at"],
        checks=row["checks"],
    )


def _charge_row(payment_id: str, position: int, charge: Charge) -> Row:
    decline = charge.decline
    return {
        "payment_id": payment_id,
        "transaction_id": charge.transaction_id,
        "position": position,
        "attempt": charge.attempt,
        "state": charge.state.value,
        "currency": charge.amount.currency.code,
        "amount_minor": charge.amount.amount_minor,
        "method": charge.method,
        "authorized_minor": charge.authorized_minor,
        "captured_minor": charge.captured_minor,
        "refunded_minor": charge.refunded_minor,
        "charged_back_minor": charge.charged_back_minor,
        "reversed_minor": charge.reversed_minor,
        "charged_back_unknown": charge.charged_back_unknown,
        "authorized_by_reading": charge.authorized_by_reading,
        "had_money": charge.had_money,
        "faults": sorted(fault.value for fault in charge.faults),
        "accepted": charge.accepted,
        "cancel_asked": charge.cancel_asked,
        "reading_number": charge.reading_number,
        "contradicted": charge.contradicted,
        "recheck_after": charge.recheck_after,
        "decline_code": decline.code if decline else None,
        "decline_method": decline.method if decline else None,
        "decline_at": decline.at if decline else None,
        "occurred_at": charge.occurred_at,
        "due": _word(charge.due),
        "capture_minor": charge.capture_minor,
        "asked_by": charge.asked_by,
        "asked_at": charge.asked_at,
        "check_at": charge.check_at,
        "checks": charge.checks,
    }


def _charge(row: Row) -> Charge:
    declined = row["decline_code"] is not None
    return Charge(
        transaction_id=row["transaction_id"],
        attempt=row["attempt"],
        state=ChargeState(row["state"]),
        amount=_money(row["amount_minor"], row["currency"]),
        method=row["method"],
        authorized_minor=row["authorized_minor"],
        captured_minor=row["captured_minor"],
        refunded_minor=row["refunded_minor"],
        charged_back_minor=row["charged_back_minor"],
        reversed_minor=row["reversed_minor"],
        charged_back_unknown=row["charged_back_unknown"],
        authorized_by_reading=row["authorized_by_reading"],
        had_money=row["had_money"],
        faults=frozenset(CaseKind(fault) for fault in row["faults"]),
        accepted=row["accepted"],
        cancel_asked=row["cancel_asked"],
        reading_number=row["reading_number"],
        contradicted=row["contradicted"],
        recheck_after=row["recheck_after"],
        decline=Decline(row["decline_code"], row["decline_method"], row["decline_at"]) if declined else None,
        occurred_at=row["occurred_at"],
        due=_maybe(ChargeDue, row["due"]),
        capture_minor=row["capture_minor"],
        asked_by=row["asked_by"],
        asked_at=row["asked_at"],
        check_at=row["check_at"],
        checks=row["checks"],
    )


def _refund_row(payment_id: str, position: int, refund: Refund) -> Row:
    return {
        "payment_id": payment_id,
        "key": refund.key,
        "position": position,
        "transaction_id": refund.transaction_id,
        "currency": refund.amount.currency.code,
        "amount_minor": refund.amount.amount_minor,
        "state": refund.state.value,
        "by": refund.by,
        "reason": refund.reason,
        "asked_as": refund.asked_as,
        "case_number": refund.case,
        "refused": refund.refused,
        "elsewhere_minor": refund.elsewhere_minor,
        "at": refund.at,
        "check_at": refund.check_at,
        "checks": refund.checks,
    }


def _refund(row: Row) -> Refund:
    return Refund(
        key=row["key"],
        transaction_id=row["transaction_id"],
        amount=_money(row["amount_minor"], row["currency"]),
        state=RefundState(row["state"]),
        by=row["by"],
        reason=row["reason"],
        asked_as=row["asked_as"],
        case=row["case_number"],
        refused=row["refused"],
        elsewhere_minor=row["elsewhere_minor"],
        at=row["at"],
        check_at=row["check_at"],
        checks=row["checks"],
    )


def _case_row(payment_id: str, case: Case) -> Row:
    return {
        "payment_id": payment_id,
        "number": case.number,
        "kind": case.kind.value,
        "transaction_id": case.transaction_id,
        "opened_at": case.opened_at,
        "evidence": dict(case.evidence),
        "decision": _word(case.decision),
        "decided_by": case.decided_by,
        "decided_at": case.decided_at,
        "note": case.note,
    }


def _case(row: Row) -> Case:
    return Case(
        number=row["number"],
        kind=CaseKind(row["kind"]),
        transaction_id=row["transaction_id"],
        opened_at=row["opened_at"],
        evidence=row["evidence"],
        decision=_maybe(CaseDecision, row["decision"]),
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        note=row["note"],
    )


def event_to_row(event: Event) -> Row:
    """The row that holds this event."""
    return {
        "payment_id": event.payment_id,
        "sequence": event.sequence,
        "type": event.type.value,
        "at": event.at,
        "actor": event.actor,
        "data": dict(event.data),
    }


# ── orders ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def order_to_row(order: Order) -> Row:
    """The row that holds this order; its content is one document, frozen with its first page."""
    customer, shipping = order.customer, order.shipping
    return {
        "order_id": order.order_id,
        "account": "default",
        "customer_id": customer.id,
        "customer": {"name": customer.name, "email": customer.email, "phone": customer.phone},
        "currency": order.currency.code,
        "items": [_item_document(item) for item in order.items],
        "discount_minor": order.discount.amount_minor,
        "shipping": _shipping_document(shipping) if shipping else None,
        "total_minor": order.total.amount_minor,
        "status": order.status.value,
        "expired": order.expired,
        "payment_id": order.payment_id,
        "reserved_at": order.reserved_at,
        "expires_at": order.expires_at,
    }


def order_from_row(row: Mapping[Any, Any]) -> Order:
    """The order this row holds."""
    currency = Currency.of(row["currency"])
    return Order(
        order_id=row["order_id"],
        customer=Customer(id=row["customer_id"], **row["customer"]),
        currency=currency,
        items=tuple(_item(document, currency) for document in row["items"]),
        discount=Money(row["discount_minor"], currency),
        shipping=_shipping(row["shipping"], currency) if row["shipping"] else None,
        status=OrderStatus(row["status"]),
        expired=row["expired"],
        payment_id=row["payment_id"],
        reserved_at=row["reserved_at"],
        expires_at=row["expires_at"],
    )


def _item_document(item: Item) -> Row:
    return {
        "sku": item.sku,
        "name": item.name,
        "variant": item.variant,
        "price_minor": item.price.amount_minor,
        "quantity": item.quantity,
        "track_stock": item.track_stock,
    }


def _item(document: Row, currency: Currency) -> Item:
    return Item(
        sku=document["sku"],
        name=document["name"],
        variant=document["variant"],
        price=Money(document["price_minor"], currency),
        quantity=document["quantity"],
        track_stock=document["track_stock"],
    )


def _shipping_document(shipping: Shipping) -> Row:
    return {
        "cost_minor": shipping.cost.amount_minor,
        "name": shipping.name,
        "address": shipping.address,
        "city": shipping.city,
        "postal_code": shipping.postal_code,
        "phone": shipping.phone,
    }


def _shipping(document: Row, currency: Currency) -> Shipping:
    return Shipping(
        cost=Money(document["cost_minor"], currency),
        name=document["name"],
        address=document["address"],
        city=document["city"],
        postal_code=document["postal_code"],
        phone=document["phone"],
    )


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _money(amount_minor: int, code: str) -> Money:
    return Money(amount_minor, Currency.of(code))


def _word(value: Enum | None) -> str | None:
    return value.value if value is not None else None


def _maybe(kind: type[_Word], word: str | None) -> _Word | None:
    return kind(word) if word is not None else None


def changed(before: Iterable[Row], after: Iterable[Row]) -> list[Row]:
    """The rows of `after` that `before` does not have like that."""
    known = [*before]
    return [row for row in after if row not in known]
