"""Takes a blob whose digest is known only at its end: a file without a name, hashed while it is written."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from haulout.local import ScratchFile
from haulout.oci import Descriptor, Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.progress import Task

Push: TypeAlias = "Callable[[Descriptor, Callable[[], BinaryIO], Task | None, str | None], bool]"
"""How a blob of known digest is stored: its descriptor, what opens it, a task, and where it may be mounted from."""


class SpooledBlob:
    """Satisfies ``content.ports.Ingest``."""

    def __init__(self, file: ScratchFile, push: Push) -> None:
        self._file = file
        self._push = push
        self._hash = hashlib.sha256()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes.

        Raises:
            StorageError: the temporary directory is full, or cannot be written.
        """
        self._hash.update(data)
        self._file.append(data)

    def commit(self, media_type: str, task: Task | None = None, *, mount_from: str | None = None) -> Descriptor:
        """Store what was written.

        Raises:
            HauloutError: as pushing a blob of known digest does.
        """
        descriptor = Descriptor(media_type, Digest(self._hash.hexdigest()), self._file.size)
        self._push(descriptor, self._file.opened, task, mount_from)
        return descriptor


@contextmanager
def spool(push: Push) -> Iterator[SpooledBlob]:
    """Begin a blob in the directory that ``TMPDIR`` names; nothing remains of it afterwards.

    Raises:
        StorageError: there is no usable temporary directory.
    """
    with ScratchFile("a blob on its way to the registry", "the compressed disk") as file:
        yield SpooledBlob(file, push)
