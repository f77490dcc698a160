"""The transition table: total, and saying what its prose says."""

from itertools import product

import pytest

from payments_core.states import (
    ENDED,
    LIVE,
    MONEY,
    RULES,
    TRANSITIONS,
    Ask,
    ChargeState,
    Confirm,
    Contradict,
    Keep,
    Move,
    Row,
    Signal,
    hint_rule,
    reading_rule,
)


def test_every_state_meets_every_signal_in_exactly_one_row() -> None:
    pairs = [(row.state, row.signal) for row in TRANSITIONS]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == set(product(ChargeState, Signal))


def test_every_state_is_unseen_live_money_ended_or_reversed() -> None:
    classes = [LIVE, MONEY, ENDED, {ChargeState.UNSEEN, ChargeState.REVERSED}]
    assert sorted(state.value for group in classes for state in group) == sorted(state.value for state in ChargeState)


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda r: f"{r.state.value}-{r.signal.value}")
def test_every_row_says_why(row: Row) -> None:
    assert len(row.because) > 8


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda r: f"{r.state.value}-{r.signal.value}")
def test_a_hint_never_does_what_a_reading_could_not(row: Row) -> None:
    """A hint may be believed, ignored or asked about; believed means: just as a reading would be."""
    if isinstance(row.hint, Move):
        assert row.reading == row.hint
    if isinstance(row.hint, Ask):
        assert not isinstance(row.reading, Keep), "a question whose answer changes nothing need not be asked"


@pytest.mark.parametrize("state", sorted(MONEY, key=lambda s: s.value))
@pytest.mark.parametrize("signal", [*Signal])
def test_a_hint_never_takes_money_away(state: ChargeState, signal: Signal) -> None:
    rule = hint_rule(state, signal, Confirm.SIGNATURE)
    assert not isinstance(rule, Move) or rule.to in MONEY


@pytest.mark.parametrize("state", sorted(ENDED | {ChargeState.REVERSED}, key=lambda s: s.value))
@pytest.mark.parametrize("signal", [Signal.CAPTURED, Signal.SETTLED])
def test_money_on_an_ended_charge_is_asked_about_and_believed_from_a_reading(
    state: ChargeState, signal: Signal
) -> None:
    assert hint_rule(state, signal, Confirm.SIGNATURE) == Ask()
    assert reading_rule(state, signal) == Move(ChargeState(signal.value))


@pytest.mark.parametrize("state", sorted(ENDED, key=lambda s: s.value))
def test_an_ending_never_follows_an_ending(state: ChargeState) -> None:
    for signal in (Signal.DENIED, Signal.CANCELLED, Signal.EXPIRED, Signal.FAILED):
        assert RULES[state, signal].hint == RULES[state, signal].reading == Keep()


def test_a_late_pending_never_undoes_a_settlement() -> None:
    """The tutorial's worst fault: the last message won."""
    assert hint_rule(ChargeState.SETTLED, Signal.PENDING, Confirm.SIGNATURE) == Keep()
    assert isinstance(reading_rule(ChargeState.SETTLED, Signal.PENDING), Contradict)


def test_a_deny_after_settlement_reverses_it_only_by_a_reading() -> None:
    assert hint_rule(ChargeState.SETTLED, Signal.DENIED, Confirm.SIGNATURE) == Ask()
    assert reading_rule(ChargeState.SETTLED, Signal.DENIED) == Move(ChargeState.REVERSED)


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda r: f"{r.state.value}-{r.signal.value}")
def test_with_confirm_always_every_hint_that_would_move_asks(row: Row) -> None:
    rule = hint_rule(row.state, row.signal, Confirm.ALWAYS)
    assert rule == (Ask() if isinstance(row.hint, Move) else row.hint)
