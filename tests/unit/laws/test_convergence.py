"""Guarantee B1: whatever is delivered how often in which order, the end is the gateway's end.

Exhausted, in both confirm modes, with a gateway that lags and one that does not:

- every legal history of up to five steps; those in which money is given back (refunds and charge-backs, some or all)
  as far as `LAWS_GIVEN_BACK_STEPS` says, because they are most of the walk,
- every interleaving of its steps with the deliveries of its messages, each any number of times, so also 0 to 3 times,
- a question after every delivery that asks, leaving and answered at any later moment or lost; up to two answers on
  their way at once, arriving in any order, each showing the gateway as it stood when it was asked, or one step older
  where it lags; of questions that have not left yet the newest is kept, as its answer serves the earlier ones.

When the gateway is quiet its last message has reached us, or else one poll does; everything due is done; the end is
compared. How the graph of situations is walked, and what is left out of one, stands in `explorer.py`.

Not in the big walk, but in walks of their own over up to two steps: two questions that wait and leave in any order, and
how often a hint was denied already (`tries`), with the times that follow from it. Not explored at all: time that passes
while the gateway still moves, three answers on their way, answers more than one step old (`test_payment_machine.py`
has these), and decisions of ours in between, which the law excludes: they run at the end.
"""

import os
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from payments_core import ChargeState, Confirm, Signal, charges, decide
from payments_core.states import Move
from payments_core.testing.histories import Step, histories
from payments_core.use_cases import apply_reading, receive_notification
from payments_core_stripe import StripeSettings
from unit.laws.explorer import STEPS_MAX, Explorer, History, interleavings, prefixes
from unit.laws.one_by_one import OneByOne

lagging = pytest.mark.parametrize("lag", [False, True], ids=["no lag", "lag"])
confirming = pytest.mark.parametrize("confirm", [*Confirm], ids=lambda c: c.value)
COPIES = 3
GIVEN_BACK_STEPS_MAX = int(os.environ.get("LAWS_GIVEN_BACK_STEPS", "3"))
"""How long a history may be in which money was given back; the whole, 5, takes an hour and some gigabytes."""


STRIPE_STEPS = int(os.environ.get("LAWS_STRIPE_STEPS", "3"))
"""How long a history may be with Stripe's traits."""


def went(*words: Signal) -> History:
    """A history in which nothing was given back."""
    return tuple(Step(word) for word in words)


def walked() -> Iterator[History]:
    """Every history of up to five steps, those with money given back only as long as there is time for."""
    for history in histories(STEPS_MAX):
        gives_back = history[-1].refunded or history[-1].charged_back
        if not gives_back or len(history) <= GIVEN_BACK_STEPS_MAX:
            yield history


@lagging
@confirming
def test_every_interleaving_of_every_history_ends_as_the_gateway_ended(confirm: Confirm, lag: bool) -> None:
    """Late, repeated, missing, out of order: the money we believe in is the money that is there."""
    explorer, every = Explorer(confirm, lag=lag), [*walked()]
    explorer.explore(every)
    count = sum(interleavings(len(history), COPIES) for history in every)
    print(
        f"\n{len(every)} histories, {count:,} interleavings of their steps and deliveries (each message 0 to {COPIES} "
        f"times); with every question and answer in between: {explorer.situations:,} situations, "
        f"{explorer.moves:,} moves, {explorer.ends:,} ends ({confirm.value}, lag {'on' if lag else 'off'})"
    )
    assert max(len(history) for history, _end in explorer.reached) == STEPS_MAX
    assert {history for history, _end in explorer.reached} == set(every)


@lagging
def test_every_interleaving_ends_right_with_stripes_traits(lag: bool) -> None:
    """Events believed as they are signed, transactions bound to their payment: up to `STRIPE_STEPS` steps."""
    traits = attrs.evolve(StripeSettings(secret_key="sk_test_law").traits, live=None)
    explorer, every = Explorer(traits.confirm, lag=lag, traits=traits), [*histories(STRIPE_STEPS)]
    explorer.explore(every)
    print(
        f"\n{len(every)} histories, {explorer.situations:,} situations (Stripe's traits, lag {'on' if lag else 'off'})"
    )
    assert {history for history, _end in explorer.reached} == set(every)


@confirming
def test_questions_that_overtake_each_other_before_they_leave_change_nothing(confirm: Confirm) -> None:
    """The answer with the smaller number can be the fresher one."""
    explorer = Explorer(confirm, lag=True, waiting=2)
    explorer.explore(histories(2))
    print(f"\n{explorer.situations:,} situations with two waiting questions ({confirm.value})")


@confirming
def test_a_hint_is_not_given_up_within_the_gateways_lag(confirm: Confirm) -> None:
    """However often a lagging gateway denies it: nobody would ask again, and a spent page is not polled."""
    explorer = Explorer(confirm, lag=True, tries=True)
    explorer.explore(histories(2))
    print(f"\n{explorer.situations:,} situations that remember how often a hint was denied ({confirm.value})")


WITHOUT_SHORTCUTS = {
    "two steps, one copy": ([*histories(2)], 1),
    "two steps, two copies": ([went(Signal.PENDING, Signal.SETTLED), went(Signal.CAPTURED, Signal.CANCELLED)], 2),
    "three steps, one copy": (
        [went(Signal.PENDING, Signal.EXPIRED, Signal.SETTLED), went(Signal.CAPTURED, Signal.SETTLED, Signal.DENIED)],
        1,
    ),
}


@pytest.mark.parametrize("chosen", WITHOUT_SHORTCUTS)
@lagging
@confirming
def test_the_explorer_leaves_nothing_out(confirm: Confirm, lag: bool, chosen: str) -> None:
    """The walk over whole stores, with real numbers and copies, finds no situation that the explorer does not know."""
    walked, copies = WITHOUT_SHORTCUTS[chosen]
    explorer, total = Explorer(confirm, lag=lag), 0
    known = explorer.explore({beginning for history in walked for beginning in prefixes(history)}, keep=True)
    for history in walked:
        walk = OneByOne(history, confirm, lag=lag, copies=copies)
        total += walk.explore()
        for found in walk.situations.values():
            so_far = history[: found.step + 1]
            assert explorer.known_as(found.store, so_far, found.waiting, found.in_flight) in known[so_far]
    print(f"\n{total:,} interleavings one by one ({chosen}, {confirm.value}, lag {'on' if lag else 'off'})")


# ── the law itself is tested: it must not hold for these ──────────────────────────────────────────────────────────────
def explore(history: History, confirm: Confirm, *, tries: bool = False) -> None:
    Explorer(confirm, lag=True, tries=tries).explore(prefixes(history))


def test_the_law_catches_joining_a_question_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: an answer serves every waiting hint, also those that came after the question had left."""
    answer = apply_reading._answer_hints

    def joining(gateway: Any, payment: Any, waiting: Any, reading: Any, now: Any) -> Any:
        return answer(gateway, payment, waiting, attrs.evolve(reading, number=10**9), now)

    monkeypatch.setattr(apply_reading, "_answer_hints", joining)
    monkeypatch.setattr(apply_reading, "still_wants", lambda *_: False)
    with pytest.raises(AssertionError, match="expired"):
        explore(went(Signal.PENDING, Signal.EXPIRED), Confirm.ALWAYS)


def test_the_law_catches_the_last_message_winning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: whatever is said is believed, as the tutorial does.

    A `pending` that undid a settlement would be healed by the closing of its page, which asks; this one would not.
    """
    monkeypatch.setattr(decide, "hint_rule", lambda _state, signal, _confirm: Move(ChargeState(signal.value)))
    with pytest.raises(AssertionError, match="settled"):
        explore(went(Signal.CAPTURED, Signal.SETTLED), Confirm.SIGNATURE)


def test_the_law_catches_dropping_a_repeated_waiting_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a hint that was heard before is not asked about again, and the sweep does not find it either."""
    monkeypatch.setattr(receive_notification, "_LOOKED_AT_AGAIN", frozenset[Any]())
    monkeypatch.setattr(apply_reading, "_ask_again", lambda kept, _now, **_: attrs.evolve(kept, check_at=None))
    with pytest.raises(AssertionError, match="settled"):
        explore(went(Signal.PENDING, Signal.SETTLED), Confirm.ALWAYS)


def test_the_law_catches_counting_a_refund_for_every_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: what a message says was given back is added to what we know, and Midtrans tells each refund twice."""
    refunded = charges._refunded
    monkeypatch.setattr(charges, "_refunded", lambda charge, *said: charge.refunded_minor + refunded(charge, *said))
    with pytest.raises(AssertionError, match="refunded"):
        explore((Step(Signal.SETTLED), Step(Signal.SETTLED, refunded=1)), Confirm.SIGNATURE)


def test_the_law_catches_refuting_a_hint_within_the_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by this walk: five answers that lagged refuted a true hint, and a void stayed unknown for ever."""
    ask_again = apply_reading._ask_again
    monkeypatch.setattr(apply_reading, "_ask_again", lambda kept, now, **_: ask_again(kept, now, may_lag=False))
    with pytest.raises(AssertionError, match="cancelled"):
        explore(went(Signal.CAPTURED, Signal.CANCELLED), Confirm.SIGNATURE, tries=True)
