"""The index of a published delta: which new blocks it gives, from which old ones, and where all others are. Pure.

Format: docs/formats/delta.md. The new blocks of a disk, in disk order, are cut into segments. Each is one zstd frame
whose reference (what ``zstd --patch-from`` names) is a list of blocks of the old disk: their numbers find them in the
old disk as it was published, their hints in any other file. Segments do not depend on one another. Nothing here is
believed: the frames made from the blocks are hashed. The limits keep memory and work in proportion to what a delta
gives.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

import zstandard

from haulout.errors import InvalidDelta
from haulout.extras import np
from haulout.frames.blocks import BLOCK, HINT_BYTES, block_count
from haulout.frames.delta.map import Map, Tiles
from haulout.frames.delta.runs import Runs, spread, sums
from haulout.oci import Digest, SizedDigest

if TYPE_CHECKING:
    from haulout.frames.arrays import Columns, Numbers

MAX_INDEX_BYTES: Final = 16 * 1024 * 1024
"""Largest index read or written, decoded: enough for a million and a half runs."""
MAX_HINTS_BYTES: Final = 32 * 1024 * 1024
"""Largest blob of hints: those of a reference of 16 GiB."""
MAX_DISK: Final = 1 << 44
"""Largest disk a delta starts from or leads to: 16 TiB, whose blocks four bytes can number."""
MAX_SEGMENT_BLOCKS: Final = 2048
"""Most new blocks in a segment (8 MiB), which is also the largest window its frame may ask for."""
MAX_REFERENCE_BLOCKS: Final = 8192
"""Most reference blocks of a segment (32 MiB)."""
MAX_REFERENCE_RATIO: Final = 16
"""Most reference blocks for each new block, over all segments: what a delta may make a reader read."""

_MAGIC: Final = b"haudelt2"
_HEADER: Final = struct.Struct("<8sIIIIIIIIQQ32s32s8s")
_LEVEL: Final = 19


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
class DeltaIndex:
    """A validated index. Arrays are not to be written."""

    source: SizedDigest
    """SHA-256 and size of the plain disk whose blocks are the reference."""
    target: SizedDigest
    """SHA-256 and size of the plain disk whose new blocks these are."""
    compressed: Columns
    """Bytes of each segment's frame; together they are the data blob."""
    references: Runs
    """For each segment, the reference blocks it needs, as positions in :attr:`reference`."""
    runs: Runs
    """For each segment, its new blocks, counted along the data frames of the target, as its hints are."""
    old: Runs
    """One group: which blocks of the old disk, by their numbers (offset / 4096), all references are made of."""
    map: Map
    """Where the other data blocks of the target are."""

    def __post_init__(self) -> None:
        self._check_columns()
        self._check_limits()

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, in the order of the data blob and of the target."""
        offsets = sums(self.compressed)
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
        return self.runs.total

    @property
    def data_blocks(self) -> int:
        """Blocks that the data frames of the target must have."""
        return self.new_blocks + self.map.total

    @cached_property
    def reference(self) -> Numbers:
        """The numbers in the old disk of the blocks that all references are made of, ascending."""
        return self.old.numbers(0)

    @cached_property
    def tiles(self) -> Tiles:
        """Where every data block of the target is."""
        return Tiles.of(self.map, self.runs)

    @cached_property
    def segment_edges(self) -> Numbers:
        """The first new block of each segment, counted along all of them; one more: the end."""
        return np.concatenate([[0], np.cumsum(self.runs.totals)])

    def reference_of(self, segment: int) -> Numbers:
        """Return the positions in :attr:`reference` of the blocks that make the segment's reference, in order."""
        return self.references.numbers(segment)

    def blocks_of(self, segment: int) -> Numbers:
        """Return which data blocks of the target the segment decodes to, in order."""
        runs = slice(int(self.runs.edges[segment]), int(self.runs.edges[segment + 1]))
        return spread(self.runs.starts[runs], self.runs.takes[runs].astype(np.int64))

    def encode(self) -> bytes:
        """Return the bytes of the index blob. The same index and libzstd give the same bytes."""
        header = _HEADER.pack(
            _MAGIC,
            BLOCK,
            len(self.compressed),
            len(self.references.takes),
            len(self.runs.takes),
            len(self.old.takes),
            len(self.map.counts),
            0,
            0,
            self.source.size,
            self.target.size,
            self.source.digest.raw,
            self.target.digest.raw,
            bytes(8),
        )
        columns = [
            self.compressed,
            self.references.counts,
            self.runs.counts,
            *(self.references.skips, self.references.takes),
            *(self.runs.skips, self.runs.takes),
            *(self.old.skips, self.old.takes),
            *(self.map.counts, self.map.leaps),
        ]
        plain = header + b"".join(column.astype("<u4").tobytes() for column in columns) + self.map.sources.tobytes()
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
        (
            magic,
            block,
            segments,
            ranges,
            runs,
            parts,
            pieces,
            *zeros,
            source_size,
            target_size,
            source,
            target,
            reserved,
        ) = _HEADER.unpack_from(plain)
        if magic != _MAGIC or block != BLOCK or any(zeros) or any(reserved):
            raise InvalidDelta(
                "the delta's index is of an unknown format", hint="it may come from a newer haulout; upgrade this one"
            )
        if len(plain) != _HEADER.size + 12 * segments + 8 * (ranges + runs + parts) + 9 * pieces:
            raise InvalidDelta(f"the delta's index has {len(plain)} bytes, which do not hold what it announces")
        at = _HEADER.size

        def column(length: int) -> Columns:
            nonlocal at
            at += 4 * length
            return np.frombuffer(plain, "<u4", length, at - 4 * length)

        compressed, range_counts, run_counts = column(segments), column(segments), column(segments)
        references = Runs(range_counts, column(ranges), column(ranges))
        blocks = Runs(run_counts, column(runs), column(runs))
        old = Runs(np.array([parts], np.uint32), column(parts), column(parts))
        counts, leaps = column(pieces), column(pieces)
        return cls(
            SizedDigest(Digest(source.hex()), source_size),
            SizedDigest(Digest(target.hex()), target_size),
            compressed,
            references,
            blocks,
            old,
            Map(counts, leaps, np.frombuffer(plain, np.uint8, pieces, at)),
        )

    def _check_columns(self) -> None:
        if self.source.size > MAX_DISK or self.target.size > MAX_DISK or not len(self.compressed):
            raise InvalidDelta("invalid delta: impossible disk size, or no blocks")
        for runs in (self.references, self.runs, self.old):
            if int(runs.counts.sum(dtype=np.uint64)) != len(runs.takes) or (runs.takes == 0).any():
                raise InvalidDelta("the delta's index contradicts itself: its runs do not add up")
        if (self.runs.counts == 0).any() or (self.compressed == 0).any():
            raise InvalidDelta("the delta has an empty segment")

    def _check_limits(self) -> None:
        new, old = self.runs.totals, self.references.totals
        if (new > MAX_SEGMENT_BLOCKS).any() or (old > MAX_REFERENCE_BLOCKS).any():
            raise InvalidDelta("the delta has an oversized segment")
        if int(old.sum()) > MAX_REFERENCE_RATIO * int(new.sum()):
            raise InvalidDelta("the delta needs too many old blocks for its new blocks")
        # A stored frame is never longer than its plain bytes by more than block headers and a frame header.
        if (self.compressed > new * (BLOCK + 64) + 64).any():
            raise InvalidDelta("the delta has a segment of impossible compressed size")
        ends = np.concatenate([[0], np.cumsum(self.references.skips.astype(np.int64) + self.references.takes)])
        if (np.diff(ends[self.references.edges]) > self.old.total).any():
            raise InvalidDelta("the delta refers to old blocks that it does not list")
        if self.old.total * HINT_BYTES > MAX_HINTS_BYTES:
            raise InvalidDelta("the delta lists more old blocks than a reader accepts")
        blocks = block_count(self.source.size)
        if (
            self.old.end > blocks
            or self.data_blocks > block_count(self.target.size)
            or self.runs.end > self.data_blocks
        ):
            raise InvalidDelta("the delta refers to blocks that its disks do not have")
        self.map.check(blocks, self.new_blocks)


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
