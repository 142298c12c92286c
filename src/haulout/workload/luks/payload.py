"""The plain content of a volume, read from its file as from a file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from haulout.errors import SizeMismatch
from haulout.workload.luks.header import SECTOR

if TYPE_CHECKING:
    from typing import BinaryIO

    from typing_extensions import Buffer

    from haulout.workload.luks.volume import Volume

_AT_ONCE: Final = 1 << 20


class Payload(io.RawIOBase):
    """Decrypts what is read, and nothing else. Read-only, seekable, for one thread.

    Closing it leaves the file open. For small reads, put an ``io.BufferedReader`` in front.

    Args:
        file: the volume's, from its header on.
        volume: open.
        size: of the payload, in bytes; the file may go on behind it.
    """

    def __init__(self, file: BinaryIO, volume: Volume, size: int) -> None:
        super().__init__()
        self._file = file
        self._volume = volume
        self._size = size
        self._position = 0

    def readable(self) -> bool:  # noqa: D102 - as in io
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:  # noqa: D102
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to byte {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:  # noqa: D102
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a buffer with plain bytes, or less of it; 0 at the end.

        Raises:
            SizeMismatch: the file ends before the payload does.
        """
        out = memoryview(buffer).cast("B")
        amount = min(len(out), self._size - self._position, _AT_ONCE)
        if amount <= 0:
            return 0
        first = self._position // SECTOR
        end = -(-(self._position + amount) // SECTOR)
        self._file.seek(self._volume.layout.payload_start + first * SECTOR)
        cipher = self._file.read((end - first) * SECTOR)
        if len(cipher) != (end - first) * SECTOR:
            raise SizeMismatch("the payload", self._size, first * SECTOR + len(cipher))
        skip = self._position - first * SECTOR
        out[:amount] = self._volume.decrypt(first, cipher)[skip : skip + amount]
        self._position += amount
        return amount
