"""What the simulated Stripe knows: sessions, intents, charges, refunds, disputes, coupons; immutable values.

**Units**: amounts are Stripe's integers, in its own minor units. Times are aware and in UTC.
"""

from datetime import datetime

import attrs

from .limits import AUTHORIZATION_LIFE

Metadata = tuple[tuple[str, str], ...]


@attrs.frozen
class Line:
    """One line of the page."""

    name: str
    unit_amount: int
    quantity: int
    description: str | None = None


@attrs.frozen
class Shipping:
    """What shipping costs, chosen for the buyer: the first option offered."""

    name: str
    amount: int


@attrs.frozen
class SessionRequest:
    """A session create that passed every check."""

    currency: str
    lines: tuple[Line, ...]
    success_url: str
    expires_at: datetime
    cancel_url: str | None = None
    client_reference_id: str | None = None
    customer_email: str | None = None
    metadata: Metadata = ()
    intent_metadata: Metadata = ()
    intent_description: str | None = None
    capture_method: str = "automatic_async"
    coupon_id: str | None = None
    discount: int = 0
    shipping: Shipping | None = None
    tax: int = 0

    @property
    def subtotal(self) -> int:
        """Return the sum of the lines."""
        return sum(line.unit_amount * line.quantity for line in self.lines)

    @property
    def total(self) -> int:
        """Return what the buyer pays."""
        return self.subtotal - self.discount + (self.shipping.amount if self.shipping else 0) + self.tax


@attrs.frozen
class Session:
    """One hosted page. `intent_id` is known once the buyer acts."""

    id: str
    request: SessionRequest
    created: datetime
    status: str = "open"
    payment_status: str = "unpaid"
    intent_id: str | None = None


@attrs.frozen
class Decline:
    """Why a try failed."""

    code: str
    message: str
    decline_code: str | None = None


@attrs.frozen
class Intent:
    """What the buyer owes on a page; the tries are its charges, oldest first."""

    id: str
    session_id: str
    created: datetime
    amount: int
    currency: str
    capture_method: str
    metadata: Metadata
    description: str | None = None
    status: str = "requires_payment_method"
    method: str = "card"
    amount_received: int = 0
    charge_ids: tuple[str, ...] = ()
    last_error: Decline | None = None
    canceled_at: datetime | None = None
    cancellation_reason: str | None = None

    @property
    def latest_charge(self) -> str | None:
        """Return the newest try."""
        return self.charge_ids[-1] if self.charge_ids else None

    @property
    def capturable(self) -> int:
        """Return what is held."""
        return self.amount if self.status == "requires_capture" else 0


@attrs.frozen
class Charge:
    """One try. A released hold stays `succeeded` and uncaptured."""

    id: str
    intent_id: str
    created: datetime
    amount: int
    currency: str
    method: str
    status: str
    metadata: Metadata
    captured: bool = False
    amount_captured: int = 0
    amount_refunded: int = 0
    # The part of a hold that nobody took, when it shows as a refund.
    amount_released: int = 0
    disputed: bool = False
    failure: Decline | None = None

    @property
    def hold_ends_at(self) -> datetime:
        """Return when an uncaptured hold lapses."""
        return self.created + AUTHORIZATION_LIFE

    @property
    def left(self) -> int:
        """Return what could still be given back."""
        return self.amount_captured - self.amount_refunded


@attrs.frozen
class Refund:
    """One return of money."""

    id: str
    charge_id: str
    intent_id: str
    created: datetime
    amount: int
    currency: str
    status: str
    reason: str | None = None
    metadata: Metadata = ()
    failure_reason: str | None = None

    @property
    def counts(self) -> bool:
        """Tell whether the money is, or is about to be, with the buyer."""
        return self.status not in {"failed", "canceled"}


@attrs.frozen
class Dispute:
    """One quarrel about a charge. `withdrawn` means the money is not with the merchant."""

    id: str
    charge_id: str
    intent_id: str
    created: datetime
    amount: int
    currency: str
    reason: str
    status: str
    withdrawn: bool = False

    @property
    def is_fought(self) -> bool:
        """Tell whether the money is at stake or lost: not asked about only, and not won."""
        return self.status != "won" and not self.status.startswith("warning")


@attrs.frozen
class Coupon:
    """A discount made by the merchant."""

    id: str
    created: datetime
    duration: str
    amount_off: int | None = None
    currency: str | None = None
    percent_off: float | None = None
    max_redemptions: int | None = None
    times_redeemed: int = 0
    redeem_by: datetime | None = None
    name: str | None = None
    metadata: Metadata = ()

    def valid_at(self, now: datetime) -> bool:
        """Tell whether one more order may use it."""
        used_up = self.max_redemptions is not None and self.times_redeemed >= self.max_redemptions
        return not used_up and (self.redeem_by is None or now < self.redeem_by)


@attrs.frozen
class Try:
    """What a buyer does on a page, and how it ends so far."""

    outcome: str
    method: str = "card"
    decline_code: str = "generic_decline"


Thing = Session | Intent | Charge | Refund | Dispute | Coupon
# Something happened: the type of the event, and the object as it was just then.
News = tuple[str, Thing]
