"""What one message of a gateway means, in our words.

An adapter's `observe` turns a gateway's fields into an `Observation`; nothing behind it knows a gateway's words.
The same value serves a *hint* (a notification) and a *reading* (a status answer); who may do what is in `states.py`.
A word no adapter knows becomes `Unknown`: it is kept and counted, and it changes nothing.
"""

from datetime import datetime
from enum import Enum

import attrs

from payments_core.money import Money
from payments_core.states import Signal

__all__ = ["Dispute", "DisputeNews", "Meaning", "Nothing", "Observation", "RefundNews", "RefundReport", "Unknown"]


@attrs.frozen
class Unknown:
    """A status word that no adapter knows."""

    word: str


@attrs.frozen
class Nothing:
    """A message that says nothing about the state of a charge; `about` is the gateway's name for it.

    It may still carry money: a refund, a dispute.
    """

    about: str


Meaning = Signal | Unknown | Nothing


class RefundNews(Enum):
    """What a gateway says of one refund."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    """It never happened."""
    RETURNED = "returned"
    """It had happened, and the money came back: un-count it."""


@attrs.frozen
class RefundReport:
    """One refund as a gateway reports it; `key` is the refund's own identity there, `amount` may be missing."""

    key: str
    amount: Money | None
    news: RefundNews


class DisputeNews(Enum):
    """What a gateway says of one dispute."""

    INQUIRY = "inquiry"
    """A question of the bank; no money moves."""
    OPENED = "opened"
    WITHDRAWN = "withdrawn"
    """The money left us."""
    REINSTATED = "reinstated"
    """The money came back."""
    WON = "won"
    LOST = "lost"


@attrs.frozen
class Dispute:
    """A dispute as a gateway reports it; in a reading, all disputes of a charge as one, the open one first.

    `dispute_id` is its own identity there, None where a gateway gives it none.
    """

    news: DisputeNews
    amount: Money | None
    dispute_id: str | None = None


@attrs.frozen(kw_only=True)
class Observation:
    """What one message says about one charge.

    Units: amounts as Money; times in UTC, None where the gateway gives none.
    Shape: `provider_order_id` names the attempt when the message does; at gateways whose status answers to a
    transaction only, it may hold the transaction id instead.
    `amount` is what the charge is about: held when authorized, taken when captured or settled.
    `refunded` and `charged_back` are totals since the charge was made, never increments; `refunded_all` and
    `charged_back_all` say *everything* without naming an amount, the `…_unknown` flags say *some*.
    `transaction_id` is empty when the message is about the page alone, on which nobody has tried to pay.
    `ends_page` marks an ending that may be the end of the whole page (an expired virtual account), not of one try;
    `uses_up_page` a try that came to nothing on a page that takes one try only.
    `refunded` beside `refunded_unknown` is a total in which some refund may still fail.
    `booking` names the money itself, where a message could say it of any order (an operator's word): each is bound to
    one payment and counts once, whatever orders and pages it is said of.
    In a reading, `dispute` says that `charged_back` is what is gone *now*: it may be less than before.
    """

    provider: str
    account: str = "default"
    provider_order_id: str | None
    transaction_id: str
    meaning: Meaning
    amount: Money | None = None
    booking: str | None = None
    page_id: str | None = None
    shop_order_id: str | None = None
    merchant_id: str | None = None
    live: bool | None = None
    method: str | None = None
    decline_code: str | None = None
    occurred_at: datetime | None = None
    ends_page: bool = False
    uses_up_page: bool = False
    refunded: Money | None = None
    refunded_all: bool = False
    refunded_unknown: bool = False
    refunds: tuple[RefundReport, ...] = ()
    charged_back: Money | None = None
    charged_back_all: bool = False
    charged_back_unknown: bool = False
    dispute: Dispute | None = None
