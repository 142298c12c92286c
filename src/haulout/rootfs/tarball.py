"""One layer's tar archive as entries, in its order.

The headers are parsed by ``tarfile``, through ``TarInfo.fromtarfile``: that raises where ``TarFile.next`` would take
damage in the middle for the end. What it reads is bounded, and whatever it raises over bytes is an error of ours.
"""

from __future__ import annotations

import re
import tarfile
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, cast

from haulout.errors import InvalidRootfs
from haulout.rootfs.limits import NAME_MAX, PATH_MAX, split
from haulout.rootfs.merge import Entry
from haulout.rootfs.nodes import Attributes, Device, Directory, Fifo, File, Node, Segments, Symlink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from haulout.rootfs.limits import Limits
    from haulout.rootfs.streams import Stream

_BLOCK: Final = 512
_XATTR: Final = "SCHILY.xattr."
_ID_MAX: Final = (1 << 32) - 2
"""The last id is -1, which chown takes for no change."""
_SIZE_MAX: Final = (1 << 63) - 1
_GLOBAL_MAX: Final = 64
"""Records of global PAX headers, each of which is copied to every entry."""
_DIGITS: Final = re.compile(rb"\d{129}")
"""Longer runs of digits than any number; tarfile's patterns would be slow on them (CVE-2024-6232)."""

# What tarfile lets through over hostile bytes: its own errors, and those of int(), decode(), slices and deep recursion.
_PARSING: Final = (tarfile.TarError, ValueError, IndexError, KeyError, OverflowError, RecursionError, TypeError)


class _Window:
    """What ``TarInfo.fromtarfile`` reads from: a budget of bytes for each entry."""

    def __init__(self, stream: Stream, name: str, budget: int) -> None:
        self._stream = stream
        self._name = name
        self._budget = budget
        self.left = budget

    def refill(self) -> None:
        self.left = self._budget

    def read(self, amount: int) -> bytes:
        if amount < 0 or amount > self.left:
            raise InvalidRootfs(self._name, "", "bomb", f"an entry with headers of more than {self._budget} bytes")
        self.left -= amount
        data = self._stream.read(amount)
        if _DIGITS.search(data):
            raise InvalidRootfs(self._name, "", "damaged", "a header with a number of more than 128 digits")
        if len(data) < amount and (data or amount != _BLOCK):
            raise self._stream.truncated()
        return data

    def tell(self) -> int:
        return self._stream.position

    def seek(self, position: int) -> None:
        self._stream.skip_to(position)

    def close(self) -> None:
        pass


def entries(stream: Stream, source: int, name: str, limits: Limits, *, strict: bool = True) -> Iterator[Entry]:
    """Yield a layer's entries; their files point into the stream, which stands at the first byte of each.

    Args:
        stream: the plain archive.
        source: its number in the tree.
        name: what errors call it.
        limits: against hostile archives.
        strict: whether it must have its end mark.

    Raises:
        InvalidRootfs: damage, truncation, an entry that is refused, a bomb.
    """
    window = _Window(stream, name, limits.header_bytes)
    archive = tarfile.TarFile(fileobj=cast("IO[bytes]", _Empty()), mode="r", encoding="utf-8", errors="surrogateescape")
    archive.fileobj = window  # type: ignore[assignment]
    archive.offset = 0
    while True:
        window.refill()
        stream.skip_to(archive.offset)
        try:
            member = tarfile.TarInfo.fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            stream.ended = True
            break
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            if not strict:
                return
            raise InvalidRootfs(name, "", "truncated", "it has no end-of-archive marker") from None
        except _PARSING as exc:
            where = f"before byte {stream.position}"
            raise InvalidRootfs(name, "", "damaged", f"not a tar header {where}: {_first_line(exc)}") from exc
        if len(archive.pax_headers) > _GLOBAL_MAX:
            raise InvalidRootfs(name, "", "bomb", f"more than {_GLOBAL_MAX} records of global headers")
        stream.skip_to(member.offset_data)
        yield _entry(member, source, name)
    if strict and stream.read(_BLOCK).strip(b"\0"):
        raise InvalidRootfs(name, "", "damaged", f"no second end marker after byte {stream.position - _BLOCK}")
    stream.drain()


class _Empty:
    """Lets TarFile be made without its reading anything."""

    name = None
    mode = "rb"

    def tell(self) -> int:
        return 0

    def read(self, amount: int = -1) -> bytes:  # noqa: ARG002
        return bytes(_BLOCK)

    def seek(self, position: int) -> int:
        return position


def _first_line(exc: BaseException) -> str:
    return next(iter(str(exc).splitlines()), "") or type(exc).__name__


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _entry(member: tarfile.TarInfo, source: int, name: str) -> Entry:
    raw = _raw(member.name)
    # distroless and ko write absolute names, which mean the same as for hard links: from the root of the tree.
    path = split(raw.lstrip(b"/"), name)
    if member.islnk():
        target = split(_raw(member.linkname).lstrip(b"/"), name)
        return Entry(path, None, target)
    for label, value, most in (
        ("uid", member.uid, _ID_MAX),
        ("gid", member.gid, _ID_MAX),
        ("size", member.size, _SIZE_MAX),
    ):
        if not 0 <= value <= most:
            raise InvalidRootfs(name, raw, "attributes", f"the {label} {value} is out of range")
    return Entry(path, _node(member, source, name, raw))


def _node(member: tarfile.TarInfo, source: int, name: str, raw: bytes) -> Node:
    attributes: Attributes = {
        "mode": 0o777 if member.issym() else member.mode & 0o7777,
        "uid": member.uid,
        "gid": member.gid,
        "mtime": _mtime(member, name, raw),
        "xattrs": _xattrs(member, name, raw),
    }
    if member.isreg():
        segments = _segments(member, name, raw)
        return File(**attributes, size=member.size, source=source, offset=member.offset_data, segments=segments)
    if member.isdir():
        return Directory(**attributes)
    if member.issym():
        target = _raw(member.linkname)
        if not target or b"\0" in target or len(target) > PATH_MAX:
            raise InvalidRootfs(name, raw, "symlink", "the target of a symlink is empty, too long, or has a NUL byte")
        return Symlink(**attributes, target=target)
    if member.ischr() or member.isblk():
        return Device(**attributes, is_block=member.isblk(), major=member.devmajor, minor=member.devminor)
    if member.isfifo():
        return Fifo(**attributes)
    raise InvalidRootfs(name, raw, "kind", f"an entry of the unknown kind {member.type!r}")


def _mtime(member: tarfile.TarInfo, name: str, raw: bytes) -> int:
    """Read the exact time: tarfile makes a float of a PAX record, which holds no nanoseconds."""
    text = member.pax_headers.get("mtime")
    if text is None:
        return int(member.mtime) * 10**9
    with suppress(InvalidOperation, ValueError, OverflowError):
        seconds = Decimal(text)
        if seconds.is_finite() and abs(seconds) < 1 << 40:
            return int((seconds * 10**9).to_integral_value(rounding="ROUND_FLOOR"))
    raise InvalidRootfs(name, raw, "attributes", "its time is not a number of seconds")


def _xattrs(member: tarfile.TarInfo, name: str, raw: bytes) -> dict[bytes, bytes]:
    xattrs = {}
    for keyword, value in member.pax_headers.items():
        if keyword.startswith(_XATTR):
            key = _raw(keyword[len(_XATTR) :])
            if not key or b"\0" in key or len(key) > NAME_MAX:
                raise InvalidRootfs(name, raw, "attributes", "an extended attribute without a valid name")
            xattrs[key] = _raw(value)
    return xattrs


def _segments(member: tarfile.TarInfo, name: str, raw: bytes) -> Segments | None:
    if not member.issparse():
        return None
    segments = []
    end = 0
    for offset, size in cast("list[tuple[int, int]]", member.sparse):
        # GNU tar leaves unused slots of its header zero.
        if not offset and not size:
            continue
        if offset < end or size < 0 or offset + size > member.size:
            raise InvalidRootfs(name, raw, "damaged", "a sparse map that goes backwards, or past the end of its file")
        end = offset + size
        if size:
            segments.append((offset, size))
    return tuple(segments)
