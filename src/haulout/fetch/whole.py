"""Fetching a disk whose blob has no table of contents: one stream, decompressed on the way, verified as a whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from haulout.content import STEP, Distrusting, expand, sniff
from haulout.disk import SparseWriter
from haulout.errors import ContentError, DigestMismatch, InvalidFrame
from haulout.fetch.results import Moved
from haulout.fetch.spool import SpooledBlob

if TYPE_CHECKING:
    from haulout.content import BlobReader
    from haulout.fetch.target import Partial
    from haulout.oci import Descriptor
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk


def fetch_whole(
    blobs: BlobReader, found: ResolvedDisk, layer: Descriptor, plain: Partial, spool: Partial, progress: Progress
) -> tuple[Moved, Partial]:
    """Fetch a blob without TOC in one stream, decompressing on the way.

    The blob itself is kept in ``spool`` until it is verified, so that an interrupted pull resumes where it stopped.

    Returns:
        What was moved, and the partial that holds the disk: ``plain``, or ``spool`` where the blob is not compressed.

    Raises:
        ContentError: the blob is not what its digest pins, does not decompress, or is a bomb.
        StorageError: there is no room for it.
    """
    kept = min(os.fstat(spool.fd).st_size, layer.size)
    # Only what the layer covers is hashed, and the spool itself may become the disk: nothing may lie behind it.
    spool.resize(kept)
    try:
        return _stream(blobs, found, layer, plain, spool, kept, progress)
    except DigestMismatch:
        # A power cut may have damaged what an earlier pull left, a mirror what came now: the registry is asked again.
        if not kept and not (isinstance(blobs, Distrusting) and blobs.distrust(layer)):
            raise
        if kept:
            progress.note("the data kept from an interrupted pull is damaged; fetching it again")
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
) -> tuple[Moved, Partial]:
    spool.require_room(layer.size - kept)
    os.ftruncate(plain.fd, 0)
    with progress.task("pulling", layer.size) as task, SpooledBlob(blobs, layer, spool, kept, task) as blob:
        compression = sniff(blob.peek())
        if compression is None:
            while blob.read(STEP):
                pass
            blob.finish()
            require_size(found, layer.size)
            return Moved(layer.size - kept, reused=kept, zero=layer.size - blob.stored), spool
        writer = SparseWriter(plain.fd, layer.size)
        try:
            for piece in expand(blob, compression):
                writer.write(piece)
        except InvalidFrame:
            # Damage on the way shows as a digest mismatch, which says more than a decompressor's error.
            blob.finish()
            raise
        blob.finish()
    plain.resize(writer.size)
    require_size(found, writer.size)
    return Moved(layer.size - kept, zero=writer.size - writer.stored), plain


def require_size(found: ResolvedDisk, size: int) -> None:
    """Check the plain size against the one its publisher states.

    Raises:
        ContentError: it is another.
    """
    if found.disk is not None and found.disk.size != size:
        raise ContentError(f"the disk has {size} bytes, but its manifest says {found.disk.size}")
