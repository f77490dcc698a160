"""A storm at either gateway, or at both: what is told, seen and compared of each."""

import json
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from chaos.books import Ledger, Transaction
from chaos.plan import GATEWAYS, Plan
from chaos.postoffice import _digest
from chaos.stories import BY_NAME
from payments_core_simulator.fault_rules import FaultPlan
from payments_core_simulator.faults import Faults
from payments_core_simulator.midtrans.simulator import CALLS as MIDTRANS_CALLS
from payments_core_simulator.stripe.simulator import CALLS as STRIPE_CALLS


@pytest.mark.parametrize(("gateway", "calls"), [("midtrans", MIDTRANS_CALLS), ("stripe", STRIPE_CALLS)])
def test_a_plan_of_faults_makes_sense_at_its_gateway(gateway: str, calls: Any) -> None:
    """A rule that could never fire is refused, so a storm would not even begin."""
    plan = msgspec.convert(Plan(gateway="both").faults(gateway), FaultPlan)
    Faults(calls).replace(plan)
    assert {rule.__struct_config__.tag for rule in plan.faults} >= {"cut", "notification_drop", "rate_limit", "timeout"}


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_every_story_of_a_gateway_is_written(gateway: str) -> None:
    plan = Plan(gateway=gateway, payments=2000)
    assert {*plan.stories()} == {*GATEWAYS[gateway]} <= {*BY_NAME}


def test_the_books_of_two_gateways_are_one_ledger() -> None:
    """Paid at both is found only by whoever looks at both."""
    order = "01kdvdna000000000000000001-1p"
    paid = {"captured_amount": "100.00", "refunded_amount": "1.00", "charged_back_amount": "0"}
    views = [
        {
            "orders": {order: {"transactions": [{"transaction_id": name, "transaction_status": "paid", **paid}]}},
            "notifications": {"pending": 1, "sent": 2},
            "calls": {"refund": 3},
        }
        for name in ("tx-1", "pi_1")
    ]
    ledger = Ledger.read(*views)
    one = Transaction("01kdvdna000000000000000001", "paid", 10_000, 100, 0)
    assert ledger.of_payments() == {"01kdvdna000000000000000001": {"tx-1": one, "pi_1": one}}
    assert (ledger.pending, ledger.notifications["sent"], ledger.calls["refund"]) == (2, 4, 6)


def test_a_receipt_names_what_is_stored() -> None:
    """The bytes of Midtrans, the id of an event of Stripe."""
    body = json.dumps({"id": "evt_1", "type": "charge.refunded"}).encode()
    assert _digest(b"POST /api/webhooks/stripe/ HTTP/1.1", body) == sha256(b"evt_1").hexdigest()
    assert _digest(b"POST /api/webhooks/midtrans/ HTTP/1.1", body) == sha256(body).hexdigest()
