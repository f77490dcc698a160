"""Every bound and every time-out of the core, with its unit, its reason and its source."""

from datetime import timedelta

AMOUNT_MINOR_MAX = 10**15
"""Minor units. Fits a signed 64-bit column with room for sums over a thousand lines; ten trillion rupiah per order."""

STALE_RETRIES_MAX = 5
"""How often a transaction that lost a race is run again before its caller is told to come back."""

STALE_PAUSE = timedelta(milliseconds=5)
"""The first pause before that, doubled each time and spread: those that met once should not meet again."""

ATTEMPTS_MAX = 20
"""Pages one payment may open. A buyer who failed twenty pages needs a person (design 2b)."""

CHARGES_MAX = 200
"""Transactions kept for one payment. A page allows retries; a hostile buyer must not grow a row without end."""

REFUNDS_MAX = 100
"""Refunds of one payment, those made in a dashboard included."""

REFUND_ASKED_FOR = timedelta(days=7)
"""How long a refund without an answer is asked about and sent again: Midtrans keeps a refund key so long."""

CASES_MAX = 100
"""Cases kept for one payment, for the same reason."""

PAGE_LEFT_MIN = timedelta(minutes=5)
"""Shorter pages are refused: Snap's `page_expiry` has this minimum (Midtrans facts, section 2)."""

OVER_AFTER = timedelta(minutes=60)
"""A page counts as over this long past its end: Midtrans expires in batches and its clock differs (facts, 4 and 5)."""

LEASE = timedelta(seconds=30)
"""How long claimed due work belongs to its worker; twice the longest time-out a gateway may have (design 4)."""

GATEWAY_TIMEOUT_MAX = LEASE / 2
"""A call that outlasts the lease of its row would be made twice at once."""

OPENING_GRACE = timedelta(seconds=5)
"""Added to the gateway's time-out to make the lease of an opening (design 4)."""

REFUTE_AFTER = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
)
"""When a hint that its reading does not bear out is asked again; after the last one it is refuted (design 3)."""

POLL_CHARGES_MAX = 20
"""Tries one poll of a page asks about, the newest first; a page rarely has more than three that still live."""

RETRY_SCHEDULE = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
)
"""When an unfinished opening or closing is tried again; the last step repeats until the page is proved dead."""

UNKNOWN_SCHEDULE = (*RETRY_SCHEDULE, timedelta(hours=6), timedelta(hours=24))
"""When a refund, a capture or a review whose outcome is unknown is asked about; after the last step it is a case, and
the last step repeats. It never becomes a failure because time has passed (guarantee A4)."""

PAGE_UNKNOWN_AFTER = len(RETRY_SCHEDULE) + 31
"""Tries to open or to close a page that nobody answered before it is a case; hourly ones take as long as the schedule
of refunds and captures, because stock waits for a page."""

RECOVERED_MAX = 1_000
"""Unknown outcomes of one gateway that come due at once when it answers again; more come at their own time."""

RECOVERED_EVERY = timedelta(seconds=30)
"""A gateway that comes and goes brings everything due so often at most."""

REFRESH_EVERY = timedelta(seconds=10)
"""How often at most readers make us ask the gateway about one payment, over all processes."""

REFRESH_BOUND = timedelta(seconds=2)
"""How long a reader waits for that answer; it is stored all the same when it comes later."""

REFRESHES_MAX = 256
"""Questions readers may have on their way in one process; beyond it they get what is stored."""

FACTS_AT_ONCE_MAX = 50
"""Facts one claim takes to deliver, so that a lease outlasts the work on them."""

DELIVERY_TIMEOUT = timedelta(seconds=10)
"""How long a subscriber may take for one fact."""

DELIVERY_SCHEDULE = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""When a fact that a subscriber did not take is offered again (Standard Webhooks, section on retries, read 2026-11-27).
After the last one it is a dead letter: kept, shown, offered again only when somebody says so."""

POLL_MAX = timedelta(hours=1)
"""Polling an open page doubles its pause up to this."""

UNMATCHED_RETRY = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
"""When a notification whose payment is unknown looks for it again; afterwards it is only kept."""

NOTIFICATION_BYTES_MAX = 256 * 1024
"""Body size. Real notifications have about 1 kB; 413 beyond this (design 6)."""

NESTING_MAX = 64
"""Depth of a JSON body; 400 beyond this (design 6)."""

BATCH_ITEMS_MAX = 128
"""Notifications one transaction takes; more waits for the next (speed study, section 9)."""

DECISIONS_AT_ONCE_MAX = 8
"""First clicks, and plain decisions, one transaction takes. A few, because what is committed together is answered
together: fifty buyers who wait for one gateway would go on coming back as a crowd (ADR 28)."""

SWEEP_BATCH_MAX = 50
"""Due rows one claim takes, so that a lease outlasts the work on it."""

ORDER_ITEMS_MAX = 500
"""Lines of one order; Snap's 16 kB folds long carts, our row should stay readable."""

CLOSE_ROUNDS_MAX = 3
"""How often one closing step may cancel, look and cancel again before it leaves the rest to the next step."""
