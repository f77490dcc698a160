"""Prints the pages that are tables of the code: `python docs/generate.py` writes them, a test compares them."""

import sys
from collections.abc import Callable
from pathlib import Path

from payments_core.states import TRANSITIONS, Ask, ChargeState, Contradict, HintRule, Keep, Move, ReadingRule, Signal
from payments_core.status import STATUS_ROWS
from payments_core_app.http.errors import CODES

DOCS = Path(__file__).parent


def state_machine() -> str:
    """`docs/state-machine.md`: both tables of the core."""
    known = {(row.state, row.signal): row for row in TRANSITIONS}
    lines = [
        "# The state machine",
        "",
        "Printed from `payments_core/states.py` and `payments_core/status.py` by `make docs`; a test compares.",
        "",
        "## One charge",
        "",
        "A charge is one transaction at a gateway.",
        "Rows are what we know of it, columns what a message says.",
        "Each cell reads *hint / reading*: what a notification may do, and what an answer of the gateway may do.",
        "`-` keeps the charge as it is, and a state is where it moves.",
        "`ask` asks the gateway, `case` asks again after the gateway's lag and then opens a case.",
        "With `MIDTRANS_CONFIRM=always`, the default, a hint that would move asks instead.",
        "",
        "| known \\ said | " + " | ".join(signal.value for signal in Signal) + " |",
        "|---|" + "---|" * len(Signal),
    ]
    for state in ChargeState:
        cells = [f"{_said(known[state, s].hint)} / {_said(known[state, s].reading)}" for s in Signal]
        lines.append(f"| **{state.value}** | " + " | ".join(cells) + " |")
    lines += ["", "### Why", "", "| known | said | hint | reading | because |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.state.value} | {row.signal.value} | {_said(row.hint)} | {_said(row.reading)} | {row.because} |"
        for row in TRANSITIONS
    ]
    lines += [
        "",
        "## One payment",
        "",
        "The status of a payment is a fold over its pages and charges; the first row that is true wins.",
        "The *keeping charge* is the good charge the order was marked paid by.",
        "",
        "| # | when | status | order | stock |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.number} | {row.condition} | `{row.status.value}` | `{row.order.value}` | {row.stock} |"
        for row in STATUS_ROWS
    ]
    return "\n".join(lines) + "\n"


def _said(rule: HintRule | ReadingRule) -> str:
    match rule:
        case Move(to):
            return to.value
        case Keep():
            return "-"
        case Ask():
            return "ask"
        case Contradict():
            return "case"


def errors() -> str:
    """`docs/reference/errors.md`: every stable code."""
    lines = [
        "# Error codes",
        "",
        "Printed from `payments_core_app/http/errors.py` by `make docs`; a test compares.",
        "",
        "Every error is `application/problem+json` (RFC 9457) with `type`, `title`, `status`, `detail`, `code`,",
        "`request_id` and `retryable`.",
        "`code` is stable; `detail` is for people and may change.",
        "",
        "| code | HTTP | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{code}` | {statuses} | {title} |" for code, (statuses, title) in sorted(CODES.items())]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {"state-machine.md": state_machine, "reference/errors.md": errors}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
        sys.stdout.write(f"docs/{name}\n")
