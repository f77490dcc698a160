"""A Python process with a clock of its own: put this folder on PYTHONPATH.

TEST_CLOCK_AHEAD_S moves it into the future, because deadlines are hours away.
TEST_CLOCK_FILE lets it run faster, for all processes that share the file: four doubles, the real time from which on
they count, how far the clock was ahead then, how fast it runs, and their sum (a reader must not see half a change).
A test must neither wait for hours nor reach into the product's clock. Time-outs use the monotonic clock, which stays.
"""

import ctypes
import datetime
import gc
import mmap
import os
import struct
import time
from pathlib import Path

_AHEAD_S = float(os.environ.get("TEST_CLOCK_AHEAD_S", "0"))
_FILE = os.environ.get("TEST_CLOCK_FILE", "")
_now, _time = datetime.datetime.now, time.time
_doubles = struct.Struct("4d")


def _from_file(path: str):
    with Path(path).open("rb") as opened:
        shared = mmap.mmap(opened.fileno(), _doubles.size, access=mmap.ACCESS_READ)

    def ahead_s() -> float:
        while True:
            since, ahead, rate, total = _doubles.unpack_from(shared)
            if since + ahead + rate == total:
                return ahead + (_time() - since) * (rate - 1)

    return ahead_s


if _AHEAD_S or _FILE:
    _ahead_s = _from_file(_FILE) if _FILE else lambda: _AHEAD_S

    def _later(_cls: type, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return _now(tz) + datetime.timedelta(seconds=_ahead_s())

    # `datetime` is immutable from Python; the dictionary behind its read-only view is not.
    gc.get_referents(datetime.datetime.__dict__)[0]["now"] = classmethod(_later)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))
    time.time = lambda: _time() + _ahead_s()
    time.time_ns = lambda: int(time.time() * 1_000_000_000)
