"""The vectors of docs/formats are made anew and compared; a reader that knows only the documents reads them back."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import xxhash
import zstandard

from haulout.chunked.pack import pack
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
