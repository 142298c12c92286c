"""Expanding other people's blobs: what was packed comes out, damage does not, and a bomb stops early."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.servers import needs

from haulout.content.expand import STEP, expand, sniff
from haulout.errors import ContentError, InvalidFrame

MIB = 1 << 20
PACK = {
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}
every_packing = pytest.mark.parametrize("how", PACK)


def plain(data: bytes, how: str | None, step: int = STEP) -> bytes:
    """Expand ``data``, fed in pieces of ``step``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["haulout.content.expand"], "STEP", step)
        return b"".join(expand(io.BytesIO(data), how))


members = st.lists(
    st.one_of(st.binary(max_size=3000), st.builds(lambda n, c: bytes([c]) * n, st.integers(0, 200_000), st.integers(0, 255))),
    min_size=1,
    max_size=4,
)  # fmt: skip


@every_packing
@settings(deadline=None, max_examples=40)
@given(members, st.integers(1, 5000))
def test_what_was_packed_comes_out_however_it_is_fed(how, parts, step):
    packed = b"".join(PACK[how](part) for part in parts)
    assert sniff(packed[:16]) == how
    assert plain(packed, how, step) == b"".join(parts)


@every_packing
def test_every_truncation_is_noticed(how):
    packed = PACK[how](os.urandom(3000)) + PACK[how](b"second" * 100)
    first = len(packed) - len(PACK[how](b"second" * 100))
    for cut in range(1, len(packed)):
        if cut == first:
            continue  # a whole member by itself: only the blob's digest can tell
        with pytest.raises(InvalidFrame, match=f"does not decompress as {how}"):
            plain(packed[:cut], how)


@every_packing
@pytest.mark.parametrize("tail", [b"x", b"garbage behind the end" * 50])
def test_what_follows_the_end_is_noticed(how, tail):
    with pytest.raises(InvalidFrame):
        plain(PACK[how](b"content" * 1000) + tail, how)


@pytest.mark.parametrize("how", ["gz", "xz", "bz2"])
def test_a_flipped_bit_is_noticed_where_the_format_has_a_checksum(how):
    packed = PACK[how](os.urandom(2000))
    for at in range(30, len(packed) - 30, 37):
        with pytest.raises(InvalidFrame):
            plain(packed[:at] + bytes([packed[at] ^ 4]) + packed[at + 1 :], how)


def test_zeros_that_pad_an_xz_stream_are_no_error():
    packed = lzma.compress(b"one")
    assert plain(packed + bytes(8) + lzma.compress(b"two") + bytes(4), "xz") == b"onetwo"


def test_skippable_frames_are_skipped_wherever_they_are():
    skippable = b"\x5e\x2a\x4d\x18" + (100).to_bytes(4, "little") + bytes(100)
    packed = zstandard.ZstdCompressor().compress(b"content")
    assert sniff(skippable) == "zst"
    for step in (1, 7, 4096):
        assert plain(skippable + packed + skippable + packed + skippable, "zst", step) == b"content" * 2


@pytest.mark.parametrize("log", [28, 31])
def test_a_window_that_needs_too_much_memory_is_refused_with_a_way_out(log):
    parameters = zstandard.ZstdCompressionParameters(window_log=log, compression_level=1, hash_log=6, chain_log=6)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(InvalidFrame) as refused:
        plain(compressor.compress(b"\x01" * MIB) + compressor.flush(), "zst")
    assert "--long=31" in str(refused.value.hint)


def test_an_xz_dictionary_that_needs_too_much_memory_is_refused_with_a_way_out():
    small = {"mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "nice_len": 3, "depth": 1}
    packed = bytearray(lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, **small}]))
    # The size of the dictionary is one byte of the block header (xz file format, section 5.3.1): 35 is 768 MiB.
    at = packed.index(b"\x21\x01") + 2
    packed[at] = 35
    header = packed[12 : 12 + 4 * packed[12]]
    packed[12 + len(header) : 16 + len(header)] = zlib.crc32(header).to_bytes(4, "little")
    with pytest.raises(InvalidFrame, match="Memory usage limit") as refused:
        plain(bytes(packed), "xz")
    assert "xz -d" in str(refused.value.hint)


def test_damage_is_not_a_matter_of_memory():
    with pytest.raises(InvalidFrame) as damaged:
        plain(PACK["zst"](b"content")[:-2], "zst")
    assert damaged.value.hint is None


@pytest.mark.tools
@needs("xz", "zstd")
def test_the_highest_presets_of_the_real_tools_are_read():
    content = os.urandom(70_000) * 3
    for how, command in (("xz", ["xz", "-9e"]), ("zst", ["zstd", "-q", "--ultra", "-22"])):
        packed = subprocess.run([*command, "-c"], input=content, capture_output=True, check=True).stdout
        assert plain(packed, how) == content


@pytest.mark.parametrize("how", ["gz", "xz", "bz2", None])
def test_pieces_are_bounded(how):
    content = bytes(8 * MIB)
    packed = content if how is None else PACK[how](content)
    sizes = [len(piece) for piece in expand(io.BytesIO(packed), how)]
    assert max(sizes) <= STEP
    assert sum(sizes) == len(content)


def test_pieces_of_zstd_are_bounded_too():
    packed = zstandard.ZstdCompressor().compress(bytes(256 * MIB))
    assert max(len(piece) for piece in expand(io.BytesIO(packed), "zst")) <= 64 * MIB


@pytest.mark.parametrize(("head", "name"), [(b"PK\x03\x04rest", "zip"), (b"\x04\x22\x4d\x18rest", "lz4")])
def test_what_is_not_read_is_named(head, name):
    with pytest.raises(ContentError, match=name):
        sniff(head)


@given(st.binary(max_size=16).filter(lambda head: not head.startswith((b"PK", b"\x04\x22"))))
def test_anything_else_is_plain(head):
    found = sniff(head)
    assert found is None or head[:2] in {b"\x1f\x8b", b"BZ"} or len(head) >= 4
