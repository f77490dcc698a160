"""Closing a page: ask the gateway to end it, look, cancel what is pending, and believe it dead only when proved.

Every step is repeatable and leaves its intent behind: what we ask the gateway to cancel is stored before it is asked,
so an ending that we caused is never taken for one that happened.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import partial

import attrs

from payments_core.errors import GatewayError
from payments_core.limits import CLOSE_ROUNDS_MAX, PAGE_LEFT_MIN, RETRY_SCHEDULE
from payments_core.observations import Observation, Unknown
from payments_core.pages import (
    cannot_be_proved,
    closing_unanswered,
    is_overtaken,
    may_outlast_lease,
    page_dead,
    page_taken,
    proof_of_death,
    take_lease,
    try_closing_again,
)
from payments_core.payment import Attempt, AttemptState, Charge, CloseReason, Payment
from payments_core.ports import Gateway, PageClosing, PageOpened, PageRefused, PageTaken
from payments_core.states import ChargeState
from payments_core.use_cases.apply_reading import AskGateway
from payments_core.use_cases.saving import Desk

__all__ = ["ClosePages"]


@attrs.frozen
class _Seen:
    """What one round of closing found out.

    `token_gone` is the token the gateway called gone; `unplaced` is a transaction it shows and we cannot place.
    """

    payment: Payment
    token_gone: str | None
    unplaced: str | None = None


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
        asked_at, leased = self.desk.clock.now(), None
        try:
            if self._needs_a_token(payment.attempt(number)):
                leased = await self._leased(payment_id, number)
                if leased is None:
                    return payment
                payment = await self._with_a_token(payment, leased)
            seen = await self._rounds(payment, number)
        except GatewayError:
            unanswered = partial(closing_unanswered, number=number, sent=leased, now=self.desk.clock.now())
            return await self.desk.change(payment_id, unanswered, actor="core")
        return await self.desk.change(payment_id, lambda p: self._judge(p, number, seen, asked_at), actor="core")

    async def charge(self, payment_id: str, transaction_id: str) -> Payment | None:
        """The payment after one try to cancel this charge; due again until it has ended, or turned into money."""
        payment = await self.desk.look(payment_id)
        charge = payment.charge(transaction_id) if payment else None
        if payment is None or charge is None or not charge.is_live:
            return None  # `follow` has cleared what was due
        gateway = self.gateways[payment.attempt(charge.attempt).provider]
        await gateway.cancel(transaction_id)
        return await self.ask.charge_now(payment, transaction_id, then=lambda p: self._later(p, transaction_id))

    def _is_due(self, page: Attempt) -> bool:
        """Not while its create is in flight: it could bring a page to life after we had seen it dead."""
        in_flight = page.lease_until is not None and page.lease_until > self.desk.clock.now()
        return page.state is AttemptState.CLOSING and not in_flight

    def _needs_a_token(self, page: Attempt) -> bool:
        too_late = page.ends_at - self.desk.clock.now() < PAGE_LEFT_MIN
        return page.token is None and page.request is not None and not too_late

    async def _with_a_token(self, payment: Payment, leased: Attempt) -> Payment:
        """A page whose create was never answered is created once more, under the same id, to have a token to cancel.

        An answer that was stored so late that somebody else has the lease tells nothing: his will.
        """
        number, gateway = leased.number, self.gateways[leased.provider]
        reply, now = await gateway.open_page(leased), self.desk.clock.now()

        def told(p: Payment) -> Payment:
            if is_overtaken(p, leased):
                return p
            match reply:
                case PageOpened(token, url):
                    return p.with_attempt(attrs.evolve(p.attempt(number), token=token, url=url, lease_until=None))
                case PageTaken():
                    return page_taken(p, number, now)
                case PageRefused():
                    return page_dead(p, number, "refused", now)

        return await self.desk.change(payment.payment_id, told, actor=f"gateway:{leased.provider}") or payment

    async def _leased(self, payment_id: str, number: int) -> Attempt | None:
        """The page, its create ours alone; None when somebody else creates it, or it is not to be created any more.

        Leased as an opening is: of two creates at once nobody knows which token is the newest, and the older one is
        gone while its page lives.
        """
        ours: list[Attempt] = []

        def lease(p: Payment) -> Payment:
            ours.clear()  # it is run again after a lost race
            page = p.attempt(number)
            if not self._needs_a_token(page) or not self._is_due(page):
                return p
            taken = take_lease(p, page, self.gateways[page.provider].traits, self.desk.clock.now())
            ours.append(taken.attempt)
            return taken.payment

        await self.desk.change(payment_id, lease, actor="core")
        for leased in ours:
            if not may_outlast_lease(leased, self.gateways[leased.provider].traits, self.desk.clock.now()):
                return leased
        return None

    async def _rounds(self, payment: Payment, number: int) -> _Seen:
        seen = await self._look(payment, number)
        for _ in range(CLOSE_ROUNDS_MAX - 1):
            to_cancel = [c for c in seen.payment.charges_of(payment.attempt(number)) if _is_to_cancel(c, seen, number)]
            if not to_cancel and seen.token_gone == payment.attempt(number).token:
                break
            await self._cancel(seen.payment, number, to_cancel)
            seen = await self._look(seen.payment, number)
        return await self._every_other(seen, number)

    async def _every_other(self, seen: _Seen, number: int) -> _Seen:
        """Before a page is called dead every transaction we know of is asked about: one may have turned into money."""
        charges = seen.payment.charges_of(seen.payment.attempt(number))
        if seen.unplaced is not None or any(charge.is_live or charge.has_money for charge in charges):
            return seen
        for charge in charges:
            seen = await self._hear(seen, charge.transaction_id)
        return seen

    async def _look(self, payment: Payment, number: int) -> _Seen:
        """The token first, then the transactions: whatever began before the token was gone is seen."""
        page = payment.attempt(number)
        gateway = self.gateways[page.provider]
        is_gone = page.token is not None and await gateway.close_page(page) is PageClosing.GONE
        token_gone = page.token if is_gone else None
        heard, answer = await self.ask.page_heard(payment.payment_id, page)
        seen = _Seen(heard or payment, token_gone, _unplaced(heard or payment, answer))
        for charge in seen.payment.charges_of(page):
            if charge.is_live:
                seen = await self._hear(seen, charge.transaction_id)
        return seen

    async def _hear(self, seen: _Seen, transaction_id: str) -> _Seen:
        heard, answer = await self.ask.charge_heard(seen.payment, transaction_id)
        payment = heard or seen.payment
        return attrs.evolve(seen, payment=payment, unplaced=seen.unplaced or _unplaced(payment, answer))

    async def _cancel(self, payment: Payment, number: int, charges: list[Charge]) -> None:
        """The wish is stored first, so that its result is not taken for the buyer's or the gateway's doing."""
        ids = [charge.transaction_id for charge in charges]
        await self.desk.change(payment.payment_id, lambda p: _with_cancel_asked(p, ids), actor="core")
        gateway = self.gateways[payment.attempt(number).provider]
        for transaction_id in ids:
            await gateway.cancel(transaction_id)

    def _judge(self, payment: Payment, number: int, seen: _Seen, asked_at: datetime) -> Payment:
        now = self.desk.clock.now()
        page = payment.attempt(number)
        if not self._is_due(page):
            return payment
        if seen.unplaced is not None:
            return cannot_be_proved(payment, number, seen.unplaced, now)
        # Another closing at the same time may have made a newer token: that one is not proved gone.
        is_gone = seen.token_gone is not None and seen.token_gone == page.token
        proof = proof_of_death(payment, page, token_gone=is_gone, asked_at=asked_at)
        return page_dead(payment, number, proof, now) if proof else try_closing_again(payment, number, now)

    def _later(self, payment: Payment, transaction_id: str) -> Payment:
        charge = payment.charge(transaction_id)
        if charge is None or not charge.is_live:
            return payment
        pause = RETRY_SCHEDULE[min(charge.checks, len(RETRY_SCHEDULE) - 1)]
        due = attrs.evolve(charge, check_at=self.desk.clock.now() + pause, checks=charge.checks + 1)
        return payment.with_charge(due)


def _unplaced(payment: Payment, answer: Observation | None) -> str | None:
    """The transaction of an answer whose state we cannot know: an unknown word, or a charge that was not recorded."""
    if answer is None or not answer.transaction_id:
        return None
    known = payment.charge(answer.transaction_id) is not None
    return None if known and not isinstance(answer.meaning, Unknown) else answer.transaction_id


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
