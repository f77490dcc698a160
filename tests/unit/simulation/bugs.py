"""Bugs that a tired person could write, planted one at a time; each must be found, or the green run proves nothing."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

import attrs
import pytest

from payments_core import charges, consequences, decide, pages, returns, settling
from payments_core.consequences import begin_closing, open_case
from payments_core.decide import Verdict
from payments_core.observations import Observation
from payments_core.orders import StockMove
from payments_core.payment import Attempt, AttemptState, Charge, CloseReason, Payment, RefundState
from payments_core.ports import Change, Kept, Notification, NotificationKey, OrderEffect
from payments_core.states import CaseKind, ChargeState, Move
from payments_core.use_cases import apply_reading, close, receive_notification, return_money, saving, sweep
from payments_core_app.batcher import Batcher
from unit.simulation.network import PROVIDER
from unit.simulation.store import SimulatedStore, _UnitInbox, _UnitOrders, _UnitPayments
from unit.simulation.workload import Plan
from unit.simulation.world import Parts

__all__ = ["BUGS", "Bug"]

Plant = Callable[[pytest.MonkeyPatch], Parts | None]


@attrs.frozen
class Bug:
    """One planted bug."""

    name: str
    plant: Plant
    where: Callable[[Plan], bool] = lambda _plan: True
    """The worlds it can show in at all: the others are not lived through to look for it."""


BUGS: list[Bug] = []


def bug(plant: Plant) -> Plant:
    """Adds it to the list."""
    BUGS.append(Bug(plant.__name__, plant))
    return plant


def bug_where(where: Callable[[Plan], bool]) -> Callable[[Plant], Plant]:
    """Adds it to the list, of bugs that not every world can show."""

    def add(plant: Plant) -> Plant:
        BUGS.append(Bug(plant.__name__, plant, where))
        return plant

    return add


# ── the store and its transactions ────────────────────────────────────────────────────────────────────────────────────
@bug
def no_version_check_and_no_lock(_patch: pytest.MonkeyPatch) -> Parts:
    """UPDATE without `WHERE version = ?`, SELECT without FOR UPDATE."""

    class Payments(_UnitPayments):
        async def lock(self, payment_ids: Collection[str]) -> dict[str, Payment]:
            return await self.load(payment_ids)

        async def _save(self, change: Change) -> Payment:
            stored = attrs.evolve(change.after, version=(change.before.version if change.before else 0) + 1)
            self.unit.rewrite(stored.payment_id, lambda _current: stored)
            self.publish(stored.payment_id, change.events)
            return stored

    class Store(SimulatedStore):
        payments_type = Payments

    return Parts(store=Store)


@bug_where(lambda plan: "repeat" in plan.troubles)
def no_dedupe(_patch: pytest.MonkeyPatch) -> Parts:
    """Every delivery is taken for the first."""

    class Inbox(_UnitInbox):
        async def lock(self, keys: Collection[NotificationKey]) -> list[Kept]:
            return [attrs.evolve(item, fresh=True, verdict=Verdict.STALE) for item in await super().lock(keys)]

    class Store(SimulatedStore):
        inbox_type = Inbox

    return Parts(store=Store)


@bug
def stock_released_twice(patch: pytest.MonkeyPatch) -> Parts:
    """Units go back whenever an order is given up, whatever became of them before."""

    class Orders(_UnitOrders):
        async def apply(self, effects: Sequence[OrderEffect]) -> dict[str, StockMove]:
            moved = await super().apply(effects)
            for effect in effects:
                if effect.status.value == "cancelled" and effect.order_id not in moved:
                    for sku, units in self.orders[effect.order_id].tracked_units().items():
                        self.available[sku] += units
            return moved

    def every_time(before: Payment | None, after: Payment) -> OrderEffect | None:
        effect = order_effect(before, after)
        if effect is None and after.closed is not None and after.paid_by is None:
            return OrderEffect(after.order_id, settling.order_status(after), None)
        return effect

    order_effect = saving.order_effect
    patch.setattr(saving, "order_effect", every_time)

    class Store(SimulatedStore):
        orders_type = Orders

    return Parts(store=Store)


@bug
def answered_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """2xx first, then the database: fast, and wrong when the process dies."""
    submit = Batcher.submit

    async def at_once(self: Batcher, notification: Notification) -> Any:
        asyncio.get_running_loop().create_task(_hushed(submit(self, notification)))

    patch.setattr(Batcher, "submit", at_once)


async def _hushed(work: Any) -> None:
    with contextlib.suppress(Exception):
        await work


@bug
def errand_done_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """The refund is sent while the row that asks for it is not durable yet."""
    plan_refund = return_money.plan_refund

    async def call(self: Any, payment_id: str, amount: Any, reason: Any, *, actor: str, asked_as: Any = None) -> Any:
        payment = await self.desk.look(payment_id)
        if payment is not None and payment.paid_by is not None:
            gateway = self._gateway_of(payment, payment.paid_by)
            _, refund = plan_refund(
                payment, amount=amount, by=actor, asked_as=asked_as, traits=gateway.traits, now=self.desk.clock.now()
            )
            if refund.state is RefundState.REQUESTED:
                await gateway.refund(refund)
        return await original(self, payment_id, amount, reason, actor=actor, asked_as=asked_as)

    original = return_money.ReturnMoney.__call__
    patch.setattr(return_money.ReturnMoney, "__call__", call)


@bug
def lease_ignored(patch: pytest.MonkeyPatch) -> None:
    """A click does not look whether somebody is opening the page right now."""
    plan = pages._plan_on_page

    def careless(payment: Payment, page: Attempt, *rest: Any) -> Any:
        return plan(payment, attrs.evolve(page, lease_until=None), *rest)

    patch.setattr(pages, "_plan_on_page", careless)


# ── hints and readings ────────────────────────────────────────────────────────────────────────────────────────────────
@bug
def last_message_wins(patch: pytest.MonkeyPatch) -> None:
    """Whatever is said is believed, as a tutorial does."""
    patch.setattr(decide, "hint_rule", lambda _state, signal, _confirm: Move(ChargeState(signal.value)))


@bug
def repeated_waiting_hint_dropped(patch: pytest.MonkeyPatch) -> None:
    """Heard before, so it is done with; and a hint a reading was behind is not asked about again."""
    patch.setattr(receive_notification, "_LOOKED_AT_AGAIN", frozenset[Any]())
    patch.setattr(apply_reading, "_ask_again", lambda kept, _now, **_: attrs.evolve(kept, check_at=None))


@bug
def question_in_flight_joined(patch: pytest.MonkeyPatch) -> None:
    """An answer serves every waiting hint, also those that came after the question had left."""
    answer = apply_reading._answer_hints

    def joining(gateway: Any, payment: Any, waiting: Any, reading: Any, now: Any) -> Any:
        return answer(gateway, payment, waiting, attrs.evolve(reading, number=10**9), now)

    patch.setattr(apply_reading, "_answer_hints", joining)
    patch.setattr(apply_reading, "still_wants", lambda *_: False)


@bug_where(lambda plan: "lag" in plan.troubles and PROVIDER in plan.gateways)
def recheck_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A surprising answer is not asked about once more after the lag."""
    patch.setattr(decide, "_recheck", lambda charge, _at: charge)


@bug
def hint_not_asked_again_within_the_lag(patch: pytest.MonkeyPatch) -> None:
    """The first answer that does not bear a hint out refutes it."""

    def at_once(kept: Kept, _now: datetime, **_: Any) -> Kept:
        return attrs.evolve(kept, verdict=Verdict.REFUTED, check_at=None)

    patch.setattr(apply_reading, "_ask_again", at_once)


@bug
def refunds_added_up_instead_of_totals(patch: pytest.MonkeyPatch) -> None:
    """A total is taken for an increment."""

    def adding(charge: Charge, message: Observation, _captured_minor: int) -> int:
        return charge.refunded_minor + (message.refunded.amount_minor if message.refunded else 0)

    patch.setattr(charges, "_refunded", adding)


# ── time-outs ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@bug
def refund_failed_on_a_time_out(patch: pytest.MonkeyPatch) -> None:
    """No answer is taken for a no."""

    def failed(payment: Payment, key: str, now: datetime) -> Payment:
        return returns.refund_refused(payment, key, "no answer", False, now)

    patch.setattr(return_money, "refund_unanswered", failed)


@bug
def page_failed_on_a_time_out(patch: pytest.MonkeyPatch) -> None:
    """No answer to a create or to a close is taken for a dead page."""

    def dead(payment: Payment, number: int, now: datetime) -> Payment:
        return pages.page_dead(payment, number, "no answer", now)

    patch.setattr(close, "try_closing_again", dead)


@bug
def refund_under_a_new_key_after_a_lost_answer(patch: pytest.MonkeyPatch) -> None:
    """Each try is a request of its own to the gateway."""

    def renewed(payment: Payment, key: str, now: datetime) -> Payment:
        refund = payment.refund(key)
        if refund is None or refund.state not in returns.UNDER_WAY:
            return payment
        new = f"{payment.payment_id}-r{len(payment.refunds) + 1}"
        again = attrs.evolve(refund, key=new, state=RefundState.REQUESTED, check_at=now, checks=0)
        return payment.with_refund(attrs.evolve(refund, state=RefundState.REFUSED, check_at=None)).with_refund(again)

    patch.setattr(return_money, "refund_unanswered", renewed)


@bug
def page_proved_dead_by_404_alone(patch: pytest.MonkeyPatch) -> None:
    """The status call knows nothing of the order id, so there is no page."""

    def proof(payment: Payment, page: Attempt, *, token_gone: bool, asked_at: datetime) -> str | None:
        if not payment.charges_of(page):
            return "not found"
        return judged(payment, page, token_gone=token_gone, asked_at=asked_at)

    judged = close.proof_of_death
    patch.setattr(close, "proof_of_death", proof)


@bug
def page_dead_by_our_clock(patch: pytest.MonkeyPatch) -> None:
    """At its deadline a page is simply over."""

    def over(payment: Payment, _policy: Any, now: datetime) -> Payment:
        page = payment.payable_attempt
        if page is None or payment.paid_by is not None:
            return attrs.evolve(payment, deadline_at=None)
        page = begin_closing(page, CloseReason.EXPIRED, "deadline", now)
        return pages.page_dead(attrs.evolve(payment.with_attempt(page), deadline_at=None), page.number, "time", now)

    patch.setattr(sweep, "plan_deadline", over)


# ── what follows from money ───────────────────────────────────────────────────────────────────────────────────────────
@bug
def decline_kills_the_page(patch: pytest.MonkeyPatch) -> None:
    """A declined card ends the page, and the order with it."""
    follow = decide.follow

    def killing(payment: Payment, now: datetime) -> Payment:
        page = payment.payable_attempt
        if page is not None and any(c.state is ChargeState.DENIED for c in payment.charges_of(page)):
            payment = payment.with_attempt(attrs.evolve(page, state=AttemptState.DEAD, check_at=None, request=None))
        return follow(payment, now)

    patch.setattr(decide, "follow", killing)


@bug
def reversal_leaves_the_order_paid(patch: pytest.MonkeyPatch) -> None:
    """K is not cleared."""
    patch.setattr(consequences, "_let_go_of_reversed", lambda payment, _now: payment)


@bug
def late_money_kept_silently(patch: pytest.MonkeyPatch) -> None:
    """What comes after the end is recorded, and nobody is called."""
    patch.setattr(settling, "late_charge", lambda _payment: None)


@bug
def surplus_money_kept_silently(patch: pytest.MonkeyPatch) -> None:
    """A second payment beside the first is recorded, and nobody is called."""

    def silent(payment: Payment, kind: CaseKind, *rest: Any) -> Payment:
        return payment if kind is CaseKind.SURPLUS_PAYMENT else open_case(payment, kind, *rest)

    patch.setattr(consequences, "open_case", silent)


@bug
def others_left_alive_beside_a_paid_order(patch: pytest.MonkeyPatch) -> None:
    """A virtual account shown earlier can still be paid."""
    patch.setattr(consequences, "_stop_the_others", lambda payment, _now: payment)


@bug
def refund_not_bounded_by_what_is_under_way(patch: pytest.MonkeyPatch) -> None:
    """Only what was confirmed counts against what is left."""

    def generous(payment: Payment, charge: Charge) -> Any:
        confirmed = tuple(r for r in payment.refunds if r.state is RefundState.CONFIRMED)
        return refundable(attrs.evolve(payment, refunds=confirmed), charge)

    refundable = returns.refundable
    patch.setattr(returns, "refundable", generous)


@bug
def repeated_refund_request_sent_again(patch: pytest.MonkeyPatch) -> None:
    """The same request makes a second refund."""
    plan = return_money.plan_refund

    def forgetful(payment: Payment, *, asked_as: str | None = None, **rest: Any) -> Any:
        after, refund = plan(payment, asked_as=None, **rest)
        known = attrs.evolve(refund, asked_as=asked_as)
        return after.with_refund(known), known

    patch.setattr(return_money, "plan_refund", forgetful)
