"""An order gets paid in a program without an event loop, such as a Flask or Django one: calls that return when done."""

from datetime import timedelta

from payments_core import (
    BlockingPayments,
    Currency,
    Customer,
    Item,
    Money,
    Order,
    PageWish,
    PaymentService,
    Signal,
    SystemClock,
)
from payments_core_memory import MemoryGateway, MemoryStore

gateway, store = MemoryGateway(), MemoryStore()  # yours: MidtransGateway(...), SqlStore(...)
payments = BlockingPayments(PaymentService.over(store, {"memory": gateway}, shop=store), sweep_every_s=1)


def place(order_id: str) -> None:
    rupiah, now = Currency.of("IDR"), SystemClock().now()
    book = Item("book", "A book", Money.parse("50000", rupiah), quantity=2, track_stock=False)
    order = Order(
        order_id=order_id, customer=Customer("alice", "Alice", "alice@example.com"), currency=rupiah, items=(book,),
        discount=Money(0, rupiah), reserved_at=now, expires_at=now + timedelta(hours=24),
    )  # fmt: skip
    payments.place_order(order)


def pay(order_id: str) -> str:
    """POST /orders/<order_id>/pay: where the buyer is sent to."""
    page = payments.start(order_id, PageWish(provider="memory"), customer_id="alice", actor="customer:alice")
    return page.attempt.url or ""


def webhook(body: bytes, headers: dict[str, str]) -> int:
    """POST /webhooks/memory: 200 says that it is stored; an error raised instead is your framework's to answer."""
    payments.receive("memory", body, headers)
    return 200


with payments:  # a server leaves this to the end of the program
    place("o-1")
    print("pay at", pay("o-1"))
    transaction = gateway.buyer_tries(
        next(iter(gateway.pages.values())).token, Signal.SETTLED
    )  # what a buyer does there
    for _ in range(2):  # twice, as gateways do
        webhook(*gateway.notification(transaction))
    seen = payments.status("o-1", customer_id="alice", wait_s=5)
    print(f"{seen.order_id}: {seen.status.value}, {seen.amount}")
