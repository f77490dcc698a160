"""Capture, approve, deny, cancel, refresh, and the decision of a case."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Confirm, GatewayTraits, Payment, Signal
from payments_core.errors import (
    AmountNotRepresentable,
    Conflict,
    GatewayRefused,
    GatewayTimeout,
    GatewayUnavailable,
    InvalidInput,
    NotFound,
)
from payments_core.limits import RETRY_SCHEDULE, UNKNOWN_SCHEDULE
from payments_core.payment import AttemptState, CaseDecision, ChargeDue
from unit.values import SENT_ENOUGH
from unit.world import World, decide, rupiah

BY = "operator:olivia"
HOUR = timedelta(hours=1)


async def held(world: World, outcome: Signal = Signal.AUTHORIZED) -> str:
    """The transaction whose money is held, or under review."""
    await world.opened()
    transaction = world.tries(outcome, method="card")
    await world.hear(transaction)
    return transaction


async def capture(world: World, whole: int | None = None) -> Payment:
    amount = None if whole is None else rupiah(whole)
    return await world.service.operate.capture(world.payment.payment_id, amount, actor=BY)


# ── capture ───────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_held_money_is_taken_and_pays_the_order(world: World) -> None:
    transaction = await held(world)
    payment = await capture(world)
    assert payment.paid_by == transaction
    assert world.status.value == "success"
    assert world.history.count("charge.asked") == world.history.count("order.paid") == 1


async def test_less_than_what_is_held_may_be_taken_and_is_then_owed(world: World) -> None:
    transaction = await held(world)
    payment = await capture(world, 60_000)
    assert (payment.paid_by, payment.owed) == (transaction, rupiah(60_000))
    assert world.status.value == "success"
    assert world.cases == []


async def test_the_part_we_asked_to_capture_is_good_also_when_only_a_hint_showed_the_hold() -> None:
    """With `MIDTRANS_CONFIRM=signature` no reading may have seen it; the amount answers a capture of ours."""
    world = World(traits=GatewayTraits(confirm=Confirm.SIGNATURE))
    transaction = await held(world)
    payment = await capture(world, 60_000)
    assert (payment.paid_by, payment.owed) == (transaction, rupiah(60_000))
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    assert (world.status.value, world.cases) == ("success", [])


@pytest.mark.parametrize(("whole", "error"), [(100_001, Conflict), (0, InvalidInput), (-5, InvalidInput)])
async def test_no_other_amount_may_be_taken(world: World, whole: int, error: type[Exception]) -> None:
    await held(world)
    with pytest.raises(error):
        await capture(world, whole)
    assert world.status.value == "authorized"


async def test_only_held_money_can_be_taken(world: World) -> None:
    await world.opened()
    with pytest.raises(Conflict) as refused:
        await capture(world)
    assert refused.value.code == "not_authorized"
    await world.hear(world.tries(Signal.SETTLED))
    with pytest.raises(Conflict) as refused:
        await capture(world)
    assert refused.value.code == "already_paid"


async def test_a_capture_whose_answer_is_lost_is_found_and_not_made_twice(world: World) -> None:
    transaction = await held(world)
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await capture(world, 60_000)
    await world.pass_time(HOUR)
    assert world.payment.paid_by == transaction
    assert world.gateway.calls.count("capture") == 1
    assert world.payment.owed == rupiah(60_000)


async def test_a_capture_that_never_arrived_is_sent_again_and_a_repeat_is_safe(world: World) -> None:
    await held(world)
    world.gateway.refused_calls = 1
    with pytest.raises(GatewayUnavailable):
        await capture(world)
    with pytest.raises(Conflict) as refused:
        await capture(world, 1_000)
    assert refused.value.code == "under_way"
    assert (await capture(world)).paid_by is not None


async def test_a_capture_the_bank_refuses_leaves_the_money_held(world: World) -> None:
    await held(world)
    world.gateway.refuse_operations = True
    with pytest.raises(GatewayRefused):
        await capture(world)
    assert world.status.value == "authorized"
    world.gateway.refuse_operations = False
    assert (await capture(world)).paid_by is not None


async def test_a_capture_nobody_can_tell_of_becomes_a_case(world: World) -> None:
    world.pause = timedelta(minutes=5)
    await held(world)
    world.gateway.unreachable = True
    with pytest.raises(GatewayUnavailable):
        await capture(world)
    await world.pass_time(timedelta(hours=31))
    assert world.cases == []
    await world.pass_time(timedelta(hours=1))
    assert world.cases == ["outcome_unknown"]
    assert world.status.value == "authorized", "never failed by time alone"
    events = world.store.payments.events[world.payment.payment_id]
    assert [(e.actor, e.data["asked"], e.data["by"]) for e in events if e.type.value == "case.opened"] == [
        ("core", "capture", BY)
    ]


async def test_a_capture_nobody_could_tell_of_is_known_when_its_charge_was_let_go(world: World) -> None:
    """Another payment came, and the held money is cancelled: nobody wants the capture any more."""
    world.pause = timedelta(minutes=5)
    await held(world)
    other = world.tries(Signal.PENDING, method="card")
    await world.hear(other)
    world.gateway.unreachable = True
    with pytest.raises(GatewayUnavailable):
        await capture(world)
    await world.pass_time(timedelta(hours=32))
    assert world.cases == ["outcome_unknown"]
    world.gateway.unreachable = False
    world.gateway.becomes(other, Signal.SETTLED)
    await world.deliver(other)
    await world.service.refresh(world.payment.payment_id, actor=BY)
    await world.do_errands()
    await world.pass_time(HOUR)
    assert (world.payment.paid_by, [c.state.value for c in world.payment.charges]) == (other, ["cancelled", "settled"])
    assert world.cases == []
    assert world.payment.cases[0].decided_by == "gateway"


# ── review ────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_review_is_approved_or_denied(world: World) -> None:
    transaction = await held(world, Signal.CHALLENGED)
    payment = await world.service.operate.approve(world.payment.payment_id, actor=BY)
    assert payment.paid_by == transaction


async def test_a_denied_review_leaves_the_page_payable(world: World) -> None:
    await held(world, Signal.CHALLENGED)
    payment = await world.service.operate.deny(world.payment.payment_id, actor=BY)
    assert payment.payable_attempt is not None
    assert world.status.value == "pending"


async def test_only_a_charge_under_review_is_decided(world: World) -> None:
    await held(world)
    for ask in (world.service.operate.approve, world.service.operate.deny):
        with pytest.raises(Conflict) as refused:
            await ask(world.payment.payment_id, actor=BY)
        assert refused.value.code == "not_challenged"


# ── cancel ────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_cancelling_an_open_page_closes_it(world: World) -> None:
    await world.opened()
    payment = await world.service.operate.cancel(world.payment.payment_id, actor=BY)
    assert payment.attempts[0].state is AttemptState.DEAD
    assert (world.status.value, world.stock) == ("cancelled", 10)


async def test_cancelling_lets_held_money_go(world: World) -> None:
    transaction = await held(world)
    await world.service.operate.cancel(world.payment.payment_id, actor=BY)
    assert world.gateway.transactions[transaction].words[-1] is Signal.CANCELLED
    assert world.status.value == "cancelled"


async def test_cancelling_voids_captured_money_and_not_settled_money(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.CAPTURED, method="card")
    await world.hear(transaction)
    cancel = world.service.operate.cancel
    await cancel(world.payment.payment_id, actor=BY)
    await cancel(world.payment.payment_id, actor=BY)
    assert (world.status.value, len(world.payment.refunds)) == ("refunded", 1)


async def test_settled_money_is_not_cancelled(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED))
    with pytest.raises(Conflict) as refused:
        await world.service.operate.cancel(world.payment.payment_id, actor=BY)
    assert refused.value.code == "already_settled"


async def test_refreshing_finds_what_nobody_told_us(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    payment = await world.service.refresh(world.payment.payment_id, actor=BY)
    assert payment.paid_by == transaction
    with pytest.raises(NotFound):
        await world.service.refresh("0" * 26, actor=BY)


# ── cases ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def mismatched(world: World) -> str:
    """A settlement of one rupiah less than is owed."""
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    was = world.gateway.transactions[transaction]
    world.gateway.transactions[transaction] = attrs.evolve(was, amount=rupiah(99_999))
    await world.hear(transaction)
    assert world.cases == ["amount_mismatch"]
    return transaction


async def test_an_accepted_mismatch_pays_and_is_what_is_owed(world: World) -> None:
    transaction = await mismatched(world)
    payment = await decide(world, CaseDecision.ACCEPT)
    assert (payment.paid_by, payment.owed) == (transaction, rupiah(99_999))
    assert (world.status.value, world.cases) == ("success", [])
    case = payment.cases[0]
    assert (case.decided_by, case.note, case.evidence["owed"]) == (BY, "because", "100000 IDR")
    assert world.history.count("case.closed") == 1


async def test_less_than_what_was_accepted_pays_nothing(world: World) -> None:
    """A coupon of a thousand was meant, and one rupiah comes."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)

    async def comes(whole: int) -> None:
        was = world.gateway.transactions[transaction]
        world.gateway.transactions[transaction] = attrs.evolve(was, amount=rupiah(whole))
        await world.hear(transaction)

    await comes(99_000)
    await decide(world, CaseDecision.ACCEPT)
    world.gateway.becomes(transaction, Signal.SETTLED)
    await comes(1)
    assert (world.payment.paid_by, world.shop_order().status.value) == (None, "pending")
    assert (world.cases, world.payment.open_cases[0].evidence["said"]) == (["amount_mismatch"], "1 IDR")


async def test_a_mismatched_payment_is_returned(world: World) -> None:
    transaction = await mismatched(world)
    await decide(world, CaseDecision.RETURN)
    await world.do_errands()
    assert world.gateway.transactions[transaction].refunded == rupiah(99_999)
    assert world.cases == []
    assert world.payment.paid_by is None


async def test_a_decision_is_made_once_and_says_why(world: World) -> None:
    await mismatched(world)
    with pytest.raises(InvalidInput):
        await decide(world, CaseDecision.DISMISS, note=" ")
    with pytest.raises(InvalidInput) as unknown:
        await decide(world, CaseDecision.DISMISS, number=7)
    assert unknown.value.code == "no_case"
    await decide(world, CaseDecision.DISMISS)
    again = await decide(world, CaseDecision.DISMISS)
    assert not again.open_cases
    with pytest.raises(Conflict) as refused:
        await decide(world, CaseDecision.ACCEPT)
    assert refused.value.code == "case_closed"


async def late(world: World) -> str:
    """Money for an order that was cancelled."""
    await world.opened()
    account = world.tries(Signal.PENDING)
    await world.hear(account)
    await world.service.operate.cancel(world.payment.payment_id, actor=BY)
    world.gateway.becomes(account, Signal.SETTLED)
    await world.hear(account)
    assert world.cases == ["late_payment"]
    return account


async def test_late_money_is_accepted_while_its_goods_can_be_had(world: World) -> None:
    account = await late(world)
    await decide(world, CaseDecision.ACCEPT)
    assert (world.payment.paid_by, world.stock) == (account, 8)
    assert (world.status.value, world.shop_order().status.value) == ("success", "paid")
    assert "order.reopened" in world.history
    moves = [kind for kind in world.history if kind.startswith("stock.")]
    assert moves == ["stock.reserved", "stock.released", "stock.reserved", "stock.consumed"]


async def test_late_money_is_not_accepted_when_its_goods_are_gone(world: World) -> None:
    await late(world)
    world.store.orders.available["book"] = 1
    with pytest.raises(Conflict) as refused:
        await decide(world, CaseDecision.ACCEPT)
    assert refused.value.code == "out_of_stock"
    assert world.cases == ["late_payment"]


# ── around the gateway ────────────────────────────────────────────────────────────────────────────────────────────────
async def test_refreshing_asks_about_the_page_and_every_charge(world: World) -> None:
    await world.opened()
    for word in (Signal.DENIED, Signal.PENDING):
        await world.hear(world.tries(word))
    reads = world.gateway.calls.count("read")
    await world.service.refresh(world.payment.payment_id, actor=BY)
    assert world.gateway.calls.count("read") - reads == 3


async def test_refreshing_a_paid_order_asks_about_its_last_page(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.DENIED)
    reads = world.gateway.calls.count("read")
    payment = await world.service.refresh(world.payment.payment_id, actor=BY)
    assert payment.paid_by is None
    assert world.gateway.calls.count("read") - reads == 2, "the page, and its charge"


@pytest.mark.parametrize("operation", ["capture", "approve", "deny", "cancel", "resolve"])
async def test_what_is_asked_of_no_payment_is_not_found(world: World, operation: str) -> None:
    more = {"capture": [None], "resolve": [1, CaseDecision.DISMISS, "because"]}.get(operation, [])
    with pytest.raises(NotFound) as caught:
        await getattr(world.service.operate, operation)("nobody", *more, actor=BY)
    assert caught.value.code == "no_payment"


async def test_a_refusal_says_the_gateways_reasons_and_the_wish_is_dropped(world: World) -> None:
    await held(world)
    world.gateway.refuse_operations = True
    with pytest.raises(GatewayRefused, match=r"^412: the status cannot be changed$"):
        await capture(world)
    (charge,) = world.payment.charges
    assert (charge.due, charge.asked_by, charge.capture_minor) == (None, None, None)
    assert world.store.payments.saves[world.payment.payment_id][-1].actor == "core"


async def test_a_repeat_that_is_refused_because_the_first_was_done_is_a_success(world: World) -> None:
    """The answer to the first got lost; the gateway says that the state does not allow it any more."""
    transaction = await held(world)
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await capture(world)
    assert (await capture(world)).paid_by == transaction


async def test_a_call_nobody_answered_is_due_later_each_time(world: World) -> None:
    await held(world)
    world.gateway.unreachable = True
    with pytest.raises(GatewayUnavailable):
        await capture(world)
    (charge,) = world.payment.charges
    assert (charge.check_at, charge.checks) == (world.clock.now() + RETRY_SCHEDULE[0], 1)
    world.clock.move(RETRY_SCHEDULE[0])
    with pytest.raises(GatewayUnavailable):
        await world.service.operate.step(world.payment.payment_id, charge.transaction_id)
    (charge,) = world.payment.charges
    assert (charge.check_at, charge.checks) == (world.clock.now() + RETRY_SCHEDULE[1], 2)


async def test_a_step_asks_before_it_sends_again(world: World) -> None:
    transaction = await held(world)
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await capture(world)
    payment = await world.service.operate.step(world.payment.payment_id, transaction)
    assert payment is not None
    assert payment.paid_by == transaction
    assert world.gateway.calls.count("capture") == 1


async def test_a_step_that_is_refused_leaves_the_hold_and_says_nothing(world: World) -> None:
    """Nobody waits for it."""
    transaction = await held(world)
    world.gateway.refused_calls = 1
    with pytest.raises(GatewayUnavailable):
        await capture(world)
    world.gateway.refuse_operations = True
    payment = await world.service.operate.step(world.payment.payment_id, transaction)
    assert payment is not None
    assert payment.charges[0].due is ChargeDue.CAPTURE, "the answer may be older than the first try"
    await world.pass_time(timedelta(hours=2))
    assert (world.payment.charges[0].due, world.status.value) == (None, "authorized")


async def test_a_repeated_capture_is_refused_because_the_first_was_done(world: World) -> None:
    """No answer shows it yet: what was asked to be captured is what later messages are compared with."""
    transaction = await held(world)
    world.gateway.lost_answers, world.gateway.lag = 1, 1
    with pytest.raises(GatewayTimeout):
        await capture(world)
    await world.service.operate.step(world.payment.payment_id, transaction)
    asked = world.payment.charges[0]
    assert (asked.due, asked.capture_minor) == (ChargeDue.CAPTURE, 10_000_000)
    world.gateway.lag = 0
    await world.pass_time(timedelta(hours=2))
    assert (world.status.value, world.payment.charges[0].due) == ("success", None)


async def test_the_same_wish_of_another_person_is_not_refused_for_the_first_ones_sake(world: World) -> None:
    """Theirs was done a moment ago, and no answer shows it yet."""
    transaction = await held(world)
    world.gateway.lost_answers, world.gateway.lag = 1, 1
    with pytest.raises(GatewayTimeout):
        await capture(world)
    await capture(world)
    charge = world.payment.charge(transaction)
    assert charge is not None
    assert (charge.due, charge.capture_minor) == (ChargeDue.CAPTURE, 10_000_000)


@SENT_ENOUGH
async def test_a_wish_that_was_sent_often_and_long_enough_is_only_asked_about(
    world: World, checks: int, age: timedelta, sent: int
) -> None:
    transaction = await held(world)
    world.gateway.refused_calls = 1
    with pytest.raises(GatewayUnavailable):
        await capture(world)
    payment = world.payment
    tired = attrs.evolve(payment.charges[0], checks=checks, asked_at=world.clock.now() - age)
    world.store.payments.rows[payment.payment_id] = payment.with_charge(tired)
    before = world.gateway.calls.count("capture")
    await world.service.operate.step(payment.payment_id, transaction)
    assert world.gateway.calls.count("capture") - before == sent


async def test_a_step_of_nothing_is_no_step(world: World) -> None:
    transaction = await held(world)
    assert await world.service.operate.step("nobody", transaction) is None
    payment = await world.service.operate.step(world.payment.payment_id, transaction)
    assert payment is not None
    assert "capture" not in world.gateway.calls


async def test_every_operation_names_who_asked_for_it(world: World) -> None:
    await held(world)
    await capture(world)
    asked = [e for e in world.store.payments.events[world.payment.payment_id] if e.type.value == "charge.asked"]
    assert [(event.actor, event.data["by"], event.data["what"]) for event in asked] == [(BY, BY, "capture")]


async def test_an_amount_the_gateway_cannot_say_is_refused_before_anything_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await held(world)

    def unsayable(*_: object) -> None:
        raise AmountNotRepresentable("whole rupiah only")

    monkeypatch.setattr(type(world.gateway), "refuse_amount", unsayable)
    with pytest.raises(AmountNotRepresentable):
        await capture(world, 60_000)
    assert world.payment.charges[0].due is None
    assert (await capture(world)).paid_by is not None, "without an amount there is nothing to say"


async def test_cancelling_again_what_is_voided_or_given_up_changes_nothing(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.CAPTURED, method="card"))
    payment_id = world.payment.payment_id
    for _ in range(2):
        payment = await world.service.operate.cancel(payment_id, actor=BY)
        assert [refund.reason for refund in payment.refunds] == ["cancelled"]
        assert payment.refunds[0].by == BY
    assert world.gateway.calls.count("cancel") == 1


async def test_cancelling_what_has_settled_says_so(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED))
    with pytest.raises(Conflict) as caught:
        await world.service.operate.cancel(world.payment.payment_id, actor=BY)
    assert caught.value.code == "already_settled"


async def test_a_page_that_cannot_be_closed_now_goes_on_closing(world: World) -> None:
    await world.opened()
    world.gateway.unreachable = True
    payment = await world.service.operate.cancel(world.payment.payment_id, actor=BY)
    page = payment.attempt(1)
    assert (page.state, page.closing_by, page.checks) == (AttemptState.CLOSING, BY, 1)


async def test_a_cancellation_whose_answer_was_lost_is_repeated_safely(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.CAPTURED, method="card"))
    world.gateway.lost_answers = 1
    for _ in range(2):
        payment = await world.service.operate.cancel(world.payment.payment_id, actor=BY)
        assert len(payment.refunds) == 1
    await world.pass_time(HOUR)
    assert world.status.value == "refunded"
    assert world.gateway.calls.count("cancel") == 1


async def test_a_void_of_a_part_that_was_captured_is_no_mismatch(world: World) -> None:
    """Found by the simulation: the cancellation names what was captured, and somebody was called for it."""
    transaction = await held(world)
    await world.service.operate.capture(world.payment.payment_id, rupiah(60_000), actor=BY)
    world.gateway.becomes(transaction, Signal.CANCELLED)
    await world.hear(transaction)
    assert world.cases == ["reversed"]


async def test_cancelling_what_went_back_another_way_changes_nothing(world: World) -> None:
    """Captured, and refunded as a whole in the gateway's dashboard: there is nothing left to void."""
    await world.opened()
    transaction = world.tries(Signal.CAPTURED, method="card")
    await world.hear(transaction)
    was = world.gateway.transactions[transaction]
    world.gateway.transactions[transaction] = attrs.evolve(was, refunded=was.amount)
    await world.service.refresh(world.payment.payment_id)
    payment = await world.service.operate.cancel(world.payment.payment_id, actor=BY)
    assert (payment.refunds, payment.keeping_charge) == ((), world.payment.charges[0])


async def test_one_minor_unit_that_is_left_is_not_nothing(world: World) -> None:
    """Only the whole can be voided, so it is said that this cannot be."""
    await world.opened()
    transaction = world.tries(Signal.CAPTURED, method="card")
    await world.hear(transaction)
    was = world.gateway.transactions[transaction]
    nearly = attrs.evolve(was.amount, amount_minor=was.amount.amount_minor - 1)
    world.gateway.transactions[transaction] = attrs.evolve(was, refunded=nearly)
    await world.service.refresh(world.payment.payment_id)
    with pytest.raises(Conflict) as caught:
        await world.service.operate.cancel(world.payment.payment_id, actor=BY)
    assert caught.value.code == "not_settled_yet"


async def test_a_capture_that_does_not_show_yet_is_asked_about_later(world: World) -> None:
    """The reply said that it was done, and the status lags."""
    await held(world)
    world.gateway.lag = 1
    payment = await capture(world)
    assert (payment.charges[0].due, payment.charges[0].check_at) == (
        ChargeDue.CAPTURE,
        world.clock.now() + UNKNOWN_SCHEDULE[0],
    )
    assert world.store.payments.saves[payment.payment_id][-1].actor == "core"


async def test_a_step_nobody_asked_for_is_the_cores_deed(world: World) -> None:
    transaction = await held(world)
    world.gateway.refused_calls = 1
    with pytest.raises(GatewayUnavailable):
        await capture(world)
    payment = world.payment
    assert world.store.payments.saves[payment.payment_id][-1].actor == "core", "that nobody answered"
    long_ago = world.clock.now() - sum(UNKNOWN_SCHEDULE, timedelta(0))
    tired = attrs.evolve(payment.charges[0], checks=len(UNKNOWN_SCHEDULE) + 1, asked_at=long_ago)
    world.store.payments.rows[payment.payment_id] = payment.with_charge(tired)
    await world.service.operate.step(payment.payment_id, transaction)
    assert world.store.payments.saves[payment.payment_id][-1].actor == "core"
