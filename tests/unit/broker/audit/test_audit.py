"""The audit log: each row is chained to the one before, and damage is found and named."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.broker.audit import BEGINNING, Damage, Entry, Head, InvalidRow, Row, append, parse_row, verify_log
from haulout.errors import UsageError

ENTRY = Entry(
    at="2026-06-01T12:00:00Z",
    event="release",
    decision="allowed",
    rule="allowed",
    words="the evidence satisfies the policy",
    workload="web",
    owner="ann",
    session="5f0c",
    client="192.0.2.7",
    tee="snp",
    machine="snp:ab",
    evidence="sha256:" + "0" * 64,
    policy="1" * 64,
    resource="default/web/key",
)


def log(length: int, head: Head = BEGINNING) -> list[Row]:
    """Make a log."""
    rows = []
    for number in range(length):
        rows.append(append(head, replace(ENTRY, session=f"session {number}", client=None if number % 2 else "::1")))
        head = rows[-1].head
    return rows


LOG = log(8)


def test_a_row_is_hashed_with_the_hash_before():
    first, second = LOG[:2]
    content = {
        "number": 2,
        **{name: value for name, value in second.to_dict().items() if name not in {"previous", "hash"}},
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert second.previous == first.hash
    assert second.hash == hashlib.sha256(bytes.fromhex(first.hash) + canonical).hexdigest()


def test_a_whole_log_is_whole():
    found = verify_log(LOG)
    assert found.to_dict() == {
        "whole": True,
        "rows": 8,
        "begin": 1,
        "head": f"8:{LOG[-1].hash}",
        "compared": False,
        "finding": None,
        "notes": ["without a head that was kept, nobody can tell whether rows are missing at the end"],
    }
    assert verify_log([]).whole
    assert verify_log(LOG, found.head).compared


def test_a_log_may_grow_after_a_head_was_kept():
    kept = LOG[4].head
    assert verify_log(LOG, kept).whole
    assert verify_log(LOG, BEGINNING).whole


@given(place=st.integers(0, 7), name=st.sampled_from([each.name for each in fields(Entry)]), text=st.text(max_size=9))
def test_any_edit_is_found(place, name, text):
    if getattr(LOG[place].entry, name) == text:
        return
    changed = list(LOG)
    changed[place] = replace(LOG[place], entry=replace(LOG[place].entry, **{name: text}))
    found = verify_log(changed)
    assert found.finding is not None
    assert (found.finding.damage, found.finding.number, found.rows) == (Damage.EDITED, place + 1, place)


@given(place=st.integers(0, 6))
def test_an_edit_with_a_new_hash_breaks_the_next_row(place):
    changed = list(LOG)
    before = LOG[place - 1].head if place else BEGINNING
    changed[place] = append(before, replace(ENTRY, decision="refused"))
    found = verify_log(changed)
    assert found.finding is not None
    assert (found.finding.damage, found.finding.number) == (Damage.EDITED, place + 2)


@given(first=st.integers(0, 6), count=st.integers(1, 3))
def test_a_deletion_is_found(first, count):
    left = LOG[:first] + LOG[first + count :]
    found = verify_log(left)
    if first + count >= len(LOG):
        # Nothing in the rows says that there were more: that takes a head that was kept.
        assert found.whole
        found = verify_log(left, LOG[-1].head)
        assert found.finding is not None
        assert found.finding.damage == Damage.TRUNCATED
        assert f"row {len(LOG)} was there" in found.finding.words
    else:
        assert found.finding is not None
        assert (found.finding.damage, found.finding.number) == (Damage.DELETED, first + 1)


@given(order=st.permutations(range(8)))
def test_another_order_is_found(order):
    found = verify_log([LOG[place] for place in order])
    if list(order) == sorted(order):
        assert found.whole
    else:
        assert found.finding is not None
        assert found.finding.damage == Damage.REORDERED


def test_a_row_that_stands_twice_is_found():
    found = verify_log([*LOG[:3], LOG[2], *LOG[3:]])
    assert found.finding is not None
    assert found.finding.damage == Damage.REORDERED


def test_a_deletion_with_new_numbers_and_hashes_is_found_by_a_head():
    entries = [row.entry for row in LOG if row.number != 3]
    head, anew = BEGINNING, []
    for entry in [*entries, ENTRY]:
        anew.append(append(head, entry))
        head = anew[-1].head
    assert verify_log(anew).whole, "hashes alone cannot show it: there is no secret in them"
    found = verify_log(anew, LOG[-1].head)
    assert found.finding is not None
    assert found.finding.damage == Damage.REWRITTEN


def test_a_part_is_verified_from_where_it_begins():
    assert verify_log(LOG[3:], part=True).whole
    assert verify_log(LOG[3:], LOG[5].head, part=True).whole
    found = verify_log(LOG[3:])
    assert found.finding is not None
    assert found.finding.damage == Damage.DELETED
    found = verify_log(LOG[3:], LOG[0].head, part=True)
    assert found.finding is not None
    assert "cannot be compared" in found.finding.words


def test_of_an_owners_rows_each_is_verified():
    mine = [LOG[0], LOG[3], LOG[4], LOG[7]]
    found = verify_log(mine, part=True, gaps=True)
    assert found.whole
    assert "deleted rows cannot be found" in found.notes[0]
    changed = [*mine[:2], replace(mine[2], entry=replace(mine[2].entry, words="?")), mine[3]]
    finding = verify_log(changed, part=True, gaps=True).finding
    assert finding is not None
    assert (finding.damage, finding.number) == (Damage.EDITED, 5)
    swapped = verify_log([LOG[3], LOG[0]], part=True, gaps=True).finding
    assert swapped is not None
    assert swapped.damage == Damage.REORDERED
    assert verify_log(mine, LOG[4].head, part=True, gaps=True).whole
    assert not verify_log(mine, replace(LOG[4].head, hash="0" * 64), part=True, gaps=True).whole


def test_an_export_reads_back():
    lines = [row.to_line() for row in LOG]
    assert [parse_row(line) for line in lines] == LOG
    assert not any("\n" in line for line in lines)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_survives_an_export(text):
    row = append(BEGINNING, replace(ENTRY, client=text))
    assert "\n" not in row.to_line()
    assert parse_row(row.to_line()) == row


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        LOG[0].to_line().replace('"number":1', '"number":0'),
        LOG[0].to_line().replace('"number":1', '"number":true'),
        LOG[0].to_line().replace('"number":1', '"number":1e3'),
        LOG[0].to_line().replace('"hash":"', '"hash":"g'),
        LOG[0].to_line().replace('"rule":"allowed"', '"rule":null'),
        LOG[0].to_line().replace('"rule":"allowed"', '"rule":1'),
        LOG[0].to_line().replace('"rule":"allowed"', r'"rule":"\ud800"'),
        LOG[0].to_line().replace('"rule":', '"rules":'),
        LOG[0].to_line().replace("{", '{"more":1,', 1),
    ],
)
def test_what_is_not_a_row_is_refused(line):
    with pytest.raises(InvalidRow, match="cannot be read"):
        parse_row(line)


@pytest.mark.parametrize(
    "text", ["", "8", "8:", "8:" + "A" * 64, "-1:" + "0" * 64, "²:" + "0" * 64, "9" * 17 + ":" + "0" * 64]
)
def test_what_is_not_a_head_is_refused(text):
    with pytest.raises(UsageError, match="not a head"):
        Head.parse(text)


def test_a_head_reads_back():
    assert Head.parse(f" {LOG[3].head}\n") == LOG[3].head
