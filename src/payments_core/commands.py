"""What a decision asks to be done at once, outside of any transaction.

A command is never the record of the work: the row that needs it is due on its own (`check_at`), so a process that dies
with a command in hand loses nothing, and a command that runs twice changes nothing.
"""

from collections.abc import Iterator

import attrs

from payments_core.payment import AttemptState, ChargeDue, Payment

__all__ = ["AskCharge", "AskPage", "CancelCharge", "ClosePage", "Command", "SendRefund", "commands_between"]


@attrs.frozen
class AskCharge:
    """Ask the gateway about one transaction of an attempt; `number` was given to the question when it was decided."""

    payment_id: str
    provider: str
    attempt: int
    transaction_id: str
    number: int


@attrs.frozen
class AskPage:
    """Ask the gateway about a whole attempt, by its order id."""

    payment_id: str
    attempt: int


@attrs.frozen
class ClosePage:
    """Take the next step towards the proof that a page is dead."""

    payment_id: str
    attempt: int


@attrs.frozen
class CancelCharge:
    """Cancel one transaction at its gateway: another has paid."""

    payment_id: str
    transaction_id: str


@attrs.frozen
class SendRefund:
    """Take the next step of a refund that a decision began."""

    payment_id: str
    key: str


Command = AskCharge | AskPage | ClosePage | CancelCharge | SendRefund


def commands_between(before: Payment | None, after: Payment) -> Iterator[Command]:
    """What became necessary between two values of one payment."""
    pages = {attempt.number: attempt for attempt in before.attempts} if before else {}
    charges = {charge.transaction_id: charge for charge in before.charges} if before else {}
    for attempt in after.attempts:
        was = pages.get(attempt.number)
        if attempt.doubt is not None and (was is None or was.doubt is None):
            yield AskPage(after.payment_id, attempt.number)
        if attempt.state is AttemptState.CLOSING and (was is None or was.closing is not attempt.closing):
            yield ClosePage(after.payment_id, attempt.number)
    for charge in after.charges:
        known = charges.get(charge.transaction_id)
        if charge.due is ChargeDue.CANCEL and (known is None or known.due is not ChargeDue.CANCEL):
            yield CancelCharge(after.payment_id, charge.transaction_id)
    for refund in after.refunds:
        if refund.case is not None and (before is None or before.refund(refund.key) is None):
            yield SendRefund(after.payment_id, refund.key)
