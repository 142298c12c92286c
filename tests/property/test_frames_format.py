"""Properties of frames, seek table and table of contents."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from array import array
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.seek_tables import decode_seek_table

from haulout.errors import ContentError, InvalidFrame, InvalidToc
from haulout.frames.blocks import BLOCK, hash_blocks, zero_blocks
from haulout.frames.codec import FrameDecoder, zero_frame
from haulout.frames.framing import MAX_DATA_BLOCKS, MAX_ZERO_BLOCKS, WINDOW_BLOCKS, Framer, Framing, Kind
from haulout.frames.pack import pack
from haulout.frames.seektable import encode_seek_table
from haulout.frames.toc import Toc
from haulout.progress import NullProgress

TASK = NullProgress().task("", None)


class Sink:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


def packed(path, jobs=2, level=1):
    sink = Sink()
    fd = os.open(path, os.O_RDONLY)
    try:
        with pack(fd, sink, level=level, jobs=jobs, task=TASK) as result:
            return bytes(sink.data), result.toc
    finally:
        os.close(fd)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 700)), min_size=1, max_size=12), st.integers(0, 2**32))
def test_spans_tile_the_disk_within_their_limits(runs, seed):
    random = np.random.default_rng(seed)
    zero = np.concatenate([np.full(length, is_zero) for is_zero, length in runs])
    hashes = random.integers(0, 2**63, len(zero), dtype=np.uint64)
    framing = Framing.for_level(3)
    framer = Framer(framing)
    spans = []
    marked = []
    for start in range(0, len(zero), WINDOW_BLOCKS):
        window = slice(start, start + WINDOW_BLOCKS)
        in_zero, done = framer.feed(array("Q", hashes[window].tobytes()), zero[window].tobytes())
        spans += done
        marked.append(np.frombuffer(in_zero, np.bool_))
    spans += framer.finish()
    assert sum(span.blocks for span in spans) == len(zero)
    kinds = np.concatenate([np.full(span.blocks, span.kind == Kind.ZERO) for span in spans])
    assert (kinds == np.concatenate(marked)).all(), "hints and frames agree on what is data"
    assert not (kinds & ~zero).any(), "a zero frame never covers data"
    for span in spans:
        assert 0 < span.blocks <= (MAX_ZERO_BLOCKS if span.kind is Kind.ZERO else min(MAX_DATA_BLOCKS, framing.most))


@given(st.integers(1, 1 << 22))
@settings(max_examples=30)
def test_a_zero_frame_is_zeros_to_the_library(size):
    assert zstandard.ZstdDecompressor().decompress(zero_frame(size)) == bytes(size)


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
@pytest.mark.parametrize("size", [1, 4095, 4096, 131072, 131073, 64 << 20])
def test_a_zero_frame_is_zeros_to_the_real_zstd(size):
    plain = subprocess.run(["zstd", "-dc"], input=zero_frame(size), capture_output=True, check=True).stdout
    assert plain == bytes(size)


def test_the_same_content_makes_the_same_blob_however_it_is_stored_or_packed(tmp_path):
    data = hashlib.shake_128(b"x").digest(3 << 20)
    sparse, full = tmp_path / "sparse", tmp_path / "full"
    with sparse.open("wb") as file:
        file.write(data)
        file.seek(20 << 20)
        file.write(data[:100_000])
    full.write_bytes(sparse.read_bytes())
    assert packed(sparse, 1)[0] == packed(full, 4)[0]
    assert packed(sparse, 4)[1].encode() == packed(full, 1)[1].encode()


@given(st.binary(min_size=1, max_size=60_000), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_packed_disk_decodes_to_itself(tmp_path_factory, data, holes):
    path = tmp_path_factory.mktemp("p") / "d"
    path.write_bytes(data + bytes(holes * 70_001) + data[:777])
    blob, toc = packed(path)
    decoder = zstandard.ZstdDecompressor()
    offsets = toc.blob_offsets.tolist()
    plain = b"".join(decoder.decompress(blob[a:b]) for a, b in pairwise(offsets))
    assert plain == path.read_bytes()
    assert Toc.decode(toc.encode()).encode() == toc.encode()
    compressed, sizes = decode_seek_table(blob[offsets[-1] :])
    assert compressed == toc.compressed.tolist()
    assert sizes == [toc.plain_size(frame) for frame in range(len(toc))]


@pytest.fixture(scope="module")
def small_toc(tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "d"
    path.write_bytes(os.urandom(BLOCK * 3 + 5) + bytes(BLOCK * 40) + b"tail")
    return packed(path)[1].encode()


def test_every_flipped_bit_of_a_table_is_refused_or_says_something_else(small_toc):
    for at in range(len(small_toc)):
        for bit in range(8):
            bad = bytearray(small_toc)
            bad[at] ^= 1 << bit
            with suppress(InvalidToc):
                assert Toc.decode(bytes(bad)).encode() == bytes(bad) != small_toc


@given(st.integers(0, 400), st.binary(max_size=40))
def test_a_cut_or_padded_table_is_refused(small_toc, length, more):
    changed = small_toc[:length] + more
    if changed != small_toc:
        with pytest.raises(InvalidToc):
            Toc.decode(changed[: len(small_toc) - 1])


@given(st.binary(max_size=300))
def test_nothing_but_declared_errors_leaves_the_parsers(data):
    for parse in (Toc.decode, decode_seek_table):
        with pytest.raises(ContentError):
            parse(data)
    with pytest.raises(InvalidFrame):
        FrameDecoder().decode(data, 4096, bytes(32), "frame 0")


def test_a_frame_must_keep_its_promise():
    plain = os.urandom(5000)
    good = zstandard.ZstdCompressor().compress(plain)
    digest = hashlib.sha256(plain).digest()
    decoder = FrameDecoder()
    assert decoder.decode(good, 5000, digest, "f") == plain
    streamed = zstandard.ZstdCompressor().compressobj()
    unsized = streamed.compress(plain) + streamed.flush()
    for bad, size, want in (
        (good, 4999, digest),
        (good, 5000, bytes(32)),
        (good[:-1], 5000, digest),
        (good + b"\0", 5000, digest),
        (good + good, 5000, digest),
        (unsized, 5000, digest),
        (b"", 5000, digest),
    ):
        with pytest.raises(InvalidFrame):
            decoder.decode(bad, size, want, "f")


@given(st.lists(st.integers(1, 2**32 - 1), max_size=20))
def test_seek_tables_round_trip(sizes):
    column = array("I", sizes)
    assert decode_seek_table(encode_seek_table(column, column)) == (sizes, sizes)


def test_only_real_zeros_are_zero():
    data = bytearray(BLOCK * 4)
    data[BLOCK + 7] = 1
    view = memoryview(bytes(data[:-100]))
    assert zero_blocks(view, hash_blocks(view)) == bytes([1, 0, 1, 1])
