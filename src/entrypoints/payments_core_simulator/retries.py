"""When a gateway gives up on a notification, and how long it waits before it tries again."""

import random
from collections.abc import Mapping, Sequence

import attrs

# What a receiver answered: an HTTP status, or why there is none.
Answer = int | str
TIMEOUT = "timeout"
UNREACHABLE = "unreachable"


def acknowledged(answer: Answer) -> bool:
    """Tell whether the receiver took the notification."""
    return isinstance(answer, int) and 200 <= answer < 300  # noqa: PLR2004 - the class of success


@attrs.frozen
class RetryTable:
    """One gateway's habits. `otherwise` counts for every status not named, a time-out and a refused connection."""

    intervals_s: tuple[float, ...]
    otherwise: int
    by_status: Mapping[int, int] = attrs.field(factory=dict)
    # Statuses whose `Location` gets the same body, so many times in a row.
    followed: frozenset[int] = frozenset()
    redirect_hops_max: int = 0
    shift_min: float = 1.0
    shift_max: float = 1.0

    def allowed(self, answer: Answer) -> int:
        """Return how many retries in all this answer permits."""
        return self.by_status.get(answer, self.otherwise) if isinstance(answer, int) else self.otherwise

    def pause_s(self, retry: int, intervals_s: Sequence[float], speed_up: float, chances: random.Random) -> float:
        """Return the wait before this retry (0 is the first), shifted at random and divided by the speed-up."""
        return intervals_s[retry] * chances.uniform(self.shift_min, self.shift_max) / speed_up
