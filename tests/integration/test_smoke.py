from harness.product import Product


def test_an_order_gets_paid(product: Product) -> None:
    order_id = product.order()
    before = product.available("book")
    page = product.pay(order_id)
    assert page.status_code == 201
    product.buyer(page.json()["provider_order_id"], "settlement")
    assert product.settled(order_id, "success")["method"] == "gopay"
    order = product.call("GET", f"/api/orders/{order_id}", as_=product.shop).json()
    assert order["status"] == "paid"
    assert product.available("book") == before
