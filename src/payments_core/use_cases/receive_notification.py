"""A webhook, accepted: prove the sender, remember the bytes once, decide, commit, answer.

One straight path. `understand` needs no database: bytes that do not authenticate write nothing.
`accept` takes what arrived together in one transaction, because the core is pure and the commit is what costs.
When the table says Ask, the hint waits in its row and the answer carries the question; nobody waits for it here.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import attrs

from payments_core.charges import attempt_of
from payments_core.commands import AskCharge, Command
from payments_core.decide import HintDecision, Verdict, decide_hint
from payments_core.errors import MalformedNotification, NotFound, StorageError, StorageUnavailable
from payments_core.evolving import evolve
from payments_core.identity import read_provider_order_id
from payments_core.limits import LEASE, NOTIFICATION_BYTES_MAX, UNMATCHED_RETRY
from payments_core.observations import Observation
from payments_core.payment import Payment
from payments_core.policy import GatewayTraits, LatePayment
from payments_core.ports import (
    Clock,
    Errands,
    Foreign,
    Gateway,
    Genuine,
    Kept,
    Notification,
    NotificationKey,
    Store,
    UnitOfWork,
)
from payments_core.use_cases.saving import Decided, save_all, together_or_each

__all__ = ["Accepted", "ReceiveNotification", "payment_id_of"]

log = logging.getLogger(__name__)

_LOOKED_AT_AGAIN = frozenset({Verdict.WAITING, Verdict.REFUTED, Verdict.UNMATCHED})
"""Verdicts of a stored notification that its repetition may still change."""


@attrs.frozen
class Accepted:
    """What became of one delivery: durably stored, with this verdict."""

    verdict: Verdict
    reason: str


@attrs.frozen
class ReceiveNotification:
    """Takes notifications in, exactly once each, whatever a gateway repeats."""

    store: Store
    gateways: Mapping[str, Gateway]
    clock: Clock
    errands: Errands
    late: LatePayment = LatePayment.REOPEN_OR_REVIEW

    async def __call__(self, provider: str, body: bytes, headers: Mapping[str, str]) -> Accepted | Foreign:
        """What became of one delivery: understood, stored and decided; the way in for a program without a batcher.

        Errors: NotFound, MalformedNotification, NotAuthentic; StorageError when it has to be sent again.
        """
        understood = self.understand(provider, body, headers)
        if isinstance(understood, Foreign):
            return understood
        (accepted,) = await self.accept([understood])
        if isinstance(accepted, StorageError):
            raise accepted
        return accepted

    def understand(self, provider: str, body: bytes, headers: Mapping[str, str]) -> Notification | Foreign:
        """The notification these bytes are, its sender proved; or a foreign body, which is not stored.

        Errors: NotFound when no such gateway is set up; MalformedNotification, NotAuthentic.
        """
        gateway = self.gateways.get(provider)
        if gateway is None:
            raise NotFound(f"no gateway {provider!r} is set up", code="gateway_not_configured")
        if len(body) > NOTIFICATION_BYTES_MAX:
            raise MalformedNotification(f"a body has at most {NOTIFICATION_BYTES_MAX} bytes", code="body_too_large")
        proved = gateway.authenticate(body, headers)
        if isinstance(proved, Foreign):
            return proved
        says = proved.observation
        named = read_provider_order_id(says.provider_order_id or "")
        return Notification(
            key=NotificationKey(named.payment_id if named else "", provider, says.account, _digest(proved, body)),
            body=body,
            received_at=self.clock.now(),
            transaction_id=says.transaction_id,
            says=says,
        )

    async def accept(self, batch: Sequence[Notification]) -> list[Accepted | StorageError]:
        """What became of each delivery, in the order given; a StorageError means: not stored, send it again.

        What is known by a name and said once more in other words is decided on after what was said first.
        """
        answers: dict[int, Accepted | StorageError] = {}
        left = [*enumerate(batch)]
        while left:
            said = {notification.key: notification.body for _, notification in reversed(left)}
            now = [(at, notification) for at, notification in left if notification.body == said[notification.key]]
            left = [(at, notification) for at, notification in left if notification.body != said[notification.key]]
            told = await together_or_each(self._accept_together, [notification for _, notification in now], self.clock)
            for (at, notification), answer in zip(now, told, strict=True):
                answers[at] = _or_again(notification, answer)
        return [answers[at] for at in range(len(batch))]

    async def _accept_together(self, batch: Sequence[Notification]) -> list[Accepted]:
        now = self.clock.now()
        times = Counter(notification.key for notification in batch)
        first = {notification.key: notification for notification in reversed(batch)}
        async with self.store.transaction() as uow:
            payments = await _locked(uow, [*first.values()])
            known = {kept.notification.key: kept for kept in await uow.inbox.lock([*first])}
            arrived = [_arrived(first[key], known.get(key), times[key]) for key in times]
            todo = [item for item in arrived if _is_to_decide(item)]
            over = [item for item in arrived if not _is_to_decide(item)]
            results, commands = await self._decide(uow, payments, todo, now, over)
            await uow.commit()
        self.errands(commands)
        return [self._answer(notification, first, known, results) for notification in batch]

    @staticmethod
    def _answer(
        notification: Notification,
        first: Mapping[NotificationKey, Notification],
        known: Mapping[NotificationKey, Kept],
        results: Mapping[NotificationKey, Accepted],
    ) -> Accepted:
        """One delivery is told what became of it, the others that they are duplicates."""
        key = notification.key
        result = results.get(key) or Accepted(known[key].verdict, known[key].reason)
        was_nobodys = key in known and known[key].verdict is Verdict.UNMATCHED
        is_news = key not in known or (was_nobodys and result.verdict is not Verdict.UNMATCHED)
        if result.verdict is Verdict.DUPLICATE or (is_news and notification is first[key]):
            return result
        return Accepted(Verdict.DUPLICATE, f"was {result.verdict.value}")

    async def match_again(self, keys: Sequence[NotificationKey]) -> list[Accepted]:
        """What became of stored notifications whose payment was not known when they came."""
        now = self.clock.now()
        async with self.store.transaction() as uow:
            payments = await _locked(uow, [kept.notification for kept in await uow.inbox.load(keys)])
            unmatched = [kept for kept in await uow.inbox.lock(keys) if kept.verdict is Verdict.UNMATCHED]
            later = [evolve(kept, tries=kept.tries + 1) for kept in unmatched]
            results, commands = await self._decide(uow, payments, later, now)
            await uow.commit()
        self.errands(commands)
        return [*results.values()]

    async def _decide(
        self, uow: UnitOfWork, payments: "_Locked", todo: Sequence[Kept], now: datetime, also: Sequence[Kept] = ()
    ) -> tuple[dict[NotificationKey, Accepted], list[Command]]:
        """Each hint decided on the payment as the hints before it left it; then one save for all.

        `also` are notifications that nothing is to be decided about, but that are stored as they stand.
        """
        before, owners = payments.payments, payments.owners
        after = dict(before)
        results, commands, judged = {}, list[Command](), [*also]
        for item in todo:
            payment = after.get(owners[item.notification.key])
            decision, question = await self._decide_one(uow, payment, item, now)
            if decision.payment is not None:
                after[decision.payment.payment_id] = decision.payment
            judged.append(_with_verdict(item, decision, now, may_turn_up=self._may_turn_up(item)))
            results[item.notification.key] = Accepted(decision.verdict, decision.reason)
            commands += question
        decided = [Decided(before[payment_id], after[payment_id]) for payment_id in sorted(before)]
        await uow.inbox.put(judged)
        saved = await save_all(uow, decided, now=now, actor="gateway", late=self.late)
        return results, [*commands, *(command for item in saved.values() for command in item.commands)]

    def _may_turn_up(self, item: Kept) -> bool:
        """Whether an unmatched notification is worth looking at again: it names a payment, or a transaction alone."""
        key, gateway = item.notification.key, self.gateways.get(item.notification.key.provider)
        by_itself = gateway is not None and not gateway.traits.names_orders
        return bool(key.shard) or (by_itself and bool(item.notification.transaction_id))

    async def _decide_one(
        self, uow: UnitOfWork, payment: Payment | None, item: Kept, now: datetime
    ) -> tuple["_Decision", tuple[Command, ...]]:
        if payment is None:
            return _NOBODYS, ()
        gateway = self.gateways[item.notification.key.provider]
        traits = gateway.traits
        try:
            hint = item.notification.says or gateway.observe(item.notification.body)
        except Exception as error:  # noqa: BLE001 - see `_undecided`
            return _undecided(payment, item, error), ()
        if (not_its_own := await _not_its_own(uow, traits, payment, item, hint)) is not None:
            return not_its_own, ()
        try:
            made = decide_hint(payment, hint, confirm=traits.confirm, signed=traits.signed, now=now)
        except Exception as error:  # noqa: BLE001 - see `_undecided`
            return _undecided(payment, item, error), ()
        return _Decision.of(made), _question(payment, hint, made)


@attrs.frozen
class _Decision:
    """A HintDecision, or the lack of a payment to decide on."""

    payment: Payment | None
    verdict: Verdict
    reason: str
    asked: int = 0

    @classmethod
    def of(cls, made: HintDecision) -> "_Decision":
        return cls(made.payment, made.verdict, made.reason, made.ask or 0)


_NOBODYS = _Decision(None, Verdict.UNMATCHED, "no such payment")


def _undecided(payment: Payment, item: Kept, error: Exception) -> _Decision:
    """A bug of ours must not take its neighbours, nor lose the message: it is kept for a person."""
    _log_undecided(item.notification, payment.payment_id, error)
    return _Decision(payment, Verdict.QUARANTINED, f"could not be decided: {error}")


def _or_again(notification: Notification, answer: Accepted | Exception) -> Accepted | StorageError:
    """What could not even be kept, because what is stored of its payment cannot be read, is to be sent again."""
    if isinstance(answer, Accepted | StorageError):
        return answer
    _log_undecided(notification, notification.key.shard, answer)
    return StorageUnavailable("the notification could not be stored")


def _log_undecided(notification: Notification, payment_id: str, error: Exception) -> None:
    log.error(
        "notification %s of payment %s about %s could not be decided",
        notification.key.digest,
        payment_id,
        notification.transaction_id,
        exc_info=error,
    )


async def _not_its_own(
    uow: UnitOfWork, traits: GatewayTraits, payment: Payment, item: Kept, hint: Observation
) -> _Decision | None:
    """What becomes of a message about money that is not the payment's to count; None when it is to be decided.

    Where later messages may name the transaction alone, it is bound now, before anything is decided; so is a booking.
    """
    key, transaction_id = item.notification.key, hint.transaction_id
    if hint.booking is not None:
        why = await _why_not_counted(uow, payment, item, hint, hint.booking)
        return None if why is None else _Decision(None, Verdict.DUPLICATE, why)
    if traits.names_orders or not key.shard or not transaction_id or payment.charge(transaction_id) is not None:
        return None
    is_its_own = await uow.payments.bind(payment.payment_id, key.provider, key.account, transaction_id)
    return None if is_its_own else _NOBODYS


async def _why_not_counted(
    uow: UnitOfWork, payment: Payment, item: Kept, hint: Observation, booking: str
) -> str | None:
    """Why this booking counts no more, if it does not. What is said of a page that never was claims nothing."""
    key = item.notification.key
    if attempt_of(payment, hint) is None:
        return None
    if not await uow.payments.bind(payment.payment_id, key.provider, key.account, booking):
        return "was counted for another order"
    # The inbox knows a booking by its name; one that an earlier version stored under its page's has its charge only.
    is_known = payment.charge(hint.transaction_id) is not None
    return "was counted already" if item.fresh and is_known else None


def _question(payment: Payment, hint: Observation, made: HintDecision) -> tuple[Command, ...]:
    attempt = attempt_of(payment, hint)
    if made.ask is None or attempt is None:
        return ()
    return (AskCharge(payment.payment_id, attempt.provider, attempt.number, hint.transaction_id, made.ask),)


def _with_verdict(item: Kept, decision: _Decision, now: datetime, *, may_turn_up: bool) -> Kept:
    check_at = None
    if decision.verdict is Verdict.WAITING:
        check_at = now + LEASE
    elif decision.verdict is Verdict.UNMATCHED and may_turn_up:
        check_at = _look_again_at(item.tries, now)
    return evolve(item, verdict=decision.verdict, reason=decision.reason, asked=decision.asked, check_at=check_at)


def _is_to_decide(item: Kept) -> bool:
    return item.fresh or item.verdict in _LOOKED_AT_AGAIN


def _arrived(notification: Notification, known: Kept | None, times: int) -> Kept:
    """The notification as it is stored already, counted so many times more; or as it is new."""
    if known is None:
        return Kept(notification=notification, verdict=Verdict.STALE, times=times, fresh=True)
    stored = known.notification
    if known.verdict is Verdict.UNMATCHED:
        # A booking is one message whatever page it is said of: after a slip in the reference, the last word counts, and
        # is the one that is kept, because a reading of our own notifications has to show it.
        stored = evolve(notification, received_at=stored.received_at)
    return evolve(known, notification=stored, times=known.times + times)


@attrs.frozen
class _Locked:
    """Payments locked by id, and whose each notification is: the payment's id, empty when nobody's."""

    payments: Mapping[str, Payment]
    owners: Mapping[NotificationKey, str]


async def _locked(uow: UnitOfWork, notifications: Sequence[Notification]) -> _Locked:
    owners = await _owners(uow, notifications)
    return _Locked(await uow.payments.lock({*owners.values()} - {""}), owners)


async def payment_id_of(uow: UnitOfWork, kept: Kept) -> str:
    """The payment a stored notification is about: the one it names, or the one its transaction is bound to."""
    return (await _owners(uow, [kept.notification]))[kept.notification.key]


async def _owners(uow: UnitOfWork, notifications: Sequence[Notification]) -> dict[NotificationKey, str]:
    """The payment id of each notification, empty when nobody's."""
    owners = {notification.key: notification.key.shard for notification in notifications}
    unnamed = defaultdict[tuple[str, str], dict[NotificationKey, str]](dict)
    for notification in notifications:
        key, transaction_id = notification.key, notification.transaction_id
        if not key.shard and transaction_id:
            unnamed[key.provider, key.account][key] = transaction_id
    for (provider, account), about in unnamed.items():
        known = await uow.payments.owners(provider, account, {*about.values()})
        owners |= {key: known.get(transaction_id, "") for key, transaction_id in about.items()}
    return owners


def _digest(proved: Genuine, body: bytes) -> str:
    return sha256(body if proved.identity is None else proved.identity.encode()).hexdigest()


def _look_again_at(tries: int, now: datetime) -> datetime | None:
    pause: timedelta | None = UNMATCHED_RETRY[tries] if tries < len(UNMATCHED_RETRY) else None
    return now + pause if pause is not None else None
