"""When the gateway gives up on a notification, and how long it waits before it tries again."""

import random
from collections.abc import Sequence

from .limits import RETRY_SHIFT_MAX, RETRY_SHIFT_MIN

# What a receiver answered: an HTTP status, or why there is none.
Answer = int | str
TIMEOUT = "timeout"
UNREACHABLE = "unreachable"

_RETRIES_BY_STATUS = {500: 1, 503: 4, 400: 2, 404: 2, 301: 0, 302: 0, 303: 0}
# Every other status, a time-out, a refused connection and a chain of redirects that is too long.
_RETRIES_OTHERWISE = 5
FOLLOWED = frozenset({307, 308})


def acknowledged(answer: Answer) -> bool:
    """Tell whether the receiver took the notification."""
    return isinstance(answer, int) and 200 <= answer < 300  # noqa: PLR2004 - the class of success


def retries_allowed(answer: Answer) -> int:
    """Return how many retries in all this answer permits."""
    return _RETRIES_BY_STATUS.get(answer, _RETRIES_OTHERWISE) if isinstance(answer, int) else _RETRIES_OTHERWISE


def pause_s(retry: int, intervals_s: Sequence[float], speed_up: float, chances: random.Random) -> float:
    """Return the wait before this retry (0 is the first), shifted at random and divided by the speed-up."""
    return intervals_s[retry] * chances.uniform(RETRY_SHIFT_MIN, RETRY_SHIFT_MAX) / speed_up
