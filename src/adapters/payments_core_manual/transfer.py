"""A transfer that an operator found on the bank statement: its bytes, its signature, its meaning.

The bytes are the notification. Whoever holds a secret may say that money arrived, so the signature covers all of it.
"""

import hmac
import json
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Self

import attrs

from payments_core.body import read_fields
from payments_core.errors import AmountNotRepresentable, MalformedNotification
from payments_core.money import Currency, Money
from payments_core.observations import Observation
from payments_core.states import Signal

__all__ = ["HEADER", "METHOD", "PROVIDER", "Transfer", "is_signed", "signature_of"]

PROVIDER = "manual"
METHOD = "manual_transfer"
HEADER = "manual-signature"
_TEXT_MAX = 128
_DIGEST_CHARS = 24


@attrs.frozen(kw_only=True)
class Transfer:
    """Money on our account. `bank_reference` is the bank's own name for the booking, which counts once."""

    provider_order_id: str
    amount: Money
    bank_reference: str
    confirmed_by: str
    received_at: datetime

    def __attrs_post_init__(self) -> None:
        for name in ("provider_order_id", "bank_reference", "confirmed_by"):
            if not 0 < len(getattr(self, name)) <= _TEXT_MAX:
                raise MalformedNotification(f"{name} has 1 to {_TEXT_MAX} characters")
        if self.amount.amount_minor <= 0:
            raise MalformedNotification("the amount is more than nothing")
        if self.received_at.tzinfo is None:
            raise MalformedNotification("received_at has a time zone")

    @property
    def booking(self) -> str:
        """The booking's name, the same whatever order it is said of; a digest, for a bank may write anything."""
        return sha256(self.bank_reference.strip().encode()).hexdigest()

    @property
    def transaction_id(self) -> str:
        """The charge's name; it begins with the order id, which says whose payment it is."""
        digest = sha256(f"{self.provider_order_id}\n{self.bank_reference}".encode()).hexdigest()
        return f"{self.provider_order_id}.{digest[:_DIGEST_CHARS]}"

    def to_bytes(self) -> bytes:
        """The notification's body."""
        fields = {
            "type": "transfer.received",
            "provider_order_id": self.provider_order_id,
            "amount": self.amount.major(),
            "currency": self.amount.currency.code,
            "bank_reference": self.bank_reference,
            "confirmed_by": self.confirmed_by,
            "received_at": self.received_at.isoformat(),
        }
        return json.dumps(fields, ensure_ascii=False).encode()

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The transfer these bytes speak of. Errors: MalformedNotification."""
        fields = read_fields(body)
        names = ("provider_order_id", "amount", "currency", "bank_reference", "confirmed_by", "received_at")
        texts = {name: fields.get(name) for name in names}
        if fields.get("type") != "transfer.received" or not all(isinstance(text, str) for text in texts.values()):
            raise MalformedNotification(f"a transfer has the texts {', '.join(names)}")
        try:
            return cls(
                provider_order_id=str(texts["provider_order_id"]),
                amount=Money.parse(str(texts["amount"]), Currency.of(str(texts["currency"]))),
                bank_reference=str(texts["bank_reference"]),
                confirmed_by=str(texts["confirmed_by"]),
                received_at=datetime.fromisoformat(str(texts["received_at"])),
            )
        except (AmountNotRepresentable, ValueError) as error:
            raise MalformedNotification(f"the transfer cannot be read: {error}") from error

    def observation(self) -> Observation:
        """What it means: the money is here, and no bank takes it back by itself."""
        return Observation(
            provider=PROVIDER,
            provider_order_id=self.provider_order_id,
            transaction_id=self.transaction_id,
            booking=self.booking,
            meaning=Signal.SETTLED,
            amount=self.amount,
            method=METHOD,
            occurred_at=self.received_at,
        )


def signature_of(body: bytes, secret: str) -> str:
    """HMAC-SHA256 over the whole body, in hex."""
    return hmac.new(secret.encode(), body, sha256).hexdigest()


def is_signed(body: bytes, signature: str, secrets: Iterable[str]) -> bool:
    """Whether one of the secrets made this signature; every one is tried, so time tells nothing."""
    given = signature.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(signature_of(body, secret).encode(), given) for secret in secrets]
    return any(matches)
