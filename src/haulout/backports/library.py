"""What a library is called: its Go module, or the name of its clone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from haulout.backports.git import decode

if TYPE_CHECKING:
    from haulout.backports.objects import Bench
    from haulout.backports.repository import Repository

_MODULE = re.compile(r'^\s*module\s+"?([^\s"]+)"?', re.MULTILINE)


def module(text: str) -> str | None:
    """Return the module that a go.mod declares, or None. Pure."""
    found = _MODULE.search(text)
    return found[1] if found else None


def name(repository: Repository, bench: Bench, commit: str) -> str:
    """Return what a library is called at a commit."""
    entry = bench.at(bench.commit(commit).tree, "go.mod")
    declared = module(decode(bench.read(entry.oid))) if entry is not None and bench.has(entry.oid) else None
    return declared or plain(repository)


def plain(repository: Repository) -> str:
    """Return a library's name of its remote's address, or of its folder."""
    url = repository.url()
    if url is not None and (found := re.fullmatch(r"(?:[a-z+]+://)?(?:[^/@]*@)?([\w.-]+)[:/]+(.+?)(?:\.git)?/?", url)):
        host, path = found[1], found[2]
        if "." in host and not url.startswith(("/", ".", "file:")):
            return f"{host}/{path}"
    folder = repository.common if repository.common.name != ".git" else repository.common.parent
    return folder.name.removesuffix(".git")
