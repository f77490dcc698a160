"""What is counted. Labels are closed lists: nothing a stranger sends becomes one."""

from prometheus_client import Counter, Histogram

__all__ = ["ERRANDS", "NOTIFICATIONS", "REQUESTS", "SWEPT"]

NOTIFICATIONS = Counter(
    "payments_notifications",
    "Notifications by what became of them (verdicts, and foreign, malformed, forged).",
    ["provider", "result"],
)
ERRANDS = Counter("payments_errands", "Background errands by result.", ["result"])
SWEPT = Counter("payments_swept", "Rows the sweep attended to, by kind and result.", ["kind", "result"])
REQUESTS = Histogram(
    "payments_request_seconds",
    "Time to answer a request.",
    ["method", "route", "status"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 30),
)
