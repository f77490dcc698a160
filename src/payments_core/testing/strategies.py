"""Payments and orders of every shape, for laws: values that could be stored, whether or not a life leads to them.

    @given(payments())
    def test_a_payment_survives_my_rows(payment: Payment) -> None:
        assert from_rows(to_rows(payment)) == payment

**Units**: minor units up to 10**12 in every ISO 4217 currency we know; moments in UTC, with microseconds.
"""

from datetime import UTC, datetime, timedelta

import attrs
from hypothesis import strategies as st

from payments_core.identity import make_payment_id, provider_order_id
from payments_core.money import CURRENCY_EXPONENTS, Currency, Money
from payments_core.orders import Customer, Item, Order, OrderStatus, Shipping
from payments_core.payment import (
    Attempt,
    AttemptState,
    Case,
    CaseDecision,
    Charge,
    ChargeDue,
    Closed,
    ClosedAs,
    CloseReason,
    Decline,
    Payment,
    Refund,
    RefundState,
)
from payments_core.states import CaseKind, ChargeState

__all__ = ["attempts", "cases", "charges", "currencies", "moments", "monies", "orders", "payments", "refunds"]

words = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
references = st.text("abcdef0123456789-", min_size=1, max_size=36)
currencies = st.sampled_from(sorted(CURRENCY_EXPONENTS)).map(Currency.of)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
monies = st.builds(Money, st.integers(0, 10**12), currencies)
counts = st.integers(0, 50)
minors = st.integers(0, 10**12)
accounts = st.sampled_from(["default", "second"])


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """A value or None."""
    return st.none() | strategy


states = st.sampled_from([state for state in ChargeState if state is not ChargeState.UNSEEN])
charges = st.builds(
    Charge,
    transaction_id=references,
    attempt=st.just(1),
    state=states,
    amount=monies,
    method=maybe(words),
    authorized_minor=minors,
    captured_minor=minors,
    refunded_minor=minors,
    charged_back_minor=minors,
    reversed_minor=minors,
    charged_back_unknown=st.booleans(),
    authorized_by_reading=st.booleans(),
    had_money=st.booleans(),
    faults=st.frozensets(st.sampled_from(CaseKind)),
    accepted=st.booleans(),
    cancel_asked=st.booleans(),
    reading_number=counts,
    contradicted=st.booleans(),
    recheck_after=maybe(moments),
    decline=maybe(st.builds(Decline, words, maybe(words), moments)),
    occurred_at=maybe(moments),
    due=maybe(st.sampled_from(ChargeDue)),
    capture_minor=maybe(minors),
    asked_by=maybe(words),
    asked_at=maybe(moments),
    check_at=maybe(moments),
    checks=counts,
)
attempts = st.builds(
    Attempt,
    number=st.just(1),
    provider=st.sampled_from(["midtrans", "stripe"]),
    account=accounts,
    provider_order_id=references,
    state=st.sampled_from(AttemptState),
    amount=monies,
    merchant_id=maybe(words),
    live=maybe(st.booleans()),
    methods=st.lists(words, max_size=3).map(tuple),
    return_url=maybe(words),
    request=maybe(words),
    token=maybe(words),
    url=maybe(words),
    opened_at=moments,
    ends_at=moments,
    sends=counts,
    resend=st.booleans(),
    lease_until=maybe(moments),
    closing=maybe(st.sampled_from(CloseReason)),
    closing_by=maybe(words),
    doubt=maybe(st.sampled_from(CloseReason)),
    proof=maybe(words),
    check_at=maybe(moments),
    checks=counts,
)
refunds = st.builds(
    Refund,
    key=references,
    transaction_id=references,
    amount=monies,
    state=st.sampled_from(RefundState),
    by=words,
    reason=maybe(words),
    asked_as=maybe(references),
    case=maybe(counts),
    refused=maybe(words),
    elsewhere_minor=minors,
    at=moments,
    check_at=maybe(moments),
    checks=counts,
)
cases = st.builds(
    Case,
    number=st.just(1),
    kind=st.sampled_from(CaseKind),
    transaction_id=maybe(references),
    opened_at=moments,
    evidence=st.dictionaries(words, words, max_size=3),
    decision=maybe(st.sampled_from(CaseDecision)),
    decided_by=maybe(words),
    decided_at=maybe(moments),
    note=maybe(words),
)


@st.composite
def payments(draw: st.DrawFn) -> Payment:
    """A payment with up to three pages, of which one may be payable."""
    payment_id = make_payment_id(draw(st.integers(0, 2**47)), draw(st.integers(0, 2**79)))
    pages = [
        attrs.evolve(page, number=number, provider_order_id=provider_order_id(payment_id, number))
        for number, page in enumerate(draw(st.lists(attempts, max_size=3)), start=1)
    ]
    pages = [page if page is pages[-1] else attrs.evolve(page, state=AttemptState.DEAD) for page in pages]
    tries = [
        attrs.evolve(charge, attempt=draw(st.integers(1, len(pages))))
        for charge in (draw(st.lists(charges, max_size=3, unique_by=lambda c: c.transaction_id)) if pages else [])
    ]
    amount = draw(st.builds(Money, st.integers(1, 10**12), currencies))
    return Payment(
        payment_id=payment_id,
        account=draw(accounts),
        order_id=draw(references),
        amount=amount,
        owed=draw(monies),
        created_at=draw(moments),
        reserved_at=draw(moments),
        closed=draw(st.none() | st.builds(Closed, st.sampled_from(ClosedAs), moments, words)),
        paid_by=draw(st.sampled_from([None, *(c.transaction_id for c in tries)])),
        paid_at=draw(st.none() | moments),
        attempts=tuple(pages),
        charges=tuple(tries),
        refunds=tuple(draw(st.lists(refunds, max_size=2, unique_by=lambda r: r.key))),
        cases=tuple(
            attrs.evolve(case, number=number) for number, case in enumerate(draw(st.lists(cases, max_size=2)), start=1)
        ),
        reading_number=draw(counts),
        deadline_at=draw(st.none() | moments),
        version=draw(st.integers(1, 50)),
        events=draw(counts),
    )


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """An order in any currency, with or without discount and shipping, whose total is above zero."""
    currency = draw(currencies)
    amounts = st.builds(Money, st.integers(0, 10**9), st.just(currency))
    items = st.builds(
        Item,
        sku=references,
        name=words,
        price=st.builds(Money, st.integers(1, 10**9), st.just(currency)),
        quantity=st.integers(1, 100),
        variant=maybe(words),
        track_stock=st.booleans(),
    )
    lines = tuple(draw(st.lists(items, min_size=1, max_size=5)))
    shipping = st.builds(
        Shipping, cost=amounts, name=words, address=words, city=words, postal_code=words, phone=maybe(words)
    )
    gross = sum(line.total.amount_minor for line in lines)
    reserved_at = draw(moments)
    return Order(
        order_id=draw(references),
        customer=draw(st.builds(Customer, id=words, name=words, email=words, phone=maybe(words))),
        currency=currency,
        items=lines,
        discount=Money(draw(st.integers(0, gross - 1)), currency),
        shipping=draw(st.none() | shipping),
        status=draw(st.sampled_from(OrderStatus)),
        payment_id=draw(st.none() | references.map(lambda r: r[:26])),
        reserved_at=reserved_at,
        expires_at=reserved_at + timedelta(hours=draw(st.integers(1, 72))),
        expired=draw(st.booleans()),
    )
