"""Annotation keys, named once, and the one compound value Haulout writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from haulout.errors import InvalidManifest
from haulout.oci.digest import Digest

TITLE: Final = "org.opencontainers.image.title"
CREATED: Final = "org.opencontainers.image.created"
REVISION: Final = "org.opencontainers.image.revision"
SOURCE: Final = "org.opencontainers.image.source"
REF_NAME: Final = "org.opencontainers.image.ref.name"
DISKTYPE: Final = "disktype"
"""Podman machine's key on index entries; not in reverse-DNS form, but it is what is read."""
UNPACK: Final = "io.deis.oras.content.unpack"
"""oras: the layer is a tar archive of a directory, to be unpacked."""
WORKLOAD: Final = "io.github.haulout.cw.binding"
"""On the manifest of a confidential workload: the binding, its canonical bytes as text."""
TOC: Final = "io.github.haulout.toc"
"""On a disk manifest: the sized digest of its table of contents."""
DISK: Final = "io.github.haulout.disk"
"""On a disk manifest: the sized digest of the plain disk."""
CRUMBS: Final = "io.github.haulout.crumbs"
"""On a disk manifest: the sized digest of its crumbs."""
LEVEL: Final = "io.github.haulout.level"
"""On a disk manifest: the zstd level, in decimal, that none of its frames is below."""
DELTA_FROM: Final = "io.github.haulout.delta.from"
"""On a delta: the sized digest of the plain disk it starts from."""
REFERENCE_TYPE: Final = "vnd.docker.reference.type"
"""On an index entry that is not for any platform but belongs to another entry: what it is (BuildKit's attestations)."""
REFERENCE_DIGEST: Final = "vnd.docker.reference.digest"
"""On such an entry: the digest of the other entry's manifest."""
TABLES: Final = "io.github.haulout.tables"
"""The value of :data:`REFERENCE_TYPE` for the tables of a disk; their manifest has both annotations, too."""
INTENT_TAG: Final = "io.github.haulout.intent.tag"
"""On an announcement: the tag whose index is to change."""
INTENT_ID: Final = "io.github.haulout.intent.id"
"""On an announcement: random digits, so that no two are one manifest."""
INTENT_ENTRY: Final = "io.github.haulout.intent.entry"
"""On an announcement of a release before 0.3: the index entry to be, as compact JSON."""

_SIZED = re.compile(r"(sha256:[0-9a-f]{64}) ([1-9][0-9]{0,18}|0)")


@dataclass(frozen=True, slots=True)
class SizedDigest:
    """A digest and a size in bytes, written ``sha256:<hex> <decimal size>``."""

    digest: Digest
    size: int

    @classmethod
    def parse(cls, text: str, key: str) -> Self:
        """Parse the value of annotation ``key``.

        Raises:
            InvalidManifest: the value has another form.
        """
        found = _SIZED.fullmatch(text)
        if found is None:
            raise InvalidManifest("annotation", f"{text[:100]!r} is not 'sha256:<hex> <size>'", path=key)
        return cls(Digest.parse(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.digest} {self.size}"
