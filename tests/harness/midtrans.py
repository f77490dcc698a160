"""Notifications as Midtrans words and signs them, made by the test itself."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from harness.product import Product

CODES = {"pending": "201", "deny": "202", "cancel": "202", "expire": "202"}


def signature(body: Mapping[str, Any], key: str) -> str:
    """What Midtrans puts into signature_key: the digest of four raw texts without separators."""
    signed = f"{body['order_id']}{body['status_code']}{body['gross_amount']}{key}"
    return hashlib.sha512(signed.encode()).hexdigest()


def signed(product: Product, body: Mapping[str, Any]) -> dict[str, Any]:
    """This body with a true signature."""
    return {**body, "signature_key": signature(body, product.environment["MIDTRANS_SERVER_KEY"])}


def notification(product: Product, transaction: Mapping[str, Any], **changes: object) -> dict[str, Any]:
    """What Midtrans would send about this transaction (an answer of the simulator), with a true signature."""
    status = changes.get("transaction_status", transaction["transaction_status"])
    body = {**transaction, "status_code": CODES.get(str(status), "200"), **changes}
    body["status_message"] = "midtrans payment notification"
    return signed(product, body)


def made_up(product: Product, order_id: str, **changes: object) -> dict[str, Any]:
    """A signed settlement of 100000 that no gateway knows."""
    body = {
        "order_id": order_id,
        "transaction_id": "57d5293c-e65f-4a29-95e4-5959c3fa335b",
        "transaction_status": "settlement",
        "status_code": "200",
        "gross_amount": "100000.00",
        "payment_type": "gopay",
        "transaction_time": "2026-01-02 10:00:00",
        "currency": "IDR",
        "merchant_id": "G000000000",
    }
    return signed(product, {**body, **changes})


def raw(body: Mapping[str, Any]) -> bytes:
    """The bytes of this body."""
    return json.dumps(body).encode()


def notifications_kept(product: Product) -> int:
    """Rows in the inbox of a product on SQLite."""
    path = product.environment["PAYMENTS_DATABASE_URL"].removeprefix("sqlite+aiosqlite:///")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM notifications").fetchone()[0])
