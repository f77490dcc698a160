"""Stripe's minor units: how many decimals each currency has there, and the least it charges.

Written from the gateway's own pages, not from the adapter's table, so that one can be held against the other.
"""

_ZERO_DECIMALS = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
_THREE_DECIMALS = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])

_LEAST = {
    **dict.fromkeys(["usd", "eur", "aud", "cad", "chf", "brl", "inr", "nzd", "sgd", "php", "zar", "idr"], 50),
    "gbp": 30, "hkd": 400, **dict.fromkeys(["myr", "aed", "pln", "ron"], 200), "jpy": 50, "krw": 50, "thb": 1000,
    "mxn": 1000, "nok": 300, "sek": 300, "dkk": 250, "czk": 1500, "huf": 17500,
}  # fmt: skip


def decimals(currency: str) -> int:
    """Return how many decimals Stripe gives this currency; IDR, ISK and UGX have two here."""
    if currency in _ZERO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


def step(currency: str) -> int:
    """Return what every amount must be a multiple of: three decimals end in 0, ISK and UGX in 00."""
    if currency in _THREE_DECIMALS:
        return 10
    return 100 if currency in {"isk", "ugx"} else 1


def least_amount(currency: str) -> int:
    """Return the least total in minor units; one unit where nothing is published."""
    return _LEAST.get(currency, 1)


def major(amount: int, currency: str) -> str:
    """Write minor units as a decimal text in major units."""
    places = decimals(currency)
    if places == 0:
        return str(amount)
    sign, digits = "-" if amount < 0 else "", str(abs(amount)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}"
