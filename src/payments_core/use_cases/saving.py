"""Saving what was decided: the payment, its history, its order and its stock, in one transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime

import attrs

from payments_core.commands import Command, commands_between
from payments_core.consequences import late_charge, reopen, review_late
from payments_core.facts import Fact, facts_between, numbered, stock_fact
from payments_core.orders import OrderStatus, StockMove
from payments_core.payment import ClosedAs, Payment
from payments_core.ports import Change, Clock, Errands, OrderEffect, Store, UnitOfWork
from payments_core.status import order_status

__all__ = ["Decided", "Desk", "Saved", "save_all"]


@attrs.frozen
class Decided:
    """A payment before and after a decision; `before` is None for a new one, `also` are facts no payment shows."""

    before: Payment | None
    after: Payment
    also: tuple[Fact, ...] = ()


@attrs.frozen
class Saved:
    """The payment as it is stored now, and what its change asks to be done at once."""

    payment: Payment
    commands: tuple[Command, ...] = ()


async def save_all(uow: UnitOfWork, decided: Sequence[Decided], *, now: datetime, actor: str) -> dict[str, Saved]:
    """Every decided payment saved with its events, its order's status and its stock; by payment id.

    Orders come before payments are written because the stock that really moved is part of the history.
    Locks keep the global order all the same: the payments were locked when they were loaded.
    Errors: StaleWrite.
    """
    saved = {item.after.payment_id: Saved(item.after) for item in decided if item.before == item.after}
    settled = [await _settle_late_money(uow, item, now) for item in decided if item.before != item.after]
    effects = [effect for item in settled if (effect := _order_effect(item.before, item.after))]
    moves = await uow.orders.apply(sorted(effects, key=lambda effect: effect.order_id)) if effects else {}
    changes = [_change(item, moves.get(item.after.order_id), now, actor) for item in settled]
    stored = await uow.payments.save(changes) if changes else {}
    for change in changes:
        commands = tuple(commands_between(change.before, change.after))
        saved[change.after.payment_id] = Saved(stored[change.after.payment_id], commands)
    return saved


def _change(item: Decided, move: StockMove | None, now: datetime, actor: str) -> Change:
    moved = (stock_fact(move),) if move else ()
    after, events = numbered(item.after, [*facts_between(item.before, item.after), *item.also, *moved], now, actor)
    return Change(item.before, after, events, actor, now)


async def _settle_late_money(uow: UnitOfWork, item: Decided, now: datetime) -> Decided:
    """Late money re-opens the order if its stock can still be had, else it is a case: it is never dropped."""
    charge = late_charge(item.after)
    if charge is None:
        return item
    if await uow.orders.reserve_again(item.after.order_id, now):
        also = (*item.also, stock_fact(StockMove.RESERVED))
        return attrs.evolve(item, after=reopen(item.after, charge, now), also=also)
    return attrs.evolve(item, after=review_late(item.after, charge, now))


def _order_effect(before: Payment | None, after: Payment) -> OrderEffect | None:
    """What the change of a payment does to its order, None when nothing."""
    paid = after.paid_by is not None and (before is None or before.paid_by is None)
    gave_up = after.closed is not None and (before is None or before.closed is None)
    status_was = order_status(before) if before else OrderStatus.PENDING
    status = order_status(after)
    if status is status_was and not paid and not gave_up:
        return None
    move = StockMove.CONSUMED if paid else StockMove.RELEASED if gave_up else None
    expired = after.closed is not None and after.closed.kind is ClosedAs.EXPIRED
    return OrderEffect(after.order_id, status, move, expired)


@attrs.frozen
class Desk:
    """Where one payment is taken out, changed and put back: lock, decide, save, commit, then the errands."""

    store: Store
    clock: Clock
    errands: Errands

    async def look(self, payment_id: str) -> Payment | None:
        """The payment as it is, without a lock."""
        async with self.store.reading() as uow:
            return (await uow.payments.load([payment_id])).get(payment_id)

    async def change(self, payment_id: str, decide: Callable[[Payment], Payment], *, actor: str) -> Payment | None:
        """The payment after a plain decision, saved; None when there is no such payment."""
        async with self.store.transaction() as uow:
            before = (await uow.payments.lock([payment_id])).get(payment_id)
            if before is None:
                return None
            return await self.put_back(uow, Decided(before, decide(before)), actor=actor)

    async def put_back(self, uow: UnitOfWork, decided: Decided, *, actor: str) -> Payment:
        """The decided payment saved and committed, its errands handed over."""
        saved = (await save_all(uow, [decided], now=self.clock.now(), actor=actor))[decided.after.payment_id]
        await uow.commit()
        if saved.commands:
            self.errands(saved.commands)
        return saved.payment
