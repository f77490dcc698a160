"""The use cases, wired: everything an application needs of this package in one value."""

from collections import deque
from collections.abc import Mapping, Sequence

import attrs

from payments_core.commands import Command
from payments_core.errors import GatewayError
from payments_core.policy import Policy
from payments_core.ports import Clock, Errands, Gateway, Ids, ShopStore, Store
from payments_core.use_cases.apply_reading import AskGateway
from payments_core.use_cases.close import ClosePages
from payments_core.use_cases.operate import CancelOrder
from payments_core.use_cases.operate_payment import OperatePayment
from payments_core.use_cases.payment_status import ReadStatus
from payments_core.use_cases.perform import Perform
from payments_core.use_cases.receive_notification import ReceiveNotification
from payments_core.use_cases.return_money import ReturnMoney
from payments_core.use_cases.saving import Desk
from payments_core.use_cases.start_payment import StartPayment
from payments_core.use_cases.sweep import Sweep

__all__ = ["ErrandList", "PaymentService"]


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
    cancel_order: CancelOrder | None

    @classmethod
    def over(
        cls,
        store: Store,
        gateways: Mapping[str, Gateway],
        *,
        clock: Clock,
        ids: Ids,
        errands: Errands,
        policy: Policy | None = None,
        shop: ShopStore | None = None,
    ) -> "PaymentService":
        """The use cases wired; `shop` is the same store when it keeps the shop's orders too."""
        policy = policy or Policy()
        desk = Desk(store, clock, errands, policy.late_payment)
        ask = AskGateway(desk, gateways)
        closing = ClosePages(desk, gateways, ask)
        start = StartPayment(desk, gateways, ids, policy, closing)
        receive = ReceiveNotification(store, gateways, clock, errands, policy.late_payment)
        returning = ReturnMoney(desk, gateways, ask)
        operate = OperatePayment(desk, gateways, policy, ask, closing, returning)
        return cls(
            start=start,
            status=ReadStatus(store, clock),
            receive=receive,
            perform=Perform(ask, closing, returning),
            sweep=Sweep(desk, shop, policy, receive, start, ask, closing, operate, returning),
            operate=operate,
            refund=returning,
            cancel_order=CancelOrder(desk, shop, closing) if shop is not None else None,
        )
