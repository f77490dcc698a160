"""What production refuses to start with, and how `doctor` says it, without ever printing a secret."""

import contextlib
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import attrs
import httpx
import pytest

from harness.product import Product, free_port, payments, running_product, token, until
from harness.questions import problem

pytestmark = pytest.mark.processes
SECRET = "canary-jwt-0123456789-0123456789-0123456789"
KEY = "Mid-server-CANARY0123456789"
SANDBOX_KEY = "SB-Mid-server-CANARY0123456789"
GONE = ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a migrated database lies."""
    path = tmp_path_factory.mktemp("production")
    migrated = payments("migrate", environment=settings(path), cwd=path)
    assert migrated.returncode == 0, migrated.stderr
    return path


def settings(folder: Path, **changes: str) -> dict[str, str]:
    """Settings production is content with, and changes; `GONE` leaves one out."""
    good = {
        "PAYMENTS_MODE": "production",
        "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}",
        "PAYMENTS_PUBLIC_URL": "https://pay.shop.example",
        "FRONTEND_URL": "https://shop.example",
        "PAYMENTS_JWT_SECRET": SECRET,
        "MIDTRANS_SERVER_KEY": KEY,
        "MIDTRANS_CLIENT_KEY": "Mid-client-CANARY0123456789",
        "MIDTRANS_IS_PRODUCTION": "true",
    }
    return {name: value for name, value in {**good, **changes}.items() if value != GONE}


SANDBOX = {"MIDTRANS_IS_PRODUCTION": "false", "MIDTRANS_SERVER_KEY": SANDBOX_KEY}
REFUSED = {
    "no secret": ({"PAYMENTS_JWT_SECRET": GONE}, "PAYMENTS_JWT_SECRET"),
    "a secret of 31 bytes": ({"PAYMENTS_JWT_SECRET": "s" * 31}, "PAYMENTS_JWT_SECRET"),
    "a demo's secret": ({"PAYMENTS_JWT_SECRET": f"DEMO-{SECRET}"}, "demo"),
    "a demo's key": ({**SANDBOX, "MIDTRANS_SERVER_KEY": "SB-Mid-server-DEMO-abcdef"}, "demo"),
    "a demo's key of yesterday": ({"MIDTRANS_SERVER_KEY_PREVIOUS": "SB-Mid-server-DEMO-abcdef"}, "demo"),
    "production with a sandbox key": ({"MIDTRANS_SERVER_KEY": SANDBOX_KEY}, "MIDTRANS_IS_PRODUCTION"),
    "production with an old sandbox key": ({"MIDTRANS_SERVER_KEY": "VT-server-CANARY"}, "MIDTRANS_IS_PRODUCTION"),
    "production with another Snap": ({"MIDTRANS_SNAP_URL": "https://snap.example/snap/v1"}, "MIDTRANS"),
    "no public URL": ({"PAYMENTS_PUBLIC_URL": GONE}, "PAYMENTS_PUBLIC_URL"),
    "a public URL without TLS": ({"PAYMENTS_PUBLIC_URL": "http://pay.shop.example"}, "PAYMENTS_PUBLIC_URL"),
    "a gateway on 127.1.2.3": ({**SANDBOX, "MIDTRANS_API_URL": "http://127.1.2.3:9001"}, "loopback"),
    "a gateway on localhost": ({**SANDBOX, "MIDTRANS_SNAP_URL": "http://LocalHost:9001/snap/v1"}, "loopback"),
    "a gateway on ::1": ({**SANDBOX, "MIDTRANS_SNAP_URL": "http://[::1]:9001/snap/v1"}, "loopback"),
    "an unknown mode": ({"PAYMENTS_MODE": "prod"}, "PAYMENTS_MODE"),
}


def refused(folder: Path, command: tuple[str, ...], changes: dict[str, str]) -> str:
    """What it says while it refuses; none of it a secret."""
    try:
        ended = payments(*command, environment=settings(folder, **changes), cwd=folder)
    except subprocess.TimeoutExpired:
        pytest.fail("it started")
    assert ended.returncode != 0
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said
    assert "CANARY" not in said
    assert "canary" not in said
    return said


@pytest.fixture(scope="module")
def refusals(folder: Path) -> Iterator[dict[str, "Future[str]"]]:
    """What each wrong start says, two started at a time."""
    with ThreadPoolExecutor(2) as pool:
        command = ("serve", "--port", str(free_port()))
        yield {kind: pool.submit(refused, folder, command, changes) for kind, (changes, _) in REFUSED.items()}


@pytest.mark.parametrize("kind", REFUSED)
def test_production_refuses_to_serve_with(refusals: dict[str, "Future[str]"], kind: str) -> None:
    """A wrong start must end at once, with a reason, and not at the first customer."""
    _, named = REFUSED[kind]
    assert named in refusals[kind].result()


@pytest.mark.parametrize("command", [("worker",), ("sweep", "--once")])
def test_what_touches_money_refuses_the_same(folder: Path, command: tuple[str, ...]) -> None:
    assert "PAYMENTS_JWT_SECRET" in refused(folder, command, {"PAYMENTS_JWT_SECRET": "short"})


@pytest.mark.parametrize(
    ("url", "reason"),
    [("mysql://root:CANARY@db/x", "PAYMENTS_DATABASE_URL"), ("not a url CANARY", "PAYMENTS_DATABASE_URL")],
)
def test_a_database_it_cannot_use_is_refused_by_name(folder: Path, url: str, reason: str) -> None:
    assert reason in refused(folder, ("serve", "--port", str(free_port())), {"PAYMENTS_DATABASE_URL": url})


@attrs.frozen
class _Running:
    url: str
    log: Path


@contextlib.contextmanager
def serving(folder: Path, environment: dict[str, str]) -> Iterator[_Running]:
    """A production server, until the block ends."""
    product = Product(environment, simulator=None, folder=folder)  # type: ignore[arg-type]
    try:
        server = product.serve("--no-worker")
        yield _Running(server.url, server.log)
    finally:
        product.close()


def test_a_database_that_does_not_answer_makes_it_not_ready_and_its_password_stays_unsaid(folder: Path) -> None:
    """A database may come later than its server; whoever reads the log meanwhile must not learn its password."""
    url = f"postgresql+asyncpg://payments:CANARY@127.0.0.1:{free_port()}/payments"
    with serving(folder, settings(folder, PAYMENTS_DATABASE_URL=url)) as server:
        problem(httpx.get(f"{server.url}/health/ready", trust_env=False), 503)
        assert "CANARY" not in server.log.read_text()


def test_production_serves_the_api_and_the_console_and_no_demo_shop(folder: Path) -> None:
    with serving(folder, settings(folder)) as server:
        assert httpx.get(f"{server.url}/health/ready", trust_env=False).is_success
        assert httpx.get(f"{server.url}/console", trust_env=False).status_code == 200
        assert httpx.get(f"{server.url}/shop", trust_env=False).status_code == 404


def test_without_keys_a_gateway_is_not_there(folder: Path) -> None:
    keyless = settings(folder, MIDTRANS_SERVER_KEY=GONE, MIDTRANS_IS_PRODUCTION=GONE, MIDTRANS_CLIENT_KEY=GONE)
    with serving(folder, keyless) as server:
        answer = httpx.post(f"{server.url}/api/webhooks/midtrans/", json={}, trust_env=False)
        assert answer.status_code == 404


def test_demo_and_simulator_need_no_setting(tmp_path: Path) -> None:
    for command in ("demo", "simulator"):
        assert payments(command, "--help", environment={}, cwd=tmp_path).returncode == 0


def everything_secret(folder: Path) -> dict[str, str]:
    """Every setting that is a secret, with a word in it that must never be seen."""
    return settings(
        folder,
        PAYMENTS_DATABASE_URL=f"postgresql+asyncpg://user:CANARYpassword@127.0.0.1:{free_port()}/x",
        MIDTRANS_SERVER_KEY_PREVIOUS="Mid-server-CANARYold",
        STRIPE_SECRET_KEY="sk_live_CANARY0123456789",
        STRIPE_WEBHOOK_SECRET="whsec_CANARYone,whsec_CANARYtwo",
    )


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_doctor_prints_no_secret(folder: Path, options: tuple[str, ...]) -> None:
    done = payments("doctor", *options, environment=everything_secret(folder), cwd=folder)
    said = done.stdout + done.stderr
    assert done.returncode == 1, "its database does not answer"
    assert "CANARY" not in said
    assert "canary" not in said
    assert "Traceback" not in said
    for name in ("PAYMENTS_JWT_SECRET", "MIDTRANS_SERVER_KEY", "STRIPE_WEBHOOK_SECRET"):
        assert name in said


@pytest.mark.parametrize("kind", ["production with a sandbox key", "a public URL without TLS"])
def test_doctor_says_what_serve_would_refuse(folder: Path, kind: str) -> None:
    changes, named = REFUSED[kind]
    done = payments("doctor", environment=settings(folder, **changes), cwd=folder)
    assert done.returncode == 1
    assert named in done.stdout


def test_doctor_is_content_with_good_settings(folder: Path) -> None:
    done = payments("doctor", environment=settings(folder), cwd=folder)
    assert done.returncode == 0, done.stdout


def test_doctor_warns_of_trusting_unsigned_words(folder: Path) -> None:
    done = payments("doctor", environment=settings(folder, MIDTRANS_CONFIRM="signature"), cwd=folder)
    assert "MIDTRANS_CONFIRM" in done.stdout
    assert "warn" in done.stdout.lower()


def test_the_log_of_a_busy_server_holds_no_secret(tmp_path: Path) -> None:
    """Errors of the gateway's client carry its Authorization header; a log is read by many."""
    database = f"sqlite+aiosqlite:///{tmp_path / 'payments.sqlite3'}"
    with running_product(database, tmp_path, MIDTRANS_TIMEOUT_SECONDS="1") as product:
        key, alice = product.environment["MIDTRANS_SERVER_KEY"], token("alice")
        for kind in ("server_error", "html", "cut", "rate_limit", "empty_body"):
            rule = {"kind": kind, "calls": ["snap_create"], "count": 1}
            product.simulator.control("faults", {"faults": [rule]})
            order_id = product.order()
            product.pay(order_id)
            product.call("POST", f"/api/orders/{order_id}/pay/", as_=alice, content=b"[" * 10_000)
        product.notify(b'{"order_id": "a", "signature_key": "wrong"}')
        until(lambda: product.call("GET", "/health/ready").is_success)
        log = product.servers[0].log.read_text()
        assert key not in log
        assert alice not in log
        assert product.environment["PAYMENTS_JWT_SECRET"] not in log
        assert "Authorization" not in log
        assert "alice@example.com" not in log


def test_what_failed_is_found_in_the_log_by_its_payment_its_request_and_its_transaction(tmp_path: Path) -> None:
    """Whoever must explain one payment at night has one of the three (H6)."""
    with running_product(f"sqlite+aiosqlite:///{tmp_path / 'payments.sqlite3'}", tmp_path) as product:
        _, page = product.clicked()
        product.simulator.control("faults", {"faults": [{"kind": "server_error", "calls": ["status"]}]})
        paid = product.buyer(page["provider_order_id"], "settlement")
        operator = token("ops", payments_role="operator", scope="payments:operate")
        answer = product.call("POST", f"/api/payments/{page['payment_id']}/refresh", as_=operator)
        said = problem(answer, 502)

        def logged(event: str) -> list[str]:
            return [line for line in product.servers[0].log.read_text().splitlines() if event in line]

        asked = until(lambda: logged("errand.postponed"), what="the question of the notification")
        assert page["payment_id"] in asked[0]
        assert paid["transaction_id"] in asked[0]
        refused = [line for line in logged("request.failed") if said["request_id"] in line]
        assert page["payment_id"] in refused[0]
