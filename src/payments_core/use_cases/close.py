"""Closing a page: ask the gateway to end it, look, cancel what is pending, and believe it dead only when proved.

Every step is repeatable and leaves its intent behind: what we ask the gateway to cancel is stored before it is asked,
so an ending that we caused is never taken for one that happened.
"""

from collections.abc import Mapping

import attrs

from payments_core.errors import GatewayError
from payments_core.limits import CLOSE_ROUNDS_MAX, RETRY_SCHEDULE
from payments_core.pages import page_dead, proof_of_death, try_closing_again
from payments_core.payment import Attempt, AttemptState, Charge, CloseReason, Payment
from payments_core.ports import Gateway, PageClosing
from payments_core.states import ChargeState
from payments_core.use_cases.apply_reading import AskGateway
from payments_core.use_cases.saving import Desk

__all__ = ["ClosePages"]


@attrs.frozen
class _Seen:
    """What one round of closing found out."""

    payment: Payment
    token_gone: bool
    found: bool


@attrs.frozen
class ClosePages:
    """Takes pages, and single charges, to their proved end."""

    desk: Desk
    gateways: Mapping[str, Gateway]
    ask: AskGateway

    async def page(self, payment_id: str, number: int) -> Payment | None:
        """The payment after one step of closing this page: dead when that is proved, else due again.

        An unreachable gateway proves nothing: the page stays closing, and nothing is raised.
        """
        payment = await self.desk.look(payment_id)
        if payment is None or not self._is_due(payment.attempt(number)):
            return None
        try:
            seen = await self._rounds(payment, number)
        except GatewayError:
            return await self.desk.change(
                payment_id, lambda p: try_closing_again(p, number, self.desk.clock.now()), actor="core"
            )
        return await self.desk.change(payment_id, lambda p: self._judge(p, number, seen), actor="core")

    async def charge(self, payment_id: str, transaction_id: str) -> Payment | None:
        """The payment after one try to cancel this charge; due again until it has ended, or turned into money."""
        payment = await self.desk.look(payment_id)
        charge = payment.charge(transaction_id) if payment else None
        if payment is None or charge is None or not charge.is_live:
            return None
        gateway = self.gateways[payment.attempt(charge.attempt).provider]
        await gateway.cancel(transaction_id)
        return await self.ask.charge_now(payment, transaction_id, then=lambda p: self._later(p, transaction_id))

    def _is_due(self, page: Attempt) -> bool:
        """Not while its create is in flight: it could bring a page to life after we had seen it dead."""
        in_flight = page.lease_until is not None and page.lease_until > self.desk.clock.now()
        return page.state is AttemptState.CLOSING and not in_flight

    async def _rounds(self, payment: Payment, number: int) -> _Seen:
        seen = await self._look(payment, number)
        for _ in range(CLOSE_ROUNDS_MAX - 1):
            to_cancel = [c for c in seen.payment.charges_of(payment.attempt(number)) if _is_to_cancel(c, seen, number)]
            if not to_cancel and (seen.token_gone or payment.attempt(number).token is None):
                break
            await self._cancel(seen.payment, number, to_cancel)
            seen = await self._look(seen.payment, number)
        return seen

    async def _look(self, payment: Payment, number: int) -> _Seen:
        """The token first, then the transactions: whatever began before the token was gone is seen."""
        page = payment.attempt(number)
        gateway = self.gateways[page.provider]
        token_gone = page.token is not None and await gateway.close_page(page) is PageClosing.GONE
        heard, found = await self.ask.page_found(payment.payment_id, page)
        payment = heard or payment
        for charge in payment.charges_of(page):
            if charge.is_live:
                payment = await self.ask.charge_now(payment, charge.transaction_id) or payment
        return _Seen(payment, token_gone, found)

    async def _cancel(self, payment: Payment, number: int, charges: list[Charge]) -> None:
        """The wish is stored first, so that its result is not taken for the buyer's or the gateway's doing."""
        ids = [charge.transaction_id for charge in charges]
        await self.desk.change(payment.payment_id, lambda p: _with_cancel_asked(p, ids), actor="core")
        gateway = self.gateways[payment.attempt(number).provider]
        for transaction_id in ids:
            await gateway.cancel(transaction_id)

    def _judge(self, payment: Payment, number: int, seen: _Seen) -> Payment:
        now = self.desk.clock.now()
        page = payment.attempt(number)
        if page.state is not AttemptState.CLOSING:
            return payment
        proof = proof_of_death(payment, page, token_gone=seen.token_gone, found=seen.found, now=now)
        return page_dead(payment, number, proof, now) if proof else try_closing_again(payment, number, now)

    def _later(self, payment: Payment, transaction_id: str) -> Payment:
        charge = payment.charge(transaction_id)
        if charge is None or not charge.is_live:
            return payment
        pause = RETRY_SCHEDULE[min(charge.checks, len(RETRY_SCHEDULE) - 1)]
        due = attrs.evolve(charge, check_at=self.desk.clock.now() + pause, checks=charge.checks + 1)
        return payment.with_charge(due)


def _is_to_cancel(charge: Charge, seen: _Seen, number: int) -> bool:
    """Pending and held money always; a review is waited for when only time has run out."""
    if charge.state is ChargeState.CHALLENGED:
        return seen.payment.attempt(number).closing is not CloseReason.EXPIRED
    return charge.state in (ChargeState.PENDING, ChargeState.AUTHORIZED)


def _with_cancel_asked(payment: Payment, transaction_ids: list[str]) -> Payment:
    for charge in payment.charges:
        if charge.transaction_id in transaction_ids:
            payment = payment.with_charge(attrs.evolve(charge, cancel_asked=True))
    return payment
