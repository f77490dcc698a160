"""The JSON that Stripe's levers take."""

from typing import Annotated, Literal

from msgspec import Meta

from payments_core_simulator.control_bodies import Body

from .limits import AMOUNT_MAX

Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=250)]
OutcomeWord = Literal["succeeded", "declined", "requires_action", "processing"]
TransitionWord = Literal[
    "succeed", "fail", "expire", "cancel", "capture", "refund", "refund_succeeded", "refund_failed",
    "dispute", "inquiry", "funds_withdrawn", "funds_reinstated", "dispute_won", "dispute_lost",
]  # fmt: skip


class Pay(Body, frozen=True, kw_only=True):
    """The buyer tries to pay on the page: a session's id, or the merchant's reference of it."""

    session: Name | None = None
    order_id: Name | None = None
    outcome: OutcomeWord = "succeeded"
    method: str | None = None
    decline_code: Annotated[str, Meta(pattern="^[a-z_]{1,60}$")] = "generic_decline"
    notify: bool = True


class Transition(Body, frozen=True, kw_only=True):
    """Bank, time, or somebody in the dashboard moves a payment; `amount` is in Stripe's minor units."""

    session: Name | None = None
    order_id: Name | None = None
    transaction_id: Name | None = None
    # Of a refund or a dispute; absent means the newest one.
    id: Name | None = None
    to: TransitionWord
    amount: Amount | None = None
    notify: bool = True
