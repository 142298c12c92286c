"""Pieces: consecutive bytes of local files, the seeds, from which frames are put together.

Any file will do as a seed: an older disk, another format of it, another machine's. What is read from it is hashed
before it is used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.disk import Extent, data_extents
from haulout.local import descriptor_name, storage_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from haulout.errors import StorageError

MISSING: Final = -1
"""Among the places of blocks: no seed has the block."""
ZEROS: Final = -2
"""Among the places of blocks, or as the seed of a piece: all zeros, which need no seed."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive bytes of one seed; ``seed`` is its number in the order of scanning, or :data:`ZEROS` for zeros."""

    seed: int
    offset: int
    length: int


def read_seed(fd: int, offset: int, length: int) -> bytes:
    """Read from a seed; fewer bytes where it has become shorter.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        data = os.pread(fd, length, offset)
        while data and len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
            data += more
    except OSError as error:
        raise _unreadable(fd, error) from error
    return data


def read_pieces(pieces: Sequence[Piece], seeds: Sequence[int], size: int) -> bytes | bytearray:
    """Return ``size`` bytes gathered from seeds; zeros stand for what a seed no longer has.

    Args:
        pieces: in order; the last may reach past ``size``, which ends within a block.
        seeds: descriptors, by seed number.
        size: bytes wanted.

    Raises:
        StorageError: a seed cannot be read.
    """
    if len(pieces) == 1 and pieces[0].seed != ZEROS and pieces[0].length >= size:
        return read_seed(seeds[pieces[0].seed], pieces[0].offset, size).ljust(size, b"\0")
    data = bytearray(size)
    with memoryview(data) as view:
        fill(view, pieces, seeds)
    return data


def fill(view: memoryview, pieces: Iterable[Piece], seeds: Sequence[int]) -> None:
    """Fill all of ``view`` with what seeds hold; zeros stand for what a seed no longer has, and for what is left.

    Args:
        view: to be overwritten.
        pieces: in order; the last may reach past the view, which ends within a block.
        seeds: descriptors, by seed number.

    Raises:
        StorageError: a seed cannot be read.
    """
    at = 0
    for piece in pieces:
        end = min(at + piece.length, len(view))
        if piece.seed != ZEROS:
            fd, behind = seeds[piece.seed], piece.offset - at
            try:
                while at < end and (read := os.preadv(fd, [view[at:end]], at + behind)):
                    at += read
            except OSError as error:
                raise _unreadable(fd, error) from error
        view[at:end] = bytes(end - at)
        at = end
    view[at:] = bytes(len(view) - at)


def _unreadable(fd: int, error: OSError) -> StorageError:
    return storage_error(descriptor_name(fd), error, doing="cannot be read")


def stored_parts(fd: int) -> list[Extent]:
    """Return where a file holds data."""
    return list(data_extents(fd, os.fstat(fd).st_size))


def stored_bytes(fd: int) -> int:
    """Return how many bytes a scan of all of the file reads."""
    return sum(part.length for part in stored_parts(fd))
