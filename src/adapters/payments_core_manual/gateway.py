"""The `Gateway` port for bank transfers that an operator confirms.

Nobody else can be asked: what was confirmed is what is stored, so a reading is a look at our own notifications.
That makes the end of a page provable by us alone. Only a confirmation can pay, and it passes through the same accept
path, under the same lock, as the decision that the page is over; whichever is first, the other one sees it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from payments_core.errors import NotAuthentic
from payments_core.identity import read_provider_order_id
from payments_core.money import Money
from payments_core.observations import Observation
from payments_core.orders import Order
from payments_core.payment import Attempt, Refund
from payments_core.policy import GatewayTraits
from payments_core.ports import (
    CaptureReply,
    Genuine,
    PageClosing,
    PageOpened,
    PageReply,
    RefundReply,
    Refused,
)
from payments_core_manual.settings import ManualSettings
from payments_core_manual.transfer import HEADER, PROVIDER, Transfer, is_signed

__all__ = ["Confirmations", "ManualGateway"]

_BY_HAND = "a bank transfer goes back by hand"
_NO_HOLD = "a bank transfer is there or it is not: nothing is held, and nothing reviewed"


class Confirmations(Protocol):
    """What operators confirmed, as it was stored."""

    async def of(self, payment_id: str) -> Sequence[bytes]:
        """The bodies of the payment's confirmations, oldest first, without those of money that had counted before.

        Errors: StorageUnavailable.
        """


class ManualGateway:
    """Bank transfers as a payment provider; needs no network, and owns nothing that has to be closed."""

    name = PROVIDER

    def __init__(self, settings: ManualSettings, confirmations: Confirmations) -> None:
        self._settings = settings
        self._confirmations = confirmations

    def __repr__(self) -> str:
        return f"ManualGateway({self._settings!r})"

    @property
    def traits(self) -> GatewayTraits:
        """Signed whole, given back by hand."""
        return self._settings.traits

    # ── an operator's word ────────────────────────────────────────────────────────────────────────────────────────
    def authenticate(self, body: bytes, headers: Mapping[str, str]) -> Genuine:
        """What the bytes say, once it is proved that somebody with our secret said it; one booking counts once.

        Errors: MalformedNotification, NotAuthentic.
        """
        signature = next((value for name, value in headers.items() if name.lower() == HEADER), "")
        if not is_signed(body, signature, self._settings.secrets):
            raise NotAuthentic("Manual-Signature is wrong or absent")
        transfer = Transfer.read(body)
        return Genuine(transfer.observation(), transfer.booking)

    def observe(self, body: bytes) -> Observation:
        """What a stored confirmation says."""
        return Transfer.read(body).observation()

    # ── amounts ───────────────────────────────────────────────────────────────────────────────────────────────────
    def refuse_unsayable(self, order: Order) -> None:
        """A bank can say every amount."""

    def refuse_amount(self, amount: Money) -> None:
        """A bank can say every amount."""

    # ── the page, which is ours ───────────────────────────────────────────────────────────────────────────────────
    def page_request(self, order: Order, attempt: Attempt) -> str:
        """What the page will ask for; nothing is sent anywhere."""
        amount = attempt.amount
        asked = {"amount": amount.major(), "currency": amount.currency.code, "order_id": order.order_id}
        return json.dumps({"reference": attempt.provider_order_id, **asked})

    async def open_page(self, attempt: Attempt) -> PageReply:
        """Always the same page: its address holds the reference, which cannot be guessed."""
        reference = attempt.provider_order_id
        return PageOpened(reference, f"{self._settings.page_base}/transfer/{reference}")

    async def close_page(self, attempt: Attempt) -> PageClosing:  # noqa: ARG002 - the decision is the core's, and stored
        """It is over because we say so: the page shows what is stored, and nobody else keeps one."""
        return PageClosing.GONE

    # ── readings ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def read(self, transaction_id: str) -> Observation | None:
        """The confirmation of this booking, if there is one."""
        seen = await self._seen(transaction_id.partition(".")[0])
        return next((one for one in seen if one.transaction_id == transaction_id), None)

    async def read_page(self, attempt: Attempt) -> Observation | None:
        """The newest confirmation for this page."""
        seen = await self._seen(attempt.provider_order_id)
        return seen[-1] if seen else None

    async def _seen(self, reference: str) -> list[Observation]:
        named = read_provider_order_id(reference)
        bodies = await self._confirmations.of(named.payment_id) if named else ()
        said = [self.observe(body) for body in bodies]
        return [one for one in said if one.provider_order_id == reference]

    # ── money ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def cancel(self, transaction_id: str) -> None:
        """A booked transfer is never undone by asking; the reading tells that it is still there."""

    async def capture(self, transaction_id: str, amount: Money) -> CaptureReply:  # noqa: ARG002 - the port's arguments
        """Refused: nothing is ever held."""
        return Refused((_NO_HOLD,))

    async def approve(self, transaction_id: str) -> CaptureReply:  # noqa: ARG002 - the port's argument
        """Refused: nothing is ever reviewed."""
        return Refused((_NO_HOLD,))

    async def deny(self, transaction_id: str) -> CaptureReply:  # noqa: ARG002 - the port's argument
        """Refused: nothing is ever reviewed."""
        return Refused((_NO_HOLD,))

    async def refund(self, refund: Refund) -> RefundReply:  # noqa: ARG002 - the port's argument
        """Refused: an operator sends it back, and closes the case with the reference of that transfer."""
        return Refused((_BY_HAND,))
