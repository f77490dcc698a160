"""Every bound of the simulated Stripe: its unit is in the name, its reason stands above it.

Bounds marked *gateway* are Stripe's own, and a request beyond them is refused as the gateway refuses it.
The others keep one process with its state in memory from growing without end.
"""

from datetime import timedelta

# --- gateway: requests -----------------------------------------------------------------------------------------------

METADATA_KEYS_MAX = 50
METADATA_KEY_CHARS_MAX = 40
METADATA_VALUE_CHARS_MAX = 500
REFERENCE_CHARS_MAX = 200
LINES_MAX = 100
SHIPPING_OPTIONS_MAX = 5
# Nothing published for every field; the schema says 5000 for most texts.
TEXT_CHARS_MAX = 5_000
SESSION_LIFE_MIN = timedelta(minutes=30)
SESSION_LIFE_MAX = timedelta(hours=24)
# Twelve digits is the longest amount any method takes.
AMOUNT_MAX = 999_999_999_999
LIST_LIMIT_DEFAULT = 10
LIST_LIMIT_MAX = 100

# --- gateway: idempotency --------------------------------------------------------------------------------------------

IDEMPOTENCY_KEY_CHARS_MAX = 255
# Kept "at least 24 hours"; a client that relies on more relies on nothing.
IDEMPOTENCY_LIFE = timedelta(hours=24)

# --- gateway: payments -----------------------------------------------------------------------------------------------

# About seven days for cards; the intent is then cancelled by itself.
AUTHORIZATION_LIFE = timedelta(days=7)
# From a dispute to the day evidence is due; nothing here depends on it.
EVIDENCE_LIFE = timedelta(days=9)

# --- gateway: notifications ------------------------------------------------------------------------------------------

# "Exponential back-off"; the published steps differ by mode, these reach the better part of a day.
RETRY_INTERVALS_S = (300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0)

# --- ours: state in memory -------------------------------------------------------------------------------------------

# About 6 kB each with an intent, a charge and five events.
SESSIONS_MAX = 50_000
# A buyer who tries a card fifty times on one page is a runaway test.
CHARGES_PER_INTENT_MAX = 50
REFUNDS_PER_CHARGE_MAX = 100
COUPONS_MAX = 50_000
# What `GET /v1/events` can look back on; older ones are forgotten.
EVENTS_MAX = 100_000
IDEMPOTENCY_KEYS_MAX = 100_000
# A body has a few dozen fields for each line.
FORM_FIELDS_MAX = 2_000
FORM_DEPTH_MAX = 8
