"""Crumbs: what is gathered comes back, checked; what is not crumbs is refused."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.base_tables import packed_disk

from haulout.errors import InvalidFrame
from haulout.frames.base import Base
from haulout.frames.codec import FrameCompressor
from haulout.frames.pack import Guide
from haulout.frames.small_frames import CrumbGatherer, crumb_frames, read_crumbs

BLOCK = 4096


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A disk packed over a base in which every 30th block was another."""
    folder = tmp_path_factory.mktemp("c")
    content = bytearray(os.urandom(600 * BLOCK))
    (folder / "old").write_bytes(content)
    _, toc, hints, none = packed_disk(folder / "old")
    assert none == b"", "without a base there are no crumbs"
    for block in range(10, 600, 30):
        content[block * BLOCK : (block + 1) * BLOCK] = bytes([block % 251 + 1]) * BLOCK
    (folder / "new").write_bytes(content)
    _, table, _, crumbs = packed_disk(folder / "new", Guide(Base(toc, hints)))
    return bytes(content), table, crumbs


def test_every_crumb_is_what_the_disk_holds(made):
    content, toc, crumbs = made
    found = dict(read_crumbs(crumbs, toc))
    assert len(found) == 20
    assert list(found) == crumb_frames(crumbs, toc)
    for frame, plain in found.items():
        start = int(toc.disk_offsets[frame])
        assert plain == content[start : start + BLOCK]
    assert len(crumbs) < 20 * 100, "together they compress better than one by one"


def test_crumbs_of_another_table_are_refused(made):
    _, toc, crumbs = made
    sha256 = toc.sha256.copy()
    sha256[crumb_frames(crumbs, toc)[5]] = 7
    frames: list[int] = []
    with pytest.raises(InvalidFrame, match="not what the table"):
        frames.extend(frame for frame, _ in read_crumbs(crumbs, replace(toc, sha256=sha256)))
    assert len(frames) == 5, "those before are right"


@given(st.integers(0, 10**6), st.integers(0, 7), st.integers(0, 10**6), st.binary(max_size=9))
def test_damaged_crumbs_yield_only_what_is_right(made, at, bit, length, more):
    _, toc, crumbs = made
    bad = bytearray(crumbs[: length % (len(crumbs) + 1)] + more)
    if bad:
        bad[at % len(bad)] ^= 1 << bit
    right = dict(read_crumbs(crumbs, toc))
    try:
        for frame, plain in read_crumbs(bytes(bad), toc):
            assert plain == right.get(frame, plain)
    except InvalidFrame:
        pass


@given(st.binary(max_size=200))
def test_rubbish_is_refused(made, data):
    with pytest.raises(InvalidFrame):
        list(read_crumbs(data, made[1]))


def test_there_is_an_end_to_crumbs(monkeypatch):
    monkeypatch.setattr("haulout.frames.small_frames.MAX_CRUMBS_BYTES", 3 << 20)
    gatherer = CrumbGatherer(FrameCompressor(1))
    for frame in range(1000):
        gatherer.add(frame, random.Random(frame).randbytes(8 * BLOCK))
    assert 1 << 20 < len(gatherer.finish()) < 3 << 20
