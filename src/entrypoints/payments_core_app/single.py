"""One process at a time for one file, said with a reason instead of found out by damage."""

import fcntl
from pathlib import Path
from typing import IO, Any

from sqlalchemy.engine import make_url

__all__ = ["OneAtATime", "TakenError", "one_server"]


class TakenError(Exception):
    """It cannot be held: another process holds it, or its file cannot be written."""


class OneAtATime:
    """Holds a lock on a file as long as it is entered; without a path there is nothing to hold."""

    def __init__(self, path: Path | None, why: str) -> None:
        self._path = path
        self._why = why
        self._file: IO[Any] | None = None

    def acquire(self) -> "OneAtATime":
        """The lock is held.

        Errors: TakenError, with the reason.
        """
        if self._path is not None:
            self._file = _opened(self._path)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                raise TakenError(self._why) from None
        return self

    def __enter__(self) -> None:
        """Held already."""

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()  # which gives the lock back, as a dying process does


def _opened(path: Path) -> IO[Any]:
    try:
        return path.open("a")
    except OSError as error:
        raise TakenError(f"{path} cannot be written: {error.strerror}") from None


def one_server(database_url: str) -> OneAtATime:
    """The lock of whoever serves this database file; PostgreSQL needs none."""
    url = make_url(database_url)
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    why = (
        "another `payments serve` or `worker` uses this SQLite file, and SQLite has one writer: "
        "stop it, or use PostgreSQL"
    )
    return OneAtATime(Path(f"{url.database}.serving") if is_file else None, why)
