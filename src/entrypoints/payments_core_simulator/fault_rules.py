"""The JSON of `POST /_sim/faults`: one small class per kind of fault, so that a wrong key is an error with a place.

Every rule fires with its `probability` (1 when absent), at most `count` times (for ever when absent).
A rule for calls may name them in `calls`; a rule for notifications names in `statuses` the transaction statuses (of
Midtrans) or the types of events (of Stripe).
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .limits import (
    FAULT_COPIES_MAX,
    FAULT_COUNT_MAX,
    FAULT_WAIT_S_MAX,
    FAULTS_MAX,
    NOTIFICATION_TIMEOUT_S,
    RETRIES_MAX,
    SPEED_UP_MAX,
)

# Which names exist is the gateway's to say; a plan that names another is refused.
CallName = Annotated[str, Meta(max_length=50)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1, le=FAULT_COUNT_MAX)]
Seconds = Annotated[float, Meta(ge=0, le=FAULT_WAIT_S_MAX)]
# The longest published interval, 3.5 h, fits.
Interval = Annotated[float, Meta(ge=0, le=86_400)]
Milliseconds = Annotated[float, Meta(ge=0, le=FAULT_WAIT_S_MAX * 1000)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True):
    """What every rule can say."""

    probability: Probability = 1.0
    count: Count | None = None


class CallRule(Rule, frozen=True, kw_only=True):
    """A rule about calls of the gateway's API."""

    calls: Literal["all"] | tuple[CallName, ...] = "all"


class Latency(CallRule, frozen=True, tag="latency", kw_only=True):
    """The call begins this much later; adds up with every other fault."""

    ms: Milliseconds


class StatusLag(CallRule, frozen=True, tag="status_lag", kw_only=True):
    """A status answers as it was this long ago; a transaction younger than that is 404."""

    seconds: Seconds


class BankRefusal(CallRule, frozen=True, tag="bank_refusal", kw_only=True):
    """The bank refuses a refund or a capture: code 202, nothing changes."""


class Outcome(CallRule, frozen=True, kw_only=True):
    """A rule that replaces the answer."""


class LostAnswer(Outcome, frozen=True, kw_only=True):
    """A rule that replaces the answer of a call which, with `applied`, took effect all the same."""

    applied: bool = False


class Timeout(LostAnswer, frozen=True, tag="timeout", kw_only=True):
    """The call takes effect, then hangs, then the connection is cut without an answer."""

    applied: bool = True
    hang_s: Seconds = 60.0


class Cut(LostAnswer, frozen=True, tag="cut", kw_only=True):
    """The connection is cut at once, without an answer."""


class ServerError(LostAnswer, frozen=True, tag="server_error", kw_only=True):
    """An HTTP 5xx in the product's own shape; with `applied` the answer was lost on its way."""

    status: Annotated[int, Meta(ge=500, le=599)] = 503


class Html(LostAnswer, frozen=True, tag="html", kw_only=True):
    """A proxy's HTML page instead of JSON."""

    status: Annotated[int, Meta(ge=500, le=599)] = 502


class EmptyBody(LostAnswer, frozen=True, tag="empty_body", kw_only=True):
    """HTTP 200 with no body."""


class ErrorIn200(LostAnswer, frozen=True, tag="error_in_200", kw_only=True):
    """HTTP 200 whose body is an error with this code; Snap bodies have texts only."""

    status_code: Annotated[str, Meta(pattern="^[45][0-9][0-9]$")] = "500"


class RateLimit(Outcome, frozen=True, tag="rate_limit", kw_only=True):
    """HTTP 429 in the product's own shape; the call takes no effect."""

    retry_after_s: Annotated[int, Meta(ge=0, le=3600)] = 1
    # Stripe says 429 also when another request holds the same object.
    code: Literal["rate_limit", "lock_timeout"] = "rate_limit"


class NotificationRule(Rule, frozen=True, kw_only=True):
    """A rule about notifications; without `statuses` about all of them."""

    statuses: tuple[str, ...] = ()


class Duplicate(NotificationRule, frozen=True, tag="notification_duplicate", kw_only=True):
    """The same bytes are delivered this many times more."""

    copies: Annotated[int, Meta(ge=1, le=FAULT_COPIES_MAX)] = 1


class Delay(NotificationRule, frozen=True, tag="notification_delay", kw_only=True):
    """The first attempt comes this much later, and later notifications of the order overtake it."""

    ms: Milliseconds


class Reorder(NotificationRule, frozen=True, tag="notification_reorder", kw_only=True):
    """Held back until the order's next notification was tried, or `within_ms` have passed."""

    within_ms: Milliseconds = 2_000.0


class Drop(NotificationRule, frozen=True, tag="notification_drop", kw_only=True):
    """Never sent, as if the gateway had lost it."""


AnyRule = (
    Latency | StatusLag | BankRefusal | Timeout | Cut | ServerError | Html | EmptyBody | ErrorIn200 | RateLimit
    | Duplicate | Delay | Reorder | Drop
)  # fmt: skip


class Delivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How notifications are retried; absent parts stay as the gateway does it."""

    speed_up: Annotated[float, Meta(ge=1, le=SPEED_UP_MAX)] | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=NOTIFICATION_TIMEOUT_S)] = NOTIFICATION_TIMEOUT_S
    intervals_s: Annotated[tuple[Interval, ...], Meta(min_length=RETRIES_MAX, max_length=RETRIES_MAX)] | None = None


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole body; `{}` means no faults."""

    seed: int = 0
    faults: Annotated[tuple[AnyRule, ...], Meta(max_length=FAULTS_MAX)] = ()
    delivery: Delivery = Delivery()
