"""The use cases, wired: everything an application needs of this package in one value."""

from collections import deque
from collections.abc import Mapping, Sequence
from inspect import isawaitable

import attrs

from payments_core.commands import Command
from payments_core.errands import ErrandTasks
from payments_core.errors import GatewayError
from payments_core.policy import Policy
from payments_core.ports import Clock, Errands, Gateway, Ids, Outbox, ShopStore, Store, Subscriber, Survey, Turns
from payments_core.system import SystemClock, SystemIds
from payments_core.use_cases.apply_reading import AskGateway
from payments_core.use_cases.close import ClosePages
from payments_core.use_cases.deliver import DeliverFacts
from payments_core.use_cases.gateways import Gateways
from payments_core.use_cases.operate import CancelOrder, PlaceOrder
from payments_core.use_cases.operate_payment import OperatePayment
from payments_core.use_cases.payment_status import ReadStatus
from payments_core.use_cases.perform import Perform
from payments_core.use_cases.receive_notification import ReceiveNotification
from payments_core.use_cases.reconcile import Reconcile
from payments_core.use_cases.refresh import LocalTurns, Refresh
from payments_core.use_cases.return_money import ReturnMoney
from payments_core.use_cases.saving import Desk
from payments_core.use_cases.start_payment import StartPayment
from payments_core.use_cases.sweep import Sweep

__all__ = ["ErrandList", "PaymentService"]

_DRAIN_S = 5.0
"""How long errands may still take when the program ends; their rows come due again."""


@attrs.frozen
class ErrandList:
    """Errands kept until somebody does them; for tests and programs without a background."""

    waiting: deque[Command] = attrs.field(factory=deque)

    def __call__(self, commands: Sequence[Command]) -> None:
        """Keep these commands."""
        self.waiting.extend(commands)

    async def do(self, perform: Perform) -> None:
        """Every errand was tried once, those they led to as well; a gateway out of reach leaves its row due."""
        while self.waiting:
            command = self.waiting.popleft()
            try:
                await perform(command)
            except GatewayError:
                continue


@attrs.frozen(kw_only=True)
class PaymentService:
    """The use cases over one store and its gateways."""

    start: StartPayment
    status: ReadStatus
    receive: ReceiveNotification
    perform: Perform
    sweep: Sweep
    operate: OperatePayment
    refund: ReturnMoney
    refresh: Refresh
    deliver: DeliverFacts | None
    reconcile: Reconcile | None
    place_order: PlaceOrder | None
    cancel_order: CancelOrder | None
    errands: Errands

    @classmethod
    def over(
        cls,
        store: Store,
        gateways: Mapping[str, Gateway],
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        errands: Errands | None = None,
        policy: Policy | None = None,
        shop: ShopStore | None = None,
        turns: Turns | None = None,
        survey: Survey | None = None,
        outbox: Outbox | None = None,
        subscribers: Mapping[str, Subscriber] | None = None,
    ) -> "PaymentService":
        """The use cases wired; `shop` is the same store when it keeps the shop's orders too.

        Time and ids are the machine's unless others are given. What a decision asks for at once is done as tasks of the
        running event loop, unless it is given to `errands`. `turns` are those of this process when none are given.
        Without a `survey` there is nothing to reconcile, without an `outbox` nobody to deliver facts to.
        """
        policy, clock, ids = policy or Policy(), clock or SystemClock(), ids or SystemIds()
        errands = ErrandTasks() if errands is None else errands
        desk = Desk(store, clock, errands, policy.late_payment)
        known = Gateways(gateways)
        ask = AskGateway(desk, known)
        closing = ClosePages(desk, known, ask)
        start = StartPayment(desk, known, ids, policy, closing)
        receive = ReceiveNotification(store, known, clock, errands, policy.late_payment)
        returning = ReturnMoney(desk, known, ask)
        operate = OperatePayment(desk, known, policy, ask, closing, returning)
        refresh = Refresh(desk, ask, turns or LocalTurns())
        deliver = None if outbox is None else DeliverFacts(outbox, {} if subscribers is None else subscribers, clock)
        sweep = Sweep(desk, shop, policy, receive, start, ask, closing, operate, returning, deliver)
        perform = Perform(ask, closing, returning)
        if isinstance(errands, ErrandTasks):
            errands.begin(perform)
        return cls(
            start=start,
            status=ReadStatus(store, clock, refresh),
            receive=receive,
            perform=perform,
            sweep=sweep,
            operate=operate,
            refund=returning,
            refresh=refresh,
            deliver=deliver,
            reconcile=Reconcile(desk, survey, ask, sweep) if survey is not None else None,
            place_order=PlaceOrder(shop, known) if shop is not None else None,
            cancel_order=CancelOrder(desk, shop, closing) if shop is not None else None,
            errands=errands,
        )

    async def close(self) -> None:
        """Nothing goes on in the background, and gateways and store have given their connections back.

        What was not finished is due on its own. To be called on the event loop the service was used on.
        """
        if isinstance(self.errands, ErrandTasks):
            await self.errands.drain(_DRAIN_S)
        await self.refresh.drain()
        for part in (*self.start.gateways.values(), self.start.desk.store):
            closing = getattr(part, "close", lambda: None)()
            if isawaitable(closing):
                await closing
