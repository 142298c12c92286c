"""What things are called: consumers and their branches, release lines, libraries, package URLs, files of code."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from haulout.backports.git import decode
from haulout.backports.objects import MissingObject, ScratchObjects
from haulout.errors import ContentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.backports.repository import Repository

_CONSUMER: Final = re.compile(r"(?P<name>[a-z][a-z0-9]*(?:[-_][a-z][a-z0-9]*)*)-v?(?P<version>\d+\.\d+(?:\.\d+)?)")
_TAG: Final = re.compile(r"(?P<prefix>(?:[\w.-]+/)*)v?(?P<major>\d+)\.(?P<minor>\d+)(?:\.\d+)?(?:[-+].*)?")
_MODULE: Final = re.compile(r'^\s*module\s+"?([^\s"]+)"?', re.MULTILINE)
_NOT_CODE: Final = (".md", ".rst", ".txt", ".adoc", ".bats")
_NOTES: Final = frozenset({"changelog", "changelog.d", "changelogs", "changes", "changes.d", "news", "newsfragments"})
"""Folders with fragments of release notes, which a release uses up; where code is in one, its ending tells."""
_CODE: Final = (".c", ".cc", ".cpp", ".go", ".h", ".java", ".js", ".kt", ".pl", ".py", ".rb", ".rs", ".sh", ".ts")
RHEL: Final = "-rhel"


@dataclass(frozen=True, slots=True)
class Consumer:
    """The consumer that a branch is kept for: ``crio`` at ``1.27``."""

    name: str
    version: str
    rhel: bool = False

    @classmethod
    def parse(cls, text: str, *, rhel: bool = False) -> Self:
        """Read ``NAME-X.Y``.

        Raises:
            UsageError: it is not of that form.
        """
        plain = text.removesuffix(RHEL)
        found = _CONSUMER.fullmatch(plain)
        if found is None:
            raise UsageError(f"not a consumer: {text[:80]!r}", hint="write NAME-X.Y, for example crio-1.27")
        return cls(found["name"], found["version"], rhel or plain != text)

    @property
    def branch(self) -> str:
        """The library's branch that serves it."""
        return f"{self.name}-{self.version}{RHEL if self.rhel else ''}"


def serves(branch: str, tag: str) -> bool:
    """Whether a branch is, by its name, the library's own release branch for a tag's line. Pure.

    ``v0.53``, ``release-0.53``, ``release/v0.53``, ``0.53.x``, ``v0.53-stable``, ``v0.53-rhel``; with the folder of a
    module of several (``common/v0.65.0``), before or behind ``release-``.
    """
    found = _TAG.fullmatch(tag)
    if found is None:
        return False
    prefix, version = re.escape(found["prefix"]), re.escape(f"{found['major']}.{found['minor']}")
    word = r"(?:release|releases|stable|branch|maint|maintenance|support)"
    start = rf"(?:{prefix}(?:{word}[-/_])?|{word}[-/_]{prefix})"
    return re.fullmatch(rf"{start}v?{version}(?:\.x)?(?:[-_](?:{word}|rhel))?", branch) is not None


@lru_cache(maxsize=4096)
def is_code(path: str) -> bool:
    """Whether a file is part of what is shipped, by its name: not a test, not a document. Pure."""
    lower = path.lower()
    folders, _, name = lower.rpartition("/")
    stem = name.rpartition(".")[0] or name
    return not (
        name.endswith(_NOT_CODE)
        or {"test", "tests", "testdata", "docs", "doc"} & set(folders.split("/"))
        or (_NOTES & set(folders.split("/")) and not name.endswith(_CODE))
        or stem.startswith("test_")
        or stem.endswith(("_test", ".test", "-test"))
    )


def module_of(text: str) -> str | None:
    """Return the module that a go.mod declares, or None. Pure."""
    found = _MODULE.search(text)
    return found[1] if found else None


def modules_in(objects: ScratchObjects, tree: str) -> Iterator[tuple[str, str]]:
    """Yield the Go modules below a tree: the folder of each, "" or with a slash at the end, and its path."""
    for path, entry in objects.files(tree):
        if path.rpartition("/")[2] == "go.mod" and not path.startswith("vendor/") and objects.has(entry.oid):
            declared = module_of(decode(objects.read(entry.oid)))
            if declared is not None:
                yield path.removesuffix("go.mod"), declared


def library_name(repository: Repository, objects: ScratchObjects, commit: str, *, sure: bool = True) -> str:
    """Return what a library is called at a commit: its Go module, or the name of its clone.

    A partial clone may lack that commit's go.mod. Nothing is fetched for it: what is checked out has the same name, but
    for the number of a major version.

    Args:
        repository: the library.
        objects: sees its objects.
        commit: where to look.
        sure: do not guess: entries of ledgers are found by the name.

    Raises:
        ContentError: there is a go.mod, this clone does not hold it, and ``sure``.
    """
    try:
        entry = objects.at(objects.commit(commit).tree, "go.mod")
        if entry is None:
            return _name_of_clone(repository)
        if objects.has(entry.oid):
            return module_of(decode(objects.read(entry.oid))) or _name_of_clone(repository)
    except MissingObject:
        # Without its trees, it cannot be known either whether there is a go.mod.
        pass
    found = _checked_out_module(repository)
    if found is None and sure:
        raise ContentError(
            f"cannot determine the library's name: this partial clone lacks go.mod at {commit[:12]}",
            hint=f"fetch it: git -C {shlex.quote(str(repository.path))} cat-file blob {commit[:12]}:go.mod",
        )
    return found or _name_of_clone(repository)


def _checked_out_module(repository: Repository) -> str | None:
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
    return module_of(decode(raw))


def _name_of_clone(repository: Repository) -> str:
    """Return a library's name by its remote's address, or by its folder."""
    url = repository.url()
    if url is not None and (found := re.fullmatch(r"(?:[a-z+]+://)?(?:[^/@]*@)?([\w.-]+)[:/]+(.+?)(?:\.git)?/?", url)):
        host, path = found[1], found[2]
        if "." in host and not url.startswith(("/", ".", "file:")):
            return f"{host}/{path}"
    folder = repository.common if repository.common.name != ".git" else repository.common.parent
    return folder.name.removesuffix(".git")


def purl(name: str, version: str, url: str | None, commit: str) -> str:
    """Return the package URL of a library at a version (https://github.com/package-url/purl-spec). Pure.

    A Go module is ``pkg:golang``; anything else is ``pkg:generic`` with where its source is, as far as that is known.

    Args:
        name: its Go module, or what it is called.
        version: of a tag, or a pseudo-version.
        url: where the clone came from.
        commit: the full id.
    """
    path = "/".join(quote(part, safe="-._~") for part in name.split("/"))
    if re.match(r"[\w-]+(?:\.[\w-]+)+/", name):
        return f"pkg:golang/{path}@{quote(version, safe='-._~')}"
    where = f"?vcs_url=git%2B{quote(url, safe='')}%40{commit}" if url and re.match(r"https?://[^@/]+/", url) else ""
    return f"pkg:generic/{path}@{quote(version, safe='-._~')}{where}"
