"""The HTML of the pay page, from values; every text that came from outside is escaped here."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from payments_core_simulator.documents import frame, message_page, verdict

from . import wire
from .channel_fields import channel_fields
from .moves import ENDED_WITHOUT_MONEY
from .page_choices import Choice, offered
from .times import JAKARTA
from .values import Item, Page, Transaction

# A short list is shown at once; a long one waits behind its summary, so that the methods stay in sight.
_ITEMS_SHOWN_MAX = 4
_PREVIEW_MAX = 4

_NAMES = {
    "credit_card": "Card",
    "gopay": "GoPay",
    "qris": "QRIS",
    "shopeepay": "ShopeePay",
    "dana": "DANA",
    "ovo": "OVO",
    "echannel": "Mandiri Bill",
    "akulaku": "Akulaku",
    "kredivo": "Kredivo",
}
_OUTCOMES = {
    "deny": "declined",
    "cancel": "cancelled",
    "expire": "expired",
    "failure": "failed",
}
_RESULTS = {
    "authorize": ("Amount reserved", "The bank holds the amount; the merchant can take it later."),
    "capture": ("Payment received", "The bank has taken the amount."),
    "challenge": ("Under review", "The fraud system holds this payment until the merchant decides."),
    "settlement": ("Payment received", "The amount has arrived."),
}


# --- whole pages -----------------------------------------------------------------------------------------------------


def home_page() -> str:
    """Return what a person sees who opens the origin itself."""
    text = "This server stands in for Midtrans Snap and Core. A payment page opens from the link a shop gives you."
    return message_page("Midtrans simulator", text)


def dead_page(page: Page, newest: Transaction | None) -> str:
    """Return the page of an order that takes no more payments."""
    if page.cancelled_at is not None:
        text = "The merchant closed this payment page. It takes no more payments."
    else:
        text = f"This payment page expired on {_when(page.ends_at)}. It takes no more payments."
    return frame("Page closed", _order(page, verdict("closed", "Page closed", text)) + _back(page, newest))


def result_page(page: Page, paid: Transaction) -> str:
    """Return the page after the buyer's part is done."""
    key = "challenge" if paid.challenged else paid.status
    title, text = _RESULTS.get(key, ("Payment closed", f"The payment now stands at: {paid.status}."))
    state = "good" if paid.captured_sen > 0 or key == "authorize" else "review"
    paid_with = f"{text} Paid with {method_name(paid)}." if state == "good" else text
    return frame(title, _order(page, verdict(state, title, paid_with)) + _back(page, paid, primary=True))


def pay_page(page: Page, transactions: Sequence[Transaction]) -> str:
    """Return the open page: what is pending, what was tried, and what can be chosen."""
    pending = [one for one in transactions if one.status == "pending"]
    tried = [one for one in transactions if one.status in ENDED_WITHOUT_MONEY]
    content = _order(page)
    content += "".join(_waiting(page, one) for one in pending)
    content += _methods(page, tried, waiting=bool(pending))
    newest = transactions[-1] if transactions else None
    left = f"<p class=quiet>This page closes on {_moment(page.ends_at)}.</p>"
    return frame(f"Pay {rupiah(page.request.gross_amount)}", content + left + _back(page, newest))


# --- parts -----------------------------------------------------------------------------------------------------------


def _order(page: Page, verdict: str = "") -> str:
    """Return the sheet that reads like a receipt: the order, the amount, the items, and how it ended."""
    request = page.request
    who = f"<p class=quiet>for {escape(request.customer_name)}</p>" if request.customer_name else ""
    return (
        f"<section class=order><h1><span class=quiet>Order {escape(page.order_id)}</span>"
        f"<span class=amount>{rupiah(request.gross_amount)}</span></h1>{who}{_items(page)}{verdict}</section>"
    )


def _items(page: Page) -> str:
    if not page.request.items:
        return ""
    rows = "".join(_item_row(item) for item in page.request.items)
    count = len(page.request.items)
    label = f"{count} item" + ("s" if count != 1 else "")
    opened = " open" if count <= _ITEMS_SHOWN_MAX else ""
    return f"<details class=items{opened}><summary>{label}</summary><table>{rows}</table></details>"


def _item_row(item: Item) -> str:
    each = f" <span class=quiet>{item.quantity} &times; {rupiah(item.price)}</span>" if item.quantity > 1 else ""
    return f"<tr><td>{escape(item.name)}{each}<td class=number>{rupiah(item.price * item.quantity)}</tr>"


def _waiting(page: Page, pending: Transaction) -> str:
    card = pending.payment_type == "credit_card"
    paid = "Finish 3-D Secure" if card else "I have paid"
    action = f"/snap/v2/vtweb/{page.token}/transactions/{pending.transaction_id}"
    return (
        f"<section class=waiting><h2>{escape(method_name(pending))}</h2>{_instructions(pending)}"
        f"<p class=quiet>Waiting until {_moment(pending.expires_at)}.</p>"
        f"<form method=post action='{escape(action)}'>"
        f"<button class=primary name=step value=paid>{paid}</button>"
        "<button name=step value=cancel>Cancel it</button>"
        "<button name=step value=expire>Let it expire</button></form></section>"
    )


def _instructions(pending: Transaction) -> str:
    fields = channel_fields(pending)
    numbers = fields.get("va_numbers")
    if isinstance(numbers, list):
        shown = [("Virtual account number", numbers[0]["va_number"])]
    else:
        labels = {
            "permata_va_number": "Virtual account number",
            "biller_code": "Company code",
            "bill_key": "Bill key",
            "payment_code": "Payment code",
            "masked_card": "Number, in 3-D Secure",
        }
        shown = [(label, fields[name]) for name, label in labels.items() if name in fields]
    if not shown:
        return "<p>Confirm the payment in the app. Here, the buttons below are the app.</p>"
    rows = "".join(f"<dt>{label}<dd>{_spaced(str(value))}" for label, value in shown)
    return f"<dl>{rows}</dl>"


def _methods(page: Page, tried: Sequence[Transaction], *, waiting: bool) -> str:
    groups = offered(page.request)
    if not groups:
        return "<section class=methods><p>This simulator knows none of the methods the merchant enabled.</p></section>"
    title = "Choose another method" if tried or waiting else "Choose a method"
    parts = "".join(
        # With nothing to wait for, the first group lies open.
        _group(page, group, choices, opened=number == 0 and not waiting)
        for number, (group, choices) in enumerate(groups.items())
    )
    return f"<section class=methods><h2>{title}</h2>{_tries(tried)}{parts}</section>"


def _tries(tried: Sequence[Transaction]) -> str:
    if not tried:
        return ""
    lines = "".join(f"<li>{escape(method_name(one))} {_OUTCOMES[one.status]}</li>" for one in tried)
    return f"<ul class=tries>{lines}</ul>"


def _group(page: Page, group: str, choices: Sequence[Choice], *, opened: bool) -> str:
    radios = "".join(_radio(choice, checked=number == 0) for number, choice in enumerate(choices))
    button = {"Card": "Pay by card", "Bank transfer": "Get a number", "Over the counter": "Get a code"}
    return (
        f"<details name=method{' open' if opened else ''}>"
        f"<summary>{group} <span class=quiet>{_preview(choices)}</span></summary>"
        f"<form method=post action='/snap/v2/vtweb/{escape(page.token)}/pay'>"
        f"<fieldset><legend>{group}</legend>{radios}</fieldset>"
        f"<button class=primary>{button.get(group, 'Continue')}</button></form></details>"
    )


def _preview(choices: Sequence[Choice]) -> str:
    """Return the first few names of a group, so that a buyer need not open it to find a bank."""
    if choices[0].group == "Card":
        return "no number needed, only the bank's answer"
    labels = [escape(choice.label) for choice in choices]
    # "and 1 more" is longer than the one.
    if len(labels) <= _PREVIEW_MAX + 1:
        return ", ".join(labels)
    return f"{', '.join(labels[:_PREVIEW_MAX])} and {len(labels) - _PREVIEW_MAX} more"


def _radio(choice: Choice, *, checked: bool) -> str:
    note = f" <span class=quiet>{escape(choice.note)}</span>" if choice.note else ""
    return (
        f"<label><input type=radio name=choice value='{choice.value}'{' checked' if checked else ''}>"
        f"<span>{escape(choice.label)}{note}</span></label>"
    )


def _back(page: Page, transaction: Transaction | None, *, primary: bool = False) -> str:
    """Return the link to `callbacks.finish`, if the merchant gave one that a browser may follow."""
    url = finish_url(page, transaction)
    if not url:
        return ""
    style = "button primary" if primary else "button"
    return f"<p class=back><a class='{style}' href='{escape(url)}'>Back to the shop</a></p>"


# --- texts -----------------------------------------------------------------------------------------------------------


def finish_url(page: Page, transaction: Transaction | None) -> str:
    """Return the merchant's finish URL with the query the gateway adds; empty unless it is http or https."""
    try:
        parts = urlsplit(page.request.finish_url)
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"}:
        return ""
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("order_id", page.order_id)]
    if transaction is not None:
        query.append(("status_code", wire.status_code(transaction, wire.View.STATUS)))
        query.append(("transaction_status", transaction.status))
    return urlunsplit(parts._replace(query=urlencode(query)))


def method_name(transaction: Transaction) -> str:
    """Return what a buyer calls this method."""
    if transaction.payment_type == "bank_transfer":
        return f"{transaction.bank.upper()} virtual account"
    if transaction.payment_type == "cstore":
        return transaction.store.capitalize()
    return _NAMES.get(transaction.payment_type, transaction.payment_type)


def rupiah(amount: int) -> str:
    """Write whole rupiah as they are written in Indonesia."""
    sign = "\N{MINUS SIGN}" if amount < 0 else ""
    return f"{sign}Rp&nbsp;{abs(amount):,}".replace(",", ".")


def _spaced(number: str) -> str:
    """Group digits by four, for eyes; a masked card is grouped already."""
    if not number.isdigit():
        return escape(number)
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


def _when(moment: datetime) -> str:
    local = moment.astimezone(JAKARTA)
    return f"{local.day} {local:%B %Y, %H:%M} WIB"


def _moment(moment: datetime) -> str:
    return f"<time datetime='{moment.isoformat(timespec='seconds')}'>{_when(moment)}</time>"
