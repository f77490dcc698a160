"""Reconciliation names what differs from the gateway, and repairs it the way of every answer."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Observation, Payment, Signal
from payments_core.decide import Verdict
from payments_core.errors import Busy, GatewayUnavailable, StorageUnavailable
from payments_core.limits import LEASE, RETRY_SCHEDULE
from payments_core.observations import Unknown
from payments_core.payment import AttemptState, ChargeDue, CloseReason, Refund, RefundState
from payments_core.ports import Due, DueKind, NotificationKey, RefundReply
from payments_core.states import CaseKind, ChargeState
from payments_core.use_cases.reconcile import DifferenceKind, Outcome, Reconcile, Reconciled, left_behind
from payments_core.use_cases.sweep import Sweep
from payments_core_memory import MemoryGateway, MemoryStore
from unit.values import PAGE, case, charge, refund, with_cases, with_page
from unit.world import World, rupiah

MISSING_HERE, MISSING_THERE = DifferenceKind.MISSING_HERE, DifferenceKind.MISSING_THERE
STATUS, AMOUNT, UNKNOWN_WORD = DifferenceKind.STATUS, DifferenceKind.AMOUNT, DifferenceKind.UNKNOWN_WORD
UNREACHABLE, UNFINISHED = DifferenceKind.UNREACHABLE, DifferenceKind.UNFINISHED
REPAIRED, LEFT, CASE = Outcome.REPAIRED, Outcome.LEFT, Outcome.CASE


@attrs.frozen
class MemorySurvey:
    """The `Survey` port over the store in memory."""

    store: MemoryStore

    async def count(self, since: object) -> int:  # noqa: ARG002 - the port
        return len(self.store.payments.rows)

    async def ids(self, since: object, *, after: str | None, limit: int) -> list[str]:  # noqa: ARG002 - the port
        return sorted(self.store.payments.rows)[:limit]

    async def waiting(self, payment_id: str) -> list[NotificationKey]:
        return [
            key
            for key, kept in self.store.inbox.rows.items()
            if kept.verdict is Verdict.WAITING and key.shard == payment_id
        ]


async def reconcile(world: World, payment_id: str | None = None) -> Reconciled:
    """The one payment compared with its gateway."""
    sweep = world.service.sweep
    compare = Reconcile(sweep.desk, MemorySurvey(world.store), sweep.ask, sweep)
    return await compare(payment_id or world.payment.payment_id)


def told(result: Reconciled) -> list[tuple[DifferenceKind, Outcome]]:
    return [(difference.kind, difference.outcome) for difference in result.differences]


def pointed_at(result: Reconciled) -> list[tuple[DifferenceKind, str]]:
    return [(difference.kind, difference.reference) for difference in result.differences]


async def paid(world: World, *, method: str = "bank_transfer") -> str:
    """The transaction that paid the order."""
    await world.opened()
    transaction = world.tries(Signal.SETTLED, method=method)
    await world.hear(transaction)
    return transaction


def changed(world: World, transaction: str, **fields: object) -> None:
    """The gateway's ledger says something else now."""
    was = world.gateway.transactions[transaction]
    world.gateway.transactions[transaction] = attrs.evolve(was, **fields)


# ── what differs ──────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_payment_that_is_right_costs_a_question_a_page_and_one_a_transaction(world: World) -> None:
    await paid(world)
    before = len(world.gateway.calls)
    result = await reconcile(world)
    assert result == Reconciled(world.payment.payment_id, 2, ())
    assert world.gateway.calls[before:] == ["read", "read"]


async def test_every_page_is_asked_about(world: World) -> None:
    await world.opened()
    world.gateway.buyer_tries(world.payment.attempt(1).token or "", Signal.DENIED)
    second = attrs.evolve(world.payment.attempt(1), number=2, provider_order_id="second", state=AttemptState.DEAD)
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(second)
    result = await reconcile(world)
    assert result.questions == 2 + 1, "two pages, and the try that the first one showed"


async def test_a_part_that_was_captured_is_no_difference(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.AUTHORIZED, method="card"))
    await world.service.operate.capture(world.payment.payment_id, rupiah(60_000), actor="olga")
    assert (world.status.value, told(await reconcile(world))) == ("success", [])


async def test_a_void_of_less_than_the_whole_is_a_difference(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.CAPTURED, method="card")
    await world.hear(transaction)
    nearly = attrs.evolve(world.payment.charges[0], cancel_asked=True, refunded_minor=10_000_000 - 1)
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_charge(nearly)
    world.gateway.becomes(transaction, Signal.CANCELLED)
    assert (STATUS, REPAIRED) in told(await reconcile(world))


async def test_a_payment_that_does_not_exist_differs_in_nothing(world: World) -> None:
    assert await reconcile(world, "nobody") == Reconciled("nobody", 0, ())
    assert world.gateway.calls == []


async def test_a_transaction_nobody_told_us_of_is_recorded(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    result = await reconcile(world)
    (difference,) = result.differences
    assert (difference.kind, difference.outcome) == (MISSING_HERE, REPAIRED)
    assert (difference.payment_id, difference.reference) == (world.payment.payment_id, transaction)
    assert world.status.value == "success"
    assert (await reconcile(world)).differences == (), "once it is right there is nothing to tell"


async def test_another_state_is_told_and_applied(world: World) -> None:
    """Told once, though the page shows it and the transaction too."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.SETTLED)
    result = await reconcile(world)
    assert (told(result), pointed_at(result)) == ([(STATUS, REPAIRED)], [(STATUS, transaction)])
    assert result.differences[0].what == "we have pending, the gateway says settled"
    assert world.status.value == "success"


async def test_a_state_the_table_does_not_believe_is_left_and_becomes_a_case(world: World) -> None:
    transaction = await paid(world)
    world.gateway.becomes(transaction, Signal.PENDING)
    assert told(await reconcile(world)) == [(STATUS, LEFT)]
    world.clock.move(timedelta(minutes=11))
    assert told(await reconcile(world)) == [(STATUS, CASE)]
    assert world.cases == ["contradiction"]


async def test_another_amount_is_a_case_and_names_what_differs(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    changed(world, transaction, amount=rupiah(1))
    result = await reconcile(world)
    assert (MISSING_HERE, REPAIRED) in told(result)
    again = await reconcile(world)
    assert (told(again), again.differences[0].what) == ([(AMOUNT, CASE)], "amount_mismatch")
    assert world.cases == ["amount_mismatch"]


async def test_an_amount_a_person_accepted_differs_no_more(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    changed(world, transaction, amount=rupiah(99_999))
    await world.hear(transaction)
    known = world.payment.charge(transaction)
    assert known is not None
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_charge(attrs.evolve(known, accepted=True))
    assert told(await reconcile(world)) == []


async def test_a_refund_made_in_a_dashboard_is_told_and_recorded(world: World) -> None:
    transaction = await paid(world)
    changed(world, transaction, refunded=rupiah(40_000))
    result = await reconcile(world)
    assert (told(result), pointed_at(result)) == ([(AMOUNT, REPAIRED)], [(AMOUNT, transaction)])
    assert world.status.value == "partially_refunded"


async def test_a_case_of_another_transaction_excuses_nothing(world: World) -> None:
    """What a person has is told apart from what nobody has."""
    await world.opened()
    other = world.tries(Signal.SETTLED)
    await world.hear(other)
    world.store.payments.rows[world.payment.payment_id] = with_cases(
        world.payment, case(CaseKind.SURPLUS_PAYMENT, transaction_id="another")
    )
    world.gateway.becomes(other, Signal.PENDING)
    assert told(await reconcile(world)) == [(STATUS, LEFT)]


async def test_money_the_gateway_does_not_know_is_left(world: World) -> None:
    transaction = await paid(world)
    del world.gateway.transactions[transaction]
    result = await reconcile(world)
    assert (told(result), pointed_at(result)) == ([(MISSING_THERE, LEFT)], [(MISSING_THERE, transaction)])
    assert result.differences[0].what == "we know it as settled"
    assert world.status.value == "success", "an absence proves nothing"


@pytest.mark.parametrize(("word", "is_told"), [(Signal.PENDING, True), (Signal.DENIED, False)])
async def test_a_try_the_gateway_forgot_matters_while_it_lives(world: World, word: Signal, is_told: bool) -> None:
    await world.opened()
    transaction = world.tries(word, method="card")
    await world.hear(transaction)
    del world.gateway.transactions[transaction]
    assert told(await reconcile(world)) == ([(MISSING_THERE, LEFT)] if is_told else [])


@attrs.define
class Odd(MemoryGateway):
    """Says a word nobody knows."""

    word: str | None = None

    def _read(self, transaction: object) -> Observation | None:
        answer = super()._read(transaction)  # type: ignore[arg-type]
        return attrs.evolve(answer, meaning=Unknown(self.word)) if answer and self.word else answer


async def test_a_word_nobody_knows_is_told_and_changes_nothing() -> None:
    gateway = Odd()
    world = World(gateway=gateway)
    transaction = await paid(world)
    gateway.word = "frozen_by_moonlight"
    changed(world, transaction, refunded=rupiah(100_000))
    result = await reconcile(world)
    assert (told(result), pointed_at(result)) == ([(UNKNOWN_WORD, LEFT)], [(UNKNOWN_WORD, transaction)])
    assert result.differences[0].what == "the gateway says 'frozen_by_moonlight'"
    assert world.status.value == "success"


async def test_a_void_we_asked_for_is_no_difference(world: World) -> None:
    """It is a refund of the whole here and a cancellation there: both are right."""
    await world.opened()
    transaction = world.tries(Signal.CAPTURED, method="card")
    await world.hear(transaction)
    await world.service.operate.cancel(world.payment.payment_id, actor="olga")
    assert world.gateway.transactions[transaction].words[-1] is Signal.CANCELLED
    assert world.status.value == "refunded"
    assert told(await reconcile(world)) == []


async def test_a_recheck_that_brings_no_answer_is_due_once_more(world: World) -> None:
    transaction = await paid(world)
    known = world.payment.charges[0]
    due = attrs.evolve(known, due=ChargeDue.RECHECK, check_at=world.clock.now(), recheck_after=world.clock.now())
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_charge(due)
    del world.gateway.transactions[transaction]
    await reconcile(world)
    again = world.payment.charges[0]
    assert (again.checks, again.check_at) == (1, world.clock.now() + RETRY_SCHEDULE[0])


async def test_money_the_bank_took_back_after_it_was_refunded_is_a_difference(world: World) -> None:
    transaction = await paid(world)
    await world.service.refund(world.payment.payment_id, None, None, actor="operator:o")
    world.gateway.becomes(transaction, Signal.DENIED)
    assert STATUS in {kind for kind, _ in told(await reconcile(world))}


async def test_money_on_a_try_that_we_asked_to_cancel_is_a_difference(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    asked = attrs.evolve(world.payment.charges[0], cancel_asked=True)
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_charge(asked)
    world.gateway.becomes(transaction, Signal.SETTLED)
    assert told(await reconcile(world)) == [(STATUS, REPAIRED)]


# ── a gateway that does not answer ────────────────────────────────────────────────────────────────────────────────────
async def test_while_the_gateway_is_away_nothing_is_known(world: World) -> None:
    transaction = await paid(world)
    world.gateway.unreachable = True
    result = await reconcile(world)
    page = world.payment.attempt(1).provider_order_id
    assert told(result) == [(UNREACHABLE, LEFT)] * 2
    assert pointed_at(result) == [(UNREACHABLE, page), (UNREACHABLE, transaction)]
    assert {difference.what for difference in result.differences} == {"gateway_error"}
    assert result.questions == 2


async def test_one_question_that_failed_leaves_the_others_their_answers(world: World) -> None:
    transaction = await paid(world)
    changed(world, transaction, refunded=rupiah(40_000))
    world.gateway.refused_calls = 1
    result = await reconcile(world)
    assert pointed_at(result) == [(UNREACHABLE, world.payment.attempt(1).provider_order_id), (AMOUNT, transaction)]
    assert world.status.value == "partially_refunded"


async def test_a_gateway_that_answers_in_a_later_round_was_reachable(world: World) -> None:
    """What is under way is finished in between, and then everything unanswered is asked once more."""
    await paid(world)
    world.gateway.refused_calls = 1
    await world.service.refund(world.payment.payment_id, None, None, actor="operator:o")
    world.gateway.refused_calls = 1
    result = await reconcile(world)
    assert UNREACHABLE not in {kind for kind, _ in told(result)}
    assert world.payment.refunds[0].state is RefundState.CONFIRMED
    assert len(world.gateway.refunds) == 1


@attrs.define
class Moody(MemoryGateway):
    """Refuses the first call of a refund."""

    moody: bool = True

    async def refund(self, refund: Refund) -> RefundReply:
        if self.moody:
            self.moody = False
            raise GatewayUnavailable("503")
        return await MemoryGateway.refund(self, refund)


async def test_a_step_that_failed_and_was_done_in_a_later_round_is_not_told() -> None:
    """The run is done: nothing is left that anybody has to look at."""
    world = World(gateway=Moody())
    transaction = await paid(world)
    asked = world.payment.with_refund(refund(RefundState.REQUESTED, transaction_id=transaction))
    world.store.payments.rows[world.payment.payment_id] = asked
    assert told(await reconcile(world)) == []
    assert world.payment.refunds[0].state is RefundState.CONFIRMED


async def test_an_opening_that_cannot_be_finished_is_told_by_its_page(world: World) -> None:
    world.order()
    world.gateway.unreachable = True
    with pytest.raises(GatewayUnavailable):
        await world.click()
    world.clock.move(LEASE)
    page = world.payment.attempt(1).provider_order_id
    assert pointed_at(await reconcile(world)) == [(UNREACHABLE, page), (UNFINISHED, page)]


# ── what is under way ─────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_deadline_that_has_passed_closes_the_page(world: World) -> None:
    await world.opened()
    world.clock.at = world.payment.deadline_at or world.clock.at
    await reconcile(world)
    assert (world.payment.attempts[0].state, world.status.value) == (AttemptState.DEAD, "expired")


async def test_a_deadline_to_come_is_left_alone(world: World) -> None:
    await world.opened()
    assert world.payment.deadline_at is not None
    world.clock.at = world.payment.deadline_at - timedelta(seconds=1)
    assert told(await reconcile(world)) == []
    assert world.payment.attempts[0].state is AttemptState.OPEN


async def test_an_opening_nobody_answered_is_finished(world: World) -> None:
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(Exception, match="no answer"):
        await world.click()
    assert world.payment.attempts[0].state is AttemptState.OPENING
    world.clock.move(LEASE)
    assert told(await reconcile(world)) == []
    assert world.payment.attempts[0].state is AttemptState.OPEN


async def test_a_page_in_doubt_is_asked_about_and_closed(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.EXPIRED)
    result = await reconcile(world)
    assert (MISSING_HERE, transaction) in pointed_at(result)
    assert UNFINISHED not in {kind for kind, _ in told(result)}
    assert world.payment.attempts[0].state is AttemptState.DEAD


async def test_a_doubt_about_a_page_is_settled_though_the_first_question_failed(world: World) -> None:
    """Its step asks again at once, and not at its time."""
    await world.opened()
    world.store.payments.rows[world.payment.payment_id] = with_page(world.payment, doubt=CloseReason.EXPIRED)
    world.gateway.refused_calls = 1
    assert told(await reconcile(world)) == []
    assert world.payment.attempts[0].doubt is None


async def test_a_closing_the_gateway_does_not_let_us_finish_is_told(world: World) -> None:
    await world.opened()
    world.clock.move(timedelta(hours=25))
    world.gateway.unreachable = True
    result = await reconcile(world)
    page = world.payment.attempts[0].provider_order_id
    assert (UNFINISHED, page) in pointed_at(result)
    assert (UNREACHABLE, page) in pointed_at(result)
    assert {difference.outcome for difference in result.differences} == {LEFT}


async def test_a_hold_nobody_took_is_captured_when_that_was_asked_for(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.AUTHORIZED, method="card"))
    world.gateway.refused_calls = 2
    with pytest.raises(Exception, match="503"):
        await world.service.operate.capture(world.payment.payment_id, None, actor="olga")
    assert world.payment.charges[0].due is ChargeDue.CAPTURE
    world.gateway.refused_calls = 0
    assert told(await reconcile(world)) == []
    assert (world.status.value, world.payment.charges[0].due) == ("success", None)


async def test_a_surplus_try_is_cancelled(world: World) -> None:
    """Another has paid; its cancellation was never sent."""
    await world.opened()
    other = world.tries(Signal.PENDING)
    await world.hear(other)
    await world.deliver(world.tries(Signal.SETTLED, method="card"))
    question = world.errands.waiting.popleft()
    await world.service.perform(question)
    world.errands.waiting.clear()
    assert (world.payment.charge(other) or charge()).due is ChargeDue.CANCEL
    assert told(await reconcile(world)) == []
    assert world.gateway.transactions[other].words[-1] is Signal.CANCELLED


@pytest.mark.parametrize("state", [RefundState.REQUESTED, RefundState.UNKNOWN])
async def test_a_refund_without_an_answer_is_sent_under_its_key_and_found(world: World, state: RefundState) -> None:
    await paid(world)
    world.gateway.refused_calls = 9
    await world.service.refund(world.payment.payment_id, None, None, actor="operator:o")
    world.gateway.refused_calls = 0
    (known,) = world.payment.refunds
    stored = world.payment.with_refund(attrs.evolve(known, state=state))
    world.store.payments.rows[world.payment.payment_id] = stored
    assert told(await reconcile(world)) == []
    assert world.payment.refunds[0].state is RefundState.CONFIRMED
    assert [*world.gateway.refunds] == [known.key]


async def test_a_refund_its_bank_works_on_is_left_alone(world: World) -> None:
    transaction = await paid(world)
    sent = world.payment.with_refund(refund(RefundState.SENT, transaction_id=transaction))
    world.store.payments.rows[world.payment.payment_id] = sent
    result = await reconcile(world)
    assert (told(result), result.questions) == ([], 2)
    assert "refund" not in world.gateway.calls


async def test_a_notification_that_waits_gets_its_answer(world: World) -> None:
    """Its question was never asked; it is asked beside the page and the transaction."""
    await world.opened()
    await world.deliver(world.tries(Signal.SETTLED))
    world.errands.waiting.clear()
    await reconcile(world)
    (kept,) = world.store.inbox.rows.values()
    assert (kept.verdict, world.status.value) == (Verdict.APPLIED, "success")


async def test_a_notification_the_gateway_does_not_bear_out_is_told(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.deliver(transaction, status="settled")
    world.errands.waiting.clear()
    result = await reconcile(world)
    assert (UNFINISHED, world.payment.payment_id) in pointed_at(result)
    assert world.payment.paid_by is None


async def test_three_rounds_are_enough_or_it_is_told(world: World) -> None:
    """A notification that is never borne out is asked about once a round."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    await world.deliver(transaction, status="settled")
    world.errands.waiting.clear()
    before = world.gateway.calls.count("read")
    result = await reconcile(world)
    assert result.questions == 2 + 3, "page and transaction once, the notification three times"
    assert world.gateway.calls.count("read") - before == result.questions


# ── what goes wrong on the way ────────────────────────────────────────────────────────────────────────────────────────
async def in_trouble(world: World, monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> Reconciled:
    """A refund to be sent, by a step that ends in this."""
    await paid(world)
    world.gateway.refused_calls = 9
    await world.service.refund(world.payment.payment_id, None, None, actor="operator:o")
    world.gateway.refused_calls = 0

    async def attend(self: Sweep, due: Due) -> None:  # noqa: ARG001 - in its place
        raise trouble

    monkeypatch.setattr(Sweep, "attend", attend)
    return await reconcile(world)


async def test_a_step_somebody_else_is_at_is_unfinished(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    result = await in_trouble(world, monkeypatch, Busy("somebody is at it"))
    assert pointed_at(result) == [(UNFINISHED, world.payment.refunds[0].key)]
    assert result.differences[0].what == "busy", "what was found first"


async def test_a_store_that_is_away_ends_the_reconciliation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageUnavailable):
        await in_trouble(world, monkeypatch, StorageUnavailable("the database is gone"))


async def test_a_step_about_the_whole_payment_is_told_by_the_payment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.opened()
    world.clock.at = world.payment.deadline_at or world.clock.at
    kinds: list[DueKind] = []

    async def attend(self: Sweep, due: Due) -> None:  # noqa: ARG001 - in its place
        kinds.append(due.kind)
        raise Busy("somebody is at it")

    monkeypatch.setattr(Sweep, "attend", attend)
    result = await reconcile(world)
    assert pointed_at(result) == [(UNFINISHED, world.payment.payment_id)]
    assert kinds == [DueKind.DEADLINE] * 3


# ── what has no outcome ───────────────────────────────────────────────────────────────────────────────────────────────
PAGE_ID = PAGE.attempt(1).provider_order_id


@pytest.mark.parametrize(
    ("payment", "left"),
    [
        (PAGE, []),
        (with_page(PAGE, state=AttemptState.OPENING), [(PAGE_ID, "the page is opening")]),
        (with_page(PAGE, state=AttemptState.CLOSING), [(PAGE_ID, "the page is closing")]),
        (with_page(PAGE, doubt=CloseReason.EXPIRED), [(PAGE_ID, "the page is open")]),
        (with_page(PAGE, state=AttemptState.DEAD), []),
        (with_page(PAGE, state=AttemptState.SPENT), []),
        *(
            (
                PAGE.with_charge(charge(ChargeState.AUTHORIZED, due=due)),
                [("tx", f"{due.value} was asked for, and has no outcome")],
            )
            for due in (ChargeDue.CAPTURE, ChargeDue.APPROVE, ChargeDue.DENY, ChargeDue.CANCEL)
        ),
        (PAGE.with_charge(charge(due=ChargeDue.RECHECK)), []),
        (PAGE.with_charge(charge()), []),
        *(
            (PAGE.with_refund(refund(state)), [("k-1", f"the refund is {state.value}")] if told else [])
            for state, told in [
                (RefundState.REQUESTED, True),
                (RefundState.UNKNOWN, True),
                (RefundState.SENT, False),
                (RefundState.CONFIRMED, False),
                (RefundState.REFUSED, False),
                (RefundState.RETURNED, False),
            ]
        ),
    ],
)
def test_what_has_no_outcome_is_left_behind(payment: Payment, left: list[tuple[str, str]]) -> None:
    assert [*left_behind(payment)] == left
