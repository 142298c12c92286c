"""Writing what a blob expands to: sparsely, and not without end."""

from __future__ import annotations

from typing import Final

from haulout.disk import write_sparse
from haulout.errors import ContentError

_MAX_RATIO: Final = 2000
_SLACK: Final = 64 * 1024 * 1024
_MAX_PLAIN: Final = 1 << 44


class SparseWriter:
    """Writes plain bytes in order, leaving holes for zeros, and stops a decompression bomb.

    Args:
        fd: an empty file.
        compressed: bytes of the blob, against which the stored bytes are weighed.
    """

    def __init__(self, fd: int, compressed: int) -> None:
        self._fd = fd
        self._allowance = compressed * _MAX_RATIO + _SLACK
        self.size = 0
        """Plain bytes so far, holes included."""
        self.stored = 0
        """Plain bytes written, holes excluded."""

    def write(self, data: bytes) -> None:
        """Append ``data``.

        Raises:
            ContentError: no honest disk decompresses to so much.
            StorageError: the file system refuses.
        """
        self.stored += write_sparse(self._fd, data, self.size)
        self.size += len(data)
        if self.stored > self._allowance or self.size > _MAX_PLAIN:
            raise ContentError(
                f"the blob is a decompression bomb: {self.stored} bytes of content so far, of {self.size}, which no "
                "disk of its compressed size holds"
            )
