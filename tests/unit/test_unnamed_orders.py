"""Where some messages name the transaction alone, each transaction is bound to its payment as soon as it is known."""

import hmac
import json
from datetime import timedelta
from hashlib import sha256

import pytest

from payments_core import GatewayTraits, Reading, Signal, Verdict
from payments_core.limits import LEASE, UNMATCHED_RETRY
from payments_core.ports import Kept
from payments_core.use_cases.receive_notification import Accepted
from unit.values import says
from unit.world import World


@pytest.fixture
def world() -> World:
    """Its gateway does not always name our order id."""
    return World(traits=GatewayTraits(names_orders=False))


def row(world: World, number: int = 0) -> Kept:
    return [*world.store.inbox.rows.values()][number]


def owner(world: World, transaction: str) -> str | None:
    return world.store.payments.bound.get(("memory", "default", transaction))


async def test_a_message_that_names_its_order_binds_its_transaction(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.deliver(transaction)
    assert owner(world, transaction) == world.payment.payment_id, "before anything is decided"


async def test_where_every_message_names_the_order_nothing_is_bound() -> None:
    world = World()
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.hear(transaction)
    assert world.store.payments.bound == {}


async def test_an_answer_binds_the_transaction_it_shows(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.service.refresh(world.payment.payment_id)
    assert owner(world, transaction) == world.payment.payment_id


async def test_a_message_about_a_bound_transaction_finds_its_payment(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.SETTLED)
    accepted = await world.hear(transaction, order_id=None)
    assert accepted.verdict is Verdict.WAITING
    assert (world.status.value, row(world, 1).verdict) == ("success", Verdict.APPLIED)


async def test_a_message_that_comes_before_its_transaction_is_known_is_looked_at_again(world: World) -> None:
    """The message that names the order is on its way."""
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    accepted = await world.hear(transaction, order_id=None)
    assert accepted.verdict is Verdict.UNMATCHED
    assert row(world).check_at == world.clock.now() + UNMATCHED_RETRY[0]
    await world.hear(transaction)
    assert world.status.value == "success"
    await world.pass_time(UNMATCHED_RETRY[0] + LEASE)
    assert row(world).verdict in {Verdict.STALE, Verdict.APPLIED}


async def test_where_every_message_names_the_order_one_without_it_is_only_kept() -> None:
    world = World()
    await world.opened()
    accepted = await world.hear(world.tries(Signal.SETTLED), order_id=None)
    assert (accepted.verdict, row(world).check_at) == (Verdict.UNMATCHED, None)


async def test_a_message_that_names_nothing_at_all_is_only_kept(world: World) -> None:
    await world.opened()
    body, _ = world.gateway.notification(world.tries(Signal.SETTLED))
    body = json.dumps({**json.loads(body), "order_id": None, "transaction_id": ""}).encode()
    signature = hmac.new(world.gateway.secret, body, sha256).hexdigest()
    accepted = await world.deliver_bytes(body, {"signature": signature})
    assert (accepted.verdict, row(world).check_at) == (Verdict.UNMATCHED, None)


async def two_payments(world: World) -> tuple[str, str]:
    """The provider order ids of two orders, and their payments in this order."""
    await world.opened("o-1")
    first = world.payment.payment_id
    world.order("o-2")
    await world.click("o-2")
    second = next(key for key in world.store.payments.rows if key != first)
    return first, second


async def test_a_message_that_names_one_order_and_the_transaction_of_another_is_nobodys(world: World) -> None:
    """A body that was put together of two must not pay either."""
    first, second = await two_payments(world)
    page = world.store.payments.rows[first].attempt(1)
    transaction = world.gateway.buyer_tries(page.token or "", Signal.PENDING)
    await world.hear(transaction)
    other = world.store.payments.rows[second].attempt(1).provider_order_id
    accepted = await world.hear(transaction, order_id=other, status="settled")
    assert accepted.verdict is Verdict.UNMATCHED
    assert (world.store.payments.rows[second].charges, owner(world, transaction)) == ((), first)


async def test_an_answer_about_the_transaction_of_another_payment_is_never_used(world: World) -> None:
    first, second = await two_payments(world)
    page = world.store.payments.rows[first].attempt(1)
    transaction = world.gateway.buyer_tries(page.token or "", Signal.PENDING)
    await world.hear(transaction)
    theirs = world.store.payments.rows[second].attempt(1)
    answer = says(Signal.SETTLED, transaction, provider="memory", provider_order_id=theirs.provider_order_id)
    reading = Reading(number=9, asked_at=world.clock.now(), attempt=1, transaction_id=None, answer=answer)
    await world.service.perform.ask.apply(second, reading)
    assert world.store.payments.rows[second].charges == ()


async def test_a_waiting_message_without_an_order_is_asked_about_by_the_sweep(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.deliver(transaction, order_id=None)
    world.errands.waiting.clear()
    before = world.gateway.calls.count("read")
    world.clock.move(LEASE)
    report = await world.service.sweep.once()
    assert report.done["notifications"] == 1
    assert world.gateway.calls.count("read") > before
    assert (row(world, 1).verdict, world.status.value) == (Verdict.APPLIED, "success")


async def test_unmatched_messages_without_an_order_are_not_looked_at_for_ever(world: World) -> None:
    await world.opened()
    await world.deliver(world.tries(Signal.SETTLED), order_id=None)
    for _ in range(len(UNMATCHED_RETRY) + 2):
        world.clock.move(timedelta(days=2))
        await world.service.sweep.once(kinds=[])
        key = row(world).notification.key
        await world.service.receive.match_again([key])
    assert row(world).check_at is None


async def test_a_message_about_a_page_alone_binds_nothing(world: World) -> None:
    """It names no transaction, and the next one of another order does not either."""
    await two_payments(world)
    for page in [payment.attempt(1) for payment in world.store.payments.rows.values()]:
        transaction = world.gateway.buyer_tries(page.token or "", Signal.PENDING)
        body, _ = world.gateway.notification(transaction)
        body = json.dumps({**json.loads(body), "transaction_id": "", "status": "expired"}).encode()
        accepted = await world.deliver_bytes(
            body, {"signature": hmac.new(world.gateway.secret, body, sha256).hexdigest()}
        )
        assert accepted.verdict is Verdict.APPLIED
    assert world.store.payments.bound == {}


async def test_messages_that_name_their_order_and_others_are_taken_in_together(world: World) -> None:
    await two_payments(world)
    transactions = []
    for payment in [*world.store.payments.rows.values()]:
        transaction = world.gateway.buyer_tries(payment.attempt(1).token or "", Signal.PENDING)
        await world.hear(transaction)
        world.gateway.becomes(transaction, Signal.SETTLED)
        transactions.append(transaction)
    batch = [world.understood(transactions[0]), world.understood(transactions[1], order_id=None)]
    accepted = await world.service.receive.accept(batch)
    assert [answer.verdict for answer in accepted if isinstance(answer, Accepted)] == [Verdict.WAITING] * 2
    await world.do_errands()
    assert all(payment.paid_by is not None for payment in world.store.payments.rows.values())


@pytest.mark.parametrize("order_id", ["named", None])
async def test_a_hint_is_answered_by_whatever_shows_its_transaction(world: World, order_id: str | None) -> None:
    """The page was asked, by its order id, and showed the transaction the hint is about."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.deliver(transaction, **({} if order_id else {"order_id": None}))
    world.errands.waiting.clear()
    page = world.payment.attempt(1)
    await world.service.sweep.ask.page(world.payment.payment_id, page)
    assert row(world, 1).verdict is Verdict.APPLIED
