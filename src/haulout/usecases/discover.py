"""Find what is attached to what a reference names, and choose one of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.documents import Document
from haulout.errors import NotFoundError, UsageError
from haulout.places import Places
from haulout.progress import NullProgress
from haulout.resolve import MAX_DEPTH, DiskQuery, subjects
from haulout.usecases.arguments import architecture_of, disk_type_of, reference_of

if TYPE_CHECKING:
    from haulout.content import StoredManifest
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.resolve import Attached, Subject

_SHORTEST: Final = 6
"""Hexadecimal digits that name an attached manifest, where no other begins with them."""


@dataclass(frozen=True, slots=True)
class Discovery(Document):
    """What is attached to a reference."""

    json_members: ClassVar = ("reference", "pinned", "subjects", "notes")

    reference: Reference
    pinned: Reference
    subjects: tuple[Subject, ...]
    """The reference itself, then those entries of its index that something is attached to."""
    notes: tuple[str, ...]

    @property
    def attached(self) -> tuple[Attached, ...]:
        """All of it, at every level."""
        return tuple(each for subject in self.subjects for each in subject.walk())


def discover(
    reference: str | Reference,
    *,
    artifact_type: str | None = None,
    depth: int | None = None,
    architecture: str | Architecture | None = None,
    disk_type: str | DiskType | None = None,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> Discovery:
    """Find what is attached to ``reference``: to its index, to each entry, and to what is attached.

    Args:
        reference: where to begin.
        artifact_type: only what is of this type, and what leads to it.
        depth: levels of what is attached to what is attached; None: all.
        architecture: with this or ``disk_type``, only what is attached to that disk.
        disk_type: see ``architecture``.
        connections: how registries are reached.
        progress: receives warnings.

    Raises:
        NotFoundError: there is no such reference or disk.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    reference = reference_of(reference)
    with Places(connections, progress or NullProgress()) as places:
        return discovered(places, reference, artifact_type, depth, architecture, disk_type)


def subject_of(
    places: Places,
    reference: Reference,
    architecture: str | Architecture | None,
    disk_type: str | DiskType | None,
) -> StoredManifest:
    """Return what is attached to: what ``reference`` names, or the disk of an architecture and type in it."""
    if architecture is None and disk_type is None:
        return places.root(reference)
    query = DiskQuery(
        None if architecture is None else architecture_of(architecture),
        None if disk_type is None else disk_type_of(disk_type),
    )
    return places.resolve(reference, query).stored


def discovered(
    places: Places,
    reference: Reference,
    artifact_type: str | None,
    depth: int | None,
    architecture: str | Architecture | None,
    disk_type: str | DiskType | None,
) -> Discovery:
    """As :func:`discover`, with open places."""
    root = subject_of(places, reference, architecture, disk_type)
    entries = architecture is None and disk_type is None
    depth = MAX_DEPTH if depth is None else min(depth, MAX_DEPTH)
    found, notes = subjects(places.open(reference), root, entries=entries, depth=depth)
    if artifact_type is not None:
        found = tuple(replace(each, referrers=_leading(each.referrers, artifact_type)) for each in found)
        found = tuple(each for each in found if each.referrers or each is found[0])
    return Discovery(reference, reference.at(root.descriptor.digest), found, notes)


def _leading(attached: tuple[Attached, ...], artifact_type: str) -> tuple[Attached, ...]:
    kept = (replace(each, referrers=_leading(each.referrers, artifact_type)) for each in attached)
    return tuple(each for each in kept if each.artifact_type == artifact_type or each.referrers)


def choose(found: Discovery, artifact_type: str | None, digest: str | None) -> Attached:
    """Choose one thing by its type and the beginning of its digest.

    Raises:
        NotFoundError: none fits, or several do.
        UsageError: that is not the beginning of a digest.
    """
    there = {each.digest: each for each in found.attached}
    fitting = [each for each in there.values() if artifact_type in {None, each.artifact_type}]
    if digest is not None:
        begin = digest.removeprefix("sha256:").lower()
        if len(begin) < _SHORTEST or not set(begin) <= set("0123456789abcdef"):
            raise UsageError(
                f"{digest[:80]!r} is not a digest", hint=f"write at least {_SHORTEST} of its hexadecimal digits"
            )
        fitting = [each for each in fitting if each.digest.hex.startswith(begin)]
    wanted = " ".join(part for part in (artifact_type, digest) if part)
    if not fitting:
        kinds = ", ".join(sorted({each.artifact_type[:100] for each in there.values()})[:8])
        raise NotFoundError(
            f"nothing of {wanted[:200]} is attached to {found.reference}; "
            + (f"there is {kinds}" if kinds else "nothing is attached")
        )
    if len(fitting) > 1:
        raise NotFoundError(
            f"{len(fitting)} of {wanted[:200]} are attached to {found.reference}: "
            + ", ".join(each.digest.short for each in fitting[:8]),
            hint="choose one with --digest; haulout discover shows them",
        )
    return fitting[0]
