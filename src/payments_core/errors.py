"""The errors a caller can meet, as one small tree.

    PaymentsError
    ├── InvalidInput             the caller said something that cannot be; nothing changed
    │   └── AmountNotRepresentable   the currency, or a gateway's wire, cannot say this amount
    ├── NotFound                 no such thing, or not for this caller
    ├── Conflict                 the state forbids it; `code` says which state
    ├── Busy                     somebody is at it this moment; ask again shortly
    ├── GatewayError
    │   ├── GatewayNotConfigured nobody can be asked: this gateway has no keys here
    │   ├── GatewayRefused       a definitive no: the same request will be refused again
    │   ├── GatewayUnavailable   an error instead of an answer: what happened is unknown
    │   └── GatewayTimeout       no answer in time: what happened is unknown
    ├── NotificationRefused
    │   ├── MalformedNotification    not JSON, fields missing, nested too deep
    │   └── NotAuthentic             the signature is wrong, absent or not a string
    └── StorageError
        ├── StorageUnavailable   the database cannot be reached now
        └── StaleWrite           somebody else changed the row first; load again

Every error has a stable `code`, and says whether the same call may succeed later (`retryable`).
Unknown is not failure: GatewayUnavailable and GatewayTimeout never mean that nothing happened.
"""

from collections.abc import Mapping

__all__ = [
    "AmountNotRepresentable",
    "Busy",
    "Conflict",
    "GatewayError",
    "GatewayNotConfigured",
    "GatewayRefused",
    "GatewayTimeout",
    "GatewayUnavailable",
    "InvalidInput",
    "MalformedNotification",
    "NotAuthentic",
    "NotFound",
    "NotificationRefused",
    "PaymentsError",
    "StaleWrite",
    "StorageError",
    "StorageUnavailable",
]


class PaymentsError(Exception):
    """Something this package refuses or could not do; `code` is stable and documented."""

    code = "error"
    retryable = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = dict(extra or {})
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable


class InvalidInput(PaymentsError):
    """The caller said something that cannot be; nothing changed."""

    code = "invalid_input"


class AmountNotRepresentable(InvalidInput):
    """The currency, or a gateway's wire, cannot say this amount."""

    code = "amount_not_representable"


class NotFound(PaymentsError):
    """No such thing, or not for this caller; the two look alike on purpose."""

    code = "not_found"


class Conflict(PaymentsError):
    """The state forbids it; `code` says which state, `retryable` whether it passes by itself."""

    code = "conflict"


class Busy(PaymentsError):
    """Somebody is at it this moment; the same call will find it done, or do it."""

    code = "busy"
    retryable = True


class GatewayError(PaymentsError):
    """A gateway did not do what was asked, or did not say so."""

    code = "gateway_error"


class GatewayNotConfigured(GatewayError):
    """Nobody can be asked: this gateway has no keys here, also where it has payments from when it had."""

    code = "gateway_not_configured"


class GatewayRefused(GatewayError):
    """A definitive no: the same request will be refused again."""

    code = "gateway_refused"


class GatewayUnavailable(GatewayError):
    """An error instead of an answer: what happened is unknown; ask, or repeat under the same key."""

    retryable = True


class GatewayTimeout(GatewayError):
    """No answer in time: what happened is unknown; ask, or repeat under the same key."""

    code = "gateway_timeout"
    retryable = True


class NotificationRefused(PaymentsError):
    """A body that is not taken in; nothing was written."""

    code = "notification_refused"


class MalformedNotification(NotificationRefused):
    """Not JSON, fields missing, or nested too deep."""

    code = "malformed_notification"


class NotAuthentic(NotificationRefused):
    """The signature is wrong, absent or not a string."""

    code = "invalid_signature"


class StorageError(PaymentsError):
    """The store did not do what was asked; the transaction changed nothing."""

    code = "storage_error"


class StorageUnavailable(StorageError):
    """The database cannot be reached now; the same call may succeed later."""

    code = "storage_unavailable"
    retryable = True


class StaleWrite(StorageError):
    """Somebody else changed the row first; load again and decide again."""

    code = "stale_write"
    retryable = True
