"""What the simulated Stripe is started with, and the switches a running one can be told to change."""

from typing import Annotated, Literal

import attrs
from msgspec import Meta

from payments_core_simulator.control_bodies import Body
from payments_core_simulator.stage import http_url

RefundStart = Literal["succeeded", "pending", "requires_action"]
DEFAULT_API_VERSION = "2026-10-28.endive"


def _test_key(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if not (
        value.startswith(("sk_test_", "rk_test_")) and value.isascii() and value.isprintable() and " " not in value
    ):
        raise ValueError(f"{attribute.name} must begin with sk_test_ or rk_test_: no real money moves here")


def _webhook_secrets(_: object, attribute: "attrs.Attribute[tuple[str, ...]]", value: tuple[str, ...]) -> None:
    if not all(secret.isascii() and secret.strip() for secret in value):
        raise ValueError(f"{attribute.name} must be ASCII texts")


@attrs.frozen(kw_only=True)
class Settings:
    """One simulated account. `base_url` is the origin that a session's `url` points to."""

    # Never in a repr, so never in a log.
    secret_key: str = attrs.field(validator=_test_key, repr=False)
    base_url: str = attrs.field(validator=http_url)
    notify_url: str = attrs.field(default="", validator=http_url)
    # Each signs every event, as while a secret is being rolled; none means events go out unsigned.
    webhook_secrets: tuple[str, ...] = attrs.field(default=(), validator=_webhook_secrets, repr=False)
    api_version: str = DEFAULT_API_VERSION
    # What a new refund is at first: cards are quick, bank methods are not.
    refunds: RefundStart = "succeeded"
    # Whether a released hold shows as `amount_refunded` on its charge; both have been reported.
    released_as_refund: bool = False
    # Tax that Stripe adds after creation: then `amount_total` is not what the merchant added up.
    tax_minor: int = 0
    # Divides the intervals of the retry table; a fault plan may say another.
    notification_speed_up: float = attrs.field(default=1.0, validator=attrs.validators.ge(1.0))

    @staticmethod
    def default_api_version() -> str:
        """Return the version of events unless another is wanted: that of the official Python SDK 16.1.0."""
        return DEFAULT_API_VERSION


class Switches(Body, frozen=True, kw_only=True):
    """Switches of the running simulator; absent ones stay."""

    # An empty text sends events nowhere.
    notify_url: Annotated[str, Meta(pattern="^(https?://.*)?$")] | None = None
    webhook_secrets: Annotated[tuple[Annotated[str, Meta(pattern="^[!-~]+$")], ...], Meta(max_length=5)] | None = None
    api_version: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    refunds: RefundStart | None = None
    released_as_refund: bool | None = None
    tax_minor: Annotated[int, Meta(ge=0, le=10**9)] | None = None

    def applied_to(self, settings: Settings) -> Settings:
        """Return the settings with the named switches thrown."""
        named = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return attrs.evolve(settings, **named)
