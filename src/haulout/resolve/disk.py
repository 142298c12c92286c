"""What resolving finds: one disk, pinned by digest, and where its bytes are."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from haulout.documents import Document
from haulout.oci import Architecture, Descriptor, Digest, Manifest, Reference, SizedDigest
from haulout.oci import annotations as keys
from haulout.resolve.query import DiskQuery
from haulout.resolve.recognise import compression_of

if TYPE_CHECKING:
    from haulout.content import StoredManifest


class Shape(StrEnum):
    """How a reference leads to a disk."""

    INDEX = "index"
    """An entry of an image index, as Podman machine and Ironic publish."""
    REFERRERS = "referrers"
    """Attached by ``subject`` to a bootable container image."""
    SINGLE = "single"
    """The one manifest the reference names."""


@dataclass(frozen=True, slots=True)
class ResolvedDisk(Document):
    """One disk."""

    json_members: ClassVar = (
        *("reference", "pinned", "shape", "architecture", "disk_type", "container_disk", "title", "compression"),
        *("manifest=digest", "blob", "disk", "toc"),
    )

    reference: Reference
    """What was asked."""
    shape: Shape
    stored: StoredManifest
    """The manifest that describes the disk, as stored."""
    manifest: Manifest
    layers: tuple[Descriptor, ...]
    """The blob that holds the disk. For a container disk: all layers of the image, lowest first."""
    architecture: Architecture | None
    disk_type: str | None
    """Podman's name, or what its publisher wrote; None where nothing says."""
    container_disk: bool = False
    """The disk, if there is one, is a file under ``/disk/`` inside a tar layer (KubeVirt, crun-vm)."""
    chosen: int = -1
    """Number of the layer that holds the disk; of a container disk the highest, until it was looked into."""
    asked: DiskQuery = field(default_factory=DiskQuery)

    @property
    def toc(self) -> SizedDigest | None:
        """Digest and size in bytes of the table of contents; None where the blob has none.

        Raises:
            InvalidManifest: the annotation is malformed.
        """
        return _sized(self.manifest, keys.TOC)

    @property
    def disk(self) -> SizedDigest | None:
        """Digest and size in bytes of the plain disk, as its publisher states them; None where unstated.

        Raises:
            InvalidManifest: the annotation is malformed.
        """
        return _sized(self.manifest, keys.DISK)

    @property
    def crumbs(self) -> SizedDigest | None:
        """Digest and size in bytes of the crumbs; None where there are none.

        Raises:
            InvalidManifest: the annotation is malformed.
        """
        return _sized(self.manifest, keys.CRUMBS)

    @property
    def layer(self) -> Descriptor:
        """The blob that holds the disk; for a container disk, the likeliest."""
        return self.layers[self.chosen]

    @property
    def blob(self) -> SizedDigest:
        """Digest and size in bytes of :attr:`layer`."""
        return SizedDigest(self.layer.digest, self.layer.size)

    @property
    def digest(self) -> Digest:
        """Digest of the manifest."""
        return self.stored.descriptor.digest

    @property
    def pinned(self) -> Reference:
        """The same disk by digest: ``repository@sha256:…``."""
        return self.reference.at(self.digest)

    @property
    def title(self) -> str | None:
        """The file name its publisher gave it; untrusted text, never a path."""
        return self.layer.title

    @property
    def compression(self) -> str | None:
        """``zst``, ``gz``, ``xz``, ``bz2``, ``lz4``, ``zip``, ``none``; None where nothing says. A guess."""
        return compression_of(self.layer)


def _sized(manifest: Manifest, key: str) -> SizedDigest | None:
    text = manifest.annotations.get(key)
    return None if text is None else SizedDigest.parse(text, key)
