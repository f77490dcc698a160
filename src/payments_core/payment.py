"""Payment, Attempt, Charge, Refund, Case: frozen values with their invariants.

A `Payment` is what one order owes: the aggregate, and the unit of locking, versioning and sharding.
An `Attempt` is one payable page opened at one gateway under its own, never reused, provider order id.
A `Charge` is one transaction of the gateway inside an attempt; a buyer may try several on one page.
Change is `attrs.evolve` inside a function that returns the new value; nothing here reads a clock or talks to anybody.
The status is not stored in these values: it is the fold in `status.py`.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

import attrs

from payments_core.evolving import evolve
from payments_core.money import Money
from payments_core.states import LIVE, MONEY, CaseKind, ChargeState

__all__ = [
    "BLOCKING",
    "MISMATCHES",
    "PAYABLE",
    "RETURNABLE",
    "UNDER_WAY",
    "Attempt",
    "AttemptState",
    "Case",
    "CaseDecision",
    "Charge",
    "ChargeDue",
    "CloseReason",
    "Closed",
    "ClosedAs",
    "Decline",
    "Payment",
    "Refund",
    "RefundState",
]


class AttemptState(Enum):
    """Where one page stands; `opening` -> `open` -> `closing` -> `dead`, and `spent` from any but `dead`."""

    OPENING = "opening"
    """The intent is stored; the gateway may or may not know it."""
    OPEN = "open"
    """The page has a URL."""
    CLOSING = "closing"
    """We asked the gateway to end it; the URL is no longer handed out."""
    DEAD = "dead"
    """Proved: nobody can pay here any more."""
    SPENT = "spent"
    """A transaction on it took money: not payable, not closed, not polled for death."""


PAYABLE = frozenset({AttemptState.OPENING, AttemptState.OPEN, AttemptState.CLOSING})
"""Neither dead nor spent: somebody may still pay here. A payment has at most one such attempt."""


class CloseReason(Enum):
    """Why a page is being closed; `expired` and `cancelled` close the payment with it."""

    EXPIRED = "expired"
    CANCELLED = "cancelled"
    PAID = "paid"
    REVERSED = "reversed"
    REPLACED = "replaced"
    """The customer wants another gateway or other methods."""
    USED_UP = "used_up"
    """Its one try came to nothing, and the page takes no other; the order may be paid on another page."""
    LOST = "lost"
    """The gateway says the order id is taken, and we never received a URL."""


class ClosedAs(Enum):
    """How a payment was given up."""

    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ChargeDue(Enum):
    """What is to be done about a charge when its `check_at` comes."""

    RECHECK = "recheck"
    """Ask once more, after the gateway's status lag."""
    CANCEL = "cancel"
    """Cancel it at its gateway: another charge has paid."""
    CAPTURE = "capture"
    """Take the held money: an operator asked for it."""
    APPROVE = "approve"
    """Let the reviewed charge through: an operator asked for it."""
    DENY = "deny"
    """Refuse the reviewed charge: an operator asked for it."""


class RefundState(Enum):
    """How far one return of money has come."""

    REQUESTED = "requested"
    SENT = "sent"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    RETURNED = "returned"
    """Failed after success: the money came back to us."""


UNDER_WAY = frozenset({RefundState.REQUESTED, RefundState.SENT, RefundState.UNKNOWN})
"""May still happen, so it counts against what is left."""


class CaseDecision(Enum):
    """What a person decided."""

    ACCEPT = "accept"
    RETURN = "return"
    DISMISS = "dismiss"


MISMATCHES = frozenset({CaseKind.AMOUNT_MISMATCH, CaseKind.CURRENCY_MISMATCH, CaseKind.MERCHANT_MISMATCH})
"""What makes a charge not good."""

RETURNABLE = MISMATCHES | {CaseKind.LATE_PAYMENT, CaseKind.SURPLUS_PAYMENT, CaseKind.RETURN_BY_HAND}
"""Cases about money that may go back as a whole, and that are over when it has."""

BLOCKING = MISMATCHES | {CaseKind.REVERSED, CaseKind.LATE_PAYMENT, CaseKind.OUTCOME_UNKNOWN}
"""Cases that keep an order from being paid again or closed; `contradiction` joins them while nothing is paid."""


@attrs.frozen
class Closed:
    """Our decision to give the payment up."""

    kind: ClosedAs
    at: datetime
    by: str


@attrs.frozen
class Decline:
    """The refusal a buyer last saw."""

    code: str
    method: str | None
    at: datetime


@attrs.frozen(kw_only=True)
class Attempt:
    """One payable page at one gateway.

    Units: times in UTC; `ends_at` is when the gateway itself ends the page.
    Shape: `request` is the exact body to send, None once the page is open for good; `token` and `url` are the newest
    the gateway gave us. `sends` counts how often the create left us; `resend` marks a page whose URL a late first
    create may have replaced. `lease_until` belongs to whoever is opening it now.
    """

    number: int
    provider: str
    account: str = "default"
    provider_order_id: str
    state: AttemptState
    amount: Money
    merchant_id: str | None = None
    live: bool | None = None
    methods: tuple[str, ...] = ()
    return_url: str | None = None
    request: str | None = None
    token: str | None = None
    url: str | None = None
    opened_at: datetime
    ends_at: datetime
    sends: int = 0
    resend: bool = False
    lease_until: datetime | None = None
    closing: CloseReason | None = None
    closing_by: str | None = None
    doubt: CloseReason | None = None
    """A transaction ended in a way that may be the end of the page; the order id is to be asked."""
    proof: str | None = None
    """Why we know it is dead."""
    check_at: datetime | None = None
    checks: int = 0

    @property
    def is_payable(self) -> bool:
        """Neither dead nor spent."""
        return self.state in PAYABLE


@attrs.frozen(kw_only=True)
class Charge:
    """One transaction at a gateway.

    Units: minor units of `amount.currency`; every amount is a total, not an increment.
    Shape: `amount` is what the gateway says it is about; `faults` are the comparisons it failed; `reading_number` is
    the newest reading that has spoken of it.
    """

    transaction_id: str
    attempt: int
    state: ChargeState
    amount: Money
    method: str | None = None
    authorized_minor: int = 0
    captured_minor: int = 0
    refunded_minor: int = 0
    charged_back_minor: int = 0
    reversed_minor: int = 0
    charged_back_unknown: bool = False
    authorized_by_reading: bool = False
    had_money: bool = False
    """Was once authorized or captured: its end is never the end of an unpaid page."""
    faults: frozenset[CaseKind] = frozenset()
    accepted: bool = False
    """A person decided that it counts as good in spite of its faults; no more when a reading brings other ones."""
    cancel_asked: bool = False
    """We asked the gateway to cancel or void it; stored before it was sent."""
    reading_number: int = 0
    contradicted: bool = False
    recheck_after: datetime | None = None
    """A question that leaves from then on is the one that was wanted after a surprising answer."""
    decline: Decline | None = None
    occurred_at: datetime | None = None
    due: ChargeDue | None = None
    capture_minor: int | None = None
    """How much of the held money we asked for; stored before it was sent."""
    asked_by: str | None = None
    """Who asked for what is due."""
    asked_at: datetime | None = None
    check_at: datetime | None = None
    checks: int = 0

    @property
    def is_good(self) -> bool:
        """Amount, currency, merchant and mode agree with its attempt, or a person accepted that they do not."""
        return not self.faults or self.accepted

    @property
    def has_money(self) -> bool:
        """Captured or settled, whatever was given back since."""
        return self.state in MONEY

    @property
    def is_live(self) -> bool:
        """May still become money."""
        return self.state in LIVE

    @property
    def left_minor(self) -> int:
        """What of its money is still with the merchant."""
        return self.captured_minor - self.refunded_minor - self.charged_back_minor - self.reversed_minor


@attrs.frozen(kw_only=True)
class Refund:
    """One return of money, known by its key; `by` is who asked, or `gateway` when it was made in a dashboard.

    Units: minor units of `amount.currency`; times in UTC.
    """

    key: str
    transaction_id: str
    amount: Money
    state: RefundState
    by: str
    reason: str | None = None
    asked_as: str | None = None
    """The request that made it (a digest); the same request again finds it."""
    case: int | None = None
    """The case that closes when this money is back."""
    refused: str | None = None
    """Why the gateway refused it."""
    elsewhere_minor: int = 0
    """What the gateway had given back of the charge, when this was asked for, beyond the refunds known by their keys;
    its total confirms this one only above that."""
    at: datetime
    check_at: datetime | None = None
    checks: int = 0

    @property
    def was_sent(self) -> bool:
        """It has left us, so it may be done; a look at its charge that failed is no sending."""
        return self.state is not RefundState.REQUESTED


@attrs.frozen(kw_only=True)
class Case:
    """Something only a person can settle, with its evidence; closed by a recorded decision."""

    number: int
    kind: CaseKind
    transaction_id: str | None
    opened_at: datetime
    evidence: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    decision: CaseDecision | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    note: str | None = None

    @property
    def is_open(self) -> bool:
        """Nobody has decided yet."""
        return self.decision is None


@attrs.frozen(kw_only=True)
class Payment:
    """What one order owes, and everything that happened to it.

    Shape: attempts, charges, refunds and cases in the order they came to be.
    `amount` is frozen when the payment is made; `owed` falls to what a partial capture took.
    `reading_number` is the newest number given to a question; `version` counts saves; `events` counts history rows.
    Errors: ValueError when two attempts are payable at once, or `paid_by` names no charge.
    """

    payment_id: str
    account: str = "default"
    order_id: str
    amount: Money
    owed: Money
    created_at: datetime
    reserved_at: datetime
    closed: Closed | None = None
    paid_by: str | None = None
    paid_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    charges: tuple[Charge, ...] = ()
    refunds: tuple[Refund, ...] = ()
    cases: tuple[Case, ...] = ()
    reading_number: int = 0
    deadline_at: datetime | None = None
    version: int = 0
    events: int = 0

    def __attrs_post_init__(self) -> None:
        if len(self.attempts) > 1 and sum(attempt.is_payable for attempt in self.attempts) > 1:
            raise ValueError(f"payment {self.payment_id}: two pages could be paid at once")
        if self.paid_by is not None and self.charge(self.paid_by) is None:
            raise ValueError(f"payment {self.payment_id}: paid by {self.paid_by}, which is no charge of it")

    @property
    def keeping_charge(self) -> Charge | None:
        """K: the good charge the order was marked paid by."""
        return self.charge(self.paid_by) if self.paid_by is not None else None

    @property
    def payable_attempt(self) -> Attempt | None:
        """The one attempt that is neither dead nor spent."""
        for attempt in self.attempts:
            if attempt.is_payable:
                return attempt
        return None

    @property
    def last_attempt(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def open_cases(self) -> tuple[Case, ...]:
        """What still waits for a person."""
        return tuple(case for case in self.cases if case.is_open)

    @property
    def is_blocked(self) -> bool:
        """Whether an open case keeps the order from being paid again or closed."""
        return any(
            case.kind in BLOCKING or (case.kind is CaseKind.CONTRADICTION and self.paid_by is None)
            for case in self.open_cases
        )

    @property
    def is_blocked_by_reversal(self) -> bool:
        """Whether money was lost that a person has to look at before the order is paid again."""
        return any(case.kind is CaseKind.REVERSED for case in self.open_cases)

    @property
    def last_decline(self) -> Decline | None:
        """The refusal a buyer saw last, None once a charge has paid."""
        declines = [charge.decline for charge in self.charges if charge.decline]
        return max(declines, key=lambda decline: decline.at) if declines and self.paid_by is None else None

    def attempt(self, number: int) -> Attempt:
        """The attempt of this number; numbers begin at 1 and have no gaps."""
        return self.attempts[number - 1]

    def attempt_named(self, provider_order_id: str | None) -> Attempt | None:
        """The attempt the gateway knows by this id."""
        return next((a for a in self.attempts if a.provider_order_id == provider_order_id), None)

    def charge(self, transaction_id: str) -> Charge | None:
        """The charge the gateway knows by this id."""
        for charge in self.charges:  # a loop, because a generator costs thrice as much, and it is asked all the time
            if charge.transaction_id == transaction_id:
                return charge
        return None

    def charges_of(self, attempt: Attempt) -> tuple[Charge, ...]:
        """The transactions tried on this page."""
        return tuple(charge for charge in self.charges if charge.attempt == attempt.number)

    def refund(self, key: str) -> Refund | None:
        """The refund known by this key."""
        return next((refund for refund in self.refunds if refund.key == key), None)

    def with_attempt(self, changed: Attempt) -> "Payment":
        """The payment with this attempt added, or put in the place of the one of its number."""
        kept = tuple(changed if a.number == changed.number else a for a in self.attempts)
        return evolve(self, attempts=kept if changed in kept else (*kept, changed))

    def with_charge(self, changed: Charge) -> "Payment":
        """The payment with this charge added, or put in the place of the one of its id."""
        kept = tuple(changed if c.transaction_id == changed.transaction_id else c for c in self.charges)
        return evolve(self, charges=kept if changed in kept else (*kept, changed))

    def with_refund(self, changed: Refund) -> "Payment":
        """The payment with this refund added, or put in the place of the one of its key."""
        kept = tuple(changed if r.key == changed.key else r for r in self.refunds)
        return evolve(self, refunds=kept if changed in kept else (*kept, changed))

    def with_case(self, changed: Case) -> "Payment":
        """The payment with this case in the place of the one of its number."""
        return evolve(self, cases=tuple(changed if c.number == changed.number else c for c in self.cases))
