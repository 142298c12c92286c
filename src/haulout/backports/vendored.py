"""Compare what a consumer vendors with the library at the pin, by blob ids: what is equal is not read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.backports.git import decode
from haulout.backports.history import VENDOR
from haulout.backports.objects import Entry, MissingObject

if TYPE_CHECKING:
    from haulout.backports.objects import Bench
    from haulout.backports.pin import Pin

_LONGEST: Final = 200_000
"""Characters of a patch shown."""


@dataclass(frozen=True, slots=True)
class Vendored:
    """The files below ``vendor/MODULE``."""

    files: int
    same: int
    patched: tuple[str, ...]
    """Files that differ from the library's."""
    extra: tuple[str, ...]
    """Files that the library does not have there."""
    patch: str
    """The differences, as a patch against the library."""


def modules_text(bench: Bench, tree: str) -> str | None:
    """Return vendor/modules.txt, or None."""
    entry = bench.at(tree, f"{VENDOR}/modules.txt")
    return None if entry is None else decode(bench.read(entry.oid))


def compare(bench: Bench, tree: str, pin: Pin) -> Vendored | None:
    """Compare; None: the library's tree is not in this clone.

    What ``go mod vendor`` leaves out (tests, packages nobody imports) is no difference. A licence that it takes from
    the top of the repository, for a module in a folder, is looked for there.
    """
    assert pin.commit is not None
    below = bench.folder(tree, f"{VENDOR}/{pin.module}")
    if below is None:
        return Vendored(0, 0, (), (), "")
    try:
        top = bench.commit(pin.commit).tree
        of = bench.folder(top, pin.folder.rstrip("/"))
        if of is None:
            return None
        nested = _nested(bench, of)
        own: dict[str, Entry] = {}
        theirs: dict[str, Entry] = {}
        extra, same = [], 0
        for path, entry in bench.files(below):
            original = bench.at(of, path)
            if original is None and "/" not in path:
                original = bench.at(top, path)
            if original is None or any(path.startswith(folder) for folder in nested):
                extra.append(path)
            elif original.oid == entry.oid and original.mode == entry.mode:
                same += 1
            else:
                own[path], theirs[path] = original, entry
    except MissingObject:
        return None
    patch = _patch(bench, own, theirs) if own else ""
    return Vendored(same + len(own) + len(extra), same, tuple(own), tuple(extra), patch)


def _nested(bench: Bench, tree: str) -> list[str]:
    """Return the folders below that are modules of their own; their files are vendored elsewhere."""
    found = []
    for name, entry in bench.entries(tree).items():
        if entry.mode == "40000" and name != VENDOR and bench.at(entry.oid, "go.mod") is not None:
            found.append(f"{name}/")
    return found


def _patch(bench: Bench, own: dict[str, Entry], theirs: dict[str, Entry]) -> str:
    done = bench.git.run(
        "diff-tree",
        "-r",
        "--patch",
        "--no-ext-diff",
        "--no-textconv",
        "--no-renames",
        bench.write_tree(own),
        bench.write_tree(theirs),
    )
    return decode(done.out)[:_LONGEST]
