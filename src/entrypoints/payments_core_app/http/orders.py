"""Routes of stock and orders: what the shop's backend says, and what an owner may read."""

from typing import Any

from litestar import Response, get, post, put
from litestar.handlers import HTTPRouteHandler

from payments_core.errors import NotFound
from payments_core.ports import Placed, ShopStore
from payments_core.use_cases.operate import CancelOrder, PlaceOrder
from payments_core_app.container import Container
from payments_core_app.http.answers import PROBLEMS, success
from payments_core_app.http.auth import SECURITY, Guards, caller_of, customer_id_of
from payments_core_app.http.bodies import (
    OrderAnswer,
    OrderBody,
    StockAnswer,
    StockBody,
    order_answer,
    stock_answer,
)
from payments_core_app.http.idempotency import Idempotency, Key
from payments_core_app.http.order_input import check_sku, order_from
from payments_core_app.http.requests import Call

__all__ = ["order_routes"]


def order_routes(container: Container, guards: Guards, idempotency: Idempotency) -> list[HTTPRouteHandler]:
    """PUT and GET of stock and orders, and the cancellation of an order."""
    store = container.store()
    place, cancel = container.service().place_order, container.service().cancel_order
    assert place is not None, "the application keeps the shop's orders"
    assert cancel is not None
    return [*_stock_routes(store, guards), *_routes(container, store, place, cancel, guards, idempotency)]


def _stock_routes(store: ShopStore, guards: Guards) -> list[HTTPRouteHandler]:
    writer: dict[str, Any] = {
        "before_request": guards.service("orders:write"),
        "security": SECURITY,
        "responses": PROBLEMS,
        "tags": ["stock"],
    }

    @put("/stock/{sku:str}", status_code=200, summary="Set what can still be reserved", **writer)
    async def put_stock(sku: str, data: StockBody) -> StockAnswer:
        async with store.transaction() as uow:
            level = await uow.orders.put_stock(check_sku(sku), data.available)
            await uow.commit()
        return stock_answer(level)

    @get("/stock/{sku:str}", summary="Read the stock of a sku", **writer)
    async def get_stock(sku: str) -> StockAnswer:
        async with store.reading() as uow:
            level = await uow.orders.stock(sku)
        if level is None:
            raise NotFound(f"no stock is known for {sku}", code="unknown_sku")
        return stock_answer(level)

    return [put_stock, get_stock]


def _routes(
    container: Container,
    store: ShopStore,
    place: PlaceOrder,
    cancel: CancelOrder,
    guards: Guards,
    idempotency: Idempotency,
) -> list[HTTPRouteHandler]:
    clock, policy = container.clock(), container.policy()
    shared: dict[str, Any] = {"security": SECURITY, "tags": ["orders"]}

    @put(
        "/orders/{order_id:str}",
        status_code=201,
        summary="Place an order, its stock reserved",
        before_request=guards.service("orders:write"),
        responses={**PROBLEMS, 200: success(OrderAnswer, "The same again, or changed before the first click")},
        **shared,
    )
    async def put_order(order_id: str, data: OrderBody) -> Response[OrderAnswer]:
        order = order_from(order_id, data, clock.now(), policy.expiry)
        placed, how = await place(order)
        return Response(order_answer(placed), status_code=201 if how is Placed.NEW else 200)

    @get(
        "/orders/{order_id:str}",
        summary="Read an order",
        before_request=guards.owner_or("orders:read"),
        responses=PROBLEMS,
        **shared,
    )
    async def get_order(request: Call, order_id: str) -> OrderAnswer:
        customer_id = customer_id_of(caller_of(request))
        async with store.reading() as uow:
            order = await uow.orders.get(order_id)
        if order is None or customer_id not in (None, order.customer.id):
            raise NotFound(f"no order {order_id}", code="order_not_found")
        return order_answer(order)

    @post(
        "/orders/{order_id:str}/cancel",
        status_code=200,
        summary="Give an order up; 202 while its page is being closed",
        before_request=guards.service("orders:write"),
        responses={**PROBLEMS, 202: success(OrderAnswer, "Its page is being closed; ask again")},
        **shared,
    )
    async def cancel_order(request: Call, order_id: str, key: Key = None) -> Response[OrderAnswer]:
        async def work() -> Response[OrderAnswer]:
            order, done = await cancel(order_id, actor=caller_of(request).actor)
            return Response(order_answer(order), status_code=200 if done else 202)

        return await idempotency(request, key, order_id, None, work)

    return [put_order, get_order, cancel_order]
