"""An order gets paid inside your own program: no server, no database, the memory twins for everything outside."""

import asyncio
from datetime import timedelta

from payments_core import Currency, Customer, ErrandList, Item, Money, Order, PageWish, PaymentService, Signal
from payments_core.system import SystemIds
from payments_core_memory import ManualClock, MemoryGateway, MemoryStore


async def main() -> None:
    clock, store, gateway, errands = ManualClock(), MemoryStore(), MemoryGateway(), ErrandList()
    payments = PaymentService.over(
        store, {"memory": gateway}, clock=clock, ids=SystemIds(), errands=errands, shop=store
    )

    rupiah, now = Currency.of("IDR"), clock.now()
    book = Item("book", "A book", Money.parse("50000", rupiah), quantity=2, track_stock=False)
    order = Order(
        order_id="o-1", customer=Customer("alice", "Alice", "alice@example.com"), currency=rupiah, items=(book,),
        discount=Money(0, rupiah), reserved_at=now, expires_at=now + timedelta(hours=24),
    )  # fmt: skip
    async with store.transaction() as uow:
        await uow.orders.place(order)
        await uow.commit()

    page = await payments.start("o-1", PageWish(provider="memory"), customer_id="alice", actor="customer:alice")
    print("pay at", page.attempt.url)

    transaction = gateway.buyer_tries(page.attempt.token or "", Signal.SETTLED)  # what a buyer does there
    for _ in range(2):  # what your webhook gets, twice, as gateways do
        await payments.receive("memory", *gateway.notification(transaction))
    await errands.do(payments.perform)  # the gateway is asked whether it is true

    seen = await payments.status("o-1", customer_id="alice")
    print(f"{seen.order_id}: {seen.status.value}, {seen.amount}")


asyncio.run(main())
