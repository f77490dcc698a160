"""The product as it is deployed, with a database of its own: what a nemesis kills and a supervisor restarts."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import httpx

from chaos.clock import SharedClock
from chaos.database import Database, Postgres, Sqlite
from chaos.plan import EXPIRY_HOURS, RATE, TIMEOUT_S, Plan
from chaos.postoffice import PostOffice
from harness.product import JWT_SECRET, clean_environment, free_port, payments
from payments_core_simulator.process import RunningSimulator, running_simulator

_TESTS = Path(__file__).parent.parent
_READY_S = 120.0
HISTORY_KEY = "chaos-history-key-of-more-than-32-bytes"
STRIPE_KEY = "sk_test_chaos_4eC39HqLyjWDarjtT1zdp7dc"
STRIPE_SECRET = "whsec_chaos_secret"


@attrs.define
class Process:
    """One process of the product: its command, and the pid it has now."""

    kind: str
    arguments: tuple[str, ...]
    port: int = 0
    pid: int = 0

    def is_alive(self) -> bool:
        """Whether the process is there; a killed one is gone at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 0)
            return True
        return False


@attrs.define
class System:
    """Everything that runs, and the way to kill and start it."""

    plan: Plan
    folder: Path
    clock: SharedClock
    database: Database
    simulators: dict[str, RunningSimulator]
    """By the gateway they stand in for."""
    office: PostOffice
    office_url: str
    environment: dict[str, str]
    processes: list[Process]
    _zygote: "subprocess.Popen[str]"
    died_alone: list[str] = attrs.field(factory=list)

    @property
    def ports(self) -> list[int]:
        """Where the API listens."""
        return [process.port for process in self.processes if process.kind == "api"]

    def start(self, process: Process) -> None:
        """The process begins; it is ready later."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        wish = {
            "arguments": process.arguments,
            "environment": self.environment,
            "folder": str(self.folder),
            "log": str(self.log_of(process)),
        }
        self._zygote.stdin.write(json.dumps(wish) + "\n")
        self._zygote.stdin.flush()
        process.pid = int(json.loads(self._zygote.stdout.readline())["pid"])

    def log_of(self, process: Process) -> Path:
        """What it printed, over all its lives."""
        return self.folder / f"{process.kind}-{self.processes.index(process)}.log"

    def kill(self, process: Process) -> None:
        """kill -9; one that was dead already died of itself, which is a finding."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            said = self.log_of(process).read_text(errors="replace").splitlines()[-1:]
            self.died_alone.append(f"{process.kind} {process.pid}, whose log ends: {' '.join(said)}")

    async def ready(self) -> None:
        """Every API process answers, its database too."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client, asyncio.timeout(_READY_S):
            for port in self.ports:
                while not await _answers(client, port):  # noqa: ASYNC110 - it is another process that changes
                    await asyncio.sleep(0.1)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A `payments` command with the settings of this system."""
        return payments(*arguments, environment=self.environment, cwd=self.folder)


async def _answers(client: httpx.AsyncClient, port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return (await client.get(f"http://127.0.0.1:{port}/health/ready")).is_success
    return False


@contextlib.asynccontextmanager
async def running_system(plan: Plan, folder: Path) -> AsyncIterator[System]:
    """The whole of it, migrated and ready; ended afterwards."""
    clock = SharedClock(folder / "clock", RATE)
    with contextlib.ExitStack() as stack:
        database = await asyncio.to_thread(_database, plan, folder, stack)
        with _as_environment(clock.environment()):
            simulators = {name: stack.enter_context(_simulator(name)) for name in plan.gateways}
        environment = {**_settings(database, simulators), **clock.environment()}
        migrated = await asyncio.to_thread(payments, "migrate", environment=environment, cwd=folder)
        assert migrated.returncode == 0, migrated.stderr
        zygote = stack.enter_context(_zygote(environment))
        processes = _processes(plan)
        office = PostOffice([process.port for process in processes if process.kind == "api"])
        origin = await office.open()
        stack.callback(office.close)
        system = System(plan, folder, clock, database, simulators, office, origin, environment, processes, zygote)
        for name, simulator in simulators.items():
            simulator.control("settings", {"notify_url": f"{origin}/api/webhooks/{name}/"})
        for process in processes:
            system.start(process)
        await system.ready()
        yield system


def _database(plan: Plan, folder: Path, stack: contextlib.ExitStack) -> Database:
    if plan.database == "sqlite":
        return Sqlite(f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}")
    if plan.database == "patroni":
        from chaos.patroni import Patroni

        return stack.enter_context(Patroni.running(folder / "patroni"))
    return stack.enter_context(Postgres.running(folder / "postgres"))


def _processes(plan: Plan) -> list[Process]:
    """SQLite serves one process, which sweeps as well; on PostgreSQL two of each kind."""

    def api(*options: str) -> Process:
        port = free_port()
        return Process("api", ("serve", "--port", str(port), *options), port)

    if plan.database == "sqlite":
        return [api()]
    return [api("--no-worker"), api("--no-worker"), Process("worker", ("worker",)), Process("worker", ("worker",))]


def _simulator(gateway: str) -> contextlib.AbstractContextManager[RunningSimulator]:
    if gateway == "stripe":
        return running_simulator("--gateway", "stripe", "--webhook-secret", STRIPE_SECRET, server_key=STRIPE_KEY)
    return running_simulator()


def _settings(database: Database, simulators: Mapping[str, RunningSimulator]) -> dict[str, str]:
    settings = {
        "PAYMENTS_MODE": "development",
        "PAYMENTS_DATABASE_URL": database.url,
        "PAYMENTS_JWT_SECRET": JWT_SECRET,
        "PAYMENTS_HISTORY_KEY": HISTORY_KEY,
        "PAYMENTS_EXPIRY_HOURS": str(EXPIRY_HOURS),
        "PAYMENTS_HOLD_MAX_HOURS": "2",
        "PAYMENTS_POLL_SECONDS": "30",
        "PAYMENTS_LATE_PAYMENT": "reopen_or_refund",
    }
    if midtrans := simulators.get("midtrans"):
        settings |= {
            "MIDTRANS_SERVER_KEY": midtrans.server_key,
            "MIDTRANS_MERCHANT_ID": "G000000000",
            "MIDTRANS_SNAP_URL": f"{midtrans.url}/snap/v1",
            "MIDTRANS_API_URL": midtrans.url,
            "MIDTRANS_TIMEOUT_SECONDS": str(TIMEOUT_S),
            "MIDTRANS_STATUS_LAG_SECONDS": "10",
        }
    if stripe := simulators.get("stripe"):
        settings |= {
            "STRIPE_SECRET_KEY": stripe.server_key,
            "STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
            "STRIPE_API_URL": stripe.url,
            "STRIPE_TIMEOUT_SECONDS": str(TIMEOUT_S),
        }
    return settings


@contextlib.contextmanager
def _as_environment(values: dict[str, str]) -> Any:
    """For what takes its environment from ours."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _zygote(environment: dict[str, str]) -> Any:
    path = os.pathsep.join([str(_TESTS), environment["PYTHONPATH"]])
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos.zygote"],
        env={**clean_environment(environment), "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()  # at its end everything forked there is killed
            process.wait(30)
