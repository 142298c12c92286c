"""Git's tree objects: what a folder lists. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from haulout.backports.git import decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

TREE: Final = "40000"
SYMLINK: Final = "120000"
GITLINK: Final = "160000"


class Entry(NamedTuple):
    """An entry of a tree: git's mode, in octal as git writes it, and the object there."""

    mode: str
    oid: str


def parse_tree(raw: bytes, width: int) -> dict[str, Entry]:
    """Return what a tree object lists. Pure; ``width`` is an object id's, in bytes."""
    found: dict[str, Entry] = {}
    place = 0
    while place < len(raw):
        blank = raw.index(b" ", place)
        end = raw.index(b"\0", blank)
        name = decode(raw[blank + 1 : end])
        found[name] = Entry(raw[place:blank].decode("ascii"), raw[end + 1 : end + 1 + width].hex())
        place = end + 1 + width
    return found


def format_tree(entries: Mapping[str, Entry]) -> bytes:
    """Return a tree object. Pure; git sorts folders as if their names ended in a slash."""

    def order(item: tuple[str, Entry]) -> bytes:
        return encode(item[0]) + (b"/" if item[1].mode == TREE else b"")

    return b"".join(
        entry.mode.encode() + b" " + encode(name) + b"\0" + bytes.fromhex(entry.oid)
        for name, entry in sorted(entries.items(), key=order)
    )
