"""Migrations: numbered, reviewed by hand, run by Alembic."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from payments_core.errors import StorageError
from payments_core_sqlalchemy.store import database_errors, engine_for

__all__ = [
    "NewerSchema",
    "current_revision",
    "head_revision",
    "known_revisions",
    "migrate",
    "migrate_async",
    "newer_schema",
]

_MIGRATE_S = 300
"""A migration that takes longer is not one to run beside a live service."""


class NewerSchema(StorageError):
    """A newer version of this package has migrated the database; this one does not know its schema."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head_revision() -> str:
    """The revision this version of the package needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def known_revisions() -> frozenset[str]:
    """Every revision this version of the package can migrate to."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def newer_schema(revision: str | None) -> str | None:
    """What to say of a revision that only a newer version can have made; None of one that this version knows."""
    if revision is None or revision in known_revisions():
        return None
    return (
        f"the database is newer than this version: its schema is at {revision}, this version needs {head_revision()}; "
        "run the version that migrated it"
    )


async def migrate_async(url: str, revision: str = "head") -> None:
    """The database is at this revision.

    Errors: StorageUnavailable; NewerSchema, and nothing is changed.
    """

    def upgrade(connection: Connection) -> None:
        if newer := newer_schema(MigrationContext.configure(connection).get_current_revision()):
            raise NewerSchema(newer)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    engine = engine_for(url, writes=True, statement_s=_MIGRATE_S)
    try:
        async with database_errors(), asyncio.timeout(_MIGRATE_S), engine.begin() as connection:
            await connection.run_sync(upgrade)
    finally:
        await engine.dispose()


def migrate(url: str, revision: str = "head") -> None:
    """The database is at this revision; the blocking form."""
    asyncio.run(migrate_async(url, revision))


async def current_revision(url: str) -> str | None:
    """The revision the database is at, None when it has none.

    Errors: StorageUnavailable.
    """
    engine = engine_for(url, writes=False)
    try:
        async with database_errors(), engine.connect() as connection:
            return await connection.run_sync(lambda c: MigrationContext.configure(c).get_current_revision())
    finally:
        await engine.dispose()
