"""The small-frame bundle: what is gathered comes back, checked; what is not a bundle is refused."""

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
from haulout.frames.small_frames import BundleWriter, bundled_frames, read_bundle

BLOCK = 4096


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A disk packed over a base in which every 30th block was another."""
    folder = tmp_path_factory.mktemp("c")
    content = bytearray(os.urandom(600 * BLOCK))
    (folder / "old").write_bytes(content)
    _, toc, hints, none = packed_disk(folder / "old")
    assert none == b"", "without a base there is no bundle"
    for block in range(10, 600, 30):
        content[block * BLOCK : (block + 1) * BLOCK] = bytes([block % 251 + 1]) * BLOCK
    (folder / "new").write_bytes(content)
    _, table, _, bundle = packed_disk(folder / "new", Guide(Base(toc, hints)))
    return bytes(content), table, bundle


def test_every_small_frame_is_what_the_disk_holds(made):
    content, toc, bundle = made
    found = dict(read_bundle(bundle, toc))
    assert len(found) == 20
    assert list(found) == bundled_frames(bundle, toc)
    for frame, plain in found.items():
        start = toc.disk_offsets[frame]
        assert plain == content[start : start + BLOCK]
    assert len(bundle) < 20 * 100, "together they compress better than one by one"


def test_a_bundle_of_another_table_is_refused(made):
    _, toc, bundle = made
    sha256 = bytearray(toc.sha256)
    sha256[32 * bundled_frames(bundle, toc)[5]] ^= 7
    frames: list[int] = []
    with pytest.raises(InvalidFrame, match="not what the table"):
        frames.extend(frame for frame, _ in read_bundle(bundle, replace(toc, sha256=bytes(sha256))))
    assert len(frames) == 5, "those before are right"


@given(st.integers(0, 10**6), st.integers(0, 7), st.integers(0, 10**6), st.binary(max_size=9))
def test_a_damaged_bundle_yields_only_what_is_right(made, at, bit, length, more):
    _, toc, bundle = made
    bad = bytearray(bundle[: length % (len(bundle) + 1)] + more)
    if bad:
        bad[at % len(bad)] ^= 1 << bit
    right = dict(read_bundle(bundle, toc))
    try:
        for frame, plain in read_bundle(bytes(bad), toc):
            assert plain == right.get(frame, plain)
    except InvalidFrame:
        pass


@given(st.binary(max_size=200))
def test_rubbish_is_refused(made, data):
    with pytest.raises(InvalidFrame):
        list(read_bundle(data, made[1]))


def test_a_bundle_has_a_largest_size(monkeypatch):
    monkeypatch.setattr("haulout.frames.small_frames.MAX_BUNDLE_BYTES", 3 << 20)
    gatherer = BundleWriter(FrameCompressor(1))
    for frame in range(1000):
        gatherer.add(frame, random.Random(frame).randbytes(8 * BLOCK))
    assert 1 << 20 < len(gatherer.finish()) < 3 << 20
