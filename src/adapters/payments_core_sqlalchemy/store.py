"""The store: engines, transactions, and what a database's errors mean."""

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from payments_core.chain import ChainKeys
from payments_core.errors import StaleWrite, StorageError, StorageUnavailable
from payments_core.payment import Payment
from payments_core.ports import OrderPayment
from payments_core.use_cases.together import Together
from payments_core_sqlalchemy.finding import FIND, Unfinished, found_in
from payments_core_sqlalchemy.rows import Row
from payments_core_sqlalchemy.session import Sessions
from payments_core_sqlalchemy.unit_of_work import SqlUnitOfWork

__all__ = ["SqlStore", "database_errors", "engine_for"]

_CONNECT_S, _POOL_WAIT_S, _STATEMENT_S = 1.5, 1.5, 5.0
"""A database that is down is reported within two seconds; a statement that hangs is given up."""
_WHOLE_TABLES_S = 300.0
"""What reads whole tables takes about a second for a million rows."""
_BUSY_MS = 5_000
"""How long another process's write is waited for on SQLite."""
_RETRY_SQLSTATES = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock not available: the same transaction may succeed when it is run again."""
_SERVER_TROUBLE = frozenset({"08", "53", "57", "58", "XX"})
"""Classes of SQLSTATE that speak of the connection or the server: lost, out of resources, shut down, broken."""
_CONSTRAINT = "23"
"""The class of SQLSTATEs that are broken constraints."""
_STATEMENTS_OWN = (
    asyncpg.DataError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    UnicodeEncodeError,
)
"""What is raised without a SQLSTATE for a value or a statement the driver cannot take; half a character is such one."""
_LOOKS_UP = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""What PostgreSQL is told of the statements of a store: each looks a few rows up by key, so one plan is right for good.

Left alone it plans for the tables as they are when it is first asked. In a young database that is to read them, or
their indexes, from end to end and to join the results, and it keeps to that while they grow, until somebody renews
their statistics.
"""
_ONE_PICTURE = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_AS_USUAL = "; ".join(f"SET LOCAL {name} = {'on' if told == 'off' else 'auto'}" for name, told in _LOOKS_UP.items())
"""Lists, counts and checks are another matter: they may well be answered by reading a table."""
_FOUND_AT_ONCE = 16
_CONNECTIONS = 10
_SQLITE_READERS = 5
_BESIDE = 2
"""Connections beyond those that sessions keep, for migrations and checks through `engine`."""


class SqlStore:
    """Payments, notifications and orders in one SQL database.

    On SQLite there is one writer in the process and readers beside it; on PostgreSQL a pool.
    `subscribers` are the names that every event is put into the outbox for.
    `history_keys` chain the history: the first signs, the others are recognised (`payments_core.chain`).
    """

    def __init__(
        self,
        url: str,
        *,
        subscribers: tuple[str, ...] = (),
        history_keys: tuple[str, ...] = (),
        connections: int = _CONNECTIONS,
    ) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._subscribers = subscribers
        self.history_keys = ChainKeys(history_keys)
        self._patient: AsyncEngine | None = None
        self._writer = engine_for(url, writes=True, connections=connections, told=_LOOKS_UP)
        self._reader = engine_for(url, writes=False, connections=connections) if self.is_sqlite else self._writer
        self._writing = Sessions(_ours_to_begin(self._writer), 1 if self.is_sqlite else connections, _wait_s(self.url))
        self._reading = self._writing
        self._finding: Together[str, OrderPayment | None] = Together(self._find_all, _FOUND_AT_ONCE)
        if self.is_sqlite:
            self._reading = Sessions(_ours_to_begin(self._reader), _SQLITE_READERS, _wait_s(self.url))

    @property
    def engine(self) -> AsyncEngine:
        """The engine that writes; for migrations and checks."""
        return self._writer

    @property
    def reader(self) -> AsyncEngine:
        """The engine that reads what is committed."""
        return self._reader

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlUnitOfWork]:
        """A unit of work that writes; leaving it without `commit` changes nothing.

        Errors: StorageUnavailable, StaleWrite.
        """
        async with database_errors(), self._writing.take() as session:
            await session.begin("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
            yield SqlUnitOfWork(session, self.history_keys, subscribers=self._subscribers)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlUnitOfWork]:
        """A unit of work that reads one consistent picture.

        Errors: StorageUnavailable.
        """
        async with database_errors(), self._reading.take() as session:
            one_picture = f"{_ONE_PICTURE}; {_AS_USUAL}"
            await session.begin("BEGIN" if self.is_sqlite else one_picture)
            yield SqlUnitOfWork(session, self.history_keys, subscribers=self._subscribers)

    @asynccontextmanager
    async def reading_through(self) -> AsyncIterator[SqlUnitOfWork]:
        """The same for questions that read whole tables: on PostgreSQL they may take minutes, on one connection apart.

        Errors: StorageUnavailable.
        """
        if self.is_sqlite:
            async with self.reading() as uow:
                yield uow
            return
        if self._patient is None:
            self._patient = engine_for(self.url, writes=False, connections=1, statement_s=_WHOLE_TABLES_S)
        sessions = Sessions(_ours_to_begin(self._patient), 1, _wait_s(self.url))
        try:
            async with database_errors(), sessions.take() as session:
                await session.begin(_ONE_PICTURE)
                yield SqlUnitOfWork(session, self.history_keys, subscribers=self._subscribers)
        finally:
            await sessions.close()

    async def find(self, order_id: str) -> OrderPayment | None:
        """The payment of this order; those that are wanted while others are read are read together, in one statement.

        Errors: StorageUnavailable.
        """
        return await self._finding(order_id)

    async def _find_all(self, order_ids: Sequence[str]) -> list[OrderPayment | None]:
        """Payments with refunds or cases need a few statements more, in one picture."""
        rows: dict[str, list[Row]] = {order_id: [] for order_id in order_ids}
        async with database_errors(), self._reading.take() as session:
            for row in await session.rows(FIND, ids=[*rows]):
                rows[row["order_id"]].append(row)
        found = [found_in(rows[order_id]) for order_id in order_ids]
        payments: dict[str, Payment] = {}
        if unfinished := [part.payment_id for part in found if isinstance(part, Unfinished)]:
            async with self.reading() as uow:
                payments = await uow.payments.load(unfinished)
        return [
            OrderPayment(part.customer_id, payments.get(part.payment_id)) if isinstance(part, Unfinished) else part
            for part in found
        ]

    async def close(self) -> None:
        """Every connection is given back."""
        await self._writing.close()
        await self._reading.close()
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()
        if self._patient is not None:
            await self._patient.dispose()


def _wait_s(url: URL) -> float:
    """How long a busy process lets its callers wait: as for another's write on SQLite, else as for a statement."""
    return _BUSY_MS / 1000 if url.get_backend_name() == "sqlite" else _STATEMENT_S


def _ours_to_begin(engine: AsyncEngine) -> AsyncEngine:
    """The same engine and pool, with transactions begun and ended by the session instead of SQLAlchemy."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(ours_to_begin=True)
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def engine_for(
    url: str | URL,
    *,
    writes: bool,
    connections: int = _CONNECTIONS,
    told: Mapping[str, str] | None = None,
    statement_s: float = _STATEMENT_S,
) -> AsyncEngine:
    """An engine with every wait bounded and every commit durable; PostgreSQL is `told` more settings by name."""
    if make_url(url).get_backend_name() == "sqlite":
        return _sqlite(url, writes=writes)
    return create_async_engine(
        url,
        hide_parameters=True,  # they are customers' too, and errors are logged
        pool_size=connections,
        max_overflow=_BESIDE,
        pool_timeout=_POOL_WAIT_S,
        connect_args={
            "timeout": _CONNECT_S,
            "command_timeout": statement_s,
            "server_settings": {
                "application_name": "payments-core",
                "lock_timeout": "3000",
                "idle_in_transaction_session_timeout": "15000",
                "jit": "off",  # compiling takes 40 ms where it is thought to pay, and the statements take one
                **(told or {}),
            },
        },
    )


def _json(value: Any) -> str:  # noqa: ANN401 - whatever a JSON column holds
    """As PostgreSQL is given it in documents, and several times as fast as SQLAlchemy's own."""
    return msgspec.json.encode(value).decode()


def _sqlite(url: str | URL, *, writes: bool) -> AsyncEngine:
    engine = create_async_engine(
        url,
        hide_parameters=True,
        json_serializer=_json,
        pool_size=1 if writes else _SQLITE_READERS,
        max_overflow=_BESIDE,
        pool_timeout=_BUSY_MS / 1000,
        connect_args={"timeout": _BUSY_MS / 1000},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
        connection.isolation_level = None  # the driver begins nothing by itself
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        if not writes:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:  # noqa: ANN401 - the driver's own type
        if not connection.get_execution_options().get("ours_to_begin"):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@asynccontextmanager
async def database_errors() -> AsyncIterator[None]:
    """What went wrong, in the core's words: somebody was first, or the database is not there."""
    try:
        yield
    except IntegrityError as error:
        raise StaleWrite(f"a constraint says that somebody else was first: {_short(error)}") from error
    except DBAPIError as error:
        if _sqlstate(error) in _RETRY_SQLSTATES:
            raise StaleWrite(f"the database asks to run this again: {_short(error)}") from error
        if _is_the_statements(error):
            raise StorageError(f"the database refused a statement: {_short(error)}", retryable=True) from error
        raise StorageUnavailable(f"the database failed: {_short(error)}") from error
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        sqlite3.Error,
        UnicodeEncodeError,
    ) as error:
        raise _of_driver(error) from error
    except (PoolTimeout, OSError) as error:
        raise StorageUnavailable(f"the database cannot be reached: {type(error).__name__}") from error


def _is_the_statements(error: DBAPIError) -> bool:
    """Whether the fault lies in what was said: the connection lives, and another statement would be carried out."""
    if error.connection_invalidated:
        return False
    if state := _sqlstate(error):
        return state[:2] not in _SERVER_TROUBLE
    return isinstance(error, DataError | InterfaceError | ProgrammingError)


def _of_driver(error: Exception) -> StorageError:
    """The same for a statement that went to the driver; a driver's own words may show values, so only its kind."""
    kind, state = type(error).__name__, str(getattr(error, "sqlstate", None) or "")
    told = f"{kind} {state}".strip()
    if isinstance(error, sqlite3.IntegrityError) or state.startswith(_CONSTRAINT):
        return StaleWrite(f"a constraint says that somebody else was first: {told}")
    if state in _RETRY_SQLSTATES:
        return StaleWrite(f"the database asks to run this again: {told}")
    if (state and state[:2] not in _SERVER_TROUBLE) or (not state and isinstance(error, _STATEMENTS_OWN)):
        return StorageError(f"the database refused a statement: {told}", retryable=True)
    return StorageUnavailable(f"the database failed: {told}")


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _short(error: DBAPIError) -> str:
    """The kind of the failure: a driver's own words may show values, which are somebody's data."""
    kind = type(error.orig.__cause__ or error.orig).__name__ if error.orig else type(error).__name__
    state = _sqlstate(error)
    return f"{kind} {state}" if state else kind
