"""Refresh from the gateway: one idempotent question behind the return page, the status route and the operator's button.

It only asks and applies answers, so it may be done by anybody, at any time, twice, or not at all. A reader makes us ask
only about what is unknown, or about a page somebody is waiting on; at most once in a while for a payment over all
processes; and never waits for it longer than a bound.
"""

import asyncio
import logging
from collections import OrderedDict
from datetime import datetime, timedelta

import attrs

from payments_core.errors import NotFound, PaymentsError
from payments_core.limits import REFRESH_BOUND, REFRESH_EVERY, REFRESHES_MAX
from payments_core.operations import WISHES
from payments_core.payment import UNDER_WAY, AttemptState, Payment
from payments_core.ports import Turns
from payments_core.use_cases.apply_reading import AskGateway
from payments_core.use_cases.saving import Desk

__all__ = ["LocalTurns", "Refresh", "is_unsettled", "may_be_paid"]

log = logging.getLogger(__name__)


def is_unsettled(payment: Payment, now: datetime) -> bool:
    """Whether the outcome of something we asked for is unknown; always False of a payment at rest.

    A page somebody is opening this moment is not: he brings the answer himself.
    """
    page = payment.payable_attempt
    in_flight = page is not None and page.lease_until is not None and page.lease_until > now
    unsure = page is not None and not in_flight and (page.state is not AttemptState.OPEN or page.doubt is not None)
    return (
        unsure
        or any(charge.due in WISHES for charge in payment.charges)
        or any(refund.state in UNDER_WAY for refund in payment.refunds)
    )


def may_be_paid(payment: Payment) -> bool:
    """Whether the buyer may be paying this moment."""
    return payment.payable_attempt is not None or any(charge.is_live for charge in payment.charges)


class LocalTurns:
    """Turns within one process: the newest payments asked about, and when."""

    _KEPT_MAX = 10_000

    def __init__(self) -> None:
        self._taken: OrderedDict[str, datetime] = OrderedDict()

    async def take(self, payment_id: str, *, now: datetime, every: timedelta) -> bool:
        """Whether nobody in this process took the turn of this payment within `every`."""
        taken = self._taken.get(payment_id)
        if taken is not None and taken + every > now:
            return False
        self._taken[payment_id] = now
        self._taken.move_to_end(payment_id)
        if len(self._taken) > self._KEPT_MAX:
            self._taken.popitem(last=False)
        return True


@attrs.frozen
class Refresh:
    """Asks the gateway about a payment's page and every charge of it, and applies what it says."""

    desk: Desk
    ask: AskGateway
    turns: Turns
    _running: dict[str, "asyncio.Task[None]"] = attrs.field(factory=dict, init=False)

    async def __call__(self, payment_id: str, *, actor: str = "core") -> Payment:  # noqa: ARG002 - reading leaves no trace
        """The payment as the gateway shows it.

        Errors: NotFound, GatewayUnavailable, GatewayTimeout.
        """
        payment = await self.desk.look(payment_id)
        if payment is None:
            raise NotFound(f"no payment {payment_id}", code="no_payment")
        page = payment.payable_attempt or payment.last_attempt
        if page is not None:
            payment = await self.ask.page(payment_id, page) or payment
        for charge in payment.charges:
            payment = await self.ask.charge_now(payment, charge.transaction_id) or payment
        return payment

    async def for_reader(self, payment_id: str) -> bool:
        """Whether the gateway was asked by now, so that what is stored may be newer.

        False when it is not this reader's turn, when too much is on its way, or when the answer takes too long; then
        it is applied as soon as it comes. Nothing is raised: a reader gets what is stored.
        """
        running = self._running.get(payment_id)
        if running is None:
            if len(self._running) >= REFRESHES_MAX:
                return False
            running = asyncio.create_task(self._if_it_is_our_turn(payment_id))
            self._running[payment_id] = running
            running.add_done_callback(lambda _: self._running.pop(payment_id, None))
        done, _ = await asyncio.wait([running], timeout=REFRESH_BOUND.total_seconds())
        return bool(done)

    async def _if_it_is_our_turn(self, payment_id: str) -> None:
        try:
            if await self.turns.take(payment_id, now=self.desk.clock.now(), every=REFRESH_EVERY):
                await self(payment_id)
        except PaymentsError as error:
            log.info("payment %s could not be refreshed for a reader: %s", payment_id, error.code)
        except Exception:
            # A bug here must not keep anybody from reading what is stored.
            log.exception("payment %s could not be refreshed for a reader", payment_id)

    async def drain(self) -> None:
        """No question of a reader is on its way any more."""
        running = [*self._running.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
