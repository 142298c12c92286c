"""What a library is called: its Go module, or the name of its clone."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from haulout.backports.git import decode
from haulout.backports.objects import MissingObject
from haulout.errors import ContentError

if TYPE_CHECKING:
    from haulout.backports.objects import Bench
    from haulout.backports.repository import Repository

_MODULE = re.compile(r'^\s*module\s+"?([^\s"]+)"?', re.MULTILINE)


def module(text: str) -> str | None:
    """Return the module that a go.mod declares, or None. Pure."""
    found = _MODULE.search(text)
    return found[1] if found else None


def name(repository: Repository, bench: Bench, commit: str, *, sure: bool = True) -> str:
    """Return what a library is called at a commit.

    A partial clone may lack that commit's go.mod. Nothing is fetched for it: what is checked out says the same, but for
    the number of a major version.

    Args:
        repository: the library.
        bench: sees its objects.
        commit: where to look.
        sure: take the name for no guess: entries of ledgers are found by it.

    Raises:
        ContentError: there is a go.mod, this clone does not hold it, and ``sure``.
    """
    try:
        entry = bench.at(bench.commit(commit).tree, "go.mod")
        if entry is None:
            return plain(repository)
        if bench.has(entry.oid):
            return module(decode(bench.read(entry.oid))) or plain(repository)
    except MissingObject:
        # Without its trees, whether there is a go.mod cannot be told either.
        pass
    found = _at_hand(repository)
    if found is None and sure:
        raise ContentError(
            f"what the library is called cannot be told: this partial clone lacks go.mod at {commit[:12]}",
            hint=f"fetch it: git -C {shlex.quote(str(repository.path))} cat-file blob {commit[:12]}:go.mod",
        )
    return found or plain(repository)


def _at_hand(repository: Repository) -> str | None:
    """Return the module that the go.mod in the index, or else in the work tree, declares, or None."""
    try:
        raw = repository.show("", "go.mod")
    except ContentError:
        raw = None
    if raw is None:
        try:
            raw = (repository.git.folder / "go.mod").read_bytes()
        except OSError:
            return None
    return module(decode(raw))


def plain(repository: Repository) -> str:
    """Return a library's name of its remote's address, or of its folder."""
    url = repository.url()
    if url is not None and (found := re.fullmatch(r"(?:[a-z+]+://)?(?:[^/@]*@)?([\w.-]+)[:/]+(.+?)(?:\.git)?/?", url)):
        host, path = found[1], found[2]
        if "." in host and not url.startswith(("/", ".", "file:")):
            return f"{host}/{path}"
    folder = repository.common if repository.common.name != ".git" else repository.common.parent
    return folder.name.removesuffix(".git")
