"""Archives of the kernel's initramfs (Documentation/driver-api/early-userspace/buffer-format.rst). Pure.

The same entries give the same bytes: owner, times and inode numbers say nothing.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAGIC: Final = b"070701"
_END: Final = "TRAILER!!!"


class Entry(NamedTuple):
    """A file, folder or link.

    Attributes:
        path: without a slash at its beginning.
        mode: with its type.
        data: content, or where a link leads.
        device: major and minor number.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def file(path: str, data: bytes, *, executable: bool = False) -> Entry:
    """Return a file that everyone may read."""
    return Entry(path, stat.S_IFREG | (0o755 if executable else 0o644), data)


def pack(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield an archive, in order of the paths, with the folders that they need before them."""
    found = {entry.path: entry for entry in entries}
    folders = {parent for path in found for parent in _parents(path)}
    found |= {path: Entry(path, stat.S_IFDIR | 0o755) for path in folders if path not in found}
    for number, path in enumerate(sorted(found), 1):
        yield from _entry(number, found[path])
    yield from _entry(0, Entry(_END, 0))


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _entry(number: int, entry: Entry) -> Iterator[bytes]:
    name = entry.path.encode() + b"\0"
    major, minor = entry.device
    fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, major, minor, len(name), 0)
    head = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    yield head + bytes(-len(head) % 4)
    yield entry.data + bytes(-len(entry.data) % 4)
