"""The simulator's time: the system's, plus what a test has added; and how the wire writes it."""

from datetime import UTC, datetime, timedelta, timezone

import attrs

from .limits import CLOCK_AHEAD_MAX
from .refusals import Refusal, Why

# Midtrans writes its times in Asia/Jakarta, which has no daylight saving, and leaves the offset out.
JAKARTA = timezone(timedelta(hours=7))


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


def wire_time(moment: datetime) -> str:
    """Write a moment as the gateway does: GMT+7, no offset, whole seconds."""
    return moment.astimezone(JAKARTA).strftime("%Y-%m-%d %H:%M:%S")


def iso_time(moment: datetime) -> str:
    """Write a moment as the token cancel does, unlike every other call: UTC, ISO 8601, milliseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
