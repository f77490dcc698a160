"""Names that carry their own address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_core.identity import make_payment_id, provider_order_id, read_provider_order_id, refund_key

times, randoms = st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1)
ids = st.builds(make_payment_id, times, randoms)


@given(ids, st.integers(1, 20))
def test_a_provider_order_id_tells_its_payment_and_attempt(payment_id: str, number: int) -> None:
    named = read_provider_order_id(provider_order_id(payment_id, number))
    assert named is not None
    assert (named.payment_id, named.attempt) == (payment_id, number)


@given(ids, st.integers(1, 20))
def test_a_provider_order_id_fits_every_gateway_and_ends_in_a_letter(payment_id: str, number: int) -> None:
    """Midtrans' signature has no separators, so an id that ended in digits could lend them to the status code."""
    made = provider_order_id(payment_id, number)
    assert len(made) <= 50
    assert made[-1] == "p"
    assert set(made) <= set("0123456789abcdefghijklmnopqrstuvwxyz-")


@given(times, times, randoms, randoms)
def test_ids_sort_by_the_time_they_were_made(first: int, second: int, one: int, other: int) -> None:
    if first < second:
        assert make_payment_id(first, one) < make_payment_id(second, other)


@given(st.tuples(times, randoms), st.tuples(times, randoms))
def test_different_seeds_make_different_ids(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (make_payment_id(*one) == make_payment_id(*other)) is (one == other)


@pytest.mark.parametrize("value", [(-1, 0), (2**48, 0), (0, -1), (0, 2**80)])
def test_what_does_not_fit_is_refused(value: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        make_payment_id(*value)


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "order-1",
        "payment_notif_test_G1_4a1b",
        "01kdvdna000000000000000001-0p",
        "01kdvdna000000000000000001-1P",
        "01kdvdna000000000000000001-1p ",
        "01KDVDNA000000000000000001-1p",
        "81kdvdna000000000000000001-1p",
        "01kdvdna000000000000000001-100p",
        "x01kdvdna000000000000000001-1p",
    ],
)
def test_ids_of_others_are_not_taken_for_ours(foreign: str) -> None:
    assert read_provider_order_id(foreign) is None


def test_a_refund_key_is_the_same_in_every_retry() -> None:
    assert refund_key("01kdvdna000000000000000001", 2) == "01kdvdna000000000000000001-r2"
