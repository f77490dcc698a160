"""The life of one payable page, on values: opened, found again, leased, closed, proved dead.

`test_start_payment.py` and `test_close.py` have the same over a gateway.
"""

from datetime import datetime, timedelta

import attrs
import pytest

from payments_core.consequences import begin_closing
from payments_core.errors import Conflict
from payments_core.identity import provider_order_id
from payments_core.limits import ATTEMPTS_MAX, LEASE, OPENING_GRACE, OVER_AFTER, PAGE_LEFT_MIN, POLL_MAX, RETRY_SCHEDULE
from payments_core.orders import OrderStatus
from payments_core.pages import (
    Await,
    NewPage,
    PageWish,
    PayPlan,
    ReplacePage,
    SamePage,
    SendAgain,
    cannot_be_proved,
    new_payment,
    page_dead,
    page_end,
    page_opened,
    page_refused,
    page_taken,
    page_unanswered,
    plan_cancel,
    plan_deadline,
    plan_pay,
    poll_again,
    proof_of_death,
    take_lease,
    try_closing_again,
)
from payments_core.payment import Attempt, AttemptState, ChargeDue, Closed, ClosedAs, CloseReason, Payment
from payments_core.policy import GatewayTraits, Policy
from payments_core.states import CaseKind, ChargeState
from payments_core.testing import samples
from payments_core.testing.samples import LATER, NOW
from unit.values import DEAD, HELD, PAGE, PAID, WHOLE, case, charge, with_cases, with_page

POLICY = Policy()
TRAITS = GatewayTraits(merchant_id="G1", live=False)
WISH = PageWish(provider="midtrans")
URL = "https://pay.example/1"
OPENING, OPEN, CLOSING = AttemptState.OPENING, AttemptState.OPEN, AttemptState.CLOSING
SECOND = timedelta(seconds=1)
READY = with_page(PAGE, url=URL, token="token")
BLANK = attrs.evolve(PAGE, attempts=())


def pay(payment: Payment, wish: PageWish = WISH, at: datetime = NOW) -> PayPlan:
    return plan_pay(payment, wish, TRAITS, POLICY, at)


def refused(payment: Payment, wish: PageWish = WISH, at: datetime = NOW) -> Conflict:
    with pytest.raises(Conflict) as caught:
        pay(payment, wish, at)
    return caught.value


def leased(page: Attempt, at: datetime = NOW) -> Attempt:
    until = at + TRAITS.timeout + OPENING_GRACE
    return attrs.evolve(page, lease_until=until, check_at=until, sends=page.sends + 1)


# ── which page serves a wish ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("wish", "fits"),
    [
        (PageWish(provider="midtrans"), True),
        (PageWish(provider="stripe"), True),
        (PageWish(provider="stripe", any_provider=False), False),
        (PageWish(provider="midtrans", any_provider=False), True),
        (PageWish(provider="midtrans", methods=("gopay", "qris")), True),
        (PageWish(provider="midtrans", methods=("qris",)), False),
        (PageWish(provider="stripe", any_provider=False, methods=("gopay", "qris")), False),
    ],
)
def test_a_page_serves_a_wish_of_its_provider_and_its_methods_in_any_order(wish: PageWish, fits: bool) -> None:
    page = attrs.evolve(PAGE.attempt(1), methods=("qris", "gopay"))
    assert wish.fits(page) is fits


# ── the payment ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_payment_owes_what_the_order_sells() -> None:
    order = samples.order(reserved_at=NOW - SECOND)
    assert new_payment(order, "pay", NOW) == Payment(
        payment_id="pay",
        order_id="o-1",
        amount=order.total,
        owed=order.total,
        created_at=NOW,
        reserved_at=NOW - SECOND,
    )


@pytest.mark.parametrize(("expired", "code"), [(True, "order_expired"), (False, "order_cancelled")])
def test_an_order_that_is_no_longer_for_sale_says_why(expired: bool, code: str) -> None:
    gone = samples.order(status=OrderStatus.CANCELLED, expired=expired)
    with pytest.raises(Conflict) as caught:
        new_payment(gone, "pay", NOW)
    assert caught.value.code == code


# ── a click ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("payment", [BLANK, DEAD], ids=["none yet", "all dead"])
def test_a_page_is_opened_where_no_other_can_be_paid(payment: Payment) -> None:
    """Stored with its lease before anything is sent."""
    number = len(payment.attempts) + 1
    wish = PageWish(provider="stripe", methods=("card",), return_url="https://shop.example/back")
    part = attrs.evolve(payment, account="acme")
    plan = pay(part, wish, NOW + timedelta(microseconds=5))
    ends_at = NOW + POLICY.expiry
    page = Attempt(
        number=number,
        provider="stripe",
        account="acme",
        provider_order_id=provider_order_id(payment.payment_id, number),
        state=OPENING,
        amount=payment.owed,
        merchant_id="G1",
        live=False,
        methods=("card",),
        return_url="https://shop.example/back",
        opened_at=NOW,
        ends_at=ends_at,
    )
    leased_page = leased(page, NOW + timedelta(microseconds=5))
    assert plan == NewPage(attrs.evolve(part.with_attempt(leased_page), deadline_at=ends_at), leased_page)


def test_a_page_asks_for_what_is_owed() -> None:
    """A person accepted another amount before, or a part was captured."""
    less = attrs.evolve(DEAD, owed=DEAD.amount - samples.Money(1, samples.IDR))
    plan = pay(less)
    assert isinstance(plan, NewPage)
    assert plan.attempt.amount == less.owed


def test_a_new_page_ends_when_its_gateway_ends_it() -> None:
    plan = plan_pay(DEAD, WISH, attrs.evolve(TRAITS, page_max=timedelta(hours=23)), POLICY, NOW)
    assert isinstance(plan, NewPage)
    assert plan.attempt.ends_at == plan.payment.deadline_at == NOW + timedelta(hours=23)


def test_pages_have_an_end() -> None:
    payment = DEAD
    for number in range(2, ATTEMPTS_MAX + 1):
        assert isinstance(pay(payment), NewPage)
        payment = payment.with_attempt(attrs.evolve(DEAD.attempt(1), number=number, provider_order_id=f"p-{number}"))
    assert refused(payment).code == "too_many_attempts"


@pytest.mark.parametrize(
    ("payment", "code"),
    [
        (PAID, "already_paid"),
        (PAID.with_charge(charge(refunded_minor=1)), "already_paid"),
        (PAID.with_charge(charge(refunded_minor=WHOLE)), "refunded"),
        (PAID.with_charge(charge(charged_back_minor=WHOLE)), "charged_back"),
        (HELD, "authorized"),
        (attrs.evolve(DEAD, closed=Closed(ClosedAs.CANCELLED, NOW, "bob")), "order_cancelled"),
        (attrs.evolve(DEAD, closed=Closed(ClosedAs.EXPIRED, NOW, "deadline")), "order_expired"),
    ],
)
def test_a_click_is_told_why_the_order_cannot_be_paid(payment: Payment, code: str) -> None:
    assert refused(payment).code == code


def test_a_blocking_case_stands_before_a_new_page() -> None:
    blocked = with_cases(DEAD, case(CaseKind.MERCHANT_MISMATCH), case(CaseKind.AMOUNT_MISMATCH, number=2))
    error = refused(blocked)
    assert (error.code, error.retryable) == ("needs_review", False)
    assert str(error).endswith("amount_mismatch, merchant_mismatch")
    assert isinstance(pay(with_cases(DEAD, case(CaseKind.OVERDRAWN))), NewPage)


def test_a_blocking_case_does_not_take_an_open_page_away_but_a_reversal_does() -> None:
    assert isinstance(pay(with_cases(READY, case(CaseKind.AMOUNT_MISMATCH))), SamePage)
    assert refused(with_cases(READY, case(CaseKind.REVERSED))).code == "needs_review"


def test_a_page_that_is_closing_is_waited_for() -> None:
    error = refused(with_page(PAGE, state=CLOSING, closing=CloseReason.REPLACED))
    assert (error.code, error.retryable) == ("page_closing", True)


def test_a_try_in_review_on_a_page_that_is_dead_is_waited_for_too() -> None:
    assert refused(DEAD.with_charge(charge(ChargeState.CHALLENGED))).code == "page_closing"


def test_the_open_page_is_found_again() -> None:
    assert pay(READY) == SamePage(READY, READY.attempt(1))


@pytest.mark.parametrize("state", [OPENING, OPEN])
def test_while_somebody_opens_it_others_wait(state: AttemptState) -> None:
    busy = with_page(READY, state=state, lease_until=NOW + SECOND)
    assert pay(busy) == Await(busy.attempt(1))
    over = with_page(READY, state=state, lease_until=NOW)
    assert not isinstance(pay(over), Await), "the lease ends with its moment"


def test_an_opening_nobody_finished_is_sent_again_with_the_same_request() -> None:
    lost = with_page(PAGE, state=OPENING, request="{}", sends=1)
    again = leased(lost.attempt(1))
    assert pay(lost) == SendAgain(lost.with_attempt(again), again)
    assert again.sends == 2


def test_an_opening_is_finished_before_it_is_replaced() -> None:
    """Only a page with a token can be closed."""
    other = PageWish(provider="stripe", any_provider=False)
    assert isinstance(pay(with_page(PAGE, state=OPENING, request="{}"), other), SendAgain)


def test_another_wish_closes_the_open_page_first() -> None:
    other = PageWish(provider="stripe", any_provider=False)
    closing = begin_closing(READY.attempt(1), CloseReason.REPLACED, "customer", NOW)
    assert pay(READY, other) == ReplacePage(READY.with_attempt(closing), closing)


def test_a_page_whose_url_may_have_been_replaced_is_asked_for_once_more() -> None:
    doubtful = with_page(READY, resend=True, request="{}")
    again = leased(doubtful.attempt(1))
    assert pay(doubtful) == SendAgain(doubtful.with_attempt(again), again)


END = PAGE.attempt(1).ends_at


def test_with_too_little_time_left_nothing_is_sent_any_more() -> None:
    last, over = END - PAGE_LEFT_MIN, END - PAGE_LEFT_MIN + SECOND
    opening = with_page(PAGE, state=OPENING, request="{}")
    assert isinstance(pay(opening, at=last), SendAgain)
    assert refused(opening, at=over).code == "order_expired"
    doubtful = with_page(READY, resend=True, request="{}")
    assert pay(doubtful, at=over) == SamePage(doubtful, doubtful.attempt(1)), "what we have is better than nothing"
    assert pay(READY, at=over) == SamePage(READY, READY.attempt(1))


def test_an_opening_with_too_little_time_left_may_be_replaced() -> None:
    opening = with_page(PAGE, state=OPENING, request="{}")
    other = PageWish(provider="stripe", any_provider=False)
    assert isinstance(pay(opening, other, END - PAGE_LEFT_MIN), SendAgain)
    assert isinstance(pay(opening, other, END - PAGE_LEFT_MIN + SECOND), ReplacePage)


def test_a_lease_ends_after_the_call_it_is_for() -> None:
    assert take_lease(PAGE, PAGE.attempt(1), TRAITS, LATER) == SendAgain(
        PAGE.with_attempt(leased(PAGE.attempt(1), LATER)), leased(PAGE.attempt(1), LATER)
    )


# ── when it ends ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("held_for", "lasts"),
    [
        (timedelta(0), timedelta(hours=24)),
        (timedelta(hours=48), timedelta(hours=24)),
        (timedelta(hours=60), timedelta(hours=12)),
        (timedelta(hours=71, minutes=54, seconds=1), timedelta(minutes=5)),
        (timedelta(hours=71, minutes=55), timedelta(minutes=5)),
    ],
)
def test_a_page_ends_after_the_expiry_and_while_the_stock_is_held(held_for: timedelta, lasts: timedelta) -> None:
    began, ends = page_end(NOW - held_for, POLICY, NOW + timedelta(microseconds=999_999))
    assert (began, ends - began) == (NOW, lasts), "in whole seconds, whole minutes apart"


def test_a_page_of_less_than_five_minutes_is_not_opened() -> None:
    with pytest.raises(Conflict) as caught:
        page_end(NOW - timedelta(hours=71, minutes=55, seconds=1), POLICY, NOW)
    assert caught.value.code == "order_expired"


# ── what the create was answered ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("state", [OPENING, OPEN])
def test_the_first_url_opens_the_page(state: AttemptState) -> None:
    sent = with_page(PAGE, state=state, request="{}", sends=1, lease_until=LATER, checks=3, resend=True)
    page = page_opened(sent, 1, "token", URL, TRAITS, POLICY, NOW).attempt(1)
    assert page == attrs.evolve(
        sent.attempt(1),
        state=OPEN,
        token="token",
        url=URL,
        lease_until=None,
        request=None,
        resend=False,
        sends=0,
        check_at=NOW + POLICY.poll,
        checks=0,
    )


def test_a_create_that_was_sent_twice_marks_its_page() -> None:
    """A late first one may still replace the token that is handed out."""
    sent = with_page(PAGE, state=OPENING, request="{}", sends=2, lease_until=LATER)
    page = page_opened(sent, 1, "token", URL, TRAITS, POLICY, NOW).attempt(1)
    assert (page.resend, page.request, page.sends) == (True, "{}", 0)


def test_a_newer_url_takes_the_place_of_the_last_and_the_polling_goes_on() -> None:
    again = with_page(READY, sends=1, checks=3, resend=True, request="{}", lease_until=LATER)
    page = page_opened(again, 1, "newer", "https://pay.example/2", TRAITS, POLICY, NOW).attempt(1)
    assert (page.token, page.url, page.checks, page.resend) == ("newer", "https://pay.example/2", 3, False)


@pytest.mark.parametrize("state", [CLOSING, AttemptState.SPENT, AttemptState.DEAD])
def test_an_answer_that_comes_too_late_opens_nothing(state: AttemptState) -> None:
    """But the token is kept: it is what the page is closed by."""
    over = with_page(PAGE, state=state, sends=1, lease_until=LATER, check_at=LATER)
    if state is AttemptState.SPENT:
        over = over.with_charge(charge())
    page = page_opened(over, 1, "token", URL, TRAITS, POLICY, NOW).attempt(1)
    assert page == attrs.evolve(over.attempt(1), token="token", url=URL, lease_until=None)


def test_an_unanswered_create_is_due_again_later_each_time() -> None:
    for checks in range(len(RETRY_SCHEDULE) + 2):
        sent = with_page(PAGE, state=OPENING, lease_until=LATER, checks=checks)
        page = page_unanswered(sent, sent.attempt(1), NOW).attempt(1)
        pause = RETRY_SCHEDULE[min(checks, len(RETRY_SCHEDULE) - 1)]
        assert page == attrs.evolve(sent.attempt(1), lease_until=None, check_at=NOW + pause, checks=checks + 1)


def test_a_refused_page_is_dead_unless_a_token_was_received() -> None:
    sent = with_page(PAGE, state=OPENING, request="{}", lease_until=LATER, check_at=LATER)
    page = page_refused(sent, 1, NOW).attempt(1)
    assert (page.state, page.proof, page.lease_until, page.request) == (AttemptState.DEAD, "refused", None, None)
    again = with_page(READY, resend=True, request="{}", lease_until=LATER)
    assert page_refused(again, 1, NOW).attempt(1) == READY.attempt(1), "the URL we have stays good"


def test_an_order_id_that_is_taken_without_a_url_is_lost() -> None:
    """A transaction exists: no other page is opened until it is proved dead."""
    sent = with_page(PAGE, state=OPENING, request="{}", resend=True, lease_until=LATER)
    page = page_taken(sent, 1, NOW).attempt(1)
    assert (page.state, page.closing, page.closing_by) == (CLOSING, CloseReason.LOST, "gateway")
    assert (page.lease_until, page.resend, page.request, page.check_at) == (None, False, None, NOW + LEASE)


def test_an_order_id_that_is_taken_on_an_open_page_needs_no_other_url() -> None:
    again = with_page(READY, resend=True, request="{}", lease_until=LATER)
    assert page_taken(again, 1, NOW).attempt(1) == READY.attempt(1)


def test_a_page_that_is_closing_already_keeps_its_reason_when_it_is_taken() -> None:
    closing = with_page(PAGE, state=CLOSING, closing=CloseReason.EXPIRED, lease_until=LATER, check_at=LATER)
    assert page_taken(closing, 1, NOW).attempt(1) == attrs.evolve(closing.attempt(1), lease_until=None)


# ── closing ───────────────────────────────────────────────────────────────────────────────────────────────────────────
GONE = with_page(PAGE, state=CLOSING, closing=CloseReason.EXPIRED, closing_by="deadline", check_at=LATER, checks=2)


def test_a_dead_page_wants_nothing_more() -> None:
    busy = with_page(GONE, request="{}", lease_until=LATER, doubt=CloseReason.EXPIRED, resend=True)
    dead = page_dead(busy, 1, "closed", NOW)
    assert dead.attempt(1) == attrs.evolve(
        busy.attempt(1),
        state=AttemptState.DEAD,
        proof="closed",
        request=None,
        lease_until=None,
        doubt=None,
        resend=False,
        check_at=None,
    )
    assert dead.closed == Closed(ClosedAs.EXPIRED, NOW, "deadline"), "what follows is drawn at once"


@pytest.mark.parametrize("over", [DEAD, PAID], ids=["dead", "spent"])
def test_what_is_over_does_not_die_again(over: Payment) -> None:
    assert page_dead(over, 1, "over", LATER) == over


def test_a_closing_is_tried_again_later_each_time() -> None:
    for checks in range(len(RETRY_SCHEDULE) + 2):
        page = try_closing_again(with_page(GONE, checks=checks), 1, NOW).attempt(1)
        pause = RETRY_SCHEDULE[min(checks, len(RETRY_SCHEDULE) - 1)]
        assert page == attrs.evolve(GONE.attempt(1), check_at=NOW + pause, checks=checks + 1)
    assert try_closing_again(READY, 1, NOW) == READY


@pytest.mark.parametrize(("checks", "minutes"), [(0, 10), (1, 20), (2, 40), (3, 60), (4, 60), (40, 60), (10**6, 60)])
def test_an_open_page_is_asked_about_half_as_often_each_time_up_to_once_an_hour(checks: int, minutes: int) -> None:
    page = poll_again(with_page(READY, checks=checks), 1, POLICY, NOW).attempt(1)
    assert (page.check_at, page.checks) == (NOW + timedelta(minutes=minutes), checks + 1)
    assert timedelta(hours=1) == POLL_MAX


def test_only_an_open_page_is_polled() -> None:
    assert poll_again(GONE, 1, POLICY, NOW) == GONE


ENDED = charge(ChargeState.EXPIRED)


def proof(payment: Payment, *, token_gone: bool = False, at: datetime = NOW) -> str | None:
    return proof_of_death(payment, payment.attempt(1), token_gone=token_gone, asked_at=at)


@pytest.mark.parametrize(
    "state", [ChargeState.PENDING, ChargeState.CHALLENGED, ChargeState.AUTHORIZED, ChargeState.SETTLED]
)
def test_a_page_with_money_or_a_try_that_lives_is_not_dead(state: ChargeState) -> None:
    alive = with_page(READY).with_charge(charge(state))
    assert proof(alive, token_gone=True, at=END + 2 * OVER_AFTER) is None


def test_a_token_that_is_gone_is_a_proof_when_we_have_one() -> None:
    assert proof(READY, token_gone=True) == "closed"
    assert proof(READY.with_charge(ENDED), token_gone=True) == "closed"
    assert proof(READY.with_charge(ENDED)) is None
    assert proof(PAGE, token_gone=True) is None, "there was no token that could be gone"


def test_without_a_token_the_end_of_its_transactions_is_the_end_of_the_page() -> None:
    assert proof(PAGE.with_charge(ENDED)) == "closed"
    assert proof(PAGE) is None
    other = charge(ChargeState.EXPIRED, attempt=2)
    second = attrs.evolve(PAGE.attempt(1), number=2, provider_order_id="second", state=AttemptState.DEAD)
    assert proof(PAGE.with_attempt(second).with_charge(other)) is None, "the end of another page's says nothing"


def test_an_hour_after_its_end_a_page_is_over() -> None:
    assert proof(READY, at=END + OVER_AFTER) == "over"
    assert proof(READY, at=END + OVER_AFTER - SECOND) is None


def test_a_page_that_cannot_be_proved_dead_is_asked_about_and_then_a_case() -> None:
    last = len(RETRY_SCHEDULE)
    early = with_page(GONE, checks=last - 1)
    assert cannot_be_proved(early, 1, "tx", NOW) == try_closing_again(early, 1, NOW)
    late = with_page(GONE, checks=last)
    evidence = {
        "page": PAGE.attempt(1).provider_order_id,
        "why": "the gateway shows a transaction whose state is not known",
    }
    told = cannot_be_proved(late, 1, "tx", NOW)
    assert told == with_cases(
        try_closing_again(late, 1, NOW), case(CaseKind.OUTCOME_UNKNOWN, opened_at=NOW, evidence=evidence)
    )
    assert cannot_be_proved(with_page(READY, checks=last), 1, "tx", NOW).cases == ()


# ── deadline and cancellation ─────────────────────────────────────────────────────────────────────────────────────────
DUE = attrs.evolve(READY, deadline_at=NOW)


def test_at_its_deadline_a_page_begins_to_close() -> None:
    over = plan_deadline(DUE, POLICY, NOW)
    page = over.attempt(1)
    assert (page.state, page.closing, page.closing_by) == (CLOSING, CloseReason.EXPIRED, "deadline")
    assert over.deadline_at is None


@pytest.mark.parametrize("state", [ChargeState.CHALLENGED, ChargeState.AUTHORIZED])
def test_money_that_is_held_or_under_review_is_waited_for(state: ChargeState) -> None:
    waiting = DUE.with_charge(charge(state))
    assert plan_deadline(waiting, POLICY, NOW) == attrs.evolve(waiting, deadline_at=NOW + POLICY.poll)


def test_a_pending_try_is_not_waited_for() -> None:
    over = plan_deadline(DUE.with_charge(charge(ChargeState.PENDING)), POLICY, NOW)
    assert over.attempt(1).state is CLOSING


@pytest.mark.parametrize(
    "payment", [PAID, attrs.evolve(DEAD, closed=Closed(ClosedAs.EXPIRED, NOW, "x"))], ids=["paid", "given up"]
)
def test_what_is_decided_has_no_deadline(payment: Payment) -> None:
    assert plan_deadline(attrs.evolve(payment, deadline_at=NOW), POLICY, NOW) == payment


def test_a_payment_without_a_page_only_loses_its_deadline() -> None:
    assert plan_deadline(attrs.evolve(BLANK, deadline_at=NOW), POLICY, NOW) == BLANK


def test_the_last_page_carries_the_reason_dead_or_not() -> None:
    """Every page is dead: the payment is given up at once."""
    dead = plan_cancel(attrs.evolve(DEAD, deadline_at=LATER), "operator:bob", NOW)
    assert dead.closed == Closed(ClosedAs.CANCELLED, NOW, "operator:bob")
    assert (dead.attempt(1).closing, dead.deadline_at) == (CloseReason.CANCELLED, None)


def test_the_page_that_can_be_paid_is_closed_and_no_other() -> None:
    first = attrs.evolve(DEAD.attempt(1), closing=CloseReason.REPLACED)
    second = attrs.evolve(READY.attempt(1), number=2, provider_order_id="second")
    over = plan_cancel(DEAD.with_attempt(first).with_attempt(second), "operator:bob", NOW)
    assert over.attempt(1) == first
    assert (over.attempt(2).closing, over.attempt(2).closing_by) == (CloseReason.CANCELLED, "operator:bob")


def test_a_payment_whose_earlier_page_is_the_one_that_closes_is_given_up_all_the_same() -> None:
    """Found by fifty thousand worlds: the money of the first page was reversed after the second had died."""
    first = attrs.evolve(READY.attempt(1), state=CLOSING, closing=CloseReason.REVERSED, closing_by="gateway")
    second = attrs.evolve(DEAD.attempt(1), number=2, provider_order_id="second", closing=CloseReason.REPLACED)
    payment = attrs.evolve(DUE, attempts=(first, second))
    for over, closed_as in (
        (plan_deadline(payment, POLICY, NOW), ClosedAs.EXPIRED),
        (plan_cancel(payment, "operator:bob", NOW), ClosedAs.CANCELLED),
    ):
        assert (over.attempt(1).state, over.attempt(2).state, over.closed) == (CLOSING, AttemptState.DEAD, None)
        given_up = page_dead(over, 1, "closed", LATER).closed
        assert given_up is not None
        assert (given_up.kind, given_up.at) == (closed_as, LATER)


def test_a_cancellation_comes_too_late_for_what_is_paid_and_changes_nothing_twice() -> None:
    with pytest.raises(Conflict) as caught:
        plan_cancel(PAID, "operator:bob", NOW)
    assert caught.value.code == "already_paid"
    cancelled = plan_cancel(DEAD, "operator:bob", NOW)
    assert plan_cancel(cancelled, "operator:eve", LATER) == cancelled


def test_a_pending_try_on_a_page_that_died_is_cancelled_with_it() -> None:
    pending = GONE.with_charge(charge(ChargeState.PENDING))
    (stopped,) = page_dead(pending, 1, "over", NOW).charges
    assert stopped.due is ChargeDue.CANCEL
