"""The index of a published delta: which new blocks it gives, and from which old blocks they are decoded. Pure.

Format: docs/formats/delta.md. The new blocks of a disk, in disk order, are cut into segments. Each is one zstd frame
whose reference (what ``zstd --patch-from`` names) is a list of blocks of the old disk, found by their hints in whatever
file holds it. Segments do not depend on one another. Nothing here is believed: hints find, and the frames made from the
new blocks are hashed by whoever uses them. The limits keep memory and work in proportion to what a delta gives.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt
import zstandard

from haulout.chunked.blocks import BLOCK, Hashes, block_count
from haulout.errors import InvalidDelta
from haulout.oci import Digest, SizedDigest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.chunked.seeds import Numbers

MAX_INDEX_BYTES: Final = 32 * 1024 * 1024
"""Largest index read or written, decoded: enough for a reference of 12 GiB."""
MAX_SEGMENT_BLOCKS: Final = 2048
"""Most new blocks in a segment (8 MiB), which is also the largest window its frame may ask for."""
MAX_REFERENCE_BLOCKS: Final = 8192
"""Most reference blocks of a segment (32 MiB)."""
MAX_REFERENCE_RATIO: Final = 16
"""Most reference blocks for each new block, over all segments: what a delta may make a reader read."""

_MAGIC: Final = b"haudelt1"
_HEADER: Final = struct.Struct("<8sIIIIIIQQ32s32s16s")
_MAX_DISK: Final = 1 << 56
_LEVEL: Final = 19

Columns = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Segment:
    """One zstd frame of the data blob, at bytes ``[start, stop)``."""

    start: int
    stop: int
    blocks: int
    """New blocks it decodes to."""
    reference: int
    """Blocks its reference consists of."""


@dataclass(frozen=True)
class Runs:
    """Ascending numbers, several groups of them, as runs: ``skips`` numbers left out, then ``takes`` taken.

    That they are ascending and disjoint cannot be said wrongly in this form.
    """

    counts: Columns
    """Runs of each group."""
    skips: Columns
    takes: Columns

    @cached_property
    def edges(self) -> Numbers:
        """Where each group begins among the runs; one more: the end."""
        return _sums(self.counts)

    @cached_property
    def totals(self) -> Numbers:
        """Numbers taken by each group."""
        return np.diff(_sums(self.takes)[self.edges])

    def numbers(self, group: int, base: int = 0) -> Numbers:
        """Return the numbers of ``group``, which begins to count at ``base``."""
        part = slice(int(self.edges[group]), int(self.edges[group + 1]))
        takes = self.takes[part].astype(np.int64)
        starts = base + np.cumsum(self.skips[part].astype(np.int64) + takes) - takes
        within = np.arange(int(takes.sum())) - np.repeat(np.cumsum(takes) - takes, takes)
        numbers: Numbers = np.repeat(starts, takes) + within
        return numbers

    @classmethod
    def of(cls, groups: Sequence[Numbers], *, restart: bool) -> Self:
        """Write ascending numbers as runs.

        Args:
            groups: ascending numbers; without ``restart``, also from one group to the next.
            restart: whether each group begins to count at 0.
        """
        counts, skips, takes = [0] * len(groups), [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        base = 0
        for number, group in enumerate(groups):
            if not len(group):
                continue
            cuts = np.flatnonzero(np.diff(group) != 1) + 1
            firsts, lasts = group[np.concatenate([[0], cuts])], group[np.concatenate([cuts - 1, [-1]])]
            skips.append(firsts - np.concatenate([[base], lasts[:-1] + 1]))
            takes.append(lasts + 1 - firsts)
            counts[number] = len(firsts)
            base = 0 if restart else int(group[-1]) + 1
        return cls(
            np.array(counts, np.uint32),
            np.concatenate(skips).astype(np.uint32),
            np.concatenate(takes).astype(np.uint32),
        )


@dataclass(frozen=True)
class DeltaIndex:
    """A validated index. Arrays are not to be written."""

    source: SizedDigest
    """SHA-256 and size of the plain disk whose blocks are the reference."""
    target: SizedDigest
    """SHA-256 and size of the plain disk whose new blocks these are."""
    compressed: Columns
    """Bytes of each segment's frame; together they are the data blob."""
    references: Runs
    """For each segment, the reference blocks it needs, as positions in :attr:`reference_hints`."""
    runs: Runs
    """For each segment, its new blocks, counted along the data frames of the target, as its hints are."""
    reference_hints: Hashes
    """Hints of the reference blocks, in the order of the old disk."""

    def __post_init__(self) -> None:
        self._check_columns()
        self._check_limits()

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, in the order of the data blob and of the target."""
        offsets = _sums(self.compressed)
        rows = zip(
            offsets[:-1].tolist(),
            offsets[1:].tolist(),
            self.runs.totals.tolist(),
            self.references.totals.tolist(),
            strict=True,
        )
        return tuple(Segment(*row) for row in rows)

    @property
    def data_size(self) -> int:
        """Bytes of the data blob."""
        return int(self.compressed.sum(dtype=np.uint64))

    @cached_property
    def new_blocks(self) -> int:
        """Blocks that all segments together give."""
        return int(self.runs.totals.sum())

    @cached_property
    def end(self) -> int:
        """The number after the last new block, which the target must have."""
        return int((self.runs.skips.astype(np.uint64) + self.runs.takes).sum(dtype=np.uint64))

    def reference_of(self, segment: int) -> Numbers:
        """Return the positions in :attr:`reference_hints` of the blocks that make the segment's reference, in order."""
        return self.references.numbers(segment)

    def blocks_of(self, segment: int) -> Numbers:
        """Return which data blocks of the target the segment decodes to, in order."""
        first = int(self.runs.edges[segment])
        skipped = self.runs.skips[:first].astype(np.uint64) + self.runs.takes[:first]
        return self.runs.numbers(segment, int(skipped.sum(dtype=np.uint64)))

    def encode(self) -> bytes:
        """Return the bytes of the index blob. The same index and libzstd give the same bytes."""
        header = _HEADER.pack(
            _MAGIC,
            BLOCK,
            len(self.compressed),
            len(self.references.takes),
            len(self.runs.takes),
            len(self.reference_hints),
            0,
            self.source.size,
            self.target.size,
            self.source.digest.raw,
            self.target.digest.raw,
            bytes(16),
        )
        columns = [
            self.compressed,
            self.references.counts,
            self.runs.counts,
            *(self.references.skips, self.references.takes),
            *(self.runs.skips, self.runs.takes),
        ]
        plain = header + b"".join(column.astype("<u4").tobytes() for column in columns)
        plain += self.reference_hints.astype("<u8").tobytes()
        return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compress(plain)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse and validate the bytes of an index blob.

        Raises:
            InvalidDelta: another format or version, truncated, padded, or against one of the limits.
        """
        plain = _expand(data)
        if len(plain) < _HEADER.size:
            raise InvalidDelta("the delta's index is truncated")
        (magic, block, segments, ranges, runs, hints, zero, source_size, target_size, source, target, reserved) = (
            _HEADER.unpack_from(plain)
        )
        if magic != _MAGIC or block != BLOCK or zero or any(reserved):
            raise InvalidDelta(
                "the delta's index is of an unknown format", hint="it may come from a newer haulout; upgrade this one"
            )
        if len(plain) != _HEADER.size + 12 * segments + 8 * (ranges + runs) + 8 * hints:
            raise InvalidDelta(f"the delta's index has {len(plain)} bytes, which do not hold what it announces")
        at = _HEADER.size

        def column(length: int) -> Columns:
            nonlocal at
            at += 4 * length
            return np.frombuffer(plain, "<u4", length, at - 4 * length)

        compressed, range_counts, run_counts = column(segments), column(segments), column(segments)
        references = Runs(range_counts, column(ranges), column(ranges))
        blocks = Runs(run_counts, column(runs), column(runs))
        return cls(
            SizedDigest(Digest(source.hex()), source_size),
            SizedDigest(Digest(target.hex()), target_size),
            compressed,
            references,
            blocks,
            np.frombuffer(plain, "<u8", hints, at),
        )

    def _check_columns(self) -> None:
        if self.source.size > _MAX_DISK or self.target.size > _MAX_DISK or not len(self.compressed):
            raise InvalidDelta("the delta is between no possible disks, or holds nothing")
        for runs in (self.references, self.runs):
            if int(runs.counts.sum(dtype=np.uint64)) != len(runs.takes) or (runs.takes == 0).any():
                raise InvalidDelta("the delta's index contradicts itself: its runs do not add up")
        if (self.runs.counts == 0).any() or (self.compressed == 0).any():
            raise InvalidDelta("the delta has an empty segment")

    def _check_limits(self) -> None:
        new, old = self.runs.totals, self.references.totals
        if (new > MAX_SEGMENT_BLOCKS).any() or (old > MAX_REFERENCE_BLOCKS).any():
            raise InvalidDelta("the delta has an oversized segment")
        if int(old.sum()) > MAX_REFERENCE_RATIO * int(new.sum()):
            raise InvalidDelta("the delta asks for more old blocks than its new blocks can be worth")
        # A stored frame is never longer than its plain bytes by more than block headers and a frame header.
        if (self.compressed > new * (BLOCK + 64) + 64).any():
            raise InvalidDelta("the delta has a segment of impossible compressed size")
        ends = np.concatenate([[0], np.cumsum(self.references.skips.astype(np.int64) + self.references.takes)])
        if (np.diff(ends[self.references.edges]) > len(self.reference_hints)).any():
            raise InvalidDelta("the delta refers to old blocks that it does not list")
        if len(self.reference_hints) > block_count(self.source.size) or self.end > block_count(self.target.size):
            raise InvalidDelta("the delta refers to blocks that its disks do not have")


def _expand(data: bytes) -> bytes:
    try:
        parameters = zstandard.get_frame_parameters(data)
        size = parameters.content_size
        if size > MAX_INDEX_BYTES or parameters.dict_id:
            raise InvalidDelta("the delta's index does not state a size, or too large a one")
        plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        raise InvalidDelta(f"the delta's index is damaged ({exc})") from exc
    if len(plain) != size:
        raise InvalidDelta("the delta's index is truncated")
    return plain


def _sums(lengths: Columns) -> Numbers:
    return np.concatenate([[0], np.cumsum(lengths.astype(np.int64))])
