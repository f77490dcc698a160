"""Decisions on values: which message may speak, and what is believed."""

from datetime import timedelta

import attrs
import pytest

from payments_core import (
    AttemptState,
    Confirm,
    Observation,
    Payment,
    Reading,
    Signal,
    Verdict,
    decide_hint,
    decide_reading,
)
from payments_core.decide import still_wants
from payments_core.limits import CHARGES_MAX
from payments_core.payment import ChargeDue, CloseReason
from payments_core.states import ChargeState
from unit.world import World, rupiah

LAG = timedelta(minutes=10)


@pytest.fixture
async def opened(world: World) -> World:
    """A world whose order has an open page."""
    await world.opened()
    return world


def said(world: World, meaning: Signal, transaction_id: str = "tx", **more: object) -> Observation:
    page = world.payment.attempt(1)
    values = {
        "provider": "memory",
        "provider_order_id": page.provider_order_id,
        "transaction_id": transaction_id,
        "meaning": meaning,
        "amount": rupiah(100_000),
        **more,
    }
    return Observation(**values)  # type: ignore[arg-type]


def read(world: World, payment: Payment, number: int, answer: Observation | None, **more: object) -> Payment:
    reading = Reading(
        number=number,
        asked_at=world.clock.now(),
        attempt=1,
        transaction_id=more.get("transaction_id", answer.transaction_id if answer else None),  # type: ignore[arg-type]
        answer=answer,
    )
    return decide_reading(payment, reading, lag=LAG, now=world.clock.now()).payment


async def test_a_reading_that_was_overtaken_is_dropped(opened: World) -> None:
    payment = read(opened, opened.payment, 2, said(opened, Signal.CANCELLED, ends_page=False))
    late = read(opened, payment, 1, said(opened, Signal.AUTHORIZED))
    (charge,) = late.charges
    assert charge.state is ChargeState.CANCELLED
    assert charge.reading_number == 2
    assert charge.due is ChargeDue.RECHECK, "it differs, and may be the fresher one: it is asked again"


async def test_an_overtaken_reading_that_says_the_same_asks_nothing(opened: World) -> None:
    payment = read(opened, opened.payment, 2, said(opened, Signal.SETTLED))
    assert read(opened, payment, 1, said(opened, Signal.SETTLED)) == payment


async def test_a_newer_number_about_another_charge_overtakes_nothing(opened: World) -> None:
    payment = read(opened, opened.payment, 5, said(opened, Signal.PENDING, "other"))
    payment = read(opened, payment, 4, said(opened, Signal.SETTLED))
    assert payment.paid_by == "tx"


async def test_a_reading_about_another_order_is_never_applied(opened: World) -> None:
    """A forged body that names a transaction somebody else really paid."""
    stranger = said(opened, Signal.SETTLED, provider_order_id="somebody-elses")
    reading = Reading(number=1, asked_at=opened.clock.now(), attempt=1, transaction_id="tx", answer=stranger)
    decision = decide_reading(opened.payment, reading, lag=LAG, now=opened.clock.now())
    assert not decision.used
    assert decision.payment == opened.payment


async def test_a_reading_about_another_transaction_is_never_applied(opened: World) -> None:
    reading = Reading(
        number=1, asked_at=opened.clock.now(), attempt=1, transaction_id="tx", answer=said(opened, Signal.SETTLED, "ty")
    )
    assert not decide_reading(opened.payment, reading, lag=LAG, now=opened.clock.now()).used


async def test_a_channel_that_answers_with_its_transaction_id_is_understood(opened: World) -> None:
    """BI-SNAP: the reply's order id holds the transaction id."""
    payment = read(opened, opened.payment, 1, said(opened, Signal.SETTLED, provider_order_id="tx"))
    assert payment.paid_by == "tx"


async def test_no_transaction_found_changes_nothing(opened: World) -> None:
    """404 means "not attempted yet", or a channel that answers otherwise; never "failed"."""
    assert read(opened, opened.payment, 1, None) == opened.payment


async def test_a_404_on_a_doubted_page_closes_it(opened: World) -> None:
    payment = read(opened, opened.payment, 1, said(opened, Signal.EXPIRED, ends_page=True))
    assert payment.attempt(1).doubt is CloseReason.EXPIRED
    closed = read(opened, payment, 2, None, transaction_id=None)
    assert closed.attempt(1).state is AttemptState.CLOSING


async def test_a_404_on_a_page_that_only_a_hint_called_over_leaves_it_open(opened: World) -> None:
    """Nobody has tried to pay on it, so nothing ended; the gateway that knows its pages would have said so."""
    hint = said(opened, Signal.EXPIRED, "", ends_page=True)
    doubted = decide_hint(opened.payment, hint, confirm=Confirm.SIGNATURE, now=opened.clock.now()).payment
    assert doubted.attempt(1).doubt is CloseReason.EXPIRED
    assert read(opened, doubted, 1, None, transaction_id=None).attempt(1) == attrs.evolve(
        doubted.attempt(1), doubt=None
    )


async def test_a_page_that_was_asked_before_the_doubt_arose_settles_nothing(opened: World) -> None:
    payment = read(opened, opened.payment, 3, said(opened, Signal.EXPIRED, ends_page=True))
    assert payment.attempt(1).doubt is CloseReason.EXPIRED
    early = read(opened, payment, 2, None, transaction_id=None)
    assert early.attempt(1).doubt is CloseReason.EXPIRED
    assert read(opened, payment, 4, None, transaction_id=None).attempt(1).state is AttemptState.CLOSING


async def test_a_smaller_capture_of_a_hold_pays_and_lowers_what_is_owed(opened: World) -> None:
    payment = read(opened, opened.payment, 1, said(opened, Signal.AUTHORIZED))
    payment = read(opened, payment, 2, said(opened, Signal.CAPTURED, amount=rupiah(60_000)))
    assert payment.paid_by == "tx"
    assert payment.owed == rupiah(60_000)
    assert payment.amount == rupiah(100_000)


async def test_a_smaller_capture_without_a_hold_never_pays(opened: World) -> None:
    payment = read(opened, opened.payment, 1, said(opened, Signal.CAPTURED, amount=rupiah(60_000)))
    assert payment.paid_by is None
    assert [case.kind.value for case in payment.open_cases] == ["amount_mismatch"]


async def test_a_hint_of_a_hold_does_not_excuse_a_smaller_capture(opened: World) -> None:
    """Only a reading of the same transaction shows that there was a hold."""
    now = opened.clock.now()
    held = decide_hint(opened.payment, said(opened, Signal.AUTHORIZED), confirm=Confirm.SIGNATURE, now=now).payment
    payment = read(opened, held, 1, said(opened, Signal.CAPTURED, amount=rupiah(60_000)))
    assert payment.paid_by is None


@pytest.mark.parametrize(("ours", "theirs", "differs"), [("G1", "G2", True), ("G1", None, False), (None, "G2", False)])
async def test_the_merchant_is_compared_when_both_sides_name_it(
    opened: World, ours: str | None, theirs: str | None, differs: bool
) -> None:
    page = attrs.evolve(opened.payment.attempt(1), merchant_id=ours)
    payment = read(opened, opened.payment.with_attempt(page), 1, said(opened, Signal.SETTLED, merchant_id=theirs))
    assert ([case.kind.value for case in payment.open_cases] == ["merchant_mismatch"]) is differs
    assert (payment.paid_by is None) is differs


async def test_test_money_never_pays_a_live_order(opened: World) -> None:
    page = attrs.evolve(opened.payment.attempt(1), live=True)
    payment = read(opened, opened.payment.with_attempt(page), 1, said(opened, Signal.SETTLED, live=False))
    assert payment.paid_by is None


async def test_a_refund_heard_of_first_means_paid_and_then_refunded(opened: World) -> None:
    payment = read(opened, opened.payment, 1, said(opened, Signal.SETTLED, refunded_all=True))
    assert payment.paid_by == "tx"
    assert payment.charges[0].refunded_minor == 10_000_000


async def test_refund_totals_only_grow(opened: World) -> None:
    payment = read(opened, opened.payment, 1, said(opened, Signal.SETTLED, refunded=rupiah(60_000)))
    payment = read(opened, payment, 2, said(opened, Signal.SETTLED, refunded=rupiah(30_000)))
    assert payment.charges[0].refunded_minor == 6_000_000


async def test_more_given_back_than_taken_is_recorded_and_a_case(opened: World) -> None:
    payment = read(opened, opened.payment, 1, said(opened, Signal.SETTLED, refunded=rupiah(120_000)))
    assert payment.charges[0].refunded_minor == 12_000_000
    assert "overdrawn" in [case.kind.value for case in payment.open_cases]


async def test_a_charge_back_is_a_case(opened: World) -> None:
    payment = read(opened, opened.payment, 1, said(opened, Signal.SETTLED, charged_back_all=True))
    assert [case.kind.value for case in payment.open_cases] == ["charged_back"]
    assert payment.charges[0].charged_back_minor == 10_000_000


async def test_declines_without_end_do_not_grow_the_payment_without_end(opened: World) -> None:
    payment = opened.payment
    for number in range(CHARGES_MAX + 5):
        payment = read(opened, payment, number + 1, said(opened, Signal.DENIED, f"tx-{number}"))
    assert len(payment.charges) == CHARGES_MAX
    payment = read(opened, payment, CHARGES_MAX + 9, said(opened, Signal.SETTLED, "the-one"))
    assert payment.paid_by == "the-one", "money is always recorded"


async def test_a_hint_is_behind_until_the_table_has_nothing_left_to_do_for_it(opened: World) -> None:
    hint = said(opened, Signal.SETTLED)
    assert still_wants(opened.payment, hint), "a 404 is behind every hint"
    pending = read(opened, opened.payment, 1, said(opened, Signal.PENDING))
    assert still_wants(pending, hint)
    settled = read(opened, pending, 2, hint)
    assert not still_wants(settled, hint)
    assert still_wants(settled, said(opened, Signal.SETTLED, refunded=rupiah(1)))


async def test_a_hint_about_no_attempt_of_ours_is_unmatched(opened: World) -> None:
    hint = said(opened, Signal.SETTLED, provider_order_id=f"{opened.payment.payment_id}-9p")
    made = decide_hint(opened.payment, hint, confirm=Confirm.ALWAYS, now=opened.clock.now())
    assert made.verdict is Verdict.UNMATCHED


async def test_every_question_gets_a_number_of_its_own(opened: World) -> None:
    now = opened.clock.now()
    first = decide_hint(opened.payment, said(opened, Signal.SETTLED), confirm=Confirm.ALWAYS, now=now)
    second = decide_hint(first.payment, said(opened, Signal.PENDING, "other"), confirm=Confirm.ALWAYS, now=now)
    assert (first.ask, second.ask) == (1, 2)
