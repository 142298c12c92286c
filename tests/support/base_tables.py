"""Bases for tests: tables of contents and hints of disks that exist only as hashes, and packing from memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from haulout.frames.base import Base
from haulout.frames.framing import WINDOW_BLOCKS, Framer, Framing, Kind, Span
from haulout.frames.guided import GuidedFramer
from haulout.frames.pack import Guide, pack
from haulout.frames.seektable import seek_table_size
from haulout.frames.toc import Toc
from haulout.oci import Digest, SizedDigest
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from pathlib import Path

FRAMING = Framing.for_level(6)
_NONE = Digest("0" * 64)


def spans_of(hashes, zero=None, base=None, framing=FRAMING):
    """Frame a disk given as hashes; returns the spans, and which blocks are in zero frames."""
    if zero is None:
        zero = np.zeros(len(hashes), dtype=bool)
    framer = Framer(framing) if base is None else GuidedFramer(framing, base)
    spans: list[Span] = []
    marks = []
    for start in range(0, len(hashes), WINDOW_BLOCKS):
        stop = start + WINDOW_BLOCKS
        mark, done = framer.feed(hashes[start:stop], zero[start:stop])
        spans += done
        marks.append(mark)
    return spans + framer.finish(), np.concatenate(marks)


def base_of(hashes, spans, in_zero, crumbs=()):
    """Return the base that a disk framed so is."""
    blocks = np.array([span.blocks for span in spans], np.uint32)
    kinds = np.array([span.kind for span in spans], np.uint8)
    hints = np.ascontiguousarray(hashes[~in_zero], dtype="<u8").tobytes()
    compressed = np.full(len(spans), 20, np.uint32)
    toc = Toc(
        SizedDigest(_NONE, int(blocks.sum()) * 4096),
        20 * len(spans) + seek_table_size(len(spans)),
        SizedDigest(_NONE, len(hints)),
        np.zeros((len(spans), 32), np.uint8),
        compressed,
        blocks,
        kinds,
    )
    return Base(toc, hints, crumbs)


def framed_base(hashes, zero=None, base=None):
    """Frame a disk and return it as a base, with its spans."""
    spans, in_zero = spans_of(hashes, zero, base)
    crumbs = [number for number, span in enumerate(spans) if span.is_crumb]
    return base_of(hashes, spans, in_zero, crumbs), spans


def random_hashes(count, seed=0):
    """Return hints of ``count`` blocks that are all different."""
    return np.random.default_rng(seed).integers(1, 2**63, count, dtype=np.uint64)


def offsets(spans):
    """Return where each span begins, in blocks; one more element: the end."""
    return np.cumsum([0, *(span.blocks for span in spans)]).tolist()


class Sink:
    """Keeps the blob."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


def packed_disk(path: Path, guide: Guide | None = None, level: int = 1, jobs: int = 2):
    """Pack a file; returns blob, table, hints and crumbs."""
    sink = Sink()
    fd = os.open(path, os.O_RDONLY)
    try:
        task = NullProgress().task("", None)
        with pack(fd, sink, level=level, jobs=jobs, task=task, guide=guide) as packed, packed.hints() as hints:
            return bytes(sink.data), packed.toc, hints.read(), packed.crumbs
    finally:
        os.close(fd)


__all__ = [
    "FRAMING",
    "Kind",
    "Sink",
    "base_of",
    "framed_base",
    "offsets",
    "packed_disk",
    "random_hashes",
    "spans_of",
]
