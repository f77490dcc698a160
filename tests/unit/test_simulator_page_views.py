"""The pay page's HTML: what it offers, what it escapes, where it leads back to."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from payments_core_simulator.midtrans import moves, page_views
from payments_core_simulator.midtrans.page_choices import CHOICES, chosen, offered, outcome_when_paid
from payments_core_simulator.midtrans.values import Item, Page, PageRequest, Transaction

NOW = datetime(2026, 5, 27, 7, 30, tzinfo=UTC)
REQUEST = PageRequest("o-1", 1_250_000, finish_url="https://shop.example/return?lang=id")
PAGE = Page(REQUEST, "token-1", NOW + timedelta(hours=24))


def transaction(word: str, payment_type: str = "credit_card", **changes: object) -> Transaction:
    created = Transaction("t-1", "o-1", payment_type, 100, 100, NOW, NOW, NOW + timedelta(hours=1))
    return moves.put(attrs.evolve(created, **changes), word, NOW)


def pages() -> dict[str, str]:
    pending = transaction("pending", "bank_transfer", bank="bca")
    return {
        "open": page_views.pay_page(PAGE, []),
        "waiting": page_views.pay_page(PAGE, [transaction("deny"), pending]),
        "paid": page_views.result_page(PAGE, transaction("capture")),
        "dead": page_views.dead_page(attrs.evolve(PAGE, cancelled_at=NOW), None),
        "expired": page_views.dead_page(PAGE, None),
        "home": page_views.home_page(),
    }


@pytest.mark.parametrize("name", sorted(pages()))
def test_every_page_says_simulator_and_brings_no_script(name: str):
    html = pages()[name]
    assert "<strong>SIMULATOR</strong>" in html
    assert "<script" not in html
    assert "style=" not in html


def test_the_order_the_amount_and_the_items_are_shown():
    request = attrs.evolve(REQUEST, items=(Item("Kopi Gayo", 600_000, 2), Item("Voucher", -30_000, 1)))
    html = page_views.pay_page(attrs.evolve(PAGE, request=request), [])
    for text in ("Order o-1", "Rp 1.250.000", "Kopi Gayo", "Rp 1.200.000", "\N{MINUS SIGN}Rp 30.000"):
        assert text.replace("Rp ", "Rp\N{NO-BREAK SPACE}") in html
    assert "<title>Pay Rp\N{NO-BREAK SPACE}1.250.000 · SIMULATOR</title>" in html


def test_texts_of_the_merchant_cannot_become_html():
    """A product name is the shop's data; on a page it is text, whatever it holds."""
    evil = "<img src=x onerror=alert(1)>'\"&"
    request = attrs.evolve(REQUEST, items=(Item(evil, 1, 1),), customer_name=evil)
    html = page_views.pay_page(attrs.evolve(PAGE, request=request), [])
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;&#x27;&quot;&amp;") == 2


def test_the_way_back_carries_the_three_words_and_keeps_the_merchants_own():
    url = page_views.finish_url(PAGE, transaction("capture"))
    assert url == "https://shop.example/return?lang=id&order_id=o-1&status_code=200&transaction_status=capture"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "", "//evil.example", "http://[broken"])
def test_a_way_back_that_is_no_web_address_is_not_offered(url: str):
    page = attrs.evolve(PAGE, request=attrs.evolve(REQUEST, finish_url=url))
    assert page_views.finish_url(page, transaction("capture")) == ""
    assert "Back to the shop" not in page_views.result_page(page, transaction("capture"))


def test_a_page_that_names_methods_offers_only_those():
    groups = offered(attrs.evolve(REQUEST, enabled_payments=("bca_va", "gopay")))
    assert {choice.value for choices in groups.values() for choice in choices} == {"va-bca", "gopay", "qris"}


def test_a_choice_that_was_not_offered_is_none():
    only_cards = attrs.evolve(REQUEST, enabled_payments=("credit_card",))
    assert chosen(only_cards, "va-bca") is None
    assert chosen(REQUEST, "no such choice") is None


def test_a_page_that_only_authorizes_holds_the_money():
    holding = attrs.evolve(REQUEST, authorize_only=True)
    approved, declined = chosen(holding, "card-approve"), chosen(holding, "card-decline")
    assert approved is not None
    assert declined is not None
    assert (approved.outcome, declined.outcome) == ("authorize", "deny")
    assert outcome_when_paid(holding, "credit_card") == "authorize"


def test_no_two_choices_share_a_value():
    assert len({choice.value for choice in CHOICES}) == len(CHOICES)


def test_unknown_methods_are_said_to_be_unknown():
    page = attrs.evolve(PAGE, request=attrs.evolve(REQUEST, enabled_payments=("barter",)))
    assert "knows none of the methods" in page_views.pay_page(page, [])


@pytest.mark.parametrize(
    ("word", "title"),
    [
        ("capture", "Payment received"),
        ("authorize", "Amount reserved"),
        ("challenge", "Under review"),
        ("refund", "Payment closed"),
    ],
)
def test_the_result_says_how_it_ended(word: str, title: str):
    assert title in page_views.result_page(PAGE, transaction(word))


def test_a_pending_account_number_is_grouped_for_eyes():
    html = page_views.pay_page(PAGE, [transaction("pending", "bank_transfer", bank="permata")])
    number = html.split("<dd>")[1].split("<")[0]
    assert [len(part) for part in number.split()] == [4, 4, 4, 4]
