"""Group commit: its nine rules (design, section 4), each with a test named for it, on real databases.

`docs/guarantees.md` lists which test stands for which rule.
"""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from harness.sql_shop import SqlShop
from harness.turns import reached
from payments_core import Confirm, GatewayTraits, Signal
from payments_core.decide import Verdict
from payments_core.errors import Busy, StorageError, StorageUnavailable
from payments_core.limits import BATCH_ITEMS_MAX
from payments_core.ports import Notification
from payments_core.testing.samples import notification
from payments_core.use_cases import receive_notification as receiving
from payments_core.use_cases.receive_notification import Accepted
from payments_core_app import batcher as batching
from payments_core_app.batcher import Batcher
from payments_core_memory import MemoryGateway
from payments_core_midtrans import MidtransSettings
from payments_core_midtrans.client import MidtransClient
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.migrate import migrate_async
from payments_core_sqlalchemy.session import Session
from payments_core_sqlalchemy.statements import Statement
from payments_core_sqlalchemy.unit_of_work import SqlUnitOfWork

SIGNED = GatewayTraits(confirm=Confirm.SIGNATURE)
"""Nothing is asked, so a batch decides everything itself."""


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[SqlShop]:
    await migrate_async(database_url)
    store = SqlStore(database_url)
    yield SqlShop(store, MemoryGateway(traits=SIGNED))
    await store.close()


@contextmanager
def said(store: SqlStore) -> Iterator[list[str]]:
    """Every statement the writer carries out, in order, whether it goes through SQLAlchemy or to the driver."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(" ".join(statement.split()))

    def read(session: Session, statement: Statement, **values: Any) -> Any:
        note(None, None, statement.for_(session.dialect).text)
        return rows(session, statement, **values)

    def written(session: Session, *parts: Any) -> Any:
        for write, items in (*session._later, *parts):
            if items:
                note(None, None, write.text_of_row())
        return write_all(session, *parts)

    def returned(session: Session, write: Any, items: Any) -> Any:
        for other, _ in (*session._later, (write, items)):
            note(None, None, other.text_of_row())
        return write_returning(session, write, items)

    rows, write_all, write_returning = Session.rows, Session.write, Session.write_returning
    event.listen(store.engine.sync_engine, "before_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Session, "rows", read)
        patched.setattr(Session, "write", written)
        patched.setattr(Session, "write_returning", returned)
        yield statements
    event.remove(store.engine.sync_engine, "before_cursor_execute", note)


async def settled(shop: SqlShop, count: int) -> list[Notification]:
    """The settlements of so many new orders."""
    batch = []
    for number in range(count):
        _, token = await shop.opened(f"o-{number}")
        batch.append(shop.understood(shop.gateway.buyer_tries(token, Signal.SETTLED, method="card")))
    return batch


def verdicts(results: list[Accepted | StorageError]) -> list[str]:
    return [result.verdict.value if isinstance(result, Accepted) else result.code for result in results]


def touched(statements: list[str]) -> list[str]:
    """The table each statement locks or writes, repetitions left out."""
    names = []
    for statement in statements:
        found = re.match(r"(?:INSERT INTO|UPDATE) (\w+)|SELECT .* FROM (\w+) .*FOR UPDATE", statement)
        if found and (name := found[1] or found[2]) not in names[-1:]:
            names.append(name)
    return names


async def test_rule_1_locks_are_taken_in_one_order(shop: SqlShop) -> None:
    """Payment ids, inbox keys, orders, skus, each sorted: two batches that meet wait for each other once."""
    batch = await settled(shop, 3)
    with said(shop.store) as statements:
        assert verdicts(await shop.service.receive.accept([*reversed(batch)])) == ["applied"] * 3
    order = [name for name in touched(statements) if name in {"notifications", "payments", "orders", "reservations"}]
    firsts = [*dict.fromkeys(order)]
    expected = ["payments", "notifications", "orders", "reservations"]
    assert firsts == (expected if not shop.store.is_sqlite else ["notifications", "orders", "reservations", "payments"])
    locking = [statement for statement in statements if statement.startswith("SELECT payments.")]
    assert locking
    assert all("ORDER BY payments.payment_id" in statement for statement in locking)
    if not shop.store.is_sqlite:  # SQLite locks the whole file with BEGIN IMMEDIATE
        assert all(statement.endswith("FOR UPDATE") for statement in locking)


async def test_rule_2_the_first_statement_locks_and_later_ones_read_what_it_waited_for(
    shop: SqlShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Children read in the locking statement would be those from before it waited (measured)."""
    _, token = await shop.opened()
    first = shop.gateway.buyer_tries(token, Signal.PENDING, method="card")
    second = shop.gateway.buyer_tries(token, Signal.PENDING, method="bank_transfer")
    holding, let_go = asyncio.Event(), asyncio.Event()
    commit = SqlUnitOfWork.commit

    async def slowly(uow: SqlUnitOfWork) -> None:
        if not holding.is_set():
            holding.set()
            await asyncio.wait_for(let_go.wait(), 10)
        await commit(uow)

    monkeypatch.setattr(SqlUnitOfWork, "commit", slowly)
    one = asyncio.create_task(shop.service.receive.accept([shop.understood(first)]))
    await asyncio.wait_for(holding.wait(), 10)
    other = asyncio.create_task(shop.service.receive.accept([shop.understood(second)]))
    await asyncio.sleep(0.2)  # so that it reaches the lock; with or without it the end has to be the same
    let_go.set()
    assert verdicts(await one) == verdicts(await other) == ["applied"]
    async with shop.store.reading() as uow:
        assert await uow.connection.scalar(text("SELECT count(*) FROM charges")) == 2
    ids = await _ids(shop)
    assert len((await shop.payment(ids[0])).charges) == 2


async def _ids(shop: SqlShop) -> list[str]:
    async with shop.store.reading() as uow:
        return [*await uow.connection.scalars(text("SELECT payment_id FROM payments"))]


async def test_rule_3_an_exception_while_deciding_quarantines_one_and_applies_the_others(
    shop: SqlShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await settled(shop, 3)
    bad = batch[1].transaction_id
    decide = receiving.decide_hint

    def breaks(payment: Any, hint: Any, **rest: Any) -> Any:
        if hint.transaction_id == bad:
            raise ZeroDivisionError("a bug")
        return decide(payment, hint, **rest)

    monkeypatch.setattr(receiving, "decide_hint", breaks)
    assert verdicts(await shop.service.receive.accept(batch)) == ["applied", "quarantined", "applied"]


async def test_rule_3_when_a_statement_fails_the_culprit_alone_is_sent_again(shop: SqlShop) -> None:
    """A trigger refuses one payment's row: the batch fails, each is tried by itself, once."""
    batch = await settled(shop, 3)
    culprit = batch[1].key.shard
    refuses = (
        f"CREATE TRIGGER no BEFORE UPDATE ON payments WHEN NEW.payment_id = '{culprit}' "
        "BEGIN SELECT CAST(RAISE(ABORT, 'no') AS TEXT); END"
        if shop.store.is_sqlite
        else (
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF NEW.payment_id = '{culprit}' THEN RAISE EXCEPTION 'no' USING ERRCODE = '22000'; END IF; "
            "RETURN NEW; END $$; CREATE TRIGGER no BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION no()"
        )
    )
    async with shop.store.engine.begin() as connection:
        for statement in refuses.split("$$; ") if "$$; " in refuses else [refuses]:
            await connection.exec_driver_sql(statement + ("$$" if statement.startswith("CREATE FUNCTION") else ""))
    ended = verdicts(await shop.service.receive.accept(batch))
    assert (ended[0], ended[2]) == ("applied", "applied")
    assert ended[1] in {"storage_error", "stale_write"}
    async with shop.store.reading() as uow:
        assert await uow.connection.scalar(text("SELECT count(*) FROM notifications")) == 2


async def test_rule_4_messages_for_one_payment_are_folded_into_one_update(shop: SqlShop) -> None:
    """In the order of arrival; each message has its row with its verdict, the payment one UPDATE."""
    payment_id, token = await shop.opened()
    transaction = shop.gateway.buyer_tries(token, Signal.PENDING, method="card")
    batch = [shop.understood(transaction)]
    shop.gateway.becomes(transaction, Signal.AUTHORIZED)
    batch.append(shop.understood(transaction))
    shop.gateway.becomes(transaction, Signal.CAPTURED)
    batch.append(shop.understood(transaction))
    before = (await shop.payment(payment_id)).version
    with said(shop.store) as statements:
        assert verdicts(await shop.service.receive.accept(batch)) == ["applied"] * 3
    assert sum(statement.startswith("UPDATE payments") for statement in statements) == 1
    assert (await shop.payment(payment_id)).version == before + 1
    async with shop.store.reading() as uow:
        kept = await uow.inbox.load([item.key for item in batch])
    assert [item.verdict for item in kept] == [Verdict.APPLIED] * 3
    assert "payment.paid" in await shop.events(payment_id)


@attrs.define
class Slow:
    """An `accept` that is let go by hand."""

    batches: list[int] = attrs.field(factory=list)
    gate: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def __call__(self, batch: Any) -> list[Accepted | StorageError]:
        self.batches.append(len(batch))
        await self.gate.wait()
        return [Accepted(Verdict.APPLIED, "")] * len(batch)


async def test_rule_5_a_caller_that_disconnects_cancels_nothing() -> None:
    slow = Slow()
    batcher = Batcher(slow)
    caller = asyncio.create_task(batcher.submit(notification(1)))
    await reached(lambda: len(slow.batches) == 1, "the batch")
    caller.cancel()
    slow.gate.set()
    await batcher.drain()
    assert slow.batches == [1]
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_rule_5_a_connection_lost_during_the_commit_is_503_for_the_whole_batch(
    shop: SqlShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happened is unknown, so all come again, and find that it had been stored."""
    batch = await settled(shop, 3)
    commit = SqlUnitOfWork.commit
    tried = []

    async def lost(uow: SqlUnitOfWork) -> None:
        tried.append(1)
        await commit(uow)
        raise DBAPIError("COMMIT", {}, ConnectionResetError("gone"), connection_invalidated=True)

    monkeypatch.setattr(SqlUnitOfWork, "commit", lost)
    ended = await shop.service.receive.accept(batch)
    assert [type(result) for result in ended] == [StorageUnavailable] * 3
    assert len(tried) == 1, "nothing is tried item by item while the store is away"
    monkeypatch.setattr(SqlUnitOfWork, "commit", commit)
    assert verdicts(await shop.service.receive.accept(batch)) == ["duplicate"] * 3
    for payment_id in await _ids(shop):
        assert (await shop.events(payment_id)).count("payment.paid") == 1


async def test_rule_6_a_batch_is_what_arrived_while_the_last_one_committed() -> None:
    slow = Slow()
    batcher = Batcher(slow)
    callers = [asyncio.create_task(batcher.submit(notification(1)))]
    await reached(lambda: len(slow.batches) == 1, "the batch")
    callers += [asyncio.create_task(batcher.submit(notification(n))) for n in range(2, BATCH_ITEMS_MAX + 12)]
    await asyncio.sleep(0)
    slow.gate.set()
    await asyncio.gather(*callers)
    assert slow.batches == [1, BATCH_ITEMS_MAX, 10], "bounded in items"


async def test_rule_6_a_batch_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_BATCH_BYTES_MAX", 100)
    slow = Slow()
    batcher = Batcher(slow)
    large = attrs.evolve(notification(1), body=b"x" * 60)
    first = asyncio.create_task(batcher.submit(large))
    await reached(lambda: len(slow.batches) == 1, "the batch")
    others = [asyncio.create_task(batcher.submit(large)) for _ in range(4)]
    await asyncio.sleep(0)
    slow.gate.set()
    await asyncio.gather(first, *others)
    assert slow.batches == [1, 2, 2]


async def test_rule_6_beyond_the_bound_of_the_queue_a_delivery_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Busy is 503 with Retry-After (`test_while_the_database_is_down_nothing_is_promised_and_nothing_is_lost`)."""
    monkeypatch.setattr(batching, "_QUEUE_MAX", 3)
    slow = Slow()
    batcher = Batcher(slow)
    callers = [asyncio.create_task(batcher.submit(notification(1)))]
    await reached(lambda: len(slow.batches) == 1, "the batch")
    callers += [asyncio.create_task(batcher.submit(notification(n))) for n in range(2, 5)]
    await asyncio.sleep(0)
    with pytest.raises(Busy) as full:
        await batcher.submit(notification(9))
    assert (full.value.code, full.value.retryable) == ("overloaded", True)
    slow.gate.set()
    assert len(await asyncio.gather(*callers)) == 4


async def test_rule_7_no_gateway_is_called_inside_a_batch_and_a_hot_product_is_no_lock(
    shop: SqlShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when everything asks: the questions leave after the commit. `stock` is neither locked nor written."""
    batch = await settled(shop, 3)
    shop.gateway.traits = GatewayTraits()
    committed: list[int] = []
    commit = SqlUnitOfWork.commit

    async def noted(uow: SqlUnitOfWork) -> None:
        assert shop.gateway.calls.count("read") == 0
        await commit(uow)
        committed.append(1)

    monkeypatch.setattr(SqlUnitOfWork, "commit", noted)
    assert verdicts(await shop.service.receive.accept(batch)) == ["waiting"] * 3
    assert shop.gateway.calls.count("read") == 0
    assert committed == [1]
    monkeypatch.setattr(SqlUnitOfWork, "commit", commit)
    with said(shop.store) as statements:
        await shop.errands.do(shop.service.perform)
    assert {(await shop.payment(payment_id)).paid_by is not None for payment_id in await _ids(shop)} == {True}
    assert any("reservations" in statement for statement in statements)
    assert [statement for statement in statements if re.search(r"\b(UPDATE|FROM) stock\b", statement)] == []


async def test_rule_8_the_database_is_used_as_the_rule_says(shop: SqlShop) -> None:
    """PostgreSQL: READ COMMITTED, durable. SQLite: one writer, BEGIN IMMEDIATE, WAL and FULL, readers apart."""
    if not shop.store.is_sqlite:
        async with shop.store.transaction() as uow:
            assert await uow.connection.scalar(text("SHOW transaction_isolation")) == "read committed"
            assert await uow.connection.scalar(text("SHOW synchronous_commit")) == "on"
        return
    async with shop.store.transaction() as uow:
        assert await uow.connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await uow.connection.scalar(text("PRAGMA synchronous")) == 2
        assert int(await uow.connection.scalar(text("PRAGMA busy_timeout")) or 0) > 0
        async with shop.store.reading() as other:  # a reader waits for no writer
            assert await other.connection.scalar(text("SELECT count(*) FROM payments")) == 0
        second = SqlStore(shop.store.url.render_as_string(hide_password=False))
        try:
            with pytest.raises(StorageError):
                async with asyncio.timeout(30), second.transaction() as late:
                    await late.connection.execute(text("SELECT 1"))  # BEGIN IMMEDIATE waits for the writer, in vain
        finally:
            await second.close()


async def test_rule_9_the_blocking_client_is_waited_for_by_the_loop_and_takes_no_thread() -> None:
    """A slow gateway holds up nothing else: each call is answered when all four are on their way."""
    arrived = asyncio.Barrier(4)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await arrived.wait()
        body = b'{"status_code": "404", "status_message": "nobody"}'
        head = f"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = MidtransSettings(
        server_key="SB-Mid-server-x", threads=4, timeout=timedelta(seconds=20), snap_url=address, api_url=address
    )
    client, threads = MidtransClient(settings), threading.active_count()
    try:
        calls = [asyncio.create_task(client.status(f"o-{number}")) for number in range(4)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert threading.active_count() == threads
    finally:
        await client.close()
        server.close()
    assert [getattr(refusal, "code", refusal) for refusal in ended] == [404] * 4


async def three_with_one_spoilt(shop: SqlShop) -> tuple[list[str], list[Notification]]:
    """The ids of three payments and their settlements; of the second a word is stored that nobody knows."""
    opened = [await shop.opened(f"o-{number}") for number in range(3)]
    ids = [payment_id for payment_id, _ in opened]
    batch = [shop.understood(shop.gateway.buyer_tries(token, Signal.SETTLED, method="card")) for _, token in opened]
    async with shop.store.engine.begin() as connection:
        await connection.execute(text("UPDATE attempts SET state = 'odd' WHERE payment_id = :id"), {"id": ids[1]})
    return ids, batch


async def test_rule_3_a_payment_that_cannot_be_read_takes_no_neighbour_with_it(shop: SqlShop) -> None:
    """Somebody's hand in the database, or another version: what came with its message was sent again each time."""
    ids, batch = await three_with_one_spoilt(shop)
    results = await shop.service.receive.accept(batch)
    assert verdicts(results) == ["applied", "storage_unavailable", "applied"]
    assert (await shop.payment(ids[0])).paid_by is not None


async def test_rule_3_a_decision_about_one_that_cannot_be_read_takes_no_neighbour_with_it(shop: SqlShop) -> None:
    ids, _ = await three_with_one_spoilt(shop)
    changes = [shop.service.sweep.desk.change(one, lambda payment: payment, actor="core") for one in (ids[0], *ids)]
    results = await asyncio.gather(*changes, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["Payment", "Payment", "ValueError", "Payment"]
