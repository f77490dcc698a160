"""Law: what is stored is read back, value for value."""

from hypothesis import given, settings

from payments_core.orders import Order
from payments_core.payment import Payment
from payments_core.status import status
from payments_core.testing.strategies import orders, payments
from payments_core_sqlalchemy.rows import from_rows, order_from_row, order_to_row, to_rows


@given(payments())
@settings(max_examples=300)
def test_a_payment_survives_its_rows(payment: Payment) -> None:
    assert from_rows(to_rows(payment)) == payment


@given(payments())
def test_the_status_in_the_row_is_the_fold(payment: Payment) -> None:
    assert to_rows(payment).payment["status"] == status(payment).value


@given(orders())
@settings(max_examples=200)
def test_an_order_survives_its_row(order: Order) -> None:
    assert order_from_row(order_to_row(order)) == order
