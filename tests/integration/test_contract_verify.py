"""`payments verify` beside a running service: a real payment's life is well, and what was done to its rows is told."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from harness.product import Product, payments, running_product

KEY = "a-history-key-that-is-32-bytes-long!"
NEXT_KEY = "the-next-history-key-of-32-bytes-too"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The API with a history key, on SQLite, with one paid payment and one page that was only opened."""
    folder = tmp_path_factory.mktemp("verify")
    url = f"sqlite+aiosqlite:///{folder / 'payments.sqlite3'}"
    with running_product(url, folder, PAYMENTS_HISTORY_KEY=KEY) as running:
        order_id, page = running.clicked()
        running.buyer(page["provider_order_id"], "settlement")
        running.settled(order_id, "success")
        running.clicked()
        yield running


@pytest.fixture
def victim(product: Product) -> Iterator[str]:
    """The id of the paid payment; every row is put back afterwards."""
    with closing(sqlite3.connect(file_of(product))) as connection, closing(sqlite3.connect(":memory:")) as copy:
        connection.backup(copy)
        (payment_id,) = connection.execute("SELECT payment_id FROM payments WHERE status = 'success'").fetchone()
        yield payment_id
        copy.backup(connection)


def file_of(product: Product) -> Path:
    return product.folder / "payments.sqlite3"


def tamper(product: Product, *statements: str, victim: str = "") -> None:
    with closing(sqlite3.connect(file_of(product))) as connection, connection:
        connection.execute("DROP TRIGGER IF EXISTS history_no_update")
        connection.execute("DROP TRIGGER IF EXISTS history_no_delete")
        for statement in statements:
            connection.execute(statement, {"id": victim})


def verify(product: Product, *arguments: str, **overrides: str) -> "CompletedProcess[str]":
    environment = {**product.environment, **overrides}
    done = payments("verify", *arguments, environment=environment, cwd=product.folder)
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    return done


def answer(product: Product, *arguments: str, **overrides: str) -> dict[str, Any]:
    return dict(json.loads(verify(product, "--json", *arguments, **overrides).stdout))


def test_what_a_running_service_wrote_is_well(product: Product) -> None:
    done = verify(product)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith("2 payments, ")
    assert done.stdout.endswith("all is well\n")
    said = answer(product)
    assert (said["well"], said["keyed"], said["payments"], said["findings"]) == (True, True, 2, [])
    assert said["entries"] >= 5


def test_an_amount_changed_behind_our_back_is_told_and_exits_1(product: Product, victim: str) -> None:
    tamper(product, "UPDATE charges SET captured_minor = 1 WHERE payment_id = :id", victim=victim)
    done = verify(product)
    assert done.returncode == 1
    assert f"{victim}  differs: charges " in done.stdout
    assert "captured_minor: history says 10000000, stored is 1" in done.stdout
    (finding,) = answer(product)["findings"]
    assert (finding["payment_id"], finding["kind"], finding["allowed"]) == (victim, "differs", False)


def test_an_anchor_finds_a_payment_that_was_removed_whole(product: Product, victim: str) -> None:
    done = verify(product, "--write-anchor", "anchor.jsonl")
    assert done.returncode == 0, done.stdout
    assert verify(product, "--anchor", "anchor.jsonl").returncode == 0
    tamper(
        product,
        "DELETE FROM payments WHERE payment_id = :id",
        "DELETE FROM attempts WHERE payment_id = :id",
        "DELETE FROM charges WHERE payment_id = :id",
        "DELETE FROM events WHERE payment_id = :id",
        "DELETE FROM history WHERE payment_id = :id",
        victim=victim,
    )
    assert verify(product).returncode == 0, "nothing left says that it ever was"
    done = verify(product, "--anchor", "anchor.jsonl", "--write-anchor", "anchor.jsonl")
    assert done.returncode == 1
    assert f"{victim}  removed: " in done.stdout
    assert "was not written" in done.stdout
    assert victim in (product.folder / "anchor.jsonl").read_text(), "the older anchor stays"


HEADS = {
    "no version": '["01m8gq28f90yps2x6gkmc3n033", 1e999, "code"]',
    "no such version": '["01m8gq28f90yps2x6gkmc3n033", 1180591620717411303424, "code"]',
    "no payment": '["\\ud800", 1, "code"]',
}
"""Lines that no database can be asked about."""


@pytest.mark.parametrize("how", ["edited", "a line taken out", "cut", "empty", "no anchor", "nested", *HEADS])
def test_an_anchor_that_was_changed_is_told(product: Product, how: str) -> None:
    assert verify(product, "--write-anchor", "whole.jsonl").returncode == 0
    lines = (product.folder / "whole.jsonl").read_text().splitlines(keepends=True)
    changed = {
        "edited": [*lines[:1], lines[1].replace(",", ", "), *lines[2:]],
        "a line taken out": [lines[0], *lines[2:]],
        "cut": lines[:-1],
        "empty": [],
        "no anchor": ["<html>\n"],
        "nested": [*lines[:1], f"{'[' * 100_000}\n", *lines[1:]],
        **{name: [*lines[:1], f"{head}\n", *lines[1:]] for name, head in HEADS.items()},
    }[how]
    (product.folder / "changed.jsonl").write_text("".join(changed))
    done = verify(product, "--anchor", "changed.jsonl")
    assert done.returncode == 1
    assert "anchor  anchor: " in done.stdout


def test_keys_are_rotated_and_a_lost_key_is_told(product: Product) -> None:
    assert verify(product, PAYMENTS_HISTORY_KEY=f"{NEXT_KEY},{KEY}").returncode == 0
    done = verify(product, PAYMENTS_HISTORY_KEY=NEXT_KEY)
    assert done.returncode == 1
    assert "unknown_key" in done.stdout


def test_without_a_key_it_says_what_cannot_be_detected(tmp_path: Path) -> None:
    """No key does not keep anybody from serving; it is told wherever it matters."""
    environment = {
        "PAYMENTS_MODE": "development",
        "PAYMENTS_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'payments.sqlite3'}",
    }
    assert payments("migrate", environment=environment, cwd=tmp_path).returncode == 0
    done = payments("verify", environment=environment, cwd=tmp_path)
    assert done.returncode == 0
    assert "PAYMENTS_HISTORY_KEY is not set" in done.stderr
    doctor = payments("doctor", environment=environment, cwd=tmp_path)
    assert "PAYMENTS_HISTORY_KEY is not set" in doctor.stdout


@pytest.mark.usefixtures("victim")
def test_payments_from_before_there_was_a_history_are_told_until_they_are_allowed(product: Product) -> None:
    tamper(product, "DELETE FROM history")
    assert verify(product).returncode == 1
    done = verify(product, "--allow", "gap")
    assert done.returncode == 0
    assert "2 allowed" in done.stdout


def test_a_short_key_is_no_key(product: Product) -> None:
    done = verify(product, PAYMENTS_HISTORY_KEY=f"{KEY},short")
    assert done.returncode == 2
    assert "PAYMENTS_HISTORY_KEY" in done.stderr
    assert "short" not in done.stderr.replace("shorter", "")


def test_a_database_without_the_table_is_a_sentence(product: Product, tmp_path: Path) -> None:
    done = verify(product, PAYMENTS_DATABASE_URL=f"sqlite+aiosqlite:///{tmp_path / 'new.sqlite3'}")
    assert done.returncode == 2, "nothing was verified, and nothing is wrong"
    assert "payments migrate" in done.stderr
