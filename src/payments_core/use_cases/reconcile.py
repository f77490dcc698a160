"""Reconciliation: every open and recently closed payment beside what its gateway says, and what is behind repaired.

Nothing here decides. The gateway is asked about each page by its order id and about each transaction we know; the
answers go the way of every answer (`AskGateway`, the same `decide`), and what is under way gets its next step at once
instead of at its time. What differed before the answer was applied is told, and whether it still does afterwards.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import Enum

import attrs

from payments_core.charges import compare, is_accepted, money_news
from payments_core.decide import recheck_again
from payments_core.errors import GatewayError, PaymentsError, StorageError
from payments_core.observations import Observation, Unknown
from payments_core.operations import WISHES
from payments_core.payment import Attempt, AttemptState, Charge, ChargeDue, Payment, RefundState
from payments_core.ports import Due, DueKind, Survey
from payments_core.states import Keep, Signal, reading_rule
from payments_core.use_cases.apply_reading import AskGateway
from payments_core.use_cases.saving import Desk
from payments_core.use_cases.sweep import Sweep

__all__ = ["Difference", "DifferenceKind", "Outcome", "Reconcile", "Reconciled", "left_behind"]

_ROUNDS_MAX = 3
"""Steps may lead to steps (an answer that closes a page, a page that cancels a charge); three have always been enough,
and what is left after them is told."""


class DifferenceKind(Enum):
    """In what way we and the gateway disagree."""

    MISSING_HERE = "missing_here"
    """The gateway shows a transaction that we have not recorded."""
    MISSING_THERE = "missing_there"
    """We know a transaction, not over yet or with money on it, and the gateway does not."""
    STATUS = "status"
    """Both know it, in different states."""
    AMOUNT = "amount"
    """The amount, the currency, or what was given back differs."""
    UNKNOWN_WORD = "unknown_word"
    """The gateway says a word that we do not understand; it changes nothing."""
    UNREACHABLE = "unreachable"
    """The gateway could not be asked: whether anything differs is unknown."""
    UNFINISHED = "unfinished"
    """Something we asked for, or have to ask for, has no outcome yet."""


class Outcome(Enum):
    """What became of a difference."""

    REPAIRED = "repaired"
    CASE = "case"
    """A person has it."""
    LEFT = "left"
    """It is still there, and nobody has it: the run is not done."""


@attrs.frozen(kw_only=True)
class Difference:
    """One disagreement, and what became of it."""

    kind: DifferenceKind
    payment_id: str
    reference: str
    what: str
    outcome: Outcome = Outcome.LEFT


@attrs.frozen
class Reconciled:
    """One payment compared; `questions` were asked of the gateway."""

    payment_id: str
    questions: int
    differences: tuple[Difference, ...]


@attrs.define
class _Findings:
    payment_id: str
    questions: int = 0
    found: dict[tuple[DifferenceKind, str], Difference] = attrs.field(factory=dict)
    heard: set[str] = attrs.field(factory=set)
    """References the gateway has answered about."""
    steps: dict[str, tuple[DifferenceKind, str]] = attrs.field(factory=dict)
    """Why a step could not be taken, if it could not the last time; by what it is about."""

    def add(self, kind: DifferenceKind, reference: str, what: str, outcome: Outcome = Outcome.LEFT) -> None:
        """Remember it as it was found first, with what became of it last."""
        known = self.found.get((kind, reference))
        told = known.what if known is not None else what
        made = Difference(kind=kind, payment_id=self.payment_id, reference=reference, what=told, outcome=outcome)
        self.found[kind, reference] = made

    def answered(self, reference: str) -> None:
        """The gateway could be asked about this, if not at first."""
        self.heard.add(reference)
        self.found.pop((DifferenceKind.UNREACHABLE, reference), None)


@attrs.frozen
class Reconcile:
    """Compares payments with their gateways, and repairs what is behind."""

    desk: Desk
    survey: Survey
    ask: AskGateway
    sweep: Sweep

    async def __call__(self, payment_id: str) -> Reconciled:
        """This payment compared with its gateway, repaired as far as that is possible now.

        Repeating it is safe. Errors: StorageError.
        """
        findings = _Findings(payment_id)
        payment = await self.desk.look(payment_id)
        if payment is None:
            return Reconciled(payment_id, 0, ())
        for _ in range(_ROUNDS_MAX):
            payment = await self._compare(payment, findings)
            steps = [*_next_steps(payment, self.desk.clock.now()), *await self._waiting(payment_id)]
            if not steps:
                break
            for step in steps:
                await self._take(step, _reference(payment, step), findings)
            payment = await self.desk.look(payment_id) or payment
        for reference, (kind, what) in findings.steps.items():
            findings.add(kind, reference, what)
        for reference, what in left_behind(payment):
            findings.add(DifferenceKind.UNFINISHED, reference, what)
        if await self._waiting(payment_id):
            findings.add(DifferenceKind.UNFINISHED, payment_id, "a notification is not borne out by the gateway yet")
        return Reconciled(payment_id, findings.questions, tuple(findings.found.values()))

    async def _compare(self, payment: Payment, findings: _Findings) -> Payment:
        """Everything the gateway has not answered about yet in this run."""
        for attempt in payment.attempts:
            if attempt.provider_order_id not in findings.heard:
                payment = await self._page(payment, attempt, findings)
        for transaction_id in [charge.transaction_id for charge in payment.charges]:
            if transaction_id not in findings.heard:
                payment = await self._charge(payment, transaction_id, findings)
        return payment

    async def _page(self, payment: Payment, attempt: Attempt, findings: _Findings) -> Payment:
        """By its order id, which shows the newest transaction only; the others are asked about by their own."""
        findings.questions += 1
        try:
            after, answer = await self.ask.page_heard(payment.payment_id, attempt)
        except GatewayError as error:
            findings.add(DifferenceKind.UNREACHABLE, attempt.provider_order_id, _why(error))
            return payment
        findings.answered(attempt.provider_order_id)
        if answer is not None:
            _tell(payment, after or payment, attempt, answer, findings)
        return after or payment

    async def _charge(self, payment: Payment, transaction_id: str, findings: _Findings) -> Payment:
        charge = payment.charge(transaction_id)
        if charge is None:
            return payment
        now = self.desk.clock.now()
        findings.questions += 1
        try:
            after, answer = await self.ask.charge_heard(
                payment, transaction_id, then=lambda p: recheck_again(p, transaction_id, now)
            )
        except GatewayError as error:
            findings.add(DifferenceKind.UNREACHABLE, transaction_id, _why(error))
            return payment
        findings.answered(transaction_id)
        if answer is not None:
            _tell(payment, after or payment, payment.attempt(charge.attempt), answer, findings)
        elif charge.is_live or charge.has_money:
            findings.add(DifferenceKind.MISSING_THERE, transaction_id, f"we know it as {charge.state.value}")
        return after or payment

    async def _waiting(self, payment_id: str) -> list[Due]:
        keys = await self.survey.waiting(payment_id)
        return [Due(DueKind.NOTIFICATION, payment_id, key=key) for key in keys]

    async def _take(self, step: Due, reference: str, findings: _Findings) -> None:
        try:
            findings.questions += 1
            await self.sweep.attend(step)
        except StorageError:
            raise
        except GatewayError as error:
            findings.steps[reference] = (DifferenceKind.UNREACHABLE, _why(error))
        except PaymentsError as error:
            findings.steps[reference] = (DifferenceKind.UNFINISHED, error.code)
        else:
            findings.steps.pop(reference, None)


def _why(error: GatewayError) -> str:
    """With the gateway's own words: a wrong key has the code of every other trouble."""
    return f"{error.code}: {error.detail}"


def _reference(payment: Payment, step: Due) -> str:
    """What the step is about, by the name the gateway knows it by, or else the payment."""
    is_page = step.kind is DueKind.ATTEMPT
    return payment.attempt(int(step.part)).provider_order_id if is_page else step.part or step.id


def _tell(before: Payment, after: Payment, attempt: Attempt, answer: Observation, findings: _Findings) -> None:
    """What differed before this answer was applied, and what became of it."""
    transaction_id = answer.transaction_id
    still = {kind for kind, _ in _differences(after, attempt, answer)}
    has_case = any(case.transaction_id == transaction_id for case in after.cases)
    for kind, what in _differences(before, attempt, answer):
        left = Outcome.CASE if has_case else Outcome.LEFT
        findings.add(kind, transaction_id, what, left if kind in still else Outcome.REPAIRED)


def _differences(payment: Payment, attempt: Attempt, answer: Observation) -> Iterator[tuple[DifferenceKind, str]]:
    charge = payment.charge(answer.transaction_id)
    if isinstance(answer.meaning, Unknown):
        yield DifferenceKind.UNKNOWN_WORD, f"the gateway says {answer.meaning.word!r}"
        return
    if charge is None:
        yield DifferenceKind.MISSING_HERE, "the gateway shows a transaction that we have not recorded"
        return
    if isinstance(answer.meaning, Signal) and not _shows(charge, answer.meaning):
        yield DifferenceKind.STATUS, f"we have {charge.state.value}, the gateway says {answer.meaning.value}"
    faults = compare(attempt, charge, answer)
    if faults and not is_accepted(payment, charge, attempt, answer):
        yield DifferenceKind.AMOUNT, ", ".join(sorted(fault.value for fault in faults))
    elif money_news(charge, answer):
        yield DifferenceKind.AMOUNT, "more was given back than we know"


def _shows(charge: Charge, signal: Signal) -> bool:
    """Whether the table would leave our state as it is; a void that we asked for is a refund, and leaves it too."""
    voided = charge.cancel_asked and signal is Signal.CANCELLED and charge.has_money and charge.left_minor <= 0
    return voided or isinstance(reading_rule(charge.state, signal), Keep)


def _next_steps(payment: Payment, now: datetime) -> Iterator[Due]:
    """What would come due by itself, asked for now; first what ends pages, then what their end leads to."""
    payment_id = payment.payment_id
    if payment.deadline_at is not None and payment.deadline_at <= now:
        yield Due(DueKind.DEADLINE, payment_id)
    for attempt in payment.attempts:
        under_way = attempt.state in (AttemptState.OPENING, AttemptState.CLOSING)
        if under_way or (attempt.state is AttemptState.OPEN and attempt.doubt is not None):
            yield Due(DueKind.ATTEMPT, payment_id, str(attempt.number))
    for charge in payment.charges:
        if charge.due in WISHES or charge.due is ChargeDue.CANCEL:
            yield Due(DueKind.CHARGE, payment_id, charge.transaction_id)
    for refund in payment.refunds:
        if refund.state in (RefundState.REQUESTED, RefundState.UNKNOWN):
            yield Due(DueKind.REFUND, payment_id, refund.key)


def left_behind(payment: Payment) -> Sequence[tuple[str, str]]:
    """What has no outcome: its reference, and what it is. A refund that its bank still works on is no such thing."""
    unfinished = [
        (attempt.provider_order_id, f"the page is {attempt.state.value}")
        for attempt in payment.attempts
        if attempt.state in (AttemptState.OPENING, AttemptState.CLOSING) or attempt.doubt is not None
    ]
    unfinished += [
        (charge.transaction_id, f"{charge.due.value} was asked for, and has no outcome")
        for charge in payment.charges
        if charge.due in WISHES or charge.due is ChargeDue.CANCEL
    ]
    unfinished += [
        (refund.key, f"the refund is {refund.state.value}")
        for refund in payment.refunds
        if refund.state in (RefundState.REQUESTED, RefundState.UNKNOWN)
    ]
    return unfinished
