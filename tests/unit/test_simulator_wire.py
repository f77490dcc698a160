"""What the simulated gateway says about a transaction: codes, signatures, fields of each channel."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import attrs
import pytest

from payments_core_simulator.midtrans import moves, wire
from payments_core_simulator.midtrans.channel_fields import amount_text
from payments_core_simulator.midtrans.times import iso_time, wire_time
from payments_core_simulator.midtrans.values import Refund, Transaction
from payments_core_simulator.midtrans.wire import Account, View

NOW = datetime(2026, 5, 27, 7, 30, tzinfo=UTC)
ACCOUNT = Account("SB-Mid-server-unit", "G000000000")


def transaction(payment_type: str = "credit_card", **changes: object) -> Transaction:
    plain = Transaction(
        transaction_id="1a1a66f7-27a7-4844-ba1f-d86dcc16ab27",
        order_id="ORDER-1",
        payment_type=payment_type,
        gross_sen=14_500_000,
        authorized_sen=14_500_000,
        created_at=NOW,
        changed_at=NOW,
        expires_at=NOW + timedelta(hours=24),
        bank="bni" if payment_type == "credit_card" else "",
    )
    return attrs.evolve(plain, **changes)


def at(word: str, payment_type: str = "credit_card", **changes: object) -> Transaction:
    amount = 5_000_000 if word == "partial_refund" else None
    return moves.put(transaction(payment_type, **changes), word, NOW, amount)


# Word, transaction_status on the wire, fraud_status, and the codes of notification, status and action reply.
MATRIX = [
    ("pending", "pending", "accept", "201", "201", "201"),
    ("authorize", "authorize", "accept", "200", "200", "200"),
    ("capture", "capture", "accept", "200", "200", "200"),
    ("challenge", "capture", "challenge", "201", "201", "201"),
    ("settlement", "settlement", "accept", "200", "200", "200"),
    ("deny", "deny", "accept", "202", "202", "200"),
    ("cancel", "cancel", "accept", "202", "200", "200"),
    ("expire", "expire", "accept", "202", "407", "407"),
    ("failure", "failure", "accept", "202", "202", "202"),
    ("refund", "refund", "accept", "200", "200", "200"),
    ("partial_refund", "partial_refund", "accept", "200", "200", "200"),
    ("chargeback", "chargeback", "accept", "200", "200", "200"),
    ("partial_chargeback", "partial_chargeback", "accept", "200", "200", "200"),
]


@pytest.mark.parametrize(("word", "status", "fraud", "notified", "read", "acted"), MATRIX)
def test_the_same_state_has_its_own_code_in_each_view(
    word: str, status: str, fraud: str, notified: str, read: str, acted: str
):
    """A client that compares codes instead of statuses must fail here, as it would at the gateway."""
    known = at(word)
    bodies = (
        wire.notification(known, ACCOUNT),
        wire.status_reply(known, ACCOUNT),
        wire.action_reply(known, "done", ACCOUNT),
    )
    assert [body["status_code"] for body in bodies] == [notified, read, acted]
    assert {body["transaction_status"] for body in bodies} == {status}
    assert {body["fraud_status"] for body in bodies} == {fraud}


def test_the_matrix_above_covers_every_word():
    assert {row[0] for row in MATRIX} == moves.WORDS


@pytest.mark.parametrize(
    ("order_id", "code", "gross_amount", "server_key", "expected"),
    [
        (
            "order-id-node-1541395013",
            "200",
            "200000.00",
            "SB-Mid-server-GwUP_WGbJPXsDzsNEBRs8IYA",
            (
                "d302bfcb2db008f17343e4c3b56cb20a0b22d0951ede6a7cdbfcd31f4a5d0d89"
                "d0a5230c333dd2fc5803cfbe8567ad146fb3c574d4050a87b4d81661e5d870de"
            ),
        ),
        (
            "ruby-lib-test-1633926689",
            "201",
            "10000.00",
            "SB-Mid-server-uQmMImQMeo0Ky3Svl90QTUj2",
            (
                "412c0a69df9c74d05666ffb079d09b404e3d596b927dbb027bd470d072401a76"
                "7b0f9ad4659248118979ce274e5bcec3dd683abf9e279ce001eab67f49de5866"
            ),
        ),
    ],
)
def test_signatures_equal_those_the_gateway_made(
    order_id: str, code: str, gross_amount: str, server_key: str, expected: str
):
    assert wire.signature(order_id, code, gross_amount, server_key) == expected


@pytest.mark.parametrize("view", [View.NOTIFICATION, View.STATUS])
def test_each_body_is_signed_with_its_own_code(view: View):
    expired = at("expire", "qris")
    body = wire.notification(expired, ACCOUNT) if view is View.NOTIFICATION else wire.status_reply(expired, ACCOUNT)
    signed = wire.signature("ORDER-1", str(body["status_code"]), "145000.00", ACCOUNT.server_key)
    assert body["signature_key"] == signed


def test_action_replies_carry_no_signature():
    assert "signature_key" not in wire.action_reply(at("cancel"), "done", ACCOUNT)


def test_times_are_written_in_gmt_plus_7_without_an_offset():
    assert wire.notification(at("pending"), ACCOUNT)["transaction_time"] == "2026-05-27 14:30:00"
    assert wire_time(datetime(2026, 12, 31, 20, 0, tzinfo=UTC)) == "2027-01-01 03:00:00"


def test_the_token_cancel_writes_its_time_in_utc_with_milliseconds():
    moment = datetime(2025, 6, 3, 13, 9, 39, 776_999, tzinfo=UTC)
    assert iso_time(moment) == "2025-06-03T13:09:39.776Z"


@pytest.mark.parametrize(("sen", "text"), [(15_000_000, "150000.00"), (15_000_001, "150000.01"), (5, "0.05")])
def test_amounts_are_texts_with_two_decimals(sen: int, text: str):
    assert amount_text(sen) == text


# What the published bodies of each channel carry beside the common fields.
CHANNEL_FIELDS = [
    ("gopay", "settlement", {}, {"payment_option_type"}),
    ("qris", "pending", {}, {"acquirer"}),
    ("qris", "settlement", {}, {"acquirer", "issuer", "transaction_type", "merchant_cross_reference_id"}),
    ("shopeepay", "pending", {}, set()),
    ("shopeepay", "settlement", {}, {"shopeepay_reference_number", "reference_id"}),
    ("bank_transfer", "settlement", {"bank": "bca"}, {"va_numbers", "payment_amounts"}),
    ("bank_transfer", "settlement", {"bank": "permata"}, {"permata_va_number"}),
    ("echannel", "pending", {}, {"biller_code", "bill_key"}),
    ("cstore", "settlement", {"store": "alfamart"}, {"store", "payment_code"}),
    ("cstore", "settlement", {"store": "indomaret"}, {"store", "payment_code", "approval_code"}),
    ("ovo", "pending", {}, {"payer_phone_number"}),
    ("kredivo", "settlement", {}, set()),
    ("credit_card", "pending", {}, {"masked_card", "bank", "card_type"}),
]
COMMON = {
    "status_code", "status_message", "transaction_id", "order_id", "gross_amount", "payment_type", "transaction_time",
    "transaction_status", "currency", "merchant_id", "fraud_status", "signature_key", "settlement_time",
}  # fmt: skip


@pytest.mark.parametrize(("payment_type", "word", "changes", "expected"), CHANNEL_FIELDS)
def test_each_channel_carries_its_own_fields(
    payment_type: str, word: str, changes: dict[str, object], expected: set[str]
):
    assert set(wire.notification(at(word, payment_type, **changes), ACCOUNT)) - COMMON == expected


def test_indomaret_bodies_have_no_fraud_status():
    """Absence is fine at the gateway, so a client must not demand it."""
    assert "fraud_status" not in wire.notification(at("settlement", "cstore", store="indomaret"), ACCOUNT)
    assert "fraud_status" in wire.notification(at("settlement", "cstore", store="alfamart"), ACCOUNT)


def test_a_bni_account_says_when_it_was_paid():
    paid = wire.notification(at("settlement", "bank_transfer", bank="bni"), ACCOUNT)
    assert paid["payment_amounts"] == [{"paid_at": "2026-05-27 14:30:00", "amount": "145000.00"}]


def test_a_declined_card_says_what_the_bank_said():
    body = wire.notification(at("deny"), ACCOUNT)
    assert (body["channel_response_code"], body["channel_response_message"]) == ("05", "Do not honor")


def test_bodies_about_one_transaction_repeat_the_same_numbers():
    first, later = (wire.notification(at(word, "bank_transfer", bank="bca"), ACCOUNT) for word in ("pending", "expire"))
    assert first["va_numbers"] == later["va_numbers"]


@pytest.mark.parametrize(("payment_type", "bank"), [("dana", ""), ("bank_transfer", "bsi"), ("bank_transfer", "saqu")])
def test_a_bi_snap_status_names_the_transaction_where_the_order_should_be(payment_type: str, bank: str):
    """The signed notification is then the only body that names the merchant's order."""
    known = at("settlement", payment_type, bank=bank)
    assert wire.status_reply(known, ACCOUNT)["order_id"] == known.transaction_id
    assert wire.notification(known, ACCOUNT)["order_id"] == "ORDER-1"


def test_refunds_are_listed_and_summed():
    refunds = (Refund(1, "k-1", 500_000, NOW, "broken"), Refund(2, "k-2", 700_000, NOW, direct=True, confirmed_at=NOW))
    body = wire.notification(at("partial_refund", refunds=refunds, captured_sen=14_500_000), ACCOUNT)
    assert body["refund_amount"] == "62000.00"
    first, second, _ = body["refunds"]
    assert first == {
        "refund_chargeback_id": 1,
        "refund_amount": "5000.00",
        "created_at": "2026-05-27 14:30:00",
        "reason": "broken",
        "refund_key": "k-1",
    }
    assert (second["refund_method"], second["bank_confirmed_at"]) == ("online", "2026-05-27 14:30:00")


def test_a_charge_back_names_an_amount_only_when_the_test_gave_one():
    assert "refund_amount" not in wire.notification(at("partial_chargeback"), ACCOUNT)
    told = moves.put(transaction(), "partial_chargeback", NOW, 4_000_000)
    assert wire.notification(told, ACCOUNT)["refund_amount"] == "40000.00"


def test_custom_fields_come_back():
    known = transaction(custom_fields=(("custom_field1", "shop-order-7"),))
    assert wire.status_reply(known, ACCOUNT)["custom_field1"] == "shop-order-7"


def test_a_refused_refund_looks_like_success_and_moves_nothing():
    body = wire.refused_refund_reply(at("settlement"), "k-9")
    assert (body["status_code"], body["transaction_status"], body["refund_amount"]) == ("202", "settlement", "0.00")


def test_a_refused_capture_says_deny_and_202():
    body = wire.refused_capture_reply(at("authorize"), ACCOUNT)
    assert (body["status_code"], body["transaction_status"]) == ("202", "deny")


def test_the_dashboard_probe_is_signed_and_has_an_order_id_longer_than_any_real_one():
    body = wire.dashboard_probe(UUID(int=7), ACCOUNT, "2026-05-27 14:30:00")
    assert len(str(body["order_id"])) > 50
    signed = wire.signature(str(body["order_id"]), "200", str(body["gross_amount"]), ACCOUNT.server_key)
    assert body["signature_key"] == signed


def test_the_server_key_is_in_no_repr():
    assert ACCOUNT.server_key not in repr(ACCOUNT)
