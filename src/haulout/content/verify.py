"""The verifying reader: every path by which a whole blob enters goes through here.

The last bytes are held back until size and digest are right: a consumer that reads to the end has read what was
promised, and one that stops early gets an error.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Self, cast

from haulout.content.ports import Distrusting
from haulout.errors import ContentError, DigestMismatch, SizeMismatch

if TYPE_CHECKING:
    from typing import BinaryIO

    from haulout.content.ports import BlobReader, BlobStream
    from haulout.oci import Descriptor


class VerifiedReader:
    """Reads one whole blob in order, and verifies it.

    Args:
        stream: the blob from its first byte to its last; closed by leaving the ``with`` block.
        descriptor: what it must be.
        what: what it is, for errors.
    """

    def __init__(self, stream: BlobStream, descriptor: Descriptor, what: str) -> None:
        self._stream = stream
        self._descriptor = descriptor
        self._what = what
        self._hash = hashlib.sha256()
        self._position = 0
        self._verified = False

    def read(self, amount: int) -> bytes:
        """Return exactly ``amount`` bytes, fewer only at the end; the last ones only when everything is right.

        Raises:
            SizeMismatch: the blob is shorter or longer than announced.
            DigestMismatch: the bytes are not the announced ones.
        """
        size = self._descriptor.size
        if self._stream.start != 0:
            raise SizeMismatch(self._what, size, f"a part beginning at byte {self._stream.start}")
        data = self._stream.read(min(amount, size - self._position))
        self._hash.update(data)
        self._position += len(data)
        if self._position == size:
            self._check_end()
        elif len(data) < amount:
            raise SizeMismatch(self._what, size, self._position)
        return data

    def _check_end(self) -> None:
        if self._verified:
            return
        if self._stream.read(1):
            raise SizeMismatch(self._what, self._descriptor.size, "more")
        self._check_digest()

    def _check_digest(self) -> None:
        if self._hash.hexdigest() != self._descriptor.digest.hex:
            raise DigestMismatch(self._what, str(self._descriptor.digest), f"sha256:{self._hash.hexdigest()}")
        self._verified = True

    def abandon(self) -> None:
        """Close the blob early, without an error: for a consumer that verifies what it got, or begins again."""
        self._stream.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._stream.__exit__(kind, *rest)
        # An error already under way says more than "not read to the end".
        if kind is None and not self._verified:
            if self._descriptor.size:
                raise ContentError(f"{self._what} was not read to its end, so it is not verified")
            # An empty blob need not be read at all; its digest must be right nevertheless.
            self._check_digest()


class VerifiedFile(io.RawIOBase):
    """A verified reader as a Python file. Closing it early is not an error."""

    def __init__(self, reader: VerifiedReader) -> None:
        super().__init__()
        self._reader = reader

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, without the copy that a raw file makes."""
        return self._reader.read(size) if size >= 0 else self.readall()

    def readinto(self, buffer: object, /) -> int:
        """Fill a buffer, as far as there are bytes."""
        view = memoryview(cast("bytearray", buffer))
        data = self._reader.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the blob."""
        # The destination checks what it received; a retry closes early and begins again, which is not an error.
        if not self.closed:
            super().close()
            self._reader.abandon()


def open_verified(source: BlobReader, blob: Descriptor) -> BinaryIO:
    """Open a whole blob as a file that is verified as it is read; embedded ``data`` saves the request.

    Raises:
        NotFoundError: no such blob.
        ContentError: from its reads: it is not what the descriptor says.
    """
    if blob.data is not None:
        return io.BytesIO(blob.data)
    reader = VerifiedReader(source.open_blob(blob), blob, f"blob {blob.digest}")
    return cast("BinaryIO", VerifiedFile(reader))


def read_blob(reader: BlobReader, descriptor: Descriptor, limit: int, what: str) -> bytes:
    """Return a small blob, verified; embedded ``data`` saves the request.

    Args:
        reader: where it is.
        descriptor: what it must be.
        limit: the largest size accepted, in bytes; checked before anything is read.
        what: what it is, for errors.

    Raises:
        NotFoundError: no such blob.
        ContentError: too large, or not what the descriptor says.
    """
    if descriptor.data is not None:
        return descriptor.data
    if descriptor.size > limit:
        raise ContentError(f"{what} has {descriptor.size} bytes; at most {limit} are read")
    try:
        return _read_all(reader, descriptor, what)
    except DigestMismatch:
        if not isinstance(reader, Distrusting) or not reader.distrust(descriptor):
            raise
        return _read_all(reader, descriptor, what)


def _read_all(reader: BlobReader, descriptor: Descriptor, what: str) -> bytes:
    with VerifiedReader(reader.open_blob(descriptor), descriptor, what) as verified:
        return verified.read(descriptor.size)
