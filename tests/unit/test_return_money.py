"""Giving money back: bounded, under one key, known to be unknown while nobody knows."""

import asyncio
import contextlib
import random
from datetime import datetime, timedelta

import attrs
import pytest

from harness.soak import size
from payments_core import GatewayTraits, Money, Observation, Payment, Policy, Signal
from payments_core.errors import AmountNotRepresentable, Conflict, GatewayUnavailable, InvalidInput, NotFound
from payments_core.observations import RefundNews, RefundReport
from payments_core.payment import AttemptState, CaseDecision, Refund, RefundState
from payments_core.policy import LatePayment, RefundRule
from payments_core.ports import RefundReply, Refused, Waiting
from payments_core.returns import hear_refunds, plan_refund, refund_refused, refund_sent
from payments_core.states import ChargeState
from payments_core.testing.samples import LATER
from payments_core.use_cases import return_money
from payments_core.use_cases.saving import Desk
from payments_core_memory import MemoryGateway
from unit.values import PAID, SENT_ENOUGH, says
from unit.values import refund as refund_row
from unit.world import IDR, World, rupiah

PRICE = 100_000
HOUR = timedelta(hours=1)


async def paid(world: World, outcome: Signal = Signal.SETTLED, *, method: str = "card") -> str:
    """The transaction that paid the order."""
    await world.opened()
    transaction = world.tries(outcome, method=method)
    await world.hear(transaction)
    assert world.status.value == "success"
    return transaction


async def refund(world: World, whole: int | None = None, *, asked_as: str | None = None) -> Refund:
    amount = None if whole is None else rupiah(whole)
    _, made = await world.service.refund(
        world.payment.payment_id, amount, "torn", actor="operator:olivia", asked_as=asked_as
    )
    return made


def given_back(world: World, transaction: str) -> int:
    """Whole rupiah, in the gateway's ledger."""
    return world.gateway.transactions[transaction].refunded.amount_minor // 100


async def test_a_part_and_then_the_rest(world: World) -> None:
    transaction = await paid(world)
    part = await refund(world, 30_000)
    assert (part.state, part.key) == (RefundState.CONFIRMED, f"{world.payment.payment_id}-r1")
    assert world.status.value == "partially_refunded"
    rest = await refund(world)
    assert (rest.amount, rest.state) == (rupiah(70_000), RefundState.CONFIRMED)
    assert world.status.value == world.shop_order().status.value == "refunded"
    assert given_back(world, transaction) == PRICE
    assert world.stock == 8, "a refund never moves stock"
    assert world.history.count("payment.refunded") == world.history.count("refund.requested") == 2


async def test_never_more_than_is_left(world: World) -> None:
    transaction = await paid(world)
    await refund(world, 60_000)
    with pytest.raises(Conflict) as refused:
        await refund(world, 40_001)
    assert refused.value.code == "exceeds_refundable"
    await refund(world, 40_000)
    with pytest.raises(Conflict) as refused:
        await refund(world)
    assert refused.value.code == "nothing_left"
    assert given_back(world, transaction) == PRICE


async def test_refunds_made_in_the_dashboard_count(world: World) -> None:
    transaction = await paid(world)
    was = world.gateway.transactions[transaction]
    world.gateway.transactions[transaction] = attrs.evolve(was, refunded=rupiah(80_000))
    await world.hear(transaction)
    assert world.status.value == "partially_refunded"
    with pytest.raises(Conflict) as refused:
        await refund(world, 30_000)
    assert refused.value.code == "exceeds_refundable"


async def test_charge_backs_reduce_what_can_be_given_back(world: World) -> None:
    transaction = await paid(world)
    charge = world.payment.charge(transaction)
    assert charge is not None
    taken = world.payment.with_charge(attrs.evolve(charge, charged_back_minor=rupiah(90_000).amount_minor))
    world.store.payments.rows[taken.payment_id] = taken
    with pytest.raises(Conflict) as refused:
        await refund(world, 20_000)
    assert refused.value.code == "exceeds_refundable"


@pytest.mark.parametrize("amount", [0, -1])
async def test_an_amount_that_is_none_is_refused(world: World, amount: int) -> None:
    await paid(world)
    with pytest.raises(InvalidInput):
        await refund(world, amount)
    assert world.payment.refunds == ()


async def test_what_was_not_paid_is_not_given_back(world: World) -> None:
    await world.opened()
    with pytest.raises(Conflict) as refused:
        await refund(world)
    assert refused.value.code == "not_paid"
    with pytest.raises(NotFound):
        await world.service.refund("0" * 26, None, None, actor="operator:olivia")


async def test_a_lost_answer_is_unknown_and_found_again_under_the_same_key(world: World) -> None:
    """The gateway did it and did not say so: sending it again must not pay twice (A3)."""
    transaction = await paid(world)
    world.gateway.lost_answers = 1
    made = await refund(world, 30_000)
    assert made.state is RefundState.UNKNOWN
    with pytest.raises(Conflict):
        await refund(world, 70_001)
    await world.pass_time(HOUR)
    found = world.payment.refund(made.key)
    assert found is not None
    assert found.state is RefundState.CONFIRMED
    assert given_back(world, transaction) == 30_000
    assert world.status.value == "partially_refunded"


async def test_a_call_that_never_arrived_is_sent_again(world: World) -> None:
    transaction = await paid(world)
    world.gateway.refused_calls = 1
    made = await refund(world, 30_000)
    assert made.state is RefundState.UNKNOWN
    await world.pass_time(HOUR)
    assert given_back(world, transaction) == 30_000
    assert world.payment.refunds[0].state is RefundState.CONFIRMED


async def test_while_nobody_can_tell_it_stays_unknown_and_becomes_a_case(world: World) -> None:
    """Never failed by time alone (A4), and asked about for a bounded time."""
    await paid(world)
    world.gateway.unreachable = True
    made = await refund(world, 30_000)
    await world.pass_time(timedelta(hours=31))
    assert world.cases == []
    await world.pass_time(timedelta(hours=1))
    assert world.cases == ["outcome_unknown"]
    await world.pass_time(timedelta(days=9))
    asked = len(world.gateway.calls)
    await world.pass_time(timedelta(days=9))
    assert len(world.gateway.calls) == asked
    found = world.payment.refund(made.key)
    assert found is not None
    assert found.state is RefundState.UNKNOWN


async def test_a_refusal_changes_nothing_but_the_record(world: World) -> None:
    await paid(world)
    world.gateway.refuse_operations = True
    made = await refund(world, 30_000)
    assert (made.state, made.refused) == (RefundState.REFUSED, "414: refused")
    assert (world.status.value, world.cases) == ("success", []), "who asked knows it already"
    world.gateway.refuse_operations = False
    assert (await refund(world)).amount == rupiah(PRICE), "what was refused is left"


async def test_a_refusal_is_no_last_word_while_the_refund_is_sent_once_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow call is overtaken by the next one under the same key, which the bank takes: it went back, once."""
    transaction = await paid(world)
    sends, refused, given = MemoryGateway.refund, asyncio.Event(), asyncio.Event()
    calls = 0

    async def one_after_the_other(gateway: MemoryGateway, made: Refund) -> RefundReply:
        nonlocal calls
        calls += 1
        if calls == 1:
            await given.wait()
            return Refused(("the bank says no",))
        reply = await sends(gateway, made)
        given.set()
        await refused.wait()
        return reply

    monkeypatch.setattr(MemoryGateway, "refund", one_after_the_other)
    first = asyncio.create_task(refund(world, 30_000))
    while calls == 0:  # noqa: ASYNC110 - it is a task of ours that gets there
        await asyncio.sleep(0)
    again = asyncio.create_task(world.service.refund.step(world.payment.payment_id, f"{world.payment.payment_id}-r1"))
    await first
    refused.set()
    await again
    assert [made.state for made in world.payment.refunds] == [RefundState.CONFIRMED]
    assert given_back(world, transaction) == 30_000


async def test_what_was_refused_meanwhile_is_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second finds the answer of the first."""
    await paid(world)

    def answered(payment: Payment, key: str, now: datetime) -> Payment:
        return refund_refused(payment, key, "the bank says no", False, now)

    monkeypatch.setattr(return_money, "refund_sent", answered)
    assert (await refund(world, 30_000)).state is RefundState.REFUSED
    assert "refund" not in world.gateway.calls


async def test_a_bank_that_takes_its_time_is_waited_for(world: World) -> None:
    await paid(world)
    world.gateway.refunds_wait = True
    made = await refund(world, 30_000)
    assert made.state is RefundState.CONFIRMED, "the reading shows it"


async def test_the_same_request_again_finds_its_refund(world: World) -> None:
    transaction = await paid(world)
    first = await refund(world, 30_000, asked_as="request-1")
    again = await refund(world, 30_000, asked_as="request-1")
    other = await refund(world, 30_000, asked_as="request-2")
    assert first.key == again.key != other.key
    assert given_back(world, transaction) == 60_000


async def test_captured_money_is_voided_as_a_whole_and_not_in_parts(world: World) -> None:
    transaction = await paid(world, Signal.CAPTURED)
    with pytest.raises(Conflict) as refused:
        await refund(world, 30_000)
    assert refused.value.code == "not_settled_yet"
    made = await refund(world)
    assert world.gateway.transactions[transaction].words[-1] is Signal.CANCELLED
    assert (world.status.value, world.payment.paid_by) == ("refunded", transaction)
    found = world.payment.refund(made.key)
    assert found is not None
    assert found.state is RefundState.CONFIRMED
    assert world.cases == [], "a void we asked for is no reversal"


async def test_a_void_that_came_too_late_goes_on_as_a_refund(world: World) -> None:
    transaction = await paid(world, Signal.CAPTURED)
    world.gateway.unreachable = True
    await refund(world)
    world.gateway.unreachable = False
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.pass_time(HOUR)
    assert given_back(world, transaction) == PRICE
    assert world.status.value == "refunded"


RULES = {"card": RefundRule(timedelta(days=30)), "ovo": RefundRule(timedelta(days=7), partial=False)}


@pytest.mark.parametrize(
    ("method", "whole", "days"), [("bank_transfer", None, 0), ("ovo", 50_000, 0), ("ovo", None, 8), ("card", 1, 31)]
)
async def test_what_the_method_cannot_do_is_done_by_hand(method: str, whole: int | None, days: int) -> None:
    world = World(traits=GatewayTraits(refunds=RULES))
    transaction = await paid(world, method=method)
    charge = world.payment.charge(transaction)
    assert charge is not None
    dated = world.payment.with_charge(attrs.evolve(charge, occurred_at=world.clock.now()))
    world.store.payments.rows[dated.payment_id] = dated
    world.clock.move(timedelta(days=days))
    with pytest.raises(Conflict) as refused:
        await refund(world, whole)
    assert refused.value.code == "return_by_hand"
    assert world.payment.refunds == ()


async def test_a_refund_before_a_reversal_is_not_lost_with_it(world: World) -> None:
    """The answer was lost, then the bank took the rest back: what was given back is known all the same."""
    transaction = await paid(world)
    world.gateway.lost_answers = 1
    made = await refund(world, 30_000)
    world.gateway.becomes(transaction, Signal.DENIED)
    await world.hear(transaction)
    await world.pass_time(HOUR)
    charge, found = world.payment.charge(transaction), world.payment.refund(made.key)
    assert charge is not None
    assert found is not None
    assert (charge.refunded_minor, charge.reversed_minor) == (3_000_000, 7_000_000)
    assert found.state is RefundState.CONFIRMED
    assert world.payment.paid_by is None


# ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def surplus(world: World) -> str:
    """A second payment on the page of a paid order."""
    await world.opened()
    first, second = world.tries(Signal.PENDING), world.tries(Signal.SETTLED, method="card")
    await world.hear(first)
    world.gateway.becomes(first, Signal.SETTLED)
    await world.hear(first)
    await world.hear(second)
    assert world.cases == ["surplus_payment"]
    assert world.payment.paid_by == first
    return second


async def decide(world: World, decision: CaseDecision, number: int = 1, note: str = "because") -> Payment:
    return await world.service.operate.resolve(
        world.payment.payment_id, number, decision, note, actor="operator:olivia"
    )


async def test_a_surplus_payment_is_returned_and_its_case_closes_with_the_money(world: World) -> None:
    second = await surplus(world)
    await decide(world, CaseDecision.RETURN)
    await world.do_errands()
    assert given_back(world, second) == PRICE
    assert world.cases == []
    assert world.payment.cases[0].decided_by == "operator:olivia"
    assert world.status.value == "success", "the keeping charge stays"


async def test_what_cannot_be_returned_becomes_a_case_by_hand_that_an_operator_closes() -> None:
    world = World(traits=GatewayTraits(refunds={}))
    second = await surplus(world)
    await decide(world, CaseDecision.RETURN)
    await world.do_errands()
    assert world.cases == ["surplus_payment", "return_by_hand"]
    await decide(world, CaseDecision.RETURN, 2, "transfer 4711")
    charge = world.payment.charge(second)
    assert charge is not None
    assert charge.left_minor == 0
    assert world.cases == []
    assert world.payment.refunds[-1].reason == "transfer 4711"


async def test_a_surplus_payment_on_its_way_back_is_not_kept_when_the_first_is_reversed(world: World) -> None:
    """Goods would be sent for money that arrives at the buyer's."""
    second = await surplus(world)
    first = world.payment.paid_by or ""
    await decide(world, CaseDecision.RETURN)
    world.gateway.becomes(first, Signal.DENIED)
    await world.deliver(first)
    await world.service.refresh(world.payment.payment_id, actor="operator:olivia")
    assert (world.payment.paid_by, world.shop_order().status.value) == (None, "pending")
    await world.do_errands()
    assert given_back(world, second) == PRICE
    assert (world.payment.paid_by, world.cases, world.stock) == (None, ["reversed"], 8)
    assert world.history.count("order.paid") == 1


async def test_a_surplus_payment_that_nobody_could_return_is_kept_after_all(world: World) -> None:
    second = await surplus(world)
    first = world.payment.paid_by or ""
    await decide(world, CaseDecision.RETURN)
    world.gateway.refuse_operations = True
    await world.do_errands()
    world.gateway.becomes(first, Signal.DENIED)
    await world.hear(first)
    assert (world.payment.paid_by, world.cases) == (None, ["surplus_payment", "return_by_hand", "reversed"])
    await decide(world, CaseDecision.DISMISS, 2)
    assert (world.payment.paid_by, world.status.value) == (second, "success")


async def test_the_policy_may_return_late_and_surplus_money_by_itself() -> None:
    world = World(policy=Policy(late_payment=LatePayment.REOPEN_OR_REFUND))
    await world.opened()
    first = world.tries(Signal.PENDING)
    second = world.tries(Signal.SETTLED, method="card")
    await world.hear(first)
    world.gateway.becomes(first, Signal.SETTLED)
    await world.hear(first)
    await world.hear(second)
    assert given_back(world, second) == PRICE
    assert world.cases == []
    assert world.payment.cases[0].decided_by == "policy"


@pytest.mark.parametrize("policy", LatePayment)
async def test_late_money_for_goods_that_are_gone(policy: LatePayment) -> None:
    world = World(policy=Policy(late_payment=policy))
    await world.opened()
    account = world.tries(Signal.PENDING)
    await world.hear(account)
    world.gateway.becomes(account, Signal.EXPIRED)
    await world.hear(account)
    world.order("o-2", units=10)
    world.gateway.becomes(account, Signal.SETTLED)
    await world.hear(account)
    late = world.store.payments.rows[world.shop_order("o-1").payment_id or ""]
    if policy is LatePayment.REOPEN_OR_REFUND:
        assert given_back(world, account) == PRICE
        assert not late.open_cases
    else:
        assert given_back(world, account) == 0
        assert [case.kind.value for case in late.open_cases] == ["late_payment"]
    assert world.shop_order("o-1").status.value == "cancelled"


async def test_sixteen_clients_never_get_more_than_was_taken_in_any_interleaving() -> None:
    """A5: partial refunds of random amounts, in another order each time; exact to the minor unit."""
    tries = size(10_000, usually=100)
    for number in range(tries):
        dice = random.Random(number)  # noqa: S311 - a test repeats
        world = World()
        await paid(world)
        taken = world.payment.owed.amount_minor

        async def client(world: World = world, dice: random.Random = dice, taken: int = taken) -> None:
            for _ in range(dice.randrange(8)):
                await asyncio.sleep(0)
            with contextlib.suppress(Conflict):
                await world.service.refund(
                    world.payment.payment_id, Money(dice.randrange(1, taken // 4), IDR), None, actor="operator:olivia"
                )

        await asyncio.gather(*(client() for _ in range(16)))
        given = sum(refund.amount.amount_minor for refund in world.gateway.refunds.values())
        assert 0 < given == world.payment.charges[0].refunded_minor <= taken
    print(f"{tries} interleavings of partial refunds by 16 clients: never more than was taken")


# ── a step at a time ──────────────────────────────────────────────────────────────────────────────────────────────────
async def test_the_history_names_who_asked_for_the_money_back(world: World) -> None:
    await paid(world)
    made = await refund(world)
    events = [e for e in world.store.payments.events[world.payment.payment_id] if "refund" in e.type.value]
    assert [(e.type.value, e.actor) for e in events] == [
        ("refund.requested", "operator:olivia"),
        ("payment.refunded", "core"),
    ]
    assert (made.by, made.reason) == ("operator:olivia", "torn")


async def test_a_return_that_a_case_waits_for_goes_on_by_hand_when_it_is_refused(world: World) -> None:
    """Nobody stands there and is told."""
    await surplus(world)
    await decide(world, CaseDecision.RETURN)
    world.gateway.refuse_operations = True
    await world.do_errands()
    assert world.cases == ["surplus_payment", "return_by_hand"]


async def test_what_was_refused_says_the_gateways_reasons(world: World) -> None:
    await paid(world)
    world.gateway.refuse_operations = True
    assert (await refund(world)).refused == "414: refused"


async def test_a_refund_for_no_payment_is_not_found(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        await world.service.refund("nobody", None, None, actor="operator:olivia")
    assert caught.value.code == "no_payment"


async def test_a_step_of_a_refund_that_is_over_or_not_there_does_nothing(world: World) -> None:
    await paid(world)
    made = await refund(world)
    calls = list(world.gateway.calls)
    for payment_id, key in ((world.payment.payment_id, made.key), (world.payment.payment_id, "k"), ("nobody", "k")):
        await world.service.refund.step(payment_id, key)
    assert world.gateway.calls == calls


async def test_a_refund_is_asked_about_before_it_is_sent_again(world: World) -> None:
    """It may have happened."""
    await paid(world)
    world.gateway.lost_answers = 1
    made = await refund(world)
    assert (made.state, made.checks) == (RefundState.UNKNOWN, 2)
    await world.service.refund.step(world.payment.payment_id, made.key)
    assert world.payment.refunds[0].state is RefundState.CONFIRMED
    assert world.gateway.calls.count("refund") == 1


@SENT_ENOUGH
async def test_a_refund_that_was_sent_often_and_long_enough_is_only_asked_about(
    world: World, checks: int, age: timedelta, sent: int
) -> None:
    await paid(world)
    world.gateway.refused_calls = 1
    made = await refund(world)
    payment = world.payment
    tired = attrs.evolve(made, checks=checks, at=made.at - age)
    world.store.payments.rows[payment.payment_id] = payment.with_refund(tired)
    before = world.gateway.calls.count("refund")
    await world.service.refund.step(payment.payment_id, made.key)
    assert world.gateway.calls.count("refund") - before == sent


@pytest.mark.parametrize(
    ("was", "state"), [(RefundState.REQUESTED, RefundState.REFUSED), (RefundState.UNKNOWN, RefundState.UNKNOWN)]
)
@pytest.mark.parametrize("checks", [0, 1])
async def test_money_that_was_lost_before_it_was_sent_back_refuses_the_refund_and_later_leaves_it_unknown(
    world: World, checks: int, was: RefundState, state: RefundState
) -> None:
    """Sent while there was money, it may have happened."""
    transaction = await paid(world)
    world.gateway.refused_calls = 1
    made = await refund(world)
    gone = attrs.evolve(world.payment.charges[0], state=ChargeState.REVERSED)
    payment = attrs.evolve(world.payment.with_charge(gone), paid_by=None)
    payment = payment.with_refund(attrs.evolve(made, state=was, checks=checks))
    world.store.payments.rows[payment.payment_id] = payment
    world.gateway.becomes(transaction, Signal.DENIED)
    await world.service.refund.step(payment.payment_id, made.key)
    (after,) = world.payment.refunds
    assert after.state is state
    assert after.refused == ("the charge is reversed" if state is RefundState.REFUSED else None)
    assert world.cases == [], "nobody is called before the schedule is over"
    assert world.gateway.calls.count("refund") == 1, "only the first, which never arrived"


async def test_a_refund_that_was_sent_once_is_asked_about_before_it_is_sent_again(world: World) -> None:
    """Its process died before the answer was stored."""
    await paid(world)
    world.gateway.lost_answers = 1
    made = await refund(world)
    payment = world.payment
    sent = payment.with_refund(attrs.evolve(made, state=RefundState.SENT, checks=1))
    world.store.payments.rows[payment.payment_id] = sent
    await world.service.refund.step(payment.payment_id, made.key)
    assert world.payment.refunds[0].state is RefundState.CONFIRMED
    assert world.gateway.calls.count("refund") == 1


async def test_a_refusal_is_no_end_when_somebody_else_sent_the_same_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a hundred thousand worlds: two looked at what nobody had sent, and the slower one was refused."""
    await paid(world)
    world.gateway.refused_calls = 1
    made = await refund(world)
    payment, look = world.payment, Desk.look
    unsent = payment.with_refund(attrs.evolve(made, state=RefundState.REQUESTED, checks=0))
    world.store.payments.rows[payment.payment_id] = unsent

    async def looked_at_first(desk: Desk, payment_id: str) -> Payment | None:
        monkeypatch.setattr(Desk, "look", look)
        seen = await look(desk, payment_id)
        world.store.payments.rows[payment_id] = refund_sent(unsent, made.key, world.clock.now())
        await world.gateway.refund(made)  # the other's; its answer is not stored yet
        monkeypatch.setattr(MemoryGateway, "refund", refused)
        return seen

    async def refused(_gateway: MemoryGateway, _refund: Refund) -> RefundReply:
        return Refused(("nothing is left",))

    monkeypatch.setattr(Desk, "look", looked_at_first)
    await world.service.refund.step(payment.payment_id, made.key)
    (after,) = world.payment.refunds
    assert (after.state, after.refused) == (RefundState.CONFIRMED, None)
    assert world.status.value == "refunded"


async def test_a_void_is_stored_before_it_is_asked_for(world: World) -> None:
    """Its result is a refund and not a reversal, also when the answer gets lost."""
    await paid(world, Signal.CAPTURED)
    world.gateway.lost_answers = 1
    made = await refund(world)
    charge = world.payment.charges[0]
    assert (charge.cancel_asked, made.state) == (True, RefundState.UNKNOWN)
    await world.service.refund.step(world.payment.payment_id, made.key)
    assert world.status.value == "refunded"
    assert world.payment.refunds[0].state is RefundState.CONFIRMED


async def test_an_amount_the_gateway_cannot_say_is_refused_before_anything_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await paid(world)

    def unsayable(*_: object) -> None:
        raise AmountNotRepresentable("whole rupiah only")

    monkeypatch.setattr(type(world.gateway), "refuse_amount", unsayable)
    with pytest.raises(AmountNotRepresentable):
        await refund(world, 30_000)
    assert world.payment.refunds == ()
    assert (await refund(world)).state is RefundState.CONFIRMED, "without an amount there is nothing to say"


async def test_money_goes_back_through_the_gateway_that_took_it(world: World) -> None:
    """A later page may have been opened at another."""
    other = MemoryGateway(name="other")
    returning = attrs.evolve(world.service.refund, gateways={"midtrans": world.gateway, "other": other})
    second = attrs.evolve(PAID.attempt(1), number=2, provider="other", provider_order_id="second")
    both = PAID.with_attempt(second)
    assert returning._gateway_of(both, "tx") is world.gateway
    assert returning._gateway_of(both, None) is other


async def test_a_step_nobody_answers_is_the_cores_deed(world: World) -> None:
    await paid(world)
    world.gateway.unreachable = True
    made = await refund(world, 30_000)
    payment_id = world.payment.payment_id
    with pytest.raises(GatewayUnavailable):
        await world.service.refund.step(payment_id, made.key)
    assert world.store.payments.saves[payment_id][-1].actor == "core"


async def test_the_rules_of_the_gateway_that_took_the_money_hold(world: World) -> None:
    """Not those of a page that was opened later."""
    await paid(world)
    later = attrs.evolve(
        world.payment.attempt(1), number=2, provider="other", provider_order_id="second", state=AttemptState.DEAD
    )
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(later)
    gateways = world.service.refund.gateways
    assert isinstance(gateways, dict)
    gateways["other"] = MemoryGateway(name="other", traits=GatewayTraits(refunds={}))
    assert (await refund(world, 30_000)).state is RefundState.CONFIRMED


async def test_money_is_voided_at_the_gateway_that_took_it(world: World) -> None:
    transaction = await paid(world, Signal.CAPTURED)
    later = attrs.evolve(
        world.payment.attempt(1), number=2, provider="other", provider_order_id="second", state=AttemptState.DEAD
    )
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(later)
    gateways = world.service.refund.gateways
    assert isinstance(gateways, dict)
    gateways["other"] = MemoryGateway(name="other")
    await refund(world)
    assert world.gateway.transactions[transaction].words[-1] is Signal.CANCELLED


# ── whose money went back ─────────────────────────────────────────────────────────────────────────────────────────────
async def test_what_the_dashboard_gave_back_is_not_taken_for_a_refund_of_ours_that_never_arrived(world: World) -> None:
    """Only a total is told, and it is as high as ours would make it."""
    transaction = await paid(world)
    world.gateway.becomes(transaction, Signal.SETTLED, refunded=rupiah(30_000))
    await world.hear(transaction)
    world.gateway.refused_calls = 1
    assert (await refund(world, 30_000)).state is RefundState.UNKNOWN
    await world.hear(transaction)
    assert world.payment.refunds[0].state is RefundState.UNKNOWN
    await world.pass_time(2 * HOUR)
    assert world.payment.refunds[0].state is RefundState.CONFIRMED
    assert given_back(world, transaction) == 60_000 == world.payment.charges[0].refunded_minor // 100
    assert (await refund(world)).amount == rupiah(40_000)


async def test_the_return_of_what_the_dashboard_left_is_sent(world: World) -> None:
    await world.opened()
    first, second = (world.tries(Signal.SETTLED, method="card") for _ in range(2))
    await world.hear(first)
    await world.hear(second)
    world.gateway.becomes(second, Signal.SETTLED, refunded=rupiah(50_000))
    await world.hear(second)
    await decide(world, CaseDecision.RETURN)
    await world.do_errands()
    assert given_back(world, second) == PRICE
    assert world.cases == []


async def test_a_refund_that_went_all_the_same_after_it_was_called_refused_counts(world: World) -> None:
    transaction = await paid(world)
    world.gateway.refuse_operations = True
    made = await refund(world, 30_000)
    assert made.state is RefundState.REFUSED
    report = RefundReport(made.key, rupiah(30_000), RefundNews.CONFIRMED)
    message = says(Signal.SETTLED, refunds=(report,))
    told = hear_refunds(world.payment, world.payment.charges[0], message, world.clock.now())
    assert (told.refunds[0].state, told.charges[0].refunded_minor) == (RefundState.CONFIRMED, 3_000_000)
    assert given_back(world, transaction) == 0, "the test only says that the gateway did"


# ── what is sent again ────────────────────────────────────────────────────────────────────────────────────────────────
class Slow(MemoryGateway):
    """Takes a refund and shows it as pending until its bank has done it."""

    shows = True

    def _refund(self, refund: Refund) -> RefundReply:
        self.refunds[refund.key] = refund
        return Waiting()

    def observe(self, body: bytes) -> Observation:
        """What the memory gateway says, with its refunds."""
        pending = (RefundReport(key, made.amount, RefundNews.PENDING) for key, made in self.refunds.items())
        return attrs.evolve(super().observe(body), refunds=tuple(pending) if self.shows else ())


async def test_a_refund_the_gateway_shows_as_pending_is_asked_about_and_never_sent_again(world: World) -> None:
    """After a day its key would make another refund (stripe.md section 6), and a bank may take days."""
    world.use(Slow())
    await paid(world)
    made = await refund(world, 30_000)
    await world.pass_time(timedelta(days=6))
    assert world.gateway.calls.count("refund") == 1
    assert (world.payment.refunds[0].state, world.cases) == (RefundState.SENT, [])
    await world.pass_time(timedelta(days=9))
    assert world.gateway.calls.count("refund") == 1
    assert (world.payment.refunds[0].state, world.cases) == (RefundState.UNKNOWN, ["outcome_unknown"])
    assert world.payment.refunds[0].key == made.key


async def test_an_answer_that_was_overtaken_says_all_the_same_that_a_refund_is_done(world: World) -> None:
    """Waiting for the next one would take as long as the schedule has come: a day."""

    class Done(Slow):
        """Its bank has done them."""

        def observe(self, body: bytes) -> Observation:
            """All done."""
            told = super().observe(body)
            return attrs.evolve(told, refunds=tuple(attrs.evolve(r, news=RefundNews.CONFIRMED) for r in told.refunds))

    world.use(Done())
    await paid(world)
    gateway = world.gateway
    gateway.shows = False
    made = await refund(world, 30_000)
    newer = attrs.evolve(world.payment.charges[0], reading_number=99)
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_charge(newer)
    gateway.shows = True
    await world.service.refund.step(world.payment.payment_id, made.key)
    assert world.payment.refunds[0].state is RefundState.CONFIRMED
    assert world.gateway.calls.count("refund") == 1


@pytest.mark.parametrize("life", [timedelta(hours=24), timedelta(days=7), None])
async def test_nothing_is_sent_under_a_key_that_may_be_forgotten(world: World, life: timedelta | None) -> None:
    """The service was away; the gateway shows nothing, and would take the same key for that of another refund."""
    gateway = Slow(traits=GatewayTraits(refund_key_life=life))
    gateway.shows = False
    world.use(gateway)
    await paid(world)
    await refund(world, 30_000)
    began = world.clock.at
    world.clock.at = began + (life or timedelta(days=9)) - world.gateway.traits.timeout
    await world.pass_time(timedelta(days=9))
    assert world.gateway.calls.count("refund") == (8 if life is None else 1)
    assert (world.payment.refunds[0].state, world.cases) == (RefundState.UNKNOWN, ["outcome_unknown"])


async def test_a_first_try_has_no_key_to_be_forgotten(world: World) -> None:
    """Stored, and the service was away before it sent anything."""
    world.use(MemoryGateway(traits=GatewayTraits(refund_key_life=HOUR)))
    transaction = await paid(world)
    await world.service.refund.desk.change(
        world.payment.payment_id,
        lambda p: plan_refund(p, by="op", traits=world.gateway.traits, now=world.clock.now())[0],
        actor="op",
    )
    world.clock.at += timedelta(days=2)
    await world.pass_time(HOUR)
    assert given_back(world, transaction) == PRICE


async def test_the_end_of_the_time_for_refunds_refuses_none_that_was_sent(world: World) -> None:
    """It may have happened: by the clock alone nobody is sent the money by hand as well."""
    world.use(Slow(traits=GatewayTraits(refunds={"card": RefundRule(timedelta(days=14))})))
    transaction = await paid(world)
    late = attrs.evolve(world.payment.charges[0], occurred_at=world.clock.at - timedelta(days=14) + HOUR)
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_charge(late)
    made = await refund(world, 30_000)
    assert made.state is RefundState.SENT
    world.gateway.refunds.clear()
    await world.pass_time(12 * HOUR)
    assert world.payment.charge(transaction) == attrs.evolve(
        late, reading_number=world.payment.charges[0].reading_number, occurred_at=world.payment.charges[0].occurred_at
    )
    assert world.payment.refunds[0].state is not RefundState.REFUSED


async def test_what_the_gateway_never_gives_back_is_refused_also_after_a_look_that_failed(world: World) -> None:
    """A look that failed counts as a try, and nothing was sent."""
    world.use(MemoryGateway(traits=GatewayTraits(refunds={"card": RefundRule(timedelta(days=14))})))
    await paid(world, method="bank_transfer")
    made = attrs.evolve(refund_row(), transaction_id=world.payment.charges[0].transaction_id, checks=1)
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_refund(made)
    await world.service.refund.step(world.payment.payment_id, made.key)
    assert world.payment.refunds[0].state is RefundState.REFUSED
    assert world.gateway.calls.count("refund") == 0


async def looked_at_in_vain() -> tuple[World, str]:
    """A surplus whose return was decided while its gateway does not answer: looked at, and not sent."""
    world = World(traits=GatewayTraits(refund_key_life=HOUR))
    transaction = await surplus(world)
    world.gateway.unreachable = True
    await decide(world, CaseDecision.RETURN)
    await world.do_errands()
    (made,) = world.payment.refunds
    assert (made.was_sent, made.checks > 0) == (False, True)
    return world, transaction


async def test_a_look_that_failed_is_no_sending_so_there_is_no_key_to_be_forgotten() -> None:
    """The gateway was away for longer than it keeps a key."""
    world, transaction = await looked_at_in_vain()
    await world.pass_time(3 * HOUR)
    world.gateway.unreachable = False
    await world.pass_time(12 * HOUR)
    assert (given_back(world, transaction), world.cases) == (PRICE, [])


async def test_a_total_does_not_confirm_what_was_looked_at_in_vain() -> None:
    world, transaction = await looked_at_in_vain()
    world.gateway.unreachable = False
    world.gateway.becomes(transaction, Signal.SETTLED, refunded=rupiah(PRICE))
    await world.deliver(transaction)
    charge = attrs.evolve(world.payment.charge(transaction), refunded_minor=rupiah(PRICE).amount_minor)
    assert hear_refunds(world.payment, charge, says(Signal.SETTLED), LATER).refunds[0].state is RefundState.REQUESTED


async def test_the_first_answer_after_looks_in_vain_is_the_last_word() -> None:
    """A refusal of what was never sent before cannot be that of a repetition."""
    world, _ = await looked_at_in_vain()
    world.gateway.unreachable, world.gateway.refuse_operations = False, True
    await world.pass_time(HOUR)
    assert world.payment.refunds[0].state is RefundState.REFUSED
    assert world.cases == ["surplus_payment", "return_by_hand"]


# ── one request, one refund ───────────────────────────────────────────────────────────────────────────────────────────
async def test_another_amount_under_the_same_request_is_refused(world: World) -> None:
    await paid(world)
    """Also when the first was refused, or its caller was gone before the answer: then nothing else knows the key."""
    world.gateway.refuse_operations = True
    made = await refund(world, 30_000, asked_as="k")
    assert await refund(world, 30_000, asked_as="k") == made
    with pytest.raises(InvalidInput) as caught:
        await refund(world, 20_000, asked_as="k")
    assert caught.value.code == "idempotency_key_reused"
    assert world.payment.refunds == (made,)
