"""Guards: who may call a route. They run before the body is read, so a stranger learns nothing from a bad body.

They are hooks before the request and not Litestar's `guards`, which it hands a fresh copy of the route each time.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from litestar import Request

from payments_core.errors import NotFound
from payments_core.ports import Store
from payments_core_app.tokens import Caller, Forbidden, Unauthenticated, Verifier

__all__ = ["SECURITY", "Guard", "Guards", "caller_of"]

Connection = Request[Any, Any, Any]
Guard = Callable[[Connection], Awaitable[None]]
SECURITY: list[dict[str, list[str]]] = [{"BearerToken": []}]
"""What the OpenAPI document says of every guarded route."""

_SCHEME = "bearer "


def caller_of(connection: Connection) -> Caller:
    """Whoever the guard of this route let in."""
    caller = connection.state["caller"]
    assert isinstance(caller, Caller)
    return caller


@attrs.frozen
class Guards:
    """Makes the guards of routes."""

    verifier: Verifier
    store: Store

    def owner_or(self, scope: str) -> Guard:
        """Let in the customer whose order it is (the use case checks which), or a service with this scope."""

        async def guard(connection: Connection) -> None:
            caller = await self._let_in(connection)
            if caller.role is not None and not caller.may(scope):
                raise Forbidden(f"the token lacks the scope {scope}")

        return guard

    def service(self, scope: str) -> Guard:
        """Let in a service with this scope; a customer is told 403 of an own order, and 404 of any other."""

        async def guard(connection: Connection) -> None:
            caller = await self._let_in(connection)
            if caller.may(scope):
                return
            order_id = connection.path_params.get("order_id")
            if caller.role is None and order_id is not None and not await self._owns(caller, str(order_id)):
                raise NotFound(f"no order {order_id}", code="order_not_found")
            raise Forbidden(f"this takes a service's token with the scope {scope}")

        return guard

    async def _let_in(self, connection: Connection) -> Caller:
        given = connection.headers.get("authorization", "")
        if not given.lower().startswith(_SCHEME):
            raise Unauthenticated("a bearer token is needed")
        caller = await self.verifier.verify(given[len(_SCHEME) :].strip())
        connection.state["caller"] = caller
        return caller

    async def _owns(self, caller: Caller, order_id: str) -> bool:
        async with self.store.reading() as uow:
            order = await uow.orders.get(order_id)
        return order is not None and order.customer.id == caller.subject


def customer_id_of(caller: Caller) -> str | None:
    """Whose orders the caller reaches: a customer's own, or everybody's (None)."""
    return caller.subject if caller.role is None else None
