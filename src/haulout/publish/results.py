"""What a push and the making of a delta return: the stable, documented results behind ``--json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from haulout.documents import Document

if TYPE_CHECKING:
    from haulout.oci import Digest, Reference, SizedDigest
    from haulout.progress import BlobTotal, Traffic

_TRAFFIC = ("requests=traffic.requests", "sent=traffic.sent", "received=traffic.received", "seconds")


@dataclass(frozen=True, slots=True)
class PushedBase(Document):
    """The earlier version that a disk was cut like."""

    reference: Reference
    """Pinned: ``repository@sha256:…``."""
    frames: int
    """Frames reused from it, compressed as they were."""
    bytes: int
    """Bytes of these frames in the blob."""


@dataclass(frozen=True, slots=True)
class PushedDisk(Document):
    """One disk entry of the tag, as it stands after the push."""

    architecture: str
    disk_type: str
    title: str
    status: Literal["pushed", "present"]
    """``present``: the tag held this very disk already and nothing was uploaded for it."""
    manifest: Digest
    blob: SizedDigest
    """The compressed disk."""
    disk: SizedDigest
    """The plain disk."""
    toc: SizedDigest
    frames: int
    base: PushedBase | None = None


@dataclass(frozen=True, slots=True)
class PushedContainerDisk(Document):
    """A container image that holds one of the disks, as it stands after the push."""

    architecture: str
    """As Go names it (``amd64``)."""
    path: str
    """Of the disk in the image."""
    status: Literal["pushed", "present"]
    manifest: Digest
    blob: SizedDigest
    """Its one layer."""
    disk: SizedDigest
    """The plain disk."""


@dataclass(frozen=True, slots=True)
class PublishedDelta(Document):
    """A delta as it stands beside its new disk."""

    json_members: ClassVar[tuple[str, ...]] = (
        *("reference", "pinned", "old", "architecture", "disk_type", "status", "delta=manifest", "from=source"),
        *("disk", "blob", "index", "data", "hints", "new", "segments"),
    )

    reference: Reference
    """The new disk, as asked for."""
    pinned: Reference
    """The new disk by digest."""
    old: Reference
    """The old disk by digest."""
    architecture: str | None
    disk_type: str | None
    source: SizedDigest
    """The plain old disk."""
    disk: SizedDigest
    """The plain new disk."""
    blob: SizedDigest
    """The new disk's blob: what a client without the old disk fetches."""
    manifest: Digest | None
    """Digest of the delta's manifest; None where none is needed."""
    index: SizedDigest | None
    data: SizedDigest | None
    hints: SizedDigest | None
    """Fetched as well where the old disk is not here as it was published; None where it needs no old blocks."""
    new: int
    """Plain bytes that the delta gives."""
    segments: int
    status: Literal["pushed", "present", "needless"]
    """``present``: one was attached already; ``needless``: the old disk has every block of the new one."""


@dataclass(frozen=True, slots=True)
class DeltaResult(PublishedDelta):
    """What the making of a delta did."""

    json_members: ClassVar[tuple[str, ...]] = (*PublishedDelta.json_members, *_TRAFFIC)

    traffic: Traffic
    seconds: float


@dataclass(frozen=True, slots=True)
class PushResult(Document):
    """What a push did."""

    json_members: ClassVar[tuple[str, ...]] = (
        *("reference", "pinned", "index", "tags", "disks", "deltas", "container_disks"),
        *("dry_run", "missing", *_TRAFFIC),
    )

    reference: Reference
    index: Digest
    """Digest of the index the tag points to now."""
    disks: tuple[PushedDisk, ...]
    deltas: tuple[PublishedDelta, ...]
    """What was asked for with ``delta_from``, in the order of the disks."""
    traffic: Traffic
    seconds: float
    tags: tuple[str, ...] = ()
    """Further tags that point to the index."""
    container_disks: tuple[PushedContainerDisk, ...] = ()
    missing: BlobTotal | None = None
    """Of a dry run, the blobs that are not there; None where the push was done."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing was written."""
        return self.missing is not None

    @property
    def pinned(self) -> Reference:
        """The tag's index by digest."""
        return self.reference.at(self.index)
