"""The TOC: for every frame its place in blob and disk and the SHA-256 of its plain bytes.

Format: docs/formats/toc.md. A 128-byte header, then four columns of ``n`` values, all little-endian, so that a table
of any size is four array reads. Nothing in it is believed before it tiles disk and blob exactly.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from haulout.errors import InvalidToc
from haulout.frames.blocks import BLOCK, block_count
from haulout.frames.framing import MAX_DATA_BLOCKS, MAX_ZERO_BLOCKS, Kind
from haulout.frames.seektable import seek_table_size
from haulout.oci import Digest, SizedDigest

MAX_TOC_BYTES: Final = 256 * 1024 * 1024
"""Largest TOC read: six million frames."""

_MAGIC: Final = b"haultoc1"
_HEADER: Final = struct.Struct("<8sIIQQ32s32sQ24s")
_BYTES_PER_FRAME: Final = 32 + 4 + 4 + 1
_MAX_DISK: Final = 1 << 56

Offsets = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Toc:
    """A validated table of contents. Arrays have one element per frame, in disk order, and are not to be written."""

    disk: SizedDigest
    """SHA-256 and size of the plain disk, as published."""
    blob_size: int
    """Bytes of the blob, seek table included."""
    hints: SizedDigest
    """Digest and size of the hints blob: 8 bytes per block of the data frames, in order."""
    sha256: npt.NDArray[np.uint8]
    """Shape (n, 32): SHA-256 of each data frame's plain bytes; zero for zero frames."""
    compressed: npt.NDArray[np.uint32]
    """Bytes of each frame in the blob."""
    blocks: npt.NDArray[np.uint32]
    """Blocks each frame covers on the disk."""
    kinds: npt.NDArray[np.uint8]
    """:class:`Kind` of each frame."""

    def __post_init__(self) -> None:
        self._check_columns()
        self._check_tiling()

    def __len__(self) -> int:
        return len(self.kinds)

    @cached_property
    def blob_offsets(self) -> Offsets:
        """Where each frame begins in the blob; one more element: where the seek table begins."""
        return _offsets(self.compressed, 1)

    @cached_property
    def disk_offsets(self) -> Offsets:
        """Where each frame begins on the disk, in bytes; one more element: the end, rounded up to a block."""
        return _offsets(self.blocks, BLOCK)

    @cached_property
    def hint_offsets(self) -> Offsets:
        """Where each frame's hints begin in the hints blob, in bytes; one more: its end. Zero frames have none."""
        return _offsets(np.where(self.kinds == Kind.DATA, self.blocks, 0).astype(np.uint32), 8)

    @cached_property
    def data_bytes(self) -> int:
        """Plain bytes of all data frames."""
        return int(self.plain_sizes[self.kinds == Kind.DATA].sum(dtype=np.uint64))

    @cached_property
    def plain_sizes(self) -> npt.NDArray[np.uint32]:
        """Bytes each frame decodes to; the last may end within a block."""
        sizes = (self.blocks * np.uint32(BLOCK)).astype(np.uint32)
        sizes[-1] -= np.uint32(block_count(self.disk.size) * BLOCK - self.disk.size)
        return sizes

    def plain_size(self, frame: int) -> int:
        """Bytes frame number ``frame`` decodes to."""
        return int(self.plain_sizes[frame])

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
        columns = (self.sha256, self.compressed.astype("<u4"), self.blocks.astype("<u4"), self.kinds)
        return header + b"".join(column.tobytes() for column in columns)

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
        at = _HEADER.size
        sha256 = np.frombuffer(data, np.uint8, 32 * frames, at).reshape(frames, 32)
        compressed = np.frombuffer(data, "<u4", frames, at := at + 32 * frames)
        blocks = np.frombuffer(data, "<u4", frames, at := at + 4 * frames)
        kinds = np.frombuffer(data, np.uint8, frames, at + 4 * frames)
        return cls(
            SizedDigest(Digest(disk.hex()), disk_size),
            blob_size,
            SizedDigest(Digest(hints.hex()), hints_size),
            sha256,
            compressed,
            blocks,
            kinds,
        )

    def _check_columns(self) -> None:
        if not len(self) or self.disk.size > _MAX_DISK or self.blob_size > _MAX_DISK:
            raise InvalidToc("the table of contents describes no possible disk")
        if (self.kinds > Kind.ZERO).any():
            raise InvalidToc("the table of contents has a frame of unknown kind")
        zero = self.kinds == Kind.ZERO
        most = np.where(zero, MAX_ZERO_BLOCKS, MAX_DATA_BLOCKS)
        if (self.blocks == 0).any() or (self.blocks > most).any():
            raise InvalidToc("the table of contents has an empty or an oversized frame")
        # A stored frame is never longer than its plain bytes by more than block headers and a frame header.
        if (self.compressed == 0).any() or (
            self.compressed > self.blocks.astype(np.uint64) * np.uint64(BLOCK + 64) + np.uint64(64)
        ).any():
            raise InvalidToc("the table of contents has a frame of impossible compressed size")
        if self.sha256[zero].any():
            raise InvalidToc("the table of contents gives a digest to a zero frame")

    def _check_tiling(self) -> None:
        covered = int(self.blocks.sum(dtype=np.uint64))
        if covered != block_count(self.disk.size):
            raise InvalidToc(
                f"the frames of the table of contents cover {covered} blocks of a disk of {block_count(self.disk.size)}"
            )
        stored = int(self.compressed.sum(dtype=np.uint64)) + seek_table_size(len(self))
        if stored != self.blob_size:
            raise InvalidToc(f"the frames of the table of contents fill {stored} bytes of a blob of {self.blob_size}")
        data_blocks = int(self.blocks[self.kinds == Kind.DATA].sum(dtype=np.uint64))
        if self.hints.size != 8 * data_blocks:
            raise InvalidToc(f"{self.hints.size} bytes of hints do not fit {data_blocks} data blocks")


def toc_frames(size: int) -> int:
    """Return how many frames a TOC of ``size`` bytes describes."""
    return (size - _HEADER.size) // _BYTES_PER_FRAME


def _offsets(lengths: npt.NDArray[np.uint32], unit: int) -> Offsets:
    out = np.zeros(len(lengths) + 1, dtype=np.uint64)
    np.cumsum(lengths.astype(np.uint64) * np.uint64(unit), out=out[1:])
    return out
