"""Who signed an event, and when: several secrets, five minutes both ways, bytes as they came."""

import ast
import inspect
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe import WebhookSignature

from payments_core_stripe import signature
from payments_core_stripe.signature import is_signed

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
BODY, SECRET, OLD = b'{"id": "evt_1"}', "whsec_new", "whsec_old"


def header(secret: str = SECRET, *, seconds: int = 0, body: bytes = BODY) -> str:
    """What Stripe would send, signed so many seconds from now."""
    return WebhookSignature.generate_signature_header(body.decode(), secret, int(NOW.timestamp()) + seconds)


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_five_minutes_either_way_are_accepted_to_the_second(seconds: int) -> None:
    assert is_signed(BODY, header(seconds=seconds), [SECRET], NOW)


@pytest.mark.parametrize("seconds", [-301, -86_400, 301, 86_400, 10**9])
def test_a_signature_too_old_or_from_the_future_is_refused(seconds: int) -> None:
    """The SDK accepts any future: a captured event with a late time would be replayable for as long."""
    assert not is_signed(BODY, header(seconds=seconds), [SECRET], NOW)


def test_a_fraction_of_a_second_does_not_refuse_the_last_one() -> None:
    assert is_signed(BODY, header(seconds=-300), [SECRET], NOW + timedelta(microseconds=999_999))


def test_while_a_secret_is_rolled_both_verify_and_one_afterwards() -> None:
    for secret in (SECRET, OLD):
        assert is_signed(BODY, header(secret), [SECRET, OLD], NOW)
    assert is_signed(BODY, header(SECRET), [SECRET], NOW)
    assert not is_signed(BODY, header(OLD), [SECRET], NOW)
    assert not is_signed(BODY, header(SECRET), [], NOW)


def test_stripe_signs_with_both_secrets_while_it_rolls_them() -> None:
    """`v1` stands twice then; any of them is enough, and schemes we do not know prove nothing."""
    old, new = header(OLD), header(SECRET)
    both = f"{old},{new.partition(',')[2]}"
    assert is_signed(BODY, both, [SECRET], NOW)
    assert not is_signed(BODY, new.replace("v1=", "v0="), [SECRET], NOW)


@pytest.mark.parametrize(
    "given_header",
    [
        "",
        "t=",
        "t=abc,v1=00",
        "v1=00",
        header().replace("t=", "t= "),
        header().replace("v1=", "v1=é"),
        f"t=1,{header()}",
        header().partition(",")[0],
        header()[:-1],
        header().upper(),
    ],
)
def test_a_header_that_is_none_is_refused_and_breaks_nothing(given_header: str) -> None:
    assert not is_signed(BODY, given_header, [SECRET], NOW)


@pytest.mark.parametrize("body", [b"", b"{}", BODY + b" ", BODY.replace(b"1", b"2"), b"\xff\xfe\x00"])
def test_other_bytes_are_refused(body: bytes) -> None:
    """Also bytes that are no text, on which the SDK breaks before it compares anything."""
    assert not is_signed(body, header(), [SECRET], NOW)


@given(st.text(max_size=200), st.binary(max_size=200))
def test_no_header_and_no_bytes_are_an_error_of_ours(text: str, body: bytes) -> None:
    assert not is_signed(body, text, [SECRET], NOW)


def test_signatures_of_events_are_compared_by_the_sdk_alone() -> None:
    """Its comparison takes the same time wherever two signatures differ; a `==` beside it would not."""
    tree = ast.parse(inspect.getsource(signature))
    compared = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    assert all("signature" not in text and "secret" not in text for text in compared), compared
