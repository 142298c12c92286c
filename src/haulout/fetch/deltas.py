"""Published deltas: which ones a disk has, which are worth reading, and their indexes. Nothing in them is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.content import read_blob
from haulout.errors import ContentError, HauloutError, InvalidDelta, NotFoundError
from haulout.extras import np
from haulout.fetch.finding import LoadedDelta, OfferedDelta
from haulout.frames import HINT_BYTES, MAX_HINTS_BYTES, MAX_INDEX_BYTES, DeltaIndex
from haulout.oci import Manifest, SizedDigest, mediatype
from haulout.oci import annotations as keys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from haulout.content import BlobReader, Store
    from haulout.fetch.bandwidth import MeasuringReader
    from haulout.frames import Hashes, Toc
    from haulout.oci import Digest
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk

_MOST_LISTED: Final = 64
_MOST_READ: Final = 8
"""Manifests of deltas read for one disk; each is a request."""
_WORTH_ASKING: Final = 256 * 1024
"""Bytes to fetch from which on it pays to ask what deltas there are."""
_MOST_TRIED: Final = 3
"""Old disks whose deltas are tried where nothing says which the seeds hold, and deltas tried of one old disk."""
_BARGAIN: Final = 0.9
"""A delta that is not smaller by a tenth than what it replaces is not worth its requests."""
_LAYERS: Final = (
    [mediatype.DELTA_INDEX, mediatype.DELTA_HINTS, mediatype.DELTA_DATA],
    [mediatype.DELTA_INDEX, mediatype.DELTA_DATA],
)


def offered(store: Store, found: ResolvedDisk, toc: Toc, *, known: Collection[SizedDigest] = ()) -> list[OfferedDelta]:
    """List deltas to a disk: those from ``known`` plain disks first, then the latest first.

    What is not a delta of this disk, or is larger than the disk's blob, is passed over. Only a few are read, however
    many are attached.

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


def load_promising(
    blobs: MeasuringReader,
    found: ResolvedDisk,
    toc: Toc,
    size: int,
    known: Collection[SizedDigest],
    progress: Progress,
) -> tuple[LoadedDelta, ...]:
    """Fetch the indexes of deltas that promise to be cheaper than ``size`` bytes: one for each of a few old disks.

    Args:
        blobs: reads from where the disk and its deltas are.
        found: the disk.
        toc: its table of contents.
        size: bytes that would be fetched without a delta.
        known: digests of plain disks that are here; where a delta starts from one, others are not tried.
        progress: receives a note where deltas cannot be read.
    """
    if size <= _WORTH_ASKING:
        return ()
    try:
        offers = [each for each in offered(blobs.plain, found, toc, known=known) if each.size < _BARGAIN * size]
    except HauloutError as error:
        progress.note(f"cannot list published deltas ({error}); continuing without them")
        return ()
    sources = list(dict.fromkeys(each.source for each in offers))
    chosen = [source for source in sources if source in known] or sources[:_MOST_TRIED]
    return tuple(
        delta
        for source in chosen
        for delta in _load_smallest(blobs, toc, [each for each in offers if each.source == source], progress)
    )


def _load_smallest(
    blobs: BlobReader, toc: Toc, offers: Iterable[OfferedDelta], progress: Progress
) -> Iterator[LoadedDelta]:
    """Of several from the same disk, take the smallest that can be read: one may have been made again."""
    for offer in sorted(offers, key=lambda each: each.size)[:_MOST_TRIED]:
        try:
            yield LoadedDelta(offer, load_index(blobs, offer, toc))
        except HauloutError as error:
            note_unusable(offer, error, progress)
        else:
            return


def hints_of(
    blobs: BlobReader, deltas: Iterable[LoadedDelta], size: int, progress: Progress
) -> Mapping[LoadedDelta, Hashes]:
    """Fetch the hints of those deltas that promise to be cheaper than ``size`` bytes, hints included."""
    hints = {}
    for delta in deltas:
        offer = delta.offer
        if offer.data.size + (offer.hints.size if offer.hints is not None else 0) >= _BARGAIN * size:
            continue
        try:
            hints[delta] = load_hints(blobs, offer)
        except HauloutError as error:
            note_unusable(offer, error, progress)
    return hints


def note_unusable(offer: OfferedDelta, error: HauloutError, progress: Progress) -> None:
    """Report that a delta cannot be used."""
    progress.note(f"cannot use the delta {offer.manifest.short}: {error}")
