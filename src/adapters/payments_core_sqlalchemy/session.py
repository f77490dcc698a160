"""One transaction on one connection, and the connections that are kept for them.

SQLAlchemy makes the connections, checks them and forgets them when they break. The transaction is ours to begin and to
end, because the statements of the hot paths go to the driver directly and SQLAlchemy would not know of them; what goes
through SQLAlchemy runs inside the same transaction, on the same connection.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payments_core.errors import StorageUnavailable
from payments_core_sqlalchemy.statements import Row, Statement, Write, document

__all__ = ["Session", "Sessions"]

Written = tuple[Write, Sequence[Mapping[str, Any]]]


class Session:
    """A connection on which statements run; `begin` and `commit` are said by whoever has it.

    Errors, all statements: RuntimeError once it was committed or given back: the connection may be somebody else's.
    """

    def __init__(self, connection: AsyncConnection, driver: Any) -> None:
        self.connection = connection
        self.dialect = connection.dialect
        self.is_sqlite = connection.dialect.name == "sqlite"
        self._driver = driver
        self._is_open = self._is_over = False
        self._later: list[Written] = []

    def anew(self) -> "Session":
        """The same connection for somebody else."""
        return Session(self.connection, self._driver)

    def end(self) -> None:
        """Nothing more is said by whoever had it."""
        self._is_over = True

    def _must_not_be_over(self) -> None:
        if self._is_over:
            raise RuntimeError("this unit of work is over: nothing can be asked of it, or written, any more")

    async def begin(self, how: str) -> None:
        """A transaction has begun in these words."""
        self._later = []
        self._is_open = True  # said before it is sent: who is cancelled meanwhile does not know
        await self._driver.execute(how)

    async def commit(self) -> None:
        """Everything done is durable.

        Errors: StorageUnavailable when a statement had failed, which PostgreSQL answers with a silent rollback.
        """
        await self.flush()
        said = await self._driver.execute("COMMIT")
        self._is_open = False
        self.end()
        if said == "ROLLBACK":
            raise StorageUnavailable("the transaction had failed before its commit")

    async def rollback(self) -> None:
        """Nothing of it happened, or it was over already."""
        with suppress(Exception):  # whatever it is, the connection says below whether it can be used again
            await self._driver.execute("ROLLBACK")
        self._is_open = self._is_in_transaction()

    def _is_in_transaction(self) -> bool:
        if self.is_sqlite:
            return bool(self._driver.in_transaction)
        # A connection that was cut, or whose server did not even hear that it was to cancel, cannot be asked.
        return not self._driver.is_closed() and bool(self._driver.is_in_transaction())

    @property
    def is_usable(self) -> bool:
        """Whether another transaction may begin on it."""
        if self._is_open or self.connection.closed or self.connection.invalidated:
            return False
        return self.is_sqlite or not self._driver.is_closed()

    async def discard(self) -> None:
        """The connection is nobody's any more."""
        with suppress(Exception):  # it is broken already
            await self.connection.invalidate()
        with suppress(Exception):
            await self.connection.close()

    # ── statements through SQLAlchemy, after what was to be written later ──
    async def execute(self, statement: Executable, rows: Any = None) -> CursorResult[Any]:
        """What the connection's `execute` gives."""
        await self.flush()
        return await self.connection.execute(statement, rows)

    async def scalar(self, statement: Executable) -> Any:
        """The first value of the first row, None when there is none."""
        return (await self.execute(statement)).scalar()

    async def scalars(self, statement: Executable) -> list[Any]:
        """The first value of every row."""
        return [*(await self.execute(statement)).scalars()]

    # ── statements to the driver ──
    async def rows(self, statement: Statement, **values: Any) -> list[Row]:
        """What the statement gives, by column name."""
        await self.flush()
        compiled = statement.for_(self.dialect)
        arguments = compiled.arguments(values)
        if self.is_sqlite:
            return compiled.rows(await self._driver.execute_fetchall(compiled.text, arguments))
        return compiled.rows(await self._driver.fetch(compiled.text, *arguments))

    async def write(self, *written: Written) -> list[int]:
        """These rows, table by table, and how many rows each statement wrote.

        On PostgreSQL all of them are one statement, so one round trip; it sees each table as it was before.
        """
        self._must_not_be_over()
        later, self._later = self._later, []
        parts = [(write, rows) for write, rows in (*later, *written) if rows]
        counts = await (self._one_by_one(parts) if self.is_sqlite else self._together(parts)) if parts else []
        ours = iter(counts[len(later) :])
        return [next(ours) if rows else 0 for _, rows in written]

    def write_later(self, write: Write, rows: Sequence[Mapping[str, Any]]) -> None:
        """These rows go along with the next statement that writes, or before the next that reads or commits.

        For rows this transaction has locked already: when they are written changes nothing then, and a round trip less
        is a batch that commits sooner.
        """
        self._must_not_be_over()
        if rows:
            self._later.append((write, rows))

    async def flush(self) -> None:
        """What was to be written later is written."""
        self._must_not_be_over()
        if self._later:
            await self.write()

    async def write_returning(self, write: Write, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """These rows of one table, and what its RETURNING gives; what was to be written later goes along."""
        self._must_not_be_over()
        later, self._later = self._later, []
        if self.is_sqlite:
            await self._one_by_one(later)
            text, given = write.text_of_row(), write.tuples(self.dialect, rows)
            returned = [record for row in given for record in await self._driver.execute_fetchall(text, row)]
            return write.read(self.dialect, returned)
        texts, documents = _ctes(later)
        text = f"{texts} {write.text_of_document(2 * len(later) + 1)}"
        return write.read(self.dialect, await self._driver.fetch(text, *documents, *document(rows)))

    async def _one_by_one(self, parts: Sequence[Written]) -> list[int]:
        """All in one visit to the connection's thread: a visit costs more than most of what is written on it."""
        written = [(write.text_of_row(), write.tuples(self.dialect, rows)) for write, rows in parts]
        thread = self._driver  # aiosqlite has a public method for each statement, and none for several of them
        return [*await thread._execute(_write_all, thread._conn, written)]  # noqa: SLF001

    async def _together(self, parts: Sequence[Written]) -> list[int]:
        texts, documents = _ctes(parts)
        counts = ", ".join(f"(SELECT count(*) FROM w{n})" for n in range(len(parts)))
        return [*(await self._driver.fetchrow(f"{texts} SELECT {counts}", *documents))]


def _write_all(connection: sqlite3.Connection, written: Sequence[tuple[str, Sequence[Any]]]) -> list[int]:
    return [connection.executemany(text, rows).rowcount for text, rows in written]


def _ctes(parts: Sequence[Written]) -> tuple[str, list[Any]]:
    """Writes that stand before another statement and are one with it, and the values of their parameters."""
    texts = [f"w{n} AS ({write.text_of_document(2 * n + 1)} RETURNING 1)" for n, (write, _) in enumerate(parts)]
    documents = [value for _, rows in parts for value in document(rows)]
    return f"WITH {', '.join(texts)}" if texts else "", documents


class Sessions:
    """Connections kept open and ready: taking one that was used before costs nothing."""

    def __init__(self, engine: AsyncEngine, connections: int, wait_s: float) -> None:
        self._engine = engine
        self._free: list[Session] = []
        self._places = asyncio.Semaphore(connections)
        self._wait_s = wait_s

    @asynccontextmanager
    async def take(self) -> AsyncIterator[Session]:
        """A session that is nobody else's; whatever was not committed is rolled back.

        Errors: StorageUnavailable when none becomes free in time.
        """
        await self._take_place()
        try:
            session = await self._ready() or await self._connected()
            try:
                yield session
            finally:
                session.end()
                if session.is_usable:
                    self._free.append(session)
                else:
                    # A caller that is cancelled here must not leave half a transaction behind.
                    await asyncio.shield(self._clean_up(session))
        finally:
            self._places.release()

    async def _take_place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()  # at once
            return
        try:
            async with asyncio.timeout(self._wait_s):
                await self._places.acquire()
        except TimeoutError:
            raise StorageUnavailable("every connection to the database is in use") from None

    async def _ready(self) -> Session | None:
        """One that is still connected, the one used last first; the database may have closed it meanwhile."""
        while self._free:
            session = self._free.pop()
            if session.is_usable:
                return session.anew()
            await session.discard()
        return None

    async def _connected(self) -> Session:
        connection = await self._engine.connect()
        driver = (await connection.get_raw_connection()).driver_connection
        return Session(connection, driver)

    async def _clean_up(self, session: Session) -> None:
        await session.rollback()
        if session.is_usable:
            self._free.append(session)
        else:
            await session.discard()

    async def close(self) -> None:
        """Every connection is given back."""
        while self._free:
            await self._free.pop().connection.close()
