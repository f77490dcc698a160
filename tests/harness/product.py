"""The product as its users run it: `payments migrate`, `payments serve`, the simulator, driven over HTTP."""

import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import httpx
import jwt

from payments_core_simulator.process import RunningSimulator, running_simulator

JWT_SECRET = "test-secret-that-is-long-enough-for-hs256"
_READY_S = 30.0


_PORTS = range(20_000, 32_000)
"""Below those that outgoing connections get: else one could take the port of a server that is down for a moment."""


def free_port() -> int:
    """A port nobody listens on now."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


def until(condition: Any, *, seconds: float = 20.0, what: str = "the condition") -> Any:
    """The first true value of `condition()`; polling is how one waits for another process."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def payments(*arguments: str, environment: Mapping[str, str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    """A `payments` command, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "payments_core_app", *arguments],
        env=clean_environment(environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    ours = ("PAYMENTS_", "MIDTRANS_", "STRIPE_", "FRONTEND_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, **environment}


def token(subject: str, *, secret: str = JWT_SECRET, **claims: Any) -> str:
    """A token; claims override the usual ones, None leaves one out."""
    usual = {"sub": subject, "aud": "payments-core", "exp": int(time.time()) + 3600, **claims}
    return jwt.encode({name: value for name, value in usual.items() if value is not None}, secret, "HS256")


def new_client() -> httpx.Client:
    """A client for many threads: a connection each, because an idle one may be closed by both sides at once."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.Client(timeout=60, trust_env=False, limits=limits)


@attrs.define
class Server:
    """One `payments serve`, with all its processes in a group of their own."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def kill(self) -> None:
        """kill -9 of the whole group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop, and give its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@attrs.define
class Product:
    """The API (one or more servers on one database) and the simulator."""

    environment: dict[str, str]
    simulator: RunningSimulator
    folder: Path
    servers: list[Server] = attrs.field(factory=list)
    workers: list[Server] = attrs.field(factory=list)
    client: httpx.Client = attrs.field(factory=new_client)

    @property
    def url(self) -> str:
        """Where the first server listens."""
        return self.servers[0].url

    # ── processes ─────────────────────────────────────────────────────────────────────────────────────────────────
    def serve(self, *options: str, **overrides: str) -> Server:
        """Another server on the same database, when it is ready."""
        port = free_port()
        server = self._begin(f"http://127.0.0.1:{port}", "serve", "--port", str(port), *options, **overrides)
        self.servers.append(server)
        process = server.process
        until(lambda: process.poll() is not None or self._answers(server), seconds=_READY_S, what="the server")
        assert process.poll() is None, server.log.read_text()
        return server

    def work(self, **overrides: str) -> Server:
        """A `payments worker` on the same database; it begins by itself. No call goes to it."""
        worker = self._begin("", "worker", **overrides)
        self.workers.append(worker)
        return worker

    def _begin(self, url: str, *arguments: str, **overrides: str) -> Server:
        log = self.folder / f"{arguments[0]}-{len(self.servers) + len(self.workers)}-{secrets.token_hex(3)}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "payments_core_app", *arguments],
                env=clean_environment({**self.environment, **overrides}),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return Server(url, process, log)

    def _answers(self, server: Server) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self.client.get(f"{server.url}/health/live").is_success
        return False

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A `payments` command with the product's settings."""
        return payments(*arguments, environment=self.environment, cwd=self.folder)

    # ── HTTP ──────────────────────────────────────────────────────────────────────────────────────────────────────
    def call(
        self, method: str, path: str, *, as_: str | None = None, json: Any = None, **options: Any
    ) -> httpx.Response:
        """One request; `as_` is a token."""
        headers = dict(options.pop("headers", {}))
        if as_ is not None:
            headers["Authorization"] = f"Bearer {as_}"
        return self.client.request(method, f"{self.url}{path}", headers=headers, json=json, **options)

    @property
    def shop(self) -> str:
        """The token of the shop's backend."""
        return token("shop", payments_role="service", scope="orders:write orders:read payments:read payments:write")

    def stock(self, sku: str, available: int) -> None:
        """So many units of this sku can be reserved."""
        self.call("PUT", f"/api/stock/{sku}", as_=self.shop, json={"available": available}).raise_for_status()

    def available(self, sku: str) -> int:
        """Units of this sku that can still be reserved."""
        answer = self.call("GET", f"/api/stock/{sku}", as_=self.shop)
        return int(answer.raise_for_status().json()["available"])

    def order(self, *, customer: str = "alice", sku: str = "book", quantity: int = 2, **changes: Any) -> str:
        """The id of a new order of 2 x 50000."""
        order_id = f"o-{secrets.token_hex(6)}"
        self.call(
            "PUT", f"/api/orders/{order_id}", as_=self.shop, json=order_body(customer, sku, quantity, **changes)
        ).raise_for_status()
        return order_id

    def pay(self, order_id: str, *, customer: str = "alice", json: Any = None) -> httpx.Response:
        """A click on "Pay"."""
        return self.call("POST", f"/api/orders/{order_id}/pay/", as_=token(customer), json=json)

    def clicked(self, **order: Any) -> tuple[str, dict[str, Any]]:
        """A new order and its open page."""
        order_id = self.order(**order)
        return order_id, dict(self.pay(order_id).raise_for_status().json())

    def status(self, order_id: str, *, customer: str = "alice", query: str = "") -> dict[str, Any]:
        """The status answer."""
        answer = self.call("GET", f"/api/orders/{order_id}/payment-status/{query}", as_=token(customer))
        return dict(answer.raise_for_status().json())

    def settled(self, order_id: str, status: str, *, customer: str = "alice", seconds: float = 20.0) -> dict[str, Any]:
        """The status answer once it says this status."""

        def reached() -> dict[str, Any] | None:
            answer = self.status(order_id, customer=customer)
            return answer if answer["status"] == status else None

        return dict(until(reached, seconds=seconds, what=f"order {order_id} {status}"))

    def buyer(
        self, provider_order_id: str, outcome: str, *, payment_type: str = "gopay", **more: Any
    ) -> dict[str, Any]:
        """The buyer tries to pay at the simulator; the transaction's status body."""
        body = {"order_id": provider_order_id, "payment_type": payment_type, "outcome": outcome, **more}
        return dict(self.simulator.control("pay", body))

    def transition(self, transaction_id: str, to: str, **more: Any) -> dict[str, Any]:
        """The transaction moves on at the simulator."""
        return dict(self.simulator.control("transition", {"transaction_id": transaction_id, "to": to, **more}))

    def notify(self, body: Any) -> httpx.Response:
        """A notification sent by the test itself: bytes as they are, or a value as JSON."""
        sent = {"content": body} if isinstance(body, bytes) else {"json": body}
        return self.client.post(f"{self.url}/api/webhooks/midtrans/", **sent)

    def close(self) -> None:
        """Every process has ended."""
        self.client.close()
        for server in [*self.servers, *self.workers]:
            server.stop()


def order_body(customer: str = "alice", sku: str = "book", quantity: int = 2, **changes: Any) -> dict[str, Any]:
    """An order of `quantity` books of 50000."""
    body = {
        "customer": {"id": customer, "name": customer.title(), "email": f"{customer}@example.com"},
        "currency": "IDR",
        "items": [{"sku": sku, "name": "A book", "price": "50000", "quantity": quantity}],
    }
    return {**body, **changes}


@contextlib.contextmanager
def running_product(database_url: str, folder: Path, *options: str, **overrides: str) -> Iterator[Product]:
    """The simulator and one server on a migrated database with stock, all ended afterwards.

    `options` go to `payments serve`, `overrides` into its environment.
    """
    port = free_port()
    with running_simulator("--notify-url", f"http://127.0.0.1:{port}/api/webhooks/midtrans/") as simulator:
        environment = {
            "PAYMENTS_MODE": "development",
            "PAYMENTS_DATABASE_URL": database_url,
            "PAYMENTS_JWT_SECRET": JWT_SECRET,
            "MIDTRANS_SERVER_KEY": simulator.server_key,
            "MIDTRANS_MERCHANT_ID": "G000000000",
            "MIDTRANS_SNAP_URL": f"{simulator.url}/snap/v1",
            "MIDTRANS_API_URL": simulator.url,
            **overrides,
        }
        product = Product(environment, simulator, folder)
        migrated = product.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        try:
            server = product.serve(*options)
            simulator.control("settings", {"notify_url": f"{server.url}/api/webhooks/midtrans/"})
            product.stock("book", 10_000)
            yield product
        finally:
            product.close()
