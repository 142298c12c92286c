"""Walk history: commits with their messages, which branches contain them, patch-ids. Reads only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.backports.git import decode, encode
from haulout.backports.model import Commit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from haulout.backports.repository import Repository

_FORMAT: Final = "--format=%H%n%P%n%an%n%ae%n%at%n%ct%n%B"

PLAIN: Final = ("--no-ext-diff", "--no-textconv", "--no-renames", "--full-index")
"""A patch that is the same for every user."""

VENDOR: Final = "vendor"
"""Copies of other people's code, which no backport is recognised by."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Commits, newest first and children before parents, and which tips each is reachable from."""

    commits: tuple[Commit, ...]
    reached: dict[str, int]
    """Commit id to a bit mask over the tips; also of the parents the walk stopped at."""
    places: dict[str, int] = field(default_factory=dict)
    """Commit id to its place among the commits."""

    def on(self, commit: str) -> int:
        """Return the mask of the tips that contain a commit."""
        return self.reached.get(commit, 0)

    def place(self, commit: str) -> int:
        """Return the place of a commit; that of one before all others, where the walk did not reach it."""
        return self.places.get(commit, len(self.commits))


def commits(repository: Repository, oids: Sequence[str]) -> list[Commit]:
    """Return commits by their ids, in that order."""
    if not oids:
        return []
    given = encode("\n".join(oids) + "\n")
    return list(_log(repository, ("--no-walk=unsorted",), given))


def walk(repository: Repository, tips: Sequence[str], exclude: Iterable[str]) -> Walk:
    """Return what is reachable from the tips and not from ``exclude``."""
    asked = "\n".join([*dict.fromkeys(tips), *(f"^{oid}" for oid in exclude)]) + "\n"
    reached: dict[str, int] = {}
    for number, tip in enumerate(tips):
        reached[tip] = reached.get(tip, 0) | 1 << number
    found = []
    for commit in _log(repository, ("--topo-order",), encode(asked)):
        found.append(commit)
        mask = reached.get(commit.oid, 0)
        for parent in commit.parents:
            reached[parent] = reached.get(parent, 0) | mask
    return Walk(tuple(found), reached, {commit.oid: number for number, commit in enumerate(found)})


def between(repository: Repository, *arguments: str, paths: Sequence[str] = ()) -> list[Commit]:
    """Return the commits that ``git log ARGUMENTS -- PATHS`` lists."""
    return list(_log(repository, arguments, b"", paths))


def _log(repository: Repository, arguments: Sequence[str], given: bytes, paths: Sequence[str] = ()) -> Iterator[Commit]:
    stdin = ("--stdin",) if given else ()
    out = repository.git.run(
        "log", "-z", _FORMAT, *arguments, *stdin, *(("--", *literal(paths)) if paths else ()), stdin=given
    ).out
    for raw in out.split(b"\0"):
        if raw:
            yield _parse(raw)


def _parse(raw: bytes) -> Commit:
    oid, parents, author, email, authored, committed, message = decode(raw).split("\n", 6)
    return Commit(
        oid, tuple(parents.split()), author, email, int(authored or 0), int(committed or 0), message.removesuffix("\n")
    )


def literal(paths: Iterable[str]) -> list[str]:
    """Return paths as pathspecs that match nothing else."""
    return [f":(top,literal){path}" for path in paths]


def touching(repository: Repository, tips: Sequence[str], exclude: Iterable[str], paths: Sequence[str]) -> list[str]:
    """Return the commits between that touch one of the files, but merges."""
    asked = "\n".join([*dict.fromkeys(tips), *(f"^{oid}" for oid in exclude)]) + "\n"
    how = ("--full-history", "--no-merges", "--stdin", "--", *literal(paths))
    return repository.git.text("rev-list", *how, stdin=encode(asked)).split()


def patch_ids_of(repository: Repository, oids: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
    """Return the patch-ids of these very commits, over these files alone."""
    return _patch_ids(repository, ("--no-walk=unsorted",), "\n".join(oids) + "\n", paths) if oids else {}


def inverses(repository: Repository, oid: str, tips: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Return the commits since one up to tips that do, line by line, the opposite of what it did, newest first."""
    lines = ("--unified=0",)
    # Turned round, git also exchanges the prefixes.
    back = (*lines, "-R", "--src-prefix=b/", "--dst-prefix=a/")
    one = ("--no-walk=unsorted",)
    own = [_patch_ids(repository, (*one, *lines), f"{oid}\n", some).get(oid) for some in (paths, [""])]
    asked = "\n".join([*dict.fromkeys(tips), f"^{oid}"]) + "\n"
    like = [name for name, found in _patch_ids(repository, back, asked, paths).items() if found == own[0]]
    if not like:
        return []
    whole = _patch_ids(repository, (*one, *back), "\n".join(like) + "\n", [""])
    return [name for name in like if whole.get(name) == own[1]]


def _patch_ids(repository: Repository, how: Sequence[str], asked: str, paths: Sequence[str]) -> dict[str, str]:
    if not paths:
        return {}
    out = repository.git.piped(
        ("log", *how, "--no-merges", "--patch", *PLAIN, "--format=commit %H", "--stdin", "--", *literal(paths)),
        ("patch-id", "--stable"),
        encode(asked),
    )
    found: dict[str, str] = {}
    for line in decode(out).splitlines():
        identity, _, oid = line.partition(" ")
        found[oid] = identity
    return found


def patch_id(repository: Repository, old: str, new: str, paths: Sequence[str] = ()) -> str | None:
    """Return the patch-id of the difference between two commits, over some files or all; None: there is none."""
    out = repository.git.piped(("diff", *PLAIN, old, new, "--", *literal(paths)), ("patch-id", "--stable"), b"")
    return decode(out).partition(" ")[0] or None


def entry(repository: Repository, oid: str, main: str) -> str | None:
    """Return the commit on the first-parent line of main by which another came in; itself, where it is on that line."""
    since = set(repository.revisions("--ancestry-path", f"{oid}..{main}"))
    line = [one for one in repository.revisions("--first-parent", f"{oid}..{main}") if one in since]
    if not line:
        return oid if oid == main else None
    parents = repository.revisions("--max-count=1", "--parents", line[-1])[1:]
    return oid if parents and parents[0] == oid else line[-1]
