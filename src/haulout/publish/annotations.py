"""Annotations that a publisher asks for: on the index of a tag, on the manifests of disks, or on their entries."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from haulout.errors import UsageError
from haulout.oci import annotations as keys

if TYPE_CHECKING:
    from collections.abc import Mapping

_TARGETS: Final = ("index", "manifest", "manifest-descriptor")
_TARGET: Final = f"(?:{'|'.join(_TARGETS)})"
_PREFIX: Final = re.compile(rf"({_TARGET}(?:,{_TARGET})*):(.*)", re.DOTALL)
_OTHER_TARGET: Final = re.compile(r"(?:index|manifest)[^:.]*:")
"""Docker has more of them: one platform's manifest, the index's own entry in a layout."""
_RESERVED: Final = {keys.DISKTYPE, keys.REF_NAME, keys.REFERENCE_DIGEST, keys.REFERENCE_TYPE}
_OURS: Final = "io.github.haulout."
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class AskedAnnotations:
    """What to write where."""

    index: Mapping[str, str] = field(default_factory=dict)
    manifest: Mapping[str, str] = field(default_factory=dict)
    entry: Mapping[str, str] = field(default_factory=dict)
    """On the entries of disks in the index, where docker says ``manifest-descriptor``."""

    @classmethod
    def parse(cls, asked: Mapping[str, str], index: Mapping[str, str] | None = None) -> Self:
        """Parse annotations whose keys may begin with where they go, as docker writes it: ``index,manifest:KEY``.

        Without that, they go to the index and to the manifests.

        Args:
            asked: keys and values.
            index: more for the index, unless asked otherwise.

        Raises:
            UsageError: a key or value that cannot be written, or a key that means something to clients.
        """
        found: dict[str, dict[str, str]] = {target: {} for target in _TARGETS}
        found["index"] |= index or {}
        for text, value in asked.items():
            prefix = _PREFIX.fullmatch(text)
            if not prefix and (other := _OTHER_TARGET.match(text)):
                raise UsageError(
                    f"{other[0]!r} is not where an annotation can go",
                    hint="write index:KEY, manifest:KEY or manifest-descriptor:KEY, several with commas",
                )
            key = prefix[2] if prefix else text
            _check(key, value)
            for target in prefix[1].split(",") if prefix else ("index", "manifest"):
                found[target][key] = value
        return cls(found["index"], found["manifest"], found["manifest-descriptor"])


def _check(key: str, value: str) -> None:
    shown = repr(key[:80])
    if not key or not key.isprintable() or key != key.strip():
        raise UsageError(f"{shown} is not the name of an annotation", hint="write KEY=VALUE")
    if key in _RESERVED or key.startswith(_OURS):
        raise UsageError(f"the annotation {shown} is written by haulout itself", hint="choose another name")
    if len(key) + len(value) > _LONGEST:
        raise UsageError(f"the annotation {shown} has more than {_LONGEST} characters")
    if not all(letter.isprintable() or letter in "\n\t" for letter in value):
        raise UsageError(f"the value of the annotation {shown} has control characters")
