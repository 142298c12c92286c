"""Reading the table of contents that a disk's manifest names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.content import read_blob
from haulout.errors import InvalidToc, NotFoundError
from haulout.frames import MAX_TOC_BYTES, Toc
from haulout.oci import Descriptor, mediatype

if TYPE_CHECKING:
    from haulout.content import BlobReader
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk


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
            f"the table of contents of {found.pinned} is missing here (a copy without referrers leaves it behind); "
            "fetching the whole blob"
        )
        return None
    toc = Toc.decode(data)
    if toc.blob_size != found.layer.size:
        raise InvalidToc(f"the table of contents is of a blob of {toc.blob_size} bytes, not {found.layer.size}")
    if found.disk is not None and found.disk != toc.disk:
        raise InvalidToc("the table of contents is of another disk than the manifest states")
    return toc
