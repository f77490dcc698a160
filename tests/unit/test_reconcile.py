"""Reconciliation names what differs from the gateway, and repairs it the way of every answer."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Observation, Signal
from payments_core.errors import GatewayUnavailable
from payments_core.limits import LEASE, RETRY_SCHEDULE
from payments_core.observations import Unknown
from payments_core.payment import AttemptState, ChargeDue, Refund, RefundState
from payments_core.ports import RefundReply
from payments_core.states import CaseKind
from payments_core.use_cases.reconcile import Reconciled
from payments_core_memory import MemoryGateway
from unit.reconciling import (
    AMOUNT,
    CASE,
    LEFT,
    MISSING_HERE,
    MISSING_THERE,
    REPAIRED,
    STATUS,
    UNFINISHED,
    UNKNOWN_WORD,
    UNREACHABLE,
    changed,
    paid,
    pointed_at,
    reconcile,
    told,
)
from unit.values import case, refund, with_cases
from unit.world import World, rupiah


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
    changed(world, transaction, amount=rupiah(1))
    assert told(await reconcile(world)) == [(AMOUNT, CASE)], "another than was accepted does"


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
    whats = {difference.what for difference in result.differences}
    assert whats == {"gateway_error: 503"}, "a wrong key is known by the gateway's own words alone"
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
