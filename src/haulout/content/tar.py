"""The members of a tar archive, as far as an image layout needs them: plain files and where their bytes lie."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING, Final, NamedTuple

from haulout.errors import ContentError
from haulout.local import storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK: Final = 512
MAX_MEMBERS: Final = 65536
_MAX_HEADER: Final = 64 * 1024
"""Bytes of one extended header."""
_EXTENDED: Final = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})
_OTHER_HEADERS: Final = frozenset({tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK})
"""Names in a layout are short: what long names say is not needed."""
_COMPRESSED: Final = {b"\x1f\x8b": "gunzip", b"\x28\xb5\x2f\xfd": "unzstd", b"\xfd7zXZ\x00": "unxz", b"BZh": "bunzip2"}


class Extent(NamedTuple):
    """Where a member's bytes lie in the archive."""

    offset: int
    size: int


def members(fd: int, what: str) -> Mapping[str, Extent]:
    """Find the plain files of a tar archive; of several with one name the last counts, as for whoever unpacks it.

    Only headers are read, so memory is bounded by the number of members.

    Args:
        fd: the archive, a regular file.
        what: its name, for errors.

    Raises:
        ContentError: it is not a tar archive, is damaged, compressed or cut short, or has too many members.
        StorageError: it cannot be read.
    """
    found: dict[str, Extent] = {}
    stated: dict[str, str] = {}
    position, length = 0, os.fstat(fd).st_size
    for _ in range(MAX_MEMBERS):
        with storage_errors(what):
            header = os.pread(fd, BLOCK, position)
        if len(header) < BLOCK:
            raise _not_a_tar(header, what) if position == 0 else ContentError(f"{what} is cut short: it has no end")
        if not header.strip(b"\0"):
            return found
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError, OverflowError) as exc:
            raise (
                _not_a_tar(header, what)
                if position == 0
                else ContentError(f"{what} is damaged: no tar header at byte {position}")
            ) from exc
        is_header = member.type in _EXTENDED | _OTHER_HEADERS
        size = member.size if is_header or "size" not in stated else _number(stated["size"])
        position += BLOCK
        holds = is_header or member.isreg() or member.type not in tarfile.SUPPORTED_TYPES
        if not holds:
            size = 0
        if not 0 <= size <= length - position:
            raise ContentError(f"{what} is damaged or cut short: a member of {size} bytes at byte {position}")
        if member.type in _EXTENDED:
            with storage_errors(what):
                stated = _records(os.pread(fd, min(size, _MAX_HEADER), position), what)
        elif not is_header:
            if member.isreg() and not _is_sparse(member, stated):
                found[stated.get("path", member.name).removeprefix("./")] = Extent(position, size)
            stated = {}
        position += -(-size // BLOCK) * BLOCK
    raise ContentError(f"{what} has more than {MAX_MEMBERS} members")


def _is_sparse(member: tarfile.TarInfo, stated: Mapping[str, str]) -> bool:
    return member.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in stated)


def _records(data: bytes, what: str) -> dict[str, str]:
    """Read the records of an extended header (POSIX pax): ``LENGTH KEY=VALUE`` and a line break each."""
    found: dict[str, str] = {}
    while data.strip(b"\0"):
        digits = data[:20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = data[len(digits) + 1 : max(length - 1, 0)].partition(b"=")
        if not equals or length > len(data):
            raise ContentError(f"{what} is damaged: an extended header that does not parse")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[length:]
    return found


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


def _not_a_tar(head: bytes, what: str) -> ContentError:
    for magic, program in _COMPRESSED.items():
        if head.startswith(magic):
            return ContentError(
                f"{what} is compressed; only plain tar archives are read", hint=f"run {program} on it first"
            )
    return ContentError(f"{what} is not a tar archive")


def header(name: str, size: int) -> bytes:
    """Return the header of a plain file, the same for the same arguments."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)
