"""Stripe behind the whole product on the database it runs on: what the other HTTP tests do on SQLite, once in a row."""

from pathlib import Path

import pytest

from harness.both import running_both
from harness.postgres import PostgresCluster
from harness.product import until

pytestmark = [pytest.mark.processes, pytest.mark.postgres]


def test_a_payment_is_paid_refunded_and_disputed_through_stripe_on_postgresql(
    postgres: PostgresCluster, tmp_path: Path
) -> None:
    """Events that name the intent alone find its payment through the constraint that binds it; and Midtrans is left."""
    with running_both(postgres.create_database(), tmp_path) as both:
        order_id = both.product.order(quantity=1)
        left, page = both.pay(order_id, "midtrans"), both.pay(order_id, "stripe")
        assert left["payment_id"] == page["payment_id"]
        both.buyer(page, "declined")
        both.buyer(page)
        both.product.settled(order_id, "success")
        made = both.operate(page["payment_id"], "refunds", key="once", json={"amount": "10000"})
        assert made.status_code == 201, made.text
        until(lambda: both.product.status(order_id)["status"] == "partially_refunded", what="the refund")
        both.becomes(page, "refund_failed")
        until(lambda: both.product.status(order_id)["needs_review"] == ["refund_returned"], what="that it came back")
        both.becomes(page, "dispute")
        until(lambda: "dispute_open" in both.product.status(order_id)["needs_review"], what="the dispute")
        both.becomes(page, "dispute_won")
        until(lambda: both.product.status(order_id)["needs_review"] == ["refund_returned"], what="its end")
        assert both.product.status(order_id)["status"] == "success"
