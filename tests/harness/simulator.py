"""What tests of the simulator ask it, with the real Midtrans client and without it."""

from collections.abc import Callable
from typing import Any

import midtransclient
import pytest
import requests

from payments_core_simulator.process import RunningSimulator

TIMEOUT_S = 10


def order(order_id: str = "o-1", **changes: object) -> dict[str, object]:
    """The body of a create."""
    return {"transaction_details": {"order_id": order_id, "gross_amount": 150_000}, **changes}


def call(simulator: RunningSimulator, method: str, path: str, body: object = None) -> requests.Response:
    """One authenticated request."""
    return requests.request(method, simulator.url + path, json=body, auth=(simulator.server_key, ""), timeout=TIMEOUT_S)


def create(simulator: RunningSimulator, order_id: str = "o-1", **changes: object) -> requests.Response:
    """A page for this order."""
    return call(simulator, "POST", "/snap/v1/transactions", order(order_id, **changes))


def pay(simulator: RunningSimulator, payment_type: str, outcome: str, **more: object) -> dict[str, Any]:
    """The buyer's try on the page of `o-1`."""
    return simulator.control("pay", {"order_id": "o-1", "payment_type": payment_type, "outcome": outcome, **more})


def transaction(simulator: RunningSimulator, number: int = 0) -> dict[str, str]:
    """A transaction of `o-1` in the ledger."""
    return simulator.view("ledger")["orders"]["o-1"]["transactions"][number]


def refusal(client_call: Callable[..., object], *arguments: object) -> midtransclient.error_midtrans.MidtransAPIError:
    """What the client raises when it is refused."""
    with pytest.raises(midtransclient.error_midtrans.MidtransAPIError) as refused:
        client_call(*arguments)
    return refused.value
