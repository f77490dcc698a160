"""The HTML of the pay page behind a session's `url`, from values."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from payments_core_simulator.documents import frame, message_page, verdict
from payments_core_simulator.page_parts import Option, Row, back, group, receipt, tries

from .money import major
from .values import Charge, Intent, Line, Session, SessionRequest

CARD = (
    Option("card-succeed", "Approve", "the bank takes the money"),
    Option("card-decline", "Decline", "the bank says: do not honor"),
    Option("card-funds", "Decline", "insufficient funds"),
    Option("card-3ds", "Ask for 3-D Secure", "the bank wants to see you first"),
)
BANK = (Option("bank", "Bank debit", "the money comes days later, or does not"),)
_METHODS = {"card": "Card", "us_bank_account": "Bank debit", "sepa_debit": "Bank debit"}


def home_page() -> str:
    """Return what a person sees who opens the origin itself."""
    text = "This server stands in for Stripe. A payment page opens from the link a shop gives you."
    return message_page("Stripe simulator", text)


def expired_page(session: Session) -> str:
    """Return the page of a session that takes no more payments."""
    text = f"This payment page expired or was closed by the merchant. It was open until {_when(session)} at most."
    return frame("Page closed", _order(session, verdict("closed", "Page closed", text)) + _leave(session))


def result_page(session: Session, intent: Intent | None) -> str:
    """Return the page after the buyer's part is done; a delayed payment can be ended here, as its bank would."""
    state, title, text = _result(intent)
    content = _order(session, verdict(state, title, text))
    if intent is not None and intent.status == "processing":
        content += _steps(
            session, "The bank", "Here, the buttons below are the bank.", "The money arrives", "It bounces"
        )
    return frame(title, content + back(success_url(session), primary=True))


def _result(intent: Intent | None) -> tuple[str, str, str]:
    if intent is None:
        return "good", "Nothing to pay", "The total was zero."
    match intent.status:
        case "succeeded":
            return "good", "Payment received", "The bank has taken the amount."
        case "requires_capture":
            return "good", "Amount reserved", "The bank holds the amount; the merchant can take it later."
        case "processing":
            return "review", "Payment on its way", "The bank will say in some days whether the money arrives."
        case "canceled":
            return "closed", "Payment cancelled", "The hold was released; nothing was taken."
        case _:
            return "closed", "Payment failed", "The bank returned the payment. Ask the shop for a new page."


def pay_page(session: Session, intent: Intent | None, charges: Sequence[Charge]) -> str:
    """Return the open page: what waits for the buyer, what was tried, and what can be chosen."""
    waiting = intent is not None and intent.status == "requires_action"
    content = _order(session)
    if waiting:
        content += _steps(session, "3-D Secure", "Your bank asks whether it is you.", "Yes, it is me", "Fail it")
    tried = [_tried(one) for one in charges if one.status == "failed"]
    if intent is not None and intent.last_error is not None and intent.last_error.decline_code is None:
        # A try that never reached the bank leaves no charge behind.
        tried.append("Card: 3-D Secure failed")
    content += _methods(session, tried, waiting=waiting)
    left = f"<p class=quiet>This page closes on {_when(session)}.</p>"
    title = f"Pay {money(session.request.total, session.request.currency)}"
    return frame(title, content + left + _leave(session))


def _order(session: Session, result: str = "") -> str:
    request = session.request
    rows = [_row(line, request.currency) for line in request.lines]
    for name, amount in _more(request):
        rows.append(Row(name, money(amount, request.currency)))
    name = request.client_reference_id or session.id
    return receipt(name, money(request.total, request.currency), request.customer_email or "", rows, result)


def _row(line: Line, currency: str) -> Row:
    each = f"{line.quantity} &times; {money(line.unit_amount, currency)}" if line.quantity > 1 else ""
    return Row(line.name, money(line.unit_amount * line.quantity, currency), each)


def _more(request: SessionRequest) -> list[tuple[str, int]]:
    lines = [("Discount", -request.discount), ("Tax", request.tax)]
    if request.shipping is not None:
        lines.append((request.shipping.name, request.shipping.amount))
    return [(name, amount) for name, amount in lines if amount]


def _steps(session: Session, title: str, text: str, good: str, bad: str) -> str:
    return (
        f"<section class=waiting><h2>{title}</h2><p>{text}</p>"
        f"<form method=post action='/c/pay/{session.id}/step'>"
        f"<button class=primary name=step value=succeed>{good}</button>"
        f"<button name=step value=fail>{bad}</button></form></section>"
    )


def _methods(session: Session, tried: Sequence[str], *, waiting: bool) -> str:
    action, card_only = f"/c/pay/{session.id}/pay", session.request.capture_method == "manual"
    preview = "no number needed, only the bank's answer"
    groups = group(action, "Card", CARD, opened=not waiting, button="Pay by card", preview=preview)
    if not card_only:
        groups += group(action, "Bank debit", BANK, opened=False, button="Pay from an account", preview=BANK[0].note)
    title = "Choose another method" if tried or waiting else "Choose a method"
    return f"<section class=methods><h2>{title}</h2>{tries(tried)}{groups}</section>"


def _tried(charge: Charge) -> str:
    why = (charge.failure.decline_code or charge.failure.code) if charge.failure else "failed"
    return f"{_METHODS.get(charge.method, charge.method)} declined: {why.replace('_', ' ')}"


def _leave(session: Session) -> str:
    return back(session.request.cancel_url or "")


def success_url(session: Session) -> str:
    """Return where the buyer goes afterwards, with the session's id filled in; empty unless it is http or https."""
    url = session.request.success_url.replace("{CHECKOUT_SESSION_ID}", session.id)
    return url if urlsplit(url).scheme in {"http", "https"} else ""


def money(amount: int, currency: str) -> str:
    """Write an amount with its currency, thousands set apart."""
    whole, dot, rest = major(abs(amount), currency).partition(".")
    sign = "\N{MINUS SIGN}" if amount < 0 else ""
    return f"{sign}{currency.upper()}\N{NO-BREAK SPACE}{int(whole):,}{dot}{rest}"


def _when(session: Session) -> str:
    ends: datetime = session.request.expires_at
    written = f"{ends.day} {ends:%B %Y, %H:%M} UTC"
    return f"<time datetime='{ends.isoformat(timespec='seconds')}'>{written}</time>"
