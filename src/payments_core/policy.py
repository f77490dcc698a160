"""What an operator may choose: how long a page lives, how long stock is held, what late money does."""

from collections.abc import Mapping
from datetime import timedelta
from enum import Enum

import attrs

from payments_core.states import CaseKind, Confirm

__all__ = ["GatewayTraits", "LatePayment", "Policy", "RefundRule"]


class LatePayment(Enum):
    """What happens to money that comes when it cannot pay the order any more."""

    REOPEN_OR_REVIEW = "reopen_or_review"
    REOPEN_OR_REFUND = "reopen_or_refund"


@attrs.frozen(kw_only=True)
class Policy:
    """The shop's choices, the same for every gateway."""

    expiry: timedelta = timedelta(hours=24)
    """How long after its opening a page ends."""
    hold_max: timedelta = timedelta(hours=72)
    """How long after its reservation stock is held at most."""
    late_payment: LatePayment = LatePayment.REOPEN_OR_REVIEW
    poll: timedelta = timedelta(minutes=5)
    """How long after its opening an open page is asked about; the pause doubles."""


@attrs.frozen
class RefundRule:
    """How a gateway gives settled money of one method back."""

    window: timedelta
    """After the money was taken; later it goes back by hand."""
    partial: bool = True


@attrs.frozen(kw_only=True)
class GatewayTraits:
    """What the core must know of a gateway's manner.

    `confirm` is SIGNATURE only where the signature covers the status; `signed` are the mismatches a hint may call a
    person for, because its signature covers what differs. `status_lag` bounds how old a status answer may be.
    `timeout` bounds one call. `merchant_id` and `live` are compared with every observation when they are set.
    `page_max` is the longest a page may live there, None for as long as we like. `replaces_pages`: the same create
    again takes the address of the earlier page away; else it answers with the same page.
    `names_orders`: every message about a charge names our order id; else some name the transaction only, and each
    transaction is bound to its payment as soon as it is known.
    `refunds` are the methods whose settled money the gateway gives back (None: any, at any time); others go by hand.
    `refund_key_life` is how long it knows the key of a refund again, None for good: sent later, the same refund would
    be another one.
    """

    confirm: Confirm = Confirm.ALWAYS
    signed: frozenset[CaseKind] = frozenset({CaseKind.AMOUNT_MISMATCH})
    status_lag: timedelta = timedelta(seconds=600)
    timeout: timedelta = timedelta(seconds=10)
    merchant_id: str | None = None
    live: bool | None = None
    page_max: timedelta | None = None
    replaces_pages: bool = True
    names_orders: bool = True
    refunds: Mapping[str, RefundRule] | None = attrs.field(default=None, hash=False)
    refund_key_life: timedelta | None = None
