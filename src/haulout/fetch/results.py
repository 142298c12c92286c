"""What a pull is asked for, and what it returns: the stable, documented result behind ``--json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from haulout.documents import Document

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.disk import DiskFormat
    from haulout.oci import Descriptor, Digest, Reference, SizedDigest
    from haulout.progress import Traffic


@dataclass(frozen=True, slots=True)
class PullOptions:
    """How a disk is pulled; the defaults are those of :func:`haulout.pull`."""

    as_format: DiskFormat | None = None
    """Convert the disk to this format here."""
    check_disk: bool = False
    """Hash the finished disk as a whole, too."""
    seeds: tuple[Path, ...] = ()
    """Local files whose blocks may be reused."""
    find_seeds: bool = True
    """Reuse blocks of earlier pulls, too, and of what is at the target."""
    use_deltas: bool = True
    dry_run: bool = False
    """Find out what would be fetched and reused, and stop there."""
    jobs: int = 4
    """Parallel connections."""


@dataclass(frozen=True, slots=True)
class SeedUse:
    """What a local file gave to a pull."""

    path: Path
    size: int
    """Plain bytes reused from it."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Where the bytes of a pulled disk came from. Bytes of blobs are as stored there, the others plain."""

    fetched: int = 0
    """Bytes of blobs fetched by this call: ranges, delta and index."""
    index: int = 0
    """Of these, the metadata: table of contents, hints, the delta's index."""
    ranges: int = 0
    """Ranges of the disk's blob asked for."""
    crumbs: int = 0
    """Of the bytes fetched, those of the small-frame bundle."""
    delta: SizedDigest | None = None
    """The delta that was used, and its bytes that were fetched."""
    reused: int = 0
    """Plain bytes that were in place already: of an interrupted pull, or of the present result."""
    seeds: tuple[SeedUse, ...] = ()
    """Local files whose blocks were reused."""
    cloned: int = 0
    """Of the bytes from seeds, those that share their storage with them."""
    zero: int = 0
    """Plain bytes that are holes: neither fetched nor stored."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one disk on its way to one target."""

    layer: Descriptor
    """The blob that holds it."""
    disk: SizedDigest | None
    format: str
    moved: Moved
    status: Literal["pulled", "present", "planned"]
    verified: Literal["frames", "blob", "present", "nothing"]


@dataclass(frozen=True, slots=True)
class PullResult(Document):
    """What a pull did, or, after ``dry_run``, would do."""

    json_members: ClassVar = (
        *("reference", "pinned", "architecture", "disk_type", "shape", "status", "verified", "path", "format"),
        *("manifest", "blob", "disk", "*moved"),
        *("requests=traffic.requests", "sent=traffic.sent", "received=traffic.received", "seconds"),
    )

    reference: Reference
    pinned: Reference
    """The same disk by digest: ``repository@sha256:…``."""
    architecture: str | None
    disk_type: str | None
    shape: str
    manifest: Digest
    blob: SizedDigest
    disk: SizedDigest | None
    """The plain disk as its publisher states it; None where nothing says. After ``--as``, ``path`` encodes it anew."""
    path: Path
    format: str
    moved: Moved
    status: Literal["pulled", "present", "planned"]
    verified: Literal["frames", "blob", "present", "nothing"]
    """``frames``: every frame against the TOC; ``blob``: the blob's digest (no TOC); ``present``: the file at hand;
    ``nothing``: only planned."""
    traffic: Traffic
    seconds: float
