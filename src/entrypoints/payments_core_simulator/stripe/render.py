"""The JSON of every object, with the properties its published schema requires."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from .api_errors import parameter_error
from .books import Books
from .objects import NO_ADDRESS, Json, charge_body, coupon_body, dispute_body, intent_body, refund_body, seconds
from .values import Charge, Coupon, Dispute, Intent, Line, Metadata, Refund, Session, Thing


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
                body, links = intent_body(thing), self._links(latest_charge=(Charge, thing.latest_charge))
            case Charge():
                body, links = charge_body(thing), self._links(payment_intent=(Intent, thing.intent_id))
                links["refunds"] = lambda _: self._refunds(thing)
            case Refund():
                body = refund_body(thing)
                links = self._links(payment_intent=(Intent, thing.intent_id), charge=(Charge, thing.charge_id))
            case Dispute():
                body = dispute_body(thing)
                links = self._links(payment_intent=(Intent, thing.intent_id), charge=(Charge, thing.charge_id))
            case Coupon():
                return coupon_body(thing)
        return body | _expanded(expand, links)

    def _links(self, **links: tuple[type[Intent] | type[Charge], str | None]) -> dict[str, Callable[[list[str]], Any]]:
        def follow(kind: type[Any], any_id: str | None) -> Callable[[list[str]], Any]:
            return lambda rest: None if any_id is None else self.render(self._books.get(kind, any_id), rest)

        return {name: follow(kind, any_id) for name, (kind, any_id) in links.items()}

    def _refunds(self, charge: Charge) -> Json:
        refunds = [refund_body(one) for one in reversed(self._books.owned(Refund, charge.id))]
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
        "address": NO_ADDRESS, "business_name": None, "email": email, "individual_name": None, "name": None,
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


def metadata_of(given: Mapping[str, str]) -> Metadata:
    """Return metadata as a value; an empty text unsets a key, so it never arrives."""
    return tuple((key, value) for key, value in given.items() if value)
