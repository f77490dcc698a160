"""Authenticity of a notification (guarantee B4), on samples the gateway itself made and on generated ones."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import payments_core_midtrans.signature as signature_module
from payments_core.errors import MalformedNotification, NotAuthentic
from payments_core.ports import Foreign, Genuine
from payments_core_midtrans import MidtransGateway, MidtransSettings, signature_of
from payments_core_midtrans.signature import is_signed

# Published samples: order id, code, amount, a public test key, signature. The first two were made by the gateway
# (midtrans-nodejs-client README, veritrans-ruby api_reference), the third computed from the inputs of the docs.
VERIFIED = [
    (
        "order-id-node-1541395013",
        "200",
        "200000.00",
        "SB-Mid-server-GwUP_WGbJPXsDzsNEBRs8IYA",
        (
            "d302bfcb2db008f17343e4c3b56cb20a0b22d0951ede6a7cdbfcd31f4a5d0d89d0a5230c333dd2fc5803cfbe8567ad146fb3c574d4050a87b4d"
            "81661e5d870de"
        ),
    ),
    (
        "ruby-lib-test-1633926689",
        "201",
        "10000.00",
        "SB-Mid-server-uQmMImQMeo0Ky3Svl90QTUj2",
        (
            "412c0a69df9c74d05666ffb079d09b404e3d596b927dbb027bd470d072401a767b0f9ad4659248118979ce274e5bcec3dd683abf9e279ce001e"
            "ab67f49de5866"
        ),
    ),
    (
        "1111",
        "200",
        "100000.00",
        "askvnoibnosifnboseofinbofinfgbiufglnbfg",
        (
            "edc076b21793ebe3e17926350f5b8ae67d902fe657b3d0aa31b932d5c127e2375d308a2bc94f3265ac2d80a1f181a79b997ac178a236fcff35af"
            "263fc4d4c231"
        ),
    ),
]
KEY, OLD_KEY = "SB-Mid-server-now", "SB-Mid-server-before"

order_ids = st.from_regex(r"[A-Za-z0-9~._-]{1,40}[A-Za-z]", fullmatch=True)
codes = st.integers(100, 599).map(str)
amounts = st.integers(0, 10**12).map(lambda whole: f"{whole}.00")


@pytest.fixture(scope="module")
def gateway() -> MidtransGateway:
    return MidtransGateway(MidtransSettings(server_key=KEY, previous_key=OLD_KEY))


def body(**changes: object) -> bytes:
    fields = {
        "order_id": "01kdvdna000000000000000001-1p",
        "transaction_id": "b0b5-1",
        "transaction_status": "settlement",
        "status_code": "200",
        "gross_amount": "100000.00",
        "payment_type": "gopay",
    }
    fields["signature_key"] = signature_of(fields["order_id"], fields["status_code"], fields["gross_amount"], KEY)
    return json.dumps({name: value for name, value in {**fields, **changes}.items() if value is not None}).encode()


@pytest.mark.parametrize("sample", VERIFIED, ids=[sample[0] for sample in VERIFIED])
def test_published_samples_verify(sample: tuple[str, str, str, str, str]) -> None:
    order_id, code, gross, key, signature = sample
    assert signature_of(order_id, code, gross, key) == signature
    assert is_signed(order_id, code, gross, signature, [key])
    assert not is_signed(order_id, code, gross, signature, [key + "x"])


@given(order_ids, codes, amounts)
def test_a_signature_verifies_with_the_key_that_made_it_and_no_other(order_id: str, code: str, gross: str) -> None:
    made = signature_of(order_id, code, gross, KEY)
    assert is_signed(order_id, code, gross, made, [KEY])
    assert is_signed(order_id, code, gross, made, [OLD_KEY, KEY])
    assert not is_signed(order_id, code, gross, made, [OLD_KEY])


@given(order_ids, codes, amounts, st.data())
def test_any_other_text_does_not_verify(order_id: str, code: str, gross: str, data: st.DataObject) -> None:
    made = signature_of(order_id, code, gross, KEY)
    at = data.draw(st.integers(0, len(made) - 1))
    other = data.draw(st.characters(exclude_categories=["Cs"]).filter(lambda c: c != made[at]))
    for wrong in (made[:at] + other + made[at + 1 :], made[:at], made + other, made.upper(), ""):
        assert (wrong == made) or not is_signed(order_id, code, gross, wrong, [KEY])


@given(order_ids, codes, amounts, order_ids, codes, amounts)
def test_one_signature_serves_one_order_code_and_amount(
    order_id: str, code: str, gross: str, other_id: str, other_code: str, other_gross: str
) -> None:
    """Nothing separates the parts, so the forms of the code and the end of our ids have to."""
    made = signature_of(order_id, code, gross, KEY)
    same = (order_id, code, gross) == (other_id, other_code, other_gross)
    assert is_signed(other_id, other_code, other_gross, made, [KEY]) is same


def test_digits_that_move_between_order_code_and_amount_do_not_verify() -> None:
    """`ORD` + `200` + `200100.00` and `ORD200` + `200` + `100.00` hash alike; our ids end in a letter."""
    assert signature_of("ORD", "200", "200100.00", KEY) == signature_of("ORD200", "200", "100.00", KEY)
    made = signature_of("01kdvdna000000000000000001-1p", "200", "150000.00", KEY)
    for code, gross in (("2001", "50000.00"), ("20", "0150000.00"), ("2", "00150000.00"), ("20015", "0000.00")):
        assert signature_of("01kdvdna000000000000000001-1p", code, gross, KEY) == made
        assert not is_signed("01kdvdna000000000000000001-1p", code, gross, made, [KEY])


def test_a_genuine_body_is_understood(gateway: MidtransGateway) -> None:
    genuine = gateway.authenticate(body(), {})
    assert isinstance(genuine, Genuine)
    assert genuine.observation.transaction_id == "b0b5-1"


def test_the_key_before_the_rotation_still_verifies(gateway: MidtransGateway) -> None:
    signed_before = signature_of("01kdvdna000000000000000001-1p", "200", "100000.00", OLD_KEY)
    assert isinstance(gateway.authenticate(body(signature_key=signed_before), {}), Genuine)


@pytest.mark.parametrize(
    "changes",
    [
        {"signature_key": None},
        {"signature_key": ""},
        {"signature_key": 1},
        {"signature_key": ["a"]},
        {"signature_key": None, "transaction_status": "settlement"},
        {"order_id": "01kdvdna000000000000000001-2p"},
        {"status_code": "201"},
        {"gross_amount": "100000.01"},
        {"gross_amount": "100000"},
        {"signature_key": signature_of("01kdvdna000000000000000001-1p", "200", "100000.00", "another-key")},
        {"signature_key": signature_of("01kdvdna000000000000000001-1p", "200", "100000.00", KEY).upper()},
        {"signature_key": signature_of("01kdvdna000000000000000001-1p", "200", "100000.00", KEY)[:-1]},
        {"signature_key": signature_of("01kdvdna000000000000000001-1p", "200", "100000.00", KEY).replace("a", "а")},
    ],
    ids=lambda c: ",".join(f"{name}={str(value)[:12]}" for name, value in c.items()),
)
def test_a_body_that_does_not_prove_its_sender_is_refused(gateway: MidtransGateway, changes: dict[str, object]) -> None:
    with pytest.raises(NotAuthentic):
        gateway.authenticate(body(**changes), {})


def test_a_key_that_stands_twice_is_refused(gateway: MidtransGateway) -> None:
    """Two readers would read two messages under one signature."""
    doubled = body()[:-1] + b', "transaction_status": "deny"}'
    with pytest.raises(NotAuthentic):
        gateway.authenticate(doubled, {})


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"null",
        b"[]",
        b'"settlement"',
        b"{",
        b"\xff\xfe",
        b'{"order_id": NaN}',
        b"[" * 10_000,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"{}",
        body(order_id=None),
        body(order_id=5),
        body(status_code=200),
        body(gross_amount=100000.0),
        body(transaction_id=None),
        body(transaction_id=7),
        body(transaction_status=None),
        body(transaction_id="a\u0000b"),
        body(transaction_id="x" * 129),
        body(transaction_id="\ud800"),
        body(currency="RUPIAH"),
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_a_body_that_is_no_notification_is_malformed(gateway: MidtransGateway, odd: bytes) -> None:
    with pytest.raises(MalformedNotification):
        gateway.authenticate(odd, {})


def test_brackets_inside_text_are_no_nesting(gateway: MidtransGateway) -> None:
    assert isinstance(gateway.authenticate(body(status_message='[{"' * 100), {}), Genuine)


def test_huge_numbers_in_fields_we_do_not_read_are_harmless(gateway: MidtransGateway) -> None:
    raw = body()[:-1] + b', "point_balance_amount": 1e309, "n": ' + b"9" * 4000 + b"}"
    assert isinstance(gateway.authenticate(raw, {}), Genuine)


@pytest.mark.parametrize(
    ("foreign", "kind"),
    [
        ({"subscription": {"id": "s"}, "event_name": "x"}, "subscription"),
        ({"account_id": "a", "account_status": "ENABLED"}, "pay account"),
        ({"originalReferenceNo": "1"}, "BI-SNAP"),
    ],
)
def test_bodies_that_are_not_payments_are_told_apart(
    gateway: MidtransGateway, foreign: dict[str, object], kind: str
) -> None:
    assert gateway.authenticate(json.dumps(foreign).encode(), {}) == Foreign(kind)


def test_a_signed_payment_is_never_taken_for_something_else(gateway: MidtransGateway) -> None:
    """New properties appear without notice; one of them must not make a payment vanish."""
    assert isinstance(gateway.authenticate(body(account_id="a"), {}), Genuine)


def test_signatures_are_compared_in_constant_time_only() -> None:
    """A static check on the code (B4): `compare_digest`, and no `==` on a signature."""
    source = Path(str(signature_module.__file__)).read_text()
    assert "compare_digest" in source
    assert "==" not in source


def test_the_samples_are_what_the_standard_library_says() -> None:
    for order_id, code, gross, key, signature in VERIFIED:
        assert hashlib.sha512(f"{order_id}{code}{gross}{key}".encode()).hexdigest() == signature


def test_half_a_character_is_no_signed_text() -> None:
    """JSON can say a lone surrogate; it was a crash that anybody could cause."""
    assert not is_signed("\ud800", "200", "1000.00", "0" * 128, [KEY])
