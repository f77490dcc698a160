"""Payments done once: a shop's order gets paid exactly once, whatever gateway, network, customer and servers do.

The pure part is plain functions on frozen values: `plan_pay`, `decide_hint`, `decide_reading`, `status`.
The use cases are `async def` over the protocols in `payments_core.ports`; `PaymentService` wires them, and
`BlockingPayments` is the same for programs without an event loop.
What is not exported here is private.

A name is fetched from its module when it is first asked for, because a program that wants `Money` should not wait for
the use cases: building a hundred frozen classes takes ten times as long as starting Python.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from payments_core.commands import AskCharge, AskPage, CancelCharge, ClosePage, Command, commands_between
    from payments_core.decide import Reading, Verdict, decide_hint, decide_reading, still_wants
    from payments_core.errors import PaymentsError
    from payments_core.facts import Event, Fact, FactType, facts_between
    from payments_core.money import Currency, Money
    from payments_core.observations import Nothing, Observation, Unknown
    from payments_core.orders import Customer, Item, Order, OrderStatus, Shipping
    from payments_core.pages import PageWish, new_payment, page_opened, plan_cancel, plan_deadline, plan_pay
    from payments_core.payment import Attempt, AttemptState, Case, Charge, Payment, Refund
    from payments_core.policy import GatewayTraits, LatePayment, Policy
    from payments_core.service import ErrandList, PaymentService
    from payments_core.settling import order_effect, settle_stock, wants_stock
    from payments_core.states import TRANSITIONS, CaseKind, ChargeState, Confirm, Signal
    from payments_core.status import STATUS_ROWS, PaymentStatus, order_status, status
    from payments_core.sync import BlockingPayments
    from payments_core.system import SystemClock, SystemIds

__all__ = [
    "STATUS_ROWS",
    "TRANSITIONS",
    "AskCharge",
    "AskPage",
    "Attempt",
    "AttemptState",
    "BlockingPayments",
    "CancelCharge",
    "Case",
    "CaseKind",
    "Charge",
    "ChargeState",
    "ClosePage",
    "Command",
    "Confirm",
    "Currency",
    "Customer",
    "ErrandList",
    "Event",
    "Fact",
    "FactType",
    "GatewayTraits",
    "Item",
    "LatePayment",
    "Money",
    "Nothing",
    "Observation",
    "Order",
    "OrderStatus",
    "PageWish",
    "Payment",
    "PaymentService",
    "PaymentStatus",
    "PaymentsError",
    "Policy",
    "Reading",
    "Refund",
    "Shipping",
    "Signal",
    "SystemClock",
    "SystemIds",
    "Unknown",
    "Verdict",
    "commands_between",
    "decide_hint",
    "decide_reading",
    "facts_between",
    "new_payment",
    "order_effect",
    "order_status",
    "page_opened",
    "plan_cancel",
    "plan_deadline",
    "plan_pay",
    "settle_stock",
    "status",
    "still_wants",
    "wants_stock",
]

_HOMES = {
    "commands": "AskCharge AskPage CancelCharge ClosePage Command commands_between",
    "decide": "Reading Verdict decide_hint decide_reading still_wants",
    "errors": "PaymentsError",
    "facts": "Event Fact FactType facts_between",
    "money": "Currency Money",
    "observations": "Nothing Observation Unknown",
    "orders": "Customer Item Order OrderStatus Shipping",
    "pages": "PageWish new_payment page_opened plan_cancel plan_deadline plan_pay",
    "payment": "Attempt AttemptState Case Charge Payment Refund",
    "policy": "GatewayTraits LatePayment Policy",
    "service": "ErrandList PaymentService",
    "settling": "order_effect settle_stock wants_stock",
    "states": "TRANSITIONS CaseKind ChargeState Confirm Signal",
    "status": "STATUS_ROWS PaymentStatus order_status status",
    "sync": "BlockingPayments",
    "system": "SystemClock SystemIds",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """A public name, from now on an attribute like any other."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package: `payments_core.status` is the function, whoever imported the module of that name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
