"""What the merchant can ask the API to do."""

from datetime import datetime

import attrs

from payments_core_simulator.refusals import Refusal, Why

from .api_errors import ApiRefusal
from .limits import COUPONS_MAX, REFUNDS_PER_CHARGE_MAX, SESSIONS_MAX
from .moves import Moves
from .values import (
    Charge,
    Coupon,
    Dispute,
    Intent,
    Metadata,
    News,
    Refund,
    Session,
    SessionRequest,
)


class Merchant(Moves):
    """The calls, apart from HTTP. An API refusal says why not, and nothing was changed."""

    def open_session(self, request: SessionRequest, now: datetime) -> Session:
        """Open a page; a coupon it names is used up by one."""
        if self.books.count(Session) >= SESSIONS_MAX:
            raise Refusal(Why.FULL, f"the simulator holds {SESSIONS_MAX} sessions; reset it")
        if request.coupon_id is not None:
            coupon = self.books.get(Coupon, request.coupon_id, "discounts[0][coupon]")
            self.books.put(attrs.evolve(coupon, times_redeemed=coupon.times_redeemed + 1))
        session = self.books.put(Session(self.books.new_id("cs_test_"), request, now))
        self.books.remind(request.expires_at, session.id)
        return session

    def expire_session(self, session_id: str, now: datetime) -> list[News]:
        """End a page that is open, and the intent the buyer left on it."""
        session = self.books.get(Session, session_id)
        if session.status != "open":
            raise ApiRefusal.state(
                f'Only Checkout Sessions with a status in ["open"] can be expired. This Session has a status of '
                f"`{session.status}`."
            )
        return self._expire(session, now)

    def capture(self, intent_id: str, amount: int | None) -> list[News]:
        """Take a held amount or less of it; the rest is released."""
        intent = self._only(intent_id, "captured", "requires_capture")
        taken = intent.amount if amount is None else amount
        if not 0 < taken <= intent.amount:
            raise ApiRefusal.state(
                f"The requested capture amount is greater than the amount you can capture for this charge: "
                f"{taken} of {intent.amount}.",
                "amount_too_large" if taken > 0 else "parameter_invalid_integer",
                "amount_to_capture",
            )
        charge = self._charge_of(intent)
        captured = self.books.put(attrs.evolve(charge, captured=True, amount_captured=taken))
        paid = self.books.put(attrs.evolve(intent, status="succeeded", amount_received=taken))
        self._settle_session(paid)
        news: list[News] = [("charge.captured", captured), ("payment_intent.succeeded", paid)]
        released = self._released(captured)
        return news if released is None else [*news, ("charge.refunded", released)]

    def cancel_intent(self, intent_id: str, reason: str | None, now: datetime) -> list[News]:
        """Void a hold, or give up an intent whose page is over."""
        intent = self._only(intent_id, "canceled", "requires_capture", "requires_payment_method", "requires_action")
        if self.books.get(Session, intent.session_id).status == "open":
            raise ApiRefusal.state(
                "You cannot cancel this PaymentIntent because it is managed by a Checkout Session that is open. "
                "Expire the Session instead.",
                "payment_intent_unexpected_state",
            )
        return self._cancelled(intent, reason, now)

    def refund(
        self,
        intent_id: str,
        amount: int | None,
        now: datetime,
        *,
        status: str = "succeeded",
        reason: str | None = None,
        metadata: Metadata = (),
    ) -> tuple[Refund, list[News]]:
        """Give money back; all that is left when no amount is named."""
        intent = self.books.get(Intent, intent_id, "payment_intent")
        charge = self._refundable(intent)
        wanted = charge.left if amount is None else amount
        if wanted > charge.left:
            raise ApiRefusal.state(
                f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({charge.left})",
                param="amount",
            )
        made = Refund(
            self.books.new_id("re_"), charge.id, intent.id, now, wanted, charge.currency, status, reason, metadata
        )
        self.books.put(made)
        counted = self._count_refunds(charge)
        return made, [("refund.created", made), ("charge.refunded", counted)]

    def _refundable(self, intent: Intent) -> Charge:
        if intent.status != "succeeded":
            raise ApiRefusal.state(
                f"This PaymentIntent ({intent.id}) does not have a successful charge to refund.",
                "payment_intent_unexpected_state",
            )
        charge = self._charge_of(intent)
        if any(one.is_fought for one in self.books.owned(Dispute, charge.id)):
            raise ApiRefusal.state(
                f"Charge {charge.id} has been charged back; cannot issue a refund.", "charge_disputed"
            )
        if charge.left <= 0:
            raise ApiRefusal.state(f"Charge {charge.id} has already been refunded.", "charge_already_refunded")
        if len(self.books.owned(Refund, charge.id)) >= REFUNDS_PER_CHARGE_MAX:
            raise Refusal(Why.FULL, f"the charge has {REFUNDS_PER_CHARGE_MAX} refunds already")
        return charge

    def cancel_refund(self, refund_id: str) -> list[News]:
        """Take back a refund that waits for the buyer's details."""
        refund = self.books.get(Refund, refund_id)
        if refund.status != "requires_action":
            raise ApiRefusal.state("Only refunds with a status of requires_action can be canceled.")
        return self._refund_moved(refund, "canceled", None)

    def create_coupon(self, coupon: Coupon) -> Coupon:
        """Keep a discount under its id."""
        if self.books.find(Coupon, coupon.id) is not None:
            raise ApiRefusal.state("Coupon already exists.", "resource_already_exists", "id")
        if self.books.count(Coupon) >= COUPONS_MAX:
            raise Refusal(Why.FULL, f"the simulator holds {COUPONS_MAX} coupons; reset it")
        return self.books.put(coupon)
