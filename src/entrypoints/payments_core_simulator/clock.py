"""The simulator's time: the system's, plus what a test has added."""

from datetime import UTC, datetime, timedelta

import attrs

from .limits import CLOCK_AHEAD_MAX
from .refusals import Refusal, Why


@attrs.define
class Clock:
    """Tells the time, in UTC; it can be moved forward, never back."""

    _ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Return the system's time plus every advance so far."""
        return datetime.now(UTC) + self._ahead

    def advance(self, by: timedelta) -> datetime:
        """Make every later `now` that much later, and return the new time."""
        if not timedelta(0) <= by <= CLOCK_AHEAD_MAX - self._ahead:
            raise Refusal(Why.NONSENSE, f"the clock moves forward only, and {CLOCK_AHEAD_MAX.days} days at most")
        self._ahead += by
        return self.now()

    def reset(self) -> None:
        """Return to the system's time."""
        self._ahead = timedelta(0)
