"""What every order book must do, whatever it is made of: the `OrderBook` port, and nothing of how orders come to be.

A shop that keeps its own orders writes `get`, `lock`, `claim`, `apply` and `reserve_again`, and proves them here.
How its orders are made and where its units lie the port does not say, so the test module says it, as a `Shopkeeper`.

    class TestMyOrderBook(OrderBookContract, StockContract):
        @pytest.fixture
        def shop(self) -> MyShopkeeper:
            return MyShopkeeper(...)

A shop without stock inherits `OrderBookContract` alone.
"""

import abc
import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import datetime

import attrs
import pytest

from payments_core.identity import make_payment_id
from payments_core.money import Money
from payments_core.orders import OrderStatus, StockMove
from payments_core.ports import OrderBook, OrderEffect
from payments_core.testing.samples import LATER, NOW

__all__ = ["Bill", "OrderBookContract", "Shopkeeper", "StockContract", "StockKeeper"]

FIRST, SECOND = make_payment_id(1, 1), make_payment_id(2, 2)
"""Two payments that want the same order."""


@attrs.frozen
class Bill:
    """Who owes how much for an order, as the shop itself wrote it down."""

    customer_id: str
    total: Money


class Shopkeeper(abc.ABC):
    """The shop's side of an order book: what a test needs and the port has no method for."""

    @abc.abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[OrderBook]:
        """The order book inside one transaction: kept when the block ends, undone when it raises."""

    @abc.abstractmethod
    async def place(self, *, units: int, left: int, at: datetime) -> str:
        """The id of a new order, pending and without a payment, for `units` of a product nobody else orders.

        **Units**: `units` are reserved for it, and `left` more of the product can still be reserved; without stock
        `left` means nothing. `at` is when it was placed, in UTC.
        """

    async def bill(self, order_id: str) -> Bill:  # noqa: ARG002 - for keepers that know it
        """Who owes how much for this order: from what was placed, and not by asking the order book."""
        pytest.skip("what an order costs and whose it is are not proved: give the Shopkeeper a `bill`")


class StockKeeper(Shopkeeper):
    """A shopkeeper whose orders reserve units of stock."""

    @abc.abstractmethod
    async def left(self, order_id: str) -> int:
        """How many units of this order's product can still be reserved."""

    @abc.abstractmethod
    async def leave(self, order_id: str, units: int) -> None:
        """Others bought or brought some: so many units of this order's product can still be reserved."""


class OrderBookContract:
    """Inherit it, and give a `shop` fixture: a `Shopkeeper` over an order book with or without stock."""

    pytestmark = pytest.mark.asyncio

    async def test_an_order_is_found_as_it_was_placed(self, shop: Shopkeeper) -> None:
        """What is found here is what the gateway will ask the buyer to pay."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        async with shop.transaction() as book:
            found = await book.get(order_id)
        assert found is not None
        assert (found.order_id, found.status, found.payment_id) == (order_id, OrderStatus.PENDING, None)
        assert (found.reserved_at, found.expired) == (NOW, False)
        assert found.expires_at > NOW
        assert sum(item.quantity for item in found.items) == 2

    async def test_an_order_is_what_its_buyer_owes(self, shop: Shopkeeper) -> None:
        """The page asks for this sum, and nobody else may open it."""
        ids = [await shop.place(units=units, left=3, at=NOW) for units in (1, 2)]
        bills = {order_id: await shop.bill(order_id) for order_id in ids}
        async with shop.transaction() as book:
            found = [await book.get(order_id) for order_id in ids]
            locked = await book.lock(ids)
        for order in (*found, *locked.values()):
            assert order is not None
            assert Bill(order.customer.id, order.total) == bills[order.order_id]

    async def test_an_unknown_order_is_none(self, shop: Shopkeeper) -> None:
        """A link with somebody's typing error is answered 404, and is no crash."""
        async with shop.transaction() as book:
            assert await book.get("nobody-placed-this") is None

    async def test_orders_are_locked_together_as_they_are(self, shop: Shopkeeper) -> None:
        """Clicks that arrive together are taken together."""
        ids = [await shop.place(units=1, left=3, at=NOW) for _ in range(2)]
        async with shop.transaction() as book:
            locked = await book.lock([*reversed(ids), "nobody-placed-this"])
            assert await book.claim(ids[0], FIRST)
        assert [*locked] == sorted(ids)
        assert {order.payment_id for order in locked.values()} == {None}
        async with shop.transaction() as book:
            again = await book.lock(ids)
            assert not await book.claim(ids[0], SECOND)
            assert await book.claim(ids[1], SECOND)
        assert {order_id: order.payment_id for order_id, order in again.items()} == {ids[0]: FIRST, ids[1]: None}

    async def test_an_order_is_claimed_by_one_payment(self, shop: Shopkeeper) -> None:
        """Two payments of one order are two pages, and a buyer who pays twice."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        async with shop.transaction() as book:
            assert await book.claim(order_id, FIRST)
        async with shop.transaction() as book:
            assert not await book.claim(order_id, SECOND)
            found = await book.get(order_id)
        assert found is not None
        assert found.payment_id == FIRST

    async def test_one_of_many_claims_at_once_wins(self, shop: Shopkeeper) -> None:
        """Two clicks on two servers reach the order in the same moment."""
        order_id = await shop.place(units=2, left=3, at=NOW)

        async def claim(number: int) -> bool:
            async with shop.transaction() as book:
                return await book.claim(order_id, make_payment_id(number, number))

        assert sorted(await asyncio.gather(*(claim(number) for number in range(1, 9)))) == [False] * 7 + [True]

    async def test_an_order_that_is_over_is_claimed_by_nobody(self, shop: Shopkeeper) -> None:
        """A page for goods that were given back to others would sell them twice."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        async with shop.transaction() as book:
            await book.apply([OrderEffect(order_id, OrderStatus.CANCELLED, StockMove.RELEASED)])
        async with shop.transaction() as book:
            assert not await book.claim(order_id, FIRST)

    @pytest.mark.parametrize("expired", [False, True])
    async def test_an_order_stands_where_its_payment_says(self, shop: Shopkeeper, expired: bool) -> None:
        """The shop ships what its order says is paid."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        other_id = await shop.place(units=1, left=0, at=NOW)
        async with shop.transaction() as book:
            await book.apply(
                [
                    OrderEffect(order_id, OrderStatus.PAID, StockMove.CONSUMED),
                    OrderEffect(other_id, OrderStatus.CANCELLED, StockMove.RELEASED, expired=expired),
                ]
            )
        async with shop.transaction() as book:
            paid, given_up = await book.get(order_id), await book.get(other_id)
        assert paid is not None
        assert given_up is not None
        assert (paid.status, paid.expired) == (OrderStatus.PAID, False)
        assert (given_up.status, given_up.expired) == (OrderStatus.CANCELLED, expired)

    async def test_a_transaction_that_fails_leaves_the_order_as_it_was(self, shop: Shopkeeper) -> None:
        """An order must not be paid when the payment beside it could not be saved."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        with pytest.raises(RuntimeError, match="could not be saved"):
            await self._fail_after_writing(shop, order_id)
        async with shop.transaction() as book:
            found = await book.get(order_id)
        assert found is not None
        assert (found.status, found.payment_id) == (OrderStatus.PENDING, None)

    async def _fail_after_writing(self, shop: Shopkeeper, order_id: str) -> None:
        async with shop.transaction() as book:
            await book.claim(order_id, FIRST)
            await book.apply([OrderEffect(order_id, OrderStatus.PAID, StockMove.CONSUMED)])
            raise RuntimeError("the payment could not be saved")


class StockContract:
    """Inherit it beside `OrderBookContract` when orders reserve units, and give a `shop` that is a `StockKeeper`."""

    pytestmark = pytest.mark.asyncio

    async def test_stock_is_consumed_once(self, shop: StockKeeper) -> None:
        """The answer is what really happened: it becomes part of the payment's history."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        paid = OrderEffect(order_id, OrderStatus.PAID, StockMove.CONSUMED)
        assert await self.applied(shop, paid) == {order_id: StockMove.CONSUMED}
        assert await self.applied(shop, paid) == {}
        assert await shop.left(order_id) == 3

    async def test_stock_is_released_once(self, shop: StockKeeper) -> None:
        """Units given back twice are sold twice, and one buyer gets nothing."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        given_up = OrderEffect(order_id, OrderStatus.CANCELLED, StockMove.RELEASED, expired=True)
        assert await self.applied(shop, given_up) == {order_id: StockMove.RELEASED}
        assert await self.applied(shop, given_up) == {}
        assert await shop.left(order_id) == 5

    async def test_stock_is_never_released_after_it_was_consumed(self, shop: StockKeeper) -> None:
        """Goods that were paid may have left the house."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        await self.applied(shop, OrderEffect(order_id, OrderStatus.PAID, StockMove.CONSUMED))
        assert await self.applied(shop, OrderEffect(order_id, OrderStatus.CANCELLED, StockMove.RELEASED)) == {}
        assert await shop.left(order_id) == 3

    async def test_stock_is_never_consumed_after_it_was_released(self, shop: StockKeeper) -> None:
        """Late money has to reserve again first: the units may be somebody else's by now."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        await self.applied(shop, OrderEffect(order_id, OrderStatus.CANCELLED, StockMove.RELEASED))
        assert await self.applied(shop, OrderEffect(order_id, OrderStatus.PAID, StockMove.CONSUMED)) == {}
        assert await shop.left(order_id) == 5

    async def test_consumed_stock_comes_back_when_a_person_decided_so(self, shop: StockKeeper) -> None:
        """The money was taken back, and somebody saw that the goods are still here; once, like every release."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        await self.applied(shop, OrderEffect(order_id, OrderStatus.PAID, StockMove.CONSUMED))
        back = OrderEffect(order_id, OrderStatus.PENDING, StockMove.RELEASED, also_consumed=True)
        assert await self.applied(shop, back) == {order_id: StockMove.RELEASED}
        assert await self.applied(shop, back) == {}
        assert await shop.left(order_id) == 5

    async def test_a_change_of_status_alone_moves_no_stock(self, shop: StockKeeper) -> None:
        """A refund never moves stock; whether goods came back a person sees."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        assert await self.applied(shop, OrderEffect(order_id, OrderStatus.REFUNDED, None)) == {}
        assert await shop.left(order_id) == 3

    async def test_many_releases_at_once_release_once(self, shop: StockKeeper) -> None:
        """Several processes may sweep the same expired order."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        given_up = OrderEffect(order_id, OrderStatus.CANCELLED, StockMove.RELEASED, expired=True)
        moves = await asyncio.gather(*(self.applied(shop, given_up) for _ in range(8)))
        assert [move for move in moves if move] == [{order_id: StockMove.RELEASED}]
        assert await shop.left(order_id) == 5

    async def test_released_stock_is_reserved_again_if_it_can_be_had(self, shop: StockKeeper) -> None:
        """Money that comes after the end pays the order when its goods are still there, and they move once more."""
        order_id = await shop.place(units=2, left=0, at=NOW)
        await self.applied(shop, OrderEffect(order_id, OrderStatus.CANCELLED, StockMove.RELEASED, expired=True))
        assert await self.reserved_again(shop, order_id, LATER)
        assert await shop.left(order_id) == 0
        paid = OrderEffect(order_id, OrderStatus.PAID, StockMove.CONSUMED)
        assert await self.applied(shop, paid) == {order_id: StockMove.CONSUMED}

    async def test_stock_that_was_not_released_is_not_reserved_twice(self, shop: StockKeeper) -> None:
        """The order has its units, so the answer is yes; units taken twice for one order are nobody's."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        assert await self.reserved_again(shop, order_id, LATER)
        await self.applied(shop, OrderEffect(order_id, OrderStatus.PAID, StockMove.CONSUMED))
        assert await self.reserved_again(shop, order_id, LATER)
        assert await shop.left(order_id) == 3

    async def test_released_stock_is_reserved_again_once(self, shop: StockKeeper) -> None:
        """Whatever the order is called by now: its status says nothing of where its units are."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        await self.applied(shop, OrderEffect(order_id, OrderStatus.CANCELLED, StockMove.RELEASED, expired=True))
        for _ in range(2):
            assert await self.reserved_again(shop, order_id, LATER)
            assert await shop.left(order_id) == 3

    async def test_stock_that_a_person_gave_back_is_reserved_again(self, shop: StockKeeper) -> None:
        """A reversal was dismissed: the order can be paid again, so it is not cancelled, and its units are free."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        await self.applied(shop, OrderEffect(order_id, OrderStatus.PAID, StockMove.CONSUMED))
        back = OrderEffect(order_id, OrderStatus.PENDING, StockMove.RELEASED, also_consumed=True)
        await self.applied(shop, back)
        assert await self.reserved_again(shop, order_id, LATER)
        assert await shop.left(order_id) == 3

    async def test_stock_that_others_have_is_not_reserved_again(self, shop: StockKeeper) -> None:
        """All of it or nothing: half an order cannot be paid."""
        order_id = await shop.place(units=2, left=0, at=NOW)
        await self.applied(shop, OrderEffect(order_id, OrderStatus.CANCELLED, StockMove.RELEASED, expired=True))
        await shop.leave(order_id, 1)
        assert not await self.reserved_again(shop, order_id, LATER)
        assert await shop.left(order_id) == 1
        assert await self.applied(shop, OrderEffect(order_id, OrderStatus.PAID, StockMove.CONSUMED)) == {}

    async def test_a_transaction_that_fails_leaves_the_stock_as_it_was(self, shop: StockKeeper) -> None:
        """What is done again after a failure must not release a second time."""
        order_id = await shop.place(units=2, left=3, at=NOW)
        given_up = OrderEffect(order_id, OrderStatus.CANCELLED, StockMove.RELEASED)
        with pytest.raises(RuntimeError, match="could not be saved"):
            await self._fail_after_moving(shop, given_up)
        assert await shop.left(order_id) == 3
        assert await self.applied(shop, given_up) == {order_id: StockMove.RELEASED}
        assert await shop.left(order_id) == 5

    async def _fail_after_moving(self, shop: StockKeeper, effect: OrderEffect) -> None:
        async with shop.transaction() as book:
            await book.apply([effect])
            raise RuntimeError("the payment could not be saved")

    # ── small helpers ─────────────────────────────────────────────────────────────────────────────────────────────
    async def applied(self, shop: StockKeeper, effect: OrderEffect) -> dict[str, StockMove]:
        """The stock moves of one effect, in a transaction of its own."""
        async with shop.transaction() as book:
            return await book.apply([effect])

    async def reserved_again(self, shop: StockKeeper, order_id: str, now: datetime) -> bool:
        """Whether the order got its units anew, in a transaction of its own."""
        async with shop.transaction() as book:
            return await book.reserve_again(order_id, now)
