"""Files of which each branch has its own (OWNERS, CI) and that still name another branch: copied, and forgotten."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from haulout.backports.git import decode
from haulout.documents import Document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from haulout.backports.repository import Branch, Repository

_UPKEEP: Final = (
    "owners",
    "*/owners",
    "owners_aliases",
    "codeowners",
    "*/codeowners",
    ".cirrus.yml",
    ".github/*.yml",
    ".github/*.yaml",
    ".github/renovate.json*",
    ".gitlab-ci.yml",
    ".gitlab/*",
    ".packit.y*ml",
    ".tekton/*",
    ".travis.yml",
    ".circleci/*",
    "azure-pipelines*.yml",
    "jenkinsfile",
    "renovate.json*",
    ".mergify.yml",
    "maintainers*",
    "security.md",
)
_LARGEST: Final = 1 << 20
_KEY: Final = re.compile(
    r"^\s*(?:-\s+)?[\"']?([\w.-]*(?:branch|target_ref|base_ref)[\w.-]*)[\"']?\s*[:=]\s*(.*)$", re.IGNORECASE
)
_ITEM: Final = re.compile(r"^\s*-\s+[\"']?([^\s\"'#:]+)[\"']?\s*(?:#.*)?$")
_WORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./*-]*")
_MAINS: Final = frozenset({"main", "master", "trunk", "devel"})
"""Names that a main branch may have had when the file was copied."""


@dataclass(frozen=True, slots=True)
class Mention(Document):
    """A line that names another branch."""

    path: str
    line: int
    text: str
    branch: str


def is_upkeep(path: str) -> bool:
    """Whether every branch has its own of a file: OWNERS, CI."""
    return any(fnmatchcase(path.lower(), glob) for glob in _UPKEEP)


def scan(repository: Repository, branch: Branch, main: str) -> tuple[Mention, ...]:
    """Return the lines of a branch's OWNERS and CI files that name another branch."""
    known = {one.name for one in repository.all_branches()} | _MAINS | {main}
    known.discard(branch.name)
    found: list[Mention] = []
    with repository.scratch_objects() as objects:
        for path, entry in objects.files(objects.commit(branch.tip).tree):
            if is_upkeep(path) and objects.has(entry.oid):
                content = objects.read(entry.oid)
                if len(content) <= _LARGEST and b"\0" not in content:
                    found += mentions(path, decode(content), branch.name, known)
    return tuple(found)


def mentions(path: str, text: str, branch: str, known: Iterable[str]) -> list[Mention]:
    """Return the lines that name another branch. Pure.

    In CI files: values of keys about branches (``DEST_BRANCH: "main"``) and items of lists below such keys,
    unless the list has the branch itself too. Elsewhere (OWNERS): names of other consumer branches, and the main
    branch's where the line mentions branches.
    """
    others = set(known)
    if path.lower().endswith((".yml", ".yaml", ".toml", ".json", ".json5")):
        return list(_in_settings(path, text, branch, others))
    return list(_in_prose(path, text, others))


def _in_settings(path: str, text: str, branch: str, others: set[str]) -> Iterator[Mention]:
    listing = _Listing(-1)
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped:
            continue
        indent = len(line) - len(line.lstrip())
        item = _ITEM.match(line)
        if item is not None and 0 <= listing.indent <= indent:
            if item[1] in others:
                listing.found.append(Mention(path, number, stripped, item[1]))
            listing.own |= _same(item[1], branch)
            continue
        yield from listing.mentions
        listing = _Listing(-1)
        key = _KEY.match(line)
        if key is None:
            continue
        value = key[2].partition(" #")[0].strip()
        words = _WORD.findall(value)
        if not value:
            listing = _Listing(indent)
        elif not any(_same(word, branch) for word in words):
            yield from (Mention(path, number, stripped, word) for word in words if word in others)
    yield from listing.mentions


@dataclass(slots=True)
class _Listing:
    """The list below a key, as far as it was read."""

    indent: int
    """Of the key; -1: there is no list."""
    found: list[Mention] = field(default_factory=list)
    own: bool = False
    """The branch itself is in it."""

    @property
    def mentions(self) -> list[Mention]:
        return [] if self.own else self.found


def _in_prose(path: str, text: str, others: set[str]) -> Iterator[Mention]:
    for number, line in enumerate(text.splitlines(), 1):
        about_branches = "branch" in line.lower()
        for word in _WORD.findall(line):
            name = word.rstrip(".,:;")
            if name in others and (about_branches or name not in _MAINS):
                yield Mention(path, number, line.strip(), name)


def _same(word: str, branch: str) -> bool:
    return word == branch or ("*" in word and fnmatchcase(branch, word))
