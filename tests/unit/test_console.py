"""The operator's console, run by Node.js where there is one: what it asks for, and what it shows."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest

import payments_core_app

PAGES = Path(payments_core_app.__file__).parent / "pages"
SHELL = Path(__file__).parent.parent / "harness" / "console.mjs"
NODE = shutil.which("node")
AT = "2026-11-28T08:00:00.123456Z"

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node.js on this machine: the console's script was not tried")


@attrs.frozen
class Shown:
    """The paths that were asked for, and the text of the page at the end."""

    asked: list[str]
    text: str


def console(folder: Path, answers: dict[str, Any], *acts: str, shows: str = "") -> Shown:
    """What the console shows of this API, after these clicks (`review` is its box); it begins with the demo's token."""
    for name in ("common.js", "console.js"):
        script = (PAGES / name).read_text().replace('"/pages/common.js"', '"./common.mjs"')
        (folder / name).with_suffix(".mjs").write_text(script)
    question = {"hash": shows, "answers": {"/shop/demo.json": {"operator_token": "t"}, **answers}, "acts": acts}
    assert NODE is not None
    done = subprocess.run(
        [NODE, SHELL, folder / "console.mjs"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return Shown(**json.loads(done.stdout))


def listed(order_id: str, next_cursor: str | None = None) -> dict[str, Any]:
    """A page of the list."""
    payment = {
        "payment_id": f"p-{order_id}",
        "order_id": order_id,
        "status": "success",
        "amount": "1000",
        "currency": "IDR",
        "needs_review": [],
        "created_at": AT,
    }
    return {"items": [payment], "next_cursor": next_cursor}


LISTS = {
    "/api/payments?limit=50": listed("new", "c1"),
    "/api/payments?limit=50&cursor=c1": listed("old"),
    "/api/payments?limit=50&needs_review=true": listed("new-case", "c2"),
    "/api/payments?limit=50&cursor=c2&needs_review=true": listed("old-case"),
}
PAYMENT = {
    "payment_id": "p-1",
    "order_id": "o-1",
    "status": "success",
    "amount": "1000",
    "currency": "IDR",
    "paid_by": "t-1",
    "version": 7,
    "attempts": [],
    "refunds": [],
    "charges": [
        {
            "transaction_id": "t-1",
            "state": "settled",
            "good": False,
            "method": "qris",
            "amount": "12.50",
            "currency": "USD",
            "captured": "12.50",
            "refunded": "0",
            "charged_back": "2.50",
        }
    ],
    "cases": [
        {
            "kind": "currency_mismatch",
            "transaction_id": "t-1",
            "open": False,
            "evidence": {"said": "12.50 USD"},
            "decision": "dismiss",
            "decided_by": "operator:ann",
            "note": "seen",
        }
    ],
}
EVENTS = "/api/payments/p-1/events?limit=200"


def events(first: int, last: int, next_cursor: str | None = None) -> dict[str, Any]:
    """A page of the history."""
    items = [
        {"sequence": n, "at": AT, "type": f"type.{n}", "actor": "core", "data": {}} for n in range(first, last + 1)
    ]
    return {"items": items, "next_cursor": next_cursor}


def test_older_payments_are_those_of_the_list_that_is_shown(tmp_path: Path) -> None:
    """Whoever looks for what needs a person must not be shown everything on the second page."""
    shown = console(tmp_path, LISTS, "review", "Older")
    assert "old-case" in shown.text
    assert shown.asked[-1] == "/api/payments?limit=50&cursor=c2&needs_review=true"


def test_what_needs_a_person_is_shown_from_the_newest_on(tmp_path: Path) -> None:
    """A cursor belongs to the list it came from: with it, newer ones would be left out unseen."""
    shown = console(tmp_path, LISTS, "Older", "review")
    assert "new-case" in shown.text
    assert "cursor" not in shown.asked[-1]


def test_the_whole_history_is_shown(tmp_path: Path) -> None:
    """The newest entries are what one looks for, and they come last."""
    pages = {EVENTS: events(1, 200, "200"), f"{EVENTS}&cursor=200": events(201, 203)}
    shown = console(tmp_path, {"/api/payments/p-1": PAYMENT, **pages}, shows="#p-1")
    assert "type.1\n" in shown.text.replace(" | ", "\n")
    assert "type.203" in shown.text


def test_money_is_shown_with_its_currency_and_times_with_their_zone(tmp_path: Path) -> None:
    """A charge in another currency is in a case for just that; the list and the history must not differ by hours."""
    shown = console(tmp_path, {"/api/payments/p-1": PAYMENT, EVENTS: events(1, 1)}, shows="#p-1")
    assert "12.50 USD | 12.50 USD | 0 USD | 2.50 USD" in shown.text
    assert "2026-11-28 08:00:00 UTC" in shown.text
    assert "2026-11-28 08:00:00 UTC" in console(tmp_path, LISTS).text


def test_a_decided_case_says_who_decided_it_and_why(tmp_path: Path) -> None:
    shown = console(tmp_path, {"/api/payments/p-1": PAYMENT, EVENTS: events(1, 1)}, shows="#p-1")
    assert "currency_mismatch | t-1 | dismiss by operator:ann: seen" in shown.text
