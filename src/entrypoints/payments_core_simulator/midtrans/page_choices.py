"""What a buyer can pick on the pay page, and what each pick does to the ledger."""

from collections.abc import Sequence

import attrs

from .values import PageRequest, Try


@attrs.frozen
class Choice:
    """One radio button. `enabled_by` are the words of `enabled_payments` that show it."""

    value: str
    group: str
    label: str
    enabled_by: frozenset[str]
    wish: Try
    note: str = ""


def _card(value: str, label: str, outcome: str, note: str) -> Choice:
    return Choice(value, "Card", label, frozenset({"credit_card"}), Try("credit_card", outcome), note)


def _wallet(payment_type: str, label: str, *more: str, note: str = "") -> Choice:
    words = frozenset({payment_type, *more})
    return Choice(payment_type, "Wallet and QR", label, words, Try(payment_type, "pending"), note)


def _bank(bank: str, label: str) -> Choice:
    words = frozenset({f"{bank}_va", "bank_transfer"})
    return Choice(f"va-{bank}", "Bank transfer", label, words, Try("bank_transfer", "pending", bank=bank))


def _mandiri_bill() -> Choice:
    words = frozenset({"echannel", "bank_transfer"})
    return Choice("echannel", "Bank transfer", "Mandiri Bill", words, Try("echannel", "pending"))


def _counter(store: str, label: str) -> Choice:
    return Choice(store, "Over the counter", label, frozenset({store, "cstore"}), Try("cstore", "pending", store=store))


def _later(payment_type: str, label: str) -> Choice:
    return Choice(payment_type, "Pay later", label, frozenset({payment_type}), Try(payment_type, "pending"))


CHOICES: tuple[Choice, ...] = (
    _card("card-approve", "Approve", "capture", "the bank takes the money"),
    _card("card-decline", "Decline", "deny", "the bank says: do not honor"),
    _card("card-challenge", "Fraud review", "challenge", "the merchant must approve or deny"),
    _card("card-3ds", "Leave 3-D Secure", "pending", "the bank never hears from you"),
    _wallet("gopay", "GoPay"),
    _wallet("qris", "QRIS", "gopay", "shopeepay", "other_qris", note="any wallet that scans"),
    _wallet("shopeepay", "ShopeePay"),
    _wallet("dana", "DANA"),
    _wallet("ovo", "OVO"),
    _bank("bca", "BCA"),
    _bank("bni", "BNI"),
    _bank("bri", "BRI"),
    _mandiri_bill(),
    _bank("permata", "Permata"),
    _bank("cimb", "CIMB Niaga"),
    _bank("danamon", "Danamon"),
    _bank("bsi", "BSI"),
    _bank("seabank", "SeaBank"),
    _bank("saqu", "Bank Saqu"),
    _counter("indomaret", "Indomaret"),
    _counter("alfamart", "Alfamart"),
    _later("kredivo", "Kredivo"),
    _later("akulaku", "Akulaku"),
)


def offered(request: PageRequest) -> dict[str, Sequence[Choice]]:
    """Return the choices of this page by group; a page that names no methods offers all."""
    wanted = set(request.enabled_payments)
    groups: dict[str, list[Choice]] = {}
    for choice in CHOICES:
        if not wanted or choice.enabled_by & wanted:
            groups.setdefault(choice.group, []).append(choice)
    return {group: choices for group, choices in groups.items() if choices}


def chosen(request: PageRequest, value: str) -> Try | None:
    """Return what the offered choice with this value means; on a page that only authorizes, approval is a hold."""
    for choices in offered(request).values():
        for choice in choices:
            if choice.value == value:
                hold = request.authorize_only and choice.wish.outcome == "capture"
                return attrs.evolve(choice.wish, outcome="authorize") if hold else choice.wish
    return None


def outcome_when_paid(request: PageRequest, payment_type: str) -> str:
    """Return where "I have paid" takes a pending transaction."""
    if payment_type != "credit_card":
        return "settlement"
    return "authorize" if request.authorize_only else "capture"
