"""What an operator asks of one payment: capture, approve, deny, cancel, and the decision of a case."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

import attrs

from payments_core.errors import Conflict, GatewayError, GatewayRefused, NotFound
from payments_core.facts import Fact, stock_fact
from payments_core.money import Money
from payments_core.operations import (
    WISHES,
    accept_late_money,
    needs_its_stock,
    plan_capture,
    plan_decision,
    plan_review,
    wants_late_money,
    wish_refused,
    wish_unanswered,
)
from payments_core.orders import StockMove
from payments_core.pages import plan_cancel
from payments_core.payment import AttemptState, CaseDecision, Charge, ChargeDue, Payment
from payments_core.policy import Policy
from payments_core.ports import CaptureReply, Gateway, Refused
from payments_core.states import ChargeState
from payments_core.unknown import was_sent_enough
from payments_core.use_cases.apply_reading import AskGateway
from payments_core.use_cases.close import ClosePages
from payments_core.use_cases.return_money import ReturnMoney
from payments_core.use_cases.saving import Decided, Desk, again_if_stale

__all__ = ["OperatePayment"]


@attrs.frozen
class OperatePayment:
    """What an operator asks of one payment. Each is safe to repeat; a lost answer is resolved by asking."""

    desk: Desk
    gateways: Mapping[str, Gateway]
    policy: Policy
    ask: AskGateway
    closing: ClosePages
    returning: ReturnMoney

    async def capture(self, payment_id: str, amount: Money | None, *, actor: str) -> Payment:
        """The payment after its held money was taken, all of it unless less is named.

        Errors: NotFound; Conflict as `plan_capture`; GatewayRefused (the money is still held); GatewayUnavailable,
        GatewayTimeout (unknown: it is asked about; the same call again tries again).
        """
        payment = await self._found(payment_id)
        if amount is not None and (page := payment.last_attempt) is not None:
            self.gateways[page.provider].refuse_amount(amount)
        return await self._wish(payment_id, lambda p, now: plan_capture(p, amount, actor, now), actor)

    async def approve(self, payment_id: str, *, actor: str) -> Payment:
        """The payment after its charge under review was let through. Errors: as `capture`."""
        return await self._wish(payment_id, lambda p, now: plan_review(p, ChargeDue.APPROVE, actor, now), actor)

    async def deny(self, payment_id: str, *, actor: str) -> Payment:
        """The payment after its charge under review was refused. Errors: as `capture`."""
        return await self._wish(payment_id, lambda p, now: plan_review(p, ChargeDue.DENY, actor, now), actor)

    async def cancel(self, payment_id: str, *, actor: str) -> Payment:
        """The payment with its page closed or closing; held money is let go, captured money voided.

        Errors: NotFound; Conflict `already_settled`, and as `plan_refund`.
        """
        payment = await self._found(payment_id)
        kept = payment.keeping_charge
        if kept is not None:
            if kept.state is not ChargeState.CAPTURED:
                raise Conflict("the money has settled; refund it", code="already_settled")
            if kept.left_minor <= 0:
                return payment
            asked_as = f"cancel:{kept.transaction_id}"
            payment, _refund = await self.returning(payment_id, None, "cancelled", actor=actor, asked_as=asked_as)
            return payment
        now = self.desk.clock.now()
        payment = await self.desk.change(payment_id, lambda p: plan_cancel(p, actor, now), actor=actor) or payment
        page = payment.payable_attempt
        if page is None or page.state is not AttemptState.CLOSING:
            return payment
        return await self.closing.page(payment_id, page.number) or payment

    async def resolve(self, payment_id: str, number: int, decision: CaseDecision, note: str, *, actor: str) -> Payment:
        """The payment after a person decided one of its cases; a return goes on in the background.

        Errors: NotFound; Conflict as `plan_decision`, and `out_of_stock` when late money should pay after all.
        """
        return await again_if_stale(
            lambda: self._resolve(payment_id, number, decision, note, actor=actor), self.desk.clock
        )

    async def _resolve(self, payment_id: str, number: int, decision: CaseDecision, note: str, *, actor: str) -> Payment:
        now = self.desk.clock.now()
        async with self.desk.store.transaction() as uow:
            before = (await uow.payments.lock([payment_id])).get(payment_id)
            if before is None:
                raise NotFound(f"no payment {payment_id}", code="no_payment")
            also: tuple[Fact, ...] = ()
            if wants_late_money(before, number, decision):
                after = accept_late_money(before, number, note, actor, now)
                if needs_its_stock(before):
                    if not await uow.orders.reserve_again(before.order_id, now):
                        raise Conflict("the goods cannot be reserved any more", code="out_of_stock")
                    also = (stock_fact(StockMove.RESERVED),)
            else:
                deadline = now + self.policy.expiry
                after = plan_decision(before, number, decision, note, by=actor, now=now, deadline=deadline)
            return await self.desk.put_back(uow, Decided(before, after, also), actor=actor)

    # ── wishes ────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _wish(self, payment_id: str, plan: "Plan", actor: str) -> Payment:
        payment, charge, is_new = await again_if_stale(
            lambda: self._stored_wish(payment_id, plan, actor), self.desk.clock
        )
        return await self._carry_out(payment, charge.transaction_id, first=is_new)

    async def _stored_wish(self, payment_id: str, plan: "Plan", actor: str) -> tuple[Payment, Charge, bool]:
        """The payment with the wish stored, its charge, and whether this very call wished it."""
        now = self.desk.clock.now()
        async with self.desk.store.transaction() as uow:
            before = (await uow.payments.lock([payment_id])).get(payment_id)
            if before is None:
                raise NotFound(f"no payment {payment_id}", code="no_payment")
            after, charge = plan(before, now)
            return await self.desk.put_back(uow, Decided(before, after), actor=actor), charge, after is not before

    async def step(self, payment_id: str, transaction_id: str) -> Payment | None:
        """The payment after one step of a wish whose outcome is unknown: asked first, sent again if it did not happen.

        Errors: GatewayUnavailable, GatewayTimeout; then it is due again.
        """
        payment = await self.desk.look(payment_id)
        if payment is None:
            return None
        unanswered = partial(wish_unanswered, transaction_id=transaction_id, now=self.desk.clock.now())
        try:
            payment = await self.ask.charge_now(payment, transaction_id) or payment
        except GatewayError:
            await self.desk.change(payment_id, unanswered, actor="core")
            raise
        charge = payment.charge(transaction_id)
        if charge is None or charge.due not in WISHES:
            return payment
        now = self.desk.clock.now()
        if was_sent_enough(charge.asked_at or now, charge.checks, now):
            return await self.desk.change(payment_id, unanswered, actor="core")
        try:
            return await self._carry_out(payment, transaction_id, first=False)
        except GatewayRefused:
            return await self.desk.look(payment_id)

    async def _carry_out(self, payment: Payment, transaction_id: str, *, first: bool) -> Payment:
        """What is due of this charge was sent, and read.

        A refusal is the last word on the first try alone: a repeated one is refused when the first did it, also while
        no answer shows that. Once answers cannot lag behind the tries any more they say whether it did.
        """
        charge = payment.charge(transaction_id)
        if charge is None or charge.due not in WISHES:
            return payment
        payment_id = payment.payment_id
        unanswered = partial(wish_unanswered, transaction_id=transaction_id, now=self.desk.clock.now())
        try:
            reply = await self._send(payment, charge)
            asked_at = self.desk.clock.now()
            heard, answer = await self.ask.charge_heard(payment, transaction_id)
        except GatewayError:
            await self.desk.change(payment_id, unanswered, actor="core")
            raise
        payment = heard or payment
        is_known = answer is not None and asked_at >= (charge.asked_at or asked_at) + 2 * self._lag_of(payment, charge)
        if isinstance(reply, Refused) and (first or is_known):
            refused = partial(wish_refused, transaction_id=transaction_id)
            payment = await self.desk.change(payment_id, refused, actor="core") or payment
            if not _came_true(payment, charge):
                raise GatewayRefused("; ".join(reply.reasons) or "the gateway refused it")
        return await self.desk.change(payment_id, unanswered, actor="core") or payment

    def _lag_of(self, payment: Payment, charge: Charge) -> timedelta:
        """How old an answer may be. Twice that after the wish an answer shows every try but the last one, because the
        pauses between tries grow fivefold.
        """
        return self.gateways[payment.attempt(charge.attempt).provider].traits.status_lag

    async def _send(self, payment: Payment, charge: Charge) -> CaptureReply:
        gateway = self.gateways[payment.attempt(charge.attempt).provider]
        match charge.due:
            case ChargeDue.CAPTURE:
                minor = charge.authorized_minor if charge.capture_minor is None else charge.capture_minor
                return await gateway.capture(charge.transaction_id, Money(minor, charge.amount.currency))
            case ChargeDue.APPROVE:
                return await gateway.approve(charge.transaction_id)
            case _:
                return await gateway.deny(charge.transaction_id)

    async def _found(self, payment_id: str) -> Payment:
        payment = await self.desk.look(payment_id)
        if payment is None:
            raise NotFound(f"no payment {payment_id}", code="no_payment")
        return payment


Plan = Callable[[Payment, datetime], tuple[Payment, Charge]]


def _came_true(payment: Payment, wished: Charge) -> bool:
    """A repeated request is refused when the first one did it."""
    charge = payment.charge(wished.transaction_id)
    return charge is not None and charge.state is not wished.state
