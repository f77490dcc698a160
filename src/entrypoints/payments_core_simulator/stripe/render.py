"""The JSON of every object, with the properties its published schema requires."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from .api_errors import parameter_error
from .books import Books
from .limits import EVIDENCE_LIFE
from .values import Charge, Coupon, Decline, Dispute, Intent, Line, Metadata, Refund, Session, Thing

Json = dict[str, Any]
_NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
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


def list_of(url: str, items: list[Json], *, has_more: bool = False) -> Json:
    """Return a page of a list."""
    return {"object": "list", "data": items, "has_more": has_more, "url": url}


class Renderer:
    """Renders; an id becomes the object itself where `expand` asks for it. `base_url` is where sessions are paid."""

    def __init__(self, books: Books, base_url: str) -> None:
        self._books = books
        self._base_url = base_url

    def render(self, thing: Thing, expand: Collection[str] = ()) -> Json:
        """Return the object's JSON.

        **Errors**: `ApiRefusal` for a property that cannot be expanded.
        """
        body: Json
        links: dict[str, Callable[[list[str]], Any]]
        match thing:
            case Session():
                body, links = self._session(thing), self._links(payment_intent=(Intent, thing.intent_id))
                links["line_items"] = lambda _: line_items(thing)
            case Intent():
                body, links = _intent(thing), self._links(latest_charge=(Charge, thing.latest_charge))
            case Charge():
                body, links = _charge(thing), self._links(payment_intent=(Intent, thing.intent_id))
                links["refunds"] = lambda _: self._refunds(thing)
            case Refund():
                body = _refund(thing)
                links = self._links(payment_intent=(Intent, thing.intent_id), charge=(Charge, thing.charge_id))
            case Dispute():
                body = _dispute(thing)
                links = self._links(payment_intent=(Intent, thing.intent_id), charge=(Charge, thing.charge_id))
            case Coupon():
                return _coupon(thing)
        return body | _expanded(expand, links)

    def _links(self, **links: tuple[type[Intent] | type[Charge], str | None]) -> dict[str, Callable[[list[str]], Any]]:
        def follow(kind: type[Any], any_id: str | None) -> Callable[[list[str]], Any]:
            return lambda rest: None if any_id is None else self.render(self._books.get(kind, any_id), rest)

        return {name: follow(kind, any_id) for name, (kind, any_id) in links.items()}

    def _refunds(self, charge: Charge) -> Json:
        refunds = [_refund(one) for one in reversed(self._books.owned(Refund, charge.id))]
        return list_of(f"/v1/charges/{charge.id}/refunds", refunds)

    def _session(self, session: Session) -> Json:
        request = session.request
        shipping = request.shipping.amount if request.shipping else 0
        return {
            "id": session.id,
            "object": "checkout.session",
            "adaptive_pricing": {"enabled": False},
            "after_expiration": None,
            "allow_promotion_codes": None,
            "amount_subtotal": request.subtotal,
            "amount_total": request.total,
            "automatic_tax": {"enabled": request.tax > 0, "liability": None, "provider": None, "status": None},
            "billing_address_collection": None,
            "cancel_url": request.cancel_url,
            "client_reference_id": request.client_reference_id,
            "client_secret": None,
            "collected_information": None,
            "consent": None,
            "consent_collection": None,
            "created": seconds(session.created),
            "currency": request.currency,
            "currency_conversion": None,
            "custom_fields": [],
            "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
            "customer": None,
            "customer_creation": "if_required",
            "customer_details": _customer(session),
            "customer_email": request.customer_email,
            "discounts": [{"coupon": request.coupon_id, "promotion_code": None}] if request.coupon_id else [],
            "expires_at": seconds(request.expires_at),
            "invoice": None,
            "invoice_creation": None,
            "livemode": False,
            "locale": None,
            "metadata": dict(request.metadata),
            "mode": "payment",
            "origin_context": None,
            "payment_intent": session.intent_id,
            "payment_link": None,
            "payment_method_collection": "if_required",
            "payment_method_configuration_details": None,
            "payment_method_options": {},
            "payment_method_types": ["card"],
            "payment_status": session.payment_status,
            "permissions": None,
            "phone_number_collection": {"enabled": False},
            "recovered_from": None,
            "redirect_on_completion": None,
            "saved_payment_method_options": None,
            "setup_intent": None,
            "shipping_address_collection": None,
            "shipping_cost": _shipping_cost(session),
            "shipping_options": [],
            "status": session.status,
            "submit_type": None,
            "subscription": None,
            "success_url": request.success_url,
            "total_details": {
                "amount_discount": request.discount,
                "amount_shipping": shipping,
                "amount_tax": request.tax,
            },
            "ui_mode": "hosted_page",
            # The page's address is told only while the page is open.
            "url": f"{self._base_url}/c/pay/{session.id}" if session.status == "open" else None,
            "wallet_options": None,
        }


def _expanded(expand: Collection[str], links: Mapping[str, Callable[[list[str]], Any]]) -> Json:
    wanted: dict[str, list[str]] = {}
    for path in expand:
        name, _, rest = path.partition(".")
        if name not in links:
            raise parameter_error("expand", f"This property cannot be expanded ({name[:100]}).")
        wanted.setdefault(name, []).extend([rest] if rest else [])
    return {name: links[name](rest) for name, rest in wanted.items()}


def _customer(session: Session) -> Json | None:
    if session.status != "complete" and session.request.customer_email is None:
        return None
    email = session.request.customer_email or "buyer@example.com"
    return {
        "address": _NO_ADDRESS, "business_name": None, "email": email, "individual_name": None, "name": None,
        "phone": None, "tax_exempt": "none", "tax_ids": [],
    }  # fmt: skip


def _shipping_cost(session: Session) -> Json | None:
    shipping = session.request.shipping
    if shipping is None:
        return None
    return {"amount_subtotal": shipping.amount, "amount_tax": 0, "amount_total": shipping.amount, "shipping_rate": None}


def line_items(session: Session) -> Json:
    """Return the lines of a page."""
    request = session.request
    items = [_line(line, number, request.currency, session.id) for number, line in enumerate(request.lines)]
    return list_of(f"/v1/checkout/sessions/{session.id}/line_items", items)


def _line(line: Line, number: int, currency: str, session_id: str) -> Json:
    amount = line.unit_amount * line.quantity
    return {
        "id": f"li_{session_id[-16:]}{number}",
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": currency,
        "description": line.name,
        "price": {"object": "price", "currency": currency, "unit_amount": line.unit_amount, "type": "one_time"},
        "quantity": line.quantity,
    }


def _intent(intent: Intent) -> Json:
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


def _charge(charge: Charge) -> Json:
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
        "billing_details": {"address": _NO_ADDRESS, "email": None, "name": None, "phone": None, "tax_id": None},
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


def _refund(refund: Refund) -> Json:
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


def _dispute(dispute: Dispute) -> Json:
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


def _coupon(coupon: Coupon) -> Json:
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


def metadata_of(given: Mapping[str, str]) -> Metadata:
    """Return metadata as a value; an empty text unsets a key, so it never arrives."""
    return tuple((key, value) for key, value in given.items() if value)
