"""Returning money: the wish is stored, sent under its key, then read; what got lost is asked for, never assumed."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

import attrs

from payments_core.errors import GatewayError, NotFound
from payments_core.money import Money
from payments_core.observations import RefundNews
from payments_core.payment import UNDER_WAY, Charge, Payment, Refund
from payments_core.policy import GatewayTraits
from payments_core.ports import Done, Gateway, KeyUsed, Refused, Waiting
from payments_core.returns import (
    plan_refund,
    refund_confirmed,
    refund_pending,
    refund_refused,
    refund_sent,
    refund_unanswered,
    why_not_refund,
)
from payments_core.states import ChargeState
from payments_core.unknown import was_sent_enough
from payments_core.use_cases.apply_reading import AskGateway
from payments_core.use_cases.saving import Decided, Desk, again_if_stale

__all__ = ["ReturnMoney"]

Decide = Callable[[Payment], Payment]


@attrs.frozen
class ReturnMoney:
    """Gives money back: voids what is captured, refunds what has settled.

    It is sent again only while the gateway does not show it, and would know its key: else it could be given twice.
    """

    desk: Desk
    gateways: Mapping[str, Gateway]
    ask: AskGateway

    async def __call__(
        self, payment_id: str, amount: Money | None, reason: str | None, *, actor: str, asked_as: str | None = None
    ) -> tuple[Payment, Refund]:
        """The payment and its refund after the first try; `amount` None is all that is left.

        A try whose answer got lost leaves the refund `unknown`: the sweep asks and sends again under the same key.
        `asked_as` names the request: the same request again finds its refund and sends nothing.
        Errors: NotFound `no_payment`; AmountNotRepresentable; Conflict and InvalidInput as `plan_refund`.
        """
        payment, refund, is_new = await again_if_stale(
            lambda: self._requested(payment_id, amount, reason, actor, asked_as), self.desk.clock
        )
        if not is_new:
            return payment, refund
        try:
            payment = await self.step(payment_id, refund.key) or payment
        except GatewayError:
            # Stored as unknown and due: the caller is told how it stands, not that it failed.
            payment = await self.desk.look(payment_id) or payment
        return payment, payment.refund(refund.key) or refund

    async def _requested(
        self, payment_id: str, amount: Money | None, reason: str | None, actor: str, asked_as: str | None
    ) -> tuple[Payment, Refund, bool]:
        """The payment with the refund stored, and whether this very request made it."""
        now = self.desk.clock.now()
        async with self.desk.store.transaction() as uow:
            before = (await uow.payments.lock([payment_id])).get(payment_id)
            if before is None:
                raise NotFound(f"no payment {payment_id}", code="no_payment")
            gateway = self._gateway_of(before, before.paid_by)
            if amount is not None:
                gateway.refuse_amount(amount)
            after, refund = plan_refund(
                before, amount=amount, reason=reason, by=actor, asked_as=asked_as, traits=gateway.traits, now=now
            )
            payment = await self.desk.put_back(uow, Decided(before, after), actor=actor)
            return payment, refund, after is not before

    async def step(self, payment_id: str, key: str) -> Payment | None:
        """The payment after one step of this refund: asked about if it may have happened, else sent.

        Errors: GatewayUnavailable, GatewayTimeout; then it is unknown, and due again.
        """
        payment = await self.desk.look(payment_id)
        refund = payment.refund(key) if payment else None
        if payment is None or refund is None or refund.state not in UNDER_WAY:
            return payment
        try:
            answer = None
            if refund.was_sent or refund.case is not None:
                heard, answer = await self.ask.charge_heard(payment, refund.transaction_id)
                payment = heard or payment
            told = next((told for told in answer.refunds if told.key == key), None) if answer is not None else None
            if told is not None:
                # Also an answer that was overtaken, and not applied, says that it is there, or done.
                heard_of = refund_confirmed if told.news is RefundNews.CONFIRMED else refund_pending
                return await self._change(payment, partial(heard_of, key=key, now=self.desk.clock.now()))
            return await self._send(payment, key)
        except GatewayError:
            await self.desk.change(
                payment_id, partial(refund_unanswered, key=key, now=self.desk.clock.now()), actor="core"
            )
            raise

    async def _send(self, payment: Payment, key: str) -> Payment | None:
        refund = payment.refund(key)
        charge = payment.charge(refund.transaction_id) if refund else None
        if refund is None or charge is None or refund.state not in UNDER_WAY:
            return payment
        now = self.desk.clock.now()
        if was_sent_enough(refund.at, refund.checks, now):
            return await self._change(payment, partial(refund_unanswered, key=key, now=now))
        match charge.state:
            case ChargeState.CAPTURED:
                return await self._void(payment, refund, charge)
            case ChargeState.SETTLED:
                return await self._refund(payment, refund, charge)
            case _ if not refund.was_sent:
                return await self._refuse(payment, refund, f"the charge is {charge.state.value}", by_hand=False)
            case _:  # it was sent while there was money, and may have happened
                return await self._change(payment, partial(refund_unanswered, key=key, now=self.desk.clock.now()))

    async def _void(self, payment: Payment, refund: Refund, charge: Charge) -> Payment | None:
        """The wish to cancel is stored first, so that its result is a refund and not a reversal."""
        now = self.desk.clock.now()

        def asked(p: Payment) -> Payment:
            known = p.charge(charge.transaction_id)
            sent = refund_sent(p, refund.key, now)
            return sent if known is None else sent.with_charge(attrs.evolve(known, cancel_asked=True))

        payment = await self._change(payment, asked) or payment
        await self._gateway_of(payment, charge.transaction_id).cancel(charge.transaction_id)
        return await self.ask.charge_now(payment, charge.transaction_id)

    async def _refund(self, payment: Payment, refund: Refund, charge: Charge) -> Payment | None:
        gateway, now = self._gateway_of(payment, charge.transaction_id), self.desk.clock.now()
        # What was sent is not refused by the clock: it may be done.
        if why := why_not_refund(charge, refund.amount, gateway.traits, refund.at if refund.was_sent else now):
            return await self._refuse(payment, refund, why, by_hand=refund.case is not None)
        if _may_be_forgotten(refund, gateway.traits, now):
            return await self._change(payment, partial(refund_unanswered, key=refund.key, now=now))
        payment = await self._change(payment, partial(refund_sent, key=refund.key, now=now)) or payment
        sent = payment.refund(refund.key)
        if sent is None or sent.state not in UNDER_WAY:
            return payment  # somebody else who was sending it has its answer by now
        # As it was stored: somebody else may have sent it since it was looked at.
        first = not refund.was_sent and sent.checks == refund.checks + 1
        reply = await gateway.refund(refund)
        match reply:
            case Done():
                confirmed = partial(refund_confirmed, key=refund.key, now=self.desk.clock.now())
                return await self._change(payment, confirmed)
            case Refused(reasons) if first:
                why = "; ".join(reasons) or "the gateway refused it"
                return await self._refuse(payment, sent, why, by_hand=refund.case is not None)
            case Refused() | Waiting() | KeyUsed():
                # A refusal of a repeated request may only mean that the first one was done: the gateway is asked.
                return await self.ask.charge_now(payment, charge.transaction_id)

    async def _refuse(self, payment: Payment, refund: Refund, why: str, *, by_hand: bool) -> Payment | None:
        """Unless it was sent once more since: that one may be done, so it stays as it is, and is asked about."""
        now = self.desk.clock.now()

        def refused(p: Payment) -> Payment:
            known = p.refund(refund.key)
            sent_again = known is not None and known.checks != refund.checks
            return p if sent_again else refund_refused(p, refund.key, why, by_hand, now)

        return await self._change(payment, refused)

    async def _change(self, payment: Payment, decide: Decide) -> Payment | None:
        return await self.desk.change(payment.payment_id, decide, actor="core")

    def _gateway_of(self, payment: Payment, transaction_id: str | None) -> Gateway:
        charge = payment.charge(transaction_id or "")
        attempt = payment.attempt(charge.attempt) if charge else payment.attempts[-1]
        return self.gateways[attempt.provider]


def _may_be_forgotten(refund: Refund, traits: GatewayTraits, now: datetime) -> bool:
    """Whether the gateway, by the time it would get the key again, takes it for that of another refund."""
    life = traits.refund_key_life
    return life is not None and refund.was_sent and now + traits.timeout >= refund.at + life
