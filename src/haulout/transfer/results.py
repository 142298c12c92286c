"""What push and pull tell their callers: the stable, documented results behind ``--json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.content.ports import Traffic
    from haulout.oci import Digest, Reference, SizedDigest


@dataclass(frozen=True, slots=True)
class PushedBase:
    """The earlier version that a disk was cut after."""

    reference: Reference
    """Pinned: ``repository@sha256:…``."""
    frames: int
    """Frames taken over from it, compressed as they were."""
    bytes: int
    """Bytes of these frames in the blob."""


@dataclass(frozen=True, slots=True)
class PushedDisk:
    """One disk entry of the tag, as it stands after the push."""

    architecture: str
    disk_type: str
    title: str
    manifest: Digest
    blob: SizedDigest
    """The compressed disk."""
    disk: SizedDigest
    """The plain disk."""
    toc: SizedDigest
    frames: int
    status: Literal["pushed", "present"]
    """``present``: the tag held this very disk already and nothing was uploaded for it."""
    base: PushedBase | None = None


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did."""

    reference: Reference
    index: Digest
    """Digest of the index the tag points to now."""
    disks: tuple[PushedDisk, ...]
    deltas: tuple[DeltaResult, ...]
    """What was asked for with ``delta_from``, in the order of the disks."""
    traffic: Traffic
    seconds: float


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
    """Of these, what only tells where the rest is: table of contents, hints, the delta's index."""
    ranges: int = 0
    """Ranges of the disk's blob asked for."""
    crumbs: int = 0
    """Of the bytes fetched, those of the crumbs."""
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
class PullResult:
    """What a pull did, or, after ``dry_run``, would do."""

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


@dataclass(frozen=True, slots=True)
class DeltaResult:
    """What the making of a delta did."""

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
    traffic: Traffic
    seconds: float
