"""What retrieved objects mean: an intent beside its session, its refunds and its disputes -> one Observation.

The session alone cannot tell a delayed method from a hold or a bounce, and the intent alone cannot tell a page that is
still open from one that is over, so a reading looks at both.
Source: stripe.md section 4, "Session + intent".
"""

from collections.abc import Sequence

from payments_core.errors import MalformedNotification
from payments_core.money import Money
from payments_core.observations import Dispute, DisputeNews, Meaning, Nothing, Observation, Unknown
from payments_core.states import Signal
from payments_core_stripe.observe import (
    INTENTS,
    PROVIDER,
    Object,
    decline_code,
    dispute_of,
    identifier,
    method_of,
    money,
    order_named,
    refund_report,
    time,
)

__all__ = ["is_alive", "needs_session", "read_intent", "read_page_alone"]

_ALIVE = frozenset({"requires_action", "requires_confirmation", "processing", "requires_capture"})
"""On a complete session: still on its way, or held."""
_GONE = frozenset({DisputeNews.WITHDRAWN, DisputeNews.LOST})


def is_alive(intent: object) -> bool:
    """Whether an intent on a complete session may still become money."""
    return isinstance(intent, dict) and intent.get("status") in _ALIVE


def needs_session(intent: Object) -> bool:
    """Whether only its session tells if this intent is over: neither held, nor taken, nor on its way."""
    return intent.get("status") in ("requires_payment_method", "requires_confirmation", "requires_action", "canceled")


def read_intent(
    intent: Object,
    session: Object | None,
    *,
    refunds: Sequence[Object] = (),
    disputes: Sequence[Object] = (),
    account: str = "default",
) -> Observation:
    """What an intent says now; `session` is its own where that matters.

    Errors: MalformedNotification when it is none; AmountNotRepresentable.
    """
    transaction_id = identifier(intent) or ""
    amount = money(intent, "amount_received" if intent.get("status") == "succeeded" else "amount")
    if amount is None or not transaction_id:
        raise MalformedNotification("an intent has an id and an amount")
    meaning, ends_page, uses_up_page = _standing(intent, session)
    charge = intent.get("latest_charge")
    charge = charge if isinstance(charge, dict) else {}
    taken = meaning in (Signal.SETTLED, Signal.AUTHORIZED)
    dispute, charged_back = _fought_over(disputes)
    reports = [report for refund in refunds if (report := refund_report(refund)) is not None]
    return Observation(
        provider=PROVIDER,
        account=account,
        provider_order_id=order_named(session or {}) or order_named(intent) or transaction_id,
        transaction_id=transaction_id,
        meaning=meaning,
        amount=amount,
        page_id=identifier(session) if session else None,
        live=_live(intent),
        method=method_of(charge),
        decline_code=None if taken else decline_code(intent),
        occurred_at=time(charge.get("created")) if taken else None,
        ends_page=ends_page,
        uses_up_page=uses_up_page,
        refunds=tuple(reports),
        dispute=dispute,
        charged_back=charged_back,
    )


def read_page_alone(session: Object, *, account: str = "default") -> Observation | None:
    """What a session says on which nobody has tried to pay: its end, or nothing."""
    if session.get("status") == "expired":
        meaning: Meaning = Nothing("the session has expired")
        transaction_id = ""
    elif session.get("payment_status") in ("paid", "no_payment_required"):
        meaning, transaction_id = Signal.SETTLED, identifier(session) or ""
    else:
        return None
    return Observation(
        provider=PROVIDER,
        account=account,
        provider_order_id=order_named(session),
        transaction_id=transaction_id,
        meaning=meaning,
        amount=money(session, "amount_total") if transaction_id else None,
        page_id=identifier(session),
        live=_live(session),
        ends_page=not transaction_id,
    )


def _standing(intent: Object, session: Object | None) -> tuple[Meaning, bool, bool]:
    """The signal, whether the page has ended by itself, and whether its one try came to nothing."""
    status = str(intent.get("status"))
    signal = INTENTS.get(status)
    page = session.get("status") if session else None
    if signal is None:
        return Unknown(status), False, False
    if page == "expired" and needs_session(intent):
        return Signal.EXPIRED, True, False
    if page == "complete" and status == "requires_payment_method":
        return Signal.FAILED, False, True
    voided = page == "complete" and status == "canceled"
    return signal, voided, voided


def _live(about: Object) -> bool | None:
    live = about.get("livemode")
    return live if isinstance(live, bool) else None


def _fought_over(disputes: Sequence[Object]) -> tuple[Dispute | None, Money | None]:
    """All disputes as one: the open one first, and what they have taken by now."""
    known = [(dispute, told) for dispute in disputes if (told := _with_its_money(dispute)) is not None]
    if not known:
        return None, None
    taken = [told.amount for _, told in known if told.news in _GONE and told.amount is not None]
    told = min((told for _, told in known), key=lambda told: _URGENT.index(told.news))
    return told, Money(sum(m.amount_minor for m in taken), taken[0].currency) if taken else None


_URGENT = (
    DisputeNews.WITHDRAWN,
    DisputeNews.OPENED,
    DisputeNews.LOST,
    DisputeNews.REINSTATED,
    DisputeNews.WON,
    DisputeNews.INQUIRY,
)


def _with_its_money(dispute: Object) -> Dispute | None:
    """A dispute that is fought over has taken the money once its balance shows it, until the balance gives it back."""
    told = dispute_of(dispute)
    if told is None or told.news is not DisputeNews.OPENED:
        return told
    moves = dispute.get("balance_transactions")
    amounts = [move.get("amount") for move in moves if isinstance(move, dict)] if isinstance(moves, list) else []
    net = sum(amount for amount in amounts if isinstance(amount, int))
    return Dispute(DisputeNews.WITHDRAWN, told.amount, told.dispute_id) if net < 0 else told
