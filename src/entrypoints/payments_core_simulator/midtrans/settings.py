"""What the simulator is started with, and the switches a running one can be told to change."""

from typing import Literal

import attrs

from payments_core_simulator.stage import http_url

from .wire import Account

CoreErrors = Literal["http", "body"]
RepeatedRefundKey = Literal["replay", "406"]


def _usable_key(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if not value or value != value.strip() or ":" in value or not value.isascii():
        raise ValueError(f"{attribute.name} must be ASCII text without a colon and without blanks around it")


@attrs.frozen(kw_only=True)
class Settings:
    """One simulated merchant account. `base_url` is the origin that `redirect_url` points to."""

    # Never in a repr, so never in a log.
    server_key: str = attrs.field(validator=_usable_key, repr=False)
    base_url: str = attrs.field(validator=http_url)
    notify_url: str = attrs.field(default="", validator=http_url)
    merchant_id: str = "G000000000"
    # Whether 404, 406, 412 and 414 of the Core API are HTTP codes or travel inside HTTP 200; both have been seen.
    core_errors: CoreErrors = attrs.field(default="http", validator=attrs.validators.in_(("http", "body")))
    # What a used refund key gets: the first answer again, or 406; both are documented.
    repeated_refund_key: RepeatedRefundKey = attrs.field(
        default="replay", validator=attrs.validators.in_(("replay", "406"))
    )
    # Divides the intervals of the retry table; a fault plan may say another.
    notification_speed_up: float = attrs.field(default=1.0, validator=attrs.validators.ge(1.0))

    @property
    def account(self) -> Account:
        """Return the account that bodies speak for."""
        return Account(self.server_key, self.merchant_id)
