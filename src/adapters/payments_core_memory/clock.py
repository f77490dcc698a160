"""Time and identity that a test holds in its hand."""

import asyncio
from datetime import UTC, datetime, timedelta

import attrs

from payments_core.identity import make_payment_id

__all__ = ["ManualClock", "SequentialIds"]


@attrs.define
class ManualClock:
    """A clock that stands still until it is moved; sleeping moves it."""

    at: datetime = datetime(2026, 1, 1, 5, 0, tzinfo=UTC)

    def now(self) -> datetime:
        """The time it was set to."""
        return self.at

    def move(self, by: timedelta) -> None:
        """The time is later by so much."""
        self.at += by

    async def sleep(self, seconds: float) -> None:
        """Others run, then the time is later by so many seconds."""
        await asyncio.sleep(0)
        self.at += timedelta(seconds=seconds)


@attrs.define
class SequentialIds:
    """Ids in a row, the same in every run."""

    made: int = 0

    def payment_id(self) -> str:
        """The next id."""
        self.made += 1
        return make_payment_id(1_767_225_600_000, self.made)
