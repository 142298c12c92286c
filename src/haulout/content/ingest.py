"""A blob of unknown digest on its way into an image layout."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from haulout.errors import DigestMismatch, SizeMismatch
from haulout.oci import Descriptor, Digest

if TYPE_CHECKING:
    from haulout.content.folder import Partial
    from haulout.progress import Task


class LayoutIngest:
    """A blob being written into a layout."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes written so far."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes.

        Raises:
            StorageError: the file system refuses.
        """
        self._partial.write(data)
        self._hash.update(data)
        self.size += memoryview(data).nbytes

    def commit(
        self,
        media_type: str,
        task: Task | None = None,
        *,
        mount_from: str | None = None,  # noqa: ARG002 - there is one repository
        expected: Descriptor | None = None,
    ) -> Descriptor:
        """Give the blob its name and describe it.

        Raises:
            SizeMismatch, DigestMismatch: it is not what ``expected`` says.
            StorageError: the file system refuses.
        """
        described = Descriptor(media_type, Digest(self._hash.hexdigest()), self.size)
        if expected is not None:
            if self.size != expected.size:
                raise SizeMismatch(f"blob {expected.digest}", expected.size, self.size)
            if described.digest != expected.digest:
                raise DigestMismatch(f"blob {expected.digest}", str(expected.digest), str(described.digest))
        self._partial.publish(described.digest.hex)
        if task is not None:
            task.advance(self.size)
        return described
