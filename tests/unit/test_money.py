"""Money: exact, in minor units, never a float."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_core.errors import AmountNotRepresentable
from payments_core.limits import AMOUNT_MINOR_MAX
from payments_core.money import CURRENCY_EXPONENTS, Currency, Money

currencies = st.sampled_from(sorted(CURRENCY_EXPONENTS)).map(Currency.of)
minors = st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX)


@given(minors, currencies)
def test_what_is_written_is_read_back(minor: int, currency: Currency) -> None:
    money = Money(minor, currency)
    assert Money.parse(money.major(), currency) == money


@pytest.mark.parametrize(
    ("major", "code", "minor"),
    [
        ("150000", "IDR", 15_000_000),
        ("150000.00", "IDR", 15_000_000),
        ("0.01", "IDR", 1),
        ("12.5", "USD", 1250),
        ("100", "JPY", 100),
        ("100.000", "JPY", 100),
        ("1.234", "KWD", 1234),
        ("-5", "IDR", -500),
    ],
)
def test_a_decimal_string_is_exactly_so_many_minor_units(major: str, code: str, minor: int) -> None:
    assert Money.parse(major, Currency.of(code)) == Money.of(minor, code)


@pytest.mark.parametrize(
    ("minor", "code", "major"),
    [
        (15_000_000, "IDR", "150000"),
        (1250, "USD", "12.50"),
        (5, "KWD", "0.005"),
        (0, "IDR", "0"),
        (-150, "USD", "-1.50"),
    ],
)
def test_whole_amounts_lose_their_decimals_and_others_show_all_of_them(minor: int, code: str, major: str) -> None:
    assert Money.of(minor, code).major() == major


@pytest.mark.parametrize(
    "odd",
    ["", "1e5", "1.", ".5", "1,000", " 1", "1 ", "١", "0x10", "NaN", "inf", "--1", "1.001", "9" * 19, "1_000", "+1"],
)
def test_anything_else_is_refused(odd: str) -> None:
    with pytest.raises(AmountNotRepresentable):
        Money.parse(odd, Currency.of("USD"))


def test_a_part_of_the_smallest_unit_is_refused() -> None:
    with pytest.raises(AmountNotRepresentable, match="more decimals"):
        Money.parse("0.5", Currency.of("JPY"))


def test_an_amount_beyond_what_is_stored_is_refused() -> None:
    with pytest.raises(AmountNotRepresentable):
        Money.of(AMOUNT_MINOR_MAX + 1, "IDR")


def test_currencies_do_not_mix() -> None:
    with pytest.raises(ValueError, match="different currencies"):
        _ = Money.of(1, "IDR") + Money.of(1, "USD")
    with pytest.raises(ValueError, match="different currencies"):
        _ = Money.of(1, "IDR") < Money.of(1, "USD")


def test_amounts_of_one_currency_compare() -> None:
    less, more = Money.of(1, "IDR"), Money.of(2, "IDR")
    assert less < more
    assert less <= more
    assert less <= Money.of(1, "IDR")
    assert not less < Money.of(1, "IDR")
    assert not more <= less
    with pytest.raises(ValueError, match="different currencies"):
        _ = less <= Money.of(2, "USD")


def test_a_price_times_a_quantity_is_exact() -> None:
    assert Money.of(333, "IDR") * 3 == Money.of(999, "IDR")


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(AmountNotRepresentable, match="ISO 4217"):
        Currency.of("idr")


@given(st.lists(minors.map(lambda m: m // 1000), max_size=50), currencies)
def test_sums_are_exact(amounts: list[int], currency: Currency) -> None:
    total = Money(0, currency)
    for amount in amounts:
        total += Money(amount, currency)
    assert total.amount_minor == sum(amounts)
    assert (total - total).amount_minor == 0


@pytest.mark.parametrize("amount", [12.5, 100.0, float("nan"), True, "100", None])
def test_no_float_and_nothing_else_but_a_whole_number_becomes_an_amount(amount: object) -> None:
    with pytest.raises(AmountNotRepresentable, match="no whole number of minor units"):
        Money.of(amount, "IDR")  # type: ignore[arg-type]
    with pytest.raises(AmountNotRepresentable):
        Money.of(101, "IDR") * 0.5  # type: ignore[operator]


def test_an_amount_without_a_currency_says_how_one_is_made() -> None:
    with pytest.raises(TypeError, match=r"Money\.of"):
        Money(100, "IDR")  # type: ignore[arg-type]
