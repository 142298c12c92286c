"""What updates fix, and how bad that was: the port, and the source that is a file of the user's (docs/updates.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from haulout.local import parse_json, read_small, wrong_file
from haulout.machine.update_settings import Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from haulout.local import Table, Wrong

SCHEMA: Final = 1
_LONGEST_FILE: Final = 4 << 20
_LONGEST_DIGEST: Final = 71


@dataclass(frozen=True, slots=True)
class Fixed:
    """What an update fixes."""

    severity: Severity
    """The worst."""
    names: tuple[str, ...]
    """Such as ``CVE-2026-1234``."""


class FixSource(Protocol):
    """What knows what updates fix."""

    def fixed(self, current: str, candidate: str) -> Fixed | None:
        """Return what an update fixes; None: not known.

        Args:
            current: digest of the manifest of the disk that a machine runs.
            candidate: that of the new one.
        """


@dataclass(frozen=True, slots=True)
class FixedVersion:
    """One version, and what it fixes that the one before has."""

    digests: frozenset[str]
    """Of the manifests of its disks, one for each architecture and type."""
    severity: Severity
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FixList:
    """A list of versions, the oldest first: an update fixes what each version up to the new one fixes."""

    versions: Sequence[FixedVersion]

    def fixed(self, current: str, candidate: str) -> Fixed | None:
        """Return what lies between; also from a version that is not listed, which counts as older than all."""
        new, old = self._last(candidate), self._last(current)
        if new <= old:
            return None
        between = self.versions[old + 1 : new + 1]
        worst = max((each.severity for each in between), key=list(Severity).index)
        return Fixed(worst, tuple(dict.fromkeys(name for each in between for name in each.names)))

    def _last(self, digest: str) -> int:
        return max((number for number, each in enumerate(self.versions) if digest in each.digests), default=-1)


def read_fixes(path: Path) -> FixList:
    """Read a list of versions from a file.

    Raises:
        InvalidFile: it breaks the schema, or is of a newer version of it.
        NotFoundError: it is not there.
        StorageError: it cannot be read.
    """
    return parse_fixes(read_small(path, _LONGEST_FILE), wrong_file(path))


def parse_fixes(text: bytes, wrong: Wrong) -> FixList:
    """Parse a list of versions. Pure.

    Raises:
        InvalidFile: it breaks the schema, or is of a newer version of it.
    """
    table = parse_json(text, wrong)
    if table.number("schema", None, 1 << 30, 1) > SCHEMA:
        raise table.wrong("schema", f"is of a newer version; this haulout knows {SCHEMA}", hint="update haulout")
    versions = [_version(each) for each in table.tables("versions")]
    table.end()
    return FixList(versions)


def _version(table: Table) -> FixedVersion:
    digests: Collection[str] = table.texts("digests", longest=_LONGEST_DIGEST)
    if not digests or not all(each.startswith("sha256:") for each in digests):
        raise table.wrong("digests", "expected digests of manifests, sha256:…")
    found = FixedVersion(frozenset(digests), table.choice("severity", Severity.LOW), table.texts("fixes"))
    table.end()
    return found
