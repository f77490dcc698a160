"""`payments demo`: the API, the shop page and the simulator, started empty and stopped together."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import attrs
import httpx
import rich_click as click

from payments_core_app.catalogue import CATALOGUE, CUSTOMER
from payments_core_app.commands.common import EXIT_REFUSED, fail, is_free, run
from payments_core_app.container import Container
from payments_core_app.settings import DEMO_MARK, Settings
from payments_core_app.single import OneAtATime, TakenError
from payments_core_app.tokens import Role, make_token
from payments_core_sqlalchemy import migrate

__all__ = ["demo"]

_FOLDER = Path(".demo")
_PORT = click.IntRange(1, 65535)
_READY_S = 30.0
_STOP_S = 15.0
_TOKEN_TTL = timedelta(hours=12)
_STRIPE_PORT = 9002
_BANK = "Demo-Bank:000-123-456:Demo-Shop"
"""Without blanks: every line of `.demo/env` is NAME=value, for shells and for everything else."""


@click.command()
@click.option("--port", envvar="PORT", default=8000, show_default=True, type=_PORT, help="Of the API; also PORT.")
@click.option(
    "--simulator-port",
    envvar="SIMULATOR_PORT",
    default=9001,
    show_default=True,
    type=_PORT,
    help="Of the Midtrans simulator; also SIMULATOR_PORT.",
)
@click.option(
    "--stripe-port",
    envvar="STRIPE_SIMULATOR_PORT",
    type=_PORT,
    help=f"Of the Stripe simulator; also STRIPE_SIMULATOR_PORT. Without it {_STRIPE_PORT}, or a free one.",
)
def demo(port: int, simulator_port: int, stripe_port: int | None) -> None:
    """Run everything on loopback: API, shop page, console, and the simulators of Midtrans and Stripe.

    Its database is `.demo/` in this folder, made anew at every start.
    """
    why = "a demo runs in this folder already, and another one would empty its database: stop it first"
    try:
        with OneAtATime(Path(f"{_FOLDER}.lock"), why).acquire():
            _run(port, simulator_port, stripe_port)
    except TakenError as error:
        fail(str(error), EXIT_REFUSED)


def _run(port: int, simulator_port: int, wished: int | None) -> None:
    if port == simulator_port:
        fail("PORT and SIMULATOR_PORT are the same", EXIT_REFUSED)
    for name, number in (("PORT", port), ("SIMULATOR_PORT", simulator_port)):
        if not is_free("127.0.0.1", number):
            fail(f"port {number} is taken; choose another with {name}=...", EXIT_REFUSED)
    stripe_port = _stripe_port(wished, {port, simulator_port})
    signal.signal(signal.SIGINT, signal.default_int_handler)  # started in a background, it would be ignored
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)  # the terminal was closed
    environment = _prepare(port, simulator_port, stripe_port)
    settings = Settings.read(environment)
    processes = _Processes(environment)
    try:
        processes.start(
            "simulator", f"http://127.0.0.1:{simulator_port}/_sim/ledger", *_simulator(environment, simulator_port)
        )
        processes.start(
            "stripe", f"http://127.0.0.1:{stripe_port}/_sim/ledger", *_stripe_simulator(environment, stripe_port)
        )
        processes.start("serve", f"http://127.0.0.1:{port}/health/ready", "serve", "--port", str(port))
        click.echo(_welcome(settings, port, simulator_port, stripe_port))
        processes.wait()
    except KeyboardInterrupt:
        click.echo("\nstopping")
    finally:
        processes.stop()


def _stripe_port(wished: int | None, taken: set[int]) -> int:
    """The port that was asked for; else the usual one, or any that is free: nobody has to know of this simulator."""
    if wished is not None:
        if wished in taken or not is_free("127.0.0.1", wished):
            fail(f"port {wished} is taken; choose another with STRIPE_SIMULATOR_PORT=...", EXIT_REFUSED)
        return wished
    if _STRIPE_PORT not in taken and is_free("127.0.0.1", _STRIPE_PORT):
        return _STRIPE_PORT
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _end(*_: object) -> NoReturn:
    sys.exit(0)


def _prepare(port: int, simulator_port: int, stripe_port: int) -> dict[str, str]:
    """An empty folder, secrets made anew, a migrated database with stock, and the settings for other shells."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(mode=0o700)
    database = (_FOLDER / "payments.sqlite3").resolve()
    environment = {
        "PAYMENTS_MODE": "demo",
        "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{database}",
        "PAYMENTS_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "FRONTEND_URL": f"http://127.0.0.1:{port}/shop",
        "PAYMENTS_JWT_SECRET": f"{DEMO_MARK}-{secrets.token_urlsafe(48)}",
        "PAYMENTS_HISTORY_KEY": f"{DEMO_MARK}-{secrets.token_urlsafe(48)}",
        "MIDTRANS_SERVER_KEY": f"SB-Mid-server-{DEMO_MARK}-{secrets.token_urlsafe(18)}",
        "MIDTRANS_MERCHANT_ID": "G000000000",
        "MIDTRANS_SNAP_URL": f"http://127.0.0.1:{simulator_port}/snap/v1",
        "MIDTRANS_API_URL": f"http://127.0.0.1:{simulator_port}",
        "STRIPE_SECRET_KEY": f"sk_test_{DEMO_MARK}-{secrets.token_urlsafe(18)}",
        "STRIPE_WEBHOOK_SECRET": f"whsec_{DEMO_MARK}-{secrets.token_urlsafe(24)}",
        "STRIPE_API_URL": f"http://127.0.0.1:{stripe_port}",
        "PAYMENTS_MANUAL_BANK_DETAILS": _BANK,
        "PAYMENTS_MANUAL_SECRET": f"{DEMO_MARK}-{secrets.token_urlsafe(48)}",
    }
    path = _FOLDER / "env"
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    settings = Settings.read(environment)
    migrate(settings.database_url)
    run(_fill_stock, settings)
    return environment


async def _fill_stock(container: Container) -> None:
    async with container.store().transaction() as uow:
        for product in CATALOGUE:
            await uow.orders.put_stock(product.sku, product.stock)
        await uow.commit()


def _simulator(environment: Mapping[str, str], port: int) -> list[str]:
    notify = f"{environment['PAYMENTS_PUBLIC_URL']}/api/webhooks/midtrans/"
    return [
        "simulator",
        "--port",
        str(port),
        "--server-key",
        environment["MIDTRANS_SERVER_KEY"],
        "--merchant-id",
        environment["MIDTRANS_MERCHANT_ID"],
        "--notify-url",
        notify,
        "--notification-speed-up",
        "20",
    ]


def _stripe_simulator(environment: Mapping[str, str], port: int) -> list[str]:
    notify = f"{environment['PAYMENTS_PUBLIC_URL']}/api/webhooks/stripe/"
    options = {
        "--gateway": "stripe",
        "--port": str(port),
        "--secret-key": environment["STRIPE_SECRET_KEY"],
        "--webhook-secret": environment["STRIPE_WEBHOOK_SECRET"],
        "--notify-url": notify,
        "--notification-speed-up": "20",
    }
    return ["simulator", *(word for option in options.items() for word in option)]


@attrs.define
class _Processes:
    """The processes of the demo; whatever was started is stopped, by its own process id."""

    environment: Mapping[str, str]
    running: list["subprocess.Popen[bytes]"] = attrs.field(factory=list)

    def start(self, name: str, ready_url: str, *arguments: str) -> None:
        """The process runs and answers; its output goes to a log beside the database."""
        with (_FOLDER / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                [sys.executable, "-m", "payments_core_app", *arguments],
                env={**_outside(), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us, and we stop them in order
            )
        self.running.append(process)
        until = time.monotonic() + _READY_S
        while time.monotonic() < until:
            if process.poll() is not None:
                fail(f"{name} ended at once; see {_FOLDER / name}.log")
            if _answers(ready_url):
                return
            time.sleep(0.05)
        fail(f"{name} did not answer within {_READY_S:.0f} s; see {_FOLDER / name}.log")

    def wait(self) -> NoReturn:
        """Never return by itself: somebody stops the demo, or a process of it ended, which is a failure."""
        while all(process.poll() is None for process in self.running):
            time.sleep(0.2)
        fail(f"a process of the demo ended by itself; see {_FOLDER}/*.log")

    def stop(self) -> None:
        """All of them have ended, the last started first."""
        for process in reversed(self.running):
            if process.poll() is None:
                process.terminate()
        for process in reversed(self.running):
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _outside() -> dict[str, str]:
    """The shell's environment without settings that are not the demo's own."""
    ours = ("PAYMENTS_", "MIDTRANS_", "STRIPE_", "FRONTEND_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _welcome(settings: Settings, port: int, simulator_port: int, stripe_port: int) -> str:
    api, simulator = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{simulator_port}"
    shop = make_token(settings, "shop", role=Role.SERVICE, scope="orders:write", ttl=_TOKEN_TTL)
    alice = make_token(settings, CUSTOMER["id"], ttl=_TOKEN_TTL)
    product = CATALOGUE[0]
    order = (
        f'{{"customer": {{"id": "{CUSTOMER["id"]}", "name": "{CUSTOMER["name"]}", "email": "{CUSTOMER["email"]}"}}, '
        f'"currency": "IDR", "items": [{{"sku": "{product.sku}", "name": "{product.name}", '
        f'"price": "{product.price}", "quantity": 2}}]}}'
    )
    return f"""
  shop       {api}/shop
  console    {api}/console
  API        {api}/docs
  simulator  {simulator}/_sim/ledger        (Midtrans)
             http://127.0.0.1:{stripe_port}/_sim/ledger        (Stripe)
  settings   set -a; . {_FOLDER}/env        (for other shells)
  logs       {_FOLDER}/*.log

An order from nothing to paid; paste it into another shell, as often as you like:

# --- paste
API={api} SIM={simulator}
SHOP={shop}
ALICE={alice}
ORDER=demo-$(od -An -N6 -tx1 /dev/urandom | tr -d ' \\n')
curl -sS -X PUT "$API/api/orders/$ORDER" -H "Authorization: Bearer $SHOP" \\
  -H 'Content-Type: application/json' -d '{order}'; echo
PAGE=$(curl -sS -X POST "$API/api/orders/$ORDER/pay/" -H "Authorization: Bearer $ALICE"); echo "$PAGE"
PAYABLE=$(echo "$PAGE" | sed 's/.*"provider_order_id":"\\([^"]*\\)".*/\\1/')
curl -sS -X POST "$SIM/_sim/pay" -H 'Content-Type: application/json' \\
  -d "{{\\"order_id\\": \\"$PAYABLE\\", \\"payment_type\\": \\"gopay\\", \\"outcome\\": \\"settlement\\"}}"; echo
curl -sS "$API/api/orders/$ORDER/payment-status/?wait=25" -H "Authorization: Bearer $ALICE"; echo
curl -sS "$API/api/orders/$ORDER" -H "Authorization: Bearer $ALICE"; echo
# --- end

Ctrl-C stops all of it."""
