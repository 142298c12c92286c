"""Properties of deltas: what one gives is exactly what the old disk lacks, whatever the two disks are."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.deltas import delta_between, expanded, laid_out, rebuilt, sized, toc_of

from haulout.frames.blocks import BLOCK, ZERO_HINT, hash_blocks
from haulout.frames.delta.index import DeltaIndex
from haulout.frames.delta.map import Map, Source, Tiles
from haulout.frames.delta.runs import Runs
from haulout.frames.delta.similar import features

NUMBERS = st.lists(st.integers(0, 300), unique=True, max_size=60).map(lambda some: np.array(sorted(some), np.int64))
# A disk is a list of blocks, each named by a small number: equal numbers are equal blocks, 0 is zeros.
NAMES = st.lists(st.integers(0, 40), min_size=1, max_size=120)


def block(name: int, change: int = 0) -> bytes:
    """A block of half random, half repeating bytes; changed ones differ in a few bytes."""
    if name == 0:
        return bytes(BLOCK)
    data = bytearray(hashlib.shake_128(bytes([name])).digest(BLOCK // 2) + bytes(range(256)) * 8)
    for number in range(change):
        data[(name * 97 + number * 641) % BLOCK] ^= 0x55
    return bytes(data)


@st.composite
def disk_pairs(draw):
    names = draw(NAMES)
    old = [block(name) for name in names]
    kept = draw(st.lists(st.sampled_from(range(len(names))), max_size=100))
    new = [block(names[place], draw(st.integers(0, 2))) for place in kept]
    new += [block(name, change=3) for name in draw(st.lists(st.integers(0, 255), max_size=20))]
    end = b"end" * draw(st.integers(0, 1000))
    return b"".join(old), b"".join(new) + end


@settings(max_examples=60, deadline=None)
@given(disk_pairs())
@example((block(1), block(2)))
@example((block(1) * 3, bytes(BLOCK) + block(1)))
@example((b"short", block(7, 1) + b"short"))
def test_a_delta_gives_exactly_the_blocks_that_the_old_disk_lacks(pair):
    old, new = pair
    if not new:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toc, hints = toc_of(folder, new)
        lacking = set(hints.tolist()) - set(hash_blocks(memoryview(old)).tolist()) - {int(ZERO_HINT)}
        delta = delta_between(folder, old, new)
        if delta is None:
            assert not lacking
            assert rebuilt(toc, hints, old) == new
            return
        again = DeltaIndex.decode(delta.index.encode())
        assert (again.source, again.target) == (sized(old), sized(new))
        assert again.encode() == delta.index.encode()
        usable, out = expanded(folder, delta, old)
        got = hash_blocks(memoryview(out)).tolist()
        assert usable == list(range(len(delta.index.segments)))
        assert got == delta.expected().tolist()
        assert sorted(got) == sorted(lacking)
        assert rebuilt(toc, hints, old, out) == new
        # The map says the same, and the numbers of old blocks what their hints do.
        assert laid_out(delta, old, out) == new
        assert np.asarray(hash_blocks(memoryview(old)))[again.reference].tolist() == delta.reference_hints.tolist()


@settings(max_examples=20, deadline=None)
@given(disk_pairs(), st.data())
def test_a_changed_old_disk_spoils_blocks_but_adds_none_that_pass(pair, data):
    """What comes out with a damaged reference is right, or has another hint than any block of the new disk."""
    old, new = pair
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        delta = delta_between(folder, old, new) if new else None
        if delta is None:
            return
        held = bytearray(old)
        for place in data.draw(st.lists(st.integers(0, len(old) - 1), max_size=5)):
            held[place] ^= 0xFF
        _, out = expanded(folder, delta, bytes(held), segments=list(range(len(delta.index.segments))))
        got, expected = np.asarray(hash_blocks(memoryview(out))), delta.expected()
        assert len(got) == len(expected)
        by_hint = dict(zip(expected.tolist(), range(len(expected)), strict=True))
        plain = {hint: part for hint, part in zip(got.tolist(), range(len(got)), strict=True) if hint in by_hint}
        for hint, place in plain.items():
            part = out[place * BLOCK : (place + 1) * BLOCK]
            assert part in {new[at : at + BLOCK].ljust(BLOCK, b"\0") for at in range(0, len(new), BLOCK)}, hint


@given(st.lists(NUMBERS, min_size=1, max_size=6))
def test_runs_keep_numbers_that_begin_anew(groups):
    runs = Runs.of(groups, restart=True)
    assert [runs.numbers(n).tolist() for n in range(len(groups))] == [group.tolist() for group in groups]
    assert runs.totals.tolist() == [len(group) for group in groups]


@given(NUMBERS, st.lists(st.integers(0, 60), max_size=5).map(sorted))
def test_runs_keep_numbers_that_go_on(numbers, cuts):
    groups = np.split(numbers, [min(cut, len(numbers)) for cut in cuts])
    runs = Runs.of(groups, restart=False)
    base = 0
    for number, group in enumerate(groups):
        assert runs.numbers(number, base).tolist() == group.tolist()
        base = int(group[-1]) + 1 if len(group) else base


@st.composite
def sources(draw):
    """Blocks of a new disk: where each is, and its number there; new blocks of a delta are lacking (-1) once each."""
    rows = draw(
        st.lists(st.tuples(st.sampled_from([*Source, -1]), st.integers(0, 2**32 - 8), st.integers(1, 7)), max_size=30)
    )
    fresh = [kind for kind, _, length in rows for _ in range(length)].count(-1)
    blocks = []
    for kind, start, length in rows:
        first = {Source.OLD: start, Source.NEW: start % max(fresh - length, 1)}.get(kind, 0)
        going_on = kind in {Source.OLD, Source.NEW}
        blocks += [(kind, first + number * going_on) for number in range(length)]
    return [(kind, number) for kind, number in blocks if kind != Source.NEW or number < fresh]


@given(sources())
def test_a_map_and_the_new_blocks_between_tile_the_disk(blocks):
    fresh = np.array([place for place, (kind, _) in enumerate(blocks) if kind < 0], np.int64)
    rest = [block for block in blocks if block[0] >= 0]
    kinds, numbers = np.array([kind for kind, _ in rest], np.uint8), np.array([number for _, number in rest], np.int64)
    made = Map.of(kinds, numbers)
    made.check(1 << 32, len(fresh))
    assert made.total == len(rest)
    tiles = Tiles.of(made, Runs.of([fresh], restart=False))
    counted = iter(range(len(fresh)))
    expected = [(Source.NEW, next(counted)) if kind < 0 else (kind, number) for kind, number in blocks]

    def part(first, stop):
        return [
            (kind, 0 if kind == Source.ZEROS else number)
            for kind, number in zip(*(each.tolist() for each in tiles.at(np.arange(first, stop))), strict=True)
        ]

    assert part(0, len(blocks)) == expected
    for first in range(0, len(blocks), 3):
        assert part(first, min(first + 5, len(blocks))) == expected[first : first + 5]
    for source in Source:
        before = tiles.count(source, np.arange(len(blocks) + 1)) if blocks else np.zeros(1)
        assert before.tolist() == [sum(kind == source for kind, _ in expected[:end]) for end in range(len(blocks) + 1)]


@given(st.binary(min_size=500, max_size=2000), st.integers(0, 2000), st.integers(0, 2000))
def test_the_same_content_has_the_same_features_wherever_it_lies(content, first, second):
    def sampled(shift: int, around: bytes) -> set[int]:
        return set(features((around * shift + content).ljust(BLOCK, around), 1)[0].tolist())

    # Only the 31 windows that reach out of the content on either side may differ, and the one that is all filling.
    assert len(sampled(first, b"\1") - sampled(second, b"\2")) <= 63


@pytest.mark.parametrize("rate", [0, 3, 7])
def test_no_feature_reaches_over_the_end_of_a_block(rate):
    data = b"".join(block(name) for name in range(1, 9))
    apart = [features(data[at : at + BLOCK], rate)[0].tolist() for at in range(0, len(data), BLOCK)]
    values, places = features(data, rate)
    together = [sorted(values[places == number].tolist()) for number in range(8)]
    assert together == [sorted(each) for each in apart]
