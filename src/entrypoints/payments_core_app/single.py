"""One process at a time for one file, said with a reason instead of found out by damage."""

import fcntl
from pathlib import Path
from typing import IO, Any

from sqlalchemy.engine import make_url

__all__ = ["OneAtATime", "TakenError", "one_server"]


class TakenError(Exception):
    """It cannot be held: another process holds it, or might without our knowing, or its file cannot be written."""


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
    """The lock of whoever serves this database file, by whichever symbolic link; PostgreSQL needs none.

    Errors: TakenError when the file has several names of its own.
    """
    url = make_url(database_url)
    why = (
        "another `payments serve` or `worker` uses this SQLite file, and SQLite has one writer: "
        "stop it, or use PostgreSQL"
    )
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return OneAtATime(None, why)
    file = Path(url.database).resolve()
    _refuse_several_names(file)
    return OneAtATime(file.with_name(f"{file.name}.serving"), why)


def _refuse_several_names(file: Path) -> None:
    """SQLite's journal lies beside the name a file was opened by, so through two hard links it is damaged.

    Source: sqlite.org/howtocorrupt.html on several links to one file: undefined behaviour (its text, read 2026-11).
    """
    if file.exists() and file.stat().st_nlink > 1:
        raise TakenError(
            f"{file} has another name (a hard link), and SQLite damages a file that is used by two names: "
            "remove the other one, or copy the file"
        )
