"""The parts both pay pages are made of; every text that came from outside is escaped here."""

from collections.abc import Sequence
from html import escape

import attrs

# A short list is shown at once; a long one waits behind its summary, so that the methods stay in sight.
_ROWS_SHOWN_MAX = 4
_PREVIEW_MAX = 4


@attrs.frozen
class Row:
    """One line of the shopping list. Amounts are HTML, made of numbers and a currency."""

    name: str
    amount: str
    each: str = ""


@attrs.frozen
class Option:
    """One radio button."""

    value: str
    label: str
    note: str = ""


def receipt(order_id: str, amount: str, who: str, rows: Sequence[Row], verdict: str = "") -> str:
    """Return the sheet that reads like a receipt: the order, the amount, the items, and how it ended."""
    buyer = f"<p class=quiet>for {escape(who)}</p>" if who else ""
    return (
        f"<section class=order><h1><span class=quiet>Order {escape(order_id)}</span>"
        f"<span class=amount>{amount}</span></h1>{buyer}{_items(rows)}{verdict}</section>"
    )


def _items(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    table = "".join(_row(row) for row in rows)
    label = f"{len(rows)} item" + ("s" if len(rows) != 1 else "")
    opened = " open" if len(rows) <= _ROWS_SHOWN_MAX else ""
    return f"<details class=items{opened}><summary>{label}</summary><table>{table}</table></details>"


def _row(row: Row) -> str:
    each = f" <span class=quiet>{row.each}</span>" if row.each else ""
    return f"<tr><td>{escape(row.name)}{each}<td class=number>{row.amount}</tr>"


def tries(lines: Sequence[str]) -> str:
    """Return what was tried before, oldest first."""
    return f"<ul class=tries>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def group(action: str, name: str, options: Sequence[Option], *, opened: bool, button: str, preview: str = "") -> str:
    """Return a group of methods: a form that lies behind its summary unless it is opened."""
    radios = "".join(_radio(option, checked=number == 0) for number, option in enumerate(options))
    return (
        f"<details name=method{' open' if opened else ''}>"
        f"<summary>{escape(name)} <span class=quiet>{preview or _preview(options)}</span></summary>"
        f"<form method=post action='{escape(action)}'>"
        f"<fieldset><legend>{escape(name)}</legend>{radios}</fieldset>"
        f"<button class=primary>{button}</button></form></details>"
    )


def _preview(options: Sequence[Option]) -> str:
    """Return the first few names of a group, so that a buyer need not open it to find a bank."""
    labels = [escape(option.label) for option in options]
    # "and 1 more" is longer than the one.
    if len(labels) <= _PREVIEW_MAX + 1:
        return ", ".join(labels)
    return f"{', '.join(labels[:_PREVIEW_MAX])} and {len(labels) - _PREVIEW_MAX} more"


def _radio(option: Option, *, checked: bool) -> str:
    note = f" <span class=quiet>{escape(option.note)}</span>" if option.note else ""
    return (
        f"<label><input type=radio name=choice value='{escape(option.value)}'{' checked' if checked else ''}>"
        f"<span>{escape(option.label)}{note}</span></label>"
    )


def back(url: str, *, primary: bool = False, text: str = "Back to the shop") -> str:
    """Return the link to the shop; nothing unless the merchant gave one that a browser may follow."""
    if not url.startswith(("http://", "https://")):
        return ""
    style = "button primary" if primary else "button"
    return f"<p class=back><a class='{style}' href='{escape(url)}'>{escape(text)}</a></p>"
