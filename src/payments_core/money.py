"""Exact amounts of money: integer minor units with an ISO 4217 currency.

No float ever enters.
What a wire can say differs from gateway to gateway (Midtrans takes whole rupiah, Stripe has its own table), so an
adapter converts at its own edge and refuses what it cannot say; here an amount is what ISO 4217 says it is.
"""

import re
from decimal import Decimal

import attrs

from payments_core.errors import AmountNotRepresentable
from payments_core.limits import AMOUNT_MINOR_MAX

__all__ = ["CURRENCY_EXPONENTS", "Currency", "Money"]

_TWO_DECIMALS = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP "
    "CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR "
    "JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN "
    "NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP "
    "SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"

CURRENCY_EXPONENTS: dict[str, int] = {
    **dict.fromkeys(_TWO_DECIMALS.split(), 2),
    **dict.fromkeys(_NO_DECIMALS.split(), 0),
    **dict.fromkeys(_THREE_DECIMALS.split(), 3),
}
"""ISO 4217 alphabetic code -> digits after the decimal point (list one, currencies of countries in use)."""

_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?")


@attrs.frozen
class Currency:
    """An ISO 4217 currency; `exponent` is the number of its decimal digits."""

    code: str
    exponent: int

    @classmethod
    def of(cls, code: str) -> "Currency":
        """The currency with this upper-case code.

        Errors: AmountNotRepresentable when ISO 4217 does not list it.
        """
        exponent = CURRENCY_EXPONENTS.get(code)
        if exponent is None:
            raise AmountNotRepresentable(f"{code!r} is not a currency of ISO 4217")
        return cls(code, exponent)


@attrs.frozen(order=False)
class Money:
    """An amount in one currency; amounts of different currencies neither add nor compare.

    Errors: AmountNotRepresentable when it is no whole number of minor units, or beyond what is stored.
    """

    amount_minor: int = attrs.field()
    currency: Currency = attrs.field()

    @amount_minor.validator
    def _is_whole_and_bounded(self, _attribute: object, value: int) -> None:
        if type(value) is not int:
            raise AmountNotRepresentable(f"{value!r} is no whole number of minor units; `Money.parse` reads amounts")
        if abs(value) > AMOUNT_MINOR_MAX:
            raise AmountNotRepresentable(f"{value} minor units is beyond what we store ({AMOUNT_MINOR_MAX})")

    @currency.validator
    def _is_a_currency(self, _attribute: object, value: Currency) -> None:
        if not isinstance(value, Currency):
            raise TypeError(f"{value!r} is no Currency; `Money.of(1250, 'USD')` takes its code")

    @classmethod
    def of(cls, amount_minor: int, code: str) -> "Money":
        """`Money.of(1250, "USD")` is twelve dollars fifty."""
        return cls(amount_minor, Currency.of(code))

    @classmethod
    def parse(cls, major: str, currency: Currency) -> "Money":
        """The amount a decimal string in major units says, exactly.

        Errors: AmountNotRepresentable when it is not a decimal number, or has more digits than the currency.
        """
        if not _DECIMAL.fullmatch(major):
            raise AmountNotRepresentable(f"{major[:40]!r} is not a decimal amount such as '150000' or '12.50'")
        minor = Decimal(major).scaleb(currency.exponent)
        if minor != minor.to_integral_value():
            raise AmountNotRepresentable(f"{major} has more decimals than {currency.code} ({currency.exponent})")
        return cls(int(minor), currency)

    def major(self) -> str:
        """The amount in major units: `"150000"` when whole, else all ISO digits, `"12.50"`."""
        whole, rest = divmod(abs(self.amount_minor), 10**self.currency.exponent)
        sign = "-" if self.amount_minor < 0 else ""
        return f"{sign}{whole}" if rest == 0 else f"{sign}{whole}.{rest:0{self.currency.exponent}d}"

    def __str__(self) -> str:
        return f"{self.major()} {self.currency.code}"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount_minor + self._minor_of(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount_minor - self._minor_of(other), self.currency)

    def __mul__(self, quantity: int) -> "Money":
        return Money(self.amount_minor * quantity, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.amount_minor < self._minor_of(other)

    def __le__(self, other: "Money") -> bool:
        return self.amount_minor <= self._minor_of(other)

    def _minor_of(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise ValueError(f"{self} and {other} are of different currencies")
        return other.amount_minor
