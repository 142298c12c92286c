"""What a pull returns: the stable, documented result behind ``--json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.oci import Digest, Reference, SizedDigest
    from haulout.progress import Traffic


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
