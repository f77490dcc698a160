"""The HTML of the pay page, from values; every text that came from outside is escaped here."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from payments_core_simulator.documents import frame, message_page, verdict
from payments_core_simulator.page_parts import Option, Row, back, group, receipt, tries

from . import wire
from .channel_fields import channel_fields
from .moves import ENDED_WITHOUT_MONEY
from .page_choices import Choice, offered
from .times import JAKARTA
from .values import Item, Page, Transaction

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
    request = page.request
    return receipt(
        page.order_id,
        rupiah(request.gross_amount),
        request.customer_name,
        [_row(one) for one in request.items],
        verdict,
    )


def _row(item: Item) -> Row:
    each = f"{item.quantity} &times; {rupiah(item.price)}" if item.quantity > 1 else ""
    return Row(item.name, rupiah(item.price * item.quantity), each)


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
        _group(page, name, choices, opened=number == 0 and not waiting)
        for number, (name, choices) in enumerate(groups.items())
    )
    lines = [f"{method_name(one)} {_OUTCOMES[one.status]}" for one in tried]
    return f"<section class=methods><h2>{title}</h2>{tries(lines)}{parts}</section>"


def _group(page: Page, name: str, choices: Sequence[Choice], *, opened: bool) -> str:
    return group(
        f"/snap/v2/vtweb/{page.token}/pay",
        name,
        [Option(one.value, one.label, one.note) for one in choices],
        opened=opened,
        button={"Card": "Pay by card", "Bank transfer": "Get a number", "Over the counter": "Get a code"}.get(
            name, "Continue"
        ),
        preview="no number needed, only the bank's answer" if name == "Card" else "",
    )


def _back(page: Page, transaction: Transaction | None, *, primary: bool = False) -> str:
    """Return the link to `callbacks.finish`."""
    return back(finish_url(page, transaction), primary=primary)


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
    return f"{sign}Rp\N{NO-BREAK SPACE}{abs(amount):,}".replace(",", ".")


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
