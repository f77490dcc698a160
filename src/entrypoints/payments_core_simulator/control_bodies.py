"""How the control endpoints read JSON; an unknown key or a wrong type is a clear error."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from .limits import CLOCK_AHEAD_MAX
from .refusals import Refusal, Why


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A body of a control endpoint."""


class Advance(Body, frozen=True, kw_only=True):
    """The clock moves forward."""

    advance_s: Annotated[float, Meta(ge=0, le=CLOCK_AHEAD_MAX.total_seconds())]


Decoded = TypeVar("Decoded")


def decode(body: bytes, kind: type[Decoded]) -> Decoded:
    """Return the body as this kind.

    **Errors**: `Refusal` saying what is wrong and where.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Refusal(Why.INVALID, str(error)) from error
