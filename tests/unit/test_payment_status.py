"""What a shop sees of a payment, and how a reader waits for it to change."""

from datetime import datetime, timedelta

import attrs
import pytest

from payments_core import PaymentStatus, Signal
from payments_core.errors import NotFound
from payments_core.payment import AttemptState, CloseReason, Decline
from payments_core.states import CaseKind, ChargeState
from payments_core.testing import samples
from payments_core.testing.samples import LATER, NOW
from payments_core.use_cases.payment_status import PaymentView, ReadStatus, view
from unit.values import DEAD, PAGE, PAID, case, charge, with_cases, with_page
from unit.world import World, rupiah

URL = "https://pay.example/1"
READY = attrs.evolve(with_page(PAGE, url=URL, token="token"), version=3)
END = PAGE.attempt(1).ends_at


def test_an_open_page_is_told_whole() -> None:
    declined = READY.with_charge(charge(ChargeState.DENIED, decline=Decline("no_funds", "qris", NOW)))
    assert view(declined, NOW) == PaymentView(
        payment_id=PAGE.payment_id,
        order_id="o-1",
        status=PaymentStatus.PENDING,
        provider="midtrans",
        method="qris",
        amount=rupiah(100_000),
        refunded=rupiah(0),
        paid_at=None,
        expires_at=END,
        payment_url=URL,
        needs_review=(),
        last_decline=Decline("no_funds", "qris", NOW),
        version=3,
    )


def test_a_paid_order_tells_when_and_by_what_and_what_went_back() -> None:
    paid = PAID.with_charge(charge(refunded_minor=4_000_000)).with_charge(
        charge(ChargeState.DENIED, "t", method="card")
    )
    seen = view(paid, LATER)
    assert (seen.status, seen.paid_at, seen.method) == (PaymentStatus.PARTIALLY_REFUNDED, NOW, "qris")
    assert (seen.refunded, seen.payment_url, seen.expires_at) == (rupiah(40_000), None, END)


def test_without_a_page_there_is_little_to_tell() -> None:
    seen = view(attrs.evolve(PAGE, attempts=()), NOW)
    assert (seen.provider, seen.method, seen.expires_at, seen.payment_url) == ("", None, None, None)


def test_the_newest_try_that_names_a_method_is_told() -> None:
    tried = READY.with_charge(charge(ChargeState.DENIED, "a", method="card"))
    tried = tried.with_charge(charge(ChargeState.PENDING, "b", method="gopay"))
    assert view(tried.with_charge(charge(ChargeState.PENDING, "c", method=None)), NOW).method == "gopay"


def test_the_page_that_can_be_paid_is_told_and_else_the_last() -> None:
    second = attrs.evolve(READY.attempt(1), number=2, provider="stripe", provider_order_id="b", url="second")
    assert view(DEAD.with_attempt(second), NOW).payment_url == "second"
    dead = attrs.evolve(second, state=AttemptState.DEAD)
    assert (view(DEAD.with_attempt(dead), NOW).provider, view(DEAD.with_attempt(dead), NOW).payment_url) == (
        "stripe",
        None,
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, True),
        ({"state": AttemptState.OPENING}, False),
        ({"state": AttemptState.CLOSING, "closing": CloseReason.EXPIRED}, False),
        ({"resend": True}, False),
        ({"lease_until": NOW + timedelta(seconds=1)}, False),
        ({"lease_until": NOW}, True),
    ],
)
def test_a_url_is_told_when_a_click_would_answer_with_it(changes: dict[str, object], told: bool) -> None:
    """Not while the newest is still being asked for: what we hold may be replaced."""
    assert view(with_page(READY, **changes), NOW).payment_url == (URL if told else None)


def test_no_url_is_told_where_a_click_would_be_refused() -> None:
    assert view(with_cases(READY, case(CaseKind.REVERSED)), NOW).payment_url is None
    assert view(READY.with_charge(charge(ChargeState.AUTHORIZED)), NOW).payment_url is None
    assert view(READY.with_charge(charge(ChargeState.PENDING)), NOW).payment_url == URL


def test_kinds_of_open_cases_are_told_once_each() -> None:
    cases = (case(CaseKind.OVERDRAWN), case(CaseKind.REVERSED, number=2), case(CaseKind.OVERDRAWN, number=3))
    assert view(with_cases(PAID, *cases), NOW).needs_review == ("overdrawn", "reversed")


# ── reading and waiting ───────────────────────────────────────────────────────────────────────────────────────────────
@attrs.define
class Watch:
    """A clock whose sleeping moves it, and lets something happen on the way."""

    at: datetime = NOW
    slept: list[float] = attrs.field(factory=list)
    happens: dict[int, object] = attrs.field(factory=dict)

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)
        happening = self.happens.get(len(self.slept))
        if callable(happening):
            await happening()


@pytest.fixture
def watch(world: World) -> Watch:
    return Watch(at=world.clock.now())


def reader(world: World, watch: Watch) -> ReadStatus:
    return ReadStatus(world.store, watch)


async def test_a_payment_is_told_to_its_customer_and_to_no_other(world: World, watch: Watch) -> None:
    await world.opened()
    read = reader(world, watch)
    for customer in ("alice", None):
        assert (await read("o-1", customer_id=customer)).payment_id == world.payment.payment_id
    with pytest.raises(NotFound) as caught:
        await read("o-1", customer_id="mallory")
    assert caught.value.code == "order_not_found"
    assert watch.slept == []


async def test_what_is_not_there_is_told_apart(world: World, watch: Watch) -> None:
    world.order()
    for order_id, code in (("o-9", "order_not_found"), ("o-1", "no_payment")):
        with pytest.raises(NotFound) as caught:
            await reader(world, watch)(order_id, customer_id="alice")
        assert caught.value.code == code


async def test_a_reader_waits_no_longer_than_he_asked(world: World, watch: Watch) -> None:
    """In steps a person does not notice, and the last one is as short as what is left."""
    await world.opened()
    seen = await reader(world, watch)("o-1", customer_id=None, wait_s=0.6)
    assert seen.status is PaymentStatus.PENDING
    assert watch.slept == pytest.approx([0.25, 0.25, 0.1], abs=1e-5)


async def test_a_reader_waits_until_it_is_decided(world: World, watch: Watch) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)

    async def settles() -> None:
        world.gateway.becomes(transaction, Signal.SETTLED)
        await world.hear(transaction)

    watch.happens[3] = settles
    seen = await reader(world, watch)("o-1", customer_id=None, wait_s=25)
    assert (seen.status, len(watch.slept)) == (PaymentStatus.SUCCESS, 3)
    await reader(world, watch)("o-1", customer_id=None, wait_s=25)
    assert len(watch.slept) == 3, "decided already"


@attrs.define
class Ticking(Watch):
    """A clock that moves while it is looked at, as a machine's does."""

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at


async def test_a_plain_look_at_an_open_page_asks_nobody_and_a_long_wait_does(world: World) -> None:
    await world.opened()
    read = ReadStatus(world.store, Ticking(at=world.clock.now()), world.service.refresh)
    before = [*world.gateway.calls]
    await read("o-1", customer_id="alice")
    await read("o-1", customer_id="alice", wait_s=1)
    assert world.gateway.calls == before
    await read("o-1", customer_id="alice", wait_s=3)
    assert len(world.gateway.calls) > len(before)


async def test_a_reader_who_saw_this_version_waits_for_another(world: World, watch: Watch) -> None:
    await world.opened()
    version = world.payment.version
    read = reader(world, watch)
    await read("o-1", customer_id=None, wait_s=25, seen=version - 1)
    assert watch.slept == []

    async def a_try() -> None:
        await world.hear(world.tries(Signal.PENDING))

    watch.happens[2] = a_try
    assert (await read("o-1", customer_id=None, wait_s=25, seen=version)).status is PaymentStatus.PROCESSING
    assert len(watch.slept) == 2


def test_an_amount_in_another_currency_is_told_in_it() -> None:
    dollars = samples.payment(amount=samples.Money.of(1250, "USD"), owed=samples.Money.of(1250, "USD"))
    assert view(dollars, NOW).refunded == samples.Money.of(0, "USD")
