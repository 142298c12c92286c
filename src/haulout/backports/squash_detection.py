"""Commits of a branch that are several upstream commits in one, and picks of merges: the same patch, or adapted?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.backports import history
from haulout.backports.trailers import sources, squashed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from haulout.backports.model import Commit
    from haulout.backports.repository import Repository

_LONGEST: Final = 8
"""Commits that are looked for in one."""
_MOST: Final = 60
"""Stretches of upstream history that are compared with one commit."""


def of_source(repository: Repository, oid: str) -> set[str]:
    """Return the patch-ids that a pick of a commit may have: of a merge one for each parent it may have gone onto."""
    commit = history.commits(repository, [oid])[0]
    if len(commit.parents) < 2:
        return set(history.patch_ids_of(repository, [oid], [""]).values())
    return {one for parent in commit.parents if (one := history.patch_id(repository, parent, oid)) is not None}


def cited(repository: Repository, commit: Commit, main: str) -> tuple[str, ...]:
    """Return the upstream commits that a message names together, oldest first; none, where it names one or none.

    Several trailers are also what a pick of a pick has; but then they are not all upstream.
    """
    names = squashed(commit.message) or tuple(one.oid for one in sources(commit.message))
    found = list(dict.fromkeys(repository.find(name) for name in names))
    oids = [oid for oid in found if oid is not None and repository.is_ancestor(oid, main)]
    if len(oids) < 2 or len(oids) < len(found):
        return ()
    within = set(oids)
    base = repository.git.run("merge-base", "--octopus", *oids, ok=(0, 1)).text
    line = repository.revisions("--topo-order", "--reverse", *oids, *([f"^{base}"] if base else []))
    return tuple(dict.fromkeys([*([base] if base in within else []), *(one for one in line if one in within)]))


def alike(
    repository: Repository, own: Mapping[str, str], touched: Mapping[str, Sequence[str]], upstream: Sequence[Commit]
) -> dict[str, tuple[str, ...]]:
    """Return the stretches of upstream history that have the patches of commits, oldest first, by commit.

    Only commits that change nothing but the files of the squash count: of others only a part would have been taken.

    Args:
        repository: the library.
        own: the patch-ids of the commits asked about.
        touched: the files of these, and of the upstream commits.
        upstream: candidates, newest first.
    """
    found = {}
    for oid, identity in own.items():
        files = set(touched.get(oid, ()))
        members = [one.oid for one in reversed(upstream) if files & set(touched.get(one.oid, ()))]
        whole = {one for one in members if set(touched[one]) <= files}
        stretches = [
            members[first : first + length]
            for length in range(2, _LONGEST + 1)
            for first in range(len(members) - length + 1)
        ]
        likely = [
            some
            for some in stretches
            if whole.issuperset(some) and {path for one in some for path in touched[one]} == files
        ]
        for some in likely[-_MOST:]:
            if together(repository, some, sorted(files)) == identity:
                found[oid] = tuple(some)
                break
    return found


def together(repository: Repository, oids: Sequence[str], files: Sequence[str]) -> str | None:
    """Return the patch-id of what a stretch of history did to some files, or None."""
    parent = repository.find(f"{oids[0]}^")
    return history.patch_id(repository, parent, oids[-1], files) if parent is not None else None
