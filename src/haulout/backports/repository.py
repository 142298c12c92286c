"""A clone: where its objects are, which branches it has, what a name in it means."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.backports.git import Git, environment, version
from haulout.backports.objects import ScratchObjects, scratch_objects
from haulout.errors import ContentError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager
    from os import PathLike


_REMOTES: Final = ("upstream", "origin")
"""Names of the remote that is the project's own, best first."""
_AMBIGUOUS: Final = re.compile(r"^warning: refname '(.+)' is ambiguous", re.MULTILINE)
_MAINLINES: Final = ("main", "master", "trunk", "devel", "development")


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch, local or as last fetched."""

    name: str
    """Without the remote: ``crio-1.27``."""
    ref: str
    """In full: ``refs/remotes/origin/crio-1.27``."""
    tip: str
    remote: str | None = None

    @property
    def shown(self) -> str:
        """As ``git branch`` shows it: with the remote's name."""
        return self.name if self.remote is None else f"{self.remote}/{self.name}"


@dataclass(frozen=True)
class Repository:
    """A clone of any kind: with or without a work tree, shallow, a linked worktree.

    Branches and remotes are listed once: one run looks at one state of a clone.
    """

    path: Path
    git: Git
    store: Path
    """Where its objects are."""
    common: Path
    """The folder with everything that worktrees share."""
    algorithm: str
    shallow: bool

    def scratch_objects(self, *others: Repository) -> AbstractContextManager[ScratchObjects]:
        """Set up scratch objects over the objects of this clone, and of others.

        Raises:
            UsageError: their object formats differ.
        """
        if any(other.algorithm != self.algorithm for other in others):
            raise UsageError(f"{self.path} and {others[0].path} have different object formats")
        return scratch_objects([self.store, *(other.store for other in others)], self.algorithm)

    def find(self, name: str) -> str | None:
        """Return the id of the commit that a name means, or None.

        Raises:
            UsageError: it is ambiguous, or a tag and a branch of that name lead to different commits.
        """
        if not name or "\0" in name or "\n" in name:
            return None
        done = self.git.run("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}", ok=(0, 1, 128))
        if done.code == 0:
            self._check_one(_AMBIGUOUS.search(done.err))
            return done.text.splitlines()[-1]
        if "ambiguous" in done.err and "unknown revision" not in done.err:
            raise UsageError(f"{name!r} is ambiguous in {self.path}", hint="write more of its digits")
        return None

    def _check_one(self, warned: re.Match[str] | None) -> None:
        """Refuse a name that git warns of, unless all that it may mean is the same."""
        if warned is None:
            return
        refs = [f"{folder}/{warned[1]}" for folder in ("refs/tags", "refs/heads", "refs/remotes")]
        found = {ref: oid for ref in refs if (oid := self.find(ref)) is not None}
        if len(set(found.values())) > 1:
            kinds = {"refs/tags": "a tag", "refs/heads": "a branch", "refs/remotes": "a remote's"}
            both = " and ".join(kinds["/".join(ref.split("/", 2)[:2])] for ref in found)
            raise UsageError(f"{warned[1]!r} is {both} in {self.path}", hint=f"write which: {', or '.join(found)}")

    def resolve(self, name: str) -> str:
        """Return the id of the commit that a name means.

        Raises:
            NotFoundError: there is none.
            UsageError: it is ambiguous.
        """
        found = self.find(name)
        if found is None:
            raise NotFoundError(
                f"no such commit in {self.path}: {name!r}",
                hint="this clone is shallow: git fetch --unshallow" if self.shallow else "fetch it",
            )
        return found

    def branches(self, remote: str | None = None) -> list[Branch]:
        """Return local branches and those of one remote, by name; of two equal ones, the local.

        Args:
            remote: its name; by default the one that :meth:`remote` finds.

        Raises:
            NotFoundError: there is no such remote.
        """
        if remote is not None and remote not in self.remotes():
            raise NotFoundError(f"no remote {remote!r} in {self.path}", hint=near(remote, self.remotes()))
        remote = remote or self.remote()
        found: dict[tuple[str, str], Branch] = {}
        for branch in self.all_branches():
            if branch.remote in {None, remote}:
                found.setdefault((branch.name, branch.tip), branch)
        return sorted(found.values(), key=lambda branch: (natural(branch.name), branch.remote or ""))

    def all_branches(self) -> list[Branch]:
        """Return every branch, of every remote; local ones first."""
        return list(self._branches)

    @cached_property
    def _branches(self) -> list[Branch]:
        remotes = sorted(self.remotes(), key=len, reverse=True)
        found: list[Branch] = []
        for line in self.git.text(
            "for-each-ref", "--format=%(refname)%09%(objectname)%09%(symref)", "refs/heads", "refs/remotes"
        ).split("\n"):
            # Not splitlines(): a name may hold what Unicode takes for a line end.
            if not line:
                continue
            ref, tip, symbolic = line.split("\t")
            if symbolic:
                continue
            if ref.startswith("refs/heads/"):
                found.append(Branch(ref.removeprefix("refs/heads/"), ref, tip))
                continue
            short = ref.removeprefix("refs/remotes/")
            owner = next((name for name in remotes if short.startswith(f"{name}/")), short.partition("/")[0])
            found.append(Branch(short.removeprefix(f"{owner}/"), ref, tip, owner))
        return found

    def branch(self, name: str) -> Branch:
        """Return the branch a person means: the local one, or a remote's, with or without the remote's name.

        Raises:
            NotFoundError: there is none.
        """
        every = self.all_branches()
        short = name.removeprefix("refs/heads/").removeprefix("refs/remotes/")
        preferred = self.remote()
        choices = (
            [branch for branch in every if branch.remote is None and branch.name == short],
            [branch for branch in every if branch.remote == preferred and branch.name == short],
            [branch for branch in every if branch.shown == short],
            [branch for branch in every if branch.name == short],
        )
        for found in choices:
            if found:
                return found[0]
        raise NotFoundError(f"no branch {name!r} in {self.path}", hint=near(name, {branch.name for branch in every}))

    def may_be_branch(self, name: str) -> bool:
        """Whether git takes a name for a new branch."""
        # Not --branch, which expands "@{-1}".
        good = self.git.yes("check-ref-format", f"refs/heads/{name}") if "\0" not in name else False
        return good and not name.startswith("-") and name != "HEAD"

    def remotes(self) -> list[str]:
        """Return the names of all remotes."""
        return list(self._remotes)

    @cached_property
    def _remotes(self) -> list[str]:
        return self.git.text("remote").splitlines()

    def remote(self) -> str | None:
        """Return the name of the remote that is the project's own: upstream, origin, or the only one."""
        names = self.remotes()
        return next((name for name in _REMOTES if name in names), names[0] if names else None)

    def mainline(self, name: str | None = None) -> Branch:
        """Return the branch that fixes come from.

        Args:
            name: the branch, as a person names it; by default the remote's HEAD, or a branch with the usual name.

        Raises:
            NotFoundError: there is none.
        """
        if name is not None:
            return self.branch(name)
        remote = self.remote()
        if remote is not None:
            head = self.git.run("symbolic-ref", "--quiet", f"refs/remotes/{remote}/HEAD", ok=(0, 1, 128)).text
            wanted = [head.removeprefix(f"refs/remotes/{remote}/")] if head else []
        else:
            head = self.git.run("symbolic-ref", "--quiet", "HEAD", ok=(0, 1, 128)).text
            wanted = []
        every = self.all_branches()
        for candidate in (*wanted, *_MAINLINES):
            named = [branch for branch in every if branch.name == candidate]
            # What is upstream counts, not what a local branch of that name lags behind.
            for branch in sorted(named, key=lambda one: (one.remote != remote, one.remote or "")):
                return branch
        for branch in every:
            if branch.ref == head:
                return branch
        raise NotFoundError(f"no main branch in {self.path}", hint="name the branch that fixes come from: --main NAME")

    def tags(self) -> dict[str, str]:
        """Return every tag that leads to a commit, and that commit."""
        found: dict[str, str] = {}
        for line in self.git.text(
            "for-each-ref",
            "--format=%(refname:strip=2)%09%(objectname)%09%(objecttype)%09%(*objectname)%09%(*objecttype)",
            "refs/tags",
        ).split("\n"):
            if not line:
                continue
            name, oid, kind, inner, inner_kind = line.split("\t")
            if kind == "commit":
                found[name] = oid
            elif inner_kind == "commit":
                found[name] = inner
        return found

    def is_ancestor(self, one: str, other: str) -> bool:
        """Whether a commit is the other, or in its past."""
        return self.git.yes("merge-base", "--is-ancestor", one, other)

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor, or None."""
        return self.git.run("merge-base", one, other, ok=(0, 1)).text.partition("\n")[0] or None

    def revisions(self, *arguments: str) -> list[str]:
        """Return what ``git rev-list`` lists."""
        return self.git.text("rev-list", *arguments).split()

    def show(self, commit: str, path: str) -> bytes | None:
        """Return a file as it is in a commit, or None.

        Args:
            commit: its id; "": the index.
            path: of the file, from the top.

        Raises:
            ContentError: it is there, and this partial clone does not hold it.
        """
        done = self.git.run("cat-file", "blob", f"{commit}:{path}", ok=(0, 128))
        if done.code == 0:
            return done.out
        named = self.git.run("rev-parse", "--verify", "--quiet", f"{commit}:{path}", ok=(0, 1, 128))
        if named.code == 0 and self.git.run("cat-file", "-e", named.text, ok=(0, 1, 128)).code:
            raise ContentError(
                f"{path} at {commit[:12]} is not in this partial clone",
                hint=f"fetch it: git -C {shlex.quote(str(self.path))} cat-file blob {commit[:12]}:{path}",
            )
        return None

    def find_file(self, commit: str, path: str) -> str | None:
        """Return the id of a file in a commit, or None."""
        done = self.git.run("rev-parse", "--verify", "--quiet", f"{commit}:{path}", ok=(0, 1, 128))
        return done.text or None

    def cut(self, commit: str) -> bool:
        """Whether a shallow clone ends at a commit: it has parents, which are not here."""
        return self.shallow and b"\nparent " in self.git.run("cat-file", "commit", commit).out.partition(b"\n\n")[0]

    def url(self) -> str | None:
        """Return the address of the project's own remote, or None."""
        name = self.remote()
        if name is None:
            return None
        return self.git.run("config", "--get", f"remote.{name}.url", ok=(0, 1)).text or None


def open_repository(folder: str | PathLike[str], *, offline: bool = True) -> Repository:
    """Open the clone that a folder is, or is in.

    Args:
        folder: the folder.
        offline: let git fetch nothing, even in a partial clone.

    Raises:
        NotFoundError: it is not a clone.
        DeniedError: it belongs to another user.
        ToolError: git is not installed, or too old.
    """
    path = Path(folder)
    git = Git(path, environment(os.environ, offline=offline))
    version(git if path.is_dir() else Git(Path("/"), git.variables))
    # Alone, as a folder's name may hold a line end.
    common = Path(
        os.fsdecode(git.run("rev-parse", "--path-format=absolute", "--git-common-dir").out.removesuffix(b"\n"))
    )
    shown = git.text("rev-parse", "--show-object-format", "--is-shallow-repository", "--show-cdup").split("\n")
    algorithm, shallow, up = (*shown, "")[:3]
    return Repository(
        path,
        # Paths are meant from the top.
        Git(path / up, git.variables) if up else git,
        common / "objects",
        common,
        algorithm,
        shallow == "true",
    )


def matching(branches: Iterable[Branch], globs: Sequence[str]) -> list[Branch]:
    """Return the branches that a glob matches, by their name with or without the remote; all, where there is none."""
    return [
        branch
        for branch in branches
        if not globs or any(fnmatchcase(name, glob) for name in {branch.name, branch.shown} for glob in globs)
    ]


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts ``v0.9`` before ``v0.10``."""
    parts = (part for part in re.split(r"(\d+)", name) if part)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)


def near(name: str, known: Iterable[str]) -> str | None:
    """Return a hint that names what may have been meant, or None."""
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes alone

    found = get_close_matches(name, list(known), n=3)
    return f"did you mean {', '.join(found)}?" if found else None
