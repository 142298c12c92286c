"""Which tag came before which, as far as names show. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from haulout.oci import is_helper_tag

if TYPE_CHECKING:
    from collections.abc import Iterable

_PART = re.compile(r"\d+|[A-Za-z]+")
_NUMBER = re.compile(r"\d")
_BEFORE_RELEASE: Final = frozenset({"alpha", "beta", "dev", "pre", "rc"})

_BEFORE, _END, _DASH, _DOT = range(4)
"""How parts of a version rank where others of the same beginning end, or go on."""

Version = tuple[tuple[int, int, str], ...]


def earlier_tags(tags: Iterable[str], tag: str) -> list[str]:
    """Return the tags of ``tags`` that may hold the version before ``tag``, the likeliest first.

    Tags of the same series (``5.9`` and ``v5.10`` are of one, ``next-5.9`` is of another) that are earlier, the latest
    of them first; then tags without a number, such as ``latest``. Before a tag without a number, every version counts.
    """
    others = [other for other in dict.fromkeys(tags) if other != tag and not is_helper_tag(other)]
    numbered = [other for other in others if _NUMBER.search(other)]
    if _NUMBER.search(tag):
        numbered = [other for other in numbered if series(other) == series(tag) and version(other) < version(tag)]
    return [*sorted(numbered, key=version, reverse=True), *(other for other in others if not _NUMBER.search(other))]


def version(tag: str) -> Version:
    """Return what tags of one series are compared by: ``5.9`` < ``5.10-rc1`` < ``5.10`` < ``5.10-2`` < ``5.10.1``."""
    first = _NUMBER.search(tag)
    parts: list[tuple[int, int, str]] = []
    for found in _PART.finditer(tag, first.start() if first else 0):
        part, follows_dot = found[0].lower(), tag[found.start() - 1 : found.start()] == "."
        if part in _BEFORE_RELEASE:
            parts.append((_BEFORE, 0, part))
        else:
            parts.append((_DOT if follows_dot else _DASH, int(part) if part.isdigit() else -1, part))
    return (*parts, (_END, 0, ""))


def is_version(tag: str) -> bool:
    """Whether a tag has a number; others are names that move, such as ``latest``."""
    return _NUMBER.search(tag) is not None


def newest_first(tags: Iterable[str]) -> list[str]:
    """Return tags in the order people look for them: names that move, then each series, its newest version first."""
    # Twice stable: by series, each by version.
    by_version = sorted(tags, key=lambda tag: (version(tag), tag), reverse=True)
    return sorted(by_version, key=lambda tag: (is_version(tag), series(tag) if is_version(tag) else tag))


def series(tag: str) -> str:
    """Return what comes before the first number: versions are compared within it."""
    found = _NUMBER.search(tag)
    before = tag[: found.start()] if found else tag
    return "" if before.lower() == "v" else before
