"""One serving process for one SQLite file, said with a reason instead of found out by lock errors."""

import fcntl
from pathlib import Path
from typing import IO, Any

from sqlalchemy.engine import make_url

__all__ = ["OneServer", "OneServerError"]


class OneServerError(Exception):
    """Another process serves this file."""


class OneServer:
    """Holds a lock beside the database file as long as it is entered; PostgreSQL needs none."""

    def __init__(self, database_url: str) -> None:
        url = make_url(database_url)
        is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
        self._path = Path(f"{url.database}.serving") if is_file else None
        self._file: IO[Any] | None = None

    def acquire(self) -> "OneServer":
        """The lock is held.

        Errors: OneServerError when another process holds it.
        """
        if self._path is not None:
            self._file = self._path.open("a")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                raise OneServerError(
                    "another `payments serve` or `worker` uses this SQLite file, and SQLite has one writer: "
                    "stop it, or use PostgreSQL"
                ) from None
        return self

    def __enter__(self) -> None:
        """Held already."""

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()  # which gives the lock back, as a dying process does
