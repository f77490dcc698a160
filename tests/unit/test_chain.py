"""The chain of one payment's saves: what is honest passes, and each kind of tampering is named.

`laws/test_history.py` draws whole histories; here is one of three entries, link by link.
"""

import hmac
import time
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import attrs
import pytest

from payments_core.chain import ChainKeys, Entry, Finding, FindingKind, canonical, check_chain

KEY, OLD = "the-key-of-this-history-32-bytes!", "an-older-key-that-is-still-known!"
KEYS = ChainKeys((KEY, OLD))
BODIES = ('{"paid_by":null}', '{"paid_by":"tx"}', '{"refunds":["k-1"]}')


def chained(keys: ChainKeys = KEYS, versions: tuple[int, ...] = (1, 2, 3)) -> list[Entry]:
    """An honest chain over these versions."""
    entries: list[Entry] = []
    for version, body in zip(versions, BODIES, strict=False):
        previous = entries[-1].chain if entries and entries[-1].version == version - 1 else ""
        entries.append(keys.entry(previous, "pay", version, body))
    return entries


def found(entries: list[Entry], keys: ChainKeys = KEYS) -> list[tuple[int | None, str]]:
    findings = [*check_chain("pay", entries, keys)]
    assert {finding.payment_id for finding in findings} <= {"pay"}
    assert all(finding.what for finding in findings)
    return [(finding.version, finding.kind.value) for finding in findings]


@pytest.mark.parametrize("keys", [KEYS, ChainKeys((OLD,)), ChainKeys()], ids=["two keys", "one key", "no key"])
def test_an_honest_chain_has_nothing_wrong(keys: ChainKeys) -> None:
    assert found(chained(keys), keys) == []


def test_what_is_sealed_can_be_computed_by_others() -> None:
    """The format is what an auditor's own program has to agree with; it can never change."""
    (entry, second, _) = chained()
    name = hmac.new(KEY.encode(), b"payments history key id", sha256).hexdigest()[:8]
    digest = sha256(BODIES[0].encode()).hexdigest()
    said = f'["entry","","pay",1,"{name}","{digest}"]'
    code = hmac.new(KEY.encode(), said.encode(), sha256).hexdigest()
    assert entry == Entry("pay", 1, name, BODIES[0], digest, code)
    said = f'["entry","{code}","pay",2,"{name}","{second.body_digest}"]'
    assert second.chain == hmac.new(KEY.encode(), said.encode(), sha256).hexdigest()


def test_without_a_key_the_code_is_a_plain_hash() -> None:
    (entry, *_) = chained(ChainKeys())
    assert entry.key_id == ""
    assert entry.chain == sha256(f'["entry","","pay",1,"","{entry.body_digest}"]'.encode()).hexdigest()


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("payment_id", "other", "chain"),
        ("body_digest", "0" * 64, "chain"),
        ("chain", "0" * 64, "chain"),
        ("chain", "é", "chain"),
        ("key_id", "00000000", "unknown_key"),
        ("body", '{"paid_by":"somebody"}', "body"),
        ("body", None, "erased"),
    ],
)
def test_a_changed_field_is_found_in_its_entry(field: str, value: str | None, kind: str) -> None:
    first, second, third = chained()
    changed = attrs.evolve(second, **{field: value})
    findings = found([first, changed, third])
    assert (2, kind) in findings
    assert (1, kind) not in findings


def test_an_erased_body_leaves_the_chain_whole() -> None:
    first, second, third = chained()
    assert found([first, attrs.evolve(second, body=None), third]) == [(2, "erased")]


def test_a_changed_body_alone_breaks_no_other_entry() -> None:
    first, second, third = chained()
    assert found([first, attrs.evolve(second, body="{}"), third]) == [(2, "body")]


def test_a_changed_code_breaks_the_entry_after_it_too() -> None:
    first, second, third = chained()
    assert found([first, attrs.evolve(second, chain="0" * 64), third]) == [(2, "chain"), (3, "chain")]


def test_an_entry_taken_out_is_a_gap_and_the_next_does_not_follow() -> None:
    first, _, third = chained()
    assert found([first, third]) == [(3, "gap"), (3, "chain")]
    assert next(f.what for f in check_chain("pay", [first, third], KEYS)).endswith("between versions 1 and 3")


def test_a_history_without_its_beginning_is_a_gap() -> None:
    _, second, third = chained()
    findings = [*check_chain("pay", [second, third], KEYS)]
    assert [(f.version, f.kind.value) for f in findings] == [(2, "gap"), (2, "chain")]
    assert findings[0].what.endswith("between versions 0 and 2")


def test_after_a_gap_a_chain_that_began_anew_follows() -> None:
    """A save by a program without history leaves a gap, and what comes after it is sealed on its own."""
    assert found(chained(versions=(1, 3))) == [(3, "gap")]


def test_a_later_version_put_first_is_out_of_its_place() -> None:
    first, second, third = chained()
    assert found([second, first, third]) == [(2, "gap"), (2, "chain"), (3, "gap"), (3, "chain")]


def test_a_key_that_was_rotated_is_still_recognised() -> None:
    """The first key signs, every key is recognised."""
    old = chained(ChainKeys((OLD,)), versions=(1, 2))
    new = KEYS.entry(old[-1].chain, "pay", 3, BODIES[2])
    assert found([*old, new]) == []
    assert new.key_id == KEYS.key_id != old[0].key_id
    assert found([*old, new], ChainKeys((KEY,))) == [(1, "unknown_key"), (2, "unknown_key")]


def test_a_history_from_before_there_was_a_key_is_told_once() -> None:
    unkeyed = chained(ChainKeys(), versions=(1, 2))
    keyed = KEYS.entry(unkeyed[-1].chain, "pay", 3, BODIES[2])
    assert found([*unkeyed, keyed]) == [(1, "unkeyed")]


def test_an_entry_without_a_key_after_a_signed_one_was_put_in() -> None:
    """Nobody without the key can write at the end of a signed history."""
    (first, *_) = chained()
    forged = ChainKeys().entry(first.chain, "pay", 2, BODIES[1])
    assert found([first, forged]) == [(2, "chain")]
    assert found([first, forged], ChainKeys()) == [(1, "unknown_key")]


def test_a_name_says_which_key_without_saying_the_key() -> None:
    assert len(KEYS.key_id) == 8
    assert KEYS.key_id not in KEY
    assert KEY not in repr(KEYS)
    assert KEYS.knows(KEYS.key_id)
    assert KEYS.knows("")
    assert not KEYS.knows("00000000")


def test_a_code_verifies_under_its_own_key_and_for_its_own_message() -> None:
    code = KEYS.sign({"anchor": 1})
    assert KEYS.verifies(KEYS.key_id, code, {"anchor": 1})
    assert not KEYS.verifies(KEYS.key_id, code, {"anchor": 2})
    assert not KEYS.verifies(ChainKeys((OLD,)).key_id, code, {"anchor": 1})
    assert not KEYS.verifies("00000000", code, {"anchor": 1})


def test_one_value_has_one_spelling() -> None:
    """Codes are compared over bytes, so order, blanks, letters and time zones must not matter."""
    jakarta = datetime(2026, 11, 27, 7, 0, tzinfo=timezone(timedelta(hours=7)))
    assert canonical({"b": [1, "é"], "a": jakarta}) == '{"a":"2026-11-27T00:00:00.000000+00:00","b":[1,"\\u00e9"]}'


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this machine cannot move to another time zone")
def test_a_moment_is_spelled_in_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Jakarta")
    time.tzset()
    try:
        midnight = datetime(2026, 11, 27, tzinfo=UTC)
        assert canonical(midnight) == '"2026-11-27T00:00:00.000000+00:00"'
        assert canonical(midnight.astimezone()) == canonical(midnight)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("value", "error"), [(float("nan"), ValueError), (b"bytes", TypeError)])
def test_what_has_no_spelling_is_refused(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        canonical(value)


def test_half_a_character_can_be_sealed_too() -> None:
    """What a gateway sent is kept as it came; a lone surrogate must not keep a payment from being saved."""
    entry = KEYS.entry("", "pay", 1, "\ud800")
    assert found([entry]) == []
    assert [*check_chain("pay", [attrs.evolve(entry, body="\ud801")], KEYS)] == [
        Finding("pay", 1, FindingKind.BODY, "the body is not the one that was signed")
    ]
