"""Saving what was decided: the payment, its history, its order and its stock, in one transaction."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import attrs

from payments_core.commands import Command, commands_between
from payments_core.errors import StaleWrite, StorageUnavailable
from payments_core.evolving import evolve
from payments_core.facts import Fact, facts_between, numbered, stock_fact
from payments_core.limits import DECISIONS_AT_ONCE_MAX, STALE_PAUSE, STALE_RETRIES_MAX
from payments_core.orders import Order, StockMove
from payments_core.payment import Payment
from payments_core.policy import LatePayment
from payments_core.ports import Change, Clock, Errands, Store, UnitOfWork
from payments_core.returns import return_late_money
from payments_core.settling import order_effect, settle_stock, wants_stock
from payments_core.use_cases.together import Together

__all__ = ["Decided", "Desk", "Saved", "again_if_stale", "save_all", "together_or_each"]

Result = TypeVar("Result")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@attrs.frozen
class Decided:
    """A payment before and after a decision; `before` is None for a new one, `also` are facts no payment shows.

    `actor` is who decided, where it is not the same for all that is saved together.
    """

    before: Payment | None
    after: Payment
    also: tuple[Fact, ...] = ()
    actor: str | None = None


@attrs.frozen
class Saved:
    """The payment as it is stored now, and what its change asks to be done at once."""

    payment: Payment
    commands: tuple[Command, ...] = ()


async def save_all(
    uow: UnitOfWork, decided: Sequence[Decided], *, now: datetime, actor: str, late: LatePayment
) -> dict[str, Saved]:
    """Every decided payment saved with its events, its order's status and its stock; by payment id.

    `late` says whether late and surplus money goes back by itself.

    Orders come before payments are written because the stock that really moved is part of the history.
    Locks keep the global order all the same: the payments were locked when they were loaded.
    Errors: StaleWrite.
    """
    changed = [item for item in decided if item.before != item.after]
    saved = {item.after.payment_id: Saved(item.after) for item in decided}
    asked = {item.after.payment_id: item.after for item in changed if _is_only_asked_about(item)}
    if asked:
        await uow.payments.keep_numbers([*asked.values()])
    settled = [await _settle_stock(uow, item, now) for item in changed if item.after.payment_id not in asked]
    if late is LatePayment.REOPEN_OR_REFUND:
        settled = [attrs.evolve(item, after=return_late_money(item.after, now)) for item in settled]
    effects = [effect for item in settled if (effect := order_effect(item.before, item.after))]
    moves = await uow.orders.apply(sorted(effects, key=lambda effect: effect.order_id)) if effects else {}
    changes = [_change(item, moves.get(item.after.order_id), now, item.actor or actor) for item in settled]
    stored = await uow.payments.save(changes) if changes else {}
    for change in changes:
        commands = tuple(commands_between(change.before, change.after))
        saved[change.after.payment_id] = Saved(stored[change.after.payment_id], commands)
    return saved


def _is_only_asked_about(item: Decided) -> bool:
    """Whether nothing of the payment changed but the number of the newest question."""
    before, after = item.before, item.after
    if before is None or before.reading_number == after.reading_number or item.also:
        return False
    return evolve(before, reading_number=after.reading_number) == after


def _change(item: Decided, move: StockMove | None, now: datetime, actor: str) -> Change:
    moved = (stock_fact(move),) if move else ()
    after, events = numbered(item.after, [*facts_between(item.before, item.after), *item.also, *moved], now, actor)
    return Change(item.before, after, events, actor, now)


async def _settle_stock(uow: UnitOfWork, item: Decided, now: datetime) -> Decided:
    """Late money re-opens the order if its stock can still be had, else it is a case: it is never dropped."""
    reserved = wants_stock(item.before, item.after) and await uow.orders.reserve_again(item.after.order_id, now)
    after = settle_stock(item.before, item.after, reserved=reserved, now=now)
    if after is item.after:
        return item
    also = (*item.also, stock_fact(StockMove.RESERVED)) if reserved else item.also
    return attrs.evolve(item, after=after, also=also)


async def again_if_stale(work: Callable[[], Awaitable[Result]], clock: Clock) -> Result:
    """The result of `work`, run again when somebody else was first: every race has a winner, so a few tries are enough.

    Pauses grow, and are spread by the clock's own microseconds, so that a run can be repeated exactly.
    Errors: StaleWrite after the last try.
    """
    for tried in range(STALE_RETRIES_MAX):
        try:
            return await work()
        except StaleWrite:
            spread = 0.5 + clock.now().microsecond / 1_000_000
            await clock.sleep(STALE_PAUSE.total_seconds() * 2**tried * spread)
    return await work()


async def together_or_each(
    work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], items: Sequence[Item], clock: Clock
) -> list[Answer | Exception]:
    """What became of each item, in one transaction for all; an exception means that nothing did.

    One bad item never takes its neighbours: when a statement fails, or what is stored of one cannot be read, each is
    tried once by itself. While the store is away, or was lost during the commit, there is nothing to try: all of them
    are told.
    """
    try:
        return [*await again_if_stale(lambda: work(items), clock)]
    except StorageUnavailable as error:
        return [error] * len(items)
    except Exception as error:  # noqa: BLE001 - a refusal or a bug is told its asker, not its neighbours
        if len(items) == 1:
            return [error]
    return [(await together_or_each(work, [item], clock))[0] for item in items]


@attrs.frozen
class _Change:
    """A plain decision about one payment, and whose it is."""

    payment_id: str
    decide: Callable[[Payment], Payment]
    actor: str

    @property
    def about(self) -> tuple[str, str]:
        """What is decided on once in a transaction."""
        return "payment", self.payment_id

    def decided(self, payments: Mapping[str, Payment], _orders: Mapping[str, Order]) -> Decided | None:
        """The decision on the payment as it is once it is locked."""
        payment = payments.get(self.payment_id)
        return None if payment is None else Decided(payment, self.decide(payment), actor=self.actor)


@attrs.frozen
class _First:
    """The making of an order's first payment, and who wants it."""

    order_id: str
    make: Callable[[Order | None], Payment]
    actor: str

    @property
    def about(self) -> tuple[str, str]:
        """What is decided on once in a transaction."""
        return "order", self.order_id

    def decided(self, _payments: Mapping[str, Payment], orders: Mapping[str, Order]) -> Decided:
        """The payment for the order as it is once it is locked: the shop may have been changing it.

        Its units have been reserved since it was placed; its payment's history begins with them.
        """
        order = orders.get(self.order_id)
        payment = self.make(order)
        also = (stock_fact(StockMove.RESERVED),) if order and order.tracked_units() else ()
        return Decided(None, payment, also, actor=self.actor)


def _orders_of(asked: Sequence[_Change | _First], payments: Mapping[str, Payment]) -> list[str]:
    """The orders that get their first payment; where there are some, those of the payments that change as well, because
    orders are locked in one go, sorted, or not before they are written.
    """
    firsts = [item.order_id for item in asked if isinstance(item, _First)]
    return [*firsts, *(payment.order_id for payment in payments.values())] if firsts else []


async def _is_claimed(uow: UnitOfWork, item: _Change | _First, decided: Decided) -> bool:
    """Whether the order is this payment's: it was, or it is now."""
    return isinstance(item, _Change) or await uow.orders.claim(item.order_id, decided.after.payment_id)


@attrs.frozen
class Desk:
    """Where payments are taken out, changed and put back: lock, decide, save, commit, then the errands.

    Decisions that come while another is committed are saved together.
    """

    store: Store
    clock: Clock
    errands: Errands
    late: LatePayment
    _together: Together[_Change | _First, Payment | None] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_together", Together(self._decide_all, DECISIONS_AT_ONCE_MAX))

    async def look(self, payment_id: str) -> Payment | None:
        """The payment as it is, without a lock."""
        async with self.store.reading() as uow:
            return (await uow.payments.load([payment_id])).get(payment_id)

    async def change(self, payment_id: str, decide: Callable[[Payment], Payment], *, actor: str) -> Payment | None:
        """The payment after a plain decision, saved; None when there is no such payment."""
        return await self._together(_Change(payment_id, decide, actor))

    async def first(self, order_id: str, make: Callable[[Order | None], Payment], *, actor: str) -> Payment:
        """The first payment of an order as `make` makes it of the locked order, saved and claimed for it.

        Errors: those of `make`; StaleWrite when another payment is the order's by now.
        """
        made = await self._together(_First(order_id, make, actor))
        assert made is not None
        return made

    async def _decide_all(self, asked: Sequence[_Change | _First]) -> list[Payment | Exception | None]:
        """What became of each; those about one payment are saves of their own, because each has its actor."""
        answers: dict[int, Payment | Exception | None] = {}
        left = [*enumerate(asked)]
        while left:
            first: dict[tuple[str, str], int] = {}
            for position, item in left:
                first.setdefault(item.about, position)
            now = [(position, item) for position, item in left if first[item.about] == position]
            done = await together_or_each(self._decide_together, [item for _, item in now], self.clock)
            answers.update(zip((position for position, _ in now), done, strict=True))
            left = [item for item in left if item not in now]
        return [answers[position] for position in range(len(asked))]

    async def _decide_together(self, asked: Sequence[_Change | _First]) -> list[Payment | Exception | None]:
        """Each decided on, and all that were decided saved."""
        answers: list[Decided | Exception | None] = []
        async with self.store.transaction() as uow:
            payments = await uow.payments.lock([item.payment_id for item in asked if isinstance(item, _Change)])
            orders = await uow.orders.lock(_orders_of(asked, payments))
            for item in asked:
                try:
                    answer: Decided | Exception | None = item.decided(payments, orders)
                except Exception as error:  # noqa: BLE001 - a refusal or a bug is told its asker, not its neighbours
                    answer = error
                if isinstance(answer, Decided) and not await _is_claimed(uow, item, answer):
                    answer = StaleWrite(f"order {answer.after.order_id} was claimed by another click")
                answers.append(answer)
            saved = await self.save(uow, [answer for answer in answers if isinstance(answer, Decided)])
        return [saved[answer.after.payment_id].payment if isinstance(answer, Decided) else answer for answer in answers]

    async def put_back(self, uow: UnitOfWork, decided: Decided, *, actor: str) -> Payment:
        """The decided payment saved and committed, its errands handed over."""
        saved = await self.save(uow, [attrs.evolve(decided, actor=actor)])
        return saved[decided.after.payment_id].payment

    async def save(self, uow: UnitOfWork, decided: Sequence[Decided]) -> dict[str, Saved]:
        """What was decided saved and committed, its errands handed over; by payment id."""
        saved = await save_all(uow, decided, now=self.clock.now(), actor="core", late=self.late)
        await uow.commit()
        if commands := [command for item in saved.values() for command in item.commands]:
            self.errands(commands)
        return saved
