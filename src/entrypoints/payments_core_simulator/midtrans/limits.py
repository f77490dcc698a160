"""Every bound of the simulated Midtrans: its unit is in the name, its reason stands above it.

Bounds marked *gateway* are Midtrans' own, and a request beyond them is refused as the gateway refuses it.
The others keep one process with its state in memory from growing without end.
"""

from datetime import timedelta

# --- gateway: Snap requests ------------------------------------------------------------------------------------------

# Documented as "16 kB, about 16 000 characters"; the stricter reading, so that a client that passes here passes there.
SNAP_BODY_BYTES_MAX = 16_000
ORDER_ID_CHARS_MAX = 50
ITEM_TEXT_CHARS_MAX = 50
CUSTOMER_TEXT_CHARS_MAX = 255
CUSTOM_FIELD_CHARS_MAX = 255
# Nothing published; a trillion rupiah is beyond every channel, and below what any client's number type rounds.
GROSS_AMOUNT_RUPIAH_MAX = 10**12
PAGE_LIFE_DEFAULT = timedelta(hours=24)
PAGE_EXPIRY_MIN = timedelta(minutes=5)
PAGE_EXPIRY_MAX = timedelta(days=7)
# A start time outside these years is a slip of the pen; far ones cannot be added to.
EXPIRY_START_YEARS = range(2000, 2200)
# A longer payment expiry is trimmed, not refused.
EXPIRY_MAX = timedelta(days=180)
# The documents say 2 in one place and 3 in another; whoever stays within 2 is safe with both.
NOTIFICATION_URLS_MAX = 2

# --- gateway: transactions -------------------------------------------------------------------------------------------

PENDING_LIFE_DEFAULT = timedelta(hours=24)
# A card stays pending while the buyer is in 3-D Secure; the documents say 10 to 15 minutes.
CARD_PENDING_LIFE = timedelta(minutes=15)
# Seven days of hold, released on the eighth.
AUTHORIZATION_LIFE = timedelta(days=8)
# The card batch: captures settle and unanswered challenges are cancelled on the next day at 16:00 GMT+7.
CARD_BATCH_HOUR = 16
# A refund may be tried again under its key for this long; afterwards the key is refused as used.
REFUND_KEY_LIFE = timedelta(days=7)
REASON_CHARS_MAX = 255
REFUND_KEY_CHARS_MAX = 255

# --- gateway: notifications ------------------------------------------------------------------------------------------

REDIRECT_HOPS_MAX = 5
RETRY_INTERVALS_S = (120.0, 600.0, 1_800.0, 5_400.0, 12_600.0)
# The first retry "may come after 33 s" instead of 2 minutes: that is the lower end of the random shift.
RETRY_SHIFT_MIN = 0.275
RETRY_SHIFT_MAX = 1.0

# --- ours: state in memory -------------------------------------------------------------------------------------------

# About 4 kB each with two transactions: 400 MB at the bound, ten times the largest chaos run.
ORDERS_MAX = 100_000
# A buyer who tries a card fifty times on one page is a runaway test.
TRANSACTIONS_PER_ORDER_MAX = 50
REFUNDS_PER_TRANSACTION_MAX = 100
# What the status lag can look back on; older versions of a transaction are forgotten.
VERSIONS_PER_TRANSACTION_MAX = 64
