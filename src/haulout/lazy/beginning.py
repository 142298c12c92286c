"""Beginning a base image that is fetched while a machine runs from it: what is decided before any program opens it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from haulout import oci
from haulout.content import read_blob
from haulout.disk import DiskFormat, has_efi_partition, inspect_image, require_safe, start_of_disk
from haulout.disk import Image as DiskImage
from haulout.errors import ContentError, HauloutError, UnreachableError, UsageError
from haulout.fetch import announced_format, open_partial
from haulout.lazy.fetching import Fetcher
from haulout.lazy.image import PartialImage
from haulout.lazy.trace import MAX_TRACE_BYTES, Trace
from haulout.local import replace_file, storage_errors
from haulout.machine import DiskKind, PartialBase, partial_base, write_partial
from haulout.oci import Architecture, Descriptor, LayoutReference, Manifest, mediatype, parse_reference
from haulout.places import Places
from haulout.registry import ConnectionOptions
from haulout.resolve import DiskQuery, load_toc

if TYPE_CHECKING:
    from haulout.content import Store
    from haulout.disk import DiskInfo
    from haulout.frames import Toc
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk

_PATIENCE: Final = 30.0
_STALL_SECONDS: Final = 10.0
_TABLE_BYTES: Final = 18 << 10
"""Of the guest's disk: its partition table."""
_MOST_TRACES: Final = 8
_LARGEST: Final = 1 << 46


@dataclass(frozen=True, slots=True)
class Begun:
    """A base image that a machine can start from."""

    pinned: str
    format: DiskKind


def beside(base: Path, what: str) -> Path:
    """Return the path of a file beside a base: its ``toc`` or ``trace``."""
    return base.with_name(f"{base.name}.{what}")


def begin(
    places: Places, found: ResolvedDisk, base: Path, connections: ConnectionOptions | None, progress: Progress
) -> Begun | None:
    """Fetch as much of a disk as it takes to know that it is safe, and take note of where the rest is.

    Args:
        places: where it is.
        found: the disk.
        base: the file it will become.
        connections: how registries are reached, now and later.
        progress: receives notes.

    Returns:
        What was begun; None where the disk cannot be read in pieces, because it has no table of contents.

    Raises:
        UsageError: no machine boots from its format, or the user named a password for this command alone.
        UnsafeDiskError: it is not what it says, or may open other files.
        HauloutError: the registry does not answer, or what it sends is damaged.
    """
    connections = connections or ConnectionOptions()
    if connections.credentials is not None:
        raise UsageError(
            "a lazy start needs the password later, too", hint=f"haulout login {found.reference.name.partition('/')[0]}"
        )
    known = partial_base(base)
    if known is not None and known.blob == str(found.layer.digest) and beside(base, "toc").exists():
        # It may be served at this moment, and was found to be safe.
        reached = _reached(found, connections)
        if reached["reference"] == known.reference or not _is_there(known, progress):
            # Else other machines rely on the other place.
            write_partial(base, replace(known, **reached))
        return Begun(str(found.pinned), DiskKind(known.format))
    store = places.open(found.reference)
    toc = load_toc(store, found, progress)
    if toc is None:
        return None
    kind = announced_format(found)
    if kind is not None and str(kind) not in set(DiskKind):
        raise UsageError(f"{found.reference} has a disk of format {kind}, which no machine boots")
    with open_partial(base, found.layer.digest) as partial, ExitStack() as stack:
        # All of it comes, sooner or later.
        partial.require_room(toc.data_bytes - os.fstat(partial.fd).st_blocks * 512)
        with storage_errors(partial.path, doing="cannot be written"):
            # Without the lock, which ends with this block whatever a thread is at.
            fd = os.open(partial.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            image = PartialImage(fd, toc)
        said: list[str] = []
        fetcher = Fetcher(image, store, found.layer, said.append, patience=_PATIENCE)
        stack.callback(lambda: os.close(fd) if fetcher.close() else None)
        opened = _Fetching(image, fetcher, str(base), said)
        info = require_safe(inspect_image(opened), kind, _LARGEST)
        if str(info.format) not in set(DiskKind):
            raise UsageError(f"{found.reference} has a disk of format {info.format}, which no machine boots")
        is_qcow2 = info.format is DiskFormat.QCOW2
        for offset, length in start_of_disk(opened, _TABLE_BYTES) if is_qcow2 else [(0, _TABLE_BYTES)]:
            opened.read(offset, length)
        efi = has_efi_partition(partial.path, info.format)
    known = _known(found, toc, connections, info, efi=efi)
    trace = find_trace(store, found, toc, progress)
    with storage_errors(base.parent, doing="cannot be written"):
        replace_file(beside(base, "toc"), toc.encode(), mode=0o600)
        beside(base, "trace").unlink(missing_ok=True)
        if trace is not None:
            replace_file(beside(base, "trace"), trace.encode(), mode=0o600)
    write_partial(base, known)
    return Begun(str(found.pinned), DiskKind(info.format))


class _Fetching(DiskImage):
    """A partial image, read for inspection: what is missing comes first."""

    def __init__(self, image: PartialImage, fetcher: Fetcher, path: str, said: list[str]) -> None:
        super().__init__(image.fd, path, image.size, os.fstat(image.fd).st_blocks * 512)
        self._fetcher = fetcher
        self._said = said

    def read(self, offset: int, length: int) -> bytes:
        inside = min(length, self.size - offset)
        if offset >= 0 and inside > 0 and not self._fetcher.wait_for(offset, inside):
            raise UnreachableError(self._said[0] if self._said else "the registry does not answer")
        return super().read(offset, length)


def _known(found: ResolvedDisk, toc: Toc, connections: ConnectionOptions, info: DiskInfo, *, efi: bool) -> PartialBase:
    layer = found.layer
    return PartialBase(
        blob=str(layer.digest),
        blob_size=layer.size,
        media_type=layer.media_type,
        toc=str(oci.Digest.of(toc.encode())),
        data_bytes=toc.data_bytes,
        virtual_size=info.virtual_size,
        format=str(info.format),
        efi=efi,
        **_reached(found, connections),
    )


def _reached(found: ResolvedDisk, connections: ConnectionOptions) -> dict[str, Any]:
    """Return the members of a note that say where a disk is, and how that is reached."""
    pinned = found.pinned
    if isinstance(pinned, LayoutReference):
        pinned = replace(pinned, directory=str(Path(pinned.directory).absolute()))
    return {
        "reference": str(pinned),
        "plain_http": connections.plain_http,
        "insecure": connections.insecure,
        "ca_file": None if connections.ca_file is None else str(connections.ca_file.absolute()),
        "allowed_hosts": connections.allowed_hosts,
    }


def connections_of(known: PartialBase) -> ConnectionOptions:
    """Return how the registry of a base is reached; credentials are those that this user has stored."""
    return ConnectionOptions(
        plain_http=known.plain_http,
        insecure=known.insecure,
        ca_file=None if known.ca_file is None else Path(known.ca_file),
        allowed_hosts=known.allowed_hosts,
        stall_seconds=_STALL_SECONDS,
        attempts=2,
    )


def _is_there(known: PartialBase, progress: Progress) -> bool:
    """Return whether a disk still is where its note says."""
    try:
        with Places(connections_of(known), progress) as places:
            places.root(parse_reference(known.reference))
    except HauloutError:
        return False
    return True


def find_trace(store: Store, found: ResolvedDisk, toc: Toc, progress: Progress) -> Trace | None:
    """Return the newest boot trace of a disk that fits it; None where there is none, or it cannot be had."""
    try:
        listed = store.referrers(found.digest, mediatype.TRACE_ARTIFACT)
    except HauloutError as error:
        progress.note(f"cannot look for a boot trace: {error}")
        return None
    by_age = sorted(listed, key=lambda each: each.annotations.get(oci.annotations.CREATED, ""), reverse=True)
    for each in by_age[:_MOST_TRACES]:
        try:
            manifest = store.manifest(each.digest).parse("boot trace")
            if isinstance(manifest, Manifest) and len(manifest.layers) == 1:
                trace = Trace.decode(read_blob(store, manifest.layers[0], MAX_TRACE_BYTES, "boot trace"))
                if trace.disk != toc.disk:
                    raise ContentError("it is of another disk")
                return trace
        except HauloutError as error:
            progress.note(f"cannot use the boot trace {each.digest.short}: {error}")
    return None


def resolve_disk(places: Places, reference: oci.Reference) -> ResolvedDisk:
    """Find the disk for this host; raises as :meth:`haulout.places.Places.resolve`."""
    return places.resolve(reference, DiskQuery(Architecture.here()))


def blob_of(known: PartialBase) -> Descriptor:
    """Return the blob that a note names."""
    return Descriptor(known.media_type, oci.Digest.parse(known.blob), known.blob_size)
