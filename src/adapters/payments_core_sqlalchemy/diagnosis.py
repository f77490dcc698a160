"""What a person who looks for a fault is told of a database, beyond what its callers need."""

import sqlite3
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from payments_core.errors import StorageError
from payments_core_sqlalchemy.store import database_errors, engine_for

__all__ = ["is_read_only", "reason"]

_READ_ONLY = "SQLITE_READONLY"
_CHANGES_NOTHING = text("UPDATE alembic_version SET version_num = version_num WHERE 0")
"""To begin a transaction is no question: SQLite begins one that only reads where it cannot write."""


def reason(error: StorageError, url: str) -> str:
    """What went wrong; of a SQLite file with its name and what SQLite said, which holds no value and no secret.

    What a server said may show an address, a user or somebody's data, so of that the kind is all.
    """
    said = _said_by_sqlite(error)
    if said is None:
        return error.detail
    file = Path(make_url(url).database or "").absolute()
    return f"{error.detail}: {file}: {str(said).partition(chr(10))[0]}"


async def is_read_only(url: str) -> bool:
    """Whether the database would refuse every write: a standby, a setting, a file that may only be read.

    It has been migrated, and nothing is written to find it out.
    Errors: StorageUnavailable.
    """
    engine = engine_for(url, writes=True)
    try:
        async with database_errors(), engine.connect() as connection:
            if engine.dialect.name != "sqlite":
                return bool(await connection.scalar(text("SHOW transaction_read_only")) == "on")
            await connection.execute(_CHANGES_NOTHING)
    except StorageError as error:
        said = _said_by_sqlite(error)
        if said is None or not said.sqlite_errorname.startswith(_READ_ONLY):
            raise
        return True
    finally:
        await engine.dispose()
    return False


def _said_by_sqlite(error: StorageError) -> sqlite3.Error | None:
    cause: BaseException | None = error.__cause__
    if isinstance(cause, DBAPIError) and cause.orig is not None:
        cause = cause.orig.__cause__ or cause.orig
    return cause if isinstance(cause, sqlite3.Error) else None
