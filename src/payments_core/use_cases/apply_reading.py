"""Asking the gateway, and applying what it says: confirm (no transaction open), then apply (one transaction).

The question's number comes from the payment's row before the question leaves, so that an answer that was overtaken is
known as such. One answer serves every hint of its transaction that arrived before the question left; a hint that is
still not borne out waits, is asked about again, and is refuted in the end.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from payments_core.charges import attempt_of, compare
from payments_core.decide import Reading, Verdict, decide_reading, still_wants
from payments_core.errors import NotFound, StorageError
from payments_core.evolving import evolve
from payments_core.limits import REFUTE_AFTER
from payments_core.observations import Observation
from payments_core.payment import Attempt, Payment
from payments_core.ports import Gateway, Kept, NotificationKey, UnitOfWork
from payments_core.states import ENDED, ChargeState, Signal
from payments_core.use_cases.saving import Decided, Desk, again_if_stale, save_all, together_or_each
from payments_core.use_cases.together import Together

__all__ = ["AskGateway"]

Then = Callable[[Payment], Payment]
"""What the asker wants changed in the same transaction, for example when to ask next."""


def _nothing_more(payment: Payment) -> Payment:
    return payment


@attrs.frozen
class _Answered:
    """One answer to apply, and what its asker wants changed with it."""

    payment_id: str
    reading: Reading
    then: Then

    @property
    def about(self) -> str | None:
        """The transaction it speaks of; None when the gateway knows none."""
        return self.reading.transaction_id or (self.reading.answer.transaction_id if self.reading.answer else None)


@attrs.frozen
class AskGateway:
    """Asks a gateway about a transaction or a page, and applies the answer; answers that come together, together.

    Errors, all methods: GatewayUnavailable, GatewayTimeout (nothing changed; the row that asked is due again).
    """

    desk: Desk
    gateways: Mapping[str, Gateway]
    _together: Together[_Answered, Payment | None] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_together", Together(self._apply_all))

    async def charge(
        self, payment_id: str, provider: str, attempt: int, transaction_id: str, number: int, then: Then = _nothing_more
    ) -> Payment | None:
        """The payment after the answer about one transaction; None when there is no such payment."""
        payment, _answer = await self._charge_heard(payment_id, provider, attempt, transaction_id, number, then)
        return payment

    async def _charge_heard(
        self, payment_id: str, provider: str, attempt: int, transaction_id: str, number: int, then: Then
    ) -> tuple[Payment | None, Observation | None]:
        asked_at = self.desk.clock.now()
        answer = await self.gateways[provider].read(transaction_id)
        reading = Reading(
            number=number, asked_at=asked_at, attempt=attempt, transaction_id=transaction_id, answer=answer
        )
        return await self.apply(payment_id, reading, then), answer

    async def charge_now(self, payment: Payment, transaction_id: str, then: Then = _nothing_more) -> Payment | None:
        """The same under a fresh number, for a charge the payment knows."""
        heard, _answer = await self.charge_heard(payment, transaction_id, then)
        return heard

    async def charge_heard(
        self, payment: Payment, transaction_id: str, then: Then = _nothing_more
    ) -> tuple[Payment | None, Observation | None]:
        """The same, and what the gateway answered."""
        charge = payment.charge(transaction_id)
        if charge is None:
            return None, None
        attempt, payment_id = payment.attempt(charge.attempt), payment.payment_id
        number = await self.take_number(payment_id)
        return await self._charge_heard(payment_id, attempt.provider, attempt.number, transaction_id, number, then)

    async def page(self, payment_id: str, attempt: Attempt, then: Then = _nothing_more) -> Payment | None:
        """The payment after the answer about a whole page, asked by its order id."""
        payment, _answer = await self.page_heard(payment_id, attempt, then)
        return payment

    async def page_heard(
        self, payment_id: str, attempt: Attempt, then: Then = _nothing_more
    ) -> tuple[Payment | None, Observation | None]:
        """The same, and what the gateway answered: the transaction it shows for the order id, or None."""
        number = await self.take_number(payment_id)
        asked_at = self.desk.clock.now()
        answer = await self.gateways[attempt.provider].read_page(attempt)
        reading = Reading(number=number, asked_at=asked_at, attempt=attempt.number, transaction_id=None, answer=answer)
        return await self.apply(payment_id, reading, then), answer

    async def take_number(self, payment_id: str) -> int:
        """The number of the next question about this payment."""
        number = await again_if_stale(lambda: self._take_number(payment_id), self.desk.clock)
        if number is None:
            raise NotFound(f"no payment {payment_id}", code="no_payment")
        return number

    async def _take_number(self, payment_id: str) -> int | None:
        async with self.desk.store.transaction() as uow:
            numbers = await uow.payments.take_numbers([payment_id])
            await uow.commit()
        return numbers.get(payment_id)

    async def apply(self, payment_id: str, reading: Reading, then: Then = _nothing_more) -> Payment | None:
        """The payment after this reading, and every waiting hint it answers with its verdict."""
        return await self._together(_Answered(payment_id, reading, then))

    async def _apply_all(self, answered: Sequence[_Answered]) -> list[Payment | Exception | None]:
        """What became of each answer."""
        return [*await together_or_each(self._apply_together, answered, self.desk.clock)]

    async def _apply_together(self, answered: Sequence[_Answered]) -> list[Payment | Exception | None]:
        """Locks keep the global order: the payments first, then the hints about them."""
        now = self.desk.clock.now()
        ids = {one.payment_id for one in answered}
        async with self.desk.store.transaction() as uow:
            abouts = {about for one in answered if (about := one.about) is not None}
            before = await uow.payments.lock(ids)
            hints = {kept.notification.key: kept for kept in await uow.inbox.waiting(ids, abouts)}
            waiting = dict(hints)
            named = _by_transaction(hints.values())
            decided = {payment_id: Decided(payment, payment) for payment_id, payment in before.items()}
            failed: dict[int, Exception] = {}
            for position, one in enumerate(answered):
                if one.payment_id not in decided:
                    continue
                asking = [waiting[key] for key in named.get(one.about, ())]
                try:
                    decided[one.payment_id], judged = await self._decide(uow, decided[one.payment_id], asking, one, now)
                    waiting.update((kept.notification.key, kept) for kept in judged)
                except StorageError:
                    raise
                except Exception as error:  # noqa: BLE001 - a bug about one answer is told its asker, not its neighbours
                    failed[position] = error
            await uow.inbox.put([kept for key, kept in waiting.items() if kept is not hints[key]])
            saved = await save_all(uow, [*decided.values()], now=now, actor="gateway", late=self.desk.late)
            await uow.commit()
        self.desk.errands([command for item in saved.values() for command in item.commands])
        of = {payment_id: item.payment for payment_id, item in saved.items()}
        return [failed.get(position) or of.get(one.payment_id) for position, one in enumerate(answered)]

    async def _decide(
        self, uow: UnitOfWork, so_far: Decided, hints: Sequence[Kept], one: _Answered, now: datetime
    ) -> tuple[Decided, list[Kept]]:
        """The payment after one answer, and the hints it gave a verdict or a new time."""
        before, reading = so_far.after, one.reading
        gateway = self.gateways[before.attempt(reading.attempt).provider]
        after, used, judged = before, await _is_ours(uow, gateway, before, reading), list[Kept]()
        if used:
            decision = decide_reading(before, reading, lag=gateway.traits.status_lag, now=now)
            after, used = decision.payment, decision.used
        if used or reading.transaction_id is not None:
            waiting = [kept for kept in hints if _waits_for(kept, before.payment_id)]
            after, judged = _answer_hints(gateway, after, waiting, reading, now)
        return evolve(so_far, after=one.then(after), actor=f"gateway:{gateway.name}"), judged


async def _is_ours(uow: UnitOfWork, gateway: Gateway, payment: Payment, reading: Reading) -> bool:
    """An answer that does not name our order id is used only for a transaction that belongs to this payment.

    Where some messages name the transaction alone, each one is bound as soon as an answer shows it; so is a booking.
    """
    answer, attempt = reading.answer, payment.attempt(reading.attempt)
    if answer is None or not answer.transaction_id:
        return True
    if answer.provider_order_id == attempt.provider_order_id:
        is_named = gateway.traits.names_orders and answer.booking is None
        if is_named or payment.charge(answer.transaction_id) is not None:
            return True
    elif answer.shop_order_id is not None and answer.shop_order_id != payment.order_id:
        return False
    name = answer.booking or answer.transaction_id
    return await uow.payments.bind(payment.payment_id, attempt.provider, attempt.account, name)


def _by_transaction(hints: Iterable[Kept]) -> dict[str | None, list[NotificationKey]]:
    """The keys of the hints about each transaction: a batch has a hundred of them, and each answer wants its own."""
    named = defaultdict[str | None, list[NotificationKey]](list)
    for kept in hints:
        named[kept.notification.transaction_id].append(kept.notification.key)
    return named


def _waits_for(kept: Kept, payment_id: str) -> bool:
    return kept.notification.key.shard in (payment_id, "") and kept.verdict is Verdict.WAITING


def _answer_hints(
    gateway: Gateway, payment: Payment, waiting: Sequence[Kept], reading: Reading, now: datetime
) -> tuple[Payment, list[Kept]]:
    """Every hint of the transaction that arrived before the question left gets its verdict, or waits again."""
    answered = []
    for kept in waiting:
        if kept.asked > reading.number:
            continue
        hint = gateway.observe(kept.notification.body)
        may_lag = reading.asked_at < kept.notification.received_at + gateway.traits.status_lag
        judged = _judge(payment, kept, hint, now, may_lag=may_lag)
        if judged.verdict is Verdict.WAITING:
            payment = evolve(payment, reading_number=payment.reading_number + 1)
            judged = evolve(judged, asked=payment.reading_number)
        answered.append(judged)
    return payment, answered


def _judge(payment: Payment, kept: Kept, hint: Observation, now: datetime, *, may_lag: bool) -> Kept:
    if still_wants(payment, hint):
        return _ask_again(kept, now, may_lag=may_lag)
    verdict, reason = _verdict(payment, hint)
    return evolve(kept, verdict=verdict, reason=reason, check_at=None)


def _ask_again(kept: Kept, now: datetime, *, may_lag: bool) -> Kept:
    """A question that left within the gateway's lag proves nothing against a hint, however often it was repeated."""
    if kept.tries >= len(REFUTE_AFTER) and not may_lag:
        reason = f"asked {kept.tries + 1} times, the gateway does not bear it out"
        return evolve(kept, verdict=Verdict.REFUTED, reason=reason, tries=kept.tries + 1, check_at=None)
    pause = REFUTE_AFTER[min(kept.tries, len(REFUTE_AFTER) - 1)]
    return evolve(kept, tries=kept.tries + 1, reason="the gateway does not show it yet", check_at=now + pause)


def _verdict(payment: Payment, hint: Observation) -> tuple[Verdict, str]:
    charge = payment.charge(hint.transaction_id)
    attempt = attempt_of(payment, hint)
    if attempt is not None and (faults := compare(attempt, charge, hint)):
        return Verdict.QUARANTINED, ", ".join(sorted(fault.value for fault in faults))
    if charge is not None and isinstance(hint.meaning, Signal) and _shows(charge.state, hint.meaning):
        return Verdict.APPLIED, "the gateway confirms it"
    return Verdict.STALE, "the gateway has moved on"


def _shows(state: ChargeState, signal: Signal) -> bool:
    if state is ChargeState.REVERSED:
        return signal in (Signal.DENIED, Signal.CANCELLED)
    return state.value == signal.value or (state in ENDED and ChargeState(signal.value) in ENDED)
