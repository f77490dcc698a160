"""The sample catalogue of the demo shop: what can be picked, and how much of it there is."""

import attrs

__all__ = ["CATALOGUE", "CUSTOMER", "Product"]


@attrs.frozen
class Product:
    """One thing to buy; `price` in whole rupiah."""

    sku: str
    name: str
    variant: str
    price: int
    stock: int


CATALOGUE: tuple[Product, ...] = (
    Product("kopi-gayo-250", "Kopi Gayo", "250 g, whole bean", 85_000, 1_000),
    Product("teh-melati-50", "Teh melati", "50 bags", 32_000, 600),
    Product("batik-shirt-m", "Batik shirt", "M, indigo", 275_000, 120),
    Product("rattan-basket", "Rattan basket", "round, 30 cm", 149_000, 3),
)

CUSTOMER = {"id": "alice", "name": "Alice Wijaya", "email": "alice@example.com", "phone": "+628123456789"}
"""The one customer of the demo."""
