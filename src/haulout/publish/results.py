"""What a push and the making of a delta return: the stable, documented results behind ``--json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from haulout.oci import Digest, Reference, SizedDigest
    from haulout.progress import Traffic


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
