"""Stripe's error bodies: one shape, with a type, often a code, and the parameter that is wrong."""

from typing import Self

from payments_core_simulator.refusals import Refusal, Why
from payments_core_simulator.replies import Reply, json_reply

INVALID = "invalid_request_error"
DOCS = "https://stripe.com/docs/error-codes/"


class ApiRefusal(Refusal):
    """Nothing was changed, and this is what the API says.

    `validation` marks what is refused before anything ran: such an answer is not kept under an idempotency key.
    """

    def __init__(
        self,
        message: str,
        *,
        http_status: int = 400,
        kind: str = INVALID,
        code: str | None = None,
        param: str | None = None,
        validation: bool = False,
        why: Why = Why.STATE,
    ) -> None:
        super().__init__(why, message)
        self.http_status = http_status
        self.kind = kind
        self.code = code
        self.param = param
        self.validation = validation

    @classmethod
    def invalid(cls, message: str) -> Self:
        """Refuse a request that cannot be understood."""
        return cls(message, validation=True, why=Why.INVALID)

    @classmethod
    def missing(cls, kind: str, any_id: str, param: str | None = None) -> Self:
        """Refuse an id that names nothing here; in the path it is 404, in a parameter 400."""
        message = f"No such {kind}: '{any_id[:100]}'"
        status = 404 if param is None else 400
        why = Why.UNKNOWN_TRANSACTION
        return cls(message, http_status=status, code="resource_missing", param=param or "id", validation=True, why=why)

    @classmethod
    def state(cls, message: str, code: str | None = None, param: str | None = None) -> Self:
        """Refuse what the object, as it stands, does not allow."""
        return cls(message, code=code, param=param)


def parameter_error(param: str, message: str, code: str | None = None) -> ApiRefusal:
    """Return the refusal of one parameter."""
    return ApiRefusal(message, code=code, param=param, validation=True, why=Why.INVALID)


def refusal_reply(refusal: Refusal) -> Reply:
    """Return the API's words for a refusal."""
    if isinstance(refusal, ApiRefusal):
        return error_reply(
            refusal.http_status, refusal.messages[0], kind=refusal.kind, code=refusal.code, param=refusal.param
        )
    return error_reply(503 if refusal.why is Why.FULL else 400, "; ".join(refusal.messages), kind="api_error")


def error_reply(
    http_status: int, message: str, *, kind: str = INVALID, code: str | None = None, param: str | None = None
) -> Reply:
    """Return an error body; absent parts are left out, as the gateway does."""
    error: dict[str, object] = {"message": message, "type": kind}
    if code is not None:
        error |= {"code": code, "doc_url": DOCS + code.replace("_", "-")}
    if param is not None:
        error["param"] = param
    return json_reply(http_status, {"error": error})
