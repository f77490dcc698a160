"""When Midtrans gives up on a notification, and how long it waits before it tries again."""

from payments_core_simulator.retries import RetryTable

from .limits import REDIRECT_HOPS_MAX, RETRY_INTERVALS_S, RETRY_SHIFT_MAX, RETRY_SHIFT_MIN

RETRIES = RetryTable(
    intervals_s=RETRY_INTERVALS_S,
    # Also a chain of redirects that is too long.
    otherwise=5,
    by_status={500: 1, 503: 4, 400: 2, 404: 2, 301: 0, 302: 0, 303: 0},
    followed=frozenset({307, 308}),
    redirect_hops_max=REDIRECT_HOPS_MAX,
    shift_min=RETRY_SHIFT_MIN,
    shift_max=RETRY_SHIFT_MAX,
)
