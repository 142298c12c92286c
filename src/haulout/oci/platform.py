"""Architectures under their two families of names, and the platform of a descriptor.

Podman names disk entries as the kernel does (``x86_64``); container entries are named as Go does (``amd64``). When
asking, the two are the same; when writing and when distinguishing the families, they are not.
"""

from __future__ import annotations

import platform as host
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from haulout.errors import InvalidManifest, InvalidPlatform


class Architecture(StrEnum):
    """A processor architecture, under the name the kernel gives it (``uname -m``)."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"
    RISCV64 = "riscv64"
    PPC64LE = "ppc64le"
    S390X = "s390x"
    ARMV7L = "armv7l"
    I686 = "i686"
    LOONGARCH64 = "loongarch64"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse either family's name, in any case.

        Raises:
            InvalidPlatform: no such architecture.
        """
        name = text.strip().lower()
        try:
            return cls(_FROM_GO.get(name, name))
        except ValueError:
            known = [f"{arch} ({arch.go})" if arch.go != arch else str(arch) for arch in cls]
            raise InvalidPlatform("architecture", text, known) from None

    @classmethod
    def here(cls) -> Self:
        """The architecture of this machine.

        Raises:
            InvalidPlatform: this machine's is none we know.
        """
        return cls.parse(host.machine() or "unknown")

    @property
    def go(self) -> str:
        """The name Go and container images use (GOARCH)."""
        return _TO_GO.get(self.value, self.value)


_TO_GO = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "loongarch64": "loong64"}
_FROM_GO = {go: kernel for kernel, go in _TO_GO.items()} | {"x64": "x86_64", "i386": "i686"}


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform of an index entry (image-spec, image-index.md); ``architecture`` exactly as written."""

    architecture: str
    os: str
    variant: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, hash=False)
    """Fields we do not read, kept so that rewriting an index loses nothing."""

    @classmethod
    def from_json(cls, value: object, path: str) -> Self:
        """Read the ``platform`` object at ``path``.

        Raises:
            InvalidManifest: not an object, or its members are not strings.
        """
        if not isinstance(value, dict):
            raise InvalidManifest("platform", "an object is expected", path=path)
        rest = dict(value)
        architecture, system = rest.pop("architecture", ""), rest.pop("os", "")
        variant = rest.pop("variant", None)
        if not isinstance(architecture, str) or not isinstance(system, str):
            raise InvalidManifest("platform", "architecture and os must be strings", path=path)
        if variant is not None and not isinstance(variant, str):
            raise InvalidManifest("platform", "variant must be a string", path=path)
        return cls(architecture, system, variant, rest)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object, keys as the Go tools order them."""
        known = {"architecture": self.architecture, "os": self.os}
        return known | self.extra | ({"variant": self.variant} if self.variant is not None else {})

    @property
    def known_architecture(self) -> Architecture | None:
        """The architecture this names in either family, or None."""
        try:
            return Architecture.parse(self.architecture)
        except InvalidPlatform:
            return None

    @property
    def is_kernel_named(self) -> bool:
        """Whether the architecture is written as disk entries write it and containers do not."""
        known = self.known_architecture
        return known is not None and known.value == self.architecture and known.go != self.architecture

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
