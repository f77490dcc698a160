"""What the environment says, read once, with every problem named at once."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from ipaddress import IPv6Address, ip_address
from socket import inet_aton
from typing import TypeVar
from urllib.parse import urlsplit

import attrs

from payments_core.limits import GATEWAY_TIMEOUT_MAX, PAGE_LEFT_MIN
from payments_core.policy import LatePayment, Policy
from payments_core.states import Confirm
from payments_core_app.database_url import DATABASE_URL, problem_of
from payments_core_manual import ManualSettings
from payments_core_midtrans import MidtransSettings
from payments_core_sqlalchemy.shares import Allowance
from payments_core_stripe import StripeSettings

__all__ = [
    "DEMO_MARK",
    "HISTORY_KEY_BYTES_MIN",
    "JWT_SECRET_BYTES_MIN",
    "LOOPBACK",
    "SANDBOX_PREFIXES",
    "Mode",
    "Settings",
    "SettingsError",
]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Names of this machine for itself."""
DEMO_MARK = "DEMO"
"""Every secret the demo makes carries it, so that none of them ever serves anything else."""
_KEYS = (
    "PAYMENTS_JWT_SECRET",
    "PAYMENTS_HISTORY_KEY",
    "PAYMENTS_METRICS_TOKEN",
    "MIDTRANS_SERVER_KEY",
    "MIDTRANS_SERVER_KEY_PREVIOUS",
    "MIDTRANS_CLIENT_KEY",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "PAYMENTS_MANUAL_SECRET",
)
JWT_SECRET_BYTES_MIN = 32
"""HS256 needs a key as long as its hash (RFC 7518, section 3.2)."""
HISTORY_KEY_BYTES_MIN = 32
MANUAL_SECRET_BYTES_MIN = 32
"""HMAC-SHA256 too is as strong as its key, up to the length of its hash (RFC 2104, section 3)."""
_PUBLIC_URL = "http://127.0.0.1:8000"
_EXPIRY_MAX = timedelta(days=7)
_DRAIN_MAX = timedelta(minutes=5)
_THREADS_MAX = 1000
_CALLS_MAX = 100_000
_CALLS = {"midtrans": Allowance(1024, 4000), "stripe": Allowance(256, 1000)}
"""What is asked of a gateway at most when nothing is said.

Midtrans publishes no limit. Stripe's is the account's own: 100 a second live and 25 in a sandbox, unless it says
otherwise.
"""
SANDBOX_PREFIXES = ("SB-", "VT-")
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})

Word = TypeVar("Word", bound=Enum)
Value = TypeVar("Value")


class SettingsError(Exception):
    """The environment cannot be used; `problems` says everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Mode(Enum):
    """How careful to be."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"
    DEMO = "demo"


@attrs.frozen(kw_only=True)
class Settings:
    """Everything the application is told from outside; secrets stay out of its repr.

    Source: the outer contract; `docs/reference/settings.md` lists every name with its default.
    """

    mode: Mode = Mode.PRODUCTION
    database_url: str = attrs.field(default=DATABASE_URL, repr=False)
    public_url: str = _PUBLIC_URL
    frontend_url: str = f"{_PUBLIC_URL}/shop"
    return_origins: tuple[str, ...] = ()
    jwt_secret: str | None = attrs.field(default=None, repr=False)
    jwt_audience: str = "payments-core"
    jwt_issuer: str | None = None
    jwks_url: str | None = None
    history_keys: tuple[str, ...] = attrs.field(default=(), repr=False)
    policy: Policy = attrs.field(factory=Policy)
    midtrans: MidtransSettings | None = None
    gateway_limits: Mapping[str, Allowance] = attrs.field(factory=dict, hash=False)
    """Of each gateway, over all processes."""
    drain: timedelta = timedelta(0)
    """How long a server that was asked to stop serves on, not ready any more."""
    metrics: bool = True
    metrics_token: str | None = attrs.field(default=None, repr=False)
    stripe: StripeSettings | None = None
    manual: ManualSettings | None = None
    has_demo_key: bool = False
    """Some key in the environment was made by the demo, also one that nothing uses yet."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings in this environment.

        Errors: SettingsError with every value that cannot be read.
        """
        reader = _Reader(environment)
        settings = cls(
            mode=reader.word("PAYMENTS_MODE", Mode, Mode.PRODUCTION),
            database_url=_database(reader),
            public_url=reader.url("PAYMENTS_PUBLIC_URL") or _PUBLIC_URL,
            frontend_url=_frontend(reader),
            return_origins=_return_origins(reader),
            jwt_secret=reader.text("PAYMENTS_JWT_SECRET"),
            jwt_audience=reader.text("PAYMENTS_JWT_AUDIENCE") or "payments-core",
            jwt_issuer=reader.text("PAYMENTS_JWT_ISSUER"),
            jwks_url=reader.url("PAYMENTS_JWKS_URL"),
            history_keys=_history_keys(reader),
            policy=_policy(reader),
            midtrans=_midtrans(reader),
            gateway_limits={name: _limit(reader, name, usual) for name, usual in _CALLS.items()},
            drain=_drain(reader),
            metrics=reader.flag("PAYMENTS_METRICS", default=True, words="on or off"),
            metrics_token=reader.text("PAYMENTS_METRICS_TOKEN"),
            stripe=_stripe(reader),
            manual=_manual(reader),
            has_demo_key=any(DEMO_MARK in (reader.text(name) or "") for name in _KEYS),
        )
        reader.raise_problems()
        return settings

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file, which one serving process may use."""
        return self.database_url.startswith("sqlite")

    @property
    def default_provider(self) -> str:
        """The gateway of a click that names none."""
        if self.midtrans is None and self.stripe is None and self.manual is not None:
            return "manual"
        return "midtrans" if self.midtrans is not None else "stripe"

    def refusals(self) -> list[str]:
        """Why this environment must not serve; empty when it may. In production the list is longer."""
        refusals = []
        if self.jwt_secret is None and self.jwks_url is None:
            refusals.append("PAYMENTS_JWT_SECRET is not set (nor PAYMENTS_JWKS_URL): no token could be checked")
        return refusals + (self._production_refusals() if self.mode is Mode.PRODUCTION else [])

    def _production_refusals(self) -> list[str]:
        secret, midtrans = self.jwt_secret, self.midtrans
        refusals = []
        if secret is not None and len(secret.encode()) < JWT_SECRET_BYTES_MIN:
            refusals.append(f"PAYMENTS_JWT_SECRET is shorter than {JWT_SECRET_BYTES_MIN} bytes")
        if self.has_demo_key:
            refusals.append("a key was made by the demo; make your own")
        if urlsplit(self.public_url).scheme != "https":
            refusals.append("PAYMENTS_PUBLIC_URL is not https")
        refusals += _midtrans_refusals(midtrans) if midtrans else []
        return refusals + (_stripe_refusals(self.stripe) if self.stripe else [])


def _midtrans_refusals(midtrans: MidtransSettings) -> list[str]:
    refusals = []
    if midtrans.is_production and midtrans.server_key.startswith(SANDBOX_PREFIXES):
        refusals.append("MIDTRANS_IS_PRODUCTION is set with a sandbox key")
    if midtrans.is_production and (midtrans.snap_url or midtrans.api_url):
        refusals.append("MIDTRANS_IS_PRODUCTION is set with an overridden host")
    if any(_is_loopback(url) for url in (midtrans.snap_base, midtrans.api_base)):
        refusals.append("the host of Midtrans is on loopback: that is a simulator")
    return refusals


def _stripe_refusals(stripe: StripeSettings) -> list[str]:
    """A Stripe key says itself whether its money is real."""
    refusals = []
    if stripe.live is not True:
        refusals.append("STRIPE_SECRET_KEY is a test key: its money is not real")
    elif stripe.api_url is not None:
        refusals.append("STRIPE_SECRET_KEY is a live key with an overridden host")
    if not stripe.webhook_secrets:
        refusals.append("STRIPE_WEBHOOK_SECRET is not set: no event of Stripe could be verified")
    if _is_loopback(stripe.api_base):
        refusals.append("the host of Stripe is on loopback: that is a simulator")
    return refusals


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that cannot be
        return False


def _is_origin(value: str) -> bool:
    if not _is_url(value):
        return False
    parts = urlsplit(value)
    return value == f"{parts.scheme}://{parts.netloc}" and "@" not in value


def _is_loopback(url: str) -> bool:
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host in _LOCAL_NAMES or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return _is_short_loopback(host)
    inside = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped else address
    return inside.is_loopback or inside.is_unspecified


def _is_short_loopback(host: str) -> bool:
    """The old spellings the C library still takes: 127.1, 2130706433, 0x7f000001."""
    try:
        address = ip_address(inet_aton(host))
    except (OSError, ValueError):
        return False
    return address.is_loopback or address.is_unspecified


def _database(reader: "_Reader") -> str:
    given = reader.text("PAYMENTS_DATABASE_URL") or DATABASE_URL
    if problem := problem_of(given):
        reader.problem(f"PAYMENTS_DATABASE_URL {problem}")
    return given


def _frontend(reader: "_Reader") -> str:
    given = reader.url("FRONTEND_URL")
    return given or f"{reader.url('PAYMENTS_PUBLIC_URL') or _PUBLIC_URL}/shop"


def _return_origins(reader: "_Reader") -> tuple[str, ...]:
    """Compared as they are, so each is exactly what a browser calls an origin."""
    origins = tuple(origin.rstrip("/") for origin in reader.names("PAYMENTS_RETURN_ORIGINS"))
    if not all(map(_is_origin, origins)):
        reader.problem("PAYMENTS_RETURN_ORIGINS: each is an origin such as https://shop.example, without a path")
    return origins


def _history_keys(reader: "_Reader") -> tuple[str, ...]:
    """None is allowed, and told by `doctor` and `verify`; one that can be guessed would only look like a key."""
    keys = tuple(reader.names("PAYMENTS_HISTORY_KEY"))
    if any(len(key.encode()) < HISTORY_KEY_BYTES_MIN for key in keys):
        reader.problem(f"PAYMENTS_HISTORY_KEY: each key has at least {HISTORY_KEY_BYTES_MIN} bytes, none a comma")
    return keys


def _policy(reader: "_Reader") -> Policy:
    hold = reader.number("PAYMENTS_HOLD_MAX_HOURS", 72.0, lambda n: timedelta(hours=n))
    expiry = reader.number("PAYMENTS_EXPIRY_HOURS", 24.0, lambda n: timedelta(hours=n))
    if not PAGE_LEFT_MIN <= expiry <= min(_EXPIRY_MAX, hold):
        reader.problem("PAYMENTS_EXPIRY_HOURS is between 5 minutes and 7 days, and at most PAYMENTS_HOLD_MAX_HOURS")
    return Policy(
        expiry=expiry,
        hold_max=hold,
        late_payment=reader.word("PAYMENTS_LATE_PAYMENT", LatePayment, LatePayment.REOPEN_OR_REVIEW),
        poll=reader.number("PAYMENTS_POLL_SECONDS", 300.0, lambda n: timedelta(seconds=n)),
    )


def _midtrans(reader: "_Reader") -> MidtransSettings | None:
    server_key = reader.text("MIDTRANS_SERVER_KEY")
    values = {
        "is_production": reader.flag("MIDTRANS_IS_PRODUCTION"),
        "previous_key": reader.text("MIDTRANS_SERVER_KEY_PREVIOUS"),
        "merchant_id": reader.text("MIDTRANS_MERCHANT_ID"),
        "snap_url": reader.url("MIDTRANS_SNAP_URL"),
        "api_url": reader.url("MIDTRANS_API_URL"),
        "frontend_url": _frontend(reader),
        "confirm": reader.word("MIDTRANS_CONFIRM", Confirm, Confirm.ALWAYS),
        "timeout": _timeout(reader, "MIDTRANS_TIMEOUT_SECONDS"),
        "status_lag": reader.number(
            "MIDTRANS_STATUS_LAG_SECONDS", 600.0, lambda n: timedelta(seconds=n), zero_is_fine=True
        ),
        "threads": _threads(reader),
    }
    if server_key is None:
        return None
    if any(character.isspace() for character in server_key):
        reader.problem("MIDTRANS_SERVER_KEY holds a blank")
    return MidtransSettings(server_key=server_key, **values)  # type: ignore[arg-type]


def _stripe(reader: "_Reader") -> StripeSettings | None:
    secret_key, webhook_secrets = reader.text("STRIPE_SECRET_KEY"), tuple(reader.names("STRIPE_WEBHOOK_SECRET"))
    api_url, timeout = reader.url("STRIPE_API_URL"), _timeout(reader, "STRIPE_TIMEOUT_SECONDS")
    if secret_key is None:
        return None
    if any(character.isspace() for character in secret_key):
        reader.problem("STRIPE_SECRET_KEY holds a blank")
    if secret_key.startswith("pk_"):
        reader.problem("STRIPE_SECRET_KEY is the publishable key; the secret one begins with sk_ or rk_")
    return StripeSettings(
        secret_key=secret_key,
        webhook_secrets=webhook_secrets,
        api_url=api_url,
        frontend_url=_frontend(reader),
        timeout=timeout,
    )


def _manual(reader: "_Reader") -> ManualSettings | None:
    """Bank details switch it on; a secret that can be guessed would let anybody say that money arrived."""
    details, secrets = reader.text("PAYMENTS_MANUAL_BANK_DETAILS"), tuple(reader.names("PAYMENTS_MANUAL_SECRET"))
    if details is None:
        return None
    if not secrets or any(len(secret.encode()) < MANUAL_SECRET_BYTES_MIN for secret in secrets):
        reader.problem(
            f"PAYMENTS_MANUAL_SECRET: needed beside PAYMENTS_MANUAL_BANK_DETAILS, {MANUAL_SECRET_BYTES_MIN} bytes or "
            "more each; it signs an operator's word that a transfer arrived"
        )
    page_base = reader.url("PAYMENTS_PUBLIC_URL") or _PUBLIC_URL
    return ManualSettings(bank_details=details, secrets=secrets, page_base=page_base)


def _timeout(reader: "_Reader", name: str) -> timedelta:
    timeout = reader.number(name, 10.0, lambda n: timedelta(seconds=n))
    if timeout > GATEWAY_TIMEOUT_MAX:
        bound = GATEWAY_TIMEOUT_MAX.seconds
        reader.problem(f"{name} is at most {bound}: due work is leased for twice that")
    return timeout


def _drain(reader: "_Reader") -> timedelta:
    drain = reader.number("PAYMENTS_DRAIN_SECONDS", 0.0, lambda n: timedelta(seconds=n), zero_is_fine=True)
    if drain > _DRAIN_MAX:
        reader.problem(f"PAYMENTS_DRAIN_SECONDS is at most {_DRAIN_MAX.seconds}")
    return drain


def _limit(reader: "_Reader", gateway: str, usual: Allowance) -> Allowance:
    """What all processes together may ask of a gateway."""
    return Allowance(
        in_flight=reader.whole(f"{gateway.upper()}_CALLS_IN_FLIGHT", usual.in_flight, _CALLS_MAX),
        per_second=reader.whole(f"{gateway.upper()}_CALLS_PER_SECOND", usual.per_second, _CALLS_MAX),
    )


def _threads(reader: "_Reader") -> int:
    return reader.whole("MIDTRANS_THREADS", 512, _THREADS_MAX)


@attrs.define
class _Reader:
    """Reads values and remembers everything that is wrong with them."""

    environment: Mapping[str, str]
    problems: list[str] = attrs.field(factory=list)

    def problem(self, text: str) -> None:
        """Remember this; the same problem is told once."""
        if text not in self.problems:
            self.problems.append(text)

    def raise_problems(self) -> None:
        """Raise SettingsError when there is any problem."""
        if self.problems:
            raise SettingsError(self.problems)

    def text(self, name: str) -> str | None:
        """The value, None when it is absent or empty."""
        return self.environment.get(name, "").strip() or None

    def names(self, name: str) -> list[str]:
        """A comma-separated list."""
        return [part.strip() for part in (self.text(name) or "").split(",") if part.strip()]

    def url(self, name: str) -> str | None:
        """An http(s) URL without its last slash."""
        value = self.text(name)
        if value is None:
            return None
        if not _is_url(value):
            self.problem(f"{name} is not a URL that begins with https:// or http://")
        return value.rstrip("/")

    def flag(self, name: str, *, default: bool = False, words: str = "true or false") -> bool:
        """true or false; on and off do as well. `words` are those of the docs."""
        value = (self.text(name) or str(default)).lower()
        if value not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
            self.problem(f"{name} is {words}")
        return value in ("true", "1", "yes", "on")

    def whole(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to `most`."""
        number = self.number(name, float(default), lambda n: n)
        if not number.is_integer() or number > most:
            self.problem(f"{name} is a whole number up to {most}")
            return default
        return int(number)

    def word(self, name: str, words: type[Word], default: Word) -> Word:
        """One word of a closed list."""
        value = self.text(name)
        known = {word.value: word for word in words}
        if value is not None and value.lower() not in known:
            self.problem(f"{name} is one of {', '.join(known)}")
        return known.get((value or "").lower(), default)

    def number(self, name: str, default: float, make: Callable[[float], Value], *, zero_is_fine: bool = False) -> Value:
        """A number above zero, or zero where that is fine."""
        value = self.text(name)
        try:
            number = default if value is None else float(value)
        except ValueError:
            number = -1.0
        if not (0 < number < 1e6 or (zero_is_fine and number == 0)):  # noqa: PLR2004 - no setting is a million
            self.problem(f"{name} is a number {'from zero on' if zero_is_fine else 'above zero'}, below a million")
            number = default
        return make(number)
