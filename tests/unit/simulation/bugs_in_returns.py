"""Planted bugs about money on its way back: most of them the service once had, and a review found before a seed did."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from importlib import import_module
from typing import Any

import attrs
import pytest

from payments_core import consequences, decide, operations, returns
from payments_core.errors import GatewayError
from payments_core.observations import Observation
from payments_core.payment import UNDER_WAY, Attempt, Case, CaseDecision, Charge, Payment, Refund, RefundState
from payments_core.returns import refund_unanswered
from payments_core.use_cases import receive_notification, return_money
from payments_core.use_cases.return_money import ReturnMoney
from payments_core_manual import Transfer
from unit.simulation.bank import MANUAL
from unit.simulation.bugs import Bug

__all__ = ["BUGS_IN_RETURNS"]

BUGS_IN_RETURNS: list[Bug] = []

observe: Any = import_module("payments_core_midtrans.observe")


def bug(plant: Any) -> Any:
    """Adds it to the list, of worlds where most of what happens is that money goes back."""
    BUGS_IN_RETURNS.append(Bug(plant.__name__, plant, lambda plan: plan.gives_back))
    return plant


def bug_at_the_bank(plant: Any) -> Any:
    """Adds it to the list, of worlds with transfers."""
    BUGS_IN_RETURNS.append(Bug(plant.__name__, plant, lambda plan: MANUAL in plan.gateways))
    return plant


# ── whose refund it was ───────────────────────────────────────────────────────────────────────────────────────────────
@bug
def stranger_refund_taken_for_ours(patch: pytest.MonkeyPatch) -> None:
    """A total confirms a refund of ours that never left, though somebody had given as much back before."""

    def nothing(_rows: Sequence[Refund], _ours: Iterable[Refund]) -> int:
        return 0

    patch.setattr(returns, "_elsewhere", nothing)


@bug
def refund_not_sent_confirmed_by_a_total(patch: pytest.MonkeyPatch) -> None:
    """What waits to be sent is done, because somebody else gave as much back."""

    def under_way(rows: Iterable[Refund]) -> list[Refund]:
        return [refund for refund in rows if refund.state in UNDER_WAY]

    patch.setattr(returns, "_sent", under_way)


@bug
def refund_without_its_key_taken_for_another(patch: pytest.MonkeyPatch) -> None:
    """Midtrans' number of a refund is a name too, so the same refund has two and counts twice."""
    known_by_key = observe._known_by_key

    def by_number(entries: Iterable[dict[str, Any]], currency: Any) -> Any:
        named = [{**e, "refund_key": e.get("refund_key") or str(e["refund_chargeback_id"])} for e in entries]
        return known_by_key(named, currency)

    patch.setattr(observe, "_known_by_key", by_number)


# ── a bank that takes days ────────────────────────────────────────────────────────────────────────────────────────────
def _whatever_is_shown(patch: pytest.MonkeyPatch) -> None:
    """That the gateway lists it keeps nobody from sending it."""

    async def step(self: ReturnMoney, payment_id: str, key: str) -> Payment | None:
        payment = await self.desk.look(payment_id)
        refund = payment.refund(key) if payment else None
        if payment is None or refund is None or refund.state not in UNDER_WAY:
            return payment
        unanswered = partial(refund_unanswered, key=key, now=self.desk.clock.now())
        try:
            if refund.was_sent or refund.case is not None:
                payment = await self.ask.charge_now(payment, refund.transaction_id) or payment
            return await self._send(payment, key)
        except GatewayError:
            await self.desk.change(payment_id, unanswered, actor="core")
            raise

    patch.setattr(ReturnMoney, "step", step)


@bug
def refund_sent_again_while_it_is_shown(patch: pytest.MonkeyPatch) -> None:
    """A bank takes days for it; after a day, its key forgotten, the gateway makes another of it."""
    _whatever_is_shown(patch)
    patch.setattr(return_money, "_may_be_forgotten", lambda *_: False)


@bug
def refund_sent_again_under_a_forgotten_key(patch: pytest.MonkeyPatch) -> None:
    """Its first answer got lost; two days later the same key is that of another refund."""
    patch.setattr(return_money, "_may_be_forgotten", lambda *_: False)


@bug
def refund_refused_by_the_clock(patch: pytest.MonkeyPatch) -> None:
    """The window of its method ended while it was with a bank; somebody is asked to send it by hand as well."""
    _whatever_is_shown(patch)
    refund_ = ReturnMoney._refund

    async def refused(self: ReturnMoney, payment: Payment, refund: Refund, charge: Charge) -> Payment | None:
        traits, now = self._gateway_of(payment, charge.transaction_id).traits, self.desk.clock.now()
        if why := returns.why_not_refund(charge, refund.amount, traits, now):
            return await self._refuse(payment, refund, why, by_hand=refund.case is not None)
        return await refund_(self, payment, refund, charge)

    patch.setattr(ReturnMoney, "_refund", refused)


# ── two people who do not talk to each other ──────────────────────────────────────────────────────────────────────────
@bug
def money_on_its_way_back_pays(patch: pytest.MonkeyPatch) -> None:
    """One person returns it, another accepts it: the goods go out, and so does the money."""
    patch.setattr(consequences, "_is_leaving", lambda *_: False)
    patch.setattr(operations, "_refuse_while_under_way", lambda *_: None)


@bug
def only_the_case_that_asked_is_closed(patch: pytest.MonkeyPatch) -> None:
    """Money that is all back is still somebody's case, because another case had sent it, or the dashboard."""

    def its_own(payment: Payment, now: datetime) -> Payment:
        for case in payment.open_cases:
            done = (r for r in payment.refunds if r.case == case.number and r.state is RefundState.CONFIRMED)
            if (refund := next(done, None)) is not None:
                payment = payment.with_case(_returned(case, refund, now))
        return payment

    patch.setattr(returns, "close_returned_cases", its_own)
    patch.setattr(operations, "close_returned_cases", its_own)


def _returned(case: Case, refund: Refund, now: datetime) -> Case:
    return attrs.evolve(case, decision=CaseDecision.RETURN, decided_by=refund.by, decided_at=now, note=refund.reason)


@bug
def outcome_unknown_for_ever(patch: pytest.MonkeyPatch) -> None:
    """The gateway has told it long ago, and somebody is still asked to find out."""
    patch.setattr(consequences, "_close_what_is_known_now", lambda payment, _now: payment)


# ── bookings on a bank statement ──────────────────────────────────────────────────────────────────────────────────────
@bug_at_the_bank
def booking_counts_for_each_order_it_is_said_of(patch: pytest.MonkeyPatch) -> None:
    """Its name holds the reference of the page, so one line of the statement pays every order."""
    patch.setattr(Transfer, "booking", property(lambda transfer: transfer.transaction_id))


@bug_at_the_bank
def booking_said_again_counts_again(patch: pytest.MonkeyPatch) -> None:
    """Another person's word about it is another message, on whichever page of the order."""
    patch.setattr(Transfer, "booking", property(lambda transfer: transfer.to_bytes().hex()))
    patch.setattr(Transfer, "transaction_id", property(_named_by_all_of_it))


def _named_by_all_of_it(transfer: Transfer) -> str:
    return f"{transfer.provider_order_id}.{sha256(transfer.to_bytes()).hexdigest()[:24]}"


@bug_at_the_bank
def dead_page_takes_no_transfer(patch: pytest.MonkeyPatch) -> None:
    """A transfer for a page that is over is nobody's, because no page waits for it."""
    attempt_of = decide.attempt_of

    def waiting(payment: Payment, message: Observation) -> Attempt | None:
        attempt = attempt_of(payment, message)
        is_over = attempt is not None and not attempt.is_payable and payment.charge(message.transaction_id) is None
        return None if is_over and message.booking is not None else attempt

    for where in (decide, receive_notification):
        patch.setattr(where, "attempt_of", waiting)
