"""Every bound and every time-out of the core, with its unit, its reason and its source."""

from datetime import timedelta

AMOUNT_MINOR_MAX = 10**15
"""Minor units. Fits a signed 64-bit column with room for sums over a thousand lines; ten trillion rupiah per order."""

STALE_RETRIES_MAX = 3
"""How often a transaction that lost a race is run again before its caller is told to come back."""

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

UNKNOWN_SCHEDULE = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
"""When a refund or a capture without an answer is asked about, and sent, again; after the last step it is a case, and
is asked about once a day (guarantee A4)."""

PAGE_UNKNOWN_AFTER = len(RETRY_SCHEDULE) + 31
"""Tries to open or to close a page that nobody answered before it is a case; hourly ones take as long as the schedule
of refunds and captures, because stock waits for a page."""

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

SWEEP_BATCH_MAX = 50
"""Due rows one claim takes, so that a lease outlasts the work on it."""

ORDER_ITEMS_MAX = 500
"""Lines of one order; Snap's 16 kB folds long carts, our row should stay readable."""

CLOSE_ROUNDS_MAX = 3
"""How often one closing step may cancel, look and cancel again before it leaves the rest to the next step."""
