"""How a transaction moves: what the API may do, what the clock does, and what a test may force.

Every function returns a new value and changes nothing.
The amounts stay true whatever the move: money is captured only by capture and settlement, a word that does not speak of
refunds or charge-backs means none is outstanding, and a refund or charge-back means the money had been captured.
"""

from datetime import datetime, timedelta

import attrs

from payments_core_simulator.refusals import Refusal, Why

from .channels import CHANNELS
from .limits import AUTHORIZATION_LIFE, CARD_BATCH_HOUR, REFUND_KEY_LIFE, REFUNDS_PER_TRANSACTION_MAX
from .times import JAKARTA
from .values import Refund, Transaction

ENDED_WITHOUT_MONEY = frozenset({"deny", "cancel", "expire", "failure"})
CAPTURING = frozenset({"capture", "settlement"})
HOLDING = frozenset({"pending", "authorize", "challenge"})
REFUNDING = frozenset({"refund", "partial_refund"})
CHARGING_BACK = frozenset({"chargeback", "partial_chargeback"})
# Every word a test may move a transaction to.
WORDS = ENDED_WITHOUT_MONEY | CAPTURING | HOLDING | REFUNDING | CHARGING_BACK


def due(transaction: Transaction) -> tuple[datetime, str] | None:
    """Return when the clock alone will move this transaction, and to which word."""
    match transaction.status:
        case "pending" | "authorize":
            return transaction.expires_at, "expire"
        case "capture":
            return _next_card_batch(transaction.changed_at), "cancel" if transaction.challenged else "settlement"
        case _:
            return None


def _next_card_batch(moment: datetime) -> datetime:
    local = moment.astimezone(JAKARTA) + timedelta(days=1)
    return local.replace(hour=CARD_BATCH_HOUR, minute=0, second=0, microsecond=0)


# --- any move, for tests and for the clock ---------------------------------------------------------------------------


def put(
    transaction: Transaction, to: str, now: datetime, amount_sen: int | None = None, number: int = 1
) -> Transaction:
    """Return the transaction at this word, legal or not, with its amounts true.

    `amount_sen` is the new gross amount, or for a refund or charge-back what goes back; `number` names a new refund.
    """
    if to in REFUNDING:
        return _give_back(transaction, to, now, amount_sen, number)
    if to in CHARGING_BACK:
        return _charge_back(transaction, to, now, amount_sen)
    fresh = attrs.evolve(
        transaction, changed_at=now, refunds=(), charged_back_sen=0, charge_back_amount_told=False, captured_sen=0
    )
    if to in ENDED_WITHOUT_MONEY:
        return _end(fresh, to, amount_sen)
    fresh = attrs.evolve(fresh, gross_sen=fresh.gross_sen if amount_sen is None else amount_sen)
    return _take(fresh, to, now) if to in CAPTURING else _hold(fresh, to, now)


def _end(transaction: Transaction, to: str, amount_sen: int | None) -> Transaction:
    if amount_sen is not None:
        raise Refusal(Why.NONSENSE, f"amount: {to} moves no amount")
    # A bank's refusal still says "accept": the fraud system had nothing against it.
    return attrs.evolve(transaction, status=to, fraud="accept")


def _hold(transaction: Transaction, to: str, now: datetime) -> Transaction:
    challenged = to == "challenge"
    return attrs.evolve(
        transaction,
        status="capture" if challenged else to,
        fraud="challenge" if challenged else "accept",
        authorized_sen=transaction.gross_sen,
        expires_at=now + AUTHORIZATION_LIFE if to == "authorize" else transaction.expires_at,
    )


def _take(transaction: Transaction, to: str, now: datetime) -> Transaction:
    return attrs.evolve(
        transaction,
        status=to,
        fraud="accept",
        captured_sen=transaction.gross_sen,
        settled_at=now if to == "settlement" else transaction.settled_at,
    )


def _had_money(transaction: Transaction) -> Transaction:
    """Return it as captured: nobody gives back what was never taken."""
    if transaction.captured_sen > 0:
        return transaction
    return attrs.evolve(transaction, captured_sen=transaction.gross_sen, fraud="accept")


def _give_back(transaction: Transaction, to: str, now: datetime, amount_sen: int | None, number: int) -> Transaction:
    paid = _had_money(transaction)
    if to == "partial_refund" and amount_sen is None:
        raise Refusal(Why.NONSENSE, "amount: a partial_refund needs one")
    if len(paid.refunds) >= REFUNDS_PER_TRANSACTION_MAX:
        raise Refusal(Why.FULL, f"the transaction has {REFUNDS_PER_TRANSACTION_MAX} refunds already")
    amount_sen = paid.left_sen if amount_sen is None else amount_sen
    refund = Refund(number, f"{paid.transaction_id}-{number}", amount_sen, now)
    return attrs.evolve(paid, status=to, changed_at=now, refunds=(*paid.refunds, refund))


def _charge_back(transaction: Transaction, to: str, now: datetime, amount_sen: int | None) -> Transaction:
    paid = _had_money(transaction)
    unknown = 0 if to == "partial_chargeback" else paid.left_sen
    taken_sen = unknown if amount_sen is None else amount_sen
    return attrs.evolve(
        paid,
        status=to,
        changed_at=now,
        charged_back_sen=paid.charged_back_sen + taken_sen,
        charge_back_amount_told=amount_sen is not None,
    )


# --- what the API allows ---------------------------------------------------------------------------------------------


def cancel(transaction: Transaction, now: datetime) -> Transaction:
    """Void what is not settled: pending, a hold, or a capture before its batch."""
    return put(_only_from(transaction, "pending", "authorize", "capture"), "cancel", now)


def expire(transaction: Transaction, now: datetime) -> Transaction:
    """End a pending transaction."""
    return put(_only_from(transaction, "pending"), "expire", now)


def approve(transaction: Transaction, now: datetime) -> Transaction:
    """Take the money of a challenged transaction."""
    return put(_only_challenged(transaction), "capture", now)


def deny(transaction: Transaction, now: datetime) -> Transaction:
    """Refuse a challenged transaction, as the merchant: the one deny that says so in its fraud status."""
    return attrs.evolve(put(_only_challenged(transaction), "deny", now), fraud="deny")


def capture(transaction: Transaction, now: datetime, amount_sen: int | None = None) -> Transaction:
    """Take a held amount or less of it; the gross amount becomes what was taken."""
    held = _only_from(transaction, "authorize")
    if amount_sen is not None and not 0 < amount_sen <= held.authorized_sen:
        raise Refusal(Why.INVALID, "gross_amount must be greater than 0 and not above the authorized amount")
    return put(held, "capture", now, amount_sen)


def refund_with_key(transaction: Transaction, key: str, now: datetime, *, replay: bool) -> Refund | None:
    """Return the refund this key already made, or None when the key is new.

    **Errors**: `REFUND_KEY_USED` when a used key is not to be replayed, or is older than the gateway remembers.
    """
    known = next((refund for refund in transaction.refunds if refund.key == key), None)
    if known is not None and (not replay or now - known.created_at > REFUND_KEY_LIFE):
        raise Refusal(Why.REFUND_KEY_USED)
    return known


def refund(transaction: Transaction, wanted: Refund, *, whole: bool) -> Transaction:
    """Return money of a settled transaction; parts that add up to everything make it a full refund.

    `whole` means the caller named no amount: all that is left goes back, whatever `wanted` says.
    """
    settled = _only_from(transaction, "settlement", "partial_refund")
    channel = CHANNELS.get(settled.payment_type)
    if channel is None or not channel.refunds or len(settled.refunds) >= REFUNDS_PER_TRANSACTION_MAX:
        raise Refusal(Why.STATE)
    amount_sen = settled.left_sen if whole else wanted.amount_sen
    if not 0 < amount_sen <= settled.left_sen or (amount_sen < settled.captured_sen and not channel.partial_refunds):
        raise Refusal(Why.REFUND_AMOUNT)
    given = attrs.evolve(wanted, amount_sen=amount_sen)
    status = "refund" if amount_sen == settled.left_sen else "partial_refund"
    return attrs.evolve(settled, status=status, changed_at=wanted.created_at, refunds=(*settled.refunds, given))


def confirm_refunds(transaction: Transaction, now: datetime) -> Transaction:
    """Return it with every refund confirmed by the bank; the gateway notifies a second time when that happens."""
    confirmed = tuple(attrs.evolve(one, confirmed_at=one.confirmed_at or now) for one in transaction.refunds)
    return attrs.evolve(transaction, refunds=confirmed, changed_at=now)


def _only_from(transaction: Transaction, *statuses: str) -> Transaction:
    if transaction.status not in statuses:
        raise Refusal(Why.STATE)
    return transaction


def _only_challenged(transaction: Transaction) -> Transaction:
    if not (transaction.status == "capture" and transaction.challenged):
        raise Refusal(Why.STATE)
    return transaction
