"""Hashing a finished disk as a whole, and comparing it with what its publisher states."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from haulout.disk import data_extents
from haulout.errors import DigestMismatch
from haulout.oci import Digest, SizedDigest

if TYPE_CHECKING:
    from haulout.progress import Task

_STEP: Final = 1 << 20
_ZEROS: Final = bytes(_STEP)


def hash_file(fd: int, task: Task, size: int | None = None) -> SizedDigest:
    """Return SHA-256 and size of the file open at ``fd``, as sha256sum would; holes are hashed without being read.

    Args:
        fd: open for reading.
        task: advanced by the bytes hashed.
        size: bytes hashed; None: all there are.
    """
    size = os.fstat(fd).st_size if size is None else size
    digest = hashlib.sha256()
    position = 0

    def zeros(until: int) -> None:
        nonlocal position
        while position < until:
            step = min(_STEP, until - position)
            digest.update(_ZEROS if step == _STEP else _ZEROS[:step])
            position += step
            task.advance(step)

    for extent in data_extents(fd, size):
        zeros(extent.offset)
        while position < extent.end:
            piece = os.pread(fd, min(_STEP, extent.end - position), position)
            if not piece:
                break
            digest.update(piece)
            position += len(piece)
            task.advance(len(piece))
    zeros(size)
    return SizedDigest(Digest(digest.hexdigest()), size)


def require_disk(actual: SizedDigest, stated: SizedDigest) -> None:
    """Compare a finished disk with what its publisher states.

    Raises:
        DigestMismatch: they differ.
    """
    if actual != stated:
        raise DigestMismatch("the finished disk", str(stated), str(actual))
