"""What every store must do: the memory twin, SQLite and PostgreSQL pass the same tests."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from payments_core.decide import Verdict
from payments_core.errors import Conflict, InvalidInput, StaleWrite
from payments_core.facts import Event, FactType
from payments_core.identity import make_payment_id, provider_order_id
from payments_core.money import Currency, Money
from payments_core.orders import Customer, Item, Order, OrderStatus, StockMove
from payments_core.payment import Attempt, AttemptState, Charge, ChargeDue, Payment
from payments_core.ports import (
    Change,
    Due,
    DueKind,
    Kept,
    Notification,
    NotificationKey,
    OrderEffect,
    PaymentFilter,
    Placed,
    ShopStore,
)
from payments_core.states import ChargeState
from payments_core.status import PaymentStatus

IDR = Currency.of("IDR")
NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)


def order(order_id: str = "o-1", *, units: int = 2, sku: str = "book", **changes: object) -> Order:
    made = Order(
        order_id=order_id,
        customer=Customer("alice", "Alice", "alice@example.com"),
        currency=IDR,
        items=(Item(sku, "A book", Money(5_000_000, IDR), units),),
        discount=Money(0, IDR),
        reserved_at=NOW,
        expires_at=NOW + timedelta(hours=24),
    )
    return attrs.evolve(made, **changes)


def payment(number: int = 1, **changes: object) -> Payment:
    payment_id = make_payment_id(1_767_225_600_000 + number, number)
    page = Attempt(
        number=1,
        provider="midtrans",
        provider_order_id=provider_order_id(payment_id, 1),
        state=AttemptState.OPEN,
        amount=Money(10_000_000, IDR),
        opened_at=NOW,
        ends_at=NOW + timedelta(hours=24),
    )
    made = Payment(
        payment_id=payment_id,
        order_id=f"o-{number}",
        amount=Money(10_000_000, IDR),
        owed=Money(10_000_000, IDR),
        created_at=NOW,
        reserved_at=NOW,
        attempts=(page,),
    )
    return attrs.evolve(made, **changes)


def notification(number: int = 1, shard: str = "", transaction_id: str = "tx") -> Notification:
    key = NotificationKey(shard, "midtrans", "default", f"{number:064d}")
    return Notification(key=key, body=b'{"n": %d}' % number, received_at=NOW, transaction_id=transaction_id)


def event(made: Payment, sequence: int) -> Event:
    return Event(made.payment_id, sequence, FactType.PAYMENT_PAID, NOW, "gateway:midtrans", {"amount": "100000"})


class UnitOfWorkContract:
    """Inherit it, and give a `store` fixture with an empty store."""

    # ── transactions ──────────────────────────────────────────────────────────────────────────────────────────────
    async def test_what_is_not_committed_did_not_happen(self, store: ShopStore) -> None:
        async with store.transaction() as uow:
            await uow.orders.put_stock("book", 5)
        async with store.reading() as uow:
            assert await uow.orders.stock("book") is None

    async def test_an_exception_undoes_everything(self, store: ShopStore) -> None:
        with pytest.raises(RuntimeError, match="broken"):
            await self._break_after_writing(store)
        async with store.reading() as uow:
            assert await uow.orders.stock("book") is None

    async def _break_after_writing(self, store: ShopStore) -> None:
        async with store.transaction() as uow:
            await uow.orders.put_stock("book", 5)
            raise RuntimeError("broken")

    # ── payments ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def test_a_payment_comes_back_as_it_was_saved(self, store: ShopStore) -> None:
        made = payment()
        stored = await self.saved(store, made)
        async with store.reading() as uow:
            assert await uow.payments.load([made.payment_id, "unknown"]) == {made.payment_id: stored}
        assert stored == attrs.evolve(made, version=1)

    async def test_a_stale_write_changes_nothing(self, store: ShopStore) -> None:
        stored = await self.saved(store, payment())
        newer = attrs.evolve(stored, paid_at=NOW)
        await self.saved(store, newer, before=stored)
        with pytest.raises(StaleWrite):
            await self.saved(store, attrs.evolve(stored, paid_at=LATER), before=stored)
        async with store.reading() as uow:
            (found,) = (await uow.payments.load([stored.payment_id])).values()
        assert (found.paid_at, found.version) == (NOW, 2)

    async def test_a_payment_cannot_be_made_twice(self, store: ShopStore) -> None:
        await self.saved(store, payment())
        with pytest.raises(StaleWrite):
            await self.saved(store, payment())

    async def test_children_are_added_and_changed(self, store: ShopStore) -> None:
        stored = await self.saved(store, payment())
        charge = Charge(transaction_id="tx", attempt=1, state=ChargeState.PENDING, amount=stored.amount)
        with_charge = await self.saved(store, stored.with_charge(charge), before=stored)
        settled = attrs.evolve(charge, state=ChargeState.SETTLED, captured_minor=10_000_000)
        changed = await self.saved(store, with_charge.with_charge(settled), before=with_charge)
        async with store.reading() as uow:
            assert await uow.payments.load([stored.payment_id]) == {stored.payment_id: changed}

    async def test_history_is_appended_in_order_and_paged(self, store: ShopStore) -> None:
        made = payment()
        await self.saved(store, made, events=[event(made, 1), event(made, 2), event(made, 3)])
        async with store.reading() as uow:
            assert [e.sequence for e in await uow.payments.history(made.payment_id, after=1, limit=1)] == [2]
            assert await uow.payments.history(made.payment_id, after=0, limit=9) == [event(made, n) for n in (1, 2, 3)]

    async def test_numbers_of_questions_never_repeat(self, store: ShopStore) -> None:
        made = await self.saved(store, payment())
        taken = []
        for _ in range(3):
            async with store.transaction() as uow:
                taken.append((await uow.payments.take_numbers([made.payment_id, "unknown"]))[made.payment_id])
                await uow.commit()
        assert taken == [1, 2, 3]

    async def test_lists_are_newest_first_filtered_and_paged(self, store: ShopStore) -> None:
        made = [await self.saved(store, payment(number)) for number in range(1, 6)]
        async with store.reading() as uow:
            first = await uow.payments.newest(PaymentFilter(), before=None, limit=2)
            rest = await uow.payments.newest(PaymentFilter(), before=first[-1].payment_id, limit=9)
            by_order = await uow.payments.newest(PaymentFilter(order_id="o-3"), before=None, limit=9)
            by_status = await uow.payments.newest(PaymentFilter(status=PaymentStatus.SUCCESS), before=None, limit=9)
            fresh = await uow.payments.newest(PaymentFilter(created_from=LATER), before=None, limit=9)
            calm = PaymentFilter(
                needs_review=False, provider="midtrans", created_to=LATER, status=PaymentStatus.PENDING
            )
            calm_ones = await uow.payments.newest(calm, before=None, limit=9)
        assert [p.order_id for p in (*first, *rest)] == ["o-5", "o-4", "o-3", "o-2", "o-1"]
        assert [p.order_id for p in by_order] == ["o-3"]
        assert by_status == fresh == []
        assert len(calm_ones) == len(made)

    async def test_a_transaction_belongs_to_the_payment_that_bound_it_first(self, store: ShopStore) -> None:
        async with store.transaction() as uow:
            assert await uow.payments.bind("p-1", "midtrans", "default", "tx")
            await uow.commit()
        async with store.transaction() as uow:
            assert await uow.payments.bind("p-1", "midtrans", "default", "tx")
            assert not await uow.payments.bind("p-2", "midtrans", "default", "tx")
            assert await uow.payments.bind("p-2", "stripe", "default", "tx")

    # ── notifications ─────────────────────────────────────────────────────────────────────────────────────────────
    async def test_a_notification_is_remembered_once_and_counted(self, store: ShopStore) -> None:
        first, second = notification(1), notification(2)
        kept = await self.remembered(store, [first, second, first])
        assert [(kept[n.key].fresh, kept[n.key].times) for n in (first, second)] == [(True, 2), (True, 1)]
        again = await self.remembered(store, [first])
        assert (again[first.key].fresh, again[first.key].times) == (False, 3)

    async def test_the_same_bytes_of_another_gateway_are_another_notification(self, store: ShopStore) -> None:
        first = notification(1)
        other = attrs.evolve(first, key=attrs.evolve(first.key, provider="stripe"))
        kept = await self.remembered(store, [first, other])
        assert all(item.fresh for item in kept.values())

    async def test_a_verdict_is_kept_and_waiting_hints_are_found_by_transaction(self, store: ShopStore) -> None:
        shard = payment().payment_id
        hints = [notification(n, shard, "tx" if n < 3 else "other") for n in (1, 2, 3)]
        kept = await self.remembered(store, hints)
        waiting = [
            attrs.evolve(kept[n.key], verdict=Verdict.WAITING, asked=4, tries=1, check_at=LATER, reason="asked")
            for n in hints
        ]
        await self.updated(store, waiting)
        async with store.reading() as uow:
            found = await uow.inbox.waiting(shard, "tx")
            assert [(k.notification.body, k.asked, k.tries, k.check_at) for k in found] == [
                (hints[0].body, 4, 1, LATER),
                (hints[1].body, 4, 1, LATER),
            ]
        await self.updated(store, [attrs.evolve(waiting[0], verdict=Verdict.APPLIED, check_at=None)])
        async with store.reading() as uow:
            assert len(await uow.inbox.waiting(shard, "tx")) == 1
            (applied,) = await uow.inbox.load([hints[0].key])
        assert (applied.verdict, applied.reason) == (Verdict.APPLIED, "asked")

    # ── due work ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def test_due_rows_are_claimed_once_until_the_lease_ends(self, store: ShopStore) -> None:
        made = payment(deadline_at=NOW)
        page = attrs.evolve(made.attempt(1), check_at=NOW)
        charge = Charge(
            transaction_id="tx",
            attempt=1,
            state=ChargeState.PENDING,
            amount=made.amount,
            due=ChargeDue.RECHECK,
            check_at=NOW,
        )
        await self.saved(store, made.with_attempt(page).with_charge(charge))
        hint = notification(1, made.payment_id)
        kept = (await self.remembered(store, [hint]))[hint.key]
        await self.updated(store, [attrs.evolve(kept, verdict=Verdict.WAITING, check_at=NOW)])
        for kind, part in (
            (DueKind.NOTIFICATION, ""),
            (DueKind.ATTEMPT, "1"),
            (DueKind.CHARGE, "tx"),
            (DueKind.DEADLINE, ""),
        ):
            (due,) = await self.claimed(store, kind, NOW)
            assert (due.id, due.part) == (made.payment_id, part)
            assert (due.key is not None) is (kind is DueKind.NOTIFICATION)
            assert await self.claimed(store, kind, NOW) == []
            assert len(await self.claimed(store, kind, LATER)) == 1

    async def test_what_is_not_due_is_not_claimed_and_the_oldest_comes_first(self, store: ShopStore) -> None:
        for number in range(1, 5):
            await self.saved(store, payment(number, deadline_at=NOW + timedelta(seconds=10 - number)))
        async with store.transaction() as uow:
            due = await uow.claim_due(
                DueKind.DEADLINE, now=NOW + timedelta(seconds=8), until=LATER + timedelta(days=1), limit=2
            )
            await uow.commit()
        assert {d.id for d in due} == {payment(4).payment_id, payment(3).payment_id}
        assert len(await self.claimed(store, DueKind.DEADLINE, NOW + timedelta(seconds=8))) == 1

    async def test_orders_nobody_clicked_are_due_in_time(self, store: ShopStore) -> None:
        await self.placed(store, order(), stock=5)
        assert await self.claimed(store, DueKind.ORDER, NOW) == []
        (due,) = await self.claimed(store, DueKind.ORDER, NOW + timedelta(hours=24))
        assert due.id == "o-1"

    # ── orders and stock ──────────────────────────────────────────────────────────────────────────────────────────
    async def test_an_order_reserves_its_stock_once(self, store: ShopStore) -> None:
        placed, how = await self.placed(store, order(), stock=5)
        assert (placed, how) == (order(), Placed.NEW)
        assert await self.level(store) == (3, 2)
        _, again = await self.placed(store, order())
        assert again is Placed.SAME
        assert await self.level(store) == (3, 2)

    async def test_a_changed_order_reserves_anew(self, store: ShopStore) -> None:
        await self.placed(store, order(units=2), stock=5)
        _, how = await self.placed(store, order(units=5))
        assert how is Placed.CHANGED
        assert await self.level(store) == (0, 5)

    async def test_a_change_that_cannot_be_reserved_changes_nothing(self, store: ShopStore) -> None:
        await self.placed(store, order(units=2), stock=5)
        with pytest.raises(Conflict) as refused:
            await self.placed(store, order(units=6))
        assert refused.value.code == "out_of_stock"
        assert await self.level(store) == (3, 2)

    async def test_an_unknown_sku_is_said_so(self, store: ShopStore) -> None:
        with pytest.raises(InvalidInput) as refused:
            await self.placed(store, order(sku="unheard-of"))
        assert refused.value.code == "unknown_sku"

    async def test_untracked_items_need_no_stock(self, store: ShopStore) -> None:
        untracked = Item("gift", "A gift", Money(100, IDR), 1, track_stock=False)
        placed, _ = await self.placed(store, order(items=(untracked,)))
        assert placed.items == (untracked,)

    async def test_an_order_is_claimed_by_one_payment_and_frozen(self, store: ShopStore) -> None:
        await self.placed(store, order(), stock=5)
        async with store.transaction() as uow:
            assert await uow.orders.claim("o-1", "p-1")
            assert not await uow.orders.claim("o-1", "p-2")
            await uow.commit()
        with pytest.raises(Conflict) as refused:
            await self.placed(store, order(units=1))
        assert refused.value.code == "order_frozen"
        _, how = await self.placed(store, order())
        assert how is Placed.SAME

    async def test_stock_is_consumed_once(self, store: ShopStore) -> None:
        await self.placed(store, order(), stock=5)
        paid = OrderEffect("o-1", OrderStatus.PAID, StockMove.CONSUMED)
        assert await self.applied(store, paid) == {"o-1": StockMove.CONSUMED}
        assert await self.applied(store, paid) == {}
        assert await self.level(store) == (3, 0)

    async def test_stock_is_released_once_and_never_after_it_was_consumed(self, store: ShopStore) -> None:
        await self.placed(store, order(), stock=5)
        given_up = OrderEffect("o-1", OrderStatus.CANCELLED, StockMove.RELEASED, expired=True)
        assert await self.applied(store, given_up) == {"o-1": StockMove.RELEASED}
        assert await self.applied(store, given_up) == {}
        assert await self.applied(store, OrderEffect("o-1", OrderStatus.PAID, StockMove.CONSUMED)) == {}
        assert await self.level(store) == (5, 0)

    async def test_released_stock_is_reserved_again_if_it_can_be_had(self, store: ShopStore) -> None:
        await self.placed(store, order(), stock=2)
        await self.applied(store, OrderEffect("o-1", OrderStatus.CANCELLED, StockMove.RELEASED, expired=True))
        async with store.transaction() as uow:
            assert await uow.orders.reserve_again("o-1", LATER)
            await uow.commit()
        assert await self.level(store) == (0, 2)
        await self.applied(store, OrderEffect("o-1", OrderStatus.CANCELLED, StockMove.RELEASED))
        async with store.transaction() as uow:
            await uow.orders.put_stock("book", 1)
            assert not await uow.orders.reserve_again("o-1", LATER)

    async def test_an_order_without_a_payment_is_given_up_once(self, store: ShopStore) -> None:
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
        await self.placed(store, order(), stock=5)
        async with store.transaction() as uow:
            await uow.orders.claim("o-1", "p-1")
            assert not await uow.orders.expire("o-1", NOW + timedelta(days=9))
            assert not await uow.orders.cancel("o-1", NOW)

    # ── at once ───────────────────────────────────────────────────────────────────────────────────────────────────
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

    async def test_concurrent_changes_of_one_payment_lose_nothing(self, store: ShopStore) -> None:
        made = await self.saved(store, payment())

        async def add(number: int) -> None:
            async with store.transaction() as uow:
                before = (await uow.payments.lock([made.payment_id]))[made.payment_id]
                charge = Charge(transaction_id=f"tx-{number}", attempt=1, state=ChargeState.PENDING, amount=made.amount)
                await uow.payments.save([Change(before, before.with_charge(charge), [])])
                await uow.commit()

        await asyncio.gather(*(add(number) for number in range(20)))
        async with store.reading() as uow:
            (found,) = (await uow.payments.load([made.payment_id])).values()
        assert len(found.charges) == 20
        assert found.version == 21

    async def test_the_same_notification_at_once_is_fresh_for_one(self, store: ShopStore) -> None:
        hint = notification(1)
        kept = await asyncio.gather(*(self.remembered(store, [hint]) for _ in range(10)))
        assert sorted(k[hint.key].fresh for k in kept) == [False] * 9 + [True]

    # ── small helpers ─────────────────────────────────────────────────────────────────────────────────────────────
    async def saved(
        self, store: ShopStore, after: Payment, *, before: Payment | None = None, events: Sequence[Event] = ()
    ) -> Payment:
        async with store.transaction() as uow:
            stored = await uow.payments.save([Change(before, after, events)])
            await uow.commit()
        return stored[after.payment_id]

    async def remembered(self, store: ShopStore, batch: Sequence[Notification]) -> dict[NotificationKey, Kept]:
        async with store.transaction() as uow:
            kept = await uow.inbox.remember(batch)
            await uow.commit()
        return kept

    async def updated(self, store: ShopStore, kept: Sequence[Kept]) -> None:
        async with store.transaction() as uow:
            await uow.inbox.update(kept)
            await uow.commit()

    async def claimed(self, store: ShopStore, kind: DueKind, now: datetime) -> list[Due]:
        async with store.transaction() as uow:
            due = await uow.claim_due(kind, now=now, until=now + timedelta(seconds=30), limit=10)
            await uow.commit()
        return due

    async def placed(self, store: ShopStore, wanted: Order, *, stock: int | None = None) -> tuple[Order, Placed]:
        async with store.transaction() as uow:
            if stock is not None:
                await uow.orders.put_stock("book", stock)
            placed = await uow.orders.place(wanted)
            await uow.commit()
        return placed

    async def applied(self, store: ShopStore, effect: OrderEffect) -> dict[str, StockMove]:
        async with store.transaction() as uow:
            moved = await uow.orders.apply([effect])
            await uow.commit()
        return moved

    async def level(self, store: ShopStore) -> tuple[int, int]:
        async with store.reading() as uow:
            level = await uow.orders.stock("book")
        assert level is not None
        return level.available, level.reserved
