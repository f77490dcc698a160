"""What happens with an order. A story only acts and waits; what it came to is for the ledger to say."""

import asyncio
from collections.abc import Awaitable, Callable

from chaos.people import People
from chaos.stripe_stories import (
    cancels_while_paying_at_stripe,
    clicks_many_times_at_stripe,
    confirms_at_stripe,
    gives_up_at_stripe,
    has_both_open,
    is_disputed,
    is_refunded_and_it_comes_back,
    is_refunded_at_stripe,
    leaves_midtrans_for_stripe,
    leaves_stripe_for_midtrans,
    pays_at_stripe,
    pays_at_stripe_after_declines,
    pays_at_stripe_by_bank,
    stripe_expires_it,
)

_WALLETS = ("gopay", "qris", "shopeepay")
Story = Callable[[People], Awaitable[None]]


async def pays(people: People) -> None:
    """One try, settled."""
    await people.place()
    if page := await people.click():
        await people.pay(page, people.chance.choice(_WALLETS), "settlement")
        await people.see("success")


async def pays_after_declines(people: People) -> None:
    """Cards are declined, another one is not; the page is looked for again in between."""
    await people.place()
    for _ in range(people.chance.randint(1, 2)):
        if page := await people.click():
            await people.pay(page, "credit_card", "deny")
    if page := await people.click():
        await people.pay(page, "credit_card", "capture")
        await people.see("success")


async def pays_a_virtual_account(people: People) -> None:
    """A number is shown, and paid later from a bank."""
    await people.place()
    if page := await people.click():
        shown = await people.pay(page, "bank_transfer", "pending")
        await asyncio.sleep(people.chance.uniform(0, 3))
        await people.move(shown, "settlement")
        await people.see("success")


async def tries_two_methods_at_once(people: People) -> None:
    """A virtual account is shown, then a wallet pays: the account has to be closed before somebody pays it too."""
    await people.place()
    if page := await people.click():
        await people.pay(page, "bank_transfer", "pending")
        await people.pay(page, "gopay", "settlement")
        await people.see("success")


async def clicks_many_times(people: People) -> None:
    """An impatient buyer with several tabs, who pays on whichever page came last."""
    await people.place()
    pages = [page for page in await asyncio.gather(*(people.click() for _ in range(4))) if page]
    if pages:
        await people.pay(pages[-1], "qris", "settlement")
        await people.see("success")


async def gives_up(people: People) -> None:
    """A page is opened and left alone."""
    await people.place()
    await people.click()


async def lets_it_expire(people: People) -> None:
    """A wallet is chosen, and never confirmed."""
    await people.place()
    if page := await people.click():
        await people.move(await people.pay(page, "gopay", "pending"), "expire")


async def cancels(people: People) -> None:
    """The shop gives the order up, its page open."""
    await people.place()
    await people.click()
    await people.cancel()


async def cancels_while_paying(people: People) -> None:
    """Buyer and shop at the same moment; the gateway says who was first."""
    await people.place()
    if page := await people.click():
        await asyncio.gather(people.pay(page, "gopay", "settlement"), people.cancel())


async def pays_twice(people: People) -> None:
    """Two payments on one page: the second is returned by itself."""
    await people.place()
    if page := await people.click():
        await people.pay(page, "gopay", "settlement")
        await people.pay(page, "qris", "settlement")
        await people.see("success")


async def is_refunded_in_parts(people: People) -> None:
    """Two parts go back, asked for at the same moment by two people."""
    await pays(people)
    if people.deed.payment_id and await people.see("success"):
        first, second = (people.chance.randint(1, people.deed.rupiah // 2) for _ in range(2))
        await asyncio.gather(people.refund(first), people.refund(second))


async def is_refunded_whole(people: People) -> None:
    """Everything goes back."""
    await pays(people)
    if people.deed.payment_id and await people.see("success"):
        await people.refund(None)


async def is_voided(people: People) -> None:
    """A card is captured and the whole goes back before it settles."""
    await people.place()
    if page := await people.click():
        await people.pay(page, "credit_card", "capture")
        if await people.see("success"):
            await people.refund(None)


async def is_captured(people: People) -> None:
    """A card is held first and charged later."""
    await people.place()
    if page := await people.click():
        await people.pay(page, "credit_card", "authorize")
        if await people.see("authorized"):
            await people.operate("capture")
            await people.see("success")


async def is_reviewed(people: People) -> None:
    """A card is put under review, and a person decides."""
    await people.place()
    if page := await people.click():
        await people.pay(page, "credit_card", "challenge")
        if await people.see("processing"):
            await people.operate(people.chance.choice(("approve", "deny")))


async def is_reversed(people: People) -> None:
    """The bank takes a payment back."""
    await people.place()
    if page := await people.click():
        paid = await people.pay(page, "gopay", "settlement")
        if await people.see("success"):
            await people.move(paid, "deny")


BY_NAME: dict[str, Story] = {
    story.__name__: story
    for story in (
        pays_at_stripe,
        pays_at_stripe_after_declines,
        confirms_at_stripe,
        pays_at_stripe_by_bank,
        clicks_many_times_at_stripe,
        gives_up_at_stripe,
        stripe_expires_it,
        cancels_while_paying_at_stripe,
        is_refunded_at_stripe,
        is_refunded_and_it_comes_back,
        is_disputed,
        leaves_midtrans_for_stripe,
        leaves_stripe_for_midtrans,
        has_both_open,
        pays,
        pays_after_declines,
        pays_a_virtual_account,
        tries_two_methods_at_once,
        clicks_many_times,
        gives_up,
        lets_it_expire,
        cancels,
        cancels_while_paying,
        pays_twice,
        is_refunded_in_parts,
        is_refunded_whole,
        is_voided,
        is_captured,
        is_reviewed,
        is_reversed,
    )
}
