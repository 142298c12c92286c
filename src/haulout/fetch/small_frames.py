"""Taking the smallest changed frames from the blob of crumbs, in one request, where that is cheaper than many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.content import read_blob
from haulout.disk import write_all
from haulout.errors import HauloutError, StorageError
from haulout.frames import MAX_BUNDLE_BYTES, read_bundle
from haulout.oci import Descriptor, mediatype

if TYPE_CHECKING:
    from haulout.content import BlobReader
    from haulout.frames import Toc
    from haulout.oci import SizedDigest
    from haulout.progress import Progress


def take_crumbs(
    toc: Toc, crumbs: SizedDigest, wanted: set[int], blobs: BlobReader, fd: int, progress: Progress
) -> set[int]:
    """Fetch the crumbs, and write those that are ``wanted`` to their places in ``fd``.

    Returns:
        The frames written, each verified; all others are left to be fetched by ranges, whatever was wrong.

    Raises:
        StorageError: the file cannot be written.
    """
    written: set[int] = set()
    try:
        data = read_blob(blobs, Descriptor(mediatype.CRUMBS, crumbs.digest, crumbs.size), MAX_BUNDLE_BYTES, "crumbs")
        with progress.task("pulling crumbs", sum(toc.plain_size(frame) for frame in wanted)) as task:
            for frame, plain in read_bundle(data, toc):
                if frame in wanted:
                    write_all(fd, plain, toc.disk_offsets[frame])
                    written.add(frame)
                    task.advance(len(plain))
    except StorageError:
        raise
    except HauloutError as error:
        progress.note(f"the crumbs are of no use ({error}): their frames are fetched one by one")
    return written
