"""The JSON that Midtrans' levers and switches take."""

import re
from typing import Annotated, Literal

import attrs
from msgspec import Meta

from payments_core_simulator.control_bodies import Body
from payments_core_simulator.refusals import Refusal, Why

from .limits import GROSS_AMOUNT_RUPIAH_MAX
from .settings import CoreErrors, RepeatedRefundKey, Settings
from .values import SEN_PER_RUPIAH

_AMOUNT = re.compile(r"([0-9]{1,13})(?:\.([0-9]{1,2}))?")

OutcomeWord = Literal[
    "pending", "settlement", "capture", "challenge", "authorize", "deny", "expire", "cancel", "failure"
]
StatusWord = OutcomeWord | Literal["refund", "partial_refund", "chargeback", "partial_chargeback"]


class Pay(Body, frozen=True, kw_only=True):
    """The buyer tries a payment method on the page of this order."""

    order_id: str
    payment_type: str
    outcome: OutcomeWord
    bank: str | None = None
    store: str | None = None
    notify: bool = True


class Transition(Body, frozen=True, kw_only=True):
    """A transaction moves to any word, with or without telling the merchant."""

    transaction_id: str
    to: StatusWord
    amount: int | str | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | None = None
    merchant_id: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    notify: bool = True


class Switches(Body, frozen=True, kw_only=True):
    """Switches of the running simulator; absent ones stay."""

    # An empty text sends notifications nowhere.
    notify_url: Annotated[str, Meta(pattern="^(https?://.*)?$")] | None = None
    core_errors: CoreErrors | None = None
    repeated_refund_key: RepeatedRefundKey | None = None

    def applied_to(self, settings: Settings) -> Settings:
        """Return the settings with the named switches thrown."""
        return attrs.evolve(
            settings,
            notify_url=settings.notify_url if self.notify_url is None else self.notify_url,
            core_errors=self.core_errors or settings.core_errors,
            repeated_refund_key=self.repeated_refund_key or settings.repeated_refund_key,
        )


def amount_sen(amount: int | str | None) -> int | None:
    """Return an amount in sen: whole rupiah as an integer, or a decimal text such as "150000.01"."""
    if amount is None:
        return None
    written = _AMOUNT.fullmatch(str(amount))
    value = int(written[1]) * SEN_PER_RUPIAH + int((written[2] or "").ljust(2, "0")) if written else 0
    if not 0 < value <= GROSS_AMOUNT_RUPIAH_MAX * SEN_PER_RUPIAH:
        raise Refusal(Why.NONSENSE, 'amount: a positive integer or a text like "150000.00"')
    return value
