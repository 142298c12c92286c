"""Where a disk was built from, as a git checkout says it: annotations of the image specification (annotations.md)."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from haulout.errors import UsageError
from haulout.local import run
from haulout.oci import annotations as keys

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS: Final = 20.0
_FOUND: Final = 0


def git_annotations(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return source, revision and date of the commit that is checked out, and what a person should know of it.

    The date is the committer's, so that the same commit always gives the same annotations. Credentials in the URL of
    the remote are left out.

    Args:
        folder: the checkout, or a folder in it.

    Raises:
        UsageError: it is not a git checkout, or has no commit yet.
        ToolError: git is not installed, or does not end.
    """
    found = _git(folder, "log", "-1", "--no-show-signature", "--format=%H %ct")
    if found is None:
        raise UsageError(f"{folder} is not a git checkout with a commit", hint="name the folder that was cloned")
    revision, _, seconds = found.partition(" ")
    created = datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    annotations = {keys.REVISION: revision, keys.CREATED: created}
    notes = []
    remote = _git(folder, "remote", "get-url", "origin")
    if remote:
        annotations[keys.SOURCE] = _without_credentials(remote)
    else:
        notes.append(f"{folder} has no remote 'origin': {keys.SOURCE} is not written")
    if _git(folder, "diff-index", "--quiet", "HEAD", "--") is None:
        notes.append(f"{folder} has changes that are not committed: {revision[:12]} does not hold them")
    return annotations, notes


def _git(folder: Path, *arguments: str) -> str | None:
    # No program that the checkout's configuration names is to run for a question.
    argv = ["git", "-C", os.fspath(folder), "-c", "core.fsmonitor=false", "-c", "core.pager=cat", *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    done = run(argv, seconds=_SECONDS, environment=environment, hint="install git, or leave out --source-from-git")
    return done.out.decode("utf-8", "replace").strip() if done.code == _FOUND else None


def _without_credentials(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return url.rpartition("@")[2]
    if not parts.scheme or not host:
        # host:path, as ssh has it: the name before it is no secret, but says nothing either.
        return url
    return urlunsplit((parts.scheme, f"[{host}]{port}" if ":" in host else f"{host}{port}", parts.path, "", ""))
