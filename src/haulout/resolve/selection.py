"""Choose several disks of an index by architecture and type, with what belongs to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.oci import Architecture, Descriptor, Index, Manifest
from haulout.resolve.query import canonical_type
from haulout.resolve.recognise import Candidate, Role, classify, look_inside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.content import ManifestReader

_MAX_NESTING: Final = 4


@dataclass(frozen=True)
class Selection:
    """Disks of some architectures and types."""

    architectures: frozenset[Architecture] = frozenset()
    """Empty: all."""
    disk_types: frozenset[str] = frozenset()
    """Empty: all."""

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.architectures or self.disk_types)

    def __str__(self) -> str:
        wanted = (sorted(self.architectures), sorted(self.disk_types))
        return "/".join(",".join(names) if names else "*" for names in wanted)

    def takes(self, candidate: Candidate) -> bool:
        """Whether a candidate is one of the disks."""
        return (
            candidate.role is Role.DISK
            and (not self.architectures or candidate.architecture in self.architectures)
            and (not self.disk_types or candidate.disk_type in self.disk_types)
        )

    def entries(self, index: Index, source: ManifestReader) -> tuple[Descriptor, ...]:
        """Return the entries of an index that are such disks or lead to some, and those that belong to one.

        An entry belongs to the manifest whose digest one of its annotations is: tables of contents, and the
        attestations of BuildKit.

        Args:
            index: what is chosen from.
            source: where it is; manifests are read of entries that do not say what they are.

        Raises:
            NotFoundError: an entry is not there.
            ContentError: an entry is not what it claims to be.
        """
        return self._chosen(index, source, None, _MAX_NESTING)

    def _chosen(
        self, index: Index, source: ManifestReader, inherited: Architecture | None, depth: int
    ) -> tuple[Descriptor, ...]:
        disks = {
            candidate.descriptor.digest
            for candidate in candidates(index, source, inherited)
            if self.takes(candidate) or self._leads(candidate, source, depth)
        }
        texts = {str(digest) for digest in disks}
        return tuple(entry for entry in index.manifests if entry.digest in disks or texts & _owners(entry, source))

    def _leads(self, candidate: Candidate, source: ManifestReader, depth: int) -> bool:
        if candidate.role is not Role.INDEX or depth == 0:
            return False
        entry = candidate.descriptor
        nested = source.manifest(entry.digest).parse(f"index {entry.digest}")
        return isinstance(nested, Index) and bool(self._chosen(nested, source, candidate.architecture, depth - 1))


def selection(architectures: tuple[Architecture, ...], disk_types: tuple[str, ...]) -> Selection:
    """Make a selection of types as users and publishers spell them."""
    return Selection(frozenset(architectures), frozenset(canonical_type(str(each)) for each in disk_types))


def candidates(index: Index, source: ManifestReader, inherited: Architecture | None = None) -> Iterator[Candidate]:
    """Yield the entries of an index as far as they can be known."""
    for entry in index.manifests:
        candidate = classify(entry, inherited)
        if candidate.role is Role.UNKNOWN or (candidate.role is Role.DISK and candidate.disk_type is None):
            parsed = source.manifest(entry.digest).parse(f"manifest {entry.digest}")
            if isinstance(parsed, Manifest):
                candidate = look_inside(candidate, parsed)
        yield candidate


def _owners(entry: Descriptor, source: ManifestReader) -> set[str]:
    if entry.annotations or entry.platform is None or entry.platform.os != "unknown":
        return set(entry.annotations.values())
    # Podman and buildah drop the annotations of entries they copy.
    return set(source.manifest(entry.digest).parse(f"manifest {entry.digest}").annotations.values())
