"""Fault plans: what a plan may say, and that it plays the same way again."""

import pytest

from payments_core_simulator.control_bodies import decode
from payments_core_simulator.fault_rules import Cut, FaultPlan, ServerError, Timeout
from payments_core_simulator.faults import CallFaults, Faults, NotificationFaults
from payments_core_simulator.midtrans.control_bodies import Transition, amount_sen
from payments_core_simulator.midtrans.simulator import CALLS
from payments_core_simulator.refusals import Refusal


def plan(json: str) -> Faults:
    faults = Faults(CALLS)
    faults.replace(decode(json.encode(), FaultPlan))
    return faults


def outcomes(faults: Faults, call: str = "status", times: int = 200) -> list[bool]:
    return [faults.draw_call(call).outcome is not None for _ in range(times)]


@pytest.mark.parametrize(
    ("json", "place"),
    [
        ('{"fault": []}', "unknown field `fault`"),
        ('{"faults": [{"kind": "earthquake"}]}', "$.faults[0].kind"),
        ('{"faults": [{"kind": "latency"}]}', "`ms`"),
        ('{"faults": [{"kind": "latency", "ms": 5, "seconds": 1}]}', "unknown field `seconds`"),
        ('{"faults": [{"kind": "cut", "calls": ["charge"]}]}', "$.faults[0].calls"),
        ('{"faults": [{"kind": "cut", "probability": 1.5}]}', "$.faults[0].probability"),
        ('{"faults": [{"kind": "cut", "count": 0}]}', "$.faults[0].count"),
        ('{"faults": [{"kind": "server_error", "status": 404}]}', "$.faults[0].status"),
        ('{"faults": [{"kind": "rate_limit", "applied": true}]}', "unknown field `applied`"),
        ('{"faults": [{"kind": "timeout", "hang_s": 9999}]}', "$.faults[0].hang_s"),
        ('{"delivery": {"speed_up": 0.5}}', "$.delivery.speed_up"),
        ('{"delivery": {"intervals_s": [1, 2]}}', "$.delivery.intervals_s"),
        ('{"seed": "x"}', "$.seed"),
        ("not json", "malformed"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused_with_the_place(json: str, place: str):
    with pytest.raises(Refusal) as refused:
        plan(json)
    assert place in refused.value.messages[0]


def test_no_plan_means_no_faults():
    assert plan("{}").draw_call("status") == CallFaults()
    assert plan("{}").draw_notification("pending") == NotificationFaults()


def test_a_rule_with_a_count_fires_that_often():
    assert outcomes(plan('{"faults": [{"kind": "cut", "count": 3}]}'), times=5) == [True, True, True, False, False]


def test_a_rule_with_a_probability_fires_about_that_often_and_again_the_same_with_the_same_seed():
    json = '{"seed": %d, "faults": [{"kind": "cut", "probability": 0.3}]}'
    first, again, other = (outcomes(plan(json % seed), times=1_000) for seed in (7, 7, 8))
    assert first == again != other
    assert 200 < sum(first) < 400


def test_one_rules_chances_do_not_shift_anothers():
    """A plan may be extended at its end without changing what its first rules do."""
    alone = plan('{"seed": 1, "faults": [{"kind": "cut", "probability": 0.5}]}')
    beside = plan('{"seed": 1, "faults": [{"kind": "cut", "probability": 0.5}, {"kind": "html", "probability": 0.5}]}')
    cuts = [isinstance(beside.draw_call("status").outcome, Cut) for _ in range(200)]
    assert cuts == outcomes(alone)


def test_a_rule_about_named_calls_leaves_the_others_alone():
    faults = plan('{"faults": [{"kind": "cut", "calls": ["refund", "cancel"]}]}')
    assert [outcomes(faults, call, 1)[0] for call in ("refund", "cancel", "status")] == [True, True, False]


def test_a_replaced_answer_is_replaced_once_and_the_later_rule_keeps_its_count():
    faults = plan('{"faults": [{"kind": "cut", "count": 1}, {"kind": "server_error", "count": 1}]}')
    drawn = [faults.draw_call("status").outcome for _ in range(3)]
    assert isinstance(drawn[0], Cut)
    assert isinstance(drawn[1], ServerError)
    assert drawn[2] is None


def test_waits_add_up():
    faults = plan('{"faults": [{"kind": "latency", "ms": 100}, {"kind": "latency", "ms": 50}]}')
    assert faults.draw_call("status").latency_s == pytest.approx(0.15)


def test_a_status_lag_is_spent_on_status_calls_only():
    faults = plan('{"faults": [{"kind": "status_lag", "seconds": 5, "count": 1}]}')
    assert faults.draw_call("snap_create").lag_s == 0
    assert faults.draw_call("status").lag_s == 5
    assert faults.draw_call("status").lag_s == 0


def test_a_bank_refusal_is_spent_on_refunds_and_captures_only():
    faults = plan('{"faults": [{"kind": "bank_refusal", "count": 1}]}')
    assert [faults.draw_call(call).bank_refuses for call in ("cancel", "refund", "capture")] == [False, True, False]


def test_a_timeout_takes_effect_unless_it_says_otherwise():
    drawn = plan('{"faults": [{"kind": "timeout"}]}').draw_call("status").outcome
    assert isinstance(drawn, Timeout)
    assert drawn.applied


def test_notification_rules_may_name_statuses():
    faults = plan('{"faults": [{"kind": "notification_drop", "statuses": ["settlement"]}]}')
    assert [faults.draw_notification(status).dropped for status in ("pending", "settlement")] == [False, True]


def test_notification_rules_combine():
    faults = plan(
        '{"faults": [{"kind": "notification_duplicate", "copies": 2}, {"kind": "notification_delay", "ms": 500},'
        ' {"kind": "notification_reorder", "within_ms": 1000}]}'
    )
    assert faults.draw_notification("pending") == NotificationFaults(copies=2, delay_s=0.5, held_s=1.0)


def test_a_report_says_how_often_each_rule_fired():
    faults = plan('{"faults": [{"kind": "cut", "calls": ["status"]}, {"kind": "notification_drop"}]}')
    faults.draw_call("status")
    faults.draw_call("status")
    assert faults.report()["fired"] == [2, 0]


@pytest.mark.parametrize(
    ("amount", "sen"), [(150_000, 15_000_000), ("150000", 15_000_000), ("150000.01", 15_000_001), ("0.5", 50)]
)
def test_control_amounts_are_rupiah_with_up_to_two_decimals(amount: int | str, sen: int):
    assert amount_sen(amount) == sen


@pytest.mark.parametrize("amount", [0, -5, "1e5", "1.234", "", "NaN", "10,5", "9" * 14])
def test_control_amounts_that_cannot_be_meant_are_refused(amount: int | str):
    with pytest.raises(Refusal):
        amount_sen(amount)


def test_an_unknown_word_of_a_transition_is_refused():
    with pytest.raises(Refusal, match=r"\$\.to"):
        decode(b'{"transaction_id": "t", "to": "lost"}', Transition)
