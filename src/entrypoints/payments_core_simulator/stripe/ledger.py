"""What really happened at the simulated Stripe: the books, with all who move them.

No input, no output, no clock of its own: each call is told the time. Each changes everything it says, and returns the
news of it in the order it happened; or, with a refusal, changes nothing.
"""

from datetime import datetime

from .bank import Bank
from .merchant import Merchant
from .values import Intent, News, Session


class Ledger(Merchant, Bank):
    """The merchant's calls, the buyer's tries, the banks' words, and time."""

    def clear(self) -> None:
        """Forget everything."""
        self.books.clear()

    def advance(self, now: datetime) -> list[News]:
        """Do what the clock does by itself up to now: open pages expire, holds lapse."""
        news: list[News] = []
        for any_id in self.books.due(now):
            session, intent = self.books.find(Session, any_id), self.books.find(Intent, any_id)
            if session is not None and session.status == "open":
                news += self._expire(session, now)
            if intent is not None and intent.status == "requires_capture":
                news += self._cancelled(intent, "automatic", now)
        return news
