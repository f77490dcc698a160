"""What was left behind is found: by reconciliation, by delivery, when a gateway is back, by whoever watches."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial

import attrs
import pytest
from sqlalchemy import text, update

from harness.sql_shop import SqlShop
from payments_core import Signal
from payments_core.decide import Verdict
from payments_core.errors import StorageUnavailable
from payments_core.facts import Event
from payments_core.limits import DELIVERY_SCHEDULE, LEASE, REFRESH_EVERY
from payments_core.payment import AttemptState, Payment, RefundState
from payments_core.ports import Kept, Notification, NotificationKey
from payments_core.use_cases.receive_notification import Accepted
from payments_core.use_cases.reconcile import DifferenceKind, Outcome, Reconciled
from payments_core_sqlalchemy import SqlStore, tables, verified_pages
from payments_core_sqlalchemy.migrate import migrate_async
from payments_core_sqlalchemy.outbox import SqlOutbox
from payments_core_sqlalchemy.recovery import SqlRecovery
from payments_core_sqlalchemy.survey import SqlSurvey
from payments_core_sqlalchemy.turns import SqlTurns
from payments_core_sqlalchemy.unit_of_work import SqlUnitOfWork
from payments_core_sqlalchemy.watch import INVARIANTS, Watch


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[SqlShop]:
    """A shop on SQLite and on PostgreSQL; every event is put into the outbox for one subscriber."""
    await migrate_async(database_url)
    store = SqlStore(database_url, subscribers=("crm",))
    yield SqlShop(store)
    await store.close()


# ── reconciliation ────────────────────────────────────────────────────────────────────────────────────────────────────
async def reconciled(shop: SqlShop, payment_id: str) -> Reconciled:
    assert shop.service.reconcile is not None
    return await shop.service.reconcile(payment_id)


def told(result: Reconciled) -> list[tuple[DifferenceKind, Outcome]]:
    return [(difference.kind, difference.outcome) for difference in result.differences]


async def test_with_every_notification_lost_reconciliation_alone_finds_the_money(shop: SqlShop) -> None:
    """B11, by hand instead of by polling."""
    payment_id, token = await shop.opened()
    shop.gateway.buyer_tries(token, Signal.SETTLED)
    assert told(await reconciled(shop, payment_id)) == [(DifferenceKind.MISSING_HERE, Outcome.REPAIRED)]
    assert (await shop.payment(payment_id)).paid_by is not None
    assert told(await reconciled(shop, payment_id)) == [], "once it is right there is nothing to tell"


async def test_every_kind_of_difference_is_found_and_classed(shop: SqlShop) -> None:
    """H1, in our part: what differs is named, repaired where the table allows it, else left or a case."""
    pending, token = await shop.opened("o-1")
    transaction = shop.gateway.buyer_tries(token, Signal.PENDING)
    await shop.service.refresh(pending)
    shop.gateway.becomes(transaction, Signal.SETTLED)
    assert (DifferenceKind.STATUS, Outcome.REPAIRED) in told(await reconciled(shop, pending))

    refunded = await shop.paid("o-2")
    kept = (await shop.payment(refunded)).paid_by or ""
    shop.gateway.becomes(kept, Signal.SETTLED, refunded=shop.gateway.transactions[kept].amount)
    assert (DifferenceKind.AMOUNT, Outcome.REPAIRED) in told(await reconciled(shop, refunded))

    forgotten = await shop.paid("o-3")
    del shop.gateway.transactions[(await shop.payment(forgotten)).paid_by or ""]
    assert told(await reconciled(shop, forgotten)) == [(DifferenceKind.MISSING_THERE, Outcome.LEFT)]

    contradicting = await shop.paid("o-4")
    shop.gateway.becomes((await shop.payment(contradicting)).paid_by or "", Signal.PENDING)
    assert (DifferenceKind.STATUS, Outcome.LEFT) in told(await reconciled(shop, contradicting))

    shop.gateway.unreachable = True
    unreachable = await reconciled(shop, pending)
    assert {kind for kind, _ in told(unreachable)} == {DifferenceKind.UNREACHABLE}
    assert all(outcome is Outcome.LEFT for _, outcome in told(unreachable))


async def test_no_difference_is_told_of_payments_that_are_right(shop: SqlShop) -> None:
    for number, word in enumerate((Signal.PENDING, Signal.SETTLED, Signal.DENIED, Signal.EXPIRED, Signal.CHALLENGED)):
        payment_id, token = await shop.opened(f"o-{number}")
        shop.gateway.buyer_tries(token, word, method="card")
        await shop.service.refresh(payment_id)
        await shop.errands.do(shop.service.perform)
        assert told(await reconciled(shop, payment_id)) == [], word


async def test_a_page_that_has_to_close_is_closed_before_the_reconciliation_ends(shop: SqlShop) -> None:
    """Its deadline passed, and its transaction expired at the gateway without a word."""
    payment_id, token = await shop.opened()
    shop.gateway.buyer_tries(token, Signal.EXPIRED)
    shop.clock.move(timedelta(hours=25))
    await reconciled(shop, payment_id)
    payment = await shop.payment(payment_id)
    assert payment.attempts[0].state is AttemptState.DEAD
    assert payment.closed is not None


async def test_a_page_that_cannot_be_closed_now_is_left_behind_and_told(shop: SqlShop) -> None:
    payment_id, _ = await shop.opened()
    await shop.service.sweep.desk.look(payment_id)
    shop.clock.move(timedelta(hours=25))
    shop.gateway.unreachable = True
    kinds = {kind for kind, _ in told(await reconciled(shop, payment_id))}
    assert kinds == {DifferenceKind.UNREACHABLE, DifferenceKind.UNFINISHED}


async def test_a_refund_whose_answer_was_lost_is_resolved_by_the_reconciliation(shop: SqlShop) -> None:
    payment_id = await shop.paid()
    shop.gateway.refused_calls = 1
    _, refund = await shop.service.refund(payment_id, None, None, actor="operator:o")
    assert refund.state in {RefundState.SENT, RefundState.UNKNOWN}
    await reconciled(shop, payment_id)
    assert (await shop.payment(payment_id)).refunds[0].state is RefundState.CONFIRMED
    assert len(shop.gateway.refunds) == 1


async def test_the_survey_names_what_is_open_and_what_closed_lately_and_nothing_else(shop: SqlShop) -> None:
    survey, now = SqlSurvey(shop.store), shop.clock.now()
    open_page, _ = await shop.opened("o-1")
    paid = await shop.paid("o-2")
    assert await survey.ids(now, after=None, limit=10) == sorted([open_page, paid])
    later = now + timedelta(days=30)
    assert await survey.ids(later, after=None, limit=10) == [open_page], "an open page is looked at, however old"
    assert await survey.count(later) == 1
    assert await survey.ids(now, after=min(open_page, paid), limit=10) == [max(open_page, paid)]


async def test_the_survey_names_what_a_notification_waits_for_however_old_it_is(shop: SqlShop) -> None:
    """Money reversed long after its page: a run that did not look would say that nothing is left behind."""
    paid = await shop.paid("o-1")
    (charge,) = (await shop.payment(paid)).charges
    shop.clock.move(timedelta(days=30))
    shop.gateway.becomes(charge.transaction_id, Signal.DENIED)
    (taken,) = await shop.service.receive.accept([shop.understood(charge.transaction_id)])
    assert isinstance(taken, Accepted)
    assert taken.verdict is Verdict.WAITING
    survey, since = SqlSurvey(shop.store), shop.clock.now() - timedelta(days=7)
    assert await survey.ids(since, after=None, limit=10) == [paid]
    assert await survey.count(since) == 1
    assert await survey.ids(since, after=paid, limit=10) == []


async def test_the_survey_names_what_a_notification_waits_for_that_names_its_transaction_alone(shop: SqlShop) -> None:
    """As disputes and refunds do at Stripe."""
    paid = await shop.paid("o-1")
    shop.clock.move(timedelta(days=30))
    told = Notification(
        key=NotificationKey("", "memory", "default", "0" * 64),
        body=b"{}",
        received_at=shop.clock.now(),
        transaction_id="pi_1",
    )
    async with shop.store.transaction() as uow:
        await uow.payments.bind(paid, "memory", "default", "pi_1")
        await uow.inbox.put([Kept(notification=told, verdict=Verdict.WAITING, reason="asked", fresh=True)])
        await uow.commit()
    survey, since = SqlSurvey(shop.store), shop.clock.now() - timedelta(days=7)
    assert await survey.ids(since, after=None, limit=10) == [paid]
    assert await survey.waiting(paid) == [told.key]
    assert await survey.waiting("somebody else's") == []


# ── a gateway that is back ────────────────────────────────────────────────────────────────────────────────────────────
async def test_when_the_gateway_is_back_everything_unknown_is_due_at_once(shop: SqlShop) -> None:
    """A1; and a due time that moved back is no sign of tampering."""
    payment_id = await shop.paid()
    shop.gateway.unreachable = True
    await shop.service.refund(payment_id, None, None, actor="operator:o")
    for _ in range(8):
        shop.clock.move(timedelta(hours=2))
        await shop.service.sweep.once()
    due_at = (await shop.payment(payment_id)).refunds[0].check_at
    assert due_at is not None
    assert due_at > shop.clock.now() + timedelta(minutes=30)
    recovery = SqlRecovery(shop.store)
    assert await recovery.wake("another", shop.clock.now()) == 0
    assert await recovery.wake("memory", shop.clock.now()) == 1
    findings = [finding async for page in verified_pages(shop.store) for finding in page.findings]
    assert [finding for finding in findings if "unkeyed" not in finding.kind.value] == []
    shop.gateway.unreachable = False
    await shop.service.sweep.once()
    assert (await shop.payment(payment_id)).refunds[0].state is RefundState.CONFIRMED


async def test_one_reader_in_all_processes_has_the_turn(shop: SqlShop) -> None:
    here, there, now = SqlTurns(shop.store), SqlTurns(shop.store), shop.clock.now()
    assert await here.take("p", now=now, every=REFRESH_EVERY)
    assert not await here.take("p", now=now, every=REFRESH_EVERY)
    assert not await there.take("p", now=now, every=REFRESH_EVERY)
    assert await there.take("q", now=now, every=REFRESH_EVERY)
    assert await there.take("p", now=now + 2 * REFRESH_EVERY, every=REFRESH_EVERY)


# ── delivery of facts ─────────────────────────────────────────────────────────────────────────────────────────────────
class Crm:
    """A subscriber that remembers what it was told, and can be down."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, int]] = []
        self.offered: list[str] = []
        self.is_down = False

    async def __call__(self, event: Event, delivery_id: str) -> None:
        self.offered.append(delivery_id)
        if self.is_down:
            raise ConnectionError("down")
        self.taken.append((delivery_id, event.payment_id, event.sequence))


async def test_every_fact_reaches_its_subscriber_in_the_order_of_its_payment(shop: SqlShop) -> None:
    crm = Crm()
    shop.subscribers["crm"] = crm
    ids = [await shop.paid(f"o-{number}") for number in range(3)]
    report = await shop.service.sweep.once()
    for payment_id in ids:
        sequences = [sequence for _, of, sequence in crm.taken if of == payment_id]
        assert sequences == list(range(1, len(await shop.events(payment_id)) + 1))
    assert report.done["outbox"] == len(crm.taken)
    await shop.service.sweep.once()
    assert len(crm.taken) == report.done["outbox"], "a fact that was taken is not offered again"


async def test_a_subscriber_that_was_down_for_a_day_gets_everything_in_order(shop: SqlShop) -> None:
    """D2: under the same id in every try (D3)."""
    crm = Crm()
    shop.subscribers["crm"] = crm
    crm.is_down = True
    payment_id = await shop.paid()
    for pause in DELIVERY_SCHEDULE[:6]:
        await shop.service.sweep.once()
        shop.clock.move(pause + LEASE)
    assert set(crm.offered) == {f"{payment_id}-1"}, "the later ones wait behind the first"
    assert len(crm.offered) == 6
    crm.is_down = False
    shop.clock.move(timedelta(hours=24))
    await shop.service.sweep.once()
    assert [sequence for _, _, sequence in crm.taken] == list(range(1, len(await shop.events(payment_id)) + 1))


async def test_a_fact_nobody_takes_becomes_a_dead_letter_that_is_seen_and_can_be_revived(shop: SqlShop) -> None:
    crm = Crm()
    shop.subscribers["crm"] = crm
    crm.is_down = True
    await shop.paid()
    for _ in range(len(DELIVERY_SCHEDULE) + 3):
        assert shop.service.deliver is not None
        await shop.service.deliver.once()
        shop.clock.move(timedelta(days=2))
    assert len(crm.offered) == len(DELIVERY_SCHEDULE) + 1
    waiting = (await Watch(shop.store).backlog(shop.clock.now())).waiting
    assert waiting["dead_fact"].count == 1
    assert waiting["fact"].count > 1
    crm.is_down = False
    assert await SqlOutbox(shop.store).revive("crm", now=shop.clock.now()) == 1
    await shop.service.sweep.once()
    assert (await Watch(shop.store).backlog(shop.clock.now())).waiting["fact"].count == 0


async def test_two_relays_deliver_no_fact_twice_while_both_live(shop: SqlShop) -> None:
    await shop.paid()
    first, second, now = SqlOutbox(shop.store), SqlOutbox(shop.store), shop.clock.now() + timedelta(seconds=1)
    claimed = await first.claim(now=now, until=now + LEASE, limit=10)
    assert [delivery.event.sequence for delivery in claimed] == [1]
    assert await second.claim(now=now, until=now + LEASE, limit=10) == []
    later = now + LEASE + timedelta(seconds=1)
    (again,) = await second.claim(now=later, until=later + LEASE, limit=10)
    assert again.delivery_id == claimed[0].delivery_id, "a relay that died is followed by another, under the same id"


# ── what an operator watches ──────────────────────────────────────────────────────────────────────────────────────────
async def test_what_waits_is_counted_with_the_age_of_the_oldest(shop: SqlShop) -> None:
    """H3: a waiting notification, an unknown outcome, an undelivered fact, an open case."""
    refunded = await shop.paid("o-2")
    payment_id, token = await shop.opened("o-1")
    await shop.service.receive.accept([shop.understood(shop.gateway.buyer_tries(token, Signal.SETTLED))])
    shop.gateway.unreachable = True
    await shop.service.refund(refunded, None, None, actor="operator:o")
    shop.clock.move(timedelta(hours=3))
    backlog = await Watch(shop.store).backlog(shop.clock.now())
    for what in ("notification", "refund", "fact", "due_work"):
        assert backlog.waiting[what].count >= 1, what
    for what in ("notification", "refund", "fact"):
        assert timedelta(seconds=backlog.waiting[what].age_s(shop.clock.now())) >= timedelta(hours=3), what
    assert backlog.waiting["case"].count == 0
    shop.gateway.unreachable = False
    transaction = next(t for t in shop.gateway.transactions.values() if t.provider_order_id.startswith(payment_id))
    await shop.service.refresh(payment_id)
    shop.gateway.becomes(transaction.transaction_id, Signal.DENIED)
    await shop.service.refresh(payment_id)
    backlog = await Watch(shop.store).backlog(shop.clock.now())
    assert backlog.open_cases == {"reversed": 1}
    assert backlog.waiting["case"].count == 1
    assert backlog.waiting["notification"].count == 0


async def test_orders_ledgers_and_stock_agree_after_all_kinds_of_lives(shop: SqlShop) -> None:
    """H2: no false alarm."""
    for number, word in enumerate((Signal.SETTLED, Signal.CAPTURED, Signal.DENIED, Signal.EXPIRED, Signal.PENDING)):
        payment_id, token = await shop.opened(f"o-{number}")
        transaction = shop.gateway.buyer_tries(token, word, method="card")
        await shop.service.refresh(payment_id)
        if number == 0:
            await shop.service.refund(payment_id, None, None, actor="operator:o")
        if number == 1:
            shop.gateway.becomes(transaction, Signal.CANCELLED)
            await shop.service.refresh(payment_id)
    shop.clock.move(timedelta(hours=26))
    await shop.service.sweep.once()
    await shop.errands.do(shop.service.perform)
    broken = await Watch(shop.store).broken()
    assert {name: found.examples for name, found in broken.items() if found.count} == {}
    assert broken.keys() == INVARIANTS.keys()


async def test_a_dispute_that_was_won_adds_up(shop: SqlShop) -> None:
    """What was charged back and given back again is published as both."""
    payment_id = await shop.paid()
    for charged_back in (5_000, 0):
        await shop.service.sweep.desk.change(payment_id, partial(_charged_back, minor=charged_back), actor="gateway")
    assert [kind for kind in await shop.events(payment_id) if "charge" in kind] == [
        "payment.charged_back",
        "payment.charge_back_returned",
    ]
    assert (await Watch(shop.store).broken())["published_money"].count == 0


@pytest.mark.postgres
async def test_what_reads_whole_tables_may_take_longer_than_a_statement_of_a_payment(
    new_database: Callable[[str], str],
) -> None:
    """With millions of payments an invariant takes more than the five seconds after which a statement is given up."""
    store = SqlStore(new_database("postgres"))
    long = text("SELECT pg_sleep(5.5)")

    async def asked(reading: AbstractAsyncContextManager[SqlUnitOfWork]) -> None:
        async with reading as uow:
            await uow.connection.execute(long)

    through, given_up = await asyncio.gather(
        asked(store.reading_through()), asked(store.reading()), return_exceptions=True
    )
    assert through is None
    assert isinstance(given_up, StorageUnavailable)
    await store.close()


def _charged_back(payment: Payment, minor: int) -> Payment:
    return payment.with_charge(attrs.evolve(payment.charges[0], charged_back_minor=minor))


@pytest.mark.parametrize(
    ("invariant", "damage"),
    [
        ("one_end", "UPDATE payments SET closed_as = 'expired' WHERE paid_by IS NOT NULL"),
        ("one_keeping_charge", "UPDATE charges SET state = 'denied'"),
        ("one_keeping_charge", "UPDATE payments SET owed_minor = owed_minor + 1"),
        ("bounded_returns", "UPDATE charges SET refunded_minor = captured_minor + 1"),
        ("published_money", "UPDATE charges SET captured_minor = captured_minor + 1"),
        ("published_money", "UPDATE charges SET refunded_minor = 1"),
        ("orders_agree", "UPDATE orders SET status = 'pending'"),
        ("stock_agrees", "UPDATE reservations SET state = 'reserved'"),
    ],
)
async def test_a_number_changed_behind_our_back_breaks_the_invariant_named_for_it(
    shop: SqlShop, invariant: str, damage: str
) -> None:
    payment_id = await shop.paid()
    assert (await Watch(shop.store).broken())[invariant].count == 0
    async with shop.store.transaction() as uow:
        await uow.connection.execute(text(damage))
        await uow.commit()
    found = (await Watch(shop.store).broken())[invariant]
    assert (found.count, found.examples) == (1, (payment_id,))


async def test_work_that_is_due_and_not_attended_to_shows_its_age(shop: SqlShop) -> None:
    payment_id, _ = await shop.opened()
    async with shop.store.transaction() as uow:
        late = update(tables.payments).values(deadline_at=shop.clock.now() - timedelta(minutes=5))
        await uow.connection.execute(late.where(tables.payments.c.payment_id == payment_id))
        await uow.commit()
    due = (await Watch(shop.store).backlog(shop.clock.now())).waiting["due_work"]
    assert due.count == 1
    assert due.age_s(shop.clock.now()) == pytest.approx(300, abs=1)
