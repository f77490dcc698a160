"""The fields a body carries because of its payment type, shaped like the gateway's published bodies.

Numbers (virtual account, approval code, masked card) are drawn from the transaction id, so that every body about one
transaction says the same.
"""

import hashlib

from .moves import CAPTURING, CHARGING_BACK, REFUNDING
from .times import wire_time
from .values import SEN_PER_RUPIAH, Transaction

Fields = dict[str, object]

_PAID = CAPTURING | REFUNDING | CHARGING_BACK


def channel_fields(transaction: Transaction) -> Fields:
    """Return the extra fields of this transaction's payment type, as it stands."""
    match transaction.payment_type:
        case "credit_card":
            return _card(transaction)
        case "bank_transfer":
            return _bank_transfer(transaction)
        case "echannel":
            return {"biller_code": "70012", "bill_key": _digits(transaction, "bill", 12)}
        case "cstore":
            return _counter(transaction)
        case _:
            return _wallet(transaction)


def has_fraud_status(transaction: Transaction) -> bool:
    """Tell whether bodies of this transaction carry a fraud status; Indomaret's do not."""
    return not (transaction.payment_type == "cstore" and transaction.store == "indomaret")


def amount_text(amount_sen: int) -> str:
    """Write an amount as the wire does: a string with two decimals."""
    return f"{amount_sen // SEN_PER_RUPIAH}.{amount_sen % SEN_PER_RUPIAH:02d}"


def _card(transaction: Transaction) -> Fields:
    fields: Fields = {"masked_card": "48111111-1114", "bank": transaction.bank, "card_type": "credit"}
    if transaction.status in {"pending", "expire"}:
        # The buyer never came back from 3-D Secure: the bank has not answered anything.
        return fields
    declined = transaction.status == "deny"
    return fields | {
        "approval_code": _digits(transaction, "approval", 13),
        "eci": "05",
        "channel_response_code": "05" if declined else "00",
        "channel_response_message": "Do not honor" if declined else "Approved",
        "three_ds_version": "2",
        "challenge_completion": True,
    }


def _bank_transfer(transaction: Transaction) -> Fields:
    number = _digits(transaction, "va", 16)
    if transaction.bank == "permata":
        return {"permata_va_number": number}
    paid: list[Fields] = []
    if transaction.bank == "bni" and transaction.settled_at and transaction.status in _PAID:
        paid = [{"paid_at": wire_time(transaction.settled_at), "amount": amount_text(transaction.gross_sen)}]
    return {"va_numbers": [{"bank": transaction.bank, "va_number": number}], "payment_amounts": paid}


def _counter(transaction: Transaction) -> Fields:
    fields: Fields = {"store": transaction.store, "payment_code": _digits(transaction, "code", 18)}
    if transaction.store == "indomaret" and transaction.status in _PAID:
        fields["approval_code"] = _digits(transaction, "approval", 12)
    return fields


def _wallet(transaction: Transaction) -> Fields:
    paid = transaction.status in _PAID
    match transaction.payment_type:
        case "gopay":
            return {"payment_option_type": "GOPAY_WALLET"} if paid else {}
        case "qris":
            return {"acquirer": "gopay"} | (_qris_paid(transaction) if paid else {})
        case "shopeepay" if paid:
            reference = _digits(transaction, "shopeepay", 18)
            return {"shopeepay_reference_number": reference, "reference_id": f"DL-{_hex(transaction, 'ref')[:22]}"}
        case "ovo":
            return {"payer_phone_number": "081111111111"}
        case _:
            return {}


def _qris_paid(transaction: Transaction) -> Fields:
    cross = _hex(transaction, "cross")
    reference = f"{cross[:8]}-{cross[8:12]}-{cross[12:16]}-{cross[16:20]}-{cross[20:32]}"
    return {"issuer": "gopay", "transaction_type": "on-us", "merchant_cross_reference_id": reference}


def _hex(transaction: Transaction, salt: str) -> str:
    return hashlib.sha256(f"{salt}:{transaction.transaction_id}".encode()).hexdigest()


def _digits(transaction: Transaction, salt: str, length: int) -> str:
    return str(int(_hex(transaction, salt), 16))[:length].ljust(length, "0")
