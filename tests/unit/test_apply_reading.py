"""Asking, and applying what was answered: what becomes of each waiting hint."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Confirm, GatewayTraits, Reading, Signal, Verdict
from payments_core.errors import NotFound
from payments_core.limits import LEASE, REFUTE_AFTER
from payments_core.observations import Observation
from payments_core.ports import Kept
from payments_core.states import ENDED, ChargeState
from payments_core.testing import samples
from payments_core.testing.samples import LATER, NOW
from payments_core.use_cases.apply_reading import _ask_again, _judge, _shows, _verdict
from unit.values import PAGE, PAID, charge, says
from unit.world import World, rupiah


def kept(**more: object) -> Kept:
    values = {"notification": samples.notification(), "verdict": Verdict.WAITING, "reason": "", **more}
    return Kept(**values)  # type: ignore[arg-type]


# ── the verdict on one hint ───────────────────────────────────────────────────────────────────────────────────────────
def test_a_hint_the_reading_bears_out_was_right() -> None:
    assert _verdict(PAID, says(Signal.SETTLED)) == (Verdict.APPLIED, "the gateway confirms it")
    assert _verdict(PAID, says(Signal.PENDING)) == (Verdict.STALE, "the gateway has moved on")
    assert _verdict(PAGE, says(Signal.SETTLED))[0] is Verdict.STALE, "no such charge"


def test_a_hint_about_another_amount_is_true_but_a_case() -> None:
    page = PAGE.with_attempt(attrs.evolve(PAGE.attempt(1), merchant_id="G1"))
    odd = says(Signal.SETTLED, amount=rupiah(1), merchant_id="G2")
    assert _verdict(page, odd) == (Verdict.QUARANTINED, "amount_mismatch, merchant_mismatch")
    assert _verdict(PAID, says(Signal.SETTLED, provider_order_id="foreign"))[0] is Verdict.APPLIED


@pytest.mark.parametrize("state", [s for s in ChargeState if s is not ChargeState.UNSEEN])
@pytest.mark.parametrize("signal", Signal)
def test_a_state_shows_its_own_word_and_an_end_every_end(state: ChargeState, signal: Signal) -> None:
    """Which of the ends it was is history, not money; a reversal was a void or a denial."""
    if state is ChargeState.REVERSED:
        shown = signal in (Signal.DENIED, Signal.CANCELLED)
    else:
        shown = signal.value == state.value or {state, ChargeState(signal.value)} <= ENDED
    assert _shows(state, signal) is shown


def test_a_hint_that_is_answered_is_due_no_more() -> None:
    waiting = kept(check_at=LATER)
    judged = _judge(PAID, waiting, says(Signal.SETTLED), NOW, may_lag=True)
    assert judged == attrs.evolve(waiting, verdict=Verdict.APPLIED, reason="the gateway confirms it", check_at=None)


@pytest.mark.parametrize("may_lag", [True, False])
def test_a_hint_the_reading_is_behind_is_asked_about_later_each_time(may_lag: bool) -> None:
    for tries, pause in enumerate(REFUTE_AFTER):
        again = _judge(PAGE, kept(tries=tries), says(Signal.SETTLED), NOW, may_lag=may_lag)
        assert (again.verdict, again.tries, again.check_at) == (Verdict.WAITING, tries + 1, NOW + pause)


@pytest.mark.parametrize("beyond", [0, 1, 7])
def test_a_hint_is_refuted_after_the_schedule_and_the_lag(beyond: int) -> None:
    tired = kept(tries=len(REFUTE_AFTER) + beyond, check_at=NOW)
    lagging = _ask_again(tired, NOW, may_lag=True)
    assert (lagging.verdict, lagging.check_at) == (Verdict.WAITING, NOW + REFUTE_AFTER[-1])
    refuted = _ask_again(tired, NOW, may_lag=False)
    assert (refuted.verdict, refuted.tries, refuted.check_at) == (Verdict.REFUTED, tired.tries + 1, None)
    assert refuted.reason.startswith(f"asked {tired.tries + 1} times")


# ── over a gateway ────────────────────────────────────────────────────────────────────────────────────────────────────
def row(world: World) -> Kept:
    (only,) = world.store.inbox.rows.values()
    return only


async def test_a_waiting_hint_is_due_within_a_lease_and_carries_its_question(world: World) -> None:
    await world.opened()
    await world.deliver(world.tries(Signal.SETTLED))
    waiting = row(world)
    assert (waiting.verdict, waiting.asked, waiting.check_at) == (Verdict.WAITING, 1, world.clock.now() + LEASE)
    assert world.payment.reading_number == 1


async def test_an_answered_hint_carries_its_verdict(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED))
    assert (row(world).verdict, row(world).check_at) == (Verdict.APPLIED, None)


async def test_a_hint_that_waits_again_takes_a_new_number(world: World) -> None:
    """Only an answer to a question asked after it may answer it."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    world.gateway.becomes(transaction, Signal.SETTLED)
    world.gateway.lag = 1
    await world.hear(transaction)
    waiting = row(world)
    assert (waiting.verdict, waiting.tries, waiting.asked) == (Verdict.WAITING, 1, 2)
    assert waiting.check_at == world.clock.now() + REFUTE_AFTER[0]
    assert world.payment.reading_number == 2


async def test_an_answer_serves_a_hint_that_came_with_its_very_question(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.deliver(transaction)
    page = world.payment.attempt(1)
    asked = row(world).asked
    for number, verdict in ((asked - 1, Verdict.WAITING), (asked, Verdict.APPLIED)):
        answer = await world.gateway.read(transaction)
        reading = Reading(
            number=number, asked_at=world.clock.now(), attempt=page.number, transaction_id=transaction, answer=answer
        )
        await world.service.perform.ask.apply(world.payment.payment_id, reading)
        assert row(world).verdict is verdict


async def test_a_404_for_a_transaction_leaves_its_hint_waiting(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.deliver(transaction)
    world.gateway.transactions.clear()
    await world.do_errands()
    assert (row(world).verdict, row(world).tries) == (Verdict.WAITING, 1)


async def test_what_a_gateway_said_is_its_deed_in_the_history(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED))
    paid = [e for e in world.store.payments.events[world.payment.payment_id] if e.type.value == "payment.paid"]
    assert [event.actor for event in paid] == ["gateway:memory"]


async def test_a_payment_that_is_not_there_has_no_numbers(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        await world.service.perform.ask.take_number("nobody")
    assert caught.value.code == "no_payment"


async def test_a_charge_nobody_knows_is_not_asked_about(world: World) -> None:
    await world.opened()
    assert await world.service.perform.ask.charge_now(world.payment, "nobody") is None
    assert "read" not in world.gateway.calls


async def test_an_answer_for_a_payment_that_is_not_there_changes_nothing(world: World) -> None:
    reading = Reading(number=1, asked_at=NOW, attempt=1, transaction_id="tx", answer=None)
    assert await world.service.perform.ask.apply("nobody", reading) is None


# ── whose transaction it is ───────────────────────────────────────────────────────────────────────────────────────────
async def told(world: World, answer: Observation) -> None:
    reading = Reading(
        number=9, asked_at=world.clock.now(), attempt=1, transaction_id=answer.transaction_id, answer=answer
    )
    await world.service.perform.ask.apply(world.payment.payment_id, reading)


def answer_of(**more: object) -> Observation:
    """BI-SNAP: the reply's order id holds the transaction id."""
    return says(Signal.SETTLED, provider="memory", provider_order_id="tx", **more)


async def test_an_answer_without_our_order_id_is_used_for_a_transaction_of_this_payment(world: World) -> None:
    await world.opened()
    await told(world, answer_of())
    assert world.payment.paid_by == "tx"


async def test_an_answer_that_names_another_order_of_the_shop_is_never_used(world: World) -> None:
    await world.opened()
    await told(world, answer_of(shop_order_id="o-2"))
    assert world.payment.charges == ()
    await told(world, answer_of(shop_order_id="o-1"))
    assert world.payment.paid_by == "tx"


async def test_a_transaction_bound_to_another_payment_is_never_used(world: World) -> None:
    await world.opened()
    await told(world, answer_of())
    first = world.payment
    world.order("o-2")
    await world.click("o-2")
    second = next(p for p in world.store.payments.rows.values() if p.payment_id != first.payment_id)
    reading = Reading(number=9, asked_at=NOW, attempt=1, transaction_id="tx", answer=answer_of())
    await world.service.perform.ask.apply(second.payment_id, reading)
    assert world.store.payments.rows[second.payment_id].charges == ()


async def test_with_signed_words_a_hint_within_the_lag_is_not_refuted_and_after_it_is() -> None:
    """The lag is counted from when the hint came."""
    lag = timedelta(hours=2)
    world = World(traits=GatewayTraits(confirm=Confirm.SIGNATURE, status_lag=lag))
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    await world.hear(transaction, status="expired")
    await world.pass_time(lag - timedelta(minutes=1))
    verdicts = {k.verdict for k in world.store.inbox.rows.values()}
    assert Verdict.WAITING in verdicts
    await world.pass_time(timedelta(minutes=30))
    assert Verdict.REFUTED in {k.verdict for k in world.store.inbox.rows.values()}


def test_a_hint_of_a_part_that_was_captured_was_right() -> None:
    """What we know of the charge says that less than the whole is no mismatch."""
    part = charge(captured_minor=6_000_000, amount=rupiah(60_000), authorized_by_reading=True)
    assert _verdict(PAID.with_charge(part), says(Signal.SETTLED, amount=rupiah(60_000)))[0] is Verdict.APPLIED


async def test_an_answer_about_one_transaction_leaves_the_hints_of_another_waiting(world: World) -> None:
    await world.opened()
    first, second = world.tries(Signal.PENDING), world.tries(Signal.DENIED)
    for transaction in (first, second):
        await world.deliver(transaction)
    await told(world, says(Signal.PENDING, first, provider="memory", provider_order_id=_order_id(world)))
    answered = {k.notification.transaction_id: (k.verdict, k.tries) for k in world.store.inbox.rows.values()}
    assert answered == {first: (Verdict.APPLIED, 0), second: (Verdict.WAITING, 0)}


def _order_id(world: World) -> str:
    return world.payment.attempt(1).provider_order_id


@pytest.mark.parametrize(("by_transaction", "tries"), [(True, 1), (False, 0)])
async def test_an_answer_that_is_not_ours_answers_the_hint_that_asked_for_it_and_no_other(
    world: World, by_transaction: bool, tries: int
) -> None:
    """A hint whose question is answered with somebody else's order is asked about again; a page's answer is none."""
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.deliver(transaction)
    foreign = says(Signal.SETTLED, transaction, provider="memory", provider_order_id="theirs", shop_order_id="o-9")
    reading = Reading(
        number=9,
        asked_at=world.clock.now(),
        attempt=1,
        transaction_id=transaction if by_transaction else None,
        answer=foreign,
    )
    await world.service.perform.ask.apply(world.payment.payment_id, reading)
    assert (row(world).verdict, row(world).tries) == (Verdict.WAITING, tries)
    assert world.payment.charges == ()


async def test_a_hint_that_asked_later_does_not_stand_in_the_way_of_one_that_asked_before(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    for number in (1, 2):
        await world.deliver(transaction, padding=number)
    first, second = world.store.inbox.rows.values()
    world.store.inbox.rows[first.notification.key] = attrs.evolve(first, asked=99)
    await told(world, says(Signal.SETTLED, transaction, provider="memory", provider_order_id=_order_id(world)))
    verdicts = {key: kept.verdict for key, kept in world.store.inbox.rows.items()}
    assert verdicts == {first.notification.key: Verdict.WAITING, second.notification.key: Verdict.APPLIED}
