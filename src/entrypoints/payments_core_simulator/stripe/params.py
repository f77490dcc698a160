"""The parameters each call takes, as types: what is unknown, missing or of another type is refused by name."""

import re
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from .api_errors import ApiRefusal, parameter_error
from .form import Fields, read_form
from .limits import (
    AMOUNT_MAX,
    LINES_MAX,
    LIST_LIMIT_DEFAULT,
    LIST_LIMIT_MAX,
    METADATA_KEY_CHARS_MAX,
    METADATA_KEYS_MAX,
    METADATA_VALUE_CHARS_MAX,
    REFERENCE_CHARS_MAX,
    SHIPPING_OPTIONS_MAX,
    TEXT_CHARS_MAX,
)

Text = Annotated[str, Meta(max_length=TEXT_CHARS_MAX)]
Filled = Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX)]
Currency = Annotated[str, Meta(pattern="^[A-Za-z]{3}$")]
Amount = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Positive = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
Epoch = Annotated[int, Meta(ge=0, le=10**11)]
MetadataParam = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=METADATA_KEY_CHARS_MAX)],
        Annotated[str, Meta(max_length=METADATA_VALUE_CHARS_MAX)],
    ],
    Meta(max_length=METADATA_KEYS_MAX),
]
CaptureMethod = Literal["automatic", "automatic_async", "manual"]


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every call may say."""

    expand: tuple[Annotated[str, Meta(max_length=200)], ...] = ()


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A nested hash."""


class Switch(Part, frozen=True, kw_only=True):
    """Something that is on or off."""

    enabled: bool


class ProductData(Part, frozen=True, kw_only=True):
    """What a line is."""

    name: Filled
    description: Filled | None = None
    metadata: MetadataParam = {}
    images: tuple[Text, ...] = ()


class PriceData(Part, frozen=True, kw_only=True):
    """An inline price."""

    currency: Currency
    product_data: ProductData
    unit_amount: Amount
    tax_behavior: Literal["inclusive", "exclusive", "unspecified"] | None = None


class LineItem(Part, frozen=True, kw_only=True):
    """One line."""

    price_data: PriceData
    quantity: Annotated[int, Meta(ge=1, le=999_999)] = 1
    metadata: MetadataParam = {}


class Discount(Part, frozen=True, kw_only=True):
    """A coupon by its id."""

    coupon: Filled


class FixedAmount(Part, frozen=True, kw_only=True):
    """What shipping costs."""

    amount: Amount
    currency: Currency


class ShippingRateData(Part, frozen=True, kw_only=True):
    """An inline shipping rate."""

    display_name: Annotated[str, Meta(min_length=1, max_length=100)]
    fixed_amount: FixedAmount
    type: Literal["fixed_amount"] = "fixed_amount"
    metadata: MetadataParam = {}


class ShippingOption(Part, frozen=True, kw_only=True):
    """One of the ways the buyer may choose."""

    shipping_rate_data: ShippingRateData


class IntentData(Part, frozen=True, kw_only=True):
    """What the session's intent will carry."""

    capture_method: CaptureMethod = "automatic_async"
    description: Text | None = None
    metadata: MetadataParam = {}
    receipt_email: Text | None = None
    statement_descriptor: Annotated[str, Meta(max_length=22)] | None = None
    statement_descriptor_suffix: Annotated[str, Meta(max_length=22)] | None = None


class CreateSession(Params, frozen=True, kw_only=True):
    """POST /v1/checkout/sessions."""

    mode: Literal["payment"]
    line_items: Annotated[tuple[LineItem, ...], Meta(min_length=1, max_length=LINES_MAX)]
    success_url: Filled
    cancel_url: Text | None = None
    client_reference_id: Annotated[str, Meta(max_length=REFERENCE_CHARS_MAX)] | None = None
    customer_email: Annotated[str, Meta(max_length=800, pattern="^[^@ ]+@[^@ ]+$")] | None = None
    expires_at: Epoch | None = None
    metadata: MetadataParam = {}
    payment_intent_data: IntentData = IntentData()
    discounts: Annotated[tuple[Discount, ...], Meta(max_length=1)] = ()
    shipping_options: Annotated[tuple[ShippingOption, ...], Meta(max_length=SHIPPING_OPTIONS_MAX)] = ()
    adaptive_pricing: Switch | None = None
    automatic_tax: Switch | None = None
    allow_promotion_codes: bool = False
    billing_address_collection: Literal["auto", "required"] | None = None
    phone_number_collection: Switch | None = None
    locale: Text | None = None
    submit_type: Literal["auto", "book", "donate", "pay"] | None = None
    ui_mode: Literal["hosted_page"] | None = None
    allowed_payment_method_types: tuple[Text, ...] = ()
    excluded_payment_method_types: tuple[Text, ...] = ()


# Parameters that exist, and that a simulator of one-off hosted payments has no answer to.
NOT_MODELLED = frozenset(
    {
        "after_expiration", "branding_settings", "consent_collection", "currency", "custom_fields", "custom_text",
        "customer", "customer_account", "customer_creation", "customer_update", "integration_identifier",
        "invoice_creation", "managed_payments", "name_collection", "optional_items", "origin_context",
        "payment_method_collection", "payment_method_configuration", "payment_method_data", "payment_method_options",
        "permissions", "redirect_on_completion", "return_url", "saved_payment_method_options", "setup_intent_data",
        "shipping_address_collection", "subscription_data", "tax_id_collection", "wallet_options",
    }
)  # fmt: skip


class Capture(Params, frozen=True, kw_only=True):
    """POST /v1/payment_intents/{id}/capture."""

    amount_to_capture: Amount | None = None
    final_capture: Literal[True] = True
    metadata: MetadataParam = {}


class Cancel(Params, frozen=True, kw_only=True):
    """POST /v1/payment_intents/{id}/cancel."""

    cancellation_reason: Literal["abandoned", "duplicate", "fraudulent", "requested_by_customer"] | None = None


class CreateRefund(Params, frozen=True, kw_only=True):
    """POST /v1/refunds."""

    payment_intent: Filled | None = None
    charge: Filled | None = None
    amount: Positive | None = None
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None
    metadata: MetadataParam = {}


class CreateCoupon(Params, frozen=True, kw_only=True):
    """POST /v1/coupons."""

    duration: Literal["forever", "once", "repeating"] = "once"
    id: Filled | None = None
    amount_off: Positive | None = None
    currency: Currency | None = None
    percent_off: Annotated[float, Meta(gt=0, le=100)] | None = None
    max_redemptions: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    redeem_by: Epoch | None = None
    name: Annotated[str, Meta(max_length=40)] | None = None
    metadata: MetadataParam = {}


class Range(Part, frozen=True, kw_only=True):
    """A span of time."""

    gt: Epoch | None = None
    gte: Epoch | None = None
    lt: Epoch | None = None
    lte: Epoch | None = None

    def holds(self, moment: int) -> bool:
        """Tell whether the moment lies in the span."""
        return (
            (self.gt is None or moment > self.gt)
            and (self.gte is None or moment >= self.gte)
            and (self.lt is None or moment < self.lt)
            and (self.lte is None or moment <= self.lte)
        )


class Listing(Params, frozen=True, kw_only=True):
    """What every list call may say; newest first."""

    limit: Annotated[int, Meta(ge=1, le=LIST_LIMIT_MAX)] = LIST_LIMIT_DEFAULT
    starting_after: Filled | None = None
    ending_before: Filled | None = None
    created: Epoch | Range | None = None

    def holds(self, moment: int) -> bool:
        """Tell whether something of this moment is asked for."""
        if isinstance(self.created, Range):
            return self.created.holds(moment)
        return self.created is None or self.created == moment


class ListOfPayment(Listing, frozen=True, kw_only=True):
    """A list that can be narrowed to one payment."""

    payment_intent: Filled | None = None
    charge: Filled | None = None


class ListSessions(Listing, frozen=True, kw_only=True):
    """GET /v1/checkout/sessions."""

    payment_intent: Filled | None = None
    status: Literal["open", "complete", "expired"] | None = None


class ListEvents(Listing, frozen=True, kw_only=True):
    """GET /v1/events."""

    type: Text | None = None
    types: Annotated[tuple[Text, ...], Meta(max_length=20)] = ()
    delivery_success: bool | None = None


Read = TypeVar("Read", bound=Params)
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_PLACE = re.compile(r"(.*?)(?: - at (?:`key` in )?`\$\.?([^`]*)`)?", re.DOTALL)


def read(text: str, kind: type[Read]) -> Read:
    """Return the parameters of a call.

    **Errors**: `ApiRefusal` naming the parameter that is unknown, missing or wrong.
    """
    return convert(read_form(text), kind)


def convert(fields: Fields, kind: type[Read]) -> Read:
    """Return the fields as this kind."""
    if kind is CreateSession:
        for name in NOT_MODELLED & fields.keys():
            raise parameter_error(name, f"The simulator does not model the parameter {name}.")
    try:
        # Everything in a form is text; Stripe reads numbers and booleans out of it.
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from error


def _named(message: str) -> ApiRefusal:
    parts = _PLACE.fullmatch(message)
    what, place = (parts[1], parts[2] or "") if parts else (message, "")
    inside = _brackets(place)
    if unknown := _UNKNOWN.match(what):
        param = f"{inside}[{unknown[1]}]" if inside else unknown[1]
        return parameter_error(param, f"Received unknown parameter: {param}", "parameter_unknown")
    if missing := _MISSING.match(what):
        param = f"{inside}[{missing[1]}]" if inside else missing[1]
        return parameter_error(param, f"Missing required param: {param}.", "parameter_missing")
    code = "parameter_invalid_integer" if "`int`" in what else None
    return parameter_error(inside or "body", f"Invalid {inside or 'body'}: {what}", code)


def _brackets(place: str) -> str:
    """Turn `line_items[0].price_data` into `line_items[0][price_data]`."""
    first, *rest = place.split(".")
    steps = (f"[{step.split('[', 1)[0]}]" + ("[" + step.split("[", 1)[1] if "[" in step else "") for step in rest)
    return first + "".join(steps)
