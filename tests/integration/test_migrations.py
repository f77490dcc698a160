"""The schema that migrations make is the schema the tables say, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text

from harness.postgres import PostgresCluster
from payments_core_sqlalchemy import SqlStore, current_revision, head_revision
from payments_core_sqlalchemy.migrate import migrate_async
from payments_core_sqlalchemy.tables import metadata


def described(connection: Connection) -> dict[str, Any]:
    """Everything a database knows of its tables; names sorted, so that order of creation does not matter."""
    looking = inspect(connection)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in looking.get_columns(table)
            },
            "primary key": looking.get_pk_constraint(table)["constrained_columns"],
            "foreign keys": sorted(
                (key["constrained_columns"], key["referred_table"], key["referred_columns"])
                for key in looking.get_foreign_keys(table)
            ),
            "unique": sorted(key["column_names"] for key in looking.get_unique_constraints(table)),
            "checks": sorted(
                (str(check["name"]), " ".join(check["sqltext"].split()))
                for check in looking.get_check_constraints(table)
            ),
            "indexes": sorted(
                (
                    str(index["name"]),
                    index["column_names"],
                    bool(index["unique"]),
                    {name: str(said) for name, said in index.get("dialect_options", {}).items() if "where" in name},
                )
                for index in looking.get_indexes(table)
            ),
        }
        for table in sorted(looking.get_table_names())
        if table != "alembic_version"
    }


async def schema_of(url: str) -> dict[str, Any]:
    store = SqlStore(url)
    try:
        async with store.engine.connect() as connection:
            return await connection.run_sync(described)
    finally:
        await store.close()


async def created_from_tables(url: str) -> None:
    store = SqlStore(url)
    try:
        async with store.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
    finally:
        await store.close()


SLOW_FUNCTIONS = (
    "CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(5.5); END $$",
    "CREATE EVENT TRIGGER wait ON ddl_command_start WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION wait()",
)
"""One statement of the migrations takes longer than any of the service may."""

KINDS = [pytest.param("sqlite", id="sqlite"), pytest.param("postgres", id="postgres", marks=pytest.mark.postgres)]


@pytest.mark.parametrize("kind", KINDS)
async def test_migrations_make_what_the_tables_say(kind: str, new_database: Callable[[str], str]) -> None:
    """Two descriptions of one schema drift apart unless somebody compares them."""
    migrated, created = new_database(kind), new_database(kind)
    await migrate_async(migrated)
    await created_from_tables(created)
    schema = await schema_of(migrated)
    assert schema == await schema_of(created)
    assert {"payments", "attempts", "charges", "notifications", "outbox", "orders", "stock"} <= schema.keys()


async def test_migrating_twice_is_migrating_once(database_url: str) -> None:
    assert await current_revision(database_url) is None
    await migrate_async(database_url)
    before = await schema_of(database_url)
    await migrate_async(database_url)
    assert await schema_of(database_url) == before
    assert await current_revision(database_url) == head_revision()


async def test_every_unique_key_holds_the_shard_key(database_url: str) -> None:
    """So that the tables of one payment can live on one node (Citus, CockroachDB).

    What belongs to the service and to no payment is small, and lives on one node as it is.
    """
    of_the_service = {"gateway_shares", "reconciliations"}
    await migrate_async(database_url)
    shards = {"about", "payment_id", "order_id", "shard", "sku", "transaction_id"}
    for table, said in (await schema_of(database_url)).items():
        unique = [
            said["primary key"],
            *said["unique"],
            *(columns for _, columns, is_unique, _ in said["indexes"] if is_unique),
        ]
        assert table in of_the_service or all(shards & set(columns) for columns in unique), table


async def test_a_database_writes_durably(database_url: str) -> None:
    """A notification is answered 200 after the commit, so the commit has to be on the disk."""
    await migrate_async(database_url)
    store = SqlStore(database_url)
    question = "PRAGMA synchronous" if store.is_sqlite else "SHOW synchronous_commit"
    try:
        async with store.engine.connect() as connection:
            answer = (await connection.execute(text(question))).scalar_one()
    finally:
        await store.close()
    assert answer == (2 if store.is_sqlite else "on"), "2 is FULL"


@pytest.mark.postgres
async def test_a_migration_may_take_longer_than_a_statement_of_the_service(postgres: PostgresCluster) -> None:
    """An index of a large table does; the bound of five seconds is for those who wait for an answer."""
    url = postgres.create_database()
    store = SqlStore(url)
    try:
        async with store.engine.begin() as connection:
            for statement in SLOW_FUNCTIONS:
                await connection.execute(text(statement))
    finally:
        await store.close()
    await migrate_async(url)
    assert await current_revision(url) == head_revision()
