"""A shop paid through Stripe: what each event, each answer and each lost answer leads to, over the real adapter."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from harness.stripe_double import StripeDouble, stripe_double
from harness.stripe_shop import ORDER_ID, StripeShop, stripe_shop
from payments_core import Money, PageWish
from payments_core.decide import Verdict
from payments_core.errors import GatewayError, GatewayRefused
from payments_core.payment import AttemptState, CloseReason, RefundState
from payments_core.ports import Foreign
from payments_core.states import ChargeState
from payments_core.use_cases.receive_notification import Accepted


@pytest.fixture(scope="module")
def running() -> Iterator[StripeDouble]:
    with stripe_double() as double:
        yield double


@pytest.fixture
async def shop(running: StripeDouble) -> AsyncIterator[StripeShop]:
    running.clear()
    async with stripe_shop(running) as opened:
        yield opened


def verdict(heard: Accepted | Foreign) -> Verdict:
    assert isinstance(heard, Accepted)
    return heard.verdict


# ── paying ────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_buyer_pays_and_the_order_is_paid_once(shop: StripeShop) -> None:
    """Intent, charge and session all tell of the same money."""
    session_id = await shop.opened()
    intent_id = shop.double.buyer(session_id, "paid")
    await shop.hear_all()
    assert (shop.status, shop.payment.paid_by, shop.cases) == ("success", intent_id, [])
    assert shop.history.count("payment.paid") == shop.history.count("order.paid") == 1


async def test_events_in_the_opposite_order_pay_as_well(shop: StripeShop) -> None:
    """Stripe promises no order."""
    session_id = await shop.opened()
    shop.double.buyer(session_id, "paid")
    for event in reversed(shop.double.events):
        await shop.hear(event)
    assert (shop.status, shop.cases) == ("success", [])


async def test_an_event_is_one_by_its_id_whatever_its_bytes(shop: StripeShop) -> None:
    """A delivery that is repeated may be rendered anew; a field about deliveries differs then."""
    session_id = await shop.opened()
    shop.double.buyer(session_id, "paid")
    event = shop.double.event("payment_intent.succeeded")
    assert verdict(await shop.hear(event)) is Verdict.APPLIED
    assert verdict(await shop.hear({**event, "pending_webhooks": 7})) is Verdict.DUPLICATE
    again_under_another_id = {**event, "id": "evt_another"}
    assert verdict(await shop.hear(again_under_another_id)) is Verdict.STALE
    assert shop.history.count("payment.paid") == 1


async def test_a_declined_try_is_no_failed_payment(shop: StripeShop) -> None:
    """The buyer may try another card on the same page; what was refused is shown until one is not."""
    session_id = await shop.opened()
    shop.double.buyer(session_id, "declined")
    await shop.hear(shop.double.event("payment_intent.payment_failed"))
    assert (await shop.click()).attempt.token == session_id
    decline = shop.payment.last_decline
    assert decline is not None
    assert decline.code == "insufficient_funds"
    assert shop.history.count("charge.declined") == 1
    shop.double.buyer(session_id, "paid")
    await shop.hear(shop.double.event("payment_intent.succeeded"))
    assert (shop.status, shop.payment.last_decline) == ("success", None)


async def test_a_delayed_method_pays_when_its_money_comes(shop: StripeShop) -> None:
    session_id = await shop.opened()
    intent_id = shop.double.buyer(session_id, "delayed")
    await shop.hear_all()
    assert shop.status == "processing"
    shop.double.succeeds(intent_id)
    await shop.hear(shop.double.event("checkout.session.async_payment_succeeded"))
    assert shop.status == "success"


async def test_a_delayed_method_that_bounces_uses_the_page_up_and_another_opens(shop: StripeShop) -> None:
    """A complete session takes no other try, so it is proved over, and the order is paid on a new page."""
    session_id = await shop.opened()
    intent_id = shop.double.buyer(session_id, "delayed")
    await shop.hear_all()
    shop.double.bounces(intent_id)
    await shop.hear(shop.double.event("checkout.session.async_payment_failed"))
    page = shop.payment.attempt(1)
    assert (shop.status, page.state, page.closing) == ("failed", AttemptState.DEAD, CloseReason.USED_UP)
    again = await shop.click()
    assert (again.created, again.attempt.number) == (True, 2)
    shop.double.buyer(again.attempt.token or "", "paid")
    await shop.hear(shop.double.event("payment_intent.succeeded"))
    assert shop.status == "success"


async def test_while_a_delayed_method_is_on_its_way_its_page_is_not_dead(shop: StripeShop) -> None:
    """Processing is alive, for days: no other page is opened, and a cancellation waits."""
    session_id = await shop.opened()
    shop.double.buyer(session_id, "delayed")
    assert shop.service.cancel_order is not None
    _order, done = await shop.service.cancel_order(ORDER_ID, actor="shop")
    assert not done
    assert shop.payment.attempt(1).state is AttemptState.CLOSING
    assert shop.double.sessions[session_id]["status"] == "complete"


async def test_a_session_that_expired_ends_the_order(shop: StripeShop) -> None:
    """Nobody tried to pay, so there is no charge; the session itself says that it is over."""
    session_id = await shop.opened()
    shop.double.expires(session_id)
    await shop.hear(shop.double.event("checkout.session.expired"))
    assert (shop.status, shop.payment.charges) == ("expired", ())
    assert shop.store.orders.available["book"] == 100, "its stock is back"


async def test_an_old_event_of_an_expiry_does_not_close_a_page_that_is_open(shop: StripeShop) -> None:
    """What a hint says of a page is asked, and the session decides."""
    session_id = await shop.opened()
    expired = {**shop.double.sessions[session_id], "status": "expired"}
    await shop.hear({"id": "evt_false", "type": "checkout.session.expired", "data": {"object": expired}})
    assert (shop.status, shop.payment.attempt(1).state) == ("pending", AttemptState.OPEN)


async def test_a_session_that_expired_after_a_decline_ends_the_order_too(shop: StripeShop) -> None:
    session_id = await shop.opened()
    shop.double.buyer(session_id, "declined")
    await shop.hear_all()
    shop.double.expires(session_id)
    await shop.hear(shop.double.event("checkout.session.expired"))
    (charge,) = shop.payment.charges
    assert (shop.status, charge.state) == ("expired", ChargeState.EXPIRED)


# ── what goes wrong on the way ────────────────────────────────────────────────────────────────────────────────────────
async def test_a_lost_answer_is_asked_for_again_under_the_same_key_with_the_same_bytes(shop: StripeShop) -> None:
    """One session, however often the create was sent."""
    await shop.place()
    shop.double.faults = ["lose"]
    with pytest.raises(GatewayError):
        await shop.click()
    paying = await shop.click()
    first, second = (request for request in shop.double.seen if request.path == "/v1/checkout/sessions")
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert list(shop.double.sessions) == [paying.attempt.token]
    assert not paying.attempt.resend, "Stripe answers a repeated create with the same page"


async def test_another_total_than_the_orders_is_expired_and_refused(shop: StripeShop) -> None:
    """Nobody is ever shown a page that asks for something else."""
    shop.double.wrong_total = 1
    with pytest.raises(GatewayRefused, match="would ask for 10000001 idr instead of 10000000 idr"):
        await shop.opened()
    (session,) = shop.double.sessions.values()
    assert session["status"] == "expired"
    assert (shop.status, shop.payment.attempt(1).state) == ("failed", AttemptState.DEAD)
    shop.double.wrong_total = 0
    assert (await shop.click()).created, "and the next click opens another"


async def test_a_wrong_total_is_not_refused_before_its_session_is_expired(shop: StripeShop) -> None:
    """While Stripe cannot be reached the session may live: the create is sent again, and its session ended then."""
    shop.double.wrong_total = 1
    await shop.place()
    shop.double.faults = ["none", "refuse"]
    with pytest.raises(GatewayError):
        await shop.click()
    assert shop.payment.attempt(1).state is AttemptState.OPENING
    with pytest.raises(GatewayRefused):
        await shop.click()
    (session,) = shop.double.sessions.values()
    assert session["status"] == "expired"


async def test_test_money_never_pays_a_live_order(shop: StripeShop) -> None:
    """An event in another mode than our key's is asked about, and counts for nothing."""
    session_id = await shop.opened()
    shop.double.buyer(session_id, "action")
    paid = {**shop.double.intents[shop.double.sessions[session_id]["payment_intent"]], "status": "succeeded"}
    paid["amount_received"] = paid["amount"]
    event = {"id": "evt_live", "type": "payment_intent.succeeded", "livemode": True, "data": {"object": paid}}
    await shop.hear(event)
    assert shop.status == "processing"
    assert shop.payment.paid_by is None


async def test_an_event_of_another_account_is_foreign(shop: StripeShop) -> None:
    """A platform's endpoint gets its connected accounts' events: answered, not stored."""
    session_id = await shop.opened()
    shop.double.buyer(session_id, "paid")
    heard = await shop.hear({**shop.double.event("payment_intent.succeeded"), "account": "acct_another"})
    assert isinstance(heard, Foreign)
    assert (shop.status, shop.store.inbox.rows) == ("pending", {})


async def test_unknown_events_are_kept_and_change_nothing(shop: StripeShop) -> None:
    await shop.opened()
    before = shop.payment
    heard = await shop.hear({"id": "evt_1", "type": "customer.created", "data": {"object": {"id": "cus_1"}}})
    assert verdict(heard) is Verdict.UNMATCHED
    assert len(shop.store.inbox.rows) == 1
    assert shop.payment == before


# ── held money ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("part", [None, 40_000_00], ids=["all", "a part"])
async def test_held_money_is_captured_whole_or_in_part(shop: StripeShop, part: int | None) -> None:
    session_id = await shop.opened()
    shop.double.buyer(session_id, "authorized")
    await shop.hear_all()
    assert shop.status == "authorized"
    amount = Money.of(part, "IDR") if part else None
    payment = await shop.service.operate.capture(shop.payment.payment_id, amount, actor="operator:olivia")
    assert (shop.status, payment.owed.amount_minor, shop.cases) == ("success", part or 10_000_000, [])
    await shop.hear(shop.double.event("payment_intent.succeeded"))
    assert (shop.status, shop.cases) == ("success", [])


async def test_a_hold_that_lapsed_lets_the_order_be_paid_anew(shop: StripeShop) -> None:
    """Its page is complete and takes no other try."""
    session_id = await shop.opened()
    intent_id = shop.double.buyer(session_id, "authorized")
    await shop.hear_all()
    shop.double.lapses(intent_id)
    await shop.hear(shop.double.event("payment_intent.canceled"))
    assert shop.status == "failed"
    assert (await shop.click()).created


async def test_a_cancelled_order_lets_its_hold_go(shop: StripeShop) -> None:
    session_id = await shop.opened()
    intent_id = shop.double.buyer(session_id, "authorized")
    await shop.hear_all()
    await shop.service.operate.cancel(shop.payment.payment_id, actor="operator:olivia")
    assert (shop.status, shop.double.intents[intent_id]["status"]) == ("cancelled", "canceled")


# ── money given back ──────────────────────────────────────────────────────────────────────────────────────────────────
async def paid(shop: StripeShop) -> str:
    session_id = await shop.opened()
    intent_id = shop.double.buyer(session_id, "paid")
    await shop.hear_all()
    return intent_id


async def test_a_refund_is_sent_under_its_key_and_found_by_it(shop: StripeShop) -> None:
    """The answer got lost; the refund is read, and not made again."""
    intent_id = await paid(shop)
    shop.double.faults = ["lose"]
    part = Money.of(3_000_000, "IDR")
    payment, refund = await shop.service.refund(shop.payment.payment_id, part, None, actor="operator:olivia")
    assert refund.state in (RefundState.SENT, RefundState.UNKNOWN)
    await shop.service.refund.step(payment.payment_id, refund.key)
    assert (shop.status, len(shop.double.refunds)) == ("partially_refunded", 1)
    (made,) = shop.double.refunds.values()
    assert (made["payment_intent"], made["metadata"]["refund_key"]) == (intent_id, refund.key)
    await shop.hear_all()
    assert shop.payment.charges[0].refunded_minor == part.amount_minor
    assert shop.history.count("payment.refunded") == 1


async def test_a_pending_refund_is_on_its_way_until_stripe_says_so(shop: StripeShop) -> None:
    """A bank method takes days; the charge's total counts it from the first moment, and is not believed for that."""
    await paid(shop)
    shop.double.refund_status = "pending"
    _, refund = await shop.service.refund(shop.payment.payment_id, None, None, actor="operator:olivia")
    await shop.hear_all()
    assert (shop.status, refund.state) == ("success", RefundState.SENT)
    assert all(kept.verdict is not Verdict.WAITING for kept in shop.store.inbox.rows.values()), "nothing hangs"
    shop.double.refund_becomes(next(iter(shop.double.refunds)), "succeeded")
    await shop.hear(shop.double.event("refund.updated"))
    assert shop.status == "refunded"


@pytest.mark.parametrize("was", ["pending", "succeeded"])
async def test_a_refund_that_failed_is_not_counted_and_a_person_is_called(shop: StripeShop, was: str) -> None:
    """The money is with the merchant again, whether or not we ever heard that it had gone."""
    await paid(shop)
    shop.double.refund_status = was
    await shop.service.refund(shop.payment.payment_id, None, None, actor="operator:olivia")
    await shop.hear_all()
    shop.double.refund_becomes(next(iter(shop.double.refunds)), "failed")
    await shop.hear(shop.double.event("refund.failed"))
    assert (shop.status, shop.cases) == ("success", ["refund_returned"])
    await shop.hear_all()
    assert (shop.status, shop.cases) == ("success", ["refund_returned"]), "older events change nothing"


async def test_a_refund_made_in_the_dashboard_is_taken_in(shop: StripeShop) -> None:
    """Its events name the intent alone; the payment is found by whose transaction that is."""
    intent_id = await paid(shop)
    shop.double.refunded_in_dashboard(intent_id, 10_000_000)
    assert verdict(await shop.hear(shop.double.event("refund.created"))) is Verdict.APPLIED
    assert shop.status == "refunded"
    await shop.hear(shop.double.event("charge.refunded"))
    assert (shop.status, shop.payment.charges[0].refunded_minor) == ("refunded", 10_000_000)


async def test_a_refund_heard_of_before_its_payment_is_found_later(shop: StripeShop) -> None:
    """No transaction is bound yet, so it is kept; once the payment is known, it is looked at again."""
    session_id = await shop.opened()
    intent_id = shop.double.buyer(session_id, "paid")
    shop.double.refunded_in_dashboard(intent_id, 10_000_000)
    assert verdict(await shop.hear(shop.double.event("refund.created"))) is Verdict.UNMATCHED
    (kept,) = shop.store.inbox.rows.values()
    assert kept.check_at is not None, "it is looked at again"
    await shop.hear(shop.double.event("payment_intent.succeeded"))
    await shop.service.receive.match_again([kept.notification.key])
    await shop.errands.do(shop.service.perform)
    assert shop.status == "refunded"


async def test_a_refund_the_answer_does_not_show_yet_is_asked_about_again(shop: StripeShop) -> None:
    """It came before its payment was known to be paid, and the list it was looked for in was a moment behind."""
    session_id = await shop.opened()
    intent_id = shop.double.buyer(session_id, "action")
    await shop.hear_all()
    shop.double._paid(shop.double.intents[intent_id])
    refund_id = shop.double.refunded_in_dashboard(intent_id, 10_000_000)
    behind = shop.double.refunds.pop(refund_id)
    await shop.hear(shop.double.event("refund.created"))
    assert shop.status == "success", "the question about it found the payment"
    (kept,) = (kept for kept in shop.store.inbox.rows.values() if kept.verdict is Verdict.WAITING)
    assert kept.check_at is not None
    shop.double.refunds[refund_id] = behind
    await shop.service.sweep.ask.charge_now(shop.payment, intent_id)
    assert shop.status == "refunded"


# ── disputes ──────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_dispute_is_a_case_and_its_money_is_gone_until_it_is_won(shop: StripeShop) -> None:
    intent_id = await paid(shop)
    dispute_id = shop.double.disputed(intent_id)
    await shop.hear(shop.double.event("charge.dispute.created"))
    assert (shop.status, sorted(shop.cases)) == ("charged_back", ["charged_back", "dispute_open"])
    shop.double.dispute_becomes(dispute_id, "won")
    await shop.hear(shop.double.event("charge.dispute.closed"))
    assert (shop.status, shop.cases) == ("success", [])
    await shop.hear_all()
    assert (shop.status, shop.cases) == ("success", []), "older events of it are asked about, and over"
    assert "payment.charge_back_returned" in shop.history


async def test_a_lost_dispute_takes_the_money(shop: StripeShop) -> None:
    intent_id = await paid(shop)
    dispute_id = shop.double.disputed(intent_id, withdrawn=False)
    await shop.hear(shop.double.event("charge.dispute.created"))
    assert (shop.status, shop.cases) == ("success", ["dispute_open"])
    shop.double.dispute_becomes(dispute_id, "lost")
    await shop.hear(shop.double.event("charge.dispute.closed"))
    assert (shop.status, shop.cases) == ("charged_back", ["charged_back"])


async def test_an_inquiry_moves_nothing_and_calls_nobody(shop: StripeShop) -> None:
    intent_id = await paid(shop)
    shop.double.disputed(intent_id, "warning_needs_response", withdrawn=False)
    await shop.hear(shop.double.event("charge.dispute.created"))
    assert (shop.status, shop.cases) == ("success", [])


# ── missed events ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("outcome", "status"), [("paid", "success"), ("authorized", "authorized"), ("delayed", "processing")]
)
async def test_what_no_event_told_is_read(shop: StripeShop, outcome: str, status: str) -> None:
    """Every notification was lost; asking for the page by its session finds what happened on it."""
    session_id = await shop.opened()
    shop.double.buyer(session_id, outcome)
    page = shop.payment.attempt(1)
    await shop.service.perform.ask.page(shop.payment.payment_id, page)
    assert shop.status == status
    assert shop.payment.charges[0].method in ("card", None)


async def test_an_expiry_no_event_told_is_read(shop: StripeShop) -> None:
    session_id = await shop.opened()
    shop.double.expires(session_id)
    await shop.service.perform.ask.page(shop.payment.payment_id, shop.payment.attempt(1))
    await shop.errands.do(shop.service.perform)
    assert shop.status == "expired"


# ── a crash, or no answer, at every call ──────────────────────────────────────────────────────────────────────────────
async def story(shop: StripeShop, calls: int | None = None, fault: str = "") -> list[str]:
    """Opened, paid by what is read, refunded, and the order's state; the call of this number breaks.

    What broke is tried again as the sweep does it: from what is stored.
    """
    await shop.place()
    shop.double.faults = ["none"] * calls + [fault] if calls is not None else []
    for _ in range(2):
        with contextlib.suppress(GatewayError):
            await shop.click()
    page = shop.payment.attempt(1)
    intent_id = shop.double.buyer(page.token or "", "paid")
    for _ in range(2):
        with contextlib.suppress(GatewayError):
            await shop.service.perform.ask.page(shop.payment.payment_id, page)
    part = Money.of(3_000_000, "IDR")
    await shop.service.refund(shop.payment.payment_id, part, None, actor="operator:olivia", asked_as="once")
    for _ in range(2):
        for refund in shop.payment.refunds:
            with contextlib.suppress(GatewayError):
                await shop.service.refund.step(shop.payment.payment_id, refund.key)
    charge = shop.double.charges[shop.double.intents[intent_id]["latest_charge"]]
    (kept,) = shop.payment.charges
    ours = [
        shop.status,
        str(kept.captured_minor),
        str(kept.refunded_minor),
        *(r.state.value for r in shop.payment.refunds),
    ]
    theirs = [str(len(shop.double.sessions)), str(charge["amount_captured"]), str(charge["amount_refunded"])]
    return [*ours, *theirs]


@pytest.mark.parametrize("fault", ["refuse", "lose"])
async def test_a_call_that_breaks_at_any_point_changes_nothing_in_the_end(shop: StripeShop, fault: str) -> None:
    """Enumerated: each call of the story is once not done, and once done and not answered."""
    told = await story(shop)
    assert told == ["partially_refunded", "10000000", "3000000", "confirmed", "1", "10000000", "3000000"]
    calls = len(shop.double.seen)
    assert calls > 5, "the story has calls to break"
    for number in range(calls):
        shop.double.clear()
        async with stripe_shop(shop.double) as again:
            assert await story(again, number, fault) == told, f"call {number}: {fault}"
    print(f"\n{calls} calls, each broken once ({fault})")


async def test_other_methods_close_the_session_first(shop: StripeShop) -> None:
    """Two sessions that can be paid are how one order is charged twice."""
    session_id = await shop.opened()
    wish = PageWish(provider="stripe", methods=("card",))
    paying = await shop.service.start(ORDER_ID, wish, customer_id=None, actor="shop")
    assert shop.double.sessions[session_id]["status"] == "expired"
    assert shop.double.sessions[paying.attempt.token or ""]["status"] == "open"
    assert shop.double.seen[-1].form["allowed_payment_method_types"] == {"0": "card"}
