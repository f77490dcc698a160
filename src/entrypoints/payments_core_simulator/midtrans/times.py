"""How Midtrans writes a moment."""

from datetime import UTC, datetime, timedelta, timezone

# Midtrans writes its times in Asia/Jakarta, which has no daylight saving, and leaves the offset out.
JAKARTA = timezone(timedelta(hours=7))


def wire_time(moment: datetime) -> str:
    """Write a moment as the gateway does: GMT+7, no offset, whole seconds."""
    return moment.astimezone(JAKARTA).strftime("%Y-%m-%d %H:%M:%S")


def iso_time(moment: datetime) -> str:
    """Write a moment as the token cancel does, unlike every other call: UTC, ISO 8601, milliseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
