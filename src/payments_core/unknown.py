"""When what a gateway was asked for, and has not told the outcome of, is looked at again, and how long it is sent.

The schedule counts time and not looks. A gateway that comes and goes brings everything that is unknown due each time
it is back; counted by looks, its schedule of 31 hours would be over in minutes, with nothing ever sent again.
"""

from datetime import datetime
from itertools import accumulate

from payments_core.limits import UNKNOWN_SCHEDULE

__all__ = ["is_overdue", "next_look", "was_sent_enough"]

_STEPS = (*accumulate(UNKNOWN_SCHEDULE),)


def next_look(asked_at: datetime, tries: int, now: datetime) -> datetime:
    """The moment of the next step for what was asked at `asked_at` and tried so often; the last pause repeats.

    The pause is that of the step whose time has come, or an earlier one while there were fewer tries: a first call that
    hung for a minute is followed up after seconds.
    """
    passed = sum(now >= asked_at + step for step in _STEPS)
    return now + UNKNOWN_SCHEDULE[min(passed, tries, len(UNKNOWN_SCHEDULE) - 1)]


def is_overdue(asked_at: datetime, now: datetime) -> bool:
    """Whether the whole schedule is over: a person should know."""
    return now >= asked_at + _STEPS[-1]


def was_sent_enough(asked_at: datetime, tries: int, now: datetime) -> bool:
    """Whether it is only asked about from now on: a person may have done it otherwise.

    Not while it was tried less often than the schedule has steps, which is so when nobody was there to try.
    """
    return is_overdue(asked_at, now) and tries > len(UNKNOWN_SCHEDULE)
