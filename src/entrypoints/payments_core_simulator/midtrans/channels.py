"""What each payment type can do: which ends a buyer can reach, whether it refunds, and how it is looked up."""

from collections.abc import Iterable

import attrs

# How a buyer's try can end, as `/_sim/pay` names it.
OUTCOMES = ("pending", "settlement", "capture", "challenge", "authorize", "deny", "expire", "cancel", "failure")

_CARD_ONLY = frozenset({"capture", "challenge", "authorize"})
_ANY = frozenset(OUTCOMES) - _CARD_ONLY


@attrs.frozen
class Channel:
    """One payment type. `outcomes` are the ends that make sense for it."""

    outcomes: frozenset[str] = _ANY
    refunds: bool = False
    partial_refunds: bool = True
    banks: frozenset[str] = frozenset()
    default_bank: str = ""
    stores: frozenset[str] = frozenset()
    default_store: str = ""


def _wallet(extra_outcomes: Iterable[str] = (), *, partial_refunds: bool = True) -> Channel:
    return Channel(outcomes=_ANY | set(extra_outcomes), refunds=True, partial_refunds=partial_refunds)


VA_BANKS = frozenset({"bca", "bni", "bri", "cimb", "permata", "danamon", "bsi", "seabank", "saqu"})
CARD_BANKS = frozenset({"bni", "bca", "bri", "mandiri", "cimb", "maybank", "mega"})

CHANNELS: dict[str, Channel] = {
    "credit_card": Channel(outcomes=frozenset(OUTCOMES), refunds=True, banks=CARD_BANKS, default_bank="bni"),
    "gopay": _wallet({"authorize"}),
    "qris": _wallet(),
    "shopeepay": _wallet(),
    "dana": _wallet(),
    "ovo": _wallet(partial_refunds=False),
    "akulaku": _wallet(),
    "kredivo": _wallet(),
    # Money that arrived by bank or over a counter cannot be sent back by the gateway.
    "bank_transfer": Channel(banks=VA_BANKS, default_bank="bca"),
    "echannel": Channel(banks=frozenset({"mandiri"}), default_bank="mandiri"),
    # Nobody can refuse cash before it is on the counter.
    "cstore": Channel(outcomes=_ANY - {"deny"}, stores=frozenset({"indomaret", "alfamart"}), default_store="indomaret"),
    # Older words that still appear in notifications.
    "bca_klikpay": Channel(),
    "bca_klikbca": Channel(),
    "bri_epay": Channel(),
    "cimb_clicks": Channel(),
    "danamon_online": Channel(),
    "uob_ezpay": Channel(),
    "mandiri_clickpay": Channel(),
}

BI_SNAP_TYPES = frozenset({"dana"})
BI_SNAP_BANKS = frozenset({"danamon", "bsi", "seabank", "saqu"})


def is_bi_snap(payment_type: str, bank: str) -> bool:
    """Tell whether the transaction answers only to its own id, and names that id as its order id in a status."""
    return payment_type in BI_SNAP_TYPES or (payment_type == "bank_transfer" and bank in BI_SNAP_BANKS)
