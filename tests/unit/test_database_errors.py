"""What goes wrong below the store is said in the core's words, whichever layer noticed it."""

import sqlite3

import asyncpg
import pytest

from payments_core.errors import StaleWrite, StorageError, StorageUnavailable
from payments_core_sqlalchemy.store import database_errors


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
