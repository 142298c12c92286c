"""Fetching a disk into its partial file: by its TOC where it has one, else its blob as a whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from haulout.chunked.apply import apply
from haulout.chunked.framing import Kind
from haulout.chunked.plan import slices, wanted_frames
from haulout.chunked.survey import survey
from haulout.chunked.toc import MAX_TOC_BYTES, Toc
from haulout.content.verify import read_blob
from haulout.disk.sparse import punch_hole
from haulout.disk.writing import early_writeback
from haulout.errors import ContentError, DigestMismatch, InvalidFrame, InvalidToc, NotFoundError, StorageError
from haulout.oci import Descriptor, mediatype
from haulout.transfer.containerdisk import NoDiskInLayer, disk_in_tar
from haulout.transfer.expand import STEP, SparseWriter, expand, sniff
from haulout.transfer.spool import SpooledBlob

if TYPE_CHECKING:
    from haulout.chunked.blocks import Mask
    from haulout.content.ports import BlobReader
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk
    from haulout.transfer.target import Partial


@dataclass(frozen=True, slots=True)
class Fetched:
    """What fetching moved, in bytes (see ``PullResult``)."""

    fetched: int
    reused: int
    zero: int


def load_toc(blobs: BlobReader, found: ResolvedDisk, progress: Progress) -> Toc | None:
    """Fetch the TOC that the disk's manifest names; None where it names none, or the TOC was not copied along.

    Raises:
        ContentError: it is not what the manifest's digest pins, or does not belong to this blob and disk.
    """
    if found.toc is None:
        return None
    if found.toc.size > MAX_TOC_BYTES:
        raise InvalidToc(f"the table of contents has {found.toc.size} bytes; at most {MAX_TOC_BYTES} are read")
    try:
        data = read_blob(
            blobs, Descriptor(mediatype.TOC, found.toc.digest, found.toc.size), MAX_TOC_BYTES, "table of contents"
        )
    except NotFoundError:
        progress.note(
            f"{found.pinned} has no table of contents here (a copy leaves it behind unless it copies referrers): "
            "fetching the whole blob"
        )
        return None
    toc = Toc.decode(data)
    if toc.blob_size != found.layer.size:
        raise InvalidToc(f"the table of contents is of a blob of {toc.blob_size} bytes, not {found.layer.size}")
    if found.disk is not None and found.disk != toc.disk:
        raise InvalidToc("the table of contents is of another disk than the manifest says")
    return toc


def fetch_frames(
    toc: Toc, blobs: BlobReader, found: ResolvedDisk, partial: Partial, progress: Progress, jobs: int
) -> Fetched:
    """Complete ``partial`` frame by frame; what is right in it already is kept.

    Raises:
        ContentError: a frame is not what the TOC promises.
        StorageError: there is no room for the disk.
    """
    right = _take_up(toc, partial, progress, jobs)
    data = toc.kinds == Kind.DATA
    reused = int(toc.plain_sizes[data & right].sum(dtype=np.uint64))
    wanted = wanted_frames(toc, right)
    plan = slices(toc, wanted)
    ahead = sum(piece.stop - piece.start for piece in plan)
    _check_room(partial, int(toc.plain_sizes[wanted].sum(dtype=np.uint64)))
    kept = int(toc.compressed[data & right].sum(dtype=np.uint64))
    with progress.task("pulling", kept + ahead, done=kept) as task, early_writeback(partial.fd):
        apply(toc, plan, blobs, found.layer, partial.fd, jobs=jobs, task=task)
    return Fetched(ahead, reused, toc.disk.size - toc.data_bytes)


def _take_up(toc: Toc, partial: Partial, progress: Progress, jobs: int) -> Mask:
    """Survey what an earlier pull left, and bring the file to its size with nothing wrong where zeros belong."""
    if os.fstat(partial.fd).st_size == 0:
        partial.resize(toc.disk.size)
        empty: Mask = toc.kinds == Kind.ZERO
        return empty
    partial.resize(toc.disk.size)
    with progress.task("checking what is here", toc.data_bytes) as task:
        right = survey(partial.fd, toc, jobs, task)
    for frame in np.flatnonzero((toc.kinds == Kind.ZERO) & ~right).tolist():
        punch_hole(partial.fd, int(toc.disk_offsets[frame]), toc.plain_size(frame))
    return right


def fetch_whole(
    blobs: BlobReader, found: ResolvedDisk, layer: Descriptor, plain: Partial, spool: Partial, progress: Progress
) -> tuple[Fetched, Partial]:
    """Fetch a blob without TOC in one stream, decompressing on the way.

    The blob itself is kept in ``spool`` until it is verified, so that an interrupted pull goes on where it stopped.

    Returns:
        What was moved, and the partial that holds the disk: ``plain``, or ``spool`` where the blob is not compressed.

    Raises:
        ContentError: the blob is not what its digest pins, does not decompress, or is a bomb.
        StorageError: there is no room for it.
    """
    kept = min(os.fstat(spool.fd).st_size, layer.size)
    try:
        return _stream(blobs, found, layer, plain, spool, kept, progress)
    except DigestMismatch:
        if not kept:
            raise
        # A power cut may have damaged what an earlier pull left; the registry gets the benefit of the doubt.
        progress.note("what an interrupted pull left behind is damaged: fetching it again")
        os.ftruncate(spool.fd, 0)
        return _stream(blobs, found, layer, plain, spool, 0, progress)


def _stream(
    blobs: BlobReader,
    found: ResolvedDisk,
    layer: Descriptor,
    plain: Partial,
    spool: Partial,
    kept: int,
    progress: Progress,
) -> tuple[Fetched, Partial]:
    _check_room(spool, layer.size - kept)
    os.ftruncate(plain.fd, 0)
    with progress.task("pulling", layer.size) as task, SpooledBlob(blobs, layer, spool, kept, task) as blob:
        compression = sniff(blob.peek())
        if compression is None and not found.container_disk:
            while blob.read(STEP):
                pass
            blob.finish()
            return Fetched(layer.size - kept, kept, layer.size - blob.stored), spool
        writer = SparseWriter(plain.fd, layer.size)
        try:
            pieces = expand(blob, compression)
            for piece in disk_in_tar(pieces) if found.container_disk else pieces:
                writer.write(piece)
        except (InvalidFrame, NoDiskInLayer):
            # Damage on the way shows as a digest mismatch, which says more than what a decompressor made of it.
            blob.finish()
            raise
        blob.finish()
    plain.resize(writer.size)
    if found.disk is not None and found.disk.size != writer.size:
        raise ContentError(f"the disk has {writer.size} bytes, but its manifest says {found.disk.size}")
    return Fetched(layer.size - kept, 0, writer.size - writer.stored), plain


def _check_room(partial: Partial, needed: int) -> None:
    room = os.fstatvfs(partial.fd)
    free = room.f_bavail * room.f_frsize
    if needed > free:
        raise StorageError(
            str(partial.target.parent),
            f"{needed} bytes are needed and {free} are free",
            hint="make room, or choose another place with --output",
        )
