"""Stripe's table of minor units, which is not ISO 4217's.

A wrong table is an error by a factor of a hundred, so the differences stand here one by one.
Source: stripe.md section 3 (Stripe's currency documentation, read 2026-11).
"""

from payments_core.errors import AmountNotRepresentable
from payments_core.money import Currency, Money

__all__ = ["from_stripe", "to_stripe"]

_EXPONENTS = {
    "MGA": 0,  # ISO says 2
    "ISK": 2,  # ISO says 0; Stripe takes two digits that must be 00
    "UGX": 2,  # the same
}


def from_stripe(amount: int, currency_code: str) -> Money:
    """The money Stripe's integer says.

    Errors: AmountNotRepresentable for a currency ISO does not list, or a part of a unit it does not have.
    """
    currency = Currency.of(currency_code.upper())
    shift = currency.exponent - _EXPONENTS.get(currency.code, currency.exponent)
    if shift >= 0:
        return Money(amount * int(10**shift), currency)
    minor, rest = divmod(amount, 10**-shift)
    if rest:
        raise AmountNotRepresentable(f"{amount} of Stripe's units is no whole amount of {currency.code}")
    return Money(minor, currency)


def to_stripe(money: Money) -> int:
    """The integer Stripe takes for this amount.

    Errors: AmountNotRepresentable when Stripe cannot say it: parts of a unit, or the last digit of three.
    """
    currency = money.currency
    exponent = _EXPONENTS.get(currency.code, currency.exponent)
    if exponent == 3 and money.amount_minor % 10:  # noqa: PLR2004 - the number of decimals
        raise AmountNotRepresentable(f"Stripe wants the last digit of {money} to be 0")
    shift = exponent - currency.exponent
    if shift >= 0:
        return money.amount_minor * int(10**shift)
    units, rest = divmod(money.amount_minor, int(10**-shift))
    if rest:
        raise AmountNotRepresentable(f"Stripe cannot say {money}")
    return units
