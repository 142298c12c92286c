"""Deltas for tests: two disks given as bytes, and what is made of them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from haulout.content.memory import MemoryStore
from haulout.frames.blocks import BLOCK, ZERO_HINT, hash_blocks
from haulout.frames.delta.expand import Located, expand
from haulout.frames.delta.make import make_delta
from haulout.frames.delta.map import Source
from haulout.frames.pack import pack
from haulout.frames.seeds import SeedIndex, Wanted, scan
from haulout.oci import Digest, SizedDigest, mediatype
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.frames.arrays import Hashes
    from haulout.frames.delta.index import DeltaIndex
    from haulout.frames.toc import Toc
    from haulout.oci import Descriptor

TASK = NullProgress().task("", None)


class Sink:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


@contextmanager
def opened(path: Path, content: bytes) -> Iterator[int]:
    """Write a file and open it."""
    path.write_bytes(content)
    fd = os.open(path, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


@dataclass(frozen=True)
class Delta:
    """A delta in memory, the table and hints of its new disk, and the hints of its reference."""

    index: DeltaIndex
    data: bytes
    toc: Toc
    hints: Hashes
    reference_hints: Hashes

    def located(self, seeds: SeedIndex) -> Located:
        """Look for the reference in seeds that were scanned for it."""
        return Located.of(self.index, self.reference_hints, seeds)

    def store(self, data: bytes | None = None) -> tuple[MemoryStore, Descriptor]:
        """Put the data blob, or another in its place, into a store."""
        store = MemoryStore()
        with store.ingest() as sink:
            sink.write(self.data if data is None else data)
            return store, sink.commit(mediatype.DELTA_DATA)

    def expected(self, segments: list[int] | None = None) -> Hashes:
        """The hints of the blocks that some segments, or all, give."""
        numbers = range(len(self.index.segments)) if segments is None else segments
        return np.concatenate([np.empty(0, np.uint64), *(self.hints[self.index.blocks_of(n)] for n in numbers)])


def sized(content: bytes) -> SizedDigest:
    """Describe a plain disk."""
    return SizedDigest(Digest.of(content), len(content))


def toc_of(folder: Path, new: bytes) -> tuple[Toc, Hashes]:
    """Pack a disk; return its table of contents and its hints."""
    with (
        opened(folder / "packed", new) as fd,
        pack(fd, Sink(), level=1, jobs=1, task=TASK) as packed,
        packed.hints() as hints,
    ):
        return packed.toc, np.frombuffer(hints.read(), "<u8")


def delta_between(folder: Path, old: bytes, new: bytes, *, level: int = 1, jobs: int = 2) -> Delta | None:
    """Make a delta; None where none is needed."""
    toc, hints = toc_of(folder, new)
    sink = Sink()
    with opened(folder / "old", old) as old_fd, opened(folder / "new", new) as new_fd:
        made = make_delta(old_fd, new_fd, sized(old), toc, sink, level=level, jobs=jobs, progress=NullProgress())
    if made is None:
        return None
    return Delta(made.index, bytes(sink.data), toc, hints, np.frombuffer(made.hints, "<u8"))


def expanded(
    folder: Path, delta: Delta, held: bytes, *, data: bytes | None = None, segments: list[int] | None = None
) -> tuple[list[int], bytes]:
    """Expand a delta with a file that holds ``held``; return the segments used and what came out."""
    store, blob = delta.store(data)
    with opened(folder / "held", held) as fd, opened(folder / "out", b"") as out:
        located = delta.located(SeedIndex([scan(fd, Wanted(delta.reference_hints), TASK)]))
        usable = located.usable() if segments is None else segments
        written = expand(delta.index, usable, store, blob, located.pieces, [fd], out, TASK, jobs=2)
        got = os.pread(out, os.fstat(out).st_size, 0)
    # A segment that was left out leaves a hole.
    assert written <= len(got)
    return usable, got


def rebuilt(toc: Toc, hints: Hashes, *seeds: bytes) -> bytes:
    """Put a disk together from the blocks of ``seeds``, by hints alone; KeyError where one is missing."""
    blocks = {int(ZERO_HINT): bytes(BLOCK)}
    for seed in seeds:
        for at, hint in zip(range(0, len(seed), BLOCK), hash_blocks(memoryview(seed)).tolist(), strict=True):
            blocks[hint] = seed[at : at + BLOCK].ljust(BLOCK, b"\0")
    disk = bytearray(-(-toc.disk.size // BLOCK) * BLOCK)
    place = 0
    for frame in range(len(toc)):
        offset = toc.disk_offsets[frame]
        if toc.kinds[frame]:
            continue
        for number in range(toc.blocks[frame]):
            disk[offset + number * BLOCK : offset + (number + 1) * BLOCK] = blocks[int(hints[place])]
            place += 1
    return bytes(disk[: toc.disk.size])


def laid_out(delta: Delta, old: bytes, fresh: bytes) -> bytes:
    """Put a disk together by the map of a delta alone, from the old disk and the delta's new blocks."""
    data = b""
    for part in (delta.index.tiles.at(np.arange(number, number + 1)) for number in range(delta.index.data_blocks)):
        (source,), (number,) = (each.tolist() for each in part)
        held = {Source.OLD: old, Source.ZEROS: b"", Source.NEW: fresh}[source]
        data += held[number * BLOCK : (number + 1) * BLOCK].ljust(BLOCK, b"\0")
    disk = b""
    for blocks, kind in zip(delta.toc.blocks.tolist(), delta.toc.kinds, strict=True):
        disk += bytes(blocks * BLOCK) if kind else data[: blocks * BLOCK]
        data = data if kind else data[blocks * BLOCK :]
    assert not data
    return disk[: delta.toc.disk.size]
