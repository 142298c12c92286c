"""What commit messages state about where a commit comes from, and what it reverts. Pure.

Trailers of ``git cherry-pick -x``, the notes of Linux stable ("commit SHA upstream.", "[ Upstream commit SHA ]"), the
``Origin:`` of DEP-3, and reverts. Messages are evidence, never truth: see verdict.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ID: Final = r"([0-9a-f]{7,64})"
_WORD: Final = re.compile("[Cc]ommit|COMMIT")
"""In everything that names a source; most messages are put aside by it."""
_TRAILER: Final = re.compile(rf"\((?:cherry[- ]picked|backported) from (?:upstream )?commit {_ID}\b", re.IGNORECASE)
_NOTES: Final = (
    re.compile(rf"^\s*commit {_ID} upstream\.?\s*$", re.IGNORECASE | re.MULTILINE),
    re.compile(rf"^\s*\[ ?upstream commit {_ID} ?\]", re.IGNORECASE | re.MULTILINE),
    re.compile(rf"^upstream[- ]commit: ?{_ID}", re.IGNORECASE | re.MULTILINE),
    re.compile(rf"^origin: ?(?:backport|upstream|vendor).*?commit:{_ID}", re.IGNORECASE | re.MULTILINE),
)
_SQUASH: Final = re.compile(r"squashed commit of the following:", re.IGNORECASE)
_SQUASHED: Final = re.compile(r"^commit ([0-9a-f]{7,64})\s*$", re.MULTILINE)
_REVERTS: Final = re.compile(rf"(?<!partially )(?<!partly )\breverts commit {_ID}\b", re.IGNORECASE)
_REVERT: Final = re.compile(r'(?:\[[^\]]*\]\s*)*(Revert|Reapply) "(.+)"', re.IGNORECASE)
_FIXES: Final = re.compile(rf"^\s*fixes: ?{_ID}\b", re.IGNORECASE | re.MULTILINE)
_MENTION: Final = re.compile(rf"\b{_ID}\b")
_PREFIX: Final = re.compile(r"^(?:\[[^\]]*\]\s*|(?:backport|cherry-pick(?:ed)?):\s*)+", re.IGNORECASE)
_PULL: Final = re.compile(r"(?:\s*\((?:#\d+|[\w.-]+/[\w.-]+#\d+)\))+\s*$")
_IDENTIFIER: Final = re.compile(
    r"\b(CVE-\d{4}-\d{4,}|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}|GO-\d{4}-\d{4,})\b", re.IGNORECASE
)


_TRAILING: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*: |\(cherry[- ]picked from ", re.IGNORECASE)
_SAYS_FIXED: Final = re.compile(
    r"\W*(?:this )?(?:fix(?:es|ed)?|resolv(?:e|es|ed)|clos(?:e|es|ed)|address(?:es|ed)?|mitigat(?:e|es|ed)|cve|ghsa"
    r"|vulnerability|security)(?:\s+for)?[\s:#(]",
    re.IGNORECASE,
)
_ALONE: Final = re.compile(rf"(?:\W|and|{_IDENTIFIER.pattern})+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Citation:
    """A message names a commit as its source."""

    signal: str
    """``trailer`` or ``note``."""
    oid: str
    """Maybe abbreviated."""


def sources(message: str) -> tuple[Citation, ...]:
    """Return the commits a message says it was picked from, in its order; the last trailer is the latest pick."""
    if not _WORD.search(message):
        return ()
    found = [Citation("trailer", match[1].lower()) for match in _TRAILER.finditer(message)]
    found += [Citation("note", match[1].lower()) for note in _NOTES for match in note.finditer(message)]
    return tuple(dict.fromkeys(found))


def squashed(message: str) -> tuple[str, ...]:
    """Return the commits that ``git merge --squash`` says it squashed."""
    return tuple(dict.fromkeys(_SQUASHED.findall(message))) if _SQUASH.search(message) else ()


def reverted(message: str) -> tuple[str, ...]:
    """Return the commits a message says it reverts."""
    return tuple(match.lower() for match in _REVERTS.findall(message)) if _WORD.search(message) else ()


def reverted_subject(message: str) -> str | None:
    """Return the subject that ``Revert "…"`` names, where no commit is named; ``Reapply "…"`` reverts a revert."""
    found = _REVERT.fullmatch(_PULL.sub("", message.partition("\n")[0].strip()))
    if found is None or reverted(message):
        return None
    return found[2] if found[1].casefold() == "revert" else f'Revert "{found[2]}"'


def fixed(message: str) -> tuple[str, ...]:
    """Return the commits a message says it fixes (``Fixes: SHA``)."""
    return tuple(match.lower() for match in _FIXES.findall(message))


def mentions(message: str, oid: str) -> bool:
    """Whether a message names a commit at all, by at least ten digits."""
    return any(len(found) >= 10 and oid.startswith(found.lower()) for found in _MENTION.findall(message))


def identifiers(message: str) -> tuple[str, ...]:
    """Return the security identifiers in a message, as they are officially written."""
    found = (match.upper() for match in _IDENTIFIER.findall(message))
    # GHSA ids are lower case behind the prefix.
    return tuple(dict.fromkeys(f"GHSA{one[4:].lower()}" if one.startswith("GHSA") else one for one in found))


def fixed_identifiers(message: str) -> tuple[str, ...]:
    """Return the security identifiers that a message says it fixes; others it only mentions.

    Those in the subject, in trailers, in lines such as "Fixes CVE-…", and in lines that hold nothing else.
    """
    subject, _, body = message.partition("\n")
    last = body.rstrip().rpartition("\n\n")[2].split("\n")
    trailers = [line for line in last if _TRAILING.match(line)] if all(map(_TRAILING.match, last)) else []
    saying = [line for line in body.split("\n") if _SAYS_FIXED.match(line) or _ALONE.fullmatch(line)]
    return identifiers("\n".join([subject, *trailers, *saying]))


def plain_subject(subject: str) -> str:
    """Return a subject without what names the branch it was picked onto: leading ``[crio-1.27]`` and ``Backport:``."""
    return _PREFIX.sub("", subject.strip()) or subject


def subject_key(subject: str) -> str:
    """Return what is the same in the subjects of a commit and its backports.

    Leading ``[crio-1.27]`` and ``Backport:`` fall away, and the number of a pull request at the end.
    """
    plain = _PULL.sub("", _PREFIX.sub("", subject.strip()))
    return " ".join(plain.split()).rstrip(".").casefold()


def same_commit(one: str, other: str) -> bool:
    """Whether two ids, of which each may be abbreviated, name one commit."""
    return bool(one) and bool(other) and (one.startswith(other) or other.startswith(one))
