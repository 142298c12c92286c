"""Find the upstream commit that each commit of a branch was made from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haulout.backports import history, squash_detection
from haulout.backports.git import decode
from haulout.backports.trailers import reverted, same_commit, sources, subject_key
from haulout.documents import Document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.backports.model import Commit
    from haulout.backports.repository import Repository


@dataclass(frozen=True, slots=True)
class Origin(Document):
    """Where a commit comes from."""

    json_members = ("commit", "squashed", "via", "known", "signals", "equal", "upstream")

    oid: str | None
    """None: what its message names is not in this clone."""
    signals: tuple[str, ...]
    equal: bool
    """Its patch-id is the source's; else it was adapted."""
    upstream: bool
    """The source is on the main branch."""
    named: str = ""
    """What the message names, where that is not in this clone."""
    via: str | None = None
    """The backport it was picked from, which was made from ``oid``."""
    squashed: tuple[str, ...] = ()
    """All commits that were squashed, oldest first, the last being ``oid``; empty where it is one."""

    @property
    def commit(self) -> str:
        """The source, or what the message names."""
        return self.oid or self.named

    @property
    def known(self) -> bool:
        """Whether the source is in this clone."""
        return self.oid is not None


_DEEPEST: Final = 10
"""Picks of picks that are followed."""


def find_origins(
    repository: Repository, commits: Sequence[Commit], main: str, base: str, *, depth: int = 0
) -> dict[str, Origin]:
    """Return the origins of commits that have one.

    Args:
        repository: the library.
        commits: of a branch, since its base.
        main: tip of the main branch.
        base: where the branch began; what is upstream since then is looked through.
        depth: picks followed so far.
    """
    single = [commit for commit in commits if len(commit.parents) < 2]
    if not single:
        return {}
    upstream = history.between(repository, "--no-merges", f"{base}..{main}")
    own_ids = _patch_ids(repository, [commit.oid for commit in single])
    by_id = _by_patch_id(repository, single, base, main, own_ids)
    guesses = guess(single, upstream)
    made = {}
    for commit in single:
        for oid in by_id.get(own_ids.get(commit.oid, ""), []):
            guesses[commit.oid].setdefault(oid, []).append("patch-id")
        origin = _chosen(repository, guesses[commit.oid], main)
        if origin is not None:
            made[commit.oid] = _furthest(repository, origin, main, own_ids.get(commit.oid), depth)
    if not depth:
        made |= _squashed(repository, single, upstream, own_ids, made, main)
    return {oid: _compared(repository, origin, own_ids.get(oid)) for oid, origin in made.items()}


def _compared(repository: Repository, origin: Origin, patch_id: str | None) -> Origin:
    """Compare a pick with its source where no signal did: of a merge, or of what is not upstream."""
    if origin.equal or origin.squashed or origin.oid is None or patch_id is None:
        return origin
    return replace(origin, equal=patch_id in squash_detection.of_source(repository, origin.oid))


def _squashed(
    repository: Repository,
    single: Sequence[Commit],
    upstream: Sequence[Commit],
    own_ids: dict[str, str],
    made: dict[str, Origin],
    main: str,
) -> dict[str, Origin]:
    """Return the origins of commits that are several upstream commits in one."""
    found: dict[str, Origin] = {}
    files = touched(repository, [commit.oid for commit in single])
    for commit in single:
        members = squash_detection.cited(repository, commit, main)
        if members:
            same = squash_detection.together(repository, members, sorted(files.get(commit.oid, ())))
            equal = same is not None and same == own_ids.get(commit.oid)
            found[commit.oid] = Origin(members[-1], ("trailer",), equal, upstream=True, squashed=members)
    left = {
        commit.oid: own_ids[commit.oid]
        for commit in single
        if commit.oid not in made and commit.oid not in found and commit.oid in own_ids and not reverted(commit.message)
    }
    if left:
        files |= touched(repository, [commit.oid for commit in upstream])
        for oid, members in squash_detection.alike(repository, left, files, upstream).items():
            found[oid] = Origin(members[-1], ("patch-id",), equal=True, upstream=True, squashed=members)
    return found


def touched(repository: Repository, oids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the files that commits change, merges left out."""
    if not oids:
        return {}
    given = "".join(f"{oid}\n" for oid in oids).encode()
    out = repository.git.run(
        "diff-tree", "--stdin", "-r", "-z", "--root", "--name-only", "--no-renames", stdin=given
    ).out
    found: dict[str, list[str]] = {}
    known = set(oids)
    files: list[str] = []
    for part in decode(out).split("\0"):
        # The id of each commit stands before its files, with a line end of its own.
        name = part.removesuffix("\n")
        head, newline, rest = part.partition("\n")
        if name in known or (newline and head in known):
            files = found.setdefault(head, [])
            if rest:
                files.append(rest)
        elif part:
            files.append(part)
    return {oid: tuple(paths) for oid, paths in found.items()}


def _furthest(repository: Repository, origin: Origin, main: str, patch_id: str | None, depth: int) -> Origin:
    """Follow a pick from another branch to where that came from."""
    if origin.oid is None or origin.upstream or depth >= _DEEPEST:
        return origin
    fork = repository.merge_base(origin.oid, main)
    between = history.commits(repository, [origin.oid])
    further = find_origins(repository, between, main, fork, depth=depth + 1).get(origin.oid) if fork else None
    if further is None or not further.upstream or further.oid is None:
        return origin
    ids = _patch_ids(repository, [origin.oid, further.oid])
    return replace(further, signals=origin.signals, equal=patch_id in ids.values(), via=origin.oid)


def guess(commits: Sequence[Commit], upstream: Sequence[Commit]) -> dict[str, dict[str, list[str]]]:
    """Return, for each commit, what it may come from and the signals that say so. Pure."""
    by_key: dict[tuple[str, str], list[Commit]] = {}
    by_date: dict[tuple[str, int], list[Commit]] = {}
    for one in upstream:
        by_key.setdefault((one.email, subject_key(one.subject)), []).append(one)
        by_date.setdefault((one.email, one.authored), []).append(one)
    guesses: dict[str, dict[str, list[str]]] = {}
    for commit in commits:
        found = guesses[commit.oid] = {}
        for citation in sources(commit.message):
            found.setdefault(citation.oid, []).append(citation.signal)
        for one in by_date.get((commit.email, commit.authored), []):
            found.setdefault(one.oid, []).append("author-date")
        for one in by_key.get((commit.email, subject_key(commit.subject)), []):
            found.setdefault(one.oid, []).append("subject")
    return guesses


def _chosen(repository: Repository, guesses: dict[str, list[str]], main: str) -> Origin | None:
    """Return the best guess: what the message names, else what has the most signals."""
    joined: dict[str | None, list[str]] = {}
    named = ""
    for name, signals in guesses.items():
        oid = repository.find(name)
        if oid is None:
            named = name
        whole = next((key for key in joined if key and oid and same_commit(key, oid)), oid)
        joined.setdefault(whole, []).extend(signals)
    if not joined:
        return None

    def weight(item: tuple[str | None, list[str]]) -> tuple[bool, bool, int]:
        oid, signals = item
        return (bool({"trailer", "note"} & set(signals)), oid is not None, len(set(signals)))

    oid, signals = max(joined.items(), key=weight)
    unique = tuple(dict.fromkeys(signals))
    if unique == ("author-date",):
        # Commits of one series may share a date.
        return None
    return Origin(
        oid,
        unique,
        "patch-id" in unique,
        oid is not None and repository.is_ancestor(oid, main),
        named if oid is None else "",
    )


def _patch_ids(repository: Repository, oids: Sequence[str]) -> dict[str, str]:
    return history.patch_ids_of(repository, oids, [""])


def _by_patch_id(
    repository: Repository, commits: Sequence[Commit], base: str, main: str, own: dict[str, str]
) -> dict[str, list[str]]:
    """Return the upstream commits that have the patch-ids of these, by patch-id."""
    files = sorted({path for some in touched(repository, [one.oid for one in commits]).values() for path in some})
    if not files or not own:
        return {}
    wanted = set(own.values())
    # Whole patches, of the commits that touch one of the files.
    touching = history.between(repository, "--no-merges", f"{base}..{main}", paths=files)
    found: dict[str, list[str]] = {}
    for oid, identity in _patch_ids(repository, [one.oid for one in touching]).items():
        if identity in wanted:
            found.setdefault(identity, []).append(oid)
    return found
