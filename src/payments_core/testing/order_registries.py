"""What an order book must do that the shop fills over our API: the `OrderRegistry` port of a `ShopStore`.

It is an order book with stock, so it keeps those contracts too; its shopkeeper is made here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import attrs
import pytest

from payments_core.errors import Conflict, InvalidInput
from payments_core.money import Money
from payments_core.orders import Item, Order, OrderStatus, StockMove
from payments_core.ports import Change, DueKind, OrderEffect, OrderRegistry, Placed, ShopStore
from payments_core.testing.full import full_order
from payments_core.testing.order_books import Bill, OrderBookContract, StockContract, StockKeeper
from payments_core.testing.samples import IDR, NOW, order, payment

__all__ = ["OrderRegistryContract", "RegistryKeeper"]


@attrs.define
class RegistryKeeper(StockKeeper):
    """The shopkeeper of an order registry: its orders are placed through the port, each for a product of its own."""

    store: ShopStore
    placed: int = 0
    bills: dict[str, Bill] = attrs.field(factory=dict)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[OrderRegistry]:
        """The registry inside one transaction of the store."""
        async with self.store.transaction() as uow:
            yield uow.orders
            await uow.commit()

    async def place(self, *, units: int, left: int, at: datetime) -> str:
        """The id of a new order, `o-1` and so on."""
        self.placed += 1
        wanted = order(f"o-{self.placed}", units=units, sku=f"book-{self.placed}", reserved_at=at)
        async with self.transaction() as book:
            await book.put_stock(f"book-{self.placed}", units + left)
            await book.place(attrs.evolve(wanted, expires_at=at + timedelta(hours=24)))
        self.bills[wanted.order_id] = Bill(wanted.customer.id, wanted.total)
        return wanted.order_id

    async def bill(self, order_id: str) -> Bill:
        """What was placed, before the registry saw it."""
        return self.bills[order_id]

    async def left(self, order_id: str) -> int:
        """How many units of this order's product can still be reserved."""
        async with self.store.reading() as uow:
            level = await uow.orders.stock(await self._sku(uow.orders, order_id))
        assert level is not None
        return level.available

    async def leave(self, order_id: str, units: int) -> None:
        """So many units of this order's product can still be reserved."""
        async with self.transaction() as book:
            await book.put_stock(await self._sku(book, order_id), units)

    async def _sku(self, book: OrderRegistry, order_id: str) -> str:
        found = await book.get(order_id)
        assert found is not None
        return found.items[0].sku


class OrderRegistryContract(OrderBookContract, StockContract):
    """Inherit it, and give a `store` fixture: a `ShopStore` with nothing in it."""

    @pytest.fixture
    def shop(self, store: ShopStore) -> RegistryKeeper:
        """The shopkeeper the contracts of an order book ask for."""
        return RegistryKeeper(store)

    # ── placing ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def test_an_order_reserves_its_stock_once(self, store: ShopStore) -> None:
        """A shop that repeats its request after a time-out has one order."""
        placed, how = await self.placed(store, order(), stock=5)
        assert (placed, how) == (order(), Placed.NEW)
        assert await self.level(store) == (3, 2)
        _, again = await self.placed(store, order())
        assert again is Placed.SAME
        assert await self.level(store) == (3, 2)

    async def test_an_order_is_kept_whole(self, store: ShopStore) -> None:
        """Discount, shipping, a variant: what the buyer saw in the cart is what the page asks for, and what is sent."""
        wanted = full_order()
        await self.shelve(store, wanted, more=3)
        assert await self.placed(store, wanted) == (wanted, Placed.NEW)
        assert await self.placed(store, wanted) == (wanted, Placed.SAME)
        async with store.reading() as uow:
            assert await uow.orders.get(wanted.order_id) == wanted
        async with store.transaction() as uow:
            assert await uow.orders.lock([wanted.order_id]) == {wanted.order_id: wanted}

    async def test_every_line_moves_its_stock(self, store: ShopStore) -> None:
        """The second thing in the cart is promised to the buyer as well, and comes back as well."""
        wanted = full_order()
        reserved = wanted.tracked_units().values()
        await self.shelve(store, wanted, more=3)
        await self.placed(store, wanted)
        assert await self.levels(store, wanted) == [(3, units) for units in reserved]
        await self.applied_to(store, wanted, StockMove.RELEASED)
        assert await self.levels(store, wanted) == [(3 + units, 0) for units in reserved]
        async with store.transaction() as uow:
            assert await uow.orders.reserve_again(wanted.order_id, NOW)
            await uow.commit()
        assert await self.levels(store, wanted) == [(3, units) for units in reserved]
        await self.applied_to(store, wanted, StockMove.CONSUMED)
        assert await self.levels(store, wanted) == [(3, 0), (3, 0)]

    async def test_a_line_that_cannot_be_had_leaves_the_others_where_they_are(self, store: ShopStore) -> None:
        """All of it or nothing: half an order cannot be paid, and what it took nobody else could buy."""
        wanted = full_order()
        *others, last = sorted(wanted.tracked_units())
        await self.shelve(store, wanted, more=3)
        await self.placed(store, wanted)
        await self.applied_to(store, wanted, StockMove.RELEASED)
        async with store.transaction() as uow:
            await uow.orders.put_stock(last, wanted.tracked_units()[last] - 1)
            assert not await uow.orders.reserve_again(wanted.order_id, NOW)
            await uow.commit()
        left = [(3 + wanted.tracked_units()[sku], 0) for sku in others]
        assert await self.levels(store, wanted) == [*left, (wanted.tracked_units()[last] - 1, 0)]
        with pytest.raises(Conflict) as refused:
            await self.placed(store, attrs.evolve(wanted, order_id="o-2"))
        assert refused.value.code == "out_of_stock"

    async def test_a_changed_order_reserves_anew(self, store: ShopStore) -> None:
        """The cart may change until the first page is opened; what it held counts as free for itself."""
        await self.placed(store, order(units=2), stock=5)
        _, how = await self.placed(store, order(units=5))
        assert how is Placed.CHANGED
        assert await self.level(store) == (0, 5)

    async def test_a_change_that_cannot_be_reserved_changes_nothing(self, store: ShopStore) -> None:
        """The buyer who asked for too much keeps what was reserved before."""
        await self.placed(store, order(units=2), stock=5)
        with pytest.raises(Conflict) as refused:
            await self.placed(store, order(units=6))
        assert refused.value.code == "out_of_stock"
        assert await self.level(store) == (3, 2)

    async def test_an_unknown_sku_is_said_so(self, store: ShopStore) -> None:
        """Nothing can be reserved of what nobody counts."""
        with pytest.raises(InvalidInput) as refused:
            await self.placed(store, order(sku="unheard-of"))
        assert refused.value.code == "unknown_sku"

    async def test_untracked_items_need_no_stock(self, store: ShopStore) -> None:
        """A download, a gift wrap: sold without end."""
        untracked = Item("gift", "A gift", Money(100, IDR), 1, track_stock=False)
        placed, _ = await self.placed(store, order(items=(untracked,)))
        assert placed.items == (untracked,)

    async def test_a_claimed_order_is_frozen(self, store: ShopStore) -> None:
        """The page shows the old sum: an order that changes behind it is paid with another amount."""
        await self.placed(store, order(), stock=5)
        async with store.transaction() as uow:
            assert await uow.orders.claim("o-1", payment().payment_id)
            await uow.commit()
        with pytest.raises(Conflict) as refused:
            await self.placed(store, order(units=1))
        assert refused.value.code == "order_frozen"
        _, how = await self.placed(store, order())
        assert how is Placed.SAME

    async def test_one_hot_product_is_never_sold_twice(self, store: ShopStore) -> None:
        """Twenty orders for the last ten units: ten get them."""
        async with store.transaction() as uow:
            await uow.orders.put_stock("book", 10)
            await uow.commit()
        results = await asyncio.gather(
            *(self.placed(store, order(f"o-{n}", units=1)) for n in range(20)), return_exceptions=True
        )
        assert sum(isinstance(result, Conflict) for result in results) == 10
        assert await self.level(store) == (0, 10)

    # ── giving up ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def test_orders_nobody_clicked_are_due_in_time(self, store: ShopStore) -> None:
        """Stock is not held for a buyer who never comes."""
        await self.placed(store, order(), stock=5)
        assert await self.due(store, NOW) == []
        assert await self.due(store, NOW + timedelta(hours=24)) == ["o-1"]

    async def test_an_order_without_a_payment_is_given_up_once(self, store: ShopStore) -> None:
        """Not before its time, and its units come back a single time."""
        await self.placed(store, order(), stock=5)
        async with store.transaction() as uow:
            assert not await uow.orders.expire("o-1", NOW), "its time has not come"
            assert await uow.orders.expire("o-1", NOW + timedelta(hours=24))
            assert not await uow.orders.expire("o-1", NOW + timedelta(hours=24))
            assert not await uow.orders.cancel("o-1", NOW)
            await uow.commit()
        assert await self.level(store) == (5, 0)
        async with store.reading() as uow:
            found = await uow.orders.get("o-1")
        assert found is not None
        assert (found.status, found.expired) == (OrderStatus.CANCELLED, True)

    async def test_an_order_with_a_payment_is_not_given_up_by_the_order_book(self, store: ShopStore) -> None:
        """Its page may be paid this moment; only the payment knows when nobody can pay any more."""
        await self.placed(store, order(), stock=5)
        async with store.transaction() as uow:
            await uow.orders.claim("o-1", payment().payment_id)
            assert not await uow.orders.expire("o-1", NOW + timedelta(days=9))
            assert not await uow.orders.cancel("o-1", NOW)

    # ── with the payment ──────────────────────────────────────────────────────────────────────────────────────────
    async def test_units_reserved_and_units_left_are_counted_apart(self, store: ShopStore) -> None:
        """Consumed units belong to nobody's reservation any more; released ones can be had again."""
        for number in (1, 2):
            await self.placed(store, order(f"o-{number}"), stock=5 if number == 1 else None)
        async with store.transaction() as uow:
            await uow.orders.apply([OrderEffect("o-1", OrderStatus.PAID, StockMove.CONSUMED)])
            await uow.commit()
        assert await self.level(store) == (1, 2)
        async with store.transaction() as uow:
            await uow.orders.apply([OrderEffect("o-2", OrderStatus.CANCELLED, StockMove.RELEASED)])
            await uow.commit()
        assert await self.level(store) == (3, 0)

    async def test_an_order_and_its_payment_change_together_or_not_at_all(self, store: ShopStore) -> None:
        """An order that is paid beside a payment that is not, or the reverse, is what nobody can explain later."""
        await self.placed(store, order(), stock=5)
        async with store.transaction() as uow:
            await uow.orders.apply([OrderEffect("o-1", OrderStatus.PAID, StockMove.CONSUMED)])
            await uow.payments.save([Change(None, payment(), [])])
        async with store.reading() as uow:
            found = await uow.orders.get("o-1")
            assert await uow.payments.load([payment().payment_id]) == {}
        assert found is not None
        assert found.status is OrderStatus.PENDING
        assert await self.level(store) == (3, 2)

    # ── small helpers ─────────────────────────────────────────────────────────────────────────────────────────────
    async def placed(self, store: ShopStore, wanted: Order, *, stock: int | None = None) -> tuple[Order, Placed]:
        """What became of this order; `stock` is put on the shelf first."""
        async with store.transaction() as uow:
            if stock is not None:
                await uow.orders.put_stock("book", stock)
            placed = await uow.orders.place(wanted)
            await uow.commit()
        return placed

    async def shelve(self, store: ShopStore, wanted: Order, *, more: int) -> None:
        """Stock of everything this order asks for, and so many more."""
        async with store.transaction() as uow:
            for sku, units in wanted.tracked_units().items():
                await uow.orders.put_stock(sku, units + more)
            await uow.commit()

    async def applied_to(self, store: ShopStore, placed: Order, move: StockMove) -> None:
        """The stock of this order moved, whatever is said of its status."""
        async with store.transaction() as uow:
            effect = OrderEffect(placed.order_id, OrderStatus.PENDING, move)
            assert await uow.orders.apply([effect]) == {placed.order_id: move}
            await uow.commit()

    async def levels(self, store: ShopStore, wanted: Order) -> list[tuple[int, int]]:
        """Units that can still be reserved and units that are, of each product in this order, by its sku."""
        async with store.reading() as uow:
            found = [await uow.orders.stock(sku) for sku in sorted(wanted.tracked_units())]
        return [(level.available, level.reserved) for level in found if level is not None]

    async def due(self, store: ShopStore, now: datetime) -> list[str]:
        """Ids of the orders that are due now."""
        async with store.transaction() as uow:
            due = await uow.claim_due(DueKind.ORDER, now=now, until=now + timedelta(seconds=30), limit=10)
            await uow.commit()
        return [row.id for row in due]

    async def level(self, store: ShopStore) -> tuple[int, int]:
        """Units of the book that can still be reserved, and units that are."""
        async with store.reading() as uow:
            level = await uow.orders.stock("book")
        assert level is not None
        return level.available, level.reserved
