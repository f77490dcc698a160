"""Cost as work grows: no hot statement reads a table from end to end, however many payments there are."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Float, Integer, Table, event, text
from sqlalchemy.types import JSON, LargeBinary

from payments_core.ports import DueKind
from payments_core_sqlalchemy import SqlStore, finding, history, inbox, order_book, repositories, tables
from payments_core_sqlalchemy.housekeeping import Housekeeping
from payments_core_sqlalchemy.migrate import migrate_async
from payments_core_sqlalchemy.session import Session
from payments_core_sqlalchemy.statements import Statement, Write, document

ROWS = 20_000
"""Enough that a planner would read the table through if it had no index for the question."""
MODULES = (finding, history, inbox, order_book, repositories)
VALUES: dict[str, Any] = {
    "ids": [f"{7:026d}", f"{8:026d}"],
    "order_id": f"{7:026d}",
    "transactions": ["tx-7"],
    "this_order": f"{7:026d}",
    "this_payment": f"{9:026d}",
    "keys": '[["7", "midtrans", "default", "7"]]',
}


def named(kind: type) -> list[Any]:
    """Every module-level statement of the hot paths, so that a new one is looked at too."""
    return [
        pytest.param(value, id=f"{module.__name__.rpartition('.')[2]}.{name}")
        for module in MODULES
        for name, value in vars(module).items()
        if isinstance(value, kind) and not _is_borrowed(module, name)
    ]


def _is_borrowed(module: ModuleType, name: str) -> bool:
    return module is not finding and hasattr(finding, name)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    """A store whose tables are long."""
    await migrate_async(database_url)
    made = SqlStore(database_url)
    async with made.engine.begin() as connection:
        if not made.is_sqlite:  # SQLite plans without looking at the rows
            for table in tables.metadata.sorted_tables:
                await connection.execute(text(_many(table)))
    if not made.is_sqlite:
        async with made.engine.connect() as connection:
            await connection.execute(text("ANALYZE"))
            await connection.commit()
    yield made
    await made.close()


def _many(table: Table) -> str:
    columns = [column for column in table.columns if not column.nullable]
    names = ", ".join(f'"{column.name}"' for column in columns)
    values = ", ".join(_value(column.type, column.name) for column in columns)
    rows = f"SELECT {values} FROM generate_series(1, {ROWS}) AS g ON CONFLICT DO NOTHING"
    return f"INSERT INTO {table.name} ({names}) {rows}"


def _value(kind: Any, name: str) -> str:
    if isinstance(kind, Boolean):
        return "false"
    if isinstance(kind, Integer | BigInteger | Float):
        return "1"
    if isinstance(kind, JSON):
        return "'[]'"
    if isinstance(kind, LargeBinary):
        return "''"
    if isinstance(kind, tables.Utc):
        return "now()"
    if name in ("currency", "owed_currency"):
        return "'IDR'"
    ids = ("payment_id", "order_id", "shard", "sku", "transaction_id", "key", "about", "digest")
    return "lpad(g::text, 26, '0')" if name in ids else "'x'"


async def plan(store: SqlStore, session: Session, statement: str, values: list[Any]) -> str:
    """How the database would carry this out."""
    explain = "EXPLAIN QUERY PLAN" if store.is_sqlite else "EXPLAIN"
    if store.is_sqlite:
        rows = await session._driver.execute_fetchall(f"{explain} {statement}", values)
        return "\n".join(str(row[3]) for row in rows)
    return "\n".join(row[0] for row in await session._driver.fetch(f"{explain} {statement}", *values))


def assert_looks_up(how: str) -> None:
    """Every table of ours is reached through an index, by a condition on it."""
    for table in tables.metadata.tables:
        assert f"Seq Scan on {table}" not in how, how
        assert f"SCAN {table}" not in how, how
    for line, below in pairwise([*how.splitlines(), ""]):
        if "Index" in line and " Scan " in line:
            assert "Index Cond" in below, how


async def test_every_hot_statement_is_an_index_lookup(store: SqlStore) -> None:
    """A million payments cost a webhook, a click and a status read what ten cost."""
    await assert_all_look_up(store)


async def test_a_plan_made_while_the_tables_are_empty_is_an_index_lookup_too(database_url: str) -> None:
    """It is kept while they grow, until somebody renews their statistics."""
    await migrate_async(database_url)
    store = SqlStore(database_url)
    await assert_all_look_up(store)
    await store.close()


async def test_no_statement_waits_to_be_compiled(new_database: Callable[[str], str]) -> None:
    """PostgreSQL compiles what it takes to be dear, and that is also what it was told to avoid: 40 ms for two rows."""
    url = new_database("postgres")
    await migrate_async(url)
    store = SqlStore(url)
    async with store.transaction() as writing, store.reading() as reading:
        said = [await uow.payments._session.scalar(text("SHOW jit")) for uow in (writing, reading)]
    await store.close()
    assert said == ["off", "off"]


async def assert_all_look_up(store: SqlStore) -> None:
    """Every statement of the hot paths reaches its tables through an index."""
    seen = 0
    async with store._writing.take() as session:
        for found in named(Statement):
            compiled = found.values[0].for_(session.dialect)
            assert_looks_up(await plan(store, session, compiled.text, compiled.arguments(VALUES)))
            seen += 1
        for found in named(Write):
            write: Write = found.values[0]
            row = dict.fromkeys((name for name, _ in write.columns), None)
            statement = write.text_of_row() if store.is_sqlite else write.text_of_document(1)
            values = [*write.tuples(session.dialect, [row])[0]] if store.is_sqlite else [*document([row])]
            assert_looks_up(await plan(store, session, statement, values))
            seen += 1
    assert seen >= 20


async def test_what_is_asked_every_now_and_then_is_an_index_lookup(store: SqlStore) -> None:
    """The sweep looks every second, whether anything is due or not; shops look at stock; old rows are forgotten."""
    asked: list[tuple[str, Any]] = []

    def remember(_c: object, _cursor: object, statement: str, values: Any, _context: object, _many: object) -> None:
        asked.append((statement, values))

    event.listen(store.engine.sync_engine, "before_cursor_execute", remember)
    now = datetime.now(UTC)
    async with store.transaction() as uow:
        for kind in DueKind:
            await uow.claim_due(kind, now=now, until=now, limit=50)
        await uow.orders.put_stock(f"{7:026d}", 5)
    await Housekeeping(store).forget(now)
    assert len(asked) == len(DueKind) + 2 + 3
    async with store._writing.take() as session:
        for statement, values in asked:
            assert_looks_up(await plan(store, session, statement, list(values)))
