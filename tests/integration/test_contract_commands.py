"""The `payments` command line: what it prints, for people and machines, and how it ends."""

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest

from harness.clock import HOUR_S, run_later
from harness.product import JWT_SECRET, Product, free_port, payments, running_product, token
from harness.questions import event_types

COMMANDS = ["serve", "migrate", "worker", "sweep", "simulator", "demo", "token", "stock", "show", "verify", "doctor"]


def ran(product: Product, *arguments: str) -> str:
    """What a command that succeeds prints."""
    done = product.run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(product: Product, *arguments: str) -> str:
    """What a command that fails says, in a sentence and on standard error."""
    done = product.run(*arguments)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
    return done.stderr


def claims(text: str) -> dict[str, Any]:
    return dict(jwt.decode(text.strip(), JWT_SECRET, ["HS256"], audience="payments-core"))


def test_every_command_explains_itself(product: Product) -> None:
    listed = ran(product, "--help")
    assert all(command in listed for command in COMMANDS)
    with ThreadPoolExecutor(2) as pool:
        some = ("serve", "sweep", "show", "token", "doctor", "stock")
        assert all("Usage" in text for text in pool.map(lambda command: ran(product, command, "--help"), some))


def test_a_customers_token_opens_that_customers_order(product: Product) -> None:
    order_id = product.order(customer="carol")
    printed = ran(product, "token", "--sub", "carol")
    assert len(printed.split()) == 1, "made to be put into a variable"
    assert "payments_role" not in claims(printed)
    assert product.call("GET", f"/api/orders/{order_id}", as_=printed.strip()).status_code == 200
    assert product.call("GET", "/api/payments", as_=printed.strip()).status_code in {403, 404}


def test_a_roles_token_has_its_scope_and_its_end(product: Product) -> None:
    printed = ran(product, "token", "--sub", "ops", "--role", "operator", "--scope", "payments:read", "--ttl", "60")
    said = claims(printed)
    assert (said["sub"], said["payments_role"], said["scope"]) == ("ops", "operator", "payments:read")
    assert said["exp"] - time.time() <= 60
    assert product.call("GET", "/api/payments", as_=printed.strip()).status_code == 200


@pytest.mark.parametrize("arguments", [(), ("--sub", "a", "--role", "admin"), ("--sub", "a", "--ttl", "-1")])
def test_a_token_that_would_be_no_use_is_not_made(product: Product, arguments: tuple[str, ...]) -> None:
    refused(product, "token", *arguments)


def test_a_token_cannot_be_signed_without_a_secret(tmp_path: Path) -> None:
    done = payments("token", "--sub", "a", environment={"PAYMENTS_MODE": "development"}, cwd=tmp_path)
    assert done.returncode != 0
    assert "PAYMENTS_JWT_SECRET" in done.stderr


def test_stock_is_set_and_read(product: Product) -> None:
    ran(product, "stock", "set", "lamp", "12")
    product.order(sku="lamp", quantity=5)
    assert json.loads(ran(product, "stock", "get", "lamp", "--json")) == {"sku": "lamp", "available": 7, "reserved": 5}
    assert product.available("lamp") == 7


def test_stock_of_nothing_is_an_error(product: Product) -> None:
    assert "nothing-like-it" in refused(product, "stock", "get", "nothing-like-it")
    refused(product, "stock", "set", "lamp", "many")
    refused(product, "stock", "set", "lamp", "--", "-1")


@pytest.mark.parametrize("sku", ["", " ", "lamp ", "a/b", "a\tb", "x" * 51])
def test_stock_is_set_of_nothing_that_no_order_could_name(product: Product, sku: str) -> None:
    assert "SKU" in refused(product, "stock", "set", sku, "1").upper()


def test_stock_is_set_to_nothing_that_a_database_could_not_store(product: Product) -> None:
    """PostgreSQL would say that it refused a statement."""
    assert "2000000000" in refused(product, "stock", "set", "lamp", "99999999999")
    ran(product, "stock", "set", "lamp", "2000000000")


def test_show_tells_one_payment_at_night(product: Product) -> None:
    order_id = product.order()
    page = product.pay(order_id).json()
    transaction = product.buyer(page["provider_order_id"], "deny", payment_type="credit_card")
    paid = product.buyer(page["provider_order_id"], "settlement")
    product.settled(order_id, "success")
    told = ran(product, "show", page["payment_id"])
    for word in (
        order_id,
        page["provider_order_id"],
        transaction["transaction_id"],
        paid["transaction_id"],
        "order.paid",
    ):
        assert word in told
    machine = json.loads(ran(product, "show", page["payment_id"], "--json"))
    assert (machine["order_id"], machine["status"], machine["amount"]) == (order_id, "success", "100000")
    assert [event["type"] for event in machine["events"]] == event_types(product, page["payment_id"])


@pytest.mark.parametrize("payment_id", ["nothing", "0" * 26, "../x", "' or 1=1 --"])
def test_show_of_nothing_is_an_error(product: Product, payment_id: str) -> None:
    assert payment_id in refused(product, "show", payment_id)


def test_a_sweep_says_what_it_did(product: Product) -> None:
    order_id = product.order()
    product.pay(order_id)
    done = run_later(product, 24 * HOUR_S + 5, "sweep", "--once", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert sum(said["done"].values()) >= 1
    assert product.settled(order_id, "expired")
    assert ran(product, "sweep", "--once").strip()


def test_doctor_finds_a_working_product_healthy(product: Product) -> None:
    said = json.loads(ran(product, "doctor", "--json"))
    assert said["healthy"] is True
    assert {finding["level"] for finding in said["findings"]} <= {"ok", "warn", "warning"}
    assert ran(product, "doctor").strip()


def test_migrating_again_changes_nothing(product: Product) -> None:
    order_id = product.order()
    assert ran(product, "migrate").strip()
    assert product.pay(order_id).status_code == 201


@pytest.mark.processes
def test_a_server_refuses_a_database_that_was_not_migrated(product: Product, tmp_path: Path) -> None:
    environment = {**product.environment, "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'new.sqlite3'}"}
    done = payments("serve", "--port", str(free_port()), environment=environment, cwd=tmp_path)
    assert done.returncode != 0
    assert "payments migrate" in done.stderr
    assert payments("doctor", environment=environment, cwd=tmp_path).returncode == 1


@pytest.mark.processes
@pytest.mark.parametrize(
    "command",
    [
        ("worker",),
        ("sweep", "--once"),
        ("reconcile",),
        ("expire",),
        ("verify",),
        ("review",),
        ("show", "0" * 26),
        ("stock", "get", "book"),
        ("stock", "set", "book", "1"),
        ("confirm-transfer", "x", "1", "--bank-reference", "y"),
    ],
    ids=" ".join,
)
def test_a_command_refuses_a_database_that_was_not_migrated(
    product: Product, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """In the words of `serve`; that some statement failed would help nobody."""
    environment = {**product.environment, "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'new.sqlite3'}"}
    done = payments(*command, environment=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert "run `payments migrate`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_others_wrote_does_not_steer_the_terminal(product: Product) -> None:
    """Names of tokens, reasons of banks and words of gateways are shown to an operator; none of them is ours."""
    order_id, page = product.clicked()
    product.buyer(page["provider_order_id"], "settlement")
    product.settled(order_id, "success")
    operator = token("ops\x1b[2J", payments_role="operator", scope="payments:operate")
    product.call(
        "POST", f"/api/payments/{page['payment_id']}/refunds", as_=operator, json={}, headers={"Idempotency-Key": "k"}
    ).raise_for_status()
    shown = ran(product, "show", page["payment_id"])
    assert "\x1b" not in shown
    assert "operator:ops\\x1b[2J" in shown


@pytest.mark.processes
def test_a_database_of_a_newer_version_is_said_to_be_newer(product: Product, tmp_path: Path) -> None:
    """No migration of this version would help, so none is advised, and the migration says the same in one line."""
    file = tmp_path / "newer.sqlite3"
    environment = {**product.environment, "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{file}"}
    assert payments("migrate", environment=environment, cwd=tmp_path).returncode == 0
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in (("migrate",), ("serve", "--port", str(free_port())), ("review",)):
        done = payments(*command, environment=environment, cwd=tmp_path)
        assert done.returncode == 2
        assert "the database is newer than this version" in done.stderr
        assert "payments migrate" not in done.stderr
        assert len(done.stderr.splitlines()) == 1
    said = payments("doctor", environment=environment, cwd=tmp_path).stdout
    assert "the database is newer than this version" in said
    assert "payments migrate" not in said


@pytest.mark.processes
def test_a_server_serves_on_while_a_newer_version_has_migrated_its_database(tmp_path: Path) -> None:
    """Migrated first, replaced one by one: a balancer that took all of the old ones away would be an outage (E5)."""
    file = tmp_path / "payments.sqlite3"
    with running_product(f"sqlite+aiosqlite:///{file}", tmp_path) as product:
        for revision, ready in (("9999", True), ("0001", False)):
            with closing(sqlite3.connect(file)) as connection, connection:
                connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
            assert product.call("GET", "/health/ready").is_success is ready
            assert product.clicked()[1]["payment_url"]


@pytest.mark.processes
@pytest.mark.parametrize("command", [("serve", "--port", "1"), ("worker",)])
def test_sqlite_has_one_serving_process(product: Product, command: tuple[str, ...]) -> None:
    """A second writer would only find out under load."""
    if command[0] == "serve":
        command = ("serve", "--port", str(free_port()))
    assert "SQLite" in refused(product, *command)
    link = product.folder / f"{command[0]}-link.sqlite3"
    link.symlink_to(product.folder / "payments.sqlite3")
    environment = {**product.environment, "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{link}"}
    assert "SQLite has one writer" in payments(*command, environment=environment, cwd=product.folder).stderr
    assert product.call("GET", "/health/ready").is_success


@pytest.mark.processes
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_sqlite_file_that_cannot_be_made_is_said_in_one_line(product: Product, tmp_path: Path, command: str) -> None:
    options = ("--port", str(free_port())) if command == "serve" else ()
    url = f"sqlite+aiosqlite:///{tmp_path / 'none' / 'new.sqlite3'}"
    done = payments(command, *options, environment={**product.environment, "PAYMENTS_DATABASE_URL": url}, cwd=tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path / 'none'}" in done.stderr
    assert "No such file or directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.processes
def test_a_sqlite_file_that_fails_is_named_with_sqlites_reason(product: Product, tmp_path: Path) -> None:
    """The kind of an error alone led nobody to the file."""
    file = tmp_path / "letter.sqlite3"
    file.write_text("Dear Sir or Madam, " * 100)
    environment = {**product.environment, "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{file}"}
    for command in ("migrate", "doctor", "review"):
        done = payments(command, environment=environment, cwd=tmp_path)
        assert done.returncode == 1
        assert f"{file}: file is not a database" in done.stdout + done.stderr


@pytest.mark.processes
def test_sqlite_has_no_second_worker_process(product: Product, tmp_path: Path) -> None:
    environment = {**product.environment, "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'new.sqlite3'}"}
    assert payments("migrate", environment=environment, cwd=tmp_path).returncode == 0
    done = payments("serve", "--workers", "2", "--port", str(free_port()), environment=environment, cwd=tmp_path)
    assert done.returncode != 0
    assert "SQLite" in done.stderr


@pytest.mark.processes
def test_a_server_that_was_killed_leaves_its_database_usable(product: Product) -> None:
    """The lock of one server must not outlive it."""
    order_id = product.order()
    page = product.pay(order_id).json()
    product.servers.pop().kill()
    product.serve()
    product.simulator.control("settings", {"notify_url": f"{product.url}/api/webhooks/midtrans/"})
    assert product.pay(order_id).json()["payment_url"] == page["payment_url"]


@pytest.mark.processes
def test_a_server_asked_to_stop_stops_with_success(product: Product) -> None:
    assert product.servers.pop().stop() in {0, -15}
    product.serve()
    product.simulator.control("settings", {"notify_url": f"{product.url}/api/webhooks/midtrans/"})


def test_an_unknown_command_is_a_usage_error(product: Product) -> None:
    assert product.run("nothing-like-it").returncode == 2
