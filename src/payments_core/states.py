"""The states of one charge, and THE transition table.

Everything that decides how a charge moves stands in this file, and nothing else does.
A *charge* is one transaction at a gateway; a buyer may try several on one page, and each has its own state.
The status of the whole payment is not here: it is a fold over all charges and pages (`status.py`).

**What a state promises.** `AUTHORIZED` holds somebody's money, `CAPTURED` and `SETTLED` have it: goods may move.
`DENIED`, `CANCELLED`, `EXPIRED` and `FAILED` have *ended* without money; which of the four is history, not money.
`REVERSED` had the money and lost it again: a void before settlement, or a bank that took a settlement back.
Refunds and charge-backs are amounts, never states: a refunded charge is still `SETTLED`.

**Who may speak.** A *hint* is what a notification says: genuine, but late, repeated, out of order, and (at Midtrans)
with a status nobody signed. A *reading* is what the gateway answers when we ask it. A hint may do one of three things:

- `Move`: be believed as it stands,
- `Keep`: change nothing, because what we know already goes beyond it,
- `Ask`: be worth a question to the gateway, because believing or ignoring it could both be wrong.

A reading may `Move`, `Keep`, or open a `Case`: a contradiction that a person has to see.
With `Confirm.ALWAYS` every hint that would move asks as well.

**When two messages disagree** nobody guesses: the hint asks and the reading decides. Three rules shape the table.
Money outranks words: a reading that shows money moves an ended charge (late settlements are real), and a hint of it
asks.
An older word never undoes a newer one: `pending` after `settlement` is stale as a hint; as a reading it is a lag of
the gateway or a fault of it, asked again after the lag, and a case if it stays.
Losing money needs proof: a hint that says captured money is gone always asks, and only a reading reverses.

Every state meets every signal in exactly one row, so silence is a decision too; a test counts them.
`docs/state-machine.md` is printed from this table.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import attrs

__all__ = [
    "ENDED",
    "LIVE",
    "MONEY",
    "RULES",
    "TRANSITIONS",
    "Ask",
    "CaseKind",
    "ChargeState",
    "Confirm",
    "Contradict",
    "HintRule",
    "Keep",
    "Move",
    "ReadingRule",
    "Row",
    "Signal",
    "hint_rule",
    "reading_rule",
]


class ChargeState(Enum):
    """What we know of one transaction at a gateway."""

    UNSEEN = "unseen"
    """No message has named it yet; never stored."""
    PENDING = "pending"
    """The buyer chose a method; no money yet."""
    CHALLENGED = "challenged"
    """Under fraud review: not money, do not deliver."""
    AUTHORIZED = "authorized"
    """Funds are held, not taken."""
    CAPTURED = "captured"
    """Taken from the buyer; may still be voided."""
    SETTLED = "settled"
    """Taken and settled."""
    DENIED = "denied"
    """Refused by bank, provider or fraud system."""
    CANCELLED = "cancelled"
    """Voided before any money was taken."""
    EXPIRED = "expired"
    """Not paid in time."""
    FAILED = "failed"
    """A processing error at the gateway."""
    REVERSED = "reversed"
    """Money was taken and is gone again, not by us."""


class Signal(Enum):
    """What one message says of one transaction, in our words; a gateway's own words stay in its adapter."""

    PENDING = "pending"
    CHALLENGED = "challenged"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    SETTLED = "settled"
    DENIED = "denied"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"


class CaseKind(Enum):
    """What only a person can settle; a closed list (design 2a)."""

    AMOUNT_MISMATCH = "amount_mismatch"
    CURRENCY_MISMATCH = "currency_mismatch"
    MERCHANT_MISMATCH = "merchant_mismatch"
    CONTRADICTION = "contradiction"
    REVERSED = "reversed"
    CHARGED_BACK = "charged_back"
    DISPUTE_OPEN = "dispute_open"
    SURPLUS_PAYMENT = "surplus_payment"
    LATE_PAYMENT = "late_payment"
    RETURN_BY_HAND = "return_by_hand"
    REFUND_UNKNOWN = "refund_unknown"
    REFUND_RETURNED = "refund_returned"
    OVERDRAWN = "overdrawn"
    OUTCOME_UNKNOWN = "outcome_unknown"


class Confirm(Enum):
    """Whether a hint that would move is believed, or asked about first."""

    ALWAYS = "always"
    SIGNATURE = "signature"


MONEY = frozenset({ChargeState.CAPTURED, ChargeState.SETTLED})
"""The merchant has the money."""
ENDED = frozenset({ChargeState.DENIED, ChargeState.CANCELLED, ChargeState.EXPIRED, ChargeState.FAILED})
"""Over without money; one class for convergence."""
LIVE = frozenset({ChargeState.PENDING, ChargeState.CHALLENGED, ChargeState.AUTHORIZED})
"""May still become money."""


@attrs.frozen
class Move:
    """The charge takes this state."""

    to: ChargeState


@attrs.frozen
class Keep:
    """The charge stays as it is."""


@attrs.frozen
class Ask:
    """The gateway is asked; the answer decides."""


@attrs.frozen
class Contradict:
    """The charge stays, the gateway is asked again after its lag, and a case opens if it insists."""

    kind: CaseKind


HintRule = Move | Keep | Ask
ReadingRule = Move | Keep | Contradict


@attrs.frozen
class Row:
    """One decision: what a hint and what a reading of `signal` do to a charge in `state`, and why."""

    state: ChargeState
    signal: Signal
    hint: HintRule
    reading: ReadingRule
    because: str


_S, _W = ChargeState, Signal
_KEEP, _ASK, _CASE = Keep(), Ask(), Contradict(CaseKind.CONTRADICTION)


def _to(state: ChargeState) -> Move:
    return Move(state)


TRANSITIONS: tuple[Row, ...] = (
    # ── nothing known yet ─────────────────────────────────────────────────────────────────────────────────────────
    Row(_S.UNSEEN, _W.PENDING, _to(_S.PENDING), _to(_S.PENDING), "the buyer chose a method"),
    Row(_S.UNSEEN, _W.CHALLENGED, _to(_S.CHALLENGED), _to(_S.CHALLENGED), "first heard of while under review"),
    Row(_S.UNSEEN, _W.AUTHORIZED, _to(_S.AUTHORIZED), _to(_S.AUTHORIZED), "first heard of with funds held"),
    Row(_S.UNSEEN, _W.CAPTURED, _to(_S.CAPTURED), _to(_S.CAPTURED), "a card is charged at once"),
    Row(_S.UNSEEN, _W.SETTLED, _to(_S.SETTLED), _to(_S.SETTLED), "the earlier messages may never come"),
    Row(_S.UNSEEN, _W.DENIED, _to(_S.DENIED), _to(_S.DENIED), "a declined try; the page stays payable"),
    Row(_S.UNSEEN, _W.CANCELLED, _ASK, _to(_S.CANCELLED), "may give up page and stock: only on a reading"),
    Row(_S.UNSEEN, _W.EXPIRED, _ASK, _to(_S.EXPIRED), "may give up page and stock: only on a reading"),
    Row(_S.UNSEEN, _W.FAILED, _to(_S.FAILED), _to(_S.FAILED), "a failed try; the page stays payable"),
    # ── waiting for the buyer ─────────────────────────────────────────────────────────────────────────────────────
    Row(_S.PENDING, _W.PENDING, _KEEP, _KEEP, "gateways repeat themselves"),
    Row(_S.PENDING, _W.CHALLENGED, _to(_S.CHALLENGED), _to(_S.CHALLENGED), "the fraud system looks at it"),
    Row(_S.PENDING, _W.AUTHORIZED, _to(_S.AUTHORIZED), _to(_S.AUTHORIZED), "funds are held"),
    Row(_S.PENDING, _W.CAPTURED, _to(_S.CAPTURED), _to(_S.CAPTURED), "3-D Secure passed, the card is charged"),
    Row(_S.PENDING, _W.SETTLED, _to(_S.SETTLED), _to(_S.SETTLED), "the gateway confirmed the money"),
    Row(_S.PENDING, _W.DENIED, _to(_S.DENIED), _to(_S.DENIED), "ends this try, never the page"),
    Row(_S.PENDING, _W.CANCELLED, _ASK, _to(_S.CANCELLED), "may give up page and stock: only on a reading"),
    Row(_S.PENDING, _W.EXPIRED, _ASK, _to(_S.EXPIRED), "may give up page and stock: only on a reading"),
    Row(_S.PENDING, _W.FAILED, _to(_S.FAILED), _to(_S.FAILED), "ends this try, never the page"),
    # ── under fraud review ────────────────────────────────────────────────────────────────────────────────────────
    Row(_S.CHALLENGED, _W.PENDING, _KEEP, _KEEP, "an older word"),
    Row(_S.CHALLENGED, _W.CHALLENGED, _KEEP, _KEEP, "gateways repeat themselves"),
    Row(_S.CHALLENGED, _W.AUTHORIZED, _to(_S.AUTHORIZED), _to(_S.AUTHORIZED), "the review accepted the hold"),
    Row(_S.CHALLENGED, _W.CAPTURED, _to(_S.CAPTURED), _to(_S.CAPTURED), "the review accepted the charge"),
    Row(_S.CHALLENGED, _W.SETTLED, _to(_S.SETTLED), _to(_S.SETTLED), "accepted and settled since"),
    Row(_S.CHALLENGED, _W.DENIED, _to(_S.DENIED), _to(_S.DENIED), "the review refused it"),
    Row(_S.CHALLENGED, _W.CANCELLED, _ASK, _to(_S.CANCELLED), "nobody reviewed it in time, or we cancelled"),
    Row(_S.CHALLENGED, _W.EXPIRED, _ASK, _to(_S.EXPIRED), "may give up page and stock: only on a reading"),
    Row(_S.CHALLENGED, _W.FAILED, _to(_S.FAILED), _to(_S.FAILED), "ends this try, never the page"),
    # ── funds held ────────────────────────────────────────────────────────────────────────────────────────────────
    Row(_S.AUTHORIZED, _W.PENDING, _KEEP, _CASE, "an old hint is stale; an old reading is a lag or a fault"),
    Row(_S.AUTHORIZED, _W.CHALLENGED, _KEEP, _CASE, "an old hint is stale; an old reading is a lag or a fault"),
    Row(_S.AUTHORIZED, _W.AUTHORIZED, _KEEP, _KEEP, "gateways repeat themselves"),
    Row(_S.AUTHORIZED, _W.CAPTURED, _to(_S.CAPTURED), _to(_S.CAPTURED), "the hold was taken"),
    Row(_S.AUTHORIZED, _W.SETTLED, _to(_S.SETTLED), _to(_S.SETTLED), "taken and settled since"),
    Row(_S.AUTHORIZED, _W.DENIED, _ASK, _to(_S.DENIED), "the hold would be lost: only on a reading"),
    Row(_S.AUTHORIZED, _W.CANCELLED, _ASK, _to(_S.CANCELLED), "the hold would be lost: only on a reading"),
    Row(_S.AUTHORIZED, _W.EXPIRED, _ASK, _to(_S.EXPIRED), "the hold would be lost: only on a reading"),
    Row(_S.AUTHORIZED, _W.FAILED, _ASK, _to(_S.FAILED), "the hold would be lost: only on a reading"),
    # ── charged, not settled ──────────────────────────────────────────────────────────────────────────────────────
    Row(_S.CAPTURED, _W.PENDING, _KEEP, _CASE, "an old hint is stale; an old reading is a lag or a fault"),
    Row(_S.CAPTURED, _W.CHALLENGED, _KEEP, _CASE, "an old hint is stale; an old reading is a lag or a fault"),
    Row(_S.CAPTURED, _W.AUTHORIZED, _KEEP, _CASE, "an old hint is stale; an old reading is a lag or a fault"),
    Row(_S.CAPTURED, _W.CAPTURED, _KEEP, _KEEP, "gateways repeat themselves"),
    Row(_S.CAPTURED, _W.SETTLED, _to(_S.SETTLED), _to(_S.SETTLED), "the money arrived"),
    Row(_S.CAPTURED, _W.DENIED, _ASK, _to(_S.REVERSED), "the same transaction: the bank took the money back"),
    Row(_S.CAPTURED, _W.CANCELLED, _ASK, _to(_S.REVERSED), "a void before settlement"),
    Row(_S.CAPTURED, _W.EXPIRED, _ASK, _CASE, "no gateway lets taken money expire"),
    Row(_S.CAPTURED, _W.FAILED, _ASK, _CASE, "no gateway lets taken money fail"),
    # ── settled ───────────────────────────────────────────────────────────────────────────────────────────────────
    Row(_S.SETTLED, _W.PENDING, _KEEP, _CASE, "an old hint is stale; an old reading is a lag or a fault"),
    Row(_S.SETTLED, _W.CHALLENGED, _KEEP, _CASE, "an old hint is stale; an old reading is a lag or a fault"),
    Row(_S.SETTLED, _W.AUTHORIZED, _KEEP, _CASE, "an old hint is stale; an old reading is a lag or a fault"),
    Row(_S.SETTLED, _W.CAPTURED, _KEEP, _KEEP, "settlement goes beyond it; the money is here either way"),
    Row(_S.SETTLED, _W.SETTLED, _KEEP, _KEEP, "gateways repeat themselves"),
    Row(_S.SETTLED, _W.DENIED, _ASK, _to(_S.REVERSED), "the same transaction: the bank took the money back"),
    Row(_S.SETTLED, _W.CANCELLED, _ASK, _CASE, "after settlement a gateway refuses to cancel"),
    Row(_S.SETTLED, _W.EXPIRED, _ASK, _CASE, "no gateway lets settled money expire"),
    Row(_S.SETTLED, _W.FAILED, _ASK, _CASE, "no gateway lets settled money fail"),
    # ── ended: refused ────────────────────────────────────────────────────────────────────────────────────────────
    Row(_S.DENIED, _W.PENDING, _KEEP, _KEEP, "an older word"),
    Row(_S.DENIED, _W.CHALLENGED, _KEEP, _KEEP, "an older word"),
    Row(_S.DENIED, _W.AUTHORIZED, _ASK, _to(_S.AUTHORIZED), "a hold outranks a word, if the gateway confirms it"),
    Row(_S.DENIED, _W.CAPTURED, _ASK, _to(_S.CAPTURED), "money outranks a word, if the gateway confirms it"),
    Row(_S.DENIED, _W.SETTLED, _ASK, _to(_S.SETTLED), "money outranks a word, if the gateway confirms it"),
    Row(_S.DENIED, _W.DENIED, _KEEP, _KEEP, "gateways repeat themselves"),
    Row(_S.DENIED, _W.CANCELLED, _KEEP, _KEEP, "ended is ended"),
    Row(_S.DENIED, _W.EXPIRED, _KEEP, _KEEP, "ended is ended"),
    Row(_S.DENIED, _W.FAILED, _KEEP, _KEEP, "ended is ended"),
    # ── ended: cancelled ──────────────────────────────────────────────────────────────────────────────────────────
    Row(_S.CANCELLED, _W.PENDING, _KEEP, _KEEP, "an older word"),
    Row(_S.CANCELLED, _W.CHALLENGED, _KEEP, _KEEP, "an older word"),
    Row(_S.CANCELLED, _W.AUTHORIZED, _ASK, _to(_S.AUTHORIZED), "a hold outranks a word, if the gateway confirms it"),
    Row(_S.CANCELLED, _W.CAPTURED, _ASK, _to(_S.CAPTURED), "money outranks a word, if the gateway confirms it"),
    Row(_S.CANCELLED, _W.SETTLED, _ASK, _to(_S.SETTLED), "money outranks a word, if the gateway confirms it"),
    Row(_S.CANCELLED, _W.DENIED, _KEEP, _KEEP, "ended is ended"),
    Row(_S.CANCELLED, _W.CANCELLED, _KEEP, _KEEP, "gateways repeat themselves"),
    Row(_S.CANCELLED, _W.EXPIRED, _KEEP, _KEEP, "ended is ended"),
    Row(_S.CANCELLED, _W.FAILED, _KEEP, _KEEP, "ended is ended"),
    # ── ended: not paid in time ───────────────────────────────────────────────────────────────────────────────────
    Row(_S.EXPIRED, _W.PENDING, _KEEP, _KEEP, "an older word"),
    Row(_S.EXPIRED, _W.CHALLENGED, _KEEP, _KEEP, "an older word"),
    Row(_S.EXPIRED, _W.AUTHORIZED, _ASK, _to(_S.AUTHORIZED), "a hold outranks a word, if the gateway confirms it"),
    Row(_S.EXPIRED, _W.CAPTURED, _ASK, _to(_S.CAPTURED), "money outranks a word, if the gateway confirms it"),
    Row(_S.EXPIRED, _W.SETTLED, _ASK, _to(_S.SETTLED), "a settlement that arrives late still settled"),
    Row(_S.EXPIRED, _W.DENIED, _KEEP, _KEEP, "ended is ended"),
    Row(_S.EXPIRED, _W.CANCELLED, _KEEP, _KEEP, "ended is ended"),
    Row(_S.EXPIRED, _W.EXPIRED, _KEEP, _KEEP, "gateways repeat themselves"),
    Row(_S.EXPIRED, _W.FAILED, _KEEP, _KEEP, "ended is ended"),
    # ── ended: failed at the gateway ──────────────────────────────────────────────────────────────────────────────
    Row(_S.FAILED, _W.PENDING, _KEEP, _KEEP, "an older word"),
    Row(_S.FAILED, _W.CHALLENGED, _KEEP, _KEEP, "an older word"),
    Row(_S.FAILED, _W.AUTHORIZED, _ASK, _to(_S.AUTHORIZED), "a hold outranks a word, if the gateway confirms it"),
    Row(_S.FAILED, _W.CAPTURED, _ASK, _to(_S.CAPTURED), "money outranks a word, if the gateway confirms it"),
    Row(_S.FAILED, _W.SETTLED, _ASK, _to(_S.SETTLED), "money outranks a word, if the gateway confirms it"),
    Row(_S.FAILED, _W.DENIED, _KEEP, _KEEP, "ended is ended"),
    Row(_S.FAILED, _W.CANCELLED, _KEEP, _KEEP, "ended is ended"),
    Row(_S.FAILED, _W.EXPIRED, _KEEP, _KEEP, "ended is ended"),
    Row(_S.FAILED, _W.FAILED, _KEEP, _KEEP, "gateways repeat themselves"),
    # ── money that was taken back ─────────────────────────────────────────────────────────────────────────────────
    Row(_S.REVERSED, _W.PENDING, _KEEP, _KEEP, "an older word"),
    Row(_S.REVERSED, _W.CHALLENGED, _KEEP, _KEEP, "an older word"),
    Row(_S.REVERSED, _W.AUTHORIZED, _KEEP, _KEEP, "an older word: the hold came before the money"),
    Row(_S.REVERSED, _W.CAPTURED, _ASK, _to(_S.CAPTURED), "usually an old hint; if a reading says so, it is money"),
    Row(_S.REVERSED, _W.SETTLED, _ASK, _to(_S.SETTLED), "usually an old hint; if a reading says so, it is money"),
    Row(_S.REVERSED, _W.DENIED, _KEEP, _KEEP, "gateways repeat themselves"),
    Row(_S.REVERSED, _W.CANCELLED, _KEEP, _KEEP, "gateways repeat themselves"),
    Row(_S.REVERSED, _W.EXPIRED, _KEEP, _KEEP, "the money is gone already"),
    Row(_S.REVERSED, _W.FAILED, _KEEP, _KEEP, "the money is gone already"),
)

RULES: Mapping[tuple[ChargeState, Signal], Row] = MappingProxyType({(r.state, r.signal): r for r in TRANSITIONS})
"""The table by state and signal; total, which a test checks."""


def hint_rule(state: ChargeState, signal: Signal, confirm: Confirm) -> HintRule:
    """What a hint may do: the table's word, except that with `Confirm.ALWAYS` a move asks first."""
    rule = RULES[state, signal].hint
    return _ASK if isinstance(rule, Move) and confirm is Confirm.ALWAYS else rule


def reading_rule(state: ChargeState, signal: Signal) -> ReadingRule:
    """What a reading may do: the table's word."""
    return RULES[state, signal].reading
