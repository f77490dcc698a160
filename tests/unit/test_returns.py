"""Giving money back, on values: what may be asked for, and what the gateway's words do to the rows.

`test_return_money.py` has the same over a gateway.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import attrs
import pytest

from payments_core import Signal
from payments_core.errors import Conflict, InvalidInput
from payments_core.identity import refund_key
from payments_core.limits import LEASE, REFUND_ASKED_FOR, REFUNDS_MAX, RETRY_SCHEDULE, UNKNOWN_SCHEDULE
from payments_core.money import Money
from payments_core.observations import RefundNews, RefundReport
from payments_core.payment import RETURNABLE, CaseDecision, Payment, Refund, RefundState
from payments_core.policy import GatewayTraits, RefundRule
from payments_core.returns import (
    begin_return,
    close_returned_cases,
    hear_refunds,
    plan_refund,
    refund_confirmed,
    refund_pending,
    refund_refused,
    refund_sent,
    refund_unanswered,
    refundable,
    return_late_money,
    why_not_refund,
)
from payments_core.states import CaseKind, ChargeState
from payments_core.testing.samples import LATER, NOW
from unit.values import HELD, PAGE, PAID, WHOLE, case, charge, kinds, refund, says, with_cases
from unit.world import rupiah

BOB = "operator:bob"
ANY = GatewayTraits()
ALL, PART = rupiah(100_000), rupiah(40_000)
REQUESTED, SENT, UNKNOWN = RefundState.REQUESTED, RefundState.SENT, RefundState.UNKNOWN
CONFIRMED, REFUSED, RETURNED = RefundState.CONFIRMED, RefundState.REFUSED, RefundState.RETURNED
UNDER_WAY = [REQUESTED, SENT, UNKNOWN]
OVER = [CONFIRMED, REFUSED, RETURNED]
Told = Callable[[Payment, str, datetime], Payment]


def left(payment: Payment) -> int:
    one = payment.charge("tx")
    assert one is not None
    return refundable(payment, one).amount_minor


def ask(payment: Payment, amount: Money | None = None, traits: GatewayTraits = ANY, **more: object) -> Refund:
    planned, made = plan_refund(
        payment,
        amount=amount,
        reason="torn",
        by=BOB,
        traits=traits,
        now=NOW,
        **more,  # type: ignore[arg-type]
    )
    assert planned.refund(made.key) == made
    return made


def refused(payment: Payment, amount: Money | None = None, traits: GatewayTraits = ANY, **more: object) -> str:
    with pytest.raises(Conflict) as caught:
        ask(payment, amount, traits, **more)
    return caught.value.code


def with_refund(state: RefundState, **more: object) -> Payment:
    return PAID.with_refund(refund(state, **more))


# ── what is left ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("state", RefundState)
def test_every_refund_counts_against_what_is_left_but_the_refused_and_the_returned(state: RefundState) -> None:
    """Also one whose outcome is unknown: it may still happen."""
    assert left(with_refund(state)) == (WHOLE if state in (REFUSED, RETURNED) else 6_000_000)


def test_refunds_of_other_charges_do_not_count() -> None:
    assert left(PAID.with_refund(refund(CONFIRMED, transaction_id="ty"))) == WHOLE


@pytest.mark.parametrize("field", ["charged_back_minor", "reversed_minor", "refunded_minor"])
def test_what_went_another_way_is_not_left(field: str) -> None:
    assert left(PAID.with_charge(charge(**{field: 3_000_000}))) == 7_000_000


def test_a_refund_made_elsewhere_counts_beside_those_on_their_way() -> None:
    """The gateway's total may know more than our rows do."""
    both = PAID.with_charge(charge(refunded_minor=5_000_000)).with_refund(refund(SENT))
    assert left(both) == 1_000_000
    known = PAID.with_charge(charge(refunded_minor=4_000_000)).with_refund(refund(CONFIRMED))
    assert left(known) == 6_000_000, "the gateway's total is that very row"


def test_there_is_never_less_than_nothing_left() -> None:
    assert left(PAID.with_charge(charge(charged_back_minor=WHOLE, refunded_minor=WHOLE))) == 0


# ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("amount", "rupiahs"), [(None, 100_000), (rupiah(40_000), 40_000), (rupiah(100_000), 100_000)])
def test_a_refund_is_stored_before_it_is_sent(amount: Money | None, rupiahs: int) -> None:
    assert ask(PAID, amount, asked_as="digest") == Refund(
        key=refund_key(PAID.payment_id, 1),
        transaction_id="tx",
        amount=rupiah(rupiahs),
        state=REQUESTED,
        by=BOB,
        reason="torn",
        asked_as="digest",
        at=NOW,
        check_at=NOW + LEASE,
    )


def test_each_refund_has_a_key_of_its_own() -> None:
    assert ask(with_refund(CONFIRMED)).key == refund_key(PAID.payment_id, 2)


def test_the_same_request_finds_its_refund_and_another_does_not() -> None:
    first = refund(SENT, asked_as="digest")
    known = PAID.with_refund(first).with_refund(refund(SENT, key="k-2"))
    assert plan_refund(known, by=BOB, asked_as="digest", traits=ANY, now=LATER) == (known, first)
    assert ask(known, asked_as="other").key == refund_key(PAID.payment_id, 3)
    assert ask(known).key == refund_key(PAID.payment_id, 3), "a request without a name is always a new one"


def test_another_charge_than_the_kept_can_be_named() -> None:
    surplus = PAID.with_charge(charge(transaction_id="ty"))
    assert ask(surplus, transaction_id="ty").transaction_id == "ty"
    assert ask(surplus).transaction_id == "tx"


@pytest.mark.parametrize("payment", [PAGE, HELD], ids=["no charge", "held"])
def test_what_was_not_taken_is_not_given_back(payment: Payment) -> None:
    assert refused(payment) == "not_paid"
    assert refused(payment, transaction_id="tx") == "not_paid"


@pytest.mark.parametrize("amount", [rupiah(0), rupiah(-1), Money.of(100, "USD")])
def test_a_refund_of_nothing_or_in_another_currency_is_refused(amount: Money) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(PAID, amount)
    assert caught.value.code == "invalid_request"


def test_no_more_is_asked_for_than_is_left() -> None:
    assert refused(PAID, Money.of(WHOLE + 1, "IDR")) == "exceeds_refundable"
    assert refused(PAID.with_charge(charge(refunded_minor=WHOLE))) == "nothing_left"
    assert refused(PAID.with_charge(charge(refunded_minor=WHOLE)), Money.of(1, "IDR")) == "nothing_left"
    assert ask(PAID.with_charge(charge(refunded_minor=WHOLE - 1)), Money.of(1, "IDR")).amount == Money.of(1, "IDR")


def test_refunds_have_an_end() -> None:
    payment = PAID
    for number in range(REFUNDS_MAX - 1):
        payment = payment.with_refund(refund(REFUSED, key=f"k-{number}"))
    assert ask(payment)
    assert refused(payment.with_refund(refund(REFUSED, key="last"))) == "too_many_refunds"


def test_until_it_has_settled_only_the_whole_is_given_back_by_any_method() -> None:
    """A void; what the method can do with settled money does not matter."""
    captured = PAID.with_charge(charge(ChargeState.CAPTURED))
    by_hand = GatewayTraits(refunds={})
    assert ask(captured, rupiah(100_000), by_hand).amount == rupiah(100_000)
    assert refused(captured, rupiah(99_999)) == "not_settled_yet"


# ── what a method can do ──────────────────────────────────────────────────────────────────────────────────────────────
WEEK = timedelta(days=7)
RULES = GatewayTraits(refunds={"qris": RefundRule(WEEK), "gopay": RefundRule(WEEK, partial=False)})


def why(one: object, amount: Money = ALL, traits: GatewayTraits = RULES, at: object = NOW) -> str | None:
    return why_not_refund(one, amount, traits, at)  # type: ignore[arg-type]


def test_a_gateway_without_rules_gives_everything_back_at_any_time() -> None:
    assert why(charge(method=None, occurred_at=NOW), traits=ANY, at=NOW + 99 * WEEK) is None


def test_a_method_without_a_rule_gives_nothing_back() -> None:
    assert "bank_transfer" in (why(charge(method="bank_transfer")) or "")
    assert why(charge(method=None)) is not None
    assert refused(PAID.with_charge(charge(method="bank_transfer")), None, RULES) == "return_by_hand"


def test_some_methods_give_back_only_the_whole() -> None:
    assert why(charge(method="gopay")) is None
    assert "only the whole" in (why(charge(method="gopay"), rupiah(1)) or "")
    assert why(charge(), rupiah(1)) is None


def test_the_window_of_a_method_closes_after_its_last_moment() -> None:
    assert why(charge(occurred_at=NOW), at=NOW + WEEK) is None
    closed = why(charge(occurred_at=NOW), at=NOW + WEEK + timedelta(microseconds=1))
    assert "after 7 days for qris" in (closed or "")
    assert why(charge(occurred_at=None), at=NOW + 99 * WEEK) is None, "without a date nobody knows: the gateway says"


# ── sending and waiting ───────────────────────────────────────────────────────────────────────────────────────────────
def test_a_refund_is_marked_sent_before_the_call() -> None:
    sent = refund_sent(with_refund(REQUESTED), "k-1", NOW).refund("k-1")
    assert sent == refund(SENT, check_at=NOW + RETRY_SCHEDULE[0], checks=1)


@pytest.mark.parametrize("state", UNDER_WAY)
def test_an_unanswered_refund_is_asked_about_later_each_time(state: RefundState) -> None:
    now = NOW
    for checks, pause in enumerate(UNKNOWN_SCHEDULE):
        waits = refund_unanswered(with_refund(state, checks=checks), "k-1", now).refund("k-1")
        stays = state is REQUESTED or (state is SENT and checks == 0)
        assert waits == refund(state if stays else UNKNOWN, check_at=now + pause, checks=checks + 1)
        now += pause


def test_a_first_call_that_hung_is_followed_up_at_once() -> None:
    late = NOW + timedelta(minutes=3)
    waits = refund_unanswered(with_refund(SENT, checks=1), "k-1", late).refund("k-1")
    assert waits is not None
    assert waits.check_at == late + UNKNOWN_SCHEDULE[1]


def test_looks_that_come_early_use_up_no_schedule_of_a_refund() -> None:
    """Found by a storm of ten thousand orders: a gateway that comes and goes makes everything due each time."""
    early = NOW + timedelta(minutes=3)
    told = refund_unanswered(with_refund(UNKNOWN, checks=3 * len(UNKNOWN_SCHEDULE)), "k-1", early)
    waits = told.refund("k-1")
    assert waits is not None
    assert waits.check_at == early + UNKNOWN_SCHEDULE[3]
    assert told.cases == ()


def test_after_the_schedule_a_refund_nobody_can_tell_of_is_a_case_and_still_asked_about() -> None:
    last, over = len(UNKNOWN_SCHEDULE), NOW + sum(UNKNOWN_SCHEDULE, timedelta(0))
    assert refund_unanswered(with_refund(SENT, checks=last), "k-1", over - timedelta(seconds=1)).cases == ()
    told = refund_unanswered(with_refund(SENT, checks=last), "k-1", over)
    evidence = {"refund": "k-1", "amount": "40000 IDR"}
    assert told.cases == (case(CaseKind.OUTCOME_UNKNOWN, opened_at=over, evidence=evidence),)
    assert told.refund("k-1") == refund(UNKNOWN, check_at=over + UNKNOWN_SCHEDULE[-1], checks=last + 1)


@pytest.mark.parametrize("told", [refund_unanswered, refund_pending])
def test_a_week_after_it_was_asked_for_nobody_asks_about_a_refund_any_more_and_it_is_a_case(told: Told) -> None:
    end = NOW + REFUND_ASKED_FOR
    before, after = (told(with_refund(SENT, checks=9), "k-1", at) for at in (end - LEASE, end))
    assert before.refunds[0].check_at is not None
    assert (after.refunds[0].state, after.refunds[0].check_at) == (UNKNOWN, None)
    assert kinds(after) == ["outcome_unknown"]


def test_what_is_sent_is_always_looked_at_again() -> None:
    """Also when the service was away for a week: what became of it has to be heard, or to be a case."""
    late = NOW + REFUND_ASKED_FOR + LEASE
    assert refund_sent(with_refund(REQUESTED), "k-1", late) == with_refund(
        SENT, check_at=late + UNKNOWN_SCHEDULE[0], checks=1
    )


def test_a_refund_the_gateway_shows_is_on_its_way_and_no_case_for_a_week() -> None:
    """A bank may take days (stripe.md section 6)."""
    shown = refund_pending(with_refund(UNKNOWN, checks=9), "k-1", NOW + timedelta(days=3))
    assert (shown.refunds[0].state, shown.cases) == (SENT, ())
    assert shown.refunds[0].check_at == NOW + timedelta(days=3) + UNKNOWN_SCHEDULE[-1]
    over = with_refund(CONFIRMED)
    assert refund_pending(over, "k-1", NOW + timedelta(days=9)) == over
    assert refund_pending(over, "nobodys", NOW) == over


# ── the gateway's reply ───────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("state", UNDER_WAY)
def test_a_refund_that_was_done_counts(state: RefundState) -> None:
    done = refund_confirmed(with_refund(state, check_at=LATER), "k-1", LATER)
    assert done.refund("k-1") == refund(CONFIRMED)
    assert done.charges[0].refunded_minor == 4_000_000


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_refused_refund_says_why_and_goes_on_by_hand_where_it_must(by_hand: bool) -> None:
    no = refund_refused(with_refund(SENT, check_at=LATER), "k-1", "window closed", by_hand, LATER)
    assert no.refund("k-1") == refund(REFUSED, refused="window closed")
    assert no.charges == PAID.charges
    evidence = {"refund": "k-1", "amount": "40000 IDR", "why": "window closed"}
    opened = case(CaseKind.RETURN_BY_HAND, opened_at=LATER, evidence=evidence)
    assert no.cases == ((opened,) if by_hand else ())


@pytest.mark.parametrize("state", OVER)
def test_what_is_over_is_not_begun_again(state: RefundState) -> None:
    over = with_refund(state)
    for after in (
        refund_sent(over, "k-1", LATER),
        refund_unanswered(over, "k-1", LATER),
        refund_confirmed(over, "k-1", LATER),
        refund_refused(over, "k-1", "no", True, LATER),
    ):
        assert after == over


def test_a_key_we_do_not_know_changes_nothing() -> None:
    for after in (
        refund_sent(PAID, "k-9", LATER),
        refund_unanswered(PAID, "k-9", LATER),
        refund_confirmed(PAID, "k-9", LATER),
        refund_refused(PAID, "k-9", "no", True, LATER),
    ):
        assert after == PAID


# ── hearing of refunds ────────────────────────────────────────────────────────────────────────────────────────────────
def hear(payment: Payment, *reports: RefundReport) -> Payment:
    one = payment.charge("tx")
    assert one is not None
    return hear_refunds(payment, one, says(Signal.SETTLED, refunds=reports), LATER)


def report(news: RefundNews, key: str = "k-1", amount: Money | None = PART) -> RefundReport:
    return RefundReport(key, amount, news)


STATE = {
    RefundNews.PENDING: SENT,
    RefundNews.CONFIRMED: CONFIRMED,
    RefundNews.REFUSED: REFUSED,
    RefundNews.RETURNED: RETURNED,
}


@pytest.mark.parametrize("news", RefundNews)
def test_a_refund_made_elsewhere_is_taken_in(news: RefundNews) -> None:
    heard = hear(PAID, report(news))
    assert heard.refunds == (refund(STATE[news], by="gateway", at=LATER, reason=None),)
    assert heard.charges[0].refunded_minor == (4_000_000 if news is RefundNews.CONFIRMED else 0)


def test_a_refund_of_nobody_knows_how_much_makes_no_row() -> None:
    assert hear(PAID, report(RefundNews.CONFIRMED, amount=None)) == PAID


def test_a_gateway_cannot_grow_the_rows_without_end() -> None:
    reports = [report(RefundNews.PENDING, key=f"k-{n}", amount=Money.of(1, "IDR")) for n in range(REFUNDS_MAX + 3)]
    assert len(hear(PAID, *reports).refunds) == REFUNDS_MAX


@pytest.mark.parametrize("state", UNDER_WAY)
@pytest.mark.parametrize("news", RefundNews)
def test_what_is_under_way_becomes_what_the_gateway_says(state: RefundState, news: RefundNews) -> None:
    heard = hear(with_refund(state, check_at=LATER), report(news)).refund("k-1")
    due = LATER if news is RefundNews.PENDING else None
    assert heard == refund(STATE[news], check_at=due)


@pytest.mark.parametrize("state", OVER)
@pytest.mark.parametrize("news", RefundNews)
def test_what_is_over_stays_but_for_money_that_comes_back_or_went_after_all(
    state: RefundState, news: RefundNews
) -> None:
    over = with_refund(state)
    if state is CONFIRMED:
        over = over.with_charge(charge(refunded_minor=4_000_000))
    heard = hear(over, report(news)).refund("k-1")
    after_all = {(CONFIRMED, RefundNews.RETURNED): RETURNED, (REFUSED, RefundNews.CONFIRMED): CONFIRMED}
    assert heard == refund(after_all.get((state, news), state))


def test_a_refund_of_another_charge_is_not_this_ones() -> None:
    other = PAID.with_refund(refund(SENT, transaction_id="ty"))
    assert hear(other, report(RefundNews.CONFIRMED)) == other


def test_money_that_came_back_to_us_is_un_counted_and_a_case() -> None:
    given = with_refund(CONFIRMED).with_charge(charge(refunded_minor=5_000_000))
    back = hear(given, report(RefundNews.RETURNED))
    assert back.charges[0].refunded_minor == 1_000_000
    evidence = {"refund": "k-1", "amount": "40000 IDR"}
    assert back.cases == (case(CaseKind.REFUND_RETURNED, opened_at=LATER, evidence=evidence),)
    little = with_refund(CONFIRMED).with_charge(charge(refunded_minor=1))
    assert hear(little, report(RefundNews.RETURNED)).charges[0].refunded_minor == 0


def test_a_refund_that_came_back_before_we_heard_of_it_takes_nothing_from_a_total_told_before() -> None:
    back = hear(PAID.with_charge(charge(refunded_minor=3_000_000)), report(RefundNews.RETURNED))
    assert back.charges[0].refunded_minor == 3_000_000
    assert [opened.kind for opened in back.cases] == [CaseKind.REFUND_RETURNED]


def test_a_total_that_covers_every_refund_confirms_all_of_them() -> None:
    """Some answers list no keys."""
    asked = with_refund(SENT, check_at=LATER, checks=1)
    asked = asked.with_refund(refund(UNKNOWN, key="k-2", amount=rupiah(10_000), checks=1))
    asked = asked.with_refund(refund(REFUSED, key="k-3", checks=1))
    asked = asked.with_refund(refund(SENT, key="k-4", transaction_id="ty", checks=1))
    covered = hear(asked.with_charge(charge(refunded_minor=5_000_000)))
    assert [one.state for one in covered.refunds] == [CONFIRMED, CONFIRMED, REFUSED, SENT]
    assert [one.check_at for one in covered.refunds[:2]] == [None, None]
    short = hear(asked.with_charge(charge(refunded_minor=4_999_999)))
    assert [one.state for one in short.refunds] == [SENT, UNKNOWN, REFUSED, SENT]


def test_a_total_confirms_nothing_that_was_not_sent_yet() -> None:
    """Somebody gave as much back elsewhere, between our storing it and our sending it."""
    asked = with_refund(REQUESTED).with_refund(refund(SENT, key="k-2", amount=rupiah(10_000), checks=1))
    told = hear(asked.with_charge(charge(refunded_minor=5_000_000)))
    assert [one.state for one in told.refunds] == [REQUESTED, CONFIRMED]


def test_a_total_confirms_only_above_what_was_given_back_elsewhere_before() -> None:
    asked = with_refund(UNKNOWN, checks=1, elsewhere_minor=3_000_000)
    for total, state in ((3_000_000, UNKNOWN), (6_999_999, UNKNOWN), (7_000_000, CONFIRMED)):
        assert hear(asked.with_charge(charge(refunded_minor=total))).refunds[0].state is state


def test_what_was_given_back_elsewhere_is_kept_with_the_refund_that_is_asked_for() -> None:
    """What other rows tell is not elsewhere; what has become a row since is not counted twice."""
    known = with_refund(CONFIRMED).with_charge(charge(refunded_minor=7_000_000))
    asked, made = plan_refund(known, amount=rupiah(10_000), by="operator:bob", traits=GatewayTraits(), now=NOW)
    assert made.elsewhere_minor == 3_000_000
    done = refund_confirmed(asked, made.key, LATER)
    assert done.charges[0].refunded_minor == 8_000_000
    row = RefundReport("dash-1", rupiah(30_000), RefundNews.CONFIRMED)
    assert hear(asked, row).charges[0].refunded_minor == 7_000_000
    assert hear(done, row).charges[0].refunded_minor == 8_000_000


def test_what_we_sent_ourselves_is_not_elsewhere_also_while_nobody_has_confirmed_it() -> None:
    """A gateway may count a refund that its bank has not done yet."""
    known = with_refund(SENT, checks=1).with_charge(charge(refunded_minor=4_000_000))
    _, made = plan_refund(known, amount=rupiah(10_000), by="operator:bob", traits=GatewayTraits(), now=NOW)
    assert made.elsewhere_minor == 0


def test_the_rows_count_up_to_the_charges_total_and_never_lower_it() -> None:
    two = with_refund(CONFIRMED).with_refund(refund(CONFIRMED, key="k-2", amount=rupiah(10_000)))
    assert hear(two).charges[0].refunded_minor == 5_000_000
    assert hear(two.with_charge(charge(refunded_minor=6_000_000))).charges[0].refunded_minor == 6_000_000
    mixed = (
        with_refund(CONFIRMED)
        .with_refund(refund(SENT, key="k-2"))
        .with_refund(refund(CONFIRMED, key="k-3", transaction_id="ty"))
    )
    assert hear(mixed).charges[0].refunded_minor == 4_000_000


# ── cases that money closes ───────────────────────────────────────────────────────────────────────────────────────────
SURPLUS = with_cases(PAID.with_charge(charge(transaction_id="ty")), case(CaseKind.SURPLUS_PAYMENT, transaction_id="ty"))


def begin(payment: Payment, number: int = 1) -> Payment:
    return begin_return(payment, payment.cases[number - 1], by=BOB, note="sorry", now=LATER)


def test_a_return_asks_for_all_that_is_left_and_remembers_its_case() -> None:
    partly = SURPLUS.with_charge(charge(transaction_id="ty", refunded_minor=1_000_000))
    (made,) = begin(partly).refunds
    assert (made.amount, made.case, made.by, made.reason, made.at) == (rupiah(90_000), 1, BOB, "sorry", LATER)
    assert (made.transaction_id, made.check_at) == ("ty", LATER + LEASE)


@pytest.mark.parametrize("state", RefundState)
def test_a_return_begins_again_only_when_the_last_one_came_to_nothing(state: RefundState) -> None:
    once = SURPLUS.with_refund(refund(state, case=1, transaction_id="ty"))
    assert len(begin(once).refunds) == (1 if state in UNDER_WAY else 2)


def test_a_refund_for_another_case_does_not_stand_in_the_way() -> None:
    assert len(begin(SURPLUS.with_refund(refund(SENT, case=9, transaction_id="ty"))).refunds) == 2


def test_nothing_is_returned_twice_nor_beside_a_hand() -> None:
    by_hand = case(CaseKind.RETURN_BY_HAND, number=2, transaction_id="ty")
    others = case(CaseKind.RETURN_BY_HAND, number=2, transaction_id="tx")
    payments = {
        "by hand": with_cases(SURPLUS, *SURPLUS.cases, by_hand),
        "back": SURPLUS.with_charge(charge(transaction_id="ty", refunded_minor=WHOLE)),
        "no charge": with_cases(PAID, case(CaseKind.SURPLUS_PAYMENT, transaction_id="ty")),
        "no name": with_cases(PAID, case(CaseKind.SURPLUS_PAYMENT, transaction_id=None)),
    }
    for payment in payments.values():
        assert begin(payment) == payment
    assert begin(with_cases(SURPLUS, *SURPLUS.cases, others)).refunds


def test_returns_have_an_end_too() -> None:
    full = SURPLUS
    for number in range(REFUNDS_MAX):
        assert begin(full).refunds != full.refunds
        full = full.with_refund(refund(REFUSED, key=f"k-{number}"))
    assert begin(full) == full


@pytest.mark.parametrize("kind", CaseKind)
def test_the_policy_returns_late_and_surplus_money_and_nothing_else(kind: CaseKind) -> None:
    payment = with_cases(PAID.with_charge(charge(transaction_id="ty")), case(kind, transaction_id="ty"))
    made = return_late_money(payment, LATER).refunds
    wanted = kind in (CaseKind.LATE_PAYMENT, CaseKind.SURPLUS_PAYMENT)
    assert [(one.by, one.reason, one.case) for one in made] == ([("policy", None, 1)] if wanted else [])


def test_the_policy_decides_no_case_twice_and_none_without_money() -> None:
    closed = case(CaseKind.SURPLUS_PAYMENT, transaction_id="ty", decision=CaseDecision.DISMISS)
    for payment in (with_cases(SURPLUS, closed), with_cases(PAID, case(CaseKind.SURPLUS_PAYMENT, transaction_id=None))):
        assert return_late_money(payment, LATER) == payment


def test_the_policy_does_not_return_surplus_money_that_pays_the_order_since() -> None:
    """The other payment was reversed, and the goods go out for this one."""
    case_of_before = case(CaseKind.SURPLUS_PAYMENT, transaction_id="tx")
    assert return_late_money(with_cases(PAID, case_of_before), LATER) == with_cases(PAID, case_of_before)
    without_goods = with_cases(PAID, case(CaseKind.LATE_PAYMENT, transaction_id="tx"))
    assert return_late_money(without_goods, LATER).refunds


@pytest.mark.parametrize("kind", [CaseKind.REFUND_RETURNED, CaseKind.RETURN_BY_HAND])
@pytest.mark.parametrize("decision", [None, CaseDecision.DISMISS])
def test_the_policy_does_not_return_again_what_was_returned_in_vain(
    kind: CaseKind, decision: CaseDecision | None
) -> None:
    """A person who has looked at it does not set off a hundred refunds that are refused one after the other."""
    looked_at = with_cases(SURPLUS, *SURPLUS.cases, case(kind, number=2, transaction_id="ty", decision=decision))
    assert return_late_money(looked_at, LATER) == looked_at


def test_a_case_closes_when_all_of_its_money_is_back() -> None:
    waiting = SURPLUS.with_refund(refund(CONFIRMED, transaction_id="ty", case=1))
    assert close_returned_cases(waiting, LATER) == waiting, "a part of it"
    back = waiting.with_charge(charge(transaction_id="ty", refunded_minor=WHOLE))
    (closed,) = close_returned_cases(back, LATER).cases
    assert closed == attrs.evolve(
        SURPLUS.cases[0], decision=CaseDecision.RETURN, decided_by=BOB, decided_at=LATER, note="torn"
    )
    assert close_returned_cases(close_returned_cases(back, LATER), NOW).cases == (closed,), "once"


@pytest.mark.parametrize("kind", CaseKind)
def test_every_case_about_returnable_money_closes_when_all_of_it_is_back(kind: CaseKind) -> None:
    """Whichever case sent it, or the dashboard: what nothing is left of could not be returned for the others."""
    given = charge(transaction_id="ty", refunded_minor=WHOLE)
    back = with_cases(PAID.with_charge(given), case(kind, transaction_id="ty"))
    whole = refund(CONFIRMED, transaction_id="ty", case=7, amount=rupiah(100_000))
    elsewhere = attrs.evolve(whole, by="gateway", case=None, reason=None)
    told = ("gateway", "all of it was given back there")
    for payment, how in (
        (back.with_refund(whole), (BOB, "torn")),
        (back.with_refund(elsewhere), ("gateway", None)),
        (back, told),
    ):
        (after,) = close_returned_cases(payment, LATER).cases
        assert after.decision is (CaseDecision.RETURN if kind in RETURNABLE else None)
        assert (after.decided_by, after.note) == (how if kind in RETURNABLE else (None, None))


@pytest.mark.parametrize("kind", sorted(RETURNABLE, key=lambda kind: kind.value))
def test_a_case_stays_while_some_of_its_money_is_with_us_or_may_be_again(kind: CaseKind) -> None:
    given = charge(transaction_id="ty", refunded_minor=WHOLE)
    waiting = {
        "some is left": PAID.with_charge(attrs.evolve(given, refunded_minor=WHOLE - 1)),
        "charged back": PAID.with_charge(attrs.evolve(given, refunded_minor=0, charged_back_minor=WHOLE)),
        "under way": PAID.with_charge(given).with_refund(refund(SENT, transaction_id="ty", case=1)),
        "reversed": PAID.with_charge(
            attrs.evolve(given, state=ChargeState.REVERSED, refunded_minor=WHOLE - 1, reversed_minor=1)
        ),
        "no charge": PAID,
    }
    for payment in waiting.values():
        of_it = with_cases(payment, case(kind, transaction_id="ty"))
        assert close_returned_cases(of_it, LATER) == of_it
    nobodys = with_cases(PAID.with_charge(given), case(kind, transaction_id=None))
    assert close_returned_cases(nobodys, LATER) == nobodys
    last = PAID.with_charge(attrs.evolve(given, refunded_minor=1, charged_back_minor=WHOLE - 1))
    assert kinds(close_returned_cases(with_cases(last, case(kind, transaction_id="ty")), LATER)) == []


def test_what_a_case_asked_for_and_got_closes_it_whatever_happened_since() -> None:
    """A reversal took the rest."""
    taken = charge(ChargeState.REVERSED, "ty", captured_minor=WHOLE, refunded_minor=4_000_000, reversed_minor=6_000_000)
    asked = SURPLUS.with_charge(taken).with_refund(refund(CONFIRMED, transaction_id="ty", case=1))
    assert kinds(close_returned_cases(asked, LATER)) == []


@pytest.mark.parametrize(
    ("sent", "closes"),
    [
        ({"case": 1}, True),
        ({"at": NOW + timedelta(seconds=1)}, True),
        ({"at": NOW}, False),
        ({"at": NOW + timedelta(seconds=1), "transaction_id": "tx"}, False),
        ({"at": NOW + timedelta(seconds=1), "state": RETURNED}, False),
    ],
)
def test_a_refund_that_came_back_is_over_when_another_brought_the_money(sent: dict[str, object], closes: bool) -> None:
    """A total that was told before it came back is none."""
    came_back = case(CaseKind.REFUND_RETURNED, transaction_id="ty")
    back = with_cases(PAID.with_charge(charge(transaction_id="ty", refunded_minor=WHOLE)), came_back)
    assert kinds(close_returned_cases(back, LATER)) == ["refund_returned"]
    made = attrs.evolve(refund(CONFIRMED, transaction_id="ty"), **sent)
    assert (kinds(close_returned_cases(back.with_refund(made), LATER)) == []) is closes


def test_after_a_refund_of_nobody_the_next_is_looked_at() -> None:
    back = SURPLUS.with_charge(charge(transaction_id="ty", refunded_minor=WHOLE))
    back = back.with_refund(refund(REFUSED)).with_refund(refund(CONFIRMED, key="k-2", transaction_id="ty", case=1))
    assert kinds(close_returned_cases(back, LATER)) == []


def test_a_reply_and_a_message_close_the_case_both() -> None:
    waiting = SURPLUS.with_refund(refund(SENT, transaction_id="ty", case=1, amount=rupiah(100_000)))
    assert kinds(refund_confirmed(waiting, "k-1", LATER)) == []
    surplus = waiting.charge("ty")
    assert surplus is not None
    told = says(Signal.SETTLED, "ty", refunds=(report(RefundNews.CONFIRMED),))
    assert kinds(hear_refunds(waiting, surplus, told, LATER)) == []
