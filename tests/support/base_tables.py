"""Bases for tests: tables of contents and hints of disks that exist only as hashes, and packing from memory."""

from __future__ import annotations

import os
from array import array
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
        hints = array("Q", np.asarray(hashes[start:stop], np.uint64).tobytes())
        mark, done = framer.feed(hints, zero[start:stop].astype(np.bool_).tobytes())
        spans += done
        marks.append(np.frombuffer(mark, np.bool_))
    return spans + framer.finish(), np.concatenate(marks)


def base_of(hashes, spans, in_zero, small=()):
    """Return the base that a disk framed so is."""
    blocks = [span.blocks for span in spans]
    hints = np.ascontiguousarray(hashes[~in_zero], dtype="<u8").tobytes()
    toc = Toc(
        SizedDigest(_NONE, sum(blocks) * 4096),
        20 * len(spans) + seek_table_size(len(spans)),
        SizedDigest(_NONE, len(hints)),
        bytes(32 * len(spans)),
        array("I", [20] * len(spans)),
        array("I", blocks),
        bytes(span.kind for span in spans),
    )
    return Base(toc, hints, small)


def framed_base(hashes, zero=None, base=None):
    """Frame a disk and return it as a base, with its spans."""
    spans, in_zero = spans_of(hashes, zero, base)
    small = [number for number, span in enumerate(spans) if span.is_small]
    return base_of(hashes, spans, in_zero, small), spans


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
    """Pack a file; returns blob, table, hints and small-frame bundle."""
    sink = Sink()
    fd = os.open(path, os.O_RDONLY)
    try:
        task = NullProgress().task("", None)
        with pack(fd, sink, level=level, jobs=jobs, task=task, guide=guide) as packed, packed.hints() as hints:
            return bytes(sink.data), packed.toc, hints.read(), packed.small_frames
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
