"""What goes wrong below the store is said in the core's words, whichever layer noticed it."""

import sqlite3
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import insert
from sqlalchemy.exc import StatementError

from payments_core.errors import StaleWrite, StorageError, StorageUnavailable
from payments_core_sqlalchemy.store import database_errors, engine_for
from payments_core_sqlalchemy.tables import orders


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (asyncpg.InternalClientError("cannot switch to state 12"), StorageUnavailable),
        (asyncpg.InterfaceError("connection is closed"), StorageUnavailable),
        (asyncpg.ConnectionDoesNotExistError("gone"), StorageUnavailable),
        (asyncpg.SerializationError("again"), StaleWrite),
        (asyncpg.UniqueViolationError("first"), StaleWrite),
        (asyncpg.NotNullViolationError("constraint"), StaleWrite),
        (asyncpg.UndefinedTableError("statement"), StorageError),
        (sqlite3.OperationalError("database is locked"), StorageUnavailable),
        (sqlite3.IntegrityError("first"), StaleWrite),
        (ConnectionRefusedError(), StorageUnavailable),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
async def test_a_drivers_error_is_told_in_the_cores_words(raised: Exception, told: type[StorageError]) -> None:
    """A storm found one that was none of them, and a click was answered 500 while the database was being killed."""
    with pytest.raises(StorageError) as caught:
        async with database_errors():
            raise raised
    assert type(caught.value) is told


async def test_what_a_statement_was_given_is_not_in_its_error(tmp_path: Path) -> None:
    """A traceback goes to the log, and customers' names and addresses are among the values."""
    without_zone = datetime(2026, 1, 1)  # noqa: DTZ001 - what the column refuses
    engine = engine_for(f"sqlite+aiosqlite:///{tmp_path / 'payments.sqlite3'}", writes=True)
    try:
        async with engine.connect() as connection:
            values = {"order_id": "o-1", "customer_id": "alice", "reserved_at": without_zone}
            with pytest.raises(StatementError) as raised:
                await connection.execute(insert(orders), values)
    finally:
        await engine.dispose()
    assert "alice" not in str(raised.value)
