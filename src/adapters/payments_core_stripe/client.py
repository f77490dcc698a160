"""The official SDK, made safe to call: bounded in time and size, without redirects, without retries of its own.

What the SDK does by itself, and what is done about it here (stripe.md section 8): it waits 80 seconds and retries twice
under keys that a crash forgets, so its HTTP client is replaced, its retries are off and our state machine sends again
under stored keys; its errors carry the whole answer, so nothing of them is chained or kept.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Mapping
from typing import Any, cast

import httpx
import stripe

from payments_core.errors import GatewayTimeout, GatewayUnavailable
from payments_core_stripe.settings import API_VERSION, StripeSettings

__all__ = ["ApiRefusal", "StripeApi"]

_ANSWER_BYTES_MAX = 1024 * 1024
"""Real answers have a few kB, a list of refunds a hundred; more is somebody else's page."""
_CONNECT_S_MAX = 3.05
_CONNECTIONS_MAX = 100
_LISTED_MAX = 100
_SERVER_ERROR = 500
_WORDS_MAX = 200

Object = dict[str, Any]


class ApiRefusal(Exception):
    """Stripe answered with an error of its own, which the same request will meet again.

    Shape: `status` is HTTP's, `code` Stripe's word for it (may be empty), `message` its sentence.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message


class _BoundedHttp(stripe.HTTPClient):
    """The transport inside the SDK; asynchronous only."""

    name = "httpx"

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S_MAX, timeout_s)),
            limits=httpx.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=20),
            follow_redirects=False,
            trust_env=False,
            verify=ssl.create_default_context(cafile=stripe.ca_bundle_path),
        )

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One call; a longer answer than any real one is cut off."""
        async with self._client.stream(method, url, headers=dict(headers), content=post_data) as response:
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _ANSWER_BYTES_MAX:
                    raise GatewayUnavailable(f"the answer is longer than {_ANSWER_BYTES_MAX} bytes")
            return body, response.status_code, response.headers

    async def close_async(self) -> None:
        """The connections are given back."""
        await self._client.aclose()


class StripeApi:
    """The calls we make; each ends within the time-out.

    Errors, all methods: ApiRefusal, GatewayUnavailable, GatewayTimeout.
    """

    def __init__(self, settings: StripeSettings) -> None:
        self._timeout_s = settings.timeout.total_seconds()
        self._http = _BoundedHttp(self._timeout_s)
        self._v1 = stripe.StripeClient(
            settings.secret_key,
            stripe_version=API_VERSION,
            base_addresses={"api": settings.api_base},
            max_network_retries=0,
            http_client=self._http,
        ).v1

    async def create_session(self, params: Object, idempotency_key: str) -> Object:
        """The session of these parameters; under a used key, the answer it got the first time."""
        sessions = self._v1.checkout.sessions
        return await self._answer(sessions.create_async(cast("Any", params), {"idempotency_key": idempotency_key}))

    async def session(self, session_id: str) -> Object:
        """This session with its intent and the intent's newest charge."""
        expand = {"expand": ["payment_intent.latest_charge"]}
        return await self._answer(self._v1.checkout.sessions.retrieve_async(session_id, expand))  # type: ignore[arg-type]

    async def session_of(self, intent_id: str) -> Object | None:
        """The session this intent was made by, None when there is none."""
        found = await self._answer(self._v1.checkout.sessions.list_async({"payment_intent": intent_id, "limit": 1}))
        return next(iter(_listed(found)), None)

    async def expire_session(self, session_id: str) -> Object:
        """The session, which nobody can pay on any more."""
        return await self._answer(self._v1.checkout.sessions.expire_async(session_id))

    async def intent(self, intent_id: str) -> Object:
        """This intent with its newest charge."""
        return await self._answer(self._v1.payment_intents.retrieve_async(intent_id, {"expand": ["latest_charge"]}))

    async def capture(self, intent_id: str, amount: int) -> Object:
        """The intent, so much of its held money taken."""
        return await self._answer(self._v1.payment_intents.capture_async(intent_id, {"amount_to_capture": amount}))

    async def cancel_intent(self, intent_id: str) -> Object:
        """The intent, cancelled."""
        return await self._answer(self._v1.payment_intents.cancel_async(intent_id))

    async def refund(self, params: Object, idempotency_key: str) -> Object:
        """The refund of these parameters; under a used key, the answer it got the first time."""
        return await self._answer(
            self._v1.refunds.create_async(cast("Any", params), {"idempotency_key": idempotency_key})
        )

    async def refunds(self, intent_id: str) -> list[Object]:
        """The newest refunds of this intent."""
        listed = self._v1.refunds.list_async({"payment_intent": intent_id, "limit": _LISTED_MAX})
        return _listed(await self._answer(listed))

    async def disputes(self, intent_id: str) -> list[Object]:
        """The disputes about this intent."""
        listed = self._v1.disputes.list_async({"payment_intent": intent_id, "limit": _LISTED_MAX})
        return _listed(await self._answer(listed))

    async def _answer(self, call: Awaitable[stripe.StripeObject]) -> Object:
        """The answer, or one of our errors with nothing of the SDK's behind it (`from None`: see the module)."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return (await call).to_dict()
        except (TimeoutError, httpx.TimeoutException):
            raise GatewayTimeout("Stripe did not answer in time") from None
        except httpx.HTTPError as error:
            raise GatewayUnavailable(f"Stripe could not be reached: {type(error).__name__}") from None
        except stripe.StripeError as error:
            raise _refusal(error) from None
        except (AttributeError, TypeError, ValueError, KeyError, RecursionError):
            # JSON that is odd (a list, a null, a word for an object) breaks the SDK in these ways.
            raise GatewayUnavailable("Stripe answered with something that is not its protocol") from None

    async def close(self) -> None:
        """The connections are given back."""
        await self._http.close_async()


def _refusal(error: stripe.StripeError) -> ApiRefusal | GatewayUnavailable:
    """A definitive no only in Stripe's own words; all else is no answer: our key, our pace, somebody else's page.

    A 5xx that Stripe has stored under the key comes back with every repetition, so that one is definitive too.
    """
    status, code = error.http_status or 0, error.code or ""
    said = (error.user_message or "")[:_WORDS_MAX] if error.error is not None else "nothing in its own words"
    if isinstance(error, stripe.IdempotencyError):
        return ApiRefusal(status, "idempotency_error", said)
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError):
        return ApiRefusal(status, code, said)
    if status >= _SERVER_ERROR and error.headers is not None and error.headers.get("idempotent-replayed") == "true":
        return ApiRefusal(status, "replayed", said)
    return GatewayUnavailable(f"Stripe answered {status}: {said}")


def _listed(answer: Object) -> list[Object]:
    found = answer.get("data")
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise GatewayUnavailable("Stripe answered with something that is not a list")
    return found
