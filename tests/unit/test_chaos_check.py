"""The judge of a storm can say no: each kind of violation is planted in books that were right before."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from chaos.books import Books, Ledger, Stored, Transaction
from chaos.check import disagreements, log_findings, unended, violations
from chaos.people import OPERATOR, Deed
from chaos.plan import SKUS, STOCK

PAID = 10_000_000


def charge(captured: int = PAID, refunded: int = 0) -> dict[str, Any]:
    return {"captured_minor": captured, "refunded_minor": refunded, "charged_back_minor": 0, "reversed_minor": 0}


def books() -> Books:
    """An order of two books that was paid once, and a part of it given back."""
    return Books(
        "o-1",
        status="partially_refunded",
        payment_id="p-1",
        payment_status="partially_refunded",
        paid_by="t-1",
        owed=PAID,
        charges={"t-1": charge(refunded=1000)},
        attempts=["spent"],
        refunds={"p-1-r1": {"state": "confirmed", "by": OPERATOR, "amount_minor": 1000, "transaction_id": "t-1"}},
        events=Counter({"order.paid": 1, "stock.consumed": 1}),
        reservation=("consumed", SKUS[0], 2),
    )


def stored(order: Books) -> Stored:
    shelf = {**dict.fromkeys(SKUS, STOCK), SKUS[0]: STOCK - 2}
    return Stored({"o-1": order}, {"d-1": "applied"}, shelf)


def ledger(**more: Transaction) -> Ledger:
    return Ledger({"t-1": Transaction("p-1", "partial_refund", PAID, 1000, 0), **more}, 0, {}, {})


def deeds(**changes: Any) -> dict[str, Deed]:
    deed = Deed("o-1", "is_refunded_in_parts", SKUS[0], 2, refunds={"k": 10}, granted={"k": "p-1-r1"})
    return {"o-1": attrs.evolve(deed, **changes)}


def judged(order: Books, said: Ledger | None = None, receipts: Counter[str] | None = None, **deed: Any) -> list[str]:
    return violations(stored(order), said or ledger(), deeds(**deed), receipts or Counter({"d-1": 3}))


def test_books_that_are_right_are_called_right() -> None:
    assert judged(books()) == []
    assert disagreements(stored(books()), ledger()) == []
    assert unended(stored(books()), deeds()) == []


def second_charge() -> list[str]:
    order = books()
    order.charges["t-2"] = charge()
    return judged(order, ledger(**{"t-2": Transaction("p-1", "settlement", PAID, 0, 0)}))


def second_charge_nobody_heard_of() -> list[str]:
    return judged(books(), ledger(**{"t-2": Transaction("p-1", "settlement", PAID, 0, 0)}))


def refund_sent_twice() -> list[str]:
    return judged(books(), Ledger({"t-1": Transaction("p-1", "partial_refund", PAID, 2000, 0)}, 0, {}, {}))


def refund_made_twice() -> list[str]:
    order = books()
    order.refunds["p-1-r2"] = dict(order.refunds["p-1-r1"])
    return judged(order)


def refund_forgotten() -> list[str]:
    return judged(books(), granted={"k": "p-1-r1", "l": "p-1-r2"})


def receipt_for_nothing() -> list[str]:
    return judged(books(), receipts=Counter({"d-1": 1, "d-2": 1}))


def order_gone() -> list[str]:
    said = stored(books())
    return violations(attrs.evolve(said, orders={}), ledger(), deeds(), Counter())


def paid_twice() -> list[str]:
    return judged(attrs.evolve(books(), events=Counter({"order.paid": 2, "stock.consumed": 1})))


def stock_left_twice() -> list[str]:
    return judged(attrs.evolve(books(), events=Counter({"order.paid": 1, "stock.consumed": 2})))


def shop_never_told() -> list[str]:
    return judged(attrs.evolve(books(), status="pending"))


def stock_given_back_although_paid() -> list[str]:
    return judged(attrs.evolve(books(), reservation=("released", SKUS[0], 2)))


def shelf_is_wrong() -> list[str]:
    return judged(attrs.evolve(books(), reservation=("consumed", SKUS[0], 3)))


@pytest.mark.parametrize(
    ("planted", "word"),
    [
        (second_charge, "DOUBLE CHARGE"),
        (second_charge_nobody_heard_of, "DOUBLE CHARGE"),
        (refund_sent_twice, "DOUBLE REFUND"),
        (refund_made_twice, "DOUBLE REFUND"),
        (refund_forgotten, "LOST REFUND"),
        (receipt_for_nothing, "LOST NOTIFICATION"),
        (order_gone, "LOST ORDER"),
        (paid_twice, "PAID 2 TIMES"),
        (stock_left_twice, "STOCK LEFT TWICE"),
        (shop_never_told, "WRONG STATUS"),
        (stock_given_back_although_paid, "STOCK o-1"),
        (shelf_is_wrong, "STOCK OF"),
    ],
)
def test_a_planted_violation_is_named(planted: Callable[[], list[str]], word: str) -> None:
    assert any(found.startswith(word) for found in planted()), planted()


def test_a_surplus_payment_that_somebody_was_told_of_is_no_double_charge() -> None:
    order = books()
    order.charges["t-2"] = charge()
    order.open_cases.append(("surplus_payment", "t-2"))
    assert judged(order, ledger(**{"t-2": Transaction("p-1", "settlement", PAID, 0, 0)})) == []


def test_what_has_not_come_together_yet_is_told() -> None:
    behind = attrs.evolve(books(), charges={})
    assert "o-1: of t-1" in disagreements(stored(behind), ledger())[0]
    waiting = attrs.evolve(stored(books()), verdicts={"d-1": "waiting"})
    assert disagreements(waiting, ledger()) == ["notification d-1 is waiting"]
    under_way = books()
    under_way.refunds["p-1-r1"]["state"] = "unknown"
    assert disagreements(stored(under_way), ledger()) == ["o-1: refund p-1-r1 is unknown"]
    under_way.open_cases.append(("refund_unknown", "t-1"))
    assert disagreements(stored(under_way), ledger()) == [], "a person was told"


def test_an_order_that_never_ends_is_told() -> None:
    open_for_ever = attrs.evolve(books(), attempts=["open"], reservation=("reserved", SKUS[0], 2))
    assert unended(stored(open_for_ever), deeds()) == ["o-1: partially_refunded, pages ['open']"]


def test_an_exception_in_a_log_is_told() -> None:
    assert log_findings([("api-0.log", "all is well\n[error    ] request.broke path=/api\n")])
    assert log_findings([("api-0.log", "[info     ] errand.postponed\n")]) == []
