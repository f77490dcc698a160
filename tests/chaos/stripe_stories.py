"""What happens with an order at Stripe, and with one that changes gateways; those of Midtrans are in `stories.py`."""

import asyncio

from chaos.people import People

Page = dict[str, object]


async def _page(people: People) -> Page | None:
    """The order placed, its page at Stripe."""
    await people.place()
    return await people.click("stripe")


async def pays_at_stripe(people: People) -> None:
    """A card, at once."""
    if page := await _page(people):
        await people.pay_at_stripe(page, "succeeded")
        await people.see("success")


async def pays_at_stripe_after_declines(people: People) -> None:
    """Cards are declined, another one is not; all on one page."""
    if page := await _page(people):
        for _ in range(people.chance.randint(1, 3)):
            await people.pay_at_stripe(page, "declined")
        if page := await people.click("stripe"):
            await people.pay_at_stripe(page, "succeeded")
            await people.see("success")


async def confirms_at_stripe(people: People) -> None:
    """The bank wants to see the buyer first, who comes back or does not."""
    if page := await _page(people):
        await people.pay_at_stripe(page, "requires_action")
        await asyncio.sleep(people.chance.uniform(0, 2))
        if await people.move_at_stripe(page, people.chance.choice(("succeed", "succeed", "fail"))):
            await people.see("success", "pending")


async def pays_at_stripe_by_bank(people: People) -> None:
    """A debit takes a while; when it bounces, the page is used up and another one is paid."""
    if page := await _page(people):
        await people.pay_at_stripe(page, "processing", "sepa_debit")
        await asyncio.sleep(people.chance.uniform(0, 3))
        if people.chance.random() < 0.6:
            await people.move_at_stripe(page, "succeed")
        else:
            await people.move_at_stripe(page, "fail")
            if await people.see("failed") and (again := await people.click("stripe")):
                await people.pay_at_stripe(again, "succeeded")
        await people.see("success")


async def clicks_many_times_at_stripe(people: People) -> None:
    """Several tabs, one session."""
    await people.place()
    pages = [page for page in await asyncio.gather(*(people.click("stripe") for _ in range(4))) if page]
    if pages:
        await people.pay_at_stripe(people.chance.choice(pages), "succeeded")
        await people.see("success")


async def gives_up_at_stripe(people: People) -> None:
    """A session is opened and left alone, or declined once and left alone."""
    if (page := await _page(people)) and people.chance.random() < 0.5:
        await people.pay_at_stripe(page, "declined")


async def stripe_expires_it(people: People) -> None:
    """Somebody ends the session in the dashboard."""
    if page := await _page(people):
        await people.move_at_stripe(page, "expire")


async def cancels_while_paying_at_stripe(people: People) -> None:
    """Buyer and shop at the same moment; Stripe says who was first."""
    if page := await _page(people):
        await asyncio.gather(people.pay_at_stripe(page, "succeeded"), people.cancel())


async def is_refunded_at_stripe(people: People) -> None:
    """Everything goes back, or two parts asked for at the same moment."""
    await pays_at_stripe(people)
    if people.deed.payment_id and await people.see("success"):
        if people.chance.random() < 0.4:
            await people.refund(None)
        else:
            parts = [people.chance.randint(1, people.deed.rupiah // 2) for _ in range(2)]
            await asyncio.gather(*(people.refund(part) for part in parts))


async def is_refunded_and_it_comes_back(people: People) -> None:
    """The buyer's bank does not take the money after all."""
    if page := await _page(people):
        await people.pay_at_stripe(page, "succeeded")
        if await people.see("success"):
            await people.refund(None)
            if await people.see("refunded"):
                await people.move_at_stripe(page, "refund_failed")


async def is_disputed(people: People) -> None:
    """The buyer's bank takes the money, and gives it back or keeps it."""
    if page := await _page(people):
        await people.pay_at_stripe(page, "succeeded")
        if await people.see("success"):
            await people.move_at_stripe(page, "dispute")
            await people.move_at_stripe(page, "funds_withdrawn")
            await asyncio.sleep(people.chance.uniform(0, 2))
            await people.move_at_stripe(page, people.chance.choice(("dispute_won", "dispute_lost")))


# ── from one gateway to the other ─────────────────────────────────────────────────────────────────────────────────────
async def leaves_midtrans_for_stripe(people: People) -> None:
    """A page at Midtrans is left, perhaps with a number shown that can still be paid; Stripe is paid."""
    await people.place()
    if page := await people.click("midtrans"):
        shown = await people.pay(page, "bank_transfer", "pending") if people.chance.random() < 0.5 else None
        if other := await people.click("stripe"):
            await asyncio.gather(people.pay_at_stripe(other, "succeeded"), people.move(shown, "settlement"))
            await people.see("success")


async def leaves_stripe_for_midtrans(people: People) -> None:
    """A session is left, perhaps after a decline; Midtrans is paid."""
    if page := await _page(people):
        if people.chance.random() < 0.5:
            await people.pay_at_stripe(page, "declined")
        if other := await people.click("midtrans"):
            await people.pay(other, "gopay", "settlement")
            await people.see("success")


async def has_both_open(people: People) -> None:
    """Two tabs, two gateways, a buyer who pays whatever can be paid."""
    await people.place()
    midtrans, stripe = await asyncio.gather(people.click("midtrans"), people.click("stripe"))
    await asyncio.gather(
        *([people.pay(midtrans, "gopay", "settlement")] if midtrans else []),
        *([people.pay_at_stripe(stripe, "succeeded")] if stripe else []),
    )
    if midtrans or stripe:
        await people.see("success")
