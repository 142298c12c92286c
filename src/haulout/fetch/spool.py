"""A blob read once, in order, and kept while it is read, so that an interrupted pull can resume."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final, Self

from haulout.disk import content_bytes, write_sparse
from haulout.errors import DigestMismatch, SizeMismatch
from haulout.oci import Digest

if TYPE_CHECKING:
    from haulout.content import BlobReader, BlobStream
    from haulout.fetch.target import Partial
    from haulout.oci import Descriptor
    from haulout.progress import Task

_STEP: Final = 1 << 20
_SKIP: Final = 1 << 20
_HEAD: Final = 16


class SpooledBlob:
    """First what the spool holds of the blob, then the rest from its place, spooled as it comes.

    Everything read is hashed, and :meth:`finish` compares. Until then the bytes may go into a partial file only.

    Args:
        blobs: where the blob is.
        layer: the blob.
        spool: the file that keeps it.
        kept: bytes at the beginning of the spool that an earlier pull fetched; not trusted.
        task: advanced by the bytes of the blob.
    """

    def __init__(self, blobs: BlobReader, layer: Descriptor, spool: Partial, kept: int, task: Task) -> None:
        self._blobs = blobs
        self._layer = layer
        self._spool = spool
        self._kept = kept
        self._task = task
        self._hash = hashlib.sha256()
        self._position = 0
        self._stream: BlobStream | None = None
        self._ahead = b""
        self.stored = 0
        """Bytes of the blob that are not in 64 KiB runs of zeros."""

    def peek(self) -> bytes:
        """Return the first bytes without using them up; enough to recognise a compression."""
        self._look_ahead(_HEAD)
        return self._ahead[:_HEAD]

    def read(self, amount: int = -1, /) -> bytes:
        """Return ``amount`` bytes, fewer only at the end of the blob, none behind it."""
        amount = _STEP if amount < 0 else amount
        self._look_ahead(amount)
        data, self._ahead = self._ahead[:amount], self._ahead[amount:]
        return data

    def _look_ahead(self, amount: int) -> None:
        # What an earlier pull kept may end anywhere, also within the few bytes that show what the blob is.
        while len(self._ahead) < amount and (more := self._next(amount - len(self._ahead))):
            self._ahead += more

    def finish(self) -> None:
        """Read what is left and check the whole.

        Raises:
            SizeMismatch: the blob is longer or shorter than its descriptor says.
            DigestMismatch: its bytes are not the announced ones.
        """
        self._ahead = b""
        while self._next(_STEP):
            pass
        actual = self._hash.hexdigest()
        if actual != self._layer.digest.hex:
            raise DigestMismatch(f"blob {self._layer.digest.short}", str(self._layer.digest), str(Digest(actual)))

    def _next(self, amount: int) -> bytes:
        amount = min(max(amount, _STEP), self._layer.size - self._position)
        if amount <= 0:
            return b""
        if self._position < self._kept:
            data = os.pread(self._spool.fd, min(amount, self._kept - self._position), self._position)
            self.stored += content_bytes(data)
        else:
            data = self._fetch(amount)
            self._append(data)
        if not data:
            raise SizeMismatch(f"blob {self._layer.digest.short}", self._layer.size, self._position)
        self._hash.update(data)
        self._position += len(data)
        self._task.advance(len(data))
        return data

    def _fetch(self, amount: int) -> bytes:
        if self._stream is None:
            self._stream = self._blobs.open_blob(self._layer, self._position)
            behind = self._position - self._stream.start
            while behind:
                skipped = len(self._stream.read(min(_SKIP, behind)))
                if not skipped:
                    break
                behind -= skipped
        return self._stream.read(amount)

    def _append(self, data: bytes) -> None:
        self.stored += write_sparse(self._spool.fd, data, self._position)
        self._spool.resize(self._position + len(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._stream is not None:
            self._stream.__exit__(*exc)
