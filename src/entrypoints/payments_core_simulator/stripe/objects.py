"""The JSON of intents, tries, refunds, disputes and coupons, with the properties their published schema requires."""

from datetime import datetime, timedelta
from typing import Any

from .limits import EVIDENCE_LIFE
from .values import Charge, Coupon, Decline, Dispute, Intent, Refund

Json = dict[str, Any]
NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
_EVIDENCE = dict.fromkeys(
    (
        "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
        "cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
        "customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation",
        "duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
        "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier",
        "shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file",
        "uncategorized_text",
    )
)  # fmt: skip


def seconds(moment: datetime | None) -> int | None:
    """Write a moment as the gateway does: whole seconds since 1970."""
    return None if moment is None else int(moment.timestamp())


def intent_body(intent: Intent) -> Json:
    """Return an intent."""
    return {
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": intent.capturable,
        "amount_details": {"tip": {}},
        "amount_received": intent.amount_received,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": seconds(intent.canceled_at),
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": intent.capture_method,
        # Never told to anyone but the buyer's browser, and no browser here needs it.
        "client_secret": None,
        "confirmation_method": "automatic",
        "created": seconds(intent.created),
        "currency": intent.currency,
        "customer": None,
        "description": intent.description,
        "last_payment_error": _error(intent.last_error, intent.latest_charge),
        "latest_charge": intent.latest_charge,
        "livemode": False,
        "metadata": dict(intent.metadata),
        "next_action": _next_action(intent),
        "on_behalf_of": None,
        "payment_method": None if intent.latest_charge is None else _method_id(intent.latest_charge),
        "payment_method_options": {},
        "payment_method_types": [intent.method],
        "payment_record": None,
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": intent.status,
        "transfer_data": None,
        "transfer_group": None,
    }


def _next_action(intent: Intent) -> Json | None:
    if intent.status != "requires_action":
        return None
    return {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}


def _error(why: Decline | None, charge_id: str | None) -> Json | None:
    if why is None:
        return None
    error: Json = {"type": "card_error" if why.decline_code else "invalid_request_error", "code": why.code}
    error["message"] = why.message
    if why.decline_code is not None:
        error |= {"charge": charge_id, "decline_code": why.decline_code}
    return error


def _method_id(charge_id: str) -> str:
    return "pm_" + charge_id.removeprefix("ch_")


def charge_body(charge: Charge) -> Json:
    """Return a try."""
    failed = charge.failure is not None
    return {
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": charge.amount_captured,
        "amount_refunded": charge.amount_refunded + charge.amount_released,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": "txn_" + charge.id.removeprefix("ch_") if charge.captured else None,
        "billing_details": {"address": NO_ADDRESS, "email": None, "name": None, "phone": None, "tax_id": None},
        "calculated_statement_descriptor": "SIMULATOR",
        "captured": charge.captured,
        "created": seconds(charge.created),
        "currency": charge.currency,
        "customer": None,
        "description": None,
        "disputed": charge.disputed,
        "failure_balance_transaction": None,
        "failure_code": charge.failure.code if charge.failure else None,
        "failure_message": charge.failure.message if charge.failure else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(charge.metadata),
        "on_behalf_of": None,
        "outcome": _outcome(charge),
        "paid": charge.status != "failed",
        "payment_intent": charge.intent_id,
        "payment_method": _method_id(charge.id),
        "payment_method_details": _method_details(charge),
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": charge.amount_captured > 0 and charge.left == 0,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "failed" if failed else charge.status,
        "transfer": None,
        "transfer_data": None,
        "transfer_group": None,
    }


def _outcome(charge: Charge) -> Json:
    if charge.failure is None:
        return {
            "network_status": "approved_by_network", "reason": None, "risk_level": "normal",
            "seller_message": "Payment complete.", "type": "authorized",
        }  # fmt: skip
    return {
        "network_status": "declined_by_network", "reason": charge.failure.decline_code, "risk_level": "normal",
        "seller_message": "The bank did not return any further details with this decline.", "type": "issuer_declined",
    }  # fmt: skip


def _method_details(charge: Charge) -> Json:
    card = {"brand": "visa", "country": "US", "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": "4242"}
    return {"type": charge.method, charge.method: card if charge.method == "card" else {"last4": "6789"}}


def refund_body(refund: Refund) -> Json:
    """Return a refund."""
    body: Json = {
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": "txn_" + refund.id.removeprefix("re_"),
        "charge": refund.charge_id,
        "created": seconds(refund.created),
        "currency": refund.currency,
        "customer": None,
        "customer_account": None,
        "destination_details": {"card": {"reference_status": "pending", "type": "refund"}, "type": "card"},
        "failure_balance_transaction": None,
        "metadata": dict(refund.metadata),
        "payment_intent": refund.intent_id,
        "payment_method": _method_id(refund.charge_id),
        "pending_reason": "processing" if refund.status == "pending" else None,
        "reason": refund.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": refund.status,
        "transfer_reversal": None,
    }
    return body if refund.failure_reason is None else body | {"failure_reason": refund.failure_reason}


def _withdrawal(dispute: Dispute) -> Json:
    """The move of the merchant's balance that a dispute shows while its money is gone."""
    return {
        "id": dispute.id.replace("du_", "txn_"),
        "object": "balance_transaction",
        "amount": -dispute.amount,
        "currency": dispute.currency,
        "fee": 0,
        "net": -dispute.amount,
        "reporting_category": "dispute",
        "source": dispute.id,
        "type": "adjustment",
    }


def dispute_body(dispute: Dispute) -> Json:
    """Return a dispute."""
    due = dispute.created + EVIDENCE_LIFE
    return {
        "id": dispute.id,
        "object": "dispute",
        "amount": dispute.amount,
        "balance_transactions": [_withdrawal(dispute)] if dispute.withdrawn else [],
        "charge": dispute.charge_id,
        "created": seconds(dispute.created),
        "currency": dispute.currency,
        "enhanced_eligibility_types": [],
        "evidence": {**_EVIDENCE, "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": seconds(due), "enhanced_eligibility": {}, "has_evidence": False, "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": dispute.status.startswith("warning"),
        "livemode": False,
        "metadata": {},
        "payment_intent": dispute.intent_id,
        "payment_method_details": {"card": {"brand": "visa", "case_type": "chargeback", "network_reason_code": "10.4"},
                                   "type": "card"},
        "reason": dispute.reason,
        "status": dispute.status,
    }  # fmt: skip


def coupon_body(coupon: Coupon) -> Json:
    """Return a coupon."""
    return {
        "id": coupon.id,
        "object": "coupon",
        "amount_off": coupon.amount_off,
        "created": seconds(coupon.created),
        "currency": coupon.currency,
        "duration": coupon.duration,
        "duration_in_months": None,
        "livemode": False,
        "max_redemptions": coupon.max_redemptions,
        "metadata": dict(coupon.metadata),
        "name": coupon.name,
        "percent_off": coupon.percent_off,
        "redeem_by": seconds(coupon.redeem_by),
        "times_redeemed": coupon.times_redeemed,
        "valid": coupon.valid_at(coupon.created + timedelta(0)),
    }
