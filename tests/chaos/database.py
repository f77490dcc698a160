"""The database of a run: a file that dies with its process, or a PostgreSQL that is killed and recovers."""

import asyncio
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import asyncpg  # type: ignore[import-untyped]
import attrs
import psutil  # type: ignore[import-untyped]

from harness import outage
from harness.postgres import PostgresCluster

_DEAD_S, _BACK_S = 20.0, 60.0


class Database(Protocol):
    """A database that may be killed, when it is a process."""

    @property
    def url(self) -> str:
        """Where the product finds it."""

    def kill(self) -> None:
        """kill -9 of all its processes."""

    def start(self) -> None:
        """It answers again."""


@attrs.frozen
class Sqlite:
    """A file: it dies with the process that has it open."""

    url: str

    def kill(self) -> None:
        """Nothing to kill."""

    def start(self) -> None:
        """Nothing to start."""


@attrs.define
class Postgres:
    """A server with durable settings; a child of ours, so that a dead one is gone at once and can be followed."""

    url: str
    folder: Path
    command: tuple[str, ...]
    _server: "subprocess.Popen[bytes] | None" = None

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator["Postgres"]:
        """A new, empty database; made by the harness' own cluster, and then taken over from it."""
        folder.mkdir()
        with PostgresCluster.running(folder) as cluster:
            url, data = cluster.create_database(), folder / "data"
            # Recovery begins by syncing everything: in one call, instead of file by file, hundreds of times in a run.
            command = (*shlex.split((data / "postmaster.opts").read_text()), "-c", "recovery_init_sync_method=syncfs")
            outage.stop(cluster)
            database = cls(url, data, command)
            database.start()
            try:
                yield database
            finally:
                database.kill()

    def kill(self) -> None:
        """What was not on the disk is gone."""
        assert self._server is not None
        children: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._server.pid).children()
        self._server.kill()
        for process in children:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._server.wait(_DEAD_S)

    def start(self) -> None:
        """It has recovered, and answers."""
        owner, log = self.folder.stat(), self.folder.parent.parent / "postgres.log"
        as_owner: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
        until = time.monotonic() + _BACK_S
        while not asyncio.run(_answers(self.url)):
            if self._server is None or self._server.poll() is not None:
                # The last child of the one before may still be dying; a supervisor tries again.
                with log.open("ab") as output:
                    self._server = subprocess.Popen(
                        self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                        **as_owner,
                    )  # fmt: skip
            assert time.monotonic() < until, "the database did not recover"
            time.sleep(0.03)


async def _answers(url: str) -> bool:
    with suppress(OSError, asyncpg.PostgresError, TimeoutError):
        connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"), timeout=5)
        await connection.close()
        return True
    return False
