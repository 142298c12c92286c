"""Names of branches: of a consumer (``crio-1.27``), and of a library's own release lines. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONSUMER: Final = re.compile(r"(?P<name>[a-z][a-z0-9]*(?:[-_][a-z][a-z0-9]*)*)-v?(?P<version>\d+\.\d+(?:\.\d+)?)")
_TAG: Final = re.compile(r"(?P<prefix>(?:[\w.-]+/)*)v?(?P<major>\d+)\.(?P<minor>\d+)(?:\.\d+)?(?:[-+].*)?")
RHEL: Final = "-rhel"


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who a branch is kept for: ``crio`` at ``1.27``."""

    name: str
    version: str
    rhel: bool = False

    @classmethod
    def parse(cls, text: str, *, rhel: bool = False) -> Self:
        """Read ``NAME-X.Y``.

        Raises:
            UsageError: it is nothing of the kind.
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

    def __str__(self) -> str:
        return f"{self.name} {self.version}{' (RHEL)' if self.rhel else ''}"


def line(tag: str) -> tuple[str, str] | None:
    """Return the prefix and ``X.Y`` of a version tag, or None where it is no version."""
    found = _TAG.fullmatch(tag)
    return None if found is None else (found["prefix"], f"{found['major']}.{found['minor']}")


def serves(branch: str, tag: str) -> bool:
    """Whether a branch is, by its name, the library's own release branch for a tag's line.

    ``v0.53``, ``release-0.53``, ``release/v0.53``, ``0.53.x``, ``v0.53-stable``, ``v0.53-rhel``; with the folder of a
    module of several (``common/v0.65.0``), before or behind ``release-``.
    """
    found = line(tag)
    if found is None:
        return False
    prefix, version = re.escape(found[0]), re.escape(found[1])
    word = r"(?:release|releases|stable|branch|maint|maintenance|support)"
    start = rf"(?:{prefix}(?:{word}[-/_])?|{word}[-/_]{prefix})"
    return re.fullmatch(rf"{start}v?{version}(?:\.x)?(?:[-_](?:{word}|rhel))?", branch) is not None


def serving(tag: str, branches: Iterable[str]) -> str | None:
    """Return the first release branch for a tag's line, or None."""
    return next((name for name in branches if serves(name, tag)), None)
