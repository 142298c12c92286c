"""Read and write git's objects without touching the repository they come from.

:class:`ScratchObjects` is an empty repository in a temporary folder that sees the objects of others through alternates.
Nothing can be written into those through it, no setting, hook, driver or remote of theirs is in force, and an object
that is not there is simply missing: nothing is fetched.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from haulout.backports.git import Git, GitProcess, decode, encode, environment
from haulout.backports.trees import TREE, Entry, format_tree, parse_tree
from haulout.errors import ContentError
from haulout.local import private_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_MEMORY: Final = "/dev/shm"  # noqa: S108 - the folder made in it has a name of its own, and is the user's alone
_ENOUGH: Final = 256 << 20
"""Bytes; throw-away objects are of the size of what a fix changes."""
_SMALL: Final = 4096
"""Bytes of an object that is not compressed."""
_AT_ONCE: Final = 256
"""Objects that are asked for before the first answer is read."""


class MissingObject(ContentError):  # noqa: N818 - named by what is wrong, as in errors
    """An object that this clone does not hold (shallow, partial or damaged); ``oid`` names it."""

    def __init__(self, oid: str, what: str = "object") -> None:
        self.oid = oid
        super().__init__(
            f"{what} {oid[:12]} is not in this clone", hint="fetch it: git fetch --unshallow, or clone without --filter"
        )


@dataclass(frozen=True, slots=True)
class CommitObject:
    """The content of a commit object; unlike ``git log``, with parents a shallow clone cut away."""

    tree: str
    parents: tuple[str, ...]


class ScratchObjects:
    """The objects of repositories, and a place for throw-away ones. Use :func:`scratch_objects`."""

    def __init__(self, folder: Path, git: Git, isolated: Git, reader: GitProcess, algorithm: str) -> None:
        self.git = git
        self.isolated = isolated
        """Sees nothing but what was written here. A git that writes an object it can see elsewhere renews the times of
        that file, so whatever writes must run on this one."""
        self._objects = folder / "objects"
        self._reader = reader
        self._algorithm = algorithm
        self._trees: dict[str, dict[str, Entry]] = {}
        self._commits: dict[str, CommitObject] = {}
        self._present: dict[str, bool] = {}
        self._folders: dict[tuple[str, str], str | None] = {}
        self._copied: set[str] = set()
        self._written: set[str] = set()
        """Objects, and the folders of their files."""
        self._differences: dict[tuple[str, str], tuple[tuple[str, Entry | None, Entry | None], ...]] = {}

    @cached_property
    def empty_tree(self) -> str:
        """The tree without anything."""
        return self._write("tree", b"")

    def has(self, oid: str) -> bool:
        """Whether an object is here."""
        return self.has_all((oid,))

    def has_all(self, oids: Iterable[str]) -> bool:
        """Whether all of some objects are here."""
        wanted = dict.fromkeys(oids)
        for some in _batches(oid for oid in wanted if oid not in self._present):
            self._ask("info", *some)
            for oid in some:
                self._present[oid] = self._answer()[1] not in {"missing", "ambiguous"}
        return all(self._present[oid] for oid in wanted)

    def read(self, oid: str, kind: str = "blob") -> bytes:
        """Return an object's content.

        Raises:
            MissingObject: it is not here, or something else.
        """
        self._ask("contents", oid)
        return self._content(oid, kind)

    def read_all(self, oids: Iterable[str], kind: str = "blob") -> Iterator[tuple[str, bytes | None]]:
        """Yield objects and their content, None where it is not here."""
        for some in _batches(dict.fromkeys(oids)):
            self._ask("contents", *some)
            found: list[tuple[str, bytes | None]] = []
            for oid in some:
                try:
                    found.append((oid, self._content(oid, kind)))
                except MissingObject:
                    found.append((oid, None))
            yield from found

    def _content(self, oid: str, kind: str) -> bytes:
        said = self._answer()
        if said[1] in {"missing", "ambiguous"}:
            raise MissingObject(oid, kind)
        size = int(said[2])
        content = self._reader.out.read(size)
        self._reader.out.read(1)
        if len(content) != size:
            raise self._reader.failed(self._reader.process.wait() or 128)
        if said[1] != kind:
            raise MissingObject(oid, kind)
        return content

    def commit(self, oid: str) -> CommitObject:
        """Return a commit.

        Raises:
            MissingObject: it is not here.
        """
        found = self._commits.get(oid)
        if found is None:
            tree, parents = "", []
            for line in self.read(oid, "commit").split(b"\n\n", 1)[0].split(b"\n"):
                name, _, value = line.partition(b" ")
                if name == b"tree":
                    tree = value.decode("ascii", "replace")
                elif name == b"parent":
                    parents.append(value.decode("ascii", "replace"))
            found = self._commits[oid] = CommitObject(tree, tuple(parents))
        return found

    def entries(self, tree: str) -> dict[str, Entry]:
        """Return what a tree lists.

        Raises:
            MissingObject: it is not here.
        """
        found = self._trees.get(tree)
        if found is None:
            found = self._keep(tree, self.read(tree, "tree"))
        return found

    def _keep(self, tree: str, content: bytes) -> dict[str, Entry]:
        try:
            found = self._trees[tree] = parse_tree(content, len(tree) // 2)
        except ValueError as error:
            raise ContentError(f"tree {tree[:12]} is damaged", hint="look at it with: git fsck") from error
        return found

    def _read_trees(self, trees: Iterable[str]) -> None:
        """Read trees at once, as far as they are here: one by one, they cost a wait each."""
        for tree, content in self.read_all(set(trees) - self._trees.keys(), "tree"):
            if content is not None:
                self._keep(tree, content)

    def read_folders(self, trees: Iterable[str], paths: Iterable[str]) -> None:
        """Read the folders of files below several trees ahead, level by level."""
        folders = {path.rpartition("/")[0] for path in paths}
        level = dict.fromkeys(trees, folders)
        while level:
            self._read_trees(level)
            below: dict[str, set[str]] = {}
            for tree, inner in level.items():
                for folder in inner:
                    name, _, rest = folder.partition("/")
                    entry = self._trees.get(tree, {}).get(name)
                    if entry is not None and entry.mode == TREE:
                        below.setdefault(entry.oid, set()).add(rest)
            level = below

    def at(self, tree: str, path: str) -> Entry | None:
        """Return what is at a path below a tree; a folder is nothing."""
        parent, _, name = path.rpartition("/")
        folder = self.folder(tree, parent)
        entry = None if folder is None else self.entries(folder).get(name)
        return None if entry is None or entry.mode == TREE else entry

    def folder(self, tree: str, path: str) -> str | None:
        """Return the tree at a path below a tree, or None."""
        if not path:
            return tree
        key = (tree, path)
        if key not in self._folders:
            parent, _, name = path.rpartition("/")
            there = self.folder(tree, parent)
            entry = None if there is None else self.entries(there).get(name)
            self._folders[key] = None if entry is None or entry.mode != TREE else entry.oid
        return self._folders[key]

    def files(self, tree: str, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        """Yield everything below a tree that is not a folder."""
        for name, entry in self.entries(tree).items():
            if entry.mode == TREE:
                yield from self.files(entry.oid, f"{prefix}{name}/")
            else:
                yield f"{prefix}{name}", entry

    def all_changes(self, old: str, new: str) -> tuple[tuple[str, Entry | None, Entry | None], ...]:
        """Return what :meth:`changes` yields, and remember it."""
        if (old, new) not in self._differences:
            self._differences[old, new] = tuple(self.changes(old, new))
        return self._differences[old, new]

    def changes(self, old: str, new: str, prefix: str = "") -> Iterator[tuple[str, Entry | None, Entry | None]]:
        """Yield path, old and new entry wherever two trees differ; equal subtrees are not looked into."""
        if old == new:
            return
        before, after = self.entries(old), self.entries(new)
        differ = sorted({name for name, _ in before.items() ^ after.items()})
        below = (side.get(name) for name in differ for side in (before, after))
        ahead = {entry.oid for entry in below if entry is not None and entry.mode == TREE}
        if ahead:
            self._read_trees(ahead)
        for name in differ:
            one, two = before.get(name), after.get(name)
            path = f"{prefix}{name}"
            folders = [None if entry is None or entry.mode != TREE else entry.oid for entry in (one, two)]
            if any(folders):
                yield from self.changes(folders[0] or self.empty_tree, folders[1] or self.empty_tree, f"{path}/")
            leaves = [None if entry is None or entry.mode == TREE else entry for entry in (one, two)]
            if any(leaves):
                yield path, leaves[0], leaves[1]

    def write_tree(self, files: Mapping[str, Entry]) -> str:
        """Write a throw-away tree, folders included; return its id."""
        here: dict[str, Entry] = {}
        below: dict[str, dict[str, Entry]] = {}
        for path, entry in files.items():
            folder, slash, rest = path.partition("/")
            if slash:
                below.setdefault(folder, {})[rest] = entry
            else:
                here[folder] = entry
        for folder, inner in below.items():
            here[folder] = Entry(TREE, self.write_tree(inner))
        return self._write("tree", format_tree(here))

    def replace(self, tree: str, changes: Mapping[str, Entry | None]) -> str:
        """Write a throw-away tree that differs from another in some files; None: it is not there any more."""
        here = dict(self.entries(tree))
        below: dict[str, dict[str, Entry | None]] = {}
        for path, entry in changes.items():
            folder, slash, rest = path.partition("/")
            if slash:
                below.setdefault(folder, {})[rest] = entry
            elif entry is not None:
                here[folder] = entry
            else:
                here.pop(folder, None)
        for folder, inner in below.items():
            there = here.get(folder)
            made = self.replace(there.oid if there and there.mode == TREE else self.empty_tree, inner)
            here[folder] = Entry(TREE, made)
            if made == self.empty_tree:
                del here[folder]
        return self._write("tree", format_tree(here))

    def write_commit(self, tree: str, *parents: str) -> str:
        """Write a throw-away commit; return its id."""
        who = "nobody <> 0 +0000"
        lines = [f"tree {tree}", *(f"parent {oid}" for oid in parents), f"author {who}", f"committer {who}", "", ""]
        return self._write("commit", "\n".join(lines).encode())

    def copy(self, oids: Iterable[str]) -> None:
        """Make files' contents be here themselves.

        Raises:
            MissingObject: one is not in this clone.
        """
        for oid, content in self.read_all(set(oids) - self._copied):
            if content is None:
                raise MissingObject(oid, "blob")
            self._write("blob", content)
            self._copied.add(oid)

    def write_blob(self, content: bytes) -> str:
        """Write a throw-away file; return its id."""
        return self._write("blob", content)

    def attribute(self, lines: Iterable[str]) -> None:
        """Set the attributes that are in force here."""
        place = self._objects.parent / "info"
        place.mkdir(exist_ok=True)
        (place / "attributes").write_text("".join(f"{line}\n" for line in lines))

    def _write(self, kind: str, content: bytes) -> str:
        raw = f"{kind} {len(content)}".encode() + b"\0" + content
        oid = hashlib.new(self._algorithm, raw, usedforsecurity=False).hexdigest()
        if oid not in self._written:
            folder = self._objects / oid[:2]
            if oid[:2] not in self._written:
                folder.mkdir(exist_ok=True)
            path = folder / oid[2:]
            # Git, too, writes here, and what it wrote cannot be written.
            if not path.exists():
                path.write_bytes(_deflated(raw))
            self._written |= {oid, oid[:2]}
        return oid

    def _ask(self, command: str, *names: str) -> None:
        assert not any("\n" in name for name in names)
        try:
            self._reader.into.write(encode("".join(f"{command} {name}\n" for name in names)))
            self._reader.into.flush()
        except OSError:
            raise self._reader.failed(self._reader.process.wait() or 128) from None

    def _answer(self) -> list[str]:
        line = self._reader.out.readline()
        if not line.endswith(b"\n"):
            raise self._reader.failed(self._reader.process.wait() or 128)
        # "<oid> <type> <size>", or "<name> missing" with a name that may hold anything.
        words = decode(line).split()
        return words if len(words) == 3 and words[2].isdigit() else ["", words[-1] if words else "missing"]


def _deflated(raw: bytes) -> bytes:
    """Return content as git reads it: in the zlib format, and what is small in one stored block.

    To set up zlib costs more than all else that is done with a small object.
    """
    size = len(raw)
    if size > _SMALL:
        return zlib.compress(raw, 1)
    # RFC 1950 and 1951: header, last block and stored, its length and that inverted, the bytes, their checksum.
    length = size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
    return b"\x78\x01\x01" + length + raw + zlib.adler32(raw).to_bytes(4, "big")


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    """Yield names, so many at a time that a pipe takes all the questions before the first answer is read."""
    left = list(names)
    for start in range(0, len(left), _AT_ONCE):
        yield left[start : start + _AT_ONCE]


@contextmanager
def scratch_objects(stores: Sequence[Path], algorithm: str) -> Iterator[ScratchObjects]:
    """Set up scratch objects over the object folders ``stores``; everything written there is gone afterwards.

    Args:
        stores: ``objects`` folders of repositories.
        algorithm: ``sha1`` or ``sha256``, which git calls the object format.
    """
    with private_folder("haulout-objects-", _quick_place()) as folder:
        for name in ("objects/info", "refs"):
            (folder / name).mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/none\n")
        extension = "\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = sha256\n"
        (folder / "config").write_text(
            "[core]\n\tbare = true\n"
            + (extension if algorithm == "sha256" else "\trepositoryformatversion = 0\n")
            # Paths are compared one by one, each under a name of its own; see probe.
            + "[merge]\n\trenames = false\n\tdirectoryRenames = false\n"
        )
        variables = environment(os.environ) | {
            "GIT_DIR": str(folder),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
        }
        variables.pop("GIT_CONFIG_COUNT", None)
        isolated = Git(folder, variables)
        git = Git(folder, variables | {"GIT_ALTERNATE_OBJECT_DIRECTORIES": ":".join(map(_alternate, stores))})
        with git.process("cat-file", "--batch-command") as reader:
            yield ScratchObjects(folder, git, isolated, reader, algorithm)


def _quick_place() -> str | None:
    """Return where small files are made and removed fastest: in memory, where there is enough and TMPDIR is not set."""
    if "TMPDIR" in os.environ:
        return None
    try:
        free = os.statvfs(_MEMORY)
        enough = free.f_bavail * free.f_frsize >= _ENOUGH
    except OSError:
        return None
    return _MEMORY if enough and os.access(_MEMORY, os.W_OK | os.X_OK) else None


def _alternate(store: Path) -> str:
    text = os.fspath(store)
    if text.startswith('"') or ":" in text or "\n" in text:
        # Paths are separated by colons; git unquotes what begins with a quotation mark.
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return text
