"""The vectors of docs/formats are made anew and compared; a reader that knows only the documents reads them back."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import xxhash
import zstandard
from tests.support.deltas import delta_between, expanded, laid_out, rebuilt

from haulout.frames.delta.index import DeltaIndex
from haulout.frames.pack import pack
from haulout.progress import NullProgress

VECTORS = Path(__file__).parents[2] / "docs/formats/vectors"
BLOCK = 4096


def vector_disk() -> bytes:
    """The disk of the vectors: blocks of SHAKE-128 output, zeros, half a block at the end."""

    def data(name: str, blocks: int) -> bytes:
        return b"".join(hashlib.shake_128(f"{name} {n}".encode()).digest(64) * 64 for n in range(blocks))

    return data("a", 300) + bytes(40 * BLOCK) + data("b", 3) + bytes(5 * BLOCK) + data("c", 20) + b"end" * 700


class Sink:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


def make(tmp_path: Path) -> tuple[bytes, bytes, bytes]:
    (tmp_path / "disk").write_bytes(vector_disk())
    fd = os.open(tmp_path / "disk", os.O_RDONLY)
    sink = Sink()
    try:
        with pack(fd, sink, level=3, jobs=1, task=NullProgress().task("", None)) as packed, packed.hints() as hints:
            return bytes(sink.data), packed.toc.encode(), hints.read()
    finally:
        os.close(fd)


def test_the_vectors_are_what_packing_makes(tmp_path):
    blob, toc, hints = make(tmp_path)
    if os.environ.get("HAULOUT_UPDATE_GOLDEN"):
        (VECTORS / "toc.hex").write_text(toc.hex("\n", 32) + "\n")
        (VECTORS / "hints.hex").write_text(hints.hex("\n", 32) + "\n")
        made = {"zstd": ".".join(map(str, zstandard.ZSTD_VERSION)), "blob": hashlib.sha256(blob).hexdigest()}
        (VECTORS / "made.json").write_text(json.dumps(made, indent=2) + "\n")
    golden = bytes.fromhex((VECTORS / "toc.hex").read_text())
    assert hints == bytes.fromhex((VECTORS / "hints.hex").read_text())
    frames = int.from_bytes(golden[12:16], "little")
    compressed = slice(128 + 32 * frames, 128 + 36 * frames)
    # Compressed sizes belong to one version of the library; everything else is fixed.
    assert toc[: compressed.start][:24] == golden[: compressed.start][:24]
    assert toc[32 : compressed.start] == golden[32 : compressed.start]
    assert toc[compressed.stop :] == golden[compressed.stop :]
    made = json.loads((VECTORS / "made.json").read_text())
    if made["zstd"] == ".".join(map(str, zstandard.ZSTD_VERSION)):
        assert (toc, hashlib.sha256(blob).hexdigest()) == (golden, made["blob"])


def test_a_reader_that_knows_only_the_documents(tmp_path):
    blob, toc, hints = make(tmp_path)
    disk = vector_disk()
    frames = int.from_bytes(toc[12:16], "little")
    assert toc[:8] == b"haultoc1"
    assert len(toc) == 128 + 41 * frames
    assert toc[32:64] == hashlib.sha256(disk).digest()
    at = 128 + 32 * frames
    position = offset = 0
    hinted = []
    for frame in range(frames):
        size = int.from_bytes(toc[at + 4 * frame :][:4], "little")
        blocks = int.from_bytes(toc[at + 4 * (frames + frame) :][:4], "little")
        kind = toc[at + 8 * frames + frame]
        plain = disk[offset : offset + blocks * BLOCK]
        assert zstandard.ZstdDecompressor().decompress(blob[position : position + size]) == plain
        digest = toc[128 + 32 * frame :][:32]
        assert digest == (bytes(32) if kind else hashlib.sha256(plain).digest())
        if not kind:
            starts = range(0, len(plain), BLOCK)
            hinted += [xxhash.xxh3_64_intdigest(plain[at_ : at_ + BLOCK].ljust(BLOCK, b"\0")) for at_ in starts]
        position += size
        offset += blocks * BLOCK
    assert position + 17 + 8 * frames == len(blob) == int.from_bytes(toc[24:32], "little")
    assert hints == b"".join(hint.to_bytes(8, "little") for hint in hinted)


def vector_next() -> bytes:
    """The next version of the vectors' disk: small changes, something new, something moved, another end."""
    data = bytearray(vector_disk())
    for place in range(10, 60):
        data[place * BLOCK + 7] ^= 0xFF
    data[200 * BLOCK : 203 * BLOCK] = data[20 * BLOCK + 1 : 23 * BLOCK + 1]
    fresh = b"".join(hashlib.shake_128(f"d {n}".encode()).digest(64) * 64 for n in range(20))
    return bytes(data) + fresh + b"another end"


def test_the_vector_of_a_delta_is_what_making_makes_and_gives_the_next_disk(tmp_path):
    old, new = vector_disk(), vector_next()
    delta = delta_between(tmp_path, old, new, level=9)
    assert delta is not None
    version = ".".join(map(str, zstandard.ZSTD_VERSION))
    made = json.loads((VECTORS / "made.json").read_text())
    if os.environ.get("HAULOUT_UPDATE_GOLDEN"):
        (VECTORS / "delta-index.hex").write_text(delta.index.encode().hex("\n", 32) + "\n")
        (VECTORS / "delta-data.hex").write_text(delta.data.hex("\n", 32) + "\n")
        (VECTORS / "delta-hints.hex").write_text(delta.reference_hints.tobytes().hex("\n", 32) + "\n")
    index_blob = bytes.fromhex((VECTORS / "delta-index.hex").read_text())
    data_blob = bytes.fromhex((VECTORS / "delta-data.hex").read_text())
    index = DeltaIndex.decode(index_blob)
    # Compressed bytes belong to one version of the library; which blocks, and from which, does not.
    assert [index.blocks_of(n).tolist() for n in range(len(index.segments))] == [
        delta.index.blocks_of(n).tolist() for n in range(len(delta.index.segments))
    ]
    assert index.reference.tolist() == delta.index.reference.tolist()
    assert bytes.fromhex((VECTORS / "delta-hints.hex").read_text()) == delta.reference_hints.tobytes()
    if made["zstd"] == version:
        assert (delta.index.encode(), delta.data) == (index_blob, data_blob)
    usable, out = expanded(tmp_path, replace(delta, index=index, data=data_blob), old)
    assert usable == list(range(len(index.segments)))
    assert rebuilt(delta.toc, delta.hints, old, out) == laid_out(delta, old, out) == new


def test_a_reader_of_deltas_that_knows_only_the_documents():
    old, new = vector_disk(), vector_next()
    plain = zstandard.ZstdDecompressor().decompress(bytes.fromhex((VECTORS / "delta-index.hex").read_text()))
    data = bytes.fromhex((VECTORS / "delta-data.hex").read_text())
    (
        magic,
        block,
        segments,
        ranges,
        runs,
        parts,
        pieces,
        zero,
        nought,
        old_size,
        new_size,
        old_digest,
        new_digest,
        nil,
    ) = struct.unpack_from("<8s8I2Q32s32s8s", plain)
    assert (magic, block, zero, nought, nil) == (b"haudelt2", BLOCK, 0, 0, bytes(8))
    assert (old_size, old_digest) == (len(old), hashlib.sha256(old).digest())
    assert (new_size, new_digest) == (len(new), hashlib.sha256(new).digest())
    assert len(plain) == 128 + 12 * segments + 8 * (ranges + runs + parts) + 9 * pieces
    words = list(struct.unpack_from(f"<{3 * segments + 2 * (ranges + runs + parts + pieces)}I", plain, 128))
    sources = plain[128 + 4 * len(words) :]

    def take(count):
        taken, words[:count] = words[:count], []
        return taken

    sizes, range_counts, run_counts = take(segments), take(segments), take(segments)
    range_skips, range_takes, run_skips, run_takes = take(ranges), take(ranges), take(runs), take(runs)
    part_skips, part_takes, counts, leaps = take(parts), take(parts), take(pieces), take(pieces)
    numbers: list[int] = []
    at = 0
    for skip, length in zip(part_skips, part_takes, strict=True):
        numbers += range(at + skip, at + skip + length)
        at += skip + length

    def blocks_of(disk):
        for at in range(0, len(disk), BLOCK):
            whole = disk[at : at + BLOCK].ljust(BLOCK, b"\0")
            yield xxhash.xxh3_64_intdigest(whole), whole

    numbered = [each for _, each in blocks_of(old)]
    hints = [name for name, _ in blocks_of(old)]
    named = bytes.fromhex((VECTORS / "delta-hints.hex").read_text())
    assert list(struct.unpack(f"<{len(numbers)}Q", named)) == [hints[number] for number in numbers]
    fresh = b""
    places: list[int] = []
    position = place = 0
    for segment in range(segments):
        reference, at = b"", 0
        for _ in range(range_counts[segment]):
            at += range_skips.pop(0)
            length = range_takes.pop(0)
            reference += b"".join(numbered[number] for number in numbers[at : at + length])
            at += length
        for _ in range(run_counts[segment]):
            place += run_skips.pop(0)
            length = run_takes.pop(0)
            places += range(place, place + length)
            place += length
        dictionary = zstandard.ZstdCompressionDict(reference, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        frame = data[position : position + sizes[segment]]
        fresh += zstandard.ZstdDecompressor(dict_data=dictionary).decompress(frame)
        position += sizes[segment]
    assert position == len(data)
    assert len(fresh) == BLOCK * len(places)
    # The disk has one zero frame of 40 blocks, which has no hints; all other blocks are counted.
    counted = [each for number, each in enumerate(blocks_of(new)) if not 300 <= number < 340]
    assert [counted[n][1] for n in places] == [fresh[at : at + BLOCK] for at in range(0, len(fresh), BLOCK)]
    others = [n for n in range(len(counted)) if n not in places]
    ends = [0, 0, 0]
    for source, count, leap in zip(sources, counts, leaps, strict=True):
        start = (ends[source] + leap) % 2**32
        ends[source] = start + count
        for number in range(start, start + count):
            held = (numbered[number:], [bytes(BLOCK)], [fresh[number * BLOCK :][:BLOCK]])[source][0]
            assert counted[others.pop(0)][1] == held
    assert not others
