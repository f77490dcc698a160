"""A webhook: proved, remembered once, decided, and never lost."""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256

import attrs
import pytest

from payments_core import Confirm, Currency, GatewayTraits, Money, Observation, Payment, Signal
from payments_core.commands import AskCharge, CancelCharge
from payments_core.decide import Verdict
from payments_core.errors import MalformedNotification, NotAuthentic, NotFound, StaleWrite, StorageUnavailable
from payments_core.limits import LEASE, NOTIFICATION_BYTES_MAX, UNMATCHED_RETRY
from payments_core.ports import Foreign, Genuine, Kept
from payments_core.states import CaseKind
from payments_core.use_cases import receive_notification
from payments_core.use_cases.receive_notification import Accepted
from payments_core_memory import MemoryGateway
from unit.world import World, rupiah

trusting = GatewayTraits(confirm=Confirm.SIGNATURE)


async def test_a_settlement_pays_the_order_and_consumes_its_stock(world: World) -> None:
    await world.opened()
    assert (await world.hear(world.tries(Signal.SETTLED))).verdict is Verdict.WAITING
    assert world.status.value == "success"
    assert world.shop_order().status.value == "paid"
    assert world.stock == 8
    assert [e for e in world.history if e in ("order.paid", "stock.consumed")] == ["order.paid", "stock.consumed"]


async def test_the_same_notification_a_hundred_times_pays_once(world: World) -> None:
    await world.opened()
    body, headers = world.gateway.notification(world.tries(Signal.SETTLED))
    answers = await asyncio.gather(*(world.deliver_bytes(body, headers) for _ in range(100)))
    await world.do_errands()
    assert {answer.verdict for answer in answers} <= {Verdict.WAITING, Verdict.DUPLICATE}
    assert world.history.count("order.paid") == 1
    assert world.history.count("stock.consumed") == 1


async def test_copies_in_one_batch_are_one_notification(world: World) -> None:
    await world.opened()
    body, headers = world.gateway.notification(world.tries(Signal.SETTLED))
    one = [world.service.receive.understand("memory", body, headers) for _ in range(3)]
    answers = await world.service.receive.accept(one)  # type: ignore[arg-type]
    assert [a.verdict for a in answers if isinstance(a, Accepted)] == [
        Verdict.WAITING,
        Verdict.DUPLICATE,
        Verdict.DUPLICATE,
    ]
    (kept,) = world.store.inbox.rows.values()
    assert kept.times == 3


async def test_a_late_pending_changes_nothing(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    late, headers = world.gateway.notification(transaction)
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    before = world.payment
    assert (await world.deliver_bytes(late, headers)).verdict is Verdict.STALE
    assert world.payment == before


async def test_a_rewritten_status_under_a_genuine_signature_changes_nothing(world: World) -> None:
    """Midtrans signs no status: a genuine `authorize` can be edited into a settlement (guarantee B5)."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    forged = await world.hear(transaction, status="settled")
    assert forged.verdict is Verdict.WAITING
    assert world.status.value == "processing"
    await world.pass_time(timedelta(minutes=20))
    (kept,) = world.store.inbox.rows.values()
    assert kept.verdict is Verdict.REFUTED
    assert world.shop_order().status.value == "pending"


async def test_a_refuted_hint_that_comes_true_pays(world: World) -> None:
    """Refuted is not the end: the same bytes again are asked about again."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.hear(transaction, status="settled")
    await world.pass_time(timedelta(minutes=20))
    world.gateway.becomes(transaction, Signal.SETTLED)
    await world.hear(transaction)
    assert world.status.value == "success"


async def test_answers_within_the_gateways_lag_refute_nothing(world: World) -> None:
    """A void that is notified five times while the status answers lag is still found: a spent page is not polled."""
    await world.opened()
    transaction = world.tries(Signal.CAPTURED)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.CANCELLED)
    world.gateway.lag = 1
    for _ in range(5):
        await world.hear(transaction)
    world.gateway.lag = 0
    assert world.status.value == "success"
    await world.pass_time(timedelta(minutes=20))
    assert world.payment.paid_by is None
    assert "reversed" in world.cases


async def test_a_hint_the_gateway_denies_is_refuted_once_the_lag_is_over(world: World) -> None:
    """Repeating it does not keep it alive: the first question that leaves after the lag ends it."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    for _ in range(5):
        await world.hear(transaction, status="settled")
    (kept,) = world.store.inbox.rows.values()
    assert kept.verdict is Verdict.WAITING
    await world.pass_time(timedelta(minutes=20))
    (kept,) = world.store.inbox.rows.values()
    assert kept.verdict is Verdict.REFUTED
    assert kept.check_at is None


async def test_a_hint_that_is_ahead_of_the_gateways_answers_waits_and_is_borne_out_later(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    world.gateway.becomes(transaction, Signal.SETTLED)
    world.gateway.lag = 1
    await world.hear(transaction)
    assert world.status.value == "processing"
    world.gateway.lag = 0
    await world.pass_time(timedelta(seconds=6))
    assert world.status.value == "success"
    assert [kept.verdict for kept in world.store.inbox.rows.values()] == [Verdict.APPLIED]


async def test_while_the_gateway_cannot_be_reached_nothing_is_guessed(world: World) -> None:
    """It is finished later without another notification."""
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    world.gateway.unreachable = True
    await world.hear(transaction)
    world.pause = timedelta(minutes=5)
    await world.pass_time(timedelta(hours=2))
    world.pause = timedelta(0)
    assert world.status.value == "pending"
    assert [kept.verdict for kept in world.store.inbox.rows.values()] == [Verdict.WAITING]
    world.gateway.unreachable = False
    await world.pass_time(timedelta(minutes=2))
    assert world.status.value == "success"


async def test_a_question_that_left_before_the_hint_came_does_not_answer_it(world: World) -> None:
    """Joining a question in flight could miss what the hint is about."""
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    await world.deliver(transaction)
    first = world.errands.waiting.popleft()
    world.gateway.becomes(transaction, Signal.SETTLED)
    world.gateway.lag = 1
    await world.deliver(transaction)
    world.errands.waiting.appendleft(first)
    await world.service.perform(world.errands.waiting.popleft())
    assert world.status.value == "processing"
    verdicts = [kept.verdict for kept in world.store.inbox.rows.values()]
    assert verdicts == [Verdict.APPLIED, Verdict.WAITING]
    world.gateway.lag = 0
    await world.do_errands()
    assert world.status.value == "success"


@pytest.mark.parametrize("changes", [{"amount_minor": 9_999_999}, {"amount_minor": 10_000_001}, {"amount_minor": 1}])
async def test_another_amount_never_pays_and_opens_a_case(world: World, changes: dict[str, int]) -> None:
    """A difference of one minor unit never pays (A7)."""
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    was = world.gateway.transactions[transaction]
    world.gateway.transactions[transaction] = attrs.evolve(was, amount=attrs.evolve(was.amount, **changes))
    await world.hear(transaction)
    assert world.cases == ["amount_mismatch"]
    assert world.payment.paid_by is None
    assert world.shop_order().status.value == "pending"
    assert world.stock == 8, "still reserved"
    (kept,) = world.store.inbox.rows.values()
    assert kept.verdict is Verdict.QUARANTINED
    assert world.payment.cases[0].evidence["owed"] == "100000 IDR"


async def test_another_currency_never_pays(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    was = world.gateway.transactions[transaction]
    world.gateway.transactions[transaction] = attrs.evolve(was, amount=Money(10_000_000, Currency.of("USD")))
    await world.hear(transaction)
    assert world.cases == ["currency_mismatch"]
    assert world.payment.paid_by is None


async def test_a_currency_that_only_a_notification_says_calls_nobody(world: World) -> None:
    """Midtrans does not sign it; a case made by a stranger would keep a buyer from paying."""
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED), currency="USD")
    assert world.cases == []
    assert world.status.value == "success"


async def test_a_signed_amount_that_the_gateway_denies_is_a_case_and_the_truth_pays(world: World) -> None:
    await world.opened()
    await world.hear(world.tries(Signal.SETTLED), amount_minor=1)
    assert world.status.value == "success", "the gateway itself says the right amount"
    assert world.cases == ["amount_mismatch"]


async def test_an_unknown_word_is_kept_and_changes_nothing(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    before = world.payment
    answer = await world.hear(transaction, status="levitating")
    assert (answer.verdict, answer.reason) == (Verdict.STALE, "unknown status word")
    assert attrs.evolve(world.payment, version=before.version) == before
    assert len(world.store.inbox.rows) == 1


async def test_a_notification_about_no_payment_of_ours_is_kept(world: World) -> None:
    await world.opened()
    answer = await world.hear(world.tries(Signal.SETTLED), order_id="somebody-elses")
    assert answer.verdict is Verdict.UNMATCHED
    (kept,) = world.store.inbox.rows.values()
    assert kept.check_at is None, "it can never match"


async def test_a_notification_that_comes_before_its_payment_is_matched_later(world: World) -> None:
    """An embedding application may store its payment after it called the gateway."""
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    payments = world.store.payments.rows.copy()
    world.store.payments.rows.clear()
    assert (await world.hear(transaction)).verdict is Verdict.UNMATCHED
    world.store.payments.rows.update(payments)
    await world.pass_time(timedelta(seconds=6))
    assert world.status.value == "success"


async def test_unmatched_notifications_are_not_looked_at_for_ever(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    world.store.payments.rows.clear()
    await world.hear(transaction)
    await world.pass_time(timedelta(days=3))
    (kept,) = world.store.inbox.rows.values()
    assert (kept.verdict, kept.check_at) == (Verdict.UNMATCHED, None)


async def test_bytes_that_do_not_prove_their_sender_write_nothing(world: World) -> None:
    await world.opened()
    body, headers = world.gateway.notification(world.tries(Signal.SETTLED))
    for wrong in ({}, {"signature": "0" * 64}, {"signature": headers["signature"][:-1]}, {"signature": "ａ"}):
        with pytest.raises(NotAuthentic):
            world.service.receive.understand("memory", body, wrong)
    assert world.store.inbox.rows == {}


async def test_a_body_beyond_the_bound_is_refused_before_it_is_read(world: World) -> None:
    with pytest.raises(MalformedNotification) as refused:
        world.service.receive.understand("memory", b" " * (256 * 1024 + 1), {})
    assert refused.value.code == "body_too_large"


async def test_a_gateway_that_is_not_set_up_has_no_webhook(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        world.service.receive.understand("elsewhere", b"{}", {})
    assert caught.value.code == "gateway_not_configured"


async def test_with_confirm_signature_a_move_needs_no_question() -> None:
    world = World(traits=trusting)
    await world.opened()
    assert (await world.deliver(world.tries(Signal.SETTLED))).verdict is Verdict.APPLIED
    assert world.status.value == "success"
    assert "read" not in world.gateway.calls


async def test_with_confirm_signature_a_contradiction_asks() -> None:
    world = World(traits=trusting)
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.hear(transaction)
    refuted = await world.hear(transaction, status="denied")
    assert refuted.verdict is Verdict.WAITING
    assert world.status.value == "success"


async def test_one_bad_item_does_not_take_its_neighbours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that fails for one notification is tried again for each by itself."""
    await world.opened()
    bodies = [world.gateway.notification(world.tries(Signal.PENDING)) for _ in range(3)]
    batch = [world.service.receive.understand("memory", *body) for body in bodies]
    poison = batch[1].transaction_id  # type: ignore[union-attr]
    put = type(world.store.inbox).put

    async def failing(self: object, kept: list[Kept]) -> None:
        if any(item.notification.transaction_id == poison for item in kept):
            raise StaleWrite("this one breaks")
        await put(self, kept)  # type: ignore[arg-type]

    monkeypatch.setattr(type(world.store.inbox), "put", failing)
    answers = await world.service.receive.accept(batch)  # type: ignore[arg-type]
    assert [type(answer) for answer in answers] == [Accepted, StaleWrite, Accepted]


async def test_an_exception_while_deciding_quarantines_the_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.opened()

    def broken(*_: object, **__: object) -> None:
        raise ValueError("two pages could be paid at once")

    monkeypatch.setattr("payments_core.use_cases.receive_notification.decide_hint", broken)
    answer = await world.deliver(world.tries(Signal.SETTLED))
    assert answer.verdict is Verdict.QUARANTINED
    assert "two pages" in answer.reason


async def test_a_refund_made_in_a_dashboard_is_taken_in(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.hear(transaction)
    world.gateway.becomes(transaction, Signal.SETTLED, refunded=rupiah(30_000))
    await world.hear(transaction)
    assert world.status.value == "partially_refunded"
    world.gateway.becomes(transaction, Signal.SETTLED, refunded=rupiah(100_000))
    await world.hear(transaction)
    assert world.status.value == "refunded"
    assert world.shop_order().status.value == "refunded"
    assert world.history.count("payment.refunded") == 2
    assert world.stock == 8, "a refund never moves stock"


# ── what is remembered ────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_notification_is_known_by_its_bytes_its_gateway_and_its_account(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    body, _ = world.gateway.notification(transaction)
    notification = world.understood(transaction)
    assert (notification.body, notification.received_at, notification.transaction_id) == (
        body,
        world.clock.now(),
        transaction,
    )
    key = notification.key
    assert (key.shard, key.provider, key.account) == (world.payment.payment_id, "memory", "default")
    assert key.digest == sha256(body).hexdigest()


async def test_a_body_at_the_bound_is_read(world: World) -> None:
    with pytest.raises(MalformedNotification) as refused:
        world.service.receive.understand("memory", b" " * NOTIFICATION_BYTES_MAX, {})
    assert refused.value.code != "body_too_large"


async def test_a_foreign_body_is_told_apart_and_not_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(world.gateway), "authenticate", lambda *_: Foreign("subscription"))
    answer = await world.service.receive("memory", b"{}", {})
    assert answer == Foreign("subscription")
    assert world.store.inbox.rows == {}


async def test_what_cannot_be_stored_is_said_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway sends it again."""
    await world.opened()
    body, headers = world.gateway.notification(world.tries(Signal.SETTLED))

    async def full(*_: object) -> None:
        raise StorageUnavailable("the disk is full")

    monkeypatch.setattr(type(world.store.inbox), "put", full)
    with pytest.raises(StorageUnavailable):
        await world.service.receive("memory", body, headers)


async def test_a_repetition_is_told_what_the_first_was(world: World) -> None:
    await world.opened()
    body, headers = world.gateway.notification(world.tries(Signal.SETTLED))
    first = await world.deliver_bytes(body, headers)
    assert (first.verdict, first.reason) == (Verdict.WAITING, "the gateway is asked")
    again = await world.deliver_bytes(body, headers)
    assert (again.verdict, again.reason) == (Verdict.DUPLICATE, "was waiting")
    await world.do_errands()
    late = await world.deliver_bytes(body, headers)
    assert (late.verdict, late.reason) == (Verdict.DUPLICATE, "was applied")
    (kept,) = world.store.inbox.rows.values()
    assert kept.times == 3


async def test_a_repeated_waiting_hint_asks_again_under_a_new_number(world: World) -> None:
    await world.opened()
    body, headers = world.gateway.notification(world.tries(Signal.SETTLED))
    for number in (1, 2):
        await world.deliver_bytes(body, headers)
        (kept,) = world.store.inbox.rows.values()
        assert (kept.asked, kept.check_at) == (number, world.clock.now() + LEASE)
        assert world.payment.reading_number == number
    assert [command.number for command in world.errands.waiting if isinstance(command, AskCharge)] == [1, 2]


async def test_a_question_names_the_page_and_the_transaction(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    await world.deliver(transaction)
    assert [*world.errands.waiting] == [AskCharge(world.payment.payment_id, "memory", 1, transaction, 1)]


async def test_hints_of_one_payment_in_one_batch_are_decided_one_after_the_other() -> None:
    world = World(traits=trusting)
    await world.opened()
    page = world.payment.attempt(1)
    one = world.tries(Signal.PENDING)
    first = world.understood(one)
    world.gateway.becomes(one, Signal.SETTLED)
    second = world.understood(one)
    answers = await world.service.receive.accept([first, second])
    assert [a.reason for a in answers if isinstance(a, Accepted)] == ["unseen -> pending", "pending -> settled"]
    assert world.payment.paid_by == one
    assert world.payment.attempt(1).number == page.number
    assert world.history.count("order.paid") == 1


async def test_a_hint_that_is_believed_is_the_gateways_deed_and_due_no_more() -> None:
    world = World(traits=trusting)
    await world.opened()
    await world.deliver(world.tries(Signal.SETTLED))
    (kept,) = world.store.inbox.rows.values()
    assert (kept.verdict, kept.reason, kept.check_at, kept.asked) == (Verdict.APPLIED, "unseen -> settled", None, 0)
    paid = next(e for e in world.store.payments.events[world.payment.payment_id] if e.type.value == "payment.paid")
    assert paid.actor == "gateway"


async def test_what_a_believed_hint_asks_for_is_done_at_once() -> None:
    world = World(traits=trusting)
    await world.opened()
    other = world.tries(Signal.PENDING)
    await world.hear(other)
    await world.deliver(world.tries(Signal.SETTLED))
    assert CancelCharge(world.payment.payment_id, other) in world.errands.waiting


# ── without a payment ─────────────────────────────────────────────────────────────────────────────────────────────────
async def test_a_notification_whose_payment_is_not_there_is_looked_for_later_each_time(world: World) -> None:
    await world.opened()
    notification = world.understood(world.tries(Signal.SETTLED))
    world.store.payments.rows.clear()
    await world.service.receive.accept([notification])
    for tries, pause in enumerate((*UNMATCHED_RETRY, None)):
        (kept,) = world.store.inbox.rows.values()
        assert (kept.verdict, kept.reason, kept.tries) == (Verdict.UNMATCHED, "no such payment", tries)
        assert kept.check_at == (None if pause is None else world.clock.now() + pause)
        await world.service.receive.match_again([notification.key])


async def test_a_notification_that_names_nothing_of_ours_is_not_looked_for(world: World) -> None:
    await world.opened()
    accepted = await world.deliver(world.tries(Signal.SETTLED), order_id="payment_notif_test_1")
    (kept,) = world.store.inbox.rows.values()
    assert (accepted.verdict, kept.check_at, kept.notification.key.shard) == (Verdict.UNMATCHED, None, "")


async def test_a_payment_that_came_later_gets_its_notification(world: World) -> None:
    await world.opened()
    transaction = world.tries(Signal.SETTLED)
    notification = world.understood(transaction)
    rows = dict(world.store.payments.rows)
    world.store.payments.rows.clear()
    await world.service.receive.accept([notification])
    world.store.payments.rows.update(rows)
    (matched,) = await world.service.receive.match_again([notification.key])
    assert matched.verdict is Verdict.WAITING
    assert await world.service.receive.match_again([notification.key]) == [], "it waits for its answer now"
    await world.do_errands()
    assert world.payment.paid_by == transaction


async def test_a_message_we_could_not_decide_is_kept_for_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And its neighbour is decided."""
    await world.opened()
    good, bad = (world.understood(world.tries(Signal.PENDING)) for _ in range(2))
    decide = receive_notification.decide_hint

    def breaks(payment: Payment, hint: Observation, **more: object) -> object:
        if hint.transaction_id == bad.transaction_id:
            raise ValueError("a bug of ours")
        return decide(payment, hint, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(receive_notification, "decide_hint", breaks)
    answers = await world.service.receive.accept([bad, good])
    assert [a.verdict for a in answers if isinstance(a, Accepted)] == [Verdict.QUARANTINED, Verdict.WAITING]
    assert bad.key.digest in caplog.text
    kept = world.store.inbox.rows[bad.key]
    assert (kept.reason, kept.check_at) == ("could not be decided: a bug of ours", None)


@pytest.mark.parametrize(("signed", "cases"), [((), []), ((CaseKind.AMOUNT_MISMATCH,), ["amount_mismatch"])])
async def test_only_what_its_gateway_signs_may_call_a_person(signed: tuple[CaseKind, ...], cases: list[str]) -> None:
    """Before the gateway was asked."""
    world = World(traits=GatewayTraits(signed=frozenset(signed)))
    await world.opened()
    await world.deliver(world.tries(Signal.PENDING), amount_minor=1)
    assert world.cases == cases


class Numbered(MemoryGateway):
    """Numbers its messages, and may write the same one twice in other bytes."""

    def authenticate(self, body: bytes, headers: Mapping[str, str]) -> Genuine | Foreign:
        proved = MemoryGateway.authenticate(self, body, headers)
        return attrs.evolve(proved, identity=json.loads(body)["number"]) if isinstance(proved, Genuine) else proved


async def test_where_messages_have_numbers_a_number_is_taken_in_once() -> None:
    world = World(gateway=Numbered())
    await world.opened()
    transaction = world.tries(Signal.PENDING)
    first = await world.deliver(transaction, number="evt_1", padding="")
    again = await world.deliver(transaction, number="evt_1", padding=" ")
    other = await world.deliver(transaction, number="evt_2", padding="")
    assert [accepted.verdict for accepted in (first, again)] == [Verdict.WAITING, Verdict.DUPLICATE]
    assert (other.verdict, len(world.store.inbox.rows)) == (Verdict.WAITING, 2)
