"""Who is calling: JSON Web Tokens, checked and (for tools and the demo) made.

A token with the claim `payments_role` is a service's or an operator's, and its `scope` counts. Without it the token is
a customer's: its scope is ignored, and it reaches only orders whose customer is its subject.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from enum import Enum
from json import JSONDecodeError
from time import time
from typing import Any, Protocol

import attrs
import jwt

from payments_core.errors import PaymentsError
from payments_core_app.settings import Settings

__all__ = [
    "SCOPES",
    "Caller",
    "Forbidden",
    "KeysUnavailable",
    "Role",
    "Unauthenticated",
    "Verifier",
    "make_token",
    "make_verifier",
]

SCOPES = ("orders:read", "orders:write", "payments:read", "payments:write", "payments:operate")
_ALGORITHM = "HS256"
_ASYMMETRIC = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
_CACHE_MAX = 10_000
"""Tokens remembered at once; a token is a few hundred bytes."""
_CACHE_S = 60.0
"""How long a checked token is believed without checking it again, never beyond its own end."""
_TOKEN_CHARS_MAX = 8192
_SUBJECT_MAX = 255
"""Characters of a caller's name; an index of PostgreSQL takes no name of any length."""
_JWKS_TIMEOUT_S = 5


class Unauthenticated(PaymentsError):
    """No token, or one that is bad, expired or meant for somebody else."""

    code = "invalid_token"


class KeysUnavailable(PaymentsError):
    """The keys that tokens are checked with cannot be read now: nobody is refused for it."""

    code = "keys_unavailable"
    retryable = True


class Forbidden(PaymentsError):
    """The caller is known and may not do this."""

    code = "insufficient_scope"


class Role(Enum):
    """What a token that is no customer's acts as."""

    SERVICE = "service"
    OPERATOR = "operator"


@attrs.frozen
class Caller:
    """Whoever a token was made for; `role` is None for a customer."""

    subject: str
    role: Role | None
    scopes: frozenset[str]

    @property
    def actor(self) -> str:
        """The name under which a deed of this caller is remembered."""
        return f"{self.role.value if self.role else 'customer'}:{self.subject}"

    def may(self, scope: str) -> bool:
        """Whether the caller holds this scope; a customer holds none."""
        return self.role is not None and scope in self.scopes


class Verifier(Protocol):
    """Checks tokens."""

    async def verify(self, encoded: str) -> Caller:
        """Who the token was made for.

        Errors: Unauthenticated.
        """


def make_verifier(settings: Settings) -> Verifier:
    """The check the settings ask for: one shared secret, or the keys published at a URL (then HS256 is off)."""
    claims = _Claims(settings.jwt_audience, settings.jwt_issuer)
    if settings.jwks_url is not None:
        return _Remembering(_PublishedKeys(settings.jwks_url, claims))
    return _Remembering(_SharedSecret(settings.jwt_secret or "", claims))


def make_token(
    settings: Settings, subject: str, *, role: Role | None = None, scope: str = "", ttl: timedelta = timedelta(hours=1)
) -> str:
    """A token signed with the shared secret.

    Errors: ValueError when there is no shared secret.
    """
    if settings.jwks_url:
        raise ValueError("PAYMENTS_JWKS_URL is set, so whoever publishes those keys makes the tokens")
    if not settings.jwt_secret:
        raise ValueError("PAYMENTS_JWT_SECRET is not set, so no token can be signed")
    now = datetime.now(UTC)
    claims: dict[str, Any] = {"sub": subject, "aud": settings.jwt_audience, "iat": now, "exp": now + ttl}
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if role is not None:
        claims |= {"payments_role": role.value, "scope": scope}
    return jwt.encode(claims, settings.jwt_secret, _ALGORITHM)


@attrs.frozen
class _Claims:
    audience: str
    issuer: str | None

    def read(self, encoded: str, key: Any, algorithm: str) -> tuple[Caller, float]:  # noqa: ANN401 - a key of any kind
        """The caller, and when the token ends; the algorithm is ours to say, never the token's."""
        try:
            claims = jwt.decode(
                encoded,
                key,
                algorithms=[algorithm],
                audience=self.audience,
                issuer=self.issuer,
                options={"require": ["exp", "sub", "aud"]},
            )
            return _caller(claims), float(claims["exp"])
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            raise Unauthenticated("the token is bad, expired, or meant for somebody else") from None


def _caller(claims: dict[str, Any]) -> Caller:
    subject, role, scope = claims["sub"], claims.get("payments_role"), claims.get("scope", "")
    half_a_letter = any("\ud800" <= letter <= "\udfff" for letter in subject)
    if not 1 <= len(subject) <= _SUBJECT_MAX or "\0" in subject or half_a_letter:
        raise Unauthenticated("the token names nobody")  # PostgreSQL can store no such name
    if role is None:
        return Caller(subject, None, frozenset())
    return Caller(subject, Role(role), frozenset(scope.split() if isinstance(scope, str) else ()))


class _Check(Protocol):
    async def check(self, encoded: str) -> tuple[Caller, float]: ...


@attrs.frozen
class _SharedSecret:
    secret: str = attrs.field(repr=False)
    claims: _Claims

    async def check(self, encoded: str) -> tuple[Caller, float]:
        return self.claims.read(encoded, self.secret, _ALGORITHM)


class _PublishedKeys:
    def __init__(self, url: str, claims: _Claims) -> None:
        self._keys = jwt.PyJWKClient(url, cache_keys=True, lifespan=300, timeout=_JWKS_TIMEOUT_S)
        self._claims = claims

    async def check(self, encoded: str) -> tuple[Caller, float]:
        try:
            key = await asyncio.to_thread(self._keys.get_signing_key_from_jwt, encoded)
        except (jwt.PyJWKClientConnectionError, JSONDecodeError) as error:
            raise KeysUnavailable("the published keys cannot be read now") from error
        except jwt.PyJWTError as error:
            raise Unauthenticated("the token's key is not published") from error
        if key.key_type == "oct" or key.algorithm_name not in _ASYMMETRIC:
            raise Unauthenticated("a published key that is a shared secret proves nothing")
        return self._claims.read(encoded, key.key, key.algorithm_name)


class _Remembering:
    """Checks a token once a minute, not once a request."""

    def __init__(self, check: _Check) -> None:
        self._check = check
        self._known: dict[str, tuple[float, Caller]] = {}

    async def verify(self, encoded: str) -> Caller:
        now = time()
        known = self._known.get(encoded)
        if known is not None and now < known[0]:
            return known[1]
        if len(encoded) > _TOKEN_CHARS_MAX:
            raise Unauthenticated("the token is too long")
        caller, ends = await self._check.check(encoded)
        if len(self._known) >= _CACHE_MAX:
            self._known.clear()
        self._known[encoded] = (min(ends, now + _CACHE_S), caller)
        return caller
