"""What the shop asks: to take an order in, and to give it up."""

from collections.abc import Mapping

import attrs

from payments_core.errors import AmountNotRepresentable, Conflict, NotFound, StaleWrite
from payments_core.orders import Order, OrderStatus
from payments_core.pages import plan_cancel
from payments_core.payment import AttemptState
from payments_core.ports import Gateway, Placed, ShopStore
from payments_core.use_cases.close import ClosePages
from payments_core.use_cases.saving import Decided, Desk

__all__ = ["CancelOrder", "PlaceOrder"]


@attrs.frozen
class PlaceOrder:
    """Takes an order in, its stock reserved."""

    shop: ShopStore
    gateways: Mapping[str, Gateway]

    async def __call__(self, order: Order) -> tuple[Order, Placed]:
        """The order as it is stored: new, the same again, or changed before its first page.

        Errors: AmountNotRepresentable when no gateway can say its amounts; Conflict `order_frozen`, `out_of_stock`;
        InvalidInput `unknown_sku`.
        """
        self._refuse_unsayable(order)
        try:
            return await self._place(order)
        except StaleWrite:  # another call stored it first: now there is something to compare with
            return await self._place(order)

    async def _place(self, order: Order) -> tuple[Order, Placed]:
        async with self.shop.transaction() as uow:
            placed = await uow.orders.place(order)
            await uow.commit()
        return placed

    def _refuse_unsayable(self, order: Order) -> None:
        """Nothing, when some gateway can say every amount of the order; else the last one's reason is raised."""
        refused: AmountNotRepresentable | None = None
        for gateway in self.gateways.values():
            try:
                gateway.refuse_unsayable(order)
            except AmountNotRepresentable as error:
                refused = error
            else:
                return
        if refused is not None:
            raise refused


@attrs.frozen
class CancelOrder:
    """Gives an order up: its page is closed at the gateway first, and a page that turns out paid wins."""

    desk: Desk
    shop: ShopStore
    closing: ClosePages

    async def __call__(self, order_id: str, *, actor: str) -> tuple[Order, bool]:
        """The order, and whether it is cancelled by now; False while a page is still being closed.

        Repeating it is safe.
        Errors: NotFound; Conflict `already_paid`.
        """
        try:
            payment_id = await self._begin(order_id, actor)
        except StaleWrite:  # the first click came in between: now there is a payment to cancel
            payment_id = await self._begin(order_id, actor)
        if payment_id is not None:
            await self._close(payment_id)
        async with self.shop.reading() as uow:
            order = await uow.orders.get(order_id)
        if order is None:
            raise NotFound(f"no order {order_id}", code="order_not_found")
        if order.status not in (OrderStatus.PENDING, OrderStatus.CANCELLED):
            raise Conflict("the order is paid", code="already_paid")
        return order, order.status is OrderStatus.CANCELLED

    async def _begin(self, order_id: str, actor: str) -> str | None:
        """The payment whose page has to be closed, None when the order had none and is cancelled already."""
        now = self.desk.clock.now()
        async with self.shop.transaction() as uow:
            order = await uow.orders.get(order_id)
            if order is None:
                raise NotFound(f"no order {order_id}", code="order_not_found")
            if order.payment_id is None:
                if order.status is OrderStatus.PENDING and not await uow.orders.cancel(order_id, now):
                    raise StaleWrite(f"order {order_id} has a payment by now")
                await uow.commit()
                return None
            before = (await uow.payments.lock([order.payment_id]))[order.payment_id]
            after = plan_cancel(before, actor, now)
            await self.desk.put_back(uow, Decided(before, after), actor=actor)
            return order.payment_id

    async def _close(self, payment_id: str) -> None:
        payment = await self.desk.look(payment_id)
        page = payment.payable_attempt if payment else None
        if page is not None and page.state is AttemptState.CLOSING:
            await self.closing.page(payment_id, page.number)
