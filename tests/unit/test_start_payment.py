"""A click on "Pay": one page, the same URL for all, whatever fails on the way."""

import asyncio
import json
from collections.abc import Collection
from datetime import datetime, timedelta

import attrs
import pytest

from harness.turns import reached
from payments_core import GatewayTraits, PageWish, Policy, Signal
from payments_core.errors import (
    Busy,
    Conflict,
    GatewayNotConfigured,
    GatewayRefused,
    GatewayTimeout,
    GatewayUnavailable,
    NotFound,
    StaleWrite,
)
from payments_core.limits import OPENING_GRACE, PAGE_LEFT_MIN, RETRY_SCHEDULE
from payments_core.pages import NewPage, page_dead, page_unanswered
from payments_core.payment import Attempt, AttemptState, CloseReason, Payment
from payments_core.ports import PageOpened, PageRefused, PageReply
from payments_core.use_cases.start_payment import _Click as Click
from payments_core_memory import MemoryGateway
from payments_core_memory.store import _Payments as Payments
from unit.world import ANYTHING, World, commits_are_answered_after

MOMENT = timedelta(microseconds=1)


async def test_the_first_click_opens_a_page_and_later_ones_find_it(world: World) -> None:
    world.order()
    first, second = await world.click(), await world.click()
    assert (first.created, second.created) == (True, False)
    assert first.attempt.url == second.attempt.url
    assert world.gateway.calls == ["open"]


async def test_fifty_clicks_at_once_open_one_page_and_one_of_them_made_it(world: World) -> None:
    world.order()
    clicks = await asyncio.gather(*(world.click() for _ in range(50)))
    assert {click.attempt.url for click in clicks} == {clicks[0].attempt.url}
    assert sum(click.created for click in clicks) == 1
    assert world.gateway.calls == ["open"]


async def test_a_click_that_goes_away_cancels_nothing(world: World) -> None:
    """A customer who closes the tab must not leave an order that nobody can pay."""
    world.order()
    leaving = asyncio.create_task(world.click())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert (await world.click()).attempt.url is not None
    assert world.gateway.calls == ["open"]


async def test_another_customers_order_does_not_exist(world: World) -> None:
    world.order()
    with pytest.raises(NotFound):
        await world.service.start("o-1", ANYTHING, customer_id="mallory", actor="mallory")
    assert world.gateway.calls == []


async def test_a_shop_may_click_for_its_customer(world: World) -> None:
    world.order()
    paying = await world.service.start("o-1", ANYTHING, customer_id=None, actor="service:shop")
    assert paying.created


async def test_a_gateway_without_keys_is_said_so(world: World) -> None:
    world.order()
    with pytest.raises(GatewayNotConfigured) as refused:
        await world.click(wish=PageWish(provider="elsewhere"))
    assert refused.value.code == "gateway_not_configured"


@pytest.mark.parametrize(
    ("trouble", "error"),
    [({"refused_calls": 1}, GatewayUnavailable), ({"lost_answers": 1}, GatewayTimeout)],
    ids=["the gateway answers 503", "the answer is lost"],
)
async def test_after_a_failed_opening_the_next_click_succeeds(
    world: World, trouble: dict[str, int], error: type[Exception]
) -> None:
    """The tutorial's order was dead after one gateway error."""
    world.order()
    for name, value in trouble.items():
        setattr(world.gateway, name, value)
    with pytest.raises(error):
        await world.click()
    assert world.payment.attempt(1).state is AttemptState.OPENING
    paying = await world.click()
    assert paying.created
    assert paying.attempt.number == 1
    assert len(world.gateway.pages) == 1


async def test_a_resent_create_is_sent_once_more_before_its_url_is_trusted(world: World) -> None:
    """A late first create may still replace the token that was handed out."""
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    opened = await world.click()
    assert opened.attempt.resend
    again = await world.click()
    assert not again.created
    assert not again.attempt.resend
    assert again.attempt.token == next(iter(world.gateway.pages.values())).token
    assert (await world.click()).attempt.token == again.attempt.token


async def test_a_resend_after_the_buyer_chose_keeps_the_page(world: World) -> None:
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    opened = await world.click()
    world.tries(Signal.PENDING)
    again = await world.click()
    assert again.attempt.url == opened.attempt.url
    assert not again.attempt.resend


async def test_a_refusal_ends_the_page_and_the_next_click_opens_another(world: World) -> None:
    world.order()
    world.gateway.refuse_pages = True
    with pytest.raises(GatewayRefused, match="this gateway refuses"):
        await world.click()
    assert world.payment.attempt(1).state is AttemptState.DEAD
    assert world.status.value == "failed"
    world.gateway.refuse_pages = False
    assert (await world.click()).attempt.number == 2


async def test_twenty_pages_are_enough(world: World) -> None:
    world.order()
    world.gateway.refuse_pages = True
    for _ in range(20):
        with pytest.raises(GatewayRefused):
            await world.click()
    with pytest.raises(Conflict) as refused:
        await world.click()
    assert refused.value.code == "too_many_attempts"


async def test_an_order_id_that_is_taken_without_a_url_is_closed_not_opened_twice(world: World) -> None:
    """ "Already taken" means that a transaction exists: opening another page could charge twice."""
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    page = next(iter(world.gateway.pages.values()))
    transaction = world.gateway.buyer_tries(page.token, Signal.PENDING)
    with pytest.raises(Conflict) as refused:
        await world.click()
    assert refused.value.code == "page_closing"
    assert world.payment.attempt(1).closing is CloseReason.LOST
    await world.do_errands()
    assert world.payment.attempt(1).state is AttemptState.DEAD
    assert world.gateway.transactions[transaction].words[-1] is Signal.CANCELLED
    assert (await world.click()).attempt.number == 2


async def test_while_one_click_opens_the_page_another_process_waits_for_it(world: World) -> None:
    """Two servers: the loser of the race finds the winner's page."""
    world.order()
    await world.click()
    page = world.payment.attempt(1)
    opening = attrs.evolve(
        page, state=AttemptState.OPENING, url=None, token=None, lease_until=world.clock.now() + timedelta(seconds=3)
    )
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(opening)
    waiting = asyncio.create_task(world.click())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(page)
    assert (await waiting).attempt.url == page.url


async def test_a_wait_for_another_process_ends(world: World) -> None:
    world.order()
    await world.click()
    page = world.payment.attempt(1)
    opening = attrs.evolve(
        page, state=AttemptState.OPENING, url=None, lease_until=world.clock.now() + timedelta(hours=1)
    )
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(opening)
    with pytest.raises(Busy) as busy:
        await world.click()
    assert busy.value.code == "opening"
    assert busy.value.retryable


async def test_the_lease_of_a_dead_process_ends_and_the_next_click_takes_over(world: World) -> None:
    world.order()
    await world.click()
    was = world.payment.attempt(1)
    request = json.dumps({"order_id": was.provider_order_id})
    page = attrs.evolve(
        was, state=AttemptState.OPENING, url=None, token=None, request=request, lease_until=world.clock.now()
    )
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(page)
    assert (await world.click()).attempt.url is not None


async def test_a_create_that_may_outlast_its_lease_is_not_sent(world: World) -> None:
    """Found by ten thousand worlds: a commit answered after its lease, and two creates of one page at once."""
    world.order()
    with commits_are_answered_after(world.clock, OPENING_GRACE + MOMENT), pytest.raises(Busy) as busy:
        await world.click()
    assert busy.value.code == "opening"
    assert world.gateway.calls == []
    clicked = await world.click()
    assert (clicked.created, clicked.attempt.resend) == (True, True), "a lease counts as a send, used or not"


async def test_a_create_that_ends_with_its_lease_is_sent(world: World) -> None:
    world.order()
    with commits_are_answered_after(world.clock, OPENING_GRACE):
        assert (await world.click()).created


async def test_a_click_whose_lease_was_stored_late_waits_for_its_end_and_opens_the_page(world: World) -> None:
    world.order()
    began = world.clock.now()
    with commits_are_answered_after(world.clock, OPENING_GRACE + MOMENT):
        waiting = asyncio.create_task(world.click())
        await reached(lambda: world.clock.now() > began)
    assert (await waiting).created
    assert world.gateway.calls == ["open"]
    assert world.clock.now() >= began + GatewayTraits().timeout + OPENING_GRACE


@pytest.mark.parametrize(("outcome", "code"), [(Signal.SETTLED, "already_paid"), (Signal.AUTHORIZED, "authorized")])
async def test_an_order_with_money_opens_no_page(world: World, outcome: Signal, code: str) -> None:
    await world.opened()
    await world.hear(world.tries(outcome))
    with pytest.raises(Conflict) as refused:
        await world.click()
    assert refused.value.code == code


async def test_a_decline_leaves_the_page_payable(world: World) -> None:
    """The tutorial cancelled the order that the buyer could still pay."""
    token = await world.opened()
    await world.hear(world.tries(Signal.DENIED, method="card"))
    again = await world.click()
    assert again.attempt.token == token
    await world.hear(world.tries(Signal.SETTLED, method="card"))
    assert world.status.value == "success"


async def test_other_methods_close_the_open_page_first(world: World) -> None:
    await world.opened()
    other = await world.click(wish=PageWish(provider="memory", methods=("gopay",)))
    assert other.attempt.number == 2
    assert world.payment.attempt(1).state is AttemptState.DEAD
    assert [page.is_gone for page in world.gateway.pages.values()] == [True, False]


async def test_other_methods_are_refused_while_the_open_page_cannot_be_proved_dead(world: World) -> None:
    await world.opened()
    url = world.payment.attempt(1).url
    world.gateway.unreachable = True
    with pytest.raises(Conflict) as refused:
        await world.click(wish=PageWish(provider="memory", methods=("gopay",)))
    assert refused.value.code == "page_still_payable"
    assert refused.value.extra == {"payment_url": url}


async def test_the_same_methods_in_another_order_are_the_same_page(world: World) -> None:
    world.order()
    first = await world.click(wish=PageWish(provider="memory", methods=("gopay", "qris")))
    second = await world.click(wish=PageWish(provider="memory", methods=("qris", "gopay")))
    assert first.attempt.url == second.attempt.url


async def test_a_page_never_outlives_the_hold_on_stock() -> None:
    world = World(policy=Policy(expiry=timedelta(hours=24), hold_max=timedelta(hours=30)))
    world.order()
    world.clock.move(timedelta(hours=20))
    assert (await world.click()).attempt.ends_at == world.shop_order().reserved_at + timedelta(hours=30)


async def test_less_than_five_minutes_left_is_too_late() -> None:
    world = World(policy=Policy(expiry=timedelta(hours=24), hold_max=timedelta(hours=24)))
    world.order()
    world.clock.move(timedelta(hours=23, minutes=56))
    with pytest.raises(Conflict) as refused:
        await world.click()
    assert refused.value.code == "order_expired"
    assert world.store.payments.rows == {}


async def test_traits_of_the_gateway_bound_the_lease() -> None:
    world = World(traits=GatewayTraits(timeout=timedelta(seconds=40)))
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    assert world.payment.attempt(1).lease_until is None, "whoever's call ended gives the lease up"


async def test_a_click_that_is_refused_for_the_open_page_may_be_tried_again(world: World) -> None:
    await world.opened()
    world.gateway.unreachable = True
    with pytest.raises(Conflict) as refused:
        await world.click(wish=PageWish(provider="memory", methods=("gopay",)))
    assert refused.value.retryable is True
    page = world.payment.attempt(1)
    assert (page.state, page.closing) == (AttemptState.CLOSING, CloseReason.REPLACED)


async def test_a_page_that_never_had_a_url_has_none_to_tell(world: World) -> None:
    world.order()
    world.gateway.refused_calls = 1
    with pytest.raises(GatewayUnavailable):
        await world.click()
    world.clock.at = world.payment.attempt(1).ends_at - PAGE_LEFT_MIN + timedelta(seconds=1)
    with pytest.raises(Conflict) as refused:
        await world.click(wish=PageWish(provider="memory", methods=("gopay",)))
    assert (refused.value.code, refused.value.extra) == ("page_still_payable", {"payment_url": ""})


async def test_an_opening_that_failed_is_due_and_unleased_and_said_in_the_history(world: World) -> None:
    world.order()
    world.gateway.refused_calls = 1
    with pytest.raises(GatewayUnavailable):
        await world.click()
    page = world.payment.attempt(1)
    assert (page.state, page.lease_until, page.checks) == (AttemptState.OPENING, None, 1)
    assert page.check_at == world.clock.now() + RETRY_SCHEDULE[0]
    assert world.history == ["payment.created", "stock.reserved"]


async def test_the_history_names_who_clicked_and_who_opened(world: World) -> None:
    await world.opened()
    events = world.store.payments.events[world.payment.payment_id]
    assert [(e.type.value, e.actor) for e in events] == [
        ("payment.created", "customer:alice"),
        ("stock.reserved", "customer:alice"),
        ("attempt.opened", "gateway:memory"),
    ]


async def test_an_order_without_stock_reserves_none(world: World) -> None:
    order = world.order()
    untracked = attrs.evolve(order, items=tuple(attrs.evolve(item, track_stock=False) for item in order.items))
    world.store.orders.orders["o-1"] = untracked
    await world.click()
    assert "stock.reserved" not in world.history


async def test_what_is_refused_says_the_gateways_reasons(world: World) -> None:
    world.order()
    world.gateway.refuse_pages = True
    with pytest.raises(GatewayRefused, match=r"^this gateway refuses$"):
        await world.click()
    page = world.payment.attempt(1)
    assert (page.state, page.proof) == (AttemptState.DEAD, "refused")


async def test_the_stored_request_is_the_one_that_is_sent(world: World) -> None:
    """Before anything leaves: a crash finds it and sends the same bytes."""
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    page = world.payment.attempt(1)
    assert json.loads(page.request or "") == {"order_id": page.provider_order_id, "amount_minor": 10_000_000}
    assert page.sends == 1


# ── the sweep's way in ────────────────────────────────────────────────────────────────────────────────────────────────
async def abandoned(world: World, **changes: object) -> str:
    """The payment of an opening whose process died."""
    world.order()
    world.gateway.refused_calls = 1
    with pytest.raises(GatewayUnavailable):
        await world.click()
    page = attrs.evolve(world.payment.attempt(1), **changes)
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(page)
    return world.payment.payment_id


async def test_an_abandoned_opening_is_finished(world: World) -> None:
    payment = await world.service.start.finish(await abandoned(world), 1)
    assert payment is not None
    assert payment == world.payment
    assert payment.attempt(1).state is AttemptState.OPEN
    actors = [change.actor for change in world.store.payments.saves[payment.payment_id]]
    assert actors[-2:] == ["sweep", "gateway:memory"]


async def test_an_opening_somebody_holds_is_his_until_its_last_moment(world: World) -> None:
    payment_id = await abandoned(world, lease_until=world.clock.now() + timedelta(seconds=1))
    calls = len(world.gateway.calls)
    assert await world.service.start.finish(payment_id, 1) is None
    assert len(world.gateway.calls) == calls
    world.clock.move(timedelta(seconds=1))
    assert await world.service.start.finish(payment_id, 1) is not None


async def test_an_opening_whose_lease_was_stored_late_is_finished_after_it(world: World) -> None:
    payment_id = await abandoned(world)
    calls = [*world.gateway.calls]
    with commits_are_answered_after(world.clock, OPENING_GRACE + MOMENT):
        left = await world.service.start.finish(payment_id, 1)
    assert left == world.payment
    assert world.gateway.calls == calls
    due_at = world.payment.attempt(1).check_at
    assert due_at is not None
    world.clock.at = due_at
    assert await world.service.start.finish(payment_id, 1) is not None
    assert world.payment.attempt(1).state is AttemptState.OPEN


async def test_a_lease_begins_when_its_row_is_had(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that was waited for: else every lease of a busy database would be too short for the call."""
    payment_id = await abandoned(world)
    lock = Payments.lock

    async def slowly(payments: Payments, payment_ids: Collection[str]) -> dict[str, Payment]:
        world.clock.move(OPENING_GRACE + MOMENT)
        return await lock(payments, payment_ids)

    monkeypatch.setattr(Payments, "lock", slowly)
    await world.service.start.finish(payment_id, 1)
    assert world.payment.attempt(1).state is AttemptState.OPEN


async def test_an_opening_with_too_little_time_left_is_not_finished(world: World) -> None:
    payment_id = await abandoned(world)
    end = world.payment.attempt(1).ends_at
    world.clock.at = end - PAGE_LEFT_MIN + timedelta(microseconds=1)
    assert await world.service.start.finish(payment_id, 1) is None
    world.clock.at = end - PAGE_LEFT_MIN
    assert await world.service.start.finish(payment_id, 1) is not None


async def test_what_is_open_or_not_there_is_not_finished(world: World) -> None:
    await world.opened()
    assert await world.service.start.finish(world.payment.payment_id, 1) is None
    assert await world.service.start.finish("nobody", 1) is None
    assert world.gateway.calls == ["open"]


# ── races ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("lost", "ends"), [(5, True), (6, False)])
async def test_a_click_plans_anew_when_another_was_first_a_few_times(
    world: World, monkeypatch: pytest.MonkeyPatch, lost: int, ends: bool
) -> None:
    world.order()
    claim = type(world.store.orders).claim
    races: list[str] = []

    async def beaten(self: object, order_id: str, payment_id: str) -> bool:
        races.append(payment_id)
        return False if len(races) <= lost else await claim(self, order_id, payment_id)  # type: ignore[arg-type]

    monkeypatch.setattr(type(world.store.orders), "claim", beaten)
    if ends:
        assert (await world.click()).created
    else:
        with pytest.raises(StaleWrite):
            await world.click()
    assert len(races) == 6


async def test_a_waiting_click_looks_less_and_less_often(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as a call may take, and a little more."""
    await world.opened()
    page = attrs.evolve(
        world.payment.attempt(1), state=AttemptState.OPENING, lease_until=world.clock.now() + timedelta(hours=1)
    )
    world.store.payments.rows[world.payment.payment_id] = world.payment.with_attempt(page)
    began, pauses = world.clock.now(), []
    sleep = type(world.clock).sleep

    async def noted(self: object, seconds: float) -> None:
        pauses.append(seconds)
        await sleep(self, seconds)  # type: ignore[arg-type]

    monkeypatch.setattr(type(world.clock), "sleep", noted)
    with pytest.raises(Busy):
        await world.click()
    assert pauses[:3] == pytest.approx([0.01, 0.015, 0.0225])
    assert max(pauses) == 0.1
    waited = world.clock.now() - began
    assert timedelta(seconds=15) <= waited < timedelta(seconds=15.2)


async def test_equal_clicks_of_one_process_share_one_run_and_its_failure(world: World) -> None:
    world.order()
    world.gateway.refused_calls = 1
    clicks = await asyncio.gather(*(world.click() for _ in range(5)), return_exceptions=True)
    assert [type(click) for click in clicks] == [GatewayUnavailable] * 5
    assert world.gateway.calls == ["open"]


@pytest.mark.parametrize(("order_id", "customer"), [("o-9", "alice"), ("o-9", None), ("o-1", "mallory")])
async def test_an_order_that_is_not_there_and_anothers_are_told_alike(
    world: World, order_id: str, customer: str | None
) -> None:
    world.order()
    with pytest.raises(NotFound) as caught:
        await world.service.start(order_id, ANYTHING, customer_id=customer, actor="somebody")
    assert caught.value.code == "order_not_found"


async def test_an_answer_that_outlived_its_lease_does_not_replace_a_newer_token(world: World) -> None:
    """Found by the simulation: the older token was handed out, and its end was taken for the end of the page."""
    world.order()
    start = world.service.start
    slow = await start._plan(Click("o-1", ANYTHING, "alice", "alice"))
    assert isinstance(slow, NewPage)
    world.clock.move(timedelta(seconds=20))
    clicked = await world.click()
    after = start._after_reply(slow.attempt, PageOpened("older", "https://pay.example/older"), world.payment)
    assert after.attempt(1).token == clicked.attempt.token
    assert after.attempt(1).resend, "which is the newest nobody knows: the next click asks"


async def test_nothing_is_due_of_a_page_that_ended_while_its_create_was_under_way(world: World) -> None:
    """Found by the simulation: the sweep took it out every half minute, for ever."""
    world.order()
    plan = await world.service.start._plan(Click("o-1", ANYTHING, "alice", "alice"))
    assert isinstance(plan, NewPage)
    now = world.clock.now()
    for lease in (plan.attempt.lease_until, None):
        ended = page_dead(plan.payment, 1, "closed", now)
        dead = ended.with_attempt(attrs.evolve(ended.attempt(1), lease_until=lease))
        assert page_unanswered(dead, plan.attempt, now).attempt(1).check_at is None


async def test_a_page_is_asked_for_again_where_it_is_open_though_another_gateway_is_wished_for() -> None:
    """That one says how long the call may take."""
    seen: list[datetime | None] = []

    class Slow(MemoryGateway):
        async def open_page(self, attempt: Attempt) -> PageReply:
            seen.append(attempt.lease_until)
            return await MemoryGateway.open_page(self, attempt)

    world = World(gateway=Slow(traits=GatewayTraits(timeout=timedelta(seconds=14))))
    gateways = world.service.start.gateways
    assert isinstance(gateways, dict)
    gateways["quick"] = MemoryGateway(name="quick", traits=GatewayTraits(timeout=timedelta(seconds=1)))
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    await world.click(wish=PageWish(provider="quick"))
    assert seen == [world.clock.now() + timedelta(seconds=14) + OPENING_GRACE] * 2


async def test_a_refusal_that_was_overtaken_ends_nothing(world: World) -> None:
    """Whoever sent it after us will be told the same."""
    await world.opened()
    sent = attrs.evolve(world.payment.attempt(1), state=AttemptState.OPENING, url=None, lease_until=world.clock.now())
    newer = attrs.evolve(sent, lease_until=world.clock.now() + timedelta(seconds=9))
    payment = world.payment.with_attempt(newer)
    assert world.service.start._after_reply(sent, PageRefused(("no",)), payment) == payment
