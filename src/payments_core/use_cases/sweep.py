"""Due work is state: the sweep finds rows that say they need attention, and gives it to them.

Claiming moves a row's time forward by the lease and commits; the work is done without a transaction.
A process that dies holding a row loses nothing: the row comes due again. A doubled run changes nothing.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

import attrs

from payments_core.charges import attempt_of
from payments_core.decide import Verdict, recheck_again
from payments_core.errors import GatewayError, NotFound, StaleWrite, StorageError
from payments_core.limits import LEASE, POLL_CHARGES_MAX, SWEEP_BATCH_MAX
from payments_core.pages import plan_deadline, poll_again
from payments_core.payment import Attempt, AttemptState, ChargeDue
from payments_core.policy import Policy
from payments_core.ports import Due, DueKind, NotificationKey, ShopStore
from payments_core.use_cases.apply_reading import AskGateway
from payments_core.use_cases.close import ClosePages
from payments_core.use_cases.deliver import DeliverFacts
from payments_core.use_cases.operate_payment import OperatePayment
from payments_core.use_cases.receive_notification import ReceiveNotification, payment_id_of
from payments_core.use_cases.return_money import ReturnMoney
from payments_core.use_cases.saving import Desk
from payments_core.use_cases.start_payment import StartPayment

__all__ = ["Sweep", "SweepReport"]

log = logging.getLogger(__name__)

_FACTS = "outbox"
"""Facts are no rows of a payment, so they are no `DueKind`; they are counted under the name of their table."""


@attrs.frozen
class SweepReport:
    """How many rows of each kind were attended to, and how many of them could not be finished now."""

    done: Counter[str]
    postponed: Counter[str]

    @property
    def total(self) -> int:
        """Rows claimed."""
        return self.done.total() + self.postponed.total()


@attrs.frozen
class Sweep:
    """Attends to what is due; any number may run at once, on any machine."""

    desk: Desk
    shop: ShopStore | None
    policy: Policy
    receive: ReceiveNotification
    start: StartPayment
    ask: AskGateway
    closing: ClosePages
    operate: OperatePayment
    returning: ReturnMoney
    deliver: DeliverFacts | None = None

    async def once(
        self, *, each: "Each | None" = None, kinds: Iterable[DueKind] = DueKind, by: datetime | None = None
    ) -> SweepReport:
        """Every row that is due now was attended to once, up to one batch of each kind; and facts were delivered.

        `each` decides how the rows of a batch are worked on (one after the other unless told otherwise).
        With `by` only what was due at that moment is: whoever sweeps until nothing is left meets no row twice.
        Errors: StorageError.
        """
        done, postponed = Counter[str](), Counter[str]()

        async def attend(due: Due) -> None:
            try:
                await self.attend(due)
            except (GatewayError, StaleWrite, NotFound):
                postponed[due.kind.value] += 1  # its lease brings it back
            except StorageError:
                raise
            except Exception:
                # A row that breaks us, which is a bug, must not keep the others waiting.
                log.exception("due row of %s %s could not be attended to", due.kind.value, due.id)
                postponed[due.kind.value] += 1
            else:
                done[due.kind.value] += 1

        for kind in kinds:
            await (each or _one_by_one)(attend, await self.claim(kind, by=by))
        if self.deliver is not None and kinds is DueKind:
            facts = await self.deliver.once()
            done[_FACTS] += facts.done
            postponed[_FACTS] += facts.postponed + facts.dead
        return SweepReport(+done, +postponed)

    async def claim(self, kind: DueKind, *, by: datetime | None = None) -> list[Due]:
        """Due rows of this kind, nobody else's until the lease ends."""
        if kind is DueKind.ORDER and self.shop is None:
            return []
        now = self.desk.clock.now()
        async with self.desk.store.transaction() as uow:
            due = await uow.claim_due(kind, now=min(by or now, now), until=now + LEASE, limit=SWEEP_BATCH_MAX)
            await uow.commit()
        return due

    async def attend(self, due: Due) -> None:
        """One step for this row, whether its time has come or not.

        Errors: GatewayError, StorageError, NotFound; then it is due again.
        """
        match due.kind:
            case DueKind.NOTIFICATION if due.key is not None:
                await self._notification(due.key)
            case DueKind.ATTEMPT:
                await self._attempt(due.id, int(due.part))
            case DueKind.CHARGE:
                await self._charge(due.id, due.part)
            case DueKind.REFUND:
                await self.returning.step(due.id, due.part)
            case DueKind.DEADLINE:
                now = self.desk.clock.now()
                await self.desk.change(due.id, lambda p: plan_deadline(p, self.policy, now), actor="deadline")
            case DueKind.ORDER if self.shop is not None:
                async with self.shop.transaction() as uow:
                    await uow.orders.expire(due.id, self.desk.clock.now())
                    await uow.commit()

    async def _notification(self, key: NotificationKey) -> None:
        """A waiting hint is asked about again; one without a payment looks for it again."""
        async with self.desk.store.reading() as uow:
            kept = next(iter(await uow.inbox.load([key])), None)
            payment_id = await payment_id_of(uow, kept) if kept else ""
            payment = (await uow.payments.load([payment_id])).get(payment_id)
        gateway = self.receive.gateways.get(key.provider)
        if kept is None or gateway is None:
            return  # a gateway that is no longer set up: its notifications wait until it is
        hint = gateway.observe(kept.notification.body)
        attempt = attempt_of(payment, hint) if payment else None
        if payment is None or attempt is None or kept.verdict is Verdict.UNMATCHED:
            await self.receive.match_again([key])
            return
        number = await self.ask.take_number(payment.payment_id)
        transaction_id = kept.notification.transaction_id
        await self.ask.charge(payment.payment_id, attempt.provider, attempt.number, transaction_id, number)

    async def _attempt(self, payment_id: str, number: int) -> None:
        payment = await self.desk.look(payment_id)
        if payment is None:
            return
        page = payment.attempt(number)
        match page.state:
            case AttemptState.OPENING:
                await self.start.finish(payment_id, number)
            case AttemptState.OPEN:
                await self._poll(payment_id, page)
            case AttemptState.CLOSING:
                await self.closing.page(payment_id, number)
            case AttemptState.DEAD | AttemptState.SPENT:
                pass

    async def _poll(self, payment_id: str, page: Attempt) -> None:
        """The page, and every try on it that may still become money: an order id shows one transaction only."""
        now = self.desk.clock.now()
        payment = await self.ask.page(payment_id, page, then=lambda p: poll_again(p, page.number, self.policy, now))
        live = [charge for charge in payment.charges_of(page) if charge.is_live] if payment else []
        for charge in live[-POLL_CHARGES_MAX:]:
            if payment is not None:
                payment = await self.ask.charge_now(payment, charge.transaction_id)

    async def _charge(self, payment_id: str, transaction_id: str) -> None:
        payment = await self.desk.look(payment_id)
        charge = payment.charge(transaction_id) if payment else None
        if payment is None or charge is None:
            return
        if charge.due is ChargeDue.CANCEL:
            await self.closing.charge(payment_id, transaction_id)
        elif charge.due is ChargeDue.RECHECK:
            now = self.desk.clock.now()
            await self.ask.charge_now(payment, transaction_id, then=lambda p: recheck_again(p, transaction_id, now))
        elif charge.due is not None:
            await self.operate.step(payment_id, transaction_id)


Attend = Callable[[Due], Awaitable[None]]
Each = Callable[[Attend, list[Due]], Awaitable[None]]


async def _one_by_one(attend: Attend, rows: list[Due]) -> None:
    for due in rows:
        await attend(due)
