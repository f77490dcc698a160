"""Reconciliation takes the next step of what is under way at once, and tells what is left."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Payment, Signal
from payments_core.decide import Verdict
from payments_core.errors import Busy, StorageUnavailable
from payments_core.limits import LEASE
from payments_core.payment import AttemptState, ChargeDue, CloseReason, RefundState
from payments_core.ports import Due, DueKind
from payments_core.states import ChargeState
from payments_core.use_cases.reconcile import Reconciled, left_behind
from payments_core.use_cases.sweep import Sweep
from unit.reconciling import LEFT, MISSING_HERE, UNFINISHED, UNREACHABLE, paid, pointed_at, reconcile, told
from unit.values import PAGE, charge, refund, with_page
from unit.world import World


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
