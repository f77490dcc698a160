"""The control endpoints: who may reach them, what the ledger shows, and that no input is a 500."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.simulator import TIMEOUT_S, create, pay
from payments_core_simulator.process import RunningSimulator, running_simulator

pytestmark = pytest.mark.processes


def post(simulator: RunningSimulator, path: str, raw: bytes = b"{}", **headers: str) -> requests.Response:
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(simulator.url + path, data=raw, headers=named, timeout=TIMEOUT_S)


# --- who may reach them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:9001", "localhost", "localhost:1", "[::1]:9001", "LOCALHOST"])
def test_a_loopback_name_is_let_in(simulator: RunningSimulator, host: str):
    assert post(simulator, "/_sim/reset", Host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:127", "user@localhost",
        "localhost@evil.example", "10.0.0.1", "[::2]", "localhost:99999", "", "localhost/x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_any_other_name_is_refused(simulator: RunningSimulator, host: str, method: str):
    """A web page whose name was re-bound to this machine sends its own name in Host."""
    path = "/_sim/ledger" if method == "GET" else "/_sim/reset"
    create(simulator).json()
    headers = {"Host": host, "Content-Type": "application/json"}
    answer = requests.request(method, simulator.url + path, headers=headers, timeout=TIMEOUT_S)
    # An empty or malformed Host may be refused by the server itself.
    assert answer.status_code in {400, 403}
    assert "o-1" in simulator.view("ledger")["orders"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_web_form_can_send_is_refused(simulator: RunningSimulator, content_type: str):
    answer = post(simulator, "/_sim/reset", Content_Type=content_type)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "content_type")


def test_a_charset_beside_the_content_type_is_fine(simulator: RunningSimulator):
    assert post(simulator, "/_sim/reset", Content_Type="application/json; charset=utf-8").status_code == 200


# --- pay and transition ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"order_id": "o-2", "payment_type": "qris", "outcome": "pending"}, 404, "o-2"),
        ({"order_id": "o-1", "payment_type": "bank_transfer", "outcome": "capture"}, 400, "cannot end as 'capture'"),
        ({"order_id": "o-1", "payment_type": "paypal", "outcome": "pending"}, 400, "unknown 'paypal'"),
        ({"order_id": "o-1", "payment_type": "qris", "outcome": "lost"}, 400, "$.outcome"),
        ({"order_id": "o-1", "payment_type": "bank_transfer", "outcome": "pending", "bank": "x"}, 400, "bank: 'x'"),
        ({"order_id": "o-1", "payment_type": "qris"}, 400, "outcome"),
        ({"order_id": "o-1", "payment_type": "qris", "outcome": "pending", "cash": 1}, 400, "cash"),
    ],
)
def test_a_try_that_cannot_be_meant_is_refused_with_the_reason(
    simulator: RunningSimulator, body: dict[str, object], status: int, text: str
):
    create(simulator).json()
    answer = post(simulator, "/_sim/pay", json.dumps(body).encode())
    assert answer.status_code == status
    assert text in answer.json()["error"]["message"]
    assert simulator.view("ledger")["orders"]["o-1"]["transactions"] == []


def test_a_try_on_a_dead_page_is_refused(simulator: RunningSimulator):
    token = create(simulator).json()["token"]
    url = f"{simulator.url}/snap/v1/transactions/{token}/cancel"
    requests.post(url, auth=(simulator.server_key, ""), timeout=TIMEOUT_S)
    answer = post(simulator, "/_sim/pay", b'{"order_id": "o-1", "payment_type": "qris", "outcome": "settlement"}')
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "page_dead")


def test_a_null_bank_means_the_usual_one(simulator: RunningSimulator):
    create(simulator).json()
    wish = {"order_id": "o-1", "payment_type": "bank_transfer", "outcome": "pending", "bank": None}
    assert simulator.control("pay", wish)["va_numbers"][0]["bank"] == "bca"


def test_an_unknown_transaction_cannot_be_moved(simulator: RunningSimulator):
    answer = post(simulator, "/_sim/transition", b'{"transaction_id": "none", "to": "settlement"}')
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_transaction")


def test_the_ledger_tells_the_truth_of_every_move(simulator: RunningSimulator):
    create(simulator).json()
    made = pay(simulator, "qris", "pending")["transaction_id"]
    steps = [
        ({"to": "settlement", "amount": "150000.01"}, ("settlement", "150000.01", "150000.01", "0.00", "0.00")),
        ({"to": "settlement", "amount": 150_000}, ("settlement", "150000.00", "150000.00", "0.00", "0.00")),
        ({"to": "partial_refund", "amount": 50_000}, ("partial_refund", "150000.00", "150000.00", "50000.00", "0.00")),
        ({"to": "chargeback"}, ("chargeback", "150000.00", "150000.00", "50000.00", "100000.00")),
        ({"to": "deny"}, ("deny", "150000.00", "0.00", "0.00", "0.00")),
        ({"to": "refund"}, ("refund", "150000.00", "150000.00", "150000.00", "0.00")),
        ({"to": "challenge"}, ("capture", "150000.00", "0.00", "0.00", "0.00")),
    ]
    names = ("transaction_status", "gross_amount", "captured_amount", "refunded_amount", "charged_back_amount")
    for body, expected in steps:
        simulator.control("transition", {"transaction_id": made, **body})
        (known,) = simulator.view("ledger")["orders"]["o-1"]["transactions"]
        assert tuple(known[name] for name in names) == expected, body


def test_a_transition_can_name_another_currency_and_merchant(simulator: RunningSimulator):
    create(simulator).json()
    made = pay(simulator, "qris", "pending")["transaction_id"]
    body = {"transaction_id": made, "to": "settlement", "currency": "USD", "merchant_id": "M999"}
    moved = simulator.control("transition", body)
    assert (moved["currency"], moved["merchant_id"]) == ("USD", "M999")


def test_the_ledger_has_the_agreed_shape(simulator: RunningSimulator):
    create(simulator).json()
    pay(simulator, "credit_card", "capture")
    ledger = simulator.view("ledger")
    assert {"orders", "notifications", "calls"} <= set(ledger)
    assert {"sent", "acknowledged", "pending"} <= set(ledger["notifications"])
    order = ledger["orders"]["o-1"]
    assert (order["gross_amount"], len(order["token"]), order["page"]) == ("150000.00", 36, "open")
    assert {
        "transaction_id", "payment_type", "transaction_status", "gross_amount", "captured_amount", "refunded_amount"
    } <= set(order["transactions"][0])  # fmt: skip


def test_a_reset_forgets_data_faults_time_and_switches(simulator: RunningSimulator):
    create(simulator).json()
    simulator.control("faults", {"faults": [{"kind": "html"}]})
    ahead = simulator.control("clock", {"advance_s": 3_600})["now"]
    shown = simulator.control("settings", {"core_errors": "body", "notify_url": "http://127.0.0.1:9/x"})
    assert "server_key" not in shown
    simulator.control("reset")
    assert simulator.view("ledger")["orders"] == {}
    assert simulator.view("faults")["faults"] == []
    assert simulator.control("settings")["core_errors"] == "http"
    assert simulator.control("settings")["notify_url"] == ""
    assert simulator.control("clock", {"advance_s": 0})["now"] < ahead


@pytest.mark.parametrize("seconds", [-1, 1e12])
def test_the_clock_moves_forward_only_and_not_too_far(simulator: RunningSimulator, seconds: float):
    assert post(simulator, "/_sim/clock", json.dumps({"advance_s": seconds}).encode()).status_code == 400


def test_the_clock_cannot_be_moved_too_far_in_steps(simulator: RunningSimulator):
    year = json.dumps({"advance_s": 365 * 86_400}).encode()
    answers = [post(simulator, "/_sim/clock", year).status_code for _ in range(12)]
    assert answers[:9] == [200] * 9
    assert answers[-1] == 400


# --- never a 500 -----------------------------------------------------------------------------------------------------

PATHS = [
    "/_sim/pay", "/_sim/transition", "/_sim/faults", "/_sim/settings", "/_sim/clock", "/_sim/reset",
    "/_sim/test-notification", "/snap/v1/transactions", "/v2/o-1/refund", "/v2/capture", "/_sim/nothing",
]  # fmt: skip
BODIES = [
    b"", b"{", b"[]", b"null", b"{}", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000, b'{"seed": ' + b"9" * 5_000 + b"}",
    b'{"order_id": 1e309}', b'{"transaction_id": "x", "to": "settlement", "amount": ' + b"9" * 5_000 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_body_is_a_500(simulator: RunningSimulator, path: str):
    for raw in BODIES:
        headers = {"Content-Type": "application/json"}
        auth = (simulator.server_key, "")
        answer = requests.post(simulator.url + path, data=raw, headers=headers, auth=auth, timeout=TIMEOUT_S)
        assert answer.status_code < 500, (path, raw[:40])
        assert isinstance(answer.json(), dict)


def test_a_body_over_the_limit_is_413(simulator: RunningSimulator):
    answer = post(simulator, "/_sim/faults", b" " * 300_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "http_413")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(PATHS), data=st.recursive(st.none() | st.integers() | st.text(), st.lists), limit=st.text())
def test_no_json_and_no_query_is_a_500(simulator_server: RunningSimulator, path: str, data: object, limit: str):
    with suppress(UnicodeEncodeError):
        assert post(simulator_server, path, json.dumps(data).encode()).status_code < 500
        url, query = f"{simulator_server.url}/_sim/notifications", {"limit": limit, "order_id": limit}
        assert requests.get(url, params=query, timeout=TIMEOUT_S).status_code < 500


# --- the process -----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "payments_core_simulator", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--port", "0", "--server-key", ""], "server_key"),
        (["--port", "0", "--server-key", "a:b"], "server_key"),
        (["--server-key", "k", "--port", "70000"], "port must be"),
        (["--server-key", "k", "--port", "0", "--notify-url", "ftp://x"], "notify_url"),
        (["--server-key", "k", "--port", "0", "--notification-speed-up", "0"], "notification_speed_up"),
        ([], "--server-key"),
    ],
)
def test_a_command_line_that_makes_no_sense_ends_with_2_and_the_reason(arguments: list[str], text: str):
    ended = command(*arguments)
    assert ended.returncode == 2
    assert text in ended.stderr


def test_a_taken_port_is_said_to_be_taken(simulator: RunningSimulator):
    port = simulator.url.rsplit(":", 1)[1]
    ended = command("--server-key", "k", "--port", port)
    assert ended.returncode == 2
    assert "in use" in ended.stderr


def test_the_key_is_in_no_output(tmp_path: Path):
    """Refused calls, given-up notifications and a stop: none of it may print the key."""
    key = "SB-Mid-server-canary-7f3a"
    errors = tmp_path / "errors"
    line = [sys.executable, "-m", "payments_core_simulator", "--port", "0", "--server-key", key]
    line += ["--notify-url", "http://127.0.0.1:9/x", "--notification-speed-up", "100000"]
    with errors.open("w") as sink, subprocess.Popen(line, stdout=subprocess.PIPE, stderr=sink, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        started = RunningSimulator(url, key, process)
        create(started)
        pay(started, "qris", "settlement")
        requests.get(f"{url}/v2/o-1/status", auth=(key + "x", ""), timeout=TIMEOUT_S)
        while started.view("ledger")["notifications"]["pending"]:
            pass
        started.stop()
        printed = process.stdout.read()
    assert "given up" in errors.read_text()
    assert key not in errors.read_text() + printed


def test_a_hung_answer_does_not_keep_the_process_alive():
    with running_simulator() as running:
        running.control("faults", {"faults": [{"kind": "timeout", "hang_s": 60, "calls": ["status"]}]})
        with pytest.raises(requests.Timeout):
            requests.get(f"{running.url}/v2/x/status", auth=(running.server_key, ""), timeout=0.2)
        running.process.terminate()
        assert running.process.wait(timeout=10) is not None
