"""One booking on the bank statement counts once: for one order, on one of its pages, however often it is said."""

from datetime import timedelta
from hashlib import sha256

import attrs
import pytest

from payments_core import Money, PageWish, Payment, Verdict, status
from payments_core.payment import AttemptState
from payments_core.ports import Notification
from payments_core.use_cases.receive_notification import Accepted
from payments_core_manual import HEADER, ManualGateway, ManualSettings, Transfer, signature_of
from unit.world import World, rupiah

SECRET = "manual-secret-of-the-tests-0123456789"
SETTINGS = ManualSettings(bank_details="BCA 123", secrets=(SECRET,), page_base="https://shop.example")
ASKED = rupiah(100_000)
ELSEWHERE = Accepted(Verdict.DUPLICATE, "was counted for another order")


@attrs.frozen
class Everything:
    """All that was ever said, also what did not count: no reading may take that for money."""

    shop: "Shop"

    async def of(self, payment_id: str) -> list[bytes]:
        rows = self.shop.store.inbox.rows
        return [kept.notification.body for key, kept in rows.items() if key.shard == payment_id]


@attrs.define(kw_only=True)
class Shop(World):
    """A shop that takes bank transfers only."""

    def __attrs_post_init__(self) -> None:
        self.use(ManualGateway(SETTINGS, Everything(self)))  # type: ignore[arg-type]

    async def page(self, order_id: str = "o-1", *methods: str) -> str:
        """The reference of the page a click opened, after what had to be closed before was closed."""
        if order_id not in self.store.orders.orders:
            self.order(order_id)
        wish = PageWish(provider="manual", methods=methods)
        return (await self.click(order_id, wish)).attempt.provider_order_id

    def said(self, reference: str, booking: str = "BCA 1", amount: Money = ASKED) -> Notification:
        """An operator's word, its signature proved."""
        transfer = Transfer(
            provider_order_id=reference,
            amount=amount,
            bank_reference=booking,
            confirmed_by="operator:ani",
            received_at=self.clock.now(),
        )
        body = transfer.to_bytes()
        understood = self.service.receive.understand("manual", body, {HEADER: signature_of(body, SECRET)})
        assert isinstance(understood, Notification)
        return understood

    async def confirm(self, reference: str, booking: str = "BCA 1", amount: Money = ASKED) -> Accepted:
        """What became of an operator's word, every errand done."""
        return (await self.take(self.said(reference, booking, amount)))[0]

    async def take(self, *batch: Notification) -> list[Accepted]:
        """What became of words that arrived together."""
        accepted = await self.service.receive.accept(batch)
        await self.do_errands()
        return [answer for answer in accepted if isinstance(answer, Accepted)]

    async def confirmed_long_ago(self, reference: str, amount: Money = ASKED) -> None:
        """A booking as earlier versions stored it: known by its page's reference, and bound to nothing."""
        now = self.said(reference, amount=amount)
        assert now.says is not None
        key = attrs.evolve(now.key, digest=sha256(now.transaction_id.encode()).hexdigest())
        says = attrs.evolve(now.says, booking=None)
        await self.service.receive.accept([attrs.evolve(now, key=key, says=says)])

    def of(self, order_id: str) -> Payment:
        """The payment of this order."""
        return self.store.payments.rows[self.shop_order(order_id).payment_id or ""]


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_a_booking_that_paid_one_order_pays_no_other(shop: Shop) -> None:
    """It is told each time, and nothing of the other order changes: no charge, no case, no stock."""
    first, second = await shop.page("o-1"), await shop.page("o-2")
    assert (await shop.confirm(first)).verdict is Verdict.APPLIED
    before, stock = shop.of("o-2"), shop.stock
    for _ in range(2):
        assert await shop.confirm(second) == ELSEWHERE
    assert (shop.of("o-2"), shop.stock, status(shop.of("o-1")).value) == (before, stock, "success")
    assert [kept.check_at for kept in shop.store.inbox.rows.values()] == [None, None], "nobody looks at it again"


async def test_a_booking_said_for_two_orders_at_once_pays_the_first(shop: Shop) -> None:
    first, second = await shop.page("o-1"), await shop.page("o-2")
    answers = await shop.take(shop.said(first), shop.said(second))
    assert [answer.verdict for answer in answers] == [Verdict.APPLIED, Verdict.DUPLICATE]
    assert (len(shop.of("o-1").charges), len(shop.of("o-2").charges)) == (1, 0)


async def test_no_reading_takes_a_booking_for_money_that_counted_elsewhere(shop: Shop) -> None:
    """A reading looks at what is stored, and the word that did not count is stored with the others."""
    first, second = await shop.page("o-1"), await shop.page("o-2")
    await shop.confirm(first)
    await shop.confirm(second)
    payment = shop.of("o-2")
    after = await shop.service.sweep.ask.page(payment.payment_id, payment.attempt(1))
    assert after is not None
    assert (after.charges, status(after).value) == ((), "pending")


async def test_a_booking_is_the_same_whatever_blanks_are_around_its_name(shop: Shop) -> None:
    first, second = await shop.page("o-1"), await shop.page("o-2")
    await shop.confirm(first, "BCA 1")
    assert await shop.confirm(second, " BCA 1 ") == ELSEWHERE
    assert (await shop.confirm(second, "BCA 2")).verdict is Verdict.APPLIED


async def two_pages(shop: Shop) -> tuple[str, str]:
    """The references of a page that is over, and of the one that took its place."""
    first = await shop.page()
    second = await shop.page("o-1", "bank")
    assert [page.state for page in shop.payment.attempts] == [AttemptState.DEAD, AttemptState.OPEN]
    return first, second


@pytest.mark.parametrize("newer_first", [False, True])
async def test_a_booking_said_for_two_pages_of_one_order_is_no_surplus(shop: Shop, newer_first: bool) -> None:
    pages = sorted(await two_pages(shop), reverse=newer_first)
    answers = [await shop.confirm(page) for page in pages]
    assert [answer.verdict for answer in answers] == [Verdict.APPLIED, Verdict.DUPLICATE]
    assert answers[1].reason == "was applied"
    assert (shop.status.value, shop.cases, len(shop.payment.charges)) == ("success", [], 1)


async def test_two_bookings_for_one_order_are_still_a_surplus(shop: Shop) -> None:
    page = await shop.page()
    await shop.confirm(page, "BCA 1")
    await shop.confirm(page, "BCA 2")
    assert shop.cases == ["surplus_payment"]


@pytest.mark.parametrize("order_id", ["o-1", "o-2"])
async def test_a_booking_said_for_a_page_that_never_was_still_pays(shop: Shop, order_id: str) -> None:
    """A slip in the reference claims nothing: the money is there, and its right page is found."""
    pages = {"o-1": await shop.page("o-1"), "o-2": await shop.page("o-2")}
    wrong = f"{pages['o-1'].rpartition('-')[0]}-9p"
    assert (await shop.confirm(wrong)).verdict is Verdict.UNMATCHED
    assert await shop.confirm(wrong) == Accepted(Verdict.DUPLICATE, "was unmatched")
    assert (await shop.confirm(pages[order_id])).verdict is Verdict.APPLIED
    assert (await shop.confirm(pages[order_id])).verdict is Verdict.DUPLICATE
    assert status(shop.of(order_id)).value == "success"


async def test_a_booking_whose_right_word_tells_another_amount_is_a_case_and_asked_about_once(shop: Shop) -> None:
    """The slip's bytes are those of no page: were they kept, no reading would ever show the money."""
    page, began = await shop.page(), shop.clock.now()
    assert (await shop.confirm(f"{page.rpartition('-')[0]}-9p")).verdict is Verdict.UNMATCHED
    shop.clock.move(timedelta(minutes=5))
    await shop.confirm(page, amount=rupiah(99_999))
    assert (shop.cases, [charge.captured_minor for charge in shop.payment.charges]) == (
        ["amount_mismatch"],
        [9_999_900],
    )
    (kept,) = shop.store.inbox.rows.values()
    assert (kept.check_at, kept.notification.received_at) == (None, began)


@pytest.mark.parametrize("slip_first", [True, False])
async def test_a_slip_and_the_right_word_that_arrive_together_are_two_words(shop: Shop, slip_first: bool) -> None:
    """They have one name; whichever comes first, the money counts, once."""
    page = await shop.page()
    pages = sorted([page, f"{page.rpartition('-')[0]}-9p"], reverse=slip_first)
    answers = await shop.take(*map(shop.said, pages), shop.said(page))
    verdicts = ["unmatched", "applied"] if slip_first else ["applied", "duplicate"]
    assert [answer.verdict.value for answer in answers] == [*verdicts, "duplicate"]
    assert (shop.status.value, shop.cases, len(shop.payment.charges)) == ("success", [], 1)


@pytest.mark.parametrize("amount", [ASKED, rupiah(99_999)])
async def test_a_booking_an_earlier_version_stored_is_known_on_its_page(shop: Shop, amount: Money) -> None:
    """Its row has another name; its charge has the same. What is said of it now opens no case either."""
    page = await shop.page()
    await shop.confirmed_long_ago(page)
    before = shop.payment
    for _ in range(2):
        assert await shop.confirm(page, amount=amount) == Accepted(Verdict.DUPLICATE, "was counted already")
    assert shop.payment == before
    assert await shop.confirm(await shop.page("o-2")) == ELSEWHERE, "and it is bound from now on"


async def test_a_booking_an_earlier_version_left_waiting_is_settled_and_bound_by_its_reading(shop: Shop) -> None:
    """Its amount differed, and the process died before it looked again."""
    page = await shop.page()
    await shop.confirmed_long_ago(page, rupiah(99_999))
    assert (shop.cases, shop.payment.charges) == (["amount_mismatch"], ())
    await shop.do_errands()
    assert [charge.captured_minor for charge in shop.payment.charges] == [9_999_900]
    assert await shop.confirm(await shop.page("o-2")) == ELSEWHERE
