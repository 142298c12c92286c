"""Digests as values: parsed once, safe in any path or URL afterwards."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import ClassVar, Self

from haulout.errors import InvalidDigest

_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 content digest (image-spec, descriptor.md, "Digests").

    Only ``sha256`` is accepted: it is the one algorithm every registry and every peer speaks, and a closed grammar is
    what makes ``hex`` safe as a file name.
    """

    json_members: ClassVar = str

    hex: str

    def __post_init__(self) -> None:
        if _SHA256.fullmatch(f"sha256:{self.hex}") is None:
            raise InvalidDigest(f"sha256:{self.hex}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``sha256:<64 lowercase hex digits>``; the whole string must match.

        Raises:
            InvalidDigest: anything else, other algorithms included.
        """
        found = _SHA256.fullmatch(text)
        if found is None:
            raise InvalidDigest(text)
        return cls(found[1])

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the digest of ``data``."""
        return cls(hashlib.sha256(data).hexdigest())

    @property
    def short(self) -> str:
        """The first twelve hex digits, for people."""
        return self.hex[:12]

    @property
    def raw(self) -> bytes:
        """The 32 bytes."""
        return bytes.fromhex(self.hex)

    def __str__(self) -> str:
        return f"sha256:{self.hex}"
