"""Many at once on few rows, by processes and tasks, on both databases: nothing lost, nothing twice, no deadlock."""

import asyncio
import itertools
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from harness.soak import size
from harness.sql_shop import SqlShop
from payments_core import Money, Signal
from payments_core.errors import Conflict, StaleWrite, StorageError
from payments_core.payment import RefundState
from payments_core.system import SystemClock
from payments_core.testing.samples import IDR
from payments_core_app.budget import CallBudget
from payments_core_app.limited import LimitedGateway
from payments_core_app.shares import GatewayCare
from payments_core_memory import MemoryGateway
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.migrate import migrate_async
from payments_core_sqlalchemy.shares import Allowance, SqlShares

CLIENTS = 64


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[SqlShop]:
    await migrate_async(database_url)
    store = SqlStore(database_url)
    yield SqlShop(store)
    await store.close()


@pytest.fixture
async def postgres_url(new_database: Callable[[str], str]) -> str:
    url = new_database("postgres")
    await migrate_async(url)
    return url


# ── no lost update (E2) ───────────────────────────────────────────────────────────────────────────────────────────────
WRITER = """
import asyncio, sys, attrs
from datetime import UTC, datetime
from payments_core.errors import StaleWrite, StorageUnavailable
from payments_core.ports import Change
from payments_core_sqlalchemy import SqlStore

url, ids, writes, tasks = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]), int(sys.argv[4])

async def write(store, payment_id, locking):
    # Most writers lock first; the others read and rely on the version alone, so their writes do conflict.
    while True:
        try:
            async with store.transaction() as uow:
                find = uow.payments.lock if locking else uow.payments.load
                before = (await find([payment_id]))[payment_id]
                after = attrs.evolve(before, reading_number=before.reading_number + 1)
                await uow.payments.save([Change(before, after, [], "writer", datetime.now(UTC))])
                await uow.commit()
                return
        except StaleWrite:
            stale[0] += 1
        except StorageUnavailable:
            unknown[0] += 1  # a connection that could not be had, or was lost: it may or may not have been written

async def task(store, number):
    for n in range(writes):
        await write(store, ids[(n + number) % len(ids)], locking=number % 4 != 0)

async def main():
    store = SqlStore(url, connections=tasks)
    await asyncio.gather(*(task(store, number) for number in range(tasks)))
    await store.close()
    print(stale[0], unknown[0])

stale, unknown = [0], [0]
asyncio.run(main())
"""


async def test_no_update_is_lost_when_processes_and_tasks_write_the_same_payments(
    shop: SqlShop, tmp_path: Path
) -> None:
    """E2: 100,000 conflicting writes with `make soak`; each adds one, so the sum says whether any was lost."""
    processes, tasks = (1, 16) if shop.store.is_sqlite else (4, 4)  # SQLite has one serving process
    writes = size(100_000, usually=320) // (processes * tasks)
    ids = [(await shop.opened(f"o-{number}"))[0] for number in range(3)]
    before = sum([(await shop.payment(payment_id)).reading_number for payment_id in ids])
    script = tmp_path / "writer.py"
    script.write_text(WRITER)
    url = shop.store.url.render_as_string(hide_password=False)
    command = [sys.executable, str(script), url, ",".join(ids), str(writes), str(tasks)]
    pipe = asyncio.subprocess.PIPE
    running = [await asyncio.create_subprocess_exec(*command, stdout=pipe) for _ in range(processes)]
    async with asyncio.timeout(4 * 3600):
        ended = [await process.communicate() for process in running]
    assert [process.returncode for process in running] == [0] * processes
    after = sum([(await shop.payment(payment_id)).reading_number for payment_id in ids])
    stale, unknown = (sum(map(int, counts)) for counts in zip(*(output.split() for output, _ in ended), strict=True))
    acknowledged = writes * processes * tasks
    assert acknowledged <= after - before <= acknowledged + unknown
    if not shop.store.is_sqlite:
        assert stale > 0, "the writes did conflict"
    print(f"{acknowledged} conflicting writes, {processes} processes x {tasks} tasks: {stale} stale, {unknown} unknown")


# ── one payment is one line of versions (E1) ──────────────────────────────────────────────────────────────────────────
@attrs.frozen
class Look:
    """A version somebody was answered with; `began` and `ended` are ticks of one counter."""

    began: int
    ended: int
    version: int


async def test_what_one_client_was_answered_no_later_question_goes_behind(shop: SqlShop) -> None:
    """E1: eight clients on one payment; whoever asks after an answer sees that version, or a later one."""
    histories = size(1_000, usually=5)
    dice = random.Random(17)  # noqa: S311 - a test repeats
    for number in range(histories):
        payment_id, token = await shop.opened(f"o-{number}")
        transaction = shop.gateway.buyer_tries(token, Signal.PENDING, method="card")
        looks: list[Look] = []
        ticks = itertools.count()

        async def client(
            payment_id: str = payment_id,
            transaction: str = transaction,
            looks: list[Look] = looks,
            ticks: "itertools.count[int]" = ticks,
        ) -> None:
            for _ in range(3):
                deed, began = dice.randrange(4), next(ticks)
                if deed == 0:
                    shop.gateway.becomes(transaction, dice.choice([Signal.PENDING, Signal.CAPTURED, Signal.SETTLED]))
                    await shop.service.receive.accept([shop.understood(transaction)])
                elif deed == 1:
                    await shop.service.refresh(payment_id)
                elif deed == 2:
                    await shop.errands.do(shop.service.perform)
                version = (await shop.payment(payment_id)).version
                looks.append(Look(began, next(ticks), version))

        await asyncio.gather(*(client() for _ in range(8)))
        backwards = [(a, b) for a in looks for b in looks if a.ended < b.began and a.version > b.version]
        assert backwards == []
        async with shop.store.reading() as uow:
            sequences = [e.sequence for e in await uow.payments.history(payment_id, after=0, limit=1_000)]
            versions = await uow.connection.scalars(
                text("SELECT version FROM history WHERE payment_id = :id ORDER BY version"), {"id": payment_id}
            )
            assert [*versions] == list(range(1, (await shop.payment(payment_id)).version + 1))
        assert sequences == list(range(1, len(sequences) + 1))
    print(f"{histories} histories of eight clients: no answer went behind an earlier one")


# ── the hot row (E3) ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.postgres
async def test_sixty_four_clients_on_one_payment_meet_no_deadlock(postgres_url: str) -> None:
    """Notifications, readings, refunds, clicks and the sweep want the same few rows, in the one order of locks."""
    store = SqlStore(postgres_url, connections=CLIENTS)
    shop = SqlShop(store)
    payment_id = await shop.paid(units=100)
    transaction = (await shop.payment(payment_id)).paid_by or ""
    dice = random.Random(5)  # noqa: S311 - a test repeats

    async def client(number: int) -> None:
        for turn in range(size(20, usually=4)):
            deed = dice.randrange(5)
            try:
                if deed == 0:
                    forged = shop.understood(transaction, note=f"{number}-{turn}")
                    await shop.service.receive.accept([forged, shop.understood(transaction)])
                elif deed == 1:
                    await shop.service.refresh(payment_id)
                elif deed == 2:
                    await shop.service.refund(payment_id, Money(100, IDR), None, actor=f"operator:{number}")
                elif deed == 3:
                    await shop.service.sweep.once()
                else:
                    await shop.errands.do(shop.service.perform)
            except (Conflict, StorageError):
                continue  # told to come again, which is an answer

    try:
        await asyncio.gather(*(client(number) for number in range(CLIENTS)))
        async with store.reading() as uow:
            await uow.connection.execute(text("SELECT pg_stat_clear_snapshot()"))
            deadlocks = await uow.connection.scalar(
                text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            )
        assert deadlocks == 0
        assert (await shop.events(payment_id)).count("payment.paid") == 1
    finally:
        await store.close()


# ── what the database asks to run again ───────────────────────────────────────────────────────────────────────────────
FAILING = """
CREATE SEQUENCE failures;
CREATE FUNCTION fail_at_first() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('failures') <= {times} THEN RAISE EXCEPTION 'try again' USING ERRCODE = '{state}'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER fail_at_first BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION fail_at_first();
"""


@pytest.mark.postgres
@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_transaction_that_the_database_asks_to_run_again_is_run_again(postgres_url: str, state: str) -> None:
    """A serialization failure, or a deadlock, injected where every write passes: nobody outside hears of it."""
    store = SqlStore(postgres_url)
    shop = SqlShop(store)
    try:
        payment_id, token = await shop.opened()
        async with store.transaction() as uow:
            await _run_all(uow.connection, FAILING.format(times=3, state=state))
            await uow.commit()
        transaction = shop.gateway.buyer_tries(token, Signal.SETTLED, method="card")
        (accepted,) = await shop.service.receive.accept([shop.understood(transaction)])
        assert getattr(accepted, "verdict", accepted).value == "waiting"
        async with store.transaction() as uow:
            await uow.connection.execute(text("ALTER SEQUENCE failures RESTART"))
            await uow.commit()
        await shop.service.refresh(payment_id)
        async with store.transaction() as uow:
            await uow.connection.execute(text("ALTER SEQUENCE failures RESTART"))
            await uow.commit()
        _, refund = await shop.service.refund(payment_id, None, None, actor="operator:o")
        assert refund.state is RefundState.CONFIRMED
        assert (await shop.events(payment_id)).count("payment.refunded") == 1
    finally:
        await store.close()


@pytest.mark.postgres
async def test_a_database_that_asks_for_ever_is_given_up_after_a_few_tries(postgres_url: str) -> None:
    """Every retry has an end; the notification is answered 503, and the gateway comes again."""
    store = SqlStore(postgres_url)
    shop = SqlShop(store)
    try:
        _, token = await shop.opened()
        async with store.transaction() as uow:
            await _run_all(uow.connection, FAILING.format(times=10_000, state="40001"))
            await uow.commit()
        transaction = shop.gateway.buyer_tries(token, Signal.SETTLED)
        (refused,) = await shop.service.receive.accept([shop.understood(transaction)])
        assert isinstance(refused, StaleWrite)
        assert refused.retryable
        async with store.reading() as uow:
            assert await uow.connection.scalar(text("SELECT count(*) FROM notifications")) == 0
            tries = await uow.connection.scalar(text("SELECT last_value FROM failures"))
        assert 3 < int(tries or 0) < 20
    finally:
        await store.close()


async def _run_all(connection: "object", script: str) -> None:
    """Several statements; a function's body holds semicolons of its own, so they are parted where one ends a line."""
    parts = script.strip().split(";\nCREATE ")
    for number, part in enumerate(parts):
        statement = part if number == 0 else f"CREATE {part}"
        await connection.exec_driver_sql(statement)  # type: ignore[attr-defined]


# ── refunds (A5) ──────────────────────────────────────────────────────────────────────────────────────────────────────
async def test_no_interleaving_of_partial_refunds_gives_back_more_than_was_taken(shop: SqlShop) -> None:
    """Real transactions; the ten thousand interleavings are explored over the memory store (test_return_money)."""
    payment_id = await shop.paid(units=2)
    taken = (await shop.payment(payment_id)).owed.amount_minor
    dice = random.Random(11)  # noqa: S311 - a test repeats

    async def client(number: int) -> None:
        for _ in range(size(8, usually=2)):
            amount = Money(100 * dice.randrange(1, taken // 400), IDR)
            try:
                await shop.service.refund(payment_id, amount, None, actor=f"operator:{number}")
            except (Conflict, StaleWrite):
                continue

    await asyncio.gather(*(client(number) for number in range(16)))
    given = sum(refund.amount.amount_minor for refund in shop.gateway.refunds.values())
    charge = (await shop.payment(payment_id)).charges[0]
    assert given == charge.refunded_minor
    assert 0 < given <= taken


# ── redirect, notification and poller (B3) ────────────────────────────────────────────────────────────────────────────
async def test_redirect_notification_and_poller_at_once_pay_once_in_a_real_database(shop: SqlShop) -> None:
    """10,000 tries with `make soak`; orders of single steps are shuffled over the memory store (test_refresh)."""
    dice = random.Random(13)  # noqa: S311 - a test repeats
    tries = size(10_000, usually=25)
    for number in range(tries):
        payment_id, page_token = await shop.opened(f"o-{number}")
        transaction = shop.gateway.buyer_tries(page_token, Signal.SETTLED)
        page = (await shop.payment(payment_id)).attempts[0]

        async def told(transaction: str = transaction) -> None:
            await shop.service.receive("memory", *shop.gateway.notification(transaction))
            await shop.errands.do(shop.service.perform)

        doers = [
            told(),
            told(),
            shop.service.refresh(payment_id),
            shop.service.sweep.ask.page(payment_id, page),
            shop.service.refresh.for_reader(payment_id),
        ]
        dice.shuffle(doers)
        ended = await asyncio.gather(*doers, return_exceptions=True)
        assert [e for e in ended if isinstance(e, BaseException) and not isinstance(e, StaleWrite)] == []
        types = await shop.events(payment_id)
        assert [types.count(kind) for kind in ("payment.paid", "order.paid", "stock.consumed")] == [1, 1, 1]
    print(f"{tries} races of redirect, notification and poller: one paid effect in each")


# ── constraints, not code (E4) ────────────────────────────────────────────────────────────────────────────────────────
TWICE = {
    "a notification of the same bytes": (
        "notifications",
        "SELECT shard, provider, account, digest, '', body, received_at, verdict, '', 0, 0, 1, NULL FROM notifications",
    ),
    "a key of one caller on one route": (
        "idempotency",
        "SELECT about, subject, route, key, 'other', made_at, lease_until, status, body FROM idempotency",
    ),
    "an owner of one transaction": (
        "charge_owners",
        "SELECT provider, account, transaction_id, 'another-payment' FROM charge_owners",
    ),
    "an event of one place": (
        "events",
        "SELECT payment_id, sequence, 'payment.paid', at, actor, data FROM events WHERE sequence = 1",
    ),
    "an entry of one version": (
        "history",
        "SELECT payment_id, version, key_id, body, body_digest, chain FROM history WHERE version = 1",
    ),
}


@pytest.mark.parametrize("what", TWICE)
async def test_the_database_itself_refuses_a_second(shop: SqlShop, what: str) -> None:
    """Raw SQL, as a bug or an old version would write it."""
    payment_id, token = await shop.opened()
    await shop.service.receive.accept([shop.understood(shop.gateway.buyer_tries(token, Signal.PENDING))])
    async with shop.store.transaction() as uow:
        await uow.payments.bind(payment_id, "memory", "default", "tx")
        await uow.connection.execute(
            text(
                "INSERT INTO idempotency (about, subject, route, key, fingerprint, made_at) "
                "VALUES ('a', 's', 'r', 'k', 'f', '2026-11-27 00:00:00')"
            )
        )
        await uow.commit()
    table, again = TWICE[what]
    async with shop.store.engine.connect() as connection:
        before = await connection.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 - a test's own word
        assert before
    with pytest.raises(IntegrityError):
        async with shop.store.engine.begin() as connection:
            await connection.execute(text(f"INSERT INTO {table} {again}"))


async def test_the_database_itself_refuses_a_second_payable_page(shop: SqlShop) -> None:
    """One attempt neither dead nor spent per payment, whatever the code believes."""
    await shop.opened()
    async with shop.store.engine.connect() as connection:
        row = dict((await connection.execute(text("SELECT * FROM attempts"))).mappings().one())
    row.update(number=2, provider_order_id="another-2p")
    columns = ", ".join(row)
    insert = text(f"INSERT INTO attempts ({columns}) SELECT {columns.replace('number', '2', 1)} FROM attempts")  # noqa: S608
    with pytest.raises(IntegrityError):
        async with shop.store.engine.begin() as connection:
            await connection.execute(insert)
    async with shop.store.engine.begin() as connection:
        await connection.execute(text("UPDATE attempts SET state = 'dead'"))
        await connection.execute(insert)  # beside a dead one it may be


async def test_the_database_itself_refuses_stock_below_zero(shop: SqlShop) -> None:
    await shop.opened()
    with pytest.raises(IntegrityError):
        async with shop.store.engine.begin() as connection:
            await connection.execute(text("UPDATE stock SET available = -1"))


# ── shares of a gateway ───────────────────────────────────────────────────────────────────────────────────────────────
@attrs.frozen
class Member:
    """A process, as its row knows it."""

    shares: SqlShares
    name: str

    async def renew(self, using: int = 0, lease_s: float = 60) -> int:
        share = await self.shares.renew(
            "midtrans", self.name, limit=Allowance(8, 8), using=Allowance(using, using), lease_s=lease_s
        )
        assert share.in_flight == share.per_second
        return share.in_flight


@pytest.mark.postgres
async def test_processes_share_what_a_gateway_may_be_asked(postgres_url: str) -> None:
    """The sum is never above the limit, a newcomer can begin at once, and the share of a dead one comes back."""
    store = SqlStore(postgres_url)
    shares = SqlShares(store)
    first, second, third = (Member(shares, name) for name in ("a", "b", "c"))
    try:
        assert await first.renew() == 7, "something is left for whoever comes next"
        assert await second.renew() == 1, "also if the first is dead and its lease has not ended"
        assert await first.renew(using=6) == 4, "it gives up what is too much, and keeps what it is using"
        assert await second.renew() == 2
        assert await first.renew(using=4) == 4
        assert await second.renew() == 4
        assert await third.renew() == 0
        assert (await first.renew(), await second.renew(), await third.renew()) == (2, 2, 2)
        await second.shares.give_back("midtrans", "b")
        await third.renew(lease_s=-1)
        assert await first.renew() == 7, "one went, one died"
        assert sum(await asyncio.gather(*(Member(shares, str(n)).renew() for n in range(6)))) <= 8
    finally:
        await store.close()


class Broken:
    """Shares whose first renewal is a fault of ours, and whose second is not."""

    def __init__(self) -> None:
        self.renewed = 0
        self.once_more = asyncio.Event()

    async def renew(self, *_: object, **__: object) -> Allowance:
        self.renewed += 1
        if self.renewed == 2:
            raise AttributeError("a bug")
        if self.renewed > 2:
            self.once_more.set()
        return Allowance(8, 8)

    async def give_back(self, *_: object) -> None:
        return None


async def test_no_fault_of_ours_ends_the_renewing_of_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a share no gateway is asked any more, until somebody restarts the process."""
    monkeypatch.setattr("payments_core_app.shares._RENEW_EVERY_S", 0.0)
    gateway = LimitedGateway(MemoryGateway(), CallBudget())
    shares = Broken()
    care = GatewayCare({"memory": gateway}, {"memory": Allowance(8, 8)}, shares, None, SystemClock())  # type: ignore[arg-type]
    await care.begin()
    async with asyncio.timeout(30):
        await shares.once_more.wait()
    await care.end()
