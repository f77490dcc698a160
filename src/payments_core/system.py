"""The machine's time, and ids nobody can guess: the real `Clock` and `Ids`."""

import asyncio
import secrets
from datetime import UTC, datetime

from payments_core.identity import make_payment_id

__all__ = ["SystemClock", "SystemIds"]


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await asyncio.sleep(seconds)


class SystemIds:
    """Ids nobody can guess."""

    def payment_id(self) -> str:
        """A new payment id."""
        return make_payment_id(int(datetime.now(UTC).timestamp() * 1000), secrets.randbits(80))
