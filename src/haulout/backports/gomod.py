"""What a Go module pins: go.mod, vendor/modules.txt and pseudo-versions. Pure; no Go is needed.

Grammar: https://go.dev/ref/mod#go-mod-file and https://go.dev/ref/mod#pseudo-versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|`([^`]*)`|(//.*)|([^\s"`]+)')
_PSEUDO: Final = re.compile(
    r"(?P<base>v\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]*?)??)[-.](?P<zero>0\.)?(?P<time>\d{14})-(?P<commit>[0-9a-f]{12})"
)


@dataclass(frozen=True, slots=True)
class Require:
    """A module and the version of it that is asked for."""

    module: str
    version: str
    indirect: bool = False


@dataclass(frozen=True, slots=True)
class Replace:
    """A replacement of a module by another, or by a folder: ``./``, ``../`` or ``/``, without a version."""

    module: str
    version: str | None
    new: str
    new_version: str | None

    @property
    def local(self) -> bool:
        """Whether it is a folder."""
        return self.new_version is None


@dataclass(frozen=True, slots=True)
class GoMod:
    """A go.mod as far as it concerns pins."""

    module: str | None
    requires: tuple[Require, ...]
    replaces: tuple[Replace, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it; unknown lines are ignored, as Go does for dependencies."""
        module, requires, replaces = None, [], []
        for verb, words, comment in _statements(text):
            if verb == "module" and words:
                module = words[0]
            elif verb == "require" and len(words) == 2:
                requires.append(Require(words[0], words[1], "indirect" in comment))
            elif verb == "replace" and "=>" in words:
                arrow = words.index("=>")
                old, new = words[:arrow], words[arrow + 1 :]
                if old and new:
                    replaces.append(
                        Replace(old[0], old[1] if len(old) > 1 else None, new[0], new[1] if len(new) > 1 else None)
                    )
        return cls(module, tuple(requires), tuple(replaces))

    def required(self, module: str) -> Require | None:
        """Return what is asked of a module; the last line counts, as the highest version does in a tidy file."""
        return next((one for one in reversed(self.requires) if one.module == module), None)

    def replacement(self, module: str, version: str) -> Replace | None:
        """Return what replaces a module: a line with its version before one without."""
        fitting = [one for one in self.replaces if one.module == module and one.version in {None, version}]
        return min(fitting, key=lambda one: one.version is None, default=None)


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a Go module: of a tag, or of a commit (a pseudo-version)."""

    text: str
    commit: str | None = None
    """Twelve digits."""
    time: datetime | None = None
    """When that was committed, in UTC."""
    base: str | None = None
    """The tag a pseudo-version builds upon; None: there was none."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a version. What is not a pseudo-version is that of a tag."""
        plain = text.removesuffix("+incompatible")
        found = _PSEUDO.fullmatch(plain)
        if found is None:
            return cls(text)
        try:
            when = datetime.strptime(found["time"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return cls(text)
        return cls(text, found["commit"], when, _base(found["base"], zero=found["zero"] is not None))

    @property
    def tag(self) -> str | None:
        """The tag it is of, without the folder of its module."""
        return None if self.commit is not None else self.text.removesuffix("+incompatible")


def _base(base: str, *, zero: bool) -> str | None:
    if not zero:
        # v0.0.0-TIME-COMMIT: there was no tag.
        return None
    if "-" in base:
        # v1.2.3-rc.1.0.TIME-COMMIT follows v1.2.3-rc.1.
        return base
    head, _, patch = base.rpartition(".")
    return f"{head}.{int(patch) - 1}" if int(patch) else None


def pseudo_version(base: str | None, commit: str, committed: int) -> str:
    """Return the version Go gives a commit.

    Args:
        base: the last tag before it, or None.
        commit: its id.
        committed: committer date, in seconds since 1970.
    """
    stamp = f"{datetime.fromtimestamp(committed, UTC):%Y%m%d%H%M%S}-{commit[:12]}"
    if base is None:
        return f"v0.0.0-{stamp}"
    plain = base.partition("+")[0]
    if "-" in plain:
        return f"{plain}.0.{stamp}"
    head, _, patch = plain.rpartition(".")
    return f"{head}.{int(patch) + 1}-0.{stamp}"


def vendored(text: str) -> dict[str, tuple[str, str | None]]:
    """Return module → (version, replacement) of a vendor/modules.txt."""
    found: dict[str, tuple[str, str | None]] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            words = line[2:].split()
            if "=>" in words:
                arrow = words.index("=>")
                if arrow == 2:
                    found[words[0]] = (words[1], " ".join(words[arrow + 1 :]))
            elif len(words) == 2:
                found[words[0]] = (words[1], None)
    return found


def _statements(text: str) -> Iterator[tuple[str, list[str], str]]:
    block: str | None = None
    for line in text.splitlines():
        words, comment = _words(line)
        if not words:
            continue
        if block is not None:
            if words == [")"]:
                block = None
            else:
                yield block, words, comment
        elif len(words) == 2 and words[1] == "(":
            block = words[0]
        else:
            yield words[0], words[1:], comment


def _words(line: str) -> tuple[list[str], str]:
    words: list[str] = []
    for quoted, raw, comment, plain in _TOKEN.findall(line):
        if comment:
            return words, comment
        # A comment may begin within a word's reach: "v1.2.3//x".
        head, slashes, rest = plain.partition("//")
        if slashes and not head.endswith(":"):
            return ([*words, head] if head else words), f"//{rest}"
        words.append(quoted or raw or plain)
    return words, ""
