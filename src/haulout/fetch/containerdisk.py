"""Container disks: a disk that is a file under ``/disk/`` in a layer of an ordinary image (KubeVirt, crun-vm).

The tar stream is only read, member by member; nothing is ever extracted by name. Headers are parsed by the standard
library, but the stream is not: its reader takes names, attributes and sparse maps into memory however long they are.
"""

from __future__ import annotations

import re
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from haulout.content import expand, sniff
from haulout.errors import ContentError, InvalidFrame
from haulout.resolve import container_image_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.content import BlobReader, BlobStream
    from haulout.oci import Descriptor
    from haulout.resolve import ResolvedDisk

_STEP: Final = 1 << 20
_BLOCK: Final = 512
_MAX_MEMBERS: Final = 200_000
_MAX_EXTENSION: Final = 1 << 20
"""Bytes of one extended header: a name or attributes. Layers have a few hundred."""

_MOST_LOOKED_INTO: Final = 64 << 20
"""Bytes of layers read to find out whether an image holds a disk; a container disk has hardly anything before it."""
_MOST_EXPANDED: Final = 1 << 30

_LONG_NAME: Final = tarfile.GNUTYPE_LONGNAME
_ATTRIBUTES: Final = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})
_EXTENSIONS: Final = frozenset({_LONG_NAME, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE}) | _ATTRIBUTES
_WITHOUT_CONTENT: Final = frozenset(
    {tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE}
)
_DISK: Final = re.compile(r"[./]*disk/[^/]+")
_RECORD: Final = re.compile(rb"(\d{1,7}) ([^=\n]+)=")


class NoDiskInLayer(Exception):  # noqa: N818 - it names a finding, and never leaves this room
    """A layer without a file under ``/disk/``; the next one may have it."""


def require_disk_inside(blobs: BlobReader, found: ResolvedDisk) -> ResolvedDisk:
    """Return ``found`` with the layer that holds its disk first; unchanged where finding that out takes too long.

    Raises:
        NotFoundError: it is an ordinary container image: none of its layers holds a disk.
    """
    left = _MOST_LOOKED_INTO
    for layer in found.layers:
        left -= layer.size
        try:
            if _holds_disk(blobs, layer):
                return replace(found, layers=(layer, *(each for each in found.layers if each is not layer)))
        except ContentError:
            # Damaged, or too large: the pull reports it.
            return found
        if left < 0:
            return found
    raise container_image_error(found.reference)


def _holds_disk(blobs: BlobReader, layer: Descriptor) -> bool:
    with blobs.open_blob(layer, 0, min(layer.size, _MOST_LOOKED_INTO)) as stream:
        head = stream.read(_BLOCK)
        try:
            return next(disk_in_tar(_bounded(expand(_Again(head, stream), sniff(head)))), None) is not None
        except NoDiskInLayer:
            return False


def _bounded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    left = _MOST_EXPANDED
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise InvalidFrame(f"the layer expands to more than {_MOST_EXPANDED} bytes")
        yield piece


class _Again:
    """A stream whose head was read already."""

    def __init__(self, head: bytes, stream: BlobStream) -> None:
        self._head = head
        self._stream = stream

    def read(self, amount: int = -1) -> bytes:
        """Return up to ``amount`` bytes."""
        amount = _STEP if amount < 0 else amount
        head, self._head = self._head[:amount], self._head[amount:]
        return head or self._stream.read(amount)


def disk_in_tar(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of the first regular file under ``disk/`` of a tar stream, in pieces of at most 1 MiB.

    Raises:
        NoDiskInLayer: there is none.
        InvalidFrame: it is not a tar archive, is damaged, or is one that no builder of images makes.
    """
    stream = _Pieces(pieces)
    stated: dict[str, str] = {}
    for _ in range(_MAX_MEMBERS):
        header = stream.read(_BLOCK)
        if not header.strip(b"\0"):
            break
        member = _parse(header)
        if member.type in _EXTENSIONS:
            stated |= _extension(member, stream)
            continue
        name, size = stated.get("path", member.name), _size(stated.get("size"), member)
        if member.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in stated):
            raise InvalidFrame("the layer's tar archive holds a GNU sparse file, which is not supported")
        stated = {}
        if member.isreg() and size and _DISK.fullmatch(name):
            yield from stream.take(size)
            return
        if member.type not in _WITHOUT_CONTENT:
            for _ in stream.take(-(-size // _BLOCK) * _BLOCK):
                pass
    raise NoDiskInLayer


def _parse(header: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError, OverflowError) as exc:
        raise InvalidFrame(f"the layer is not a readable tar archive: {exc}") from exc


def _size(stated: str | None, member: tarfile.TarInfo) -> int:
    if stated is not None:
        if not (stated.isascii() and stated.isdigit() and len(stated) < 20):
            raise InvalidFrame("the layer's tar archive states a size that is not a number")
        return int(stated)
    if member.size < 0:
        raise InvalidFrame("the layer's tar archive states a negative size")
    return member.size


def _extension(member: tarfile.TarInfo, stream: _Pieces) -> dict[str, str]:
    """Read an extended header; return the attributes of the next member that it states."""
    if not 0 <= member.size <= _MAX_EXTENSION:
        raise InvalidFrame(f"the layer's tar archive has a header of {member.size} bytes")
    data = b"".join(stream.take(-(-member.size // _BLOCK) * _BLOCK))[: member.size]
    if member.type == _LONG_NAME:
        return {"path": data.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
    return _attributes(data) if member.type in _ATTRIBUTES else {}


def _attributes(data: bytes) -> dict[str, str]:
    """Parse the records of a POSIX extended header: ``LENGTH KEY=VALUE`` and a line feed, all counted by the length."""
    found: dict[str, str] = {}
    position = 0
    while position < len(data):
        record = _RECORD.match(data, position)
        end = position + int(record[1]) if record else 0
        if record is None or not record.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise InvalidFrame("the layer's tar archive has malformed attributes")
        key = record[2].decode("utf-8", "surrogateescape")
        found[key] = data[record.end() : end - 1].decode("utf-8", "surrogateescape")
        position = end
    return found


class _Pieces:
    """An iterator of pieces, read by length."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ahead = memoryview(b"")

    def read(self, amount: int) -> bytes:
        """Return ``amount`` bytes, fewer at the end."""
        return b"".join(self._parts(amount))

    def take(self, amount: int) -> Iterator[bytes]:
        """Yield ``amount`` bytes in bounded pieces.

        Raises:
            InvalidFrame: there are fewer.
        """
        for part in self._parts(amount):
            amount -= len(part)
            yield part
        if amount:
            raise InvalidFrame("the layer's tar archive is truncated")

    def _parts(self, amount: int) -> Iterator[bytes]:
        while amount:
            if not self._ahead:
                self._ahead = memoryview(next(self._pieces, b""))
                if not self._ahead:
                    return
            part = bytes(self._ahead[: min(amount, _STEP)])
            self._ahead = self._ahead[len(part) :]
            amount -= len(part)
            yield part
