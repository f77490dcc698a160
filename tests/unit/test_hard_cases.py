"""Situations a hostile review found: each once ended in a wrong page, wrong money, or work without end."""

from datetime import timedelta

import attrs
import pytest

from payments_core import Confirm, GatewayTraits, Signal
from payments_core.decide import Verdict
from payments_core.errors import Conflict, GatewayTimeout, GatewayUnavailable
from payments_core.limits import CLOSE_ROUNDS_MAX
from payments_core.observations import Observation, Unknown
from payments_core.pages import PageWish
from payments_core.payment import Attempt, AttemptState, ChargeDue
from payments_core.ports import PageClosing
from payments_core_memory import ManualClock, MemoryGateway
from unit.world import World

DAY = timedelta(hours=24, minutes=1)
GOPAY, BCA = PageWish(provider="memory", methods=("gopay",)), PageWish(provider="memory", methods=("bca_va",))


@attrs.define
class OddGateway(MemoryGateway):
    """Says an unknown word for some transactions, names a merchant, ends pages whatever is under way on them."""

    unknown: set[str] = attrs.field(factory=set)
    merchant: str | None = None
    ends_anything: bool = False
    captures_instead: bool = False
    clock: ManualClock | None = None
    """Every answer takes ten seconds of it."""

    def _read(self, reference: str) -> Observation | None:
        if self.clock is not None:
            self.clock.move(timedelta(seconds=10))
        return MemoryGateway._read(self, reference)

    def observe(self, body: bytes) -> Observation:
        seen = attrs.evolve(MemoryGateway.observe(self, body), merchant_id=self.merchant)
        return attrs.evolve(seen, meaning=Unknown("verifying")) if seen.transaction_id in self.unknown else seen

    def _close(self, attempt: Attempt) -> PageClosing:
        if self.ends_anything:
            self.pages[attempt.provider_order_id].is_gone = True
        return MemoryGateway._close(self, attempt)

    def _cancel(self, transaction_id: str) -> None:
        if self.captures_instead:
            self.becomes(transaction_id, Signal.CAPTURED)
        else:
            MemoryGateway._cancel(self, transaction_id)


def odd_world(**traits: object) -> tuple[World, OddGateway]:
    world = World(traits=GatewayTraits(**traits))  # type: ignore[arg-type]
    gateway = OddGateway(traits=world.gateway.traits)
    world.use(gateway)
    return world, gateway


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_page_with_a_transaction_of_an_unknown_state_is_not_dead() -> None:
    """The token may be cancelled, but the gateway shows something that is not known to have ended."""
    world, gateway = odd_world()
    await world.opened()
    gateway.unknown.add(world.tries(Signal.PENDING))
    gateway.ends_anything = True
    await world.pass_time(DAY)
    assert world.payment.attempt(1).state is AttemptState.CLOSING
    assert world.stock == 8, "still reserved"
    await world.pass_time(timedelta(hours=6))
    assert world.cases == ["outcome_unknown"], "in the end somebody looks"


async def test_a_try_of_an_unknown_state_behind_a_newer_one_keeps_its_page_too() -> None:
    """An order id shows one transaction; the older try is asked about by its own id."""
    world, gateway = odd_world()
    await world.opened()
    older = world.tries(Signal.PENDING)
    await world.hear(older)
    await world.hear(world.tries(Signal.DENIED))
    gateway.unknown.add(older)
    gateway.ends_anything = True
    await world.pass_time(DAY)
    assert world.payment.attempt(1).state is AttemptState.CLOSING
    await world.pass_time(timedelta(hours=6))
    assert world.cases == ["outcome_unknown"]


async def test_one_step_of_closing_looks_a_few_times_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the gateway says is in progress may take it days."""
    await world.opened()
    monkeypatch.setattr(MemoryGateway, "_close", lambda *_: PageClosing.IN_PROGRESS)
    await world.service.operate.cancel(world.payment.payment_id, actor="operator:olivia")
    assert world.gateway.calls.count("close") == CLOSE_ROUNDS_MAX
    assert world.payment.attempt(1).state is AttemptState.CLOSING


async def test_a_lost_page_with_a_transaction_of_an_unknown_state_is_not_followed_by_another() -> None:
    world, gateway = odd_world()
    world.order()
    gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    (page,) = gateway.pages.values()
    gateway.unknown.add(gateway.buyer_tries(page.token, Signal.PENDING))
    for _ in range(2):
        with pytest.raises(Conflict, match="being closed"):
            await world.click()
        await world.do_errands()
    assert len(gateway.pages) == 1


async def test_before_a_page_is_dead_every_transaction_we_know_is_asked_about(world: World) -> None:
    """The order id shows the newest try only; an older one may have been paid after it expired."""
    await world.opened()
    account = world.tries(Signal.PENDING)
    await world.hear(account)
    card = world.tries(Signal.PENDING, method="card")
    await world.hear(card)
    world.gateway.becomes(account, Signal.EXPIRED)
    await world.hear(account)
    world.gateway.becomes(card, Signal.DENIED)
    await world.hear(card)
    world.gateway.becomes(account, Signal.SETTLED)  # and nobody tells us
    await world.pass_time(timedelta(hours=30))
    assert (world.status.value, world.payment.paid_by) == ("success", account)


async def test_proof_by_time_needs_a_question_that_left_late_enough() -> None:
    """An answer that takes ten seconds is about the moment it was asked for."""
    world, gateway = odd_world()
    world.order()
    gateway.unreachable = True
    with pytest.raises(GatewayUnavailable):
        await world.click()
    page = world.payment.attempt(1)
    world.clock.at = page.ends_at + timedelta(minutes=59, seconds=55)
    await world.sweep()
    gateway.unreachable, gateway.clock = False, world.clock
    closing = world.service.sweep.closing
    await closing.page(world.payment.payment_id, 1)
    assert world.clock.now() > page.ends_at + timedelta(minutes=60)
    assert world.payment.attempt(1).state is AttemptState.CLOSING
    await closing.page(world.payment.payment_id, 1)
    assert world.payment.attempt(1).proof == "over"


async def test_other_methods_after_a_failed_opening_get_their_page(world: World) -> None:
    """Only a page with a token can be closed, so the opening is finished first."""
    world.order()
    world.gateway.refused_calls = 1
    with pytest.raises(GatewayUnavailable):
        await world.click(wish=GOPAY)
    paying = await world.click(wish=BCA)
    assert paying.attempt.methods == ("bca_va",)
    assert [page.is_gone for page in world.gateway.pages.values()] == [True, False]


async def test_an_order_is_cancelled_although_its_opening_failed(world: World) -> None:
    world.order()
    world.gateway.unreachable = True
    with pytest.raises(GatewayUnavailable):
        await world.click()
    world.gateway.unreachable = False
    cancel = world.service.cancel_order
    assert cancel is not None
    _order, done = await cancel("o-1", actor="service:shop")
    assert done
    assert world.stock == 10


async def test_a_resend_that_gets_no_answer_is_sent_again_before_its_url_is_trusted(world: World) -> None:
    """Three creates left, and the last to arrive holds the page: each unanswered one asks for another."""
    world.order()
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    await world.click()
    assert world.payment.attempt(1).resend
    world.gateway.lost_answers = 1
    with pytest.raises(GatewayTimeout):
        await world.click()
    await world.click()
    assert world.payment.attempt(1).resend, "the one that was lost may still come"
    paying = await world.click()
    assert not world.payment.attempt(1).resend
    (page,) = world.gateway.pages.values()
    assert paying.attempt.token == page.token


# ── charges ───────────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_review_hidden_behind_a_newer_try_is_asked_about_by_its_own_id(world: World) -> None:
    await world.opened()
    reviewed = world.tries(Signal.CHALLENGED, method="card")
    await world.hear(reviewed)
    await world.hear(world.tries(Signal.DENIED, method="card"))
    world.gateway.becomes(reviewed, Signal.CANCELLED)  # and nobody tells us
    await world.pass_time(timedelta(hours=30))
    assert world.status.value == "expired"
    assert world.stock == 10


async def test_a_settlement_hidden_behind_a_newer_try_is_found_by_polling(world: World) -> None:
    await world.opened()
    account = world.tries(Signal.PENDING)
    await world.hear(account)
    await world.hear(world.tries(Signal.DENIED, method="card"))
    world.gateway.becomes(account, Signal.SETTLED)
    await world.pass_time(timedelta(hours=2))
    assert world.payment.paid_by == account


async def test_a_hold_on_a_payment_that_was_given_up_is_let_go(world: World) -> None:
    await world.opened()
    account = world.tries(Signal.PENDING)
    await world.hear(account)
    world.gateway.becomes(account, Signal.EXPIRED)
    await world.hear(account)
    world.gateway.becomes(account, Signal.AUTHORIZED)
    await world.hear(account)
    await world.pass_time(timedelta(hours=1))
    assert world.gateway.transactions[account].words[-1] is Signal.CANCELLED
    assert (world.status.value, world.shop_order().status.value) == ("expired", "cancelled")
    assert world.history.count("payment.expired") == world.history.count("order.cancelled") == 1


async def test_a_late_account_on_a_dead_page_is_cancelled(world: World) -> None:
    world.order()
    first = (await world.click(wish=GOPAY)).attempt
    await world.click(wish=BCA)
    late = MemoryGateway.buyer_tries
    world.gateway.pages[first.provider_order_id].is_gone = False
    account = late(world.gateway, str(first.token), Signal.PENDING)
    await world.hear(account)
    assert world.gateway.transactions[account].words[-1] is Signal.CANCELLED


async def test_a_merchant_that_differs_is_not_forgotten_when_a_message_leaves_it_out() -> None:
    world, gateway = odd_world(merchant_id="G1")
    await world.opened()
    transaction = world.tries(Signal.CAPTURED, method="card")
    gateway.merchant = "EVIL"
    await world.hear(transaction)
    gateway.merchant = None
    gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    await world.pass_time(timedelta(hours=1))
    assert world.payment.paid_by is None
    assert world.cases == ["merchant_mismatch"]


async def test_a_void_long_after_our_cancel_came_too_late_is_a_reversal() -> None:
    """We asked to cancel an unpaid charge; who voids the money it took since does so by himself."""
    world, gateway = odd_world()
    await world.opened()
    card = world.tries(Signal.PENDING, method="card")
    await world.hear(card)
    gateway.captures_instead = True
    await world.pass_time(DAY)
    assert world.payment.paid_by == card
    gateway.captures_instead = False
    gateway.becomes(card, Signal.CANCELLED)
    await world.hear(card)
    assert world.payment.paid_by is None
    assert world.cases == ["reversed"]


async def test_money_given_back_that_nobody_puts_a_number_on_is_a_case(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.hear(transaction)

    @attrs.define
    class Vague(MemoryGateway):
        def observe(self, body: bytes) -> Observation:
            return attrs.evolve(MemoryGateway.observe(self, body), refunded=None, refunded_unknown=True)

    vague = Vague(traits=world.gateway.traits, pages=world.gateway.pages, transactions=world.gateway.transactions)
    world.use(vague)
    await world.hear(transaction, seen="again")
    assert world.cases == ["refund_unknown"]
    assert [kept.verdict for kept in world.store.inbox.rows.values()] == [Verdict.APPLIED, Verdict.APPLIED]


# ── work without end ──────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_recheck_without_an_answer_ends(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.DENIED)
    await world.hear(transaction)
    del world.gateway.transactions[transaction]
    asked = len(world.gateway.calls)
    await world.pass_time(timedelta(hours=24))
    assert len(world.gateway.calls) - asked < 10
    (charge,) = world.payment.charges
    assert charge.due is None


async def test_a_cancellation_that_came_about_otherwise_is_not_due_any_more() -> None:
    world = World(traits=GatewayTraits(confirm=Confirm.SIGNATURE))
    await world.opened()
    other = world.tries(Signal.PENDING)
    await world.hear(other)
    await world.deliver(world.tries(Signal.SETTLED))
    world.errands.waiting.clear()
    charge = world.payment.charge(other)
    assert charge is not None
    assert charge.due is ChargeDue.CANCEL
    world.gateway.becomes(other, Signal.DENIED)
    await world.deliver(other)
    charge = world.payment.charge(other)
    assert charge is not None
    assert charge.due is None
    assert charge.check_at is None


async def test_a_notification_that_came_before_its_payment_is_not_asked_about_for_ever(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    kept = world.store.payments.rows.copy()
    world.store.payments.rows.clear()
    await world.deliver(transaction)
    world.store.payments.rows.update(kept)
    await world.pass_time(timedelta(hours=1))
    assert world.status.value == "success"
    asked = len(world.gateway.calls)
    await world.pass_time(timedelta(hours=1))
    assert len(world.gateway.calls) == asked


async def test_one_row_that_breaks_does_not_keep_the_others_waiting(world: World) -> None:
    """A gateway was taken out of the settings while a page of its own is open."""
    await world.opened()
    world.order("o-2")
    world.forget_the_gateway()
    world.clock.move(timedelta(hours=25))
    report = await world.service.sweep.once()
    assert report.postponed["attempts"] == 1
    assert world.store.orders.orders["o-2"].status.value == "cancelled"
