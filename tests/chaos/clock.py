"""One clock for every process of a run, faster than the machine's: `harness/late/sitecustomize.py` reads it.

Leases and schedules are written in seconds and minutes of product time, and a run must not wait for them in full.
Nothing of the product is changed: it is told another time.
"""

import mmap
import os
import struct
import time
from pathlib import Path

_LATE = Path(__file__).parent.parent / "harness" / "late"
_doubles = struct.Struct("4d")


class SharedClock:
    """Product time, `rate` times as fast as the machine's."""

    def __init__(self, path: Path, rate: float) -> None:
        path.write_bytes(bytes(_doubles.size))
        self._path = path
        with path.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), _doubles.size)
        self._since, self._ahead, self._rate = time.time(), 0.0, rate
        self._write()

    def now(self) -> float:
        """Product time in seconds since 1970."""
        return time.time() + self._ahead_s()

    def set_rate(self, rate: float) -> None:
        """From now on it runs so fast; it never jumps."""
        self._since, self._ahead, self._rate = time.time(), self._ahead_s(), rate
        self._write()

    @property
    def rate(self) -> float:
        """How fast it runs."""
        return self._rate

    def environment(self) -> dict[str, str]:
        """What a process needs to live by it."""
        path = os.pathsep.join(filter(None, (str(_LATE), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": path, "TEST_CLOCK_FILE": str(self._path)}

    def _ahead_s(self) -> float:
        return self._ahead + (time.time() - self._since) * (self._rate - 1)

    def _write(self) -> None:
        values = self._since, self._ahead, self._rate
        # The sum is computed as readers do; a reader that sees half of this finds that it does not agree.
        _doubles.pack_into(self._shared, 0, *values, values[0] + values[1] + values[2])
