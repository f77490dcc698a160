"""A Python process that lives in the future: put this folder on PYTHONPATH and set TEST_CLOCK_AHEAD_S.

Deadlines are hours away; a test must neither wait for them nor reach into the product's clock.
"""

import ctypes
import datetime
import gc
import os
import time

_AHEAD_S = float(os.environ.get("TEST_CLOCK_AHEAD_S", "0"))

if _AHEAD_S:
    _now, _time, _time_ns = datetime.datetime.now, time.time, time.time_ns
    _ahead = datetime.timedelta(seconds=_AHEAD_S)

    def _later(_cls: type, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return _now(tz) + _ahead

    # `datetime` is immutable from Python; the dictionary behind its read-only view is not.
    gc.get_referents(datetime.datetime.__dict__)[0]["now"] = classmethod(_later)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))
    time.time = lambda: _time() + _AHEAD_S
    time.time_ns = lambda: _time_ns() + int(_AHEAD_S * 1_000_000_000)
