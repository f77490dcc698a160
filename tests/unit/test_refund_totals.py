"""What a gateway tells of refunds beside what we know of them: which of it is news, and which total says how much."""

import attrs
import pytest

from payments_core import Observation, Payment, Signal
from payments_core.decide import still_wants
from payments_core.observations import RefundNews, RefundReport
from payments_core.payment import CaseDecision, RefundState
from payments_core.returns import close_returned_cases, refund_news, told_minor
from payments_core.states import CaseKind
from payments_core.testing.samples import LATER
from unit.values import PAID, WHOLE, case, charge, refund, says, with_cases
from unit.world import rupiah

STATES = [*RefundState]


# ── what was told ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("state", STATES)
def test_what_was_given_back_or_is_being_was_told_also_when_it_came_back(state: RefundState) -> None:
    told = PAID.with_refund(refund(state))
    assert told_minor(told, "tx") == (0 if state is RefundState.REFUSED else 4_000_000)


def test_refunds_of_one_charge_are_added_and_those_of_another_left_out() -> None:
    told = PAID.with_refund(refund()).with_refund(refund(RefundState.CONFIRMED, key="k-2"))
    told = told.with_refund(refund(key="k-3", transaction_id="another"))
    assert told_minor(told, "tx") == 8_000_000
    assert told_minor(told, "another") == 4_000_000
    assert told_minor(told, "nobodys") == 0


# ── what is news ──────────────────────────────────────────────────────────────────────────────────────────────────────
def report(news: RefundNews, key: str = "k-1") -> Observation:
    return says(Signal.SETTLED, refunds=(RefundReport(key, rupiah(40_000), news),))


CAME_FURTHER = (
    {(RefundState.REQUESTED, news) for news in RefundNews}
    | {(RefundState.UNKNOWN, news) for news in RefundNews}
    | {(RefundState.SENT, news) for news in RefundNews if news is not RefundNews.PENDING}
    | {(RefundState.CONFIRMED, RefundNews.RETURNED), (RefundState.REFUSED, RefundNews.CONFIRMED)}
)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("news", RefundNews)
def test_a_refund_that_has_come_further_is_news_and_one_that_is_over_only_when_it_comes_back_or_went_after_all(
    state: RefundState, news: RefundNews
) -> None:
    assert refund_news(PAID.with_refund(refund(state)), report(news)) is ((state, news) in CAME_FURTHER)


def test_a_refund_made_elsewhere_is_news() -> None:
    assert refund_news(PAID, report(RefundNews.PENDING))
    assert not refund_news(PAID, says(Signal.SETTLED))


def test_one_refund_that_is_news_among_others_that_are_not_is_enough() -> None:
    known = PAID.with_refund(refund(RefundState.CONFIRMED))
    reports = (*report(RefundNews.CONFIRMED).refunds, *report(RefundNews.PENDING, "k-2").refunds)
    assert refund_news(known, says(Signal.SETTLED, refunds=reports))
    unsaid = RefundReport("k-0", None, RefundNews.CONFIRMED)
    assert refund_news(known, says(Signal.SETTLED, refunds=(unsaid, *reports)))


def test_a_refund_an_answer_does_not_list_yet_is_still_wanted_also_where_its_total_is_no_news() -> None:
    """Somebody had sent more by hand, so the total of a refund in the dashboard was no news, and nobody knew of it."""
    by_hand = PAID.with_charge(charge(refunded_minor=WHOLE - 1))
    assert still_wants(by_hand, report(RefundNews.CONFIRMED))
    assert not still_wants(by_hand.with_refund(refund(RefundState.CONFIRMED)), report(RefundNews.CONFIRMED))
    assert still_wants(by_hand.with_refund(refund(RefundState.SENT)), report(RefundNews.REFUSED))


def test_a_refund_that_does_not_say_how_much_is_asked_about_no_further() -> None:
    """It cannot be counted by its key, so no answer would ever be enough."""
    unsaid = says(Signal.SETTLED, refunds=(RefundReport("k-1", None, RefundNews.CONFIRMED),))
    assert not still_wants(PAID, unsaid)
    assert still_wants(PAID.with_refund(refund(RefundState.SENT)), unsaid)


# ── a total in which some refund may still fail ───────────────────────────────────────────────────────────────────────
def some(total: int | None, **more: object) -> Observation:
    refunded = None if total is None else rupiah(total)
    return says(Signal.SETTLED, refunded_unknown=True, refunded=refunded, **more)


def test_a_total_that_our_rows_already_tell_wants_no_other_answer() -> None:
    """Some refund in it may still fail; each is known by its own key."""
    asked = PAID.with_refund(refund(RefundState.SENT))
    assert not still_wants(asked, some(40_000))
    assert not still_wants(asked, some(39_999))
    assert still_wants(asked, some(40_001)), "there is one that we do not know"
    assert still_wants(asked, some(None)), "it does not say how much"
    assert still_wants(PAID.with_refund(refund(RefundState.REFUSED)), some(40_000))


def test_a_total_that_is_told_speaks_of_everything_no_more() -> None:
    whole = PAID.with_refund(refund(RefundState.SENT, amount=rupiah(100_000)))
    assert not still_wants(whole, some(100_000, refunded_all=True))


def test_where_a_person_was_called_for_an_unknown_total_it_wants_nothing_more() -> None:
    called = with_cases(PAID, case(CaseKind.REFUND_UNKNOWN))
    assert not still_wants(called, some(None))
    assert still_wants(with_cases(PAID, case(CaseKind.REFUND_UNKNOWN, transaction_id="another")), some(None))
    assert still_wants(with_cases(PAID, case(CaseKind.DISPUTE_OPEN)), some(None))


# ── cases that money closes ───────────────────────────────────────────────────────────────────────────────────────────
def test_each_case_says_by_which_refund_its_money_went_back() -> None:
    """The one that asked by its own, the others by the last."""
    back = PAID.with_charge(charge(refunded_minor=WHOLE))
    for number, why in ((1, "torn"), (9, "lost")):
        made = refund(RefundState.CONFIRMED, key=f"k-{number}", case=number, amount=rupiah(50_000), reason=why)
        back = back.with_refund(made)
    both = with_cases(back, case(CaseKind.SURPLUS_PAYMENT), case(CaseKind.LATE_PAYMENT, number=2))
    closed: Payment = close_returned_cases(both, LATER)
    how = {"decision": CaseDecision.RETURN, "decided_by": "operator:bob", "decided_at": LATER}
    assert closed.cases == (
        attrs.evolve(both.cases[0], note="torn", **how),
        attrs.evolve(both.cases[1], note="lost", **how),
    )


@pytest.mark.parametrize(("given_back", "closes"), [(WHOLE, True), (WHOLE - 1, False)])
def test_a_case_closes_with_the_last_minor_unit(given_back: int, closes: bool) -> None:
    back = PAID.with_charge(charge(refunded_minor=given_back)).with_refund(refund(RefundState.CONFIRMED, case=1))
    closed = close_returned_cases(with_cases(back, case(CaseKind.SURPLUS_PAYMENT)), LATER)
    assert (closed.open_cases == ()) is closes
