"""HTTP answers before any fault has touched them, and the error shape of the control endpoints."""

from collections.abc import Mapping

import attrs
import msgspec

from .refusals import Refusal, Why


@attrs.frozen
class Reply:
    """An HTTP answer."""

    http_status: int
    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = attrs.field(factory=dict)


def json_reply(http_status: int, body: object) -> Reply:
    """Return a JSON answer."""
    return Reply(http_status, msgspec.json.encode(body))


_CONTROL_HTTP = {Why.PAGE_UNKNOWN: 404, Why.UNKNOWN_TRANSACTION: 404, Why.PAGE_DEAD: 409, Why.FULL: 409}


def control_error(http_status: int, code: str, message: str) -> Reply:
    """Return the error shape of `/_sim/`: a stable code and a sentence."""
    return json_reply(http_status, {"error": {"code": code, "message": message}})


def control_refusal(refusal: Refusal) -> Reply:
    """Return our own words for a refusal."""
    http_status = _CONTROL_HTTP.get(refusal.why, 400)
    return control_error(http_status, refusal.why.name.lower(), "; ".join(refusal.messages))
