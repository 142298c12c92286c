"""Reading published deltas: which ones a disk has, and their indexes. Nothing in them is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.content import read_blob
from haulout.errors import ContentError, InvalidDelta, NotFoundError
from haulout.extras import np
from haulout.frames import HINT_BYTES, MAX_HINTS_BYTES, MAX_INDEX_BYTES, DeltaIndex
from haulout.oci import Manifest, SizedDigest, mediatype
from haulout.oci import annotations as keys

if TYPE_CHECKING:
    from collections.abc import Collection

    from haulout.content import BlobReader, Store
    from haulout.frames import Hashes, Toc
    from haulout.oci import Descriptor, Digest
    from haulout.resolve import ResolvedDisk

_MOST_LISTED: Final = 64
_MOST_READ: Final = 8
"""Manifests of deltas read for one disk; each is a request."""
_LAYERS: Final = (
    [mediatype.DELTA_INDEX, mediatype.DELTA_HINTS, mediatype.DELTA_DATA],
    [mediatype.DELTA_INDEX, mediatype.DELTA_DATA],
)


@dataclass(frozen=True, slots=True)
class OfferedDelta:
    """A delta attached to a disk, as its manifest describes it."""

    manifest: Digest
    source: SizedDigest
    """The plain disk it starts from."""
    index: Descriptor
    hints: Descriptor | None
    """Of the reference blocks; None where it refers to none."""
    data: Descriptor

    @property
    def size(self) -> int:
        """Bytes to fetch for all of it, where the old disk is as it was published."""
        return self.index.size + self.data.size


def offered(store: Store, found: ResolvedDisk, toc: Toc, *, known: Collection[SizedDigest] = ()) -> list[OfferedDelta]:
    """List deltas to a disk: those from ``known`` plain disks first, then the latest first.

    What is no delta of this disk, or is larger than the disk's blob, is passed over. A few are read and no more:
    whoever attaches thousands hides theirs.

    Args:
        store: where the disk is.
        found: the disk.
        toc: its table of contents.
        known: digests of plain disks that are here.

    Raises:
        RegistryError: the registry cannot list what is attached.
        UnreachableError: it failed for good.
    """
    listed = list(reversed(store.referrers(found.digest, mediatype.DELTA_ARTIFACT)))[:_MOST_LISTED]
    texts = {str(disk) for disk in known}
    listed.sort(key=lambda entry: entry.annotations.get(keys.DELTA_FROM) not in texts)
    deltas = (_read(store, entry.digest, found) for entry in listed[:_MOST_READ])
    return [delta for delta in deltas if delta is not None and delta.source != toc.disk]


def load_index(blobs: BlobReader, delta: OfferedDelta, toc: Toc) -> DeltaIndex:
    """Fetch the index of a delta and check that it belongs to its manifest and to the disk of ``toc``.

    Raises:
        NotFoundError: it is not there.
        ContentError: it is not what the manifest's digest pins, or not of this disk.
    """
    index = DeltaIndex.decode(read_blob(blobs, delta.index, MAX_INDEX_BYTES, "the index of a delta"))
    if index.source != delta.source or index.target != toc.disk:
        raise InvalidDelta("the delta is between other disks than its manifest says")
    if index.data_size != delta.data.size:
        raise InvalidDelta(f"the delta's segments fill {index.data_size} bytes of a blob of {delta.data.size}")
    if index.data_blocks != toc.hints.size // HINT_BYTES:
        raise InvalidDelta("the delta's blocks and its map do not make up its disk")
    if (delta.hints.size if delta.hints is not None else 0) != index.old.total * HINT_BYTES:
        raise InvalidDelta("the delta's hints are not those of its old blocks")
    return index


def load_hints(blobs: BlobReader, delta: OfferedDelta) -> Hashes:
    """Fetch the hints of a delta's reference blocks, in the order of the old disk.

    Raises:
        NotFoundError: they are not there.
        ContentError: they are not what the manifest's digest pins.
    """
    if delta.hints is None:
        return np.empty(0, np.uint64)
    return np.frombuffer(read_blob(blobs, delta.hints, MAX_HINTS_BYTES, "the list of a delta's hints"), "<u8")


def _read(store: Store, digest: Digest, found: ResolvedDisk) -> OfferedDelta | None:
    try:
        manifest = store.manifest(digest).parse(f"delta {digest.short}")
        if not isinstance(manifest, Manifest) or manifest.artifact_type != mediatype.DELTA_ARTIFACT:
            return None
        if manifest.subject is None or manifest.subject.digest != found.digest:
            return None
        source = SizedDigest.parse(manifest.annotations.get(keys.DELTA_FROM, ""), keys.DELTA_FROM)
    except (ContentError, NotFoundError):
        return None
    if [layer.media_type for layer in manifest.layers] not in _LAYERS:
        return None
    index, *hints, data = manifest.layers
    offer = OfferedDelta(digest, source, index, hints[0] if hints else None, data)
    if offer.index.size > MAX_INDEX_BYTES or offer.size > found.layer.size:
        return None
    return offer
