"""What `payments doctor` and the commands tell of a database that cannot be worked with."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from harness.postgres import PostgresCluster
from payments_core_app.commands.doctor import Finding, examine
from payments_core_sqlalchemy.diagnosis import is_read_only
from payments_core_sqlalchemy.migrate import migrate, migrate_async


def of_writing(url: str) -> list[Finding]:
    settings = {"PAYMENTS_MODE": "development", "PAYMENTS_DATABASE_URL": url}
    return [finding for finding in examine(settings) if "read-only" in finding.what]


@pytest.mark.postgres
def test_a_postgresql_that_only_reads_is_an_error(
    postgres: PostgresCluster, new_database: Callable[[str], str]
) -> None:
    """It answers, and its schema is right; nothing else that is asked would tell."""
    url = new_database("postgres")
    migrate(url)
    assert of_writing(url) == []
    postgres.sql(f"ALTER DATABASE {make_url(url).database} SET default_transaction_read_only = on")
    (found,) = of_writing(url)
    assert found.level == "error"
    assert "default_transaction_read_only" in found.what


async def test_a_sqlite_file_that_may_only_be_read_is_known(tmp_path: Path) -> None:
    """By SQLite's own mode, because the tests may run as root, who may write everything."""
    file = tmp_path / "payments.sqlite3"
    await migrate_async(f"sqlite+aiosqlite:///{file}")
    assert not await is_read_only(f"sqlite+aiosqlite:///{file}")
    assert await is_read_only(f"sqlite+aiosqlite:///file:{file}?mode=ro&uri=true")


def test_a_sqlite_file_that_may_only_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'payments.sqlite3'}"
    migrate(url)
    assert of_writing(url) == []
    monkeypatch.setattr("payments_core_app.commands.doctor.is_read_only", lambda _url: asyncio.sleep(0, result=True))
    assert [finding.level for finding in of_writing(url)] == ["error"]
