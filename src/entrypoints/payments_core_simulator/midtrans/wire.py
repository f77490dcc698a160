"""The bodies that speak of a transaction: notification, status reply, action reply; their codes and signatures."""

import hashlib
from enum import Enum, auto
from uuid import UUID

import attrs

from .channel_fields import Fields, amount_text, channel_fields, has_fraud_status
from .channels import is_bi_snap
from .times import wire_time
from .values import Refund, Transaction

NOTIFICATION_MESSAGE = "midtrans payment notification"
STATUS_MESSAGE = "Success, transaction is found"


@attrs.frozen
class Account:
    """The merchant account every body speaks for."""

    server_key: str = attrs.field(repr=False)
    merchant_id: str


class View(Enum):
    """Who is told: the same state has different codes in each."""

    NOTIFICATION = auto()
    STATUS = auto()
    ACTION = auto()


# One row per state: notification, status, action reply. Source: section 3 of the facts sheet; `failure` and the
# charge-backs have no published body, their codes follow third-party tests.
CODES: dict[str, tuple[str, str, str]] = {
    "pending": ("201", "201", "201"),
    "authorize": ("200", "200", "200"),
    "capture": ("200", "200", "200"),
    "challenge": ("201", "201", "201"),
    "settlement": ("200", "200", "200"),
    "deny": ("202", "202", "200"),
    "cancel": ("202", "200", "200"),
    "expire": ("202", "407", "407"),
    "failure": ("202", "202", "202"),
    "refund": ("200", "200", "200"),
    "partial_refund": ("200", "200", "200"),
    "chargeback": ("200", "200", "200"),
    "partial_chargeback": ("200", "200", "200"),
}


def status_code(transaction: Transaction, view: View) -> str:
    """Return the body's code for this state in this view."""
    row = CODES["challenge" if transaction.challenged else transaction.status]
    return row[list(View).index(view)]


def signature(order_id: str, code: str, gross_amount: str, server_key: str) -> str:
    """Sign as the gateway does: the raw strings joined without a separator."""
    return hashlib.sha512(f"{order_id}{code}{gross_amount}{server_key}".encode()).hexdigest()


def notification(transaction: Transaction, account: Account) -> Fields:
    """Return the body sent to the merchant; it names the merchant's order id for every channel."""
    body = _body(transaction, View.NOTIFICATION, NOTIFICATION_MESSAGE, transaction.order_id, account)
    return _signed(body, account)


def status_reply(transaction: Transaction, account: Account) -> Fields:
    """Return the answer to GET status, signed with its own code."""
    body = _body(transaction, View.STATUS, STATUS_MESSAGE, _answered_order_id(transaction), account)
    return _signed(body, account) | {"expiry_time": wire_time(transaction.expires_at)}


def action_reply(transaction: Transaction, message: str, account: Account) -> Fields:
    """Return the answer to cancel, expire, approve, deny or capture; these carry no signature."""
    return _body(transaction, View.ACTION, message, _answered_order_id(transaction), account)


def refund_reply(transaction: Transaction, refund: Refund, message: str) -> Fields:
    """Return the answer to a refund. `refund_amount` is this refund's; the documents do not settle whose it is."""
    return {
        "status_code": "200",
        "status_message": message,
        **_identity(transaction, _answered_order_id(transaction)),
        "refund_chargeback_id": refund.number,
        "refund_amount": amount_text(refund.amount_sen),
        "refund_key": refund.key,
    }


def refused_refund_reply(transaction: Transaction, key: str) -> Fields:
    """Return the answer when the bank refuses: success-shaped, the transaction as it was, an amount of nothing."""
    return {
        "status_code": "202",
        "status_message": "Refund denied by the bank",
        **_identity(transaction, _answered_order_id(transaction)),
        "refund_chargeback_id": 0,
        "refund_amount": "0.00",
        "refund_key": key,
    }


def refused_capture_reply(transaction: Transaction, account: Account) -> Fields:
    """Return the answer when the bank refuses a capture: it says deny while the stored status stays authorize."""
    message = "Deny by Bank [BNI] with code [01] and message [Refer to card issuer]"
    return action_reply(transaction, message, account) | {
        "status_code": "202",
        "transaction_status": "deny",
        "channel_response_code": "01",
        "channel_response_message": "Refer to card issuer",
    }


def dashboard_probe(unique: UUID, account: Account, time_text: str) -> Fields:
    """Return what the dashboard's "test notification URL" button sends: signed, settled, unknown to GET status."""
    body: Fields = {
        "transaction_time": time_text,
        "transaction_status": "settlement",
        "transaction_id": str(unique),
        "status_message": NOTIFICATION_MESSAGE,
        "status_code": "200",
        "settlement_time": time_text,
        "payment_type": "credit_card",
        "order_id": f"payment_notif_test_{account.merchant_id}_{unique}",
        "merchant_id": account.merchant_id,
        "masked_card": "48111111-1114",
        "gross_amount": "105000.00",
        "fraud_status": "accept",
        "currency": "IDR",
    }
    return _signed(body, account)


def _answered_order_id(transaction: Transaction) -> str:
    """Return the order id a Core reply names: BI-SNAP channels put the transaction id there."""
    bi_snap = is_bi_snap(transaction.payment_type, transaction.bank)
    return transaction.transaction_id if bi_snap else transaction.order_id


def _signed(body: Fields, account: Account) -> Fields:
    order_id, code, gross_amount = (str(body[name]) for name in ("order_id", "status_code", "gross_amount"))
    return body | {"signature_key": signature(order_id, code, gross_amount, account.server_key)}


def _body(transaction: Transaction, view: View, message: str, order_id: str, account: Account) -> Fields:
    body: Fields = {"status_code": status_code(transaction, view), "status_message": message}
    body |= _identity(transaction, order_id)
    body |= {"currency": transaction.currency, "merchant_id": transaction.merchant_id or account.merchant_id}
    if has_fraud_status(transaction):
        body["fraud_status"] = transaction.fraud
    if transaction.settled_at is not None and transaction.captured_sen > 0:
        body["settlement_time"] = wire_time(transaction.settled_at)
    return body | channel_fields(transaction) | dict(transaction.custom_fields) | _given_back(transaction)


def _identity(transaction: Transaction, order_id: str) -> Fields:
    return {
        "transaction_id": transaction.transaction_id,
        "order_id": order_id,
        "gross_amount": amount_text(transaction.gross_sen),
        "payment_type": transaction.payment_type,
        "transaction_time": wire_time(transaction.created_at),
        "transaction_status": transaction.status,
    }


def _given_back(transaction: Transaction) -> Fields:
    """Return refunds, cumulative; or the amount of a charge-back when it was told."""
    if transaction.status in {"chargeback", "partial_chargeback"}:
        told = transaction.charge_back_amount_told
        return {"refund_amount": amount_text(transaction.charged_back_sen)} if told else {}
    if not transaction.refunds:
        return {}
    refunds = [_refund_line(refund) for refund in transaction.refunds]
    return {"refund_amount": amount_text(transaction.refunded_sen), "refunds": refunds}


def _refund_line(refund: Refund) -> Fields:
    line: Fields = {
        "refund_chargeback_id": refund.number,
        "refund_amount": amount_text(refund.amount_sen),
        "created_at": wire_time(refund.created_at),
        "reason": refund.reason,
        "refund_key": refund.key,
    }
    if refund.confirmed_at is not None:
        line["refund_method"] = "online" if refund.direct else "offline"
        line["bank_confirmed_at"] = wire_time(refund.confirmed_at)
    return line
