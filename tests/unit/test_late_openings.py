"""A create that nobody answered, or that was answered too late: which page a buyer may be sent to."""

from datetime import timedelta

import attrs
import pytest

from payments_core.limits import PAGE_UNKNOWN_AFTER, RETRY_SCHEDULE
from payments_core.pages import (
    closing_unanswered,
    is_overtaken,
    page_end,
    page_opened,
    page_opened_late,
    page_unanswered,
)
from payments_core.payment import Attempt, AttemptState, CloseReason
from payments_core.policy import GatewayTraits, Policy
from payments_core.states import CaseKind
from payments_core.testing.samples import LATER, NOW
from unit.values import PAGE, kinds, with_page

POLICY = Policy()
URL = "https://pay.example/1"
OPENING, OPEN, CLOSING = AttemptState.OPENING, AttemptState.OPEN, AttemptState.CLOSING
SENT = with_page(PAGE, state=OPENING, request="{}", sends=1, lease_until=LATER)
HOUR = timedelta(hours=1)


# ── answers that were overtaken ───────────────────────────────────────────────────────────────────────────────────────
def test_a_create_is_overtaken_when_its_lease_is_not_the_pages_any_more() -> None:
    assert not is_overtaken(SENT, SENT.attempt(1))
    assert is_overtaken(with_page(SENT, lease_until=LATER + HOUR), SENT.attempt(1))
    assert is_overtaken(with_page(SENT, lease_until=None), SENT.attempt(1))


def test_the_first_url_is_kept_though_it_came_late_and_is_asked_for_again_before_it_is_handed_out() -> None:
    """Which of two creates left us the newest token nobody knows."""
    page = page_opened_late(with_page(SENT, checks=4), 1, "token", URL, POLICY, NOW).attempt(1)
    assert page == attrs.evolve(
        SENT.attempt(1), state=OPEN, token="token", url=URL, resend=True, check_at=NOW + POLICY.poll, checks=0
    )


def test_a_late_url_beside_one_we_have_only_marks_the_page() -> None:
    known = with_page(SENT, state=OPEN, token="newer", url="https://pay.example/2")
    page = page_opened_late(known, 1, "token", URL, POLICY, NOW).attempt(1)
    assert page == attrs.evolve(known.attempt(1), resend=True)


def test_a_page_that_is_open_for_good_had_its_newest_url_from_a_later_create() -> None:
    settled = with_page(SENT, state=OPEN, token="newer", url="https://pay.example/2", request=None)
    assert page_opened_late(settled, 1, "token", URL, POLICY, NOW) == settled


def test_a_late_url_of_a_page_that_is_closing_is_what_it_is_closed_by() -> None:
    closing = with_page(SENT, state=CLOSING, closing=CloseReason.CANCELLED, check_at=LATER)
    page = page_opened_late(closing, 1, "token", URL, POLICY, NOW).attempt(1)
    assert page == attrs.evolve(closing.attempt(1), token="token", url=URL)


@pytest.mark.parametrize(("replaces", "resend", "request_kept"), [(True, True, "{}"), (False, False, None)])
def test_a_second_create_replaces_the_page_only_where_the_gateway_does_so(
    replaces: bool, resend: bool, request_kept: str | None
) -> None:
    """Elsewhere the same create is answered with the same page: it is open for good."""
    traits = GatewayTraits(replaces_pages=replaces)
    page = page_opened(with_page(SENT, sends=2), 1, "token", URL, traits, POLICY, NOW).attempt(1)
    assert (page.resend, page.request) == (resend, request_kept)


# ── no answer ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_unanswered_create_that_was_overtaken_changes_nothing() -> None:
    newer = with_page(SENT, lease_until=LATER + HOUR)
    assert page_unanswered(newer, SENT.attempt(1), NOW) == newer


@pytest.mark.parametrize("state", [AttemptState.DEAD, AttemptState.SPENT])
def test_an_unanswered_create_of_a_page_that_is_over_only_gives_its_lease_up(state: AttemptState) -> None:
    over = with_page(SENT, state=state, checks=PAGE_UNKNOWN_AFTER)
    assert page_unanswered(over, over.attempt(1), NOW) == with_page(over, lease_until=None)


def sent_so_often(checks: int, **more: object) -> Attempt:
    return with_page(SENT, checks=checks, **more).attempt(1)


def test_an_opening_nobody_answers_is_a_case_in_the_end_and_is_tried_on() -> None:
    """Never dead by time alone."""
    before = SENT.with_attempt(sent_so_often(PAGE_UNKNOWN_AFTER - 2))
    tried = page_unanswered(before, before.attempt(1), NOW)
    assert kinds(tried) == []
    last = SENT.with_attempt(sent_so_often(PAGE_UNKNOWN_AFTER - 1))
    called = page_unanswered(last, last.attempt(1), NOW)
    (case,) = called.open_cases
    assert (case.kind, case.transaction_id, case.opened_at) == (CaseKind.OUTCOME_UNKNOWN, None, NOW)
    assert case.evidence["page"] == PAGE.attempt(1).provider_order_id
    assert set(case.evidence) == {"page", "why"}
    page = called.attempt(1)
    assert (page.state, page.check_at) == (OPENING, NOW + RETRY_SCHEDULE[-1])


def test_a_closing_nobody_answers_is_a_case_in_the_end_and_is_tried_on() -> None:
    closing = {"state": CLOSING, "closing": CloseReason.EXPIRED, "closing_by": "deadline"}
    before = SENT.with_attempt(sent_so_often(PAGE_UNKNOWN_AFTER - 2, **closing))
    assert kinds(closing_unanswered(before, 1, before.attempt(1), NOW)) == []
    last = SENT.with_attempt(sent_so_often(PAGE_UNKNOWN_AFTER - 1, **closing))
    called = closing_unanswered(last, 1, last.attempt(1), NOW)
    assert kinds(called) == ["outcome_unknown"]
    assert (called.attempt(1).state, called.attempt(1).check_at) == (CLOSING, NOW + RETRY_SCHEDULE[-1])


def test_who_closes_a_page_gives_up_his_own_lease_and_nobody_elses() -> None:
    """Found by thirty thousand worlds: it was stored so late that another had the lease, and a third one took it."""
    closing = with_page(SENT, state=CLOSING, closing=CloseReason.EXPIRED, closing_by="deadline")
    assert closing_unanswered(closing, 1, closing.attempt(1), NOW).attempt(1).lease_until is None
    anothers = with_page(closing, lease_until=LATER + HOUR)
    for sent in (closing.attempt(1), None):
        left = closing_unanswered(anothers, 1, sent, NOW).attempt(1)
        assert (left.lease_until, left.checks) == (LATER + HOUR, 1)


def test_a_page_that_died_meanwhile_is_no_unknown_outcome() -> None:
    dead = with_page(SENT, state=AttemptState.DEAD, checks=PAGE_UNKNOWN_AFTER)
    assert closing_unanswered(dead, 1, dead.attempt(1), NOW) == dead


# ── how long a page may live ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("page_max", "lasts"), [(None, 24 * HOUR), (23 * HOUR, 23 * HOUR), (24 * HOUR, 24 * HOUR), (48 * HOUR, 24 * HOUR)]
)
def test_a_page_lives_no_longer_than_its_gateway_lets_it(page_max: timedelta | None, lasts: timedelta) -> None:
    assert page_end(NOW, POLICY, NOW, page_max) == (NOW, NOW + lasts)
