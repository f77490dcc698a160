"""The simulator's replies against the published definitions and bodies, where these lie beside the project."""

import json
from pathlib import Path

import jsonschema
import midtransclient
import pytest
import requests

from harness.simulator import TIMEOUT_S, call, order, pay
from payments_core_simulator.process import RunningSimulator

pytestmark = pytest.mark.processes

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
SPECIFICATION = CORPUS / "specs" / "midtrans_openapi_subset.json"


def check(template: str, answer: requests.Response) -> None:
    """Validate one answer against the published definition of its path."""
    operations = json.loads(SPECIFICATION.read_text("utf-8"))["paths"][template]
    responses = next(iter(operations.values()))["responses"]
    definition = responses.get(str(answer.status_code)) or responses["default"]
    jsonschema.validate(answer.json(), definition["content"]["application/json"]["schema"])


needs_corpus = pytest.mark.skipif(
    not SPECIFICATION.exists(), reason="the corpus of published Midtrans bodies does not lie beside the project"
)


@needs_corpus
def test_snap_replies_fit_the_published_definitions(simulator: RunningSimulator):
    create, cancel = "/snap/v1/transactions", "/snap/v1/transactions/{token}/cancel"
    made = call(simulator, "POST", create, order())
    check(create, made)
    check(create, call(simulator, "POST", create, {}))
    check(create, requests.post(simulator.url + create, json={}, timeout=TIMEOUT_S))
    for _ in range(2):
        check(cancel, call(simulator, "POST", f"/snap/v1/transactions/{made.json()['token']}/cancel"))
    check(cancel, call(simulator, "POST", "/snap/v1/transactions/unknown/cancel"))


@needs_corpus
@pytest.mark.parametrize("outcome", ["pending", "settlement", "challenge", "deny", "expire"])
def test_core_replies_fit_the_published_definitions(
    simulator: RunningSimulator, snap: midtransclient.Snap, outcome: str
):
    simulator.control("settings", {"core_errors": "body"})
    snap.create_transaction(order())
    pay(simulator, "credit_card", outcome)
    check("/v2/{order_id}/refund", call(simulator, "POST", "/v2/o-1/refund", {"refund_key": "k", "amount": 5_000}))
    direct = "/v2/{order_id}/refund/online/direct"
    check(direct, call(simulator, "POST", "/v2/o-1/refund/online/direct", {"refund_key": "d", "amount": "5000"}))
    check("/v2/{order_id}/status", call(simulator, "GET", "/v2/o-1/status"))
    check("/v2/{order_id}/cancel", call(simulator, "POST", "/v2/o-1/cancel"))
    check("/v2/{order_id}/expire", call(simulator, "POST", "/v2/o-1/expire"))
    check("/v2/{order_id}/status", requests.get(f"{simulator.url}/v2/o-1/status", timeout=TIMEOUT_S))


def published_types() -> dict[str, set[type]]:
    """Return every field of the published bodies with the JSON types it was seen with."""
    seen: dict[str, set[type]] = {}
    for path in sorted((CORPUS / "midtrans").glob("0*.json")):
        body = json.loads(path.read_text("utf-8"))
        for name, value in body.items() if isinstance(body, dict) else ():
            seen.setdefault(name, set()).add(type(value))
    return seen


@needs_corpus
@pytest.mark.parametrize("payment_type", ["credit_card", "gopay", "qris", "shopeepay", "echannel", "cstore", "kredivo"])
@pytest.mark.parametrize("outcome", ["pending", "settlement", "expire"])
def test_every_field_sent_was_seen_in_a_published_body(
    simulator: RunningSimulator, snap: midtransclient.Snap, payment_type: str, outcome: str
):
    """The simulator must not teach clients fields the gateway does not have."""
    published = published_types() | {"payment_option_type": {str}}
    snap.create_transaction(order())
    sent = pay(simulator, payment_type, outcome)
    assert {name for name, value in sent.items() if type(value) not in published.get(name, set())} == set()
