"""What `make run` starts: the real processes, driven by the calls they print, and by a person with a browser."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import httpx
import psutil
import pytest
from playwright.sync_api import Page, expect

from harness.browser import running_browser
from harness.product import free_port, payments, token

pytestmark = pytest.mark.processes


@attrs.frozen
class Demo:
    """`payments demo`, which is all that `make run` says after it has installed things."""

    process: "subprocess.Popen[str]"
    folder: Path
    said: str
    url: str
    simulator: str

    @property
    def paste(self) -> str:
        """The calls it prints."""
        return self.said.split("# --- paste\n")[1].split("# --- end")[0]

    @property
    def environment(self) -> dict[str, str]:
        """What `.demo/env` sets."""
        lines = (self.folder / ".demo" / "env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def stock(self, sku: str) -> dict[str, object]:
        """The stock of a sku, as the API says it."""
        secret = self.environment["PAYMENTS_JWT_SECRET"]
        shop = token("shop", secret=secret, payments_role="service", scope="orders:write")
        answer = httpx.get(f"{self.url}/api/stock/{sku}", headers={"Authorization": f"Bearer {shop}"})
        return dict(answer.raise_for_status().json())


def started(folder: Path) -> Demo:
    port, simulator_port = free_port(), free_port()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "payments_core_app", "demo"],
        env={**os.environ, "PORT": str(port), "SIMULATOR_PORT": str(simulator_port)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "Ctrl-C" in line:
            return Demo(process, folder, said, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{simulator_port}")
    raise AssertionError(f"the demo ended: {said}")


def stopped(demo: Demo) -> int:
    """Its exit code after Ctrl-C."""
    if demo.process.poll() is None:
        demo.process.send_signal(signal.SIGINT)
    try:
        return demo.process.wait(40)
    finally:
        demo.process.kill()
        assert demo.process.stdout is not None
        demo.process.stdout.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = started(tmp_path_factory.mktemp("demo"))
    yield running
    stopped(running)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_printed_calls_take_an_order_to_paid(demo: Demo, shell: str) -> None:
    """As printed, in any shell, as often as one likes."""
    sku = re.search(r'"sku": "([^"]+)"', demo.paste)
    assert sku is not None
    before = demo.stock(sku[1])
    done = subprocess.run(
        [shell], input=demo.paste, capture_output=True, text=True, timeout=60, check=True, cwd=demo.folder
    )
    status, order = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    assert (status["status"], order["status"]) == ("success", "paid")
    assert status["order_id"] == order["id"]
    after = demo.stock(sku[1])
    assert (after["available"], after["reserved"]) == (int(str(before["available"])) - 2, before["reserved"])


@pytest.mark.parametrize("provider", ["stripe", "manual"])
def test_the_other_gateways_of_the_demo_pay_an_order_too(demo: Demo, provider: str) -> None:
    """Stripe's simulator notifies, and an operator confirms a transfer, with nothing but what the demo made."""
    settings = demo.environment
    customer, order_id = token("budi", secret=settings["PAYMENTS_JWT_SECRET"]), f"demo-{provider}"
    service = {"payments_role": "service", "scope": "orders:write"}
    shop = token("shop", secret=settings["PAYMENTS_JWT_SECRET"], **service)
    sku = str(httpx.get(f"{demo.url}/shop/demo.json").raise_for_status().json()["catalogue"][0]["sku"])
    order = {
        "customer": {"id": "budi", "name": "Budi", "email": "budi@example.com"},
        "currency": "IDR",
        "items": [{"sku": sku, "name": "Something", "price": "50000", "quantity": 1}],
    }
    address = f"{demo.url}/api/orders/{order_id}"
    httpx.put(address, json=order, headers={"Authorization": f"Bearer {shop}"}).raise_for_status()
    buyer = {"Authorization": f"Bearer {customer}"}
    page = (
        httpx.post(f"{address}/pay/", json={"provider": provider}, headers=buyer, timeout=60).raise_for_status().json()
    )
    if provider == "stripe":
        lever = f"{settings['STRIPE_API_URL']}/_sim/pay"
        httpx.post(lever, json={"order_id": page["provider_order_id"]}).raise_for_status()
    else:
        said = ("confirm-transfer", page["provider_order_id"], "50000", "--bank-reference", "B1")
        assert payments(*said, environment=settings, cwd=demo.folder).returncode == 0
    status = httpx.get(f"{address}/payment-status/?wait=25", headers=buyer, timeout=60).raise_for_status().json()
    assert (status["status"], status["provider"]) == ("success", provider)


def test_it_prints_where_everything_is(demo: Demo) -> None:
    for path in ("/shop", "/console", "/docs"):
        assert f"{demo.url}{path}" in demo.said
        assert httpx.get(f"{demo.url}{path}").is_success
    assert f"{demo.simulator}/_sim/ledger" in demo.said
    assert httpx.get(f"{demo.simulator}/_sim/ledger").is_success


def test_other_shells_find_its_settings_and_nobody_else_does(demo: Demo) -> None:
    path = demo.folder / ".demo" / "env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    command = f"set -a; . .demo/env; {sys.executable} -m payments_core_app doctor"
    done = subprocess.run(["sh", "-c", command], cwd=demo.folder, capture_output=True, text=True, check=True)
    assert "PAYMENTS_MODE = demo" in done.stdout
    assert demo.environment["PAYMENTS_JWT_SECRET"] not in done.stdout


def test_it_listens_on_this_machine_only(demo: Demo) -> None:
    listening = {
        connection.laddr.ip
        for process in psutil.Process(demo.process.pid).children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_its_secrets_open_nothing_in_production(demo: Demo) -> None:
    environment = {
        **demo.environment,
        "PAYMENTS_MODE": "production",
        "PAYMENTS_PUBLIC_URL": "https://pay.shop.example",
        "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{demo.folder / 'other.sqlite3'}",
    }
    done = payments("serve", "--port", str(free_port()), environment=environment, cwd=demo.folder)
    assert done.returncode != 0
    assert "made by the demo" in done.stderr


def test_ctrl_c_stops_all_of_it_and_the_next_start_is_empty(tmp_path: Path) -> None:
    first = started(tmp_path)
    secret = first.environment["PAYMENTS_JWT_SECRET"]
    children = psutil.Process(first.process.pid).children(recursive=True)
    assert len(children) >= 2
    subprocess.run(["sh"], input=first.paste, capture_output=True, text=True, timeout=60, check=True)
    assert stopped(first) == 0
    assert psutil.wait_procs(children, timeout=20)[1] == []
    second = started(tmp_path)
    try:
        assert second.environment["PAYMENTS_JWT_SECRET"] != secret, "its secrets are made anew"
        assert httpx.get(f"{second.simulator}/_sim/ledger").json()["orders"] == {}
        reader = token(
            "olivia",
            secret=second.environment["PAYMENTS_JWT_SECRET"],
            payments_role="operator",
            scope="payments:read",
        )
        listed = httpx.get(f"{second.url}/api/payments", headers={"Authorization": f"Bearer {reader}"})
        assert listed.raise_for_status().json()["items"] == []
    finally:
        stopped(second)


def test_a_port_that_is_taken_is_named(demo: Demo, tmp_path: Path) -> None:
    taken = demo.url.rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, "-m", "payments_core_app", "demo", "--port", taken],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert f"port {taken} is taken" in done.stderr
    assert not (tmp_path / ".demo").exists()


def test_a_second_demo_in_the_same_folder_is_refused(demo: Demo) -> None:
    """It would empty the database under the feet of the first."""
    done = subprocess.run(
        [sys.executable, "-m", "payments_core_app", "demo", "--port", str(free_port())],
        cwd=demo.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "already" in done.stderr
    assert httpx.get(f"{demo.url}/health/ready").is_success
    assert demo.environment["PAYMENTS_PUBLIC_URL"] == demo.url


def test_its_settings_serve_on_loopback_only(demo: Demo) -> None:
    """Whoever asks for the demo's tokens gets them, so nobody else may be able to ask."""
    environment = {**demo.environment, "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{demo.folder / 'third.sqlite3'}"}
    serve = ("serve", "--host", "0.0.0.0", "--port", str(free_port()))  # noqa: S104 - that is what is refused
    done = payments(*serve, environment=environment, cwd=demo.folder)
    assert done.returncode == 2
    assert "loopback" in done.stderr


@pytest.mark.browser
def test_after_a_failed_click_the_same_basket_is_paid(demo: Demo, page: Page) -> None:
    """The first click reserved the last three; the second must not compete with it."""
    faults = {"faults": [{"kind": "server_error", "calls": ["snap_create"], "count": 1}]}
    httpx.post(f"{demo.simulator}/_sim/faults", json=faults).raise_for_status()
    page.goto(f"{demo.url}/shop")
    page.get_by_label("how many:").last.fill("3")
    page.get_by_role("button", name="Pay").click()
    expect(page.get_by_role("alert")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Pay").click()
    expect(page.get_by_text("SIMULATOR").first).to_be_visible(timeout=20_000)


# ── with a browser ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def page() -> Iterator[Page]:
    with running_browser() as browser:
        yield browser.new_page(viewport={"width": 1000, "height": 900})


@pytest.mark.browser
def test_a_person_picks_something_pays_and_sees_it_become_paid(demo: Demo, page: Page) -> None:
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(f"{said.text} {said.location}") if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{demo.url}/shop")
    page.get_by_label("how many:").first.fill("1")
    page.get_by_role("button", name="Pay").click()
    # The simulator's page, on another origin; it works without scripts.
    expect(page.get_by_text("SIMULATOR").first).to_be_visible()
    page.get_by_text("GoPay", exact=False).first.click()
    page.locator("details[open]").get_by_role("button").click()
    page.get_by_role("button", name="I have paid").click()
    page.get_by_role("link", name="Back to the shop").click()
    expect(page.get_by_text("Paid. Thank you.")).to_be_visible(timeout=20_000)
    order_id = page.url.split("/orders/")[1].split("/")[0]
    page.goto(f"{demo.url}/console")
    expect(page.get_by_text(order_id).first).to_be_visible(timeout=20_000)
    assert complaints == []
