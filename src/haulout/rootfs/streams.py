"""A layer as one stream of plain bytes: decompressed, bounded, its damage reported as our own errors."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from haulout.content import expand, sniff
from haulout.errors import ContentError, InvalidRootfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.rootfs.limits import Limits

    Opener = Callable[[], BinaryIO]

_BUFFER: Final = 256 * 1024
_READ: Final = frozenset({None, "gz", "zst"})


class _Counted:
    """The compressed bytes, counted; the first ones are kept to recognise the compression."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._head = file.read(8)
        self.head = self._head
        self.count = 0

    def read(self, amount: int = -1, /) -> bytes:
        data = b""
        if self._head:
            size = len(self._head) if amount < 0 else amount
            data, self._head = self._head[:size], self._head[size:]
            amount = amount - len(data) if amount >= 0 else amount
        data = data + self._file.read(amount) if data else self._file.read(amount)
        self.count += len(data)
        return data


class _Plain(io.RawIOBase):
    """Plain bytes, as they come out of the decoder."""

    def __init__(self, source: _Counted, compression: str | None, name: str, limits: Limits) -> None:
        self._source = source
        self._compressed = compression is not None
        self._pieces = expand(source, compression)
        self._rest = memoryview(b"")
        self._name = name
        self._limits = limits
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            try:
                piece = next(self._pieces, None)
            except ContentError as exc:
                raise InvalidRootfs(self._name, "", "damaged", str(exc)) from exc
            if piece is None:
                return 0
            self._rest = memoryview(piece)
            self._count += len(piece)
            self._judge()
        amount = min(len(buffer), len(self._rest))
        memoryview(buffer).cast("B")[:amount] = self._rest[:amount]
        self._rest = self._rest[amount:]
        return amount

    def _judge(self) -> None:
        limits = self._limits
        if self._count > limits.plain_bytes:
            raise InvalidRootfs(self._name, "", "bomb", f"it decompresses to more than {limits.plain_bytes} bytes")
        if self._compressed and self._count > max(limits.ratio_from, self._source.count * limits.ratio):
            raise InvalidRootfs(
                self._name, "", "bomb", f"{self._source.count} bytes decompress to {self._count} bytes and more"
            )


class Stream:
    """Plain bytes with a position, forwards only."""

    def __init__(self, file: io.BufferedReader | BinaryIO, name: str, *, seek_from: int | None = None) -> None:
        self._file = file
        self._seek_from = seek_from
        """Where the stream begins in a file that can seek."""
        self._scratch = bytearray(0 if seek_from is not None else _BUFFER)
        self._name = name
        self.position = 0
        self.ended = False
        """Whether the archive's end mark was met."""

    def read(self, amount: int) -> bytes:
        """Return ``amount`` bytes, fewer at the end."""
        data = self._file.read(amount)
        self.position += len(data)
        return data

    def fill(self, view: memoryview) -> None:
        """Read into the whole of ``view``.

        Raises:
            InvalidRootfs: the stream ends before.
        """
        while view:
            amount = self._file.readinto(view)  # type: ignore[union-attr]
            if not amount:
                raise self.truncated()
            self.position += amount
            view = view[amount:]

    def skip_to(self, position: int) -> None:
        """Go forward to ``position``.

        Raises:
            InvalidRootfs: the stream ends before; one that can seek raises at the next read.
        """
        if position < self.position:
            raise InvalidRootfs(self._name, "", "damaged", "an entry with a negative size")
        if self._seek_from is not None:
            self._file.seek(self._seek_from + position)
            self.position = position
        while self.position < position:
            self.fill(memoryview(self._scratch)[: position - self.position])

    begin = skip_to
    """As a :class:`~haulout.rootfs.tree.Reader` names it."""

    def drain(self) -> None:
        """Read to the end, so that a checksum there is verified."""
        while self.read(_BUFFER):
            pass

    def truncated(self) -> InvalidRootfs:
        """Make the error of a stream that ends too early."""
        return InvalidRootfs(self._name, "", "truncated", f"it ends at byte {self.position}, in the middle of an entry")


@contextmanager
def open_stream(opener: Opener, name: str, limits: Limits) -> Iterator[Stream]:
    """Open a layer; its compression (gzip, zstd or none) is recognised by its first bytes.

    Raises:
        InvalidRootfs: another compression; while reading: damage, or a bomb.
    """
    with opener() as file:
        source = _Counted(file)
        try:
            compression = sniff(source.head)
        except ContentError as exc:
            raise InvalidRootfs(name, "", "compression", str(exc)) from exc
        if compression not in _READ:
            raise InvalidRootfs(name, "", "compression", f"layers compressed with {compression} are not supported")
        if compression is None and file.seekable():
            start = file.seek(-len(source.head), io.SEEK_CUR)
            yield Stream(file, name, seek_from=start)
            return
        yield Stream(io.BufferedReader(_Plain(source, compression, name, limits), _BUFFER), name)
