"""The TOC: for every frame its place in blob and disk and the SHA-256 of its plain bytes.

Format: docs/formats/toc.md. A 128-byte header, then four columns of ``n`` values, all little-endian, so that a table
of any size is four array reads. Nothing in it is believed before it tiles disk and blob exactly.

The columns are arrays of the standard library, which numpy takes as they are: ``np.asarray(toc.blocks)``.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, compress
from typing import TYPE_CHECKING, Final, Self

from haulout.errors import InvalidToc
from haulout.frames.blocks import BLOCK, HINT_BYTES, block_count
from haulout.frames.columns import column_bytes, u32_column
from haulout.frames.framing import MAX_DATA_BLOCKS, MAX_ZERO_BLOCKS, Kind
from haulout.frames.seektable import seek_table_size
from haulout.oci import Digest, SizedDigest

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TOC_BYTES: Final = 256 * 1024 * 1024
"""Largest TOC read: six million frames."""

FrameFlags = bytes | bytearray
"""One byte for each frame of a table: 1 where something holds of it, else 0."""

_MAGIC: Final = b"haultoc1"
_HEADER: Final = struct.Struct("<8sIIQQ32s32sQ24s")
_BYTES_PER_FRAME: Final = 32 + 4 + 4 + 1
_MAX_DISK: Final = 1 << 56
_NO_DIGEST: Final = bytes(32)
_FLIP: Final = bytes([1, 0]) + bytes(254)


@dataclass(frozen=True)
class Toc:
    """A validated table of contents. Columns have one value per frame, in disk order, and are not to be written."""

    disk: SizedDigest
    """SHA-256 and size of the plain disk, as published."""
    blob_size: int
    """Bytes of the blob, seek table included."""
    hints: SizedDigest
    """Digest and size of the hints blob: 8 bytes per block of the data frames, in order."""
    sha256: bytes
    """SHA-256 of each data frame's plain bytes, 32 bytes each; zero for zero frames."""
    compressed: array[int]
    """Bytes of each frame in the blob."""
    blocks: array[int]
    """Blocks each frame covers on the disk."""
    kinds: bytes
    """:class:`Kind` of each frame."""

    def __post_init__(self) -> None:
        self._check_columns()
        self._check_tiling()

    def __len__(self) -> int:
        return len(self.kinds)

    @cached_property
    def is_data(self) -> FrameFlags:
        """Which frames hold data."""
        return self.kinds.translate(_FLIP)

    @property
    def data_frames(self) -> list[int]:
        """The numbers of the frames that hold data."""
        return list(compress(range(len(self)), self.is_data))

    @cached_property
    def blob_offsets(self) -> array[int]:
        """Where each frame begins in the blob; one more element: where the seek table begins."""
        return array("q", accumulate(self.compressed, initial=0))

    @cached_property
    def disk_offsets(self) -> array[int]:
        """Where each frame begins on the disk, in bytes; one more element: the end, rounded up to a block."""
        return array("q", [BLOCK * block for block in accumulate(self.blocks, initial=0)])

    @cached_property
    def hint_offsets(self) -> array[int]:
        """Where each frame's hints begin in the hints blob, in bytes; one more: its end. Zero frames have none."""
        sizes = (0 if kind else HINT_BYTES * blocks for kind, blocks in zip(self.kinds, self.blocks, strict=True))
        return array("q", accumulate(sizes, initial=0))

    @cached_property
    def data_bytes(self) -> int:
        """Plain bytes of all data frames."""
        return sum(compress(self.blocks, self.is_data)) * BLOCK - (self._missing if self.is_data[-1] else 0)

    @cached_property
    def _missing(self) -> int:
        """Bytes that the last block lacks."""
        return block_count(self.disk.size) * BLOCK - self.disk.size

    def plain_size(self, frame: int) -> int:
        """Return the bytes frame number ``frame`` decodes to; the last may end within a block."""
        return self.blocks[frame] * BLOCK - (self._missing if frame == len(self) - 1 else 0)

    def plain_bytes(self, frames: Iterable[int]) -> int:
        """Return the bytes that several frames decode to."""
        return sum(map(self.plain_size, frames))

    def blob_bytes(self, frames: Iterable[int]) -> int:
        """Return the bytes of several frames in the blob."""
        return sum(map(self.compressed.__getitem__, frames))

    def hint_bytes(self, frames: Iterable[int]) -> int:
        """Return the bytes of the hints of several data frames."""
        return HINT_BYTES * sum(map(self.blocks.__getitem__, frames))

    def digest(self, frame: int) -> bytes:
        """Return the SHA-256 of a data frame's plain bytes."""
        return self.sha256[32 * frame : 32 * frame + 32]

    def encode(self) -> bytes:
        """Return the bytes of the TOC blob."""
        header = _HEADER.pack(
            _MAGIC,
            BLOCK,
            len(self),
            self.disk.size,
            self.blob_size,
            self.disk.digest.raw,
            self.hints.digest.raw,
            self.hints.size,
            bytes(24),
        )
        return b"".join((header, self.sha256, column_bytes(self.compressed), column_bytes(self.blocks), self.kinds))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse and validate the bytes of a TOC blob.

        Raises:
            InvalidToc: another format or version, truncated, padded, or its frames do not tile disk and blob.
        """
        if len(data) < _HEADER.size:
            raise InvalidToc("the table of contents is truncated")
        magic, block, frames, disk_size, blob_size, disk, hints, hints_size, reserved = _HEADER.unpack_from(data)
        if magic != _MAGIC or block != BLOCK or any(reserved):
            raise InvalidToc(
                "the table of contents is of an unknown format",
                hint="it may come from a newer haulout; upgrade this one",
            )
        if len(data) != _HEADER.size + _BYTES_PER_FRAME * frames:
            raise InvalidToc(f"the table of contents has {len(data)} bytes, which do not hold {frames} frames")
        compressed = _HEADER.size + 32 * frames
        blocks, kinds = compressed + 4 * frames, compressed + 8 * frames
        return cls(
            SizedDigest(Digest(disk.hex()), disk_size),
            blob_size,
            SizedDigest(Digest(hints.hex()), hints_size),
            data[_HEADER.size : compressed],
            u32_column(data[compressed:blocks]),
            u32_column(data[blocks:kinds]),
            data[kinds:],
        )

    def _check_columns(self) -> None:
        if not len(self) or self.disk.size > _MAX_DISK or self.blob_size > _MAX_DISK:
            raise InvalidToc("the table of contents describes an impossible disk")
        if max(self.kinds) > Kind.ZERO:
            raise InvalidToc("the table of contents has a frame of unknown kind")
        if (
            min(self.blocks) == 0
            or max(self.blocks) > MAX_ZERO_BLOCKS
            or max(compress(self.blocks, self.is_data), default=0) > MAX_DATA_BLOCKS
        ):
            raise InvalidToc("the table of contents has an empty or an oversized frame")
        # A stored frame is never longer than its plain bytes by more than block headers and a frame header.
        if any(
            not 0 < size <= blocks * (BLOCK + 64) + 64
            for size, blocks in zip(self.compressed, self.blocks, strict=True)
        ):
            raise InvalidToc("the table of contents has a frame of impossible compressed size")
        if any(self.digest(frame) != _NO_DIGEST for frame in compress(range(len(self)), self.kinds)):
            raise InvalidToc("the table of contents gives a digest to a zero frame")

    def _check_tiling(self) -> None:
        covered = sum(self.blocks)
        if covered != block_count(self.disk.size):
            raise InvalidToc(
                f"the frames of the table of contents cover {covered} blocks of a disk of {block_count(self.disk.size)}"
            )
        stored = sum(self.compressed) + seek_table_size(len(self))
        if stored != self.blob_size:
            raise InvalidToc(f"the frames of the table of contents fill {stored} bytes of a blob of {self.blob_size}")
        data_blocks = sum(compress(self.blocks, self.is_data))
        if self.hints.size != HINT_BYTES * data_blocks:
            raise InvalidToc(f"{self.hints.size} bytes of hints do not fit {data_blocks} data blocks")


def toc_frames(size: int) -> int:
    """Return how many frames a TOC of ``size`` bytes describes."""
    return (size - _HEADER.size) // _BYTES_PER_FRAME
