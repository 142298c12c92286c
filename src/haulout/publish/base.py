"""Finding the base of a push: an earlier version of the disk, whose frames the new one keeps where it can.

A base only saves: whatever is wrong with one costs a note, never a push.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Self

from haulout.content import read_blob
from haulout.errors import ContentError, HauloutError, NotFoundError
from haulout.frames import MAX_CRUMBS_BYTES, Base, block_count, crumb_frames
from haulout.oci import Descriptor, Index, LayoutReference, RegistryReference, mediatype
from haulout.oci import annotations as keys
from haulout.places import open_store
from haulout.progress import NullProgress, Traffic
from haulout.publish.index import entry_key
from haulout.publish.stored_frames import LocalFrames, RemoteFrames
from haulout.publish.versions import earlier_tags
from haulout.resolve import DiskQuery, load_toc, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.content import Store
    from haulout.disk import DiskType
    from haulout.frames import FrameSource, Toc
    from haulout.oci import Architecture, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.resolve import ResolvedDisk

_MAX_HINTS: Final = 512 * 1024 * 1024
"""Largest hints read of a base, in bytes: those of 256 GiB of data."""
_LEAST_HINTS: Final = 16 * 1024 * 1024
"""Hints that are read however small the new disk is."""

_BYTES_PER_HINT: Final = 8
_MAX_TAGS: Final = 4096
"""Tags looked at, of a repository."""
_MAX_TRIES: Final = 6
"""Tags tried as bases."""


@dataclass(frozen=True)
class FoundBase:
    """A base that can be used."""

    found: ResolvedDisk
    base: Base
    store: Store
    """Where it is; open as long as the :class:`Bases` it comes from."""

    @property
    def pinned(self) -> Reference:
        """The base by digest."""
        return self.found.pinned

    def level(self) -> int | None:
        """The zstd level none of its frames is below; None where nothing says."""
        stated = self.found.manifest.annotations.get(keys.LEVEL, "")
        return int(stated) if stated.isdecimal() and len(stated) <= 2 else None

    @contextmanager
    def frames(self, jobs: int, progress: Progress) -> Iterator[FrameSource]:
        """Open its compressed frames.

        Args:
            jobs: threads that compress.
            progress: told if they cease to come.
        """
        if isinstance(self.found.reference, LayoutReference):
            yield LocalFrames(self.store, self.found.layer, self.base, progress.note)
            return
        with RemoteFrames(self.store, self.found.layer, self.base, jobs, progress.note) as frames:
            yield frames

    def mounts_into(self, reference: Reference) -> str | None:
        """The base's repository, where the registry of ``reference`` can mount blobs from it; None where it cannot."""
        here = self.found.reference
        if not isinstance(here, RegistryReference) or not isinstance(reference, RegistryReference):
            return None
        return here.repository if here.host == reference.host and here.repository != reference.repository else None


class Bases:
    """Finds a base for each disk of a push. Close it when done.

    Args:
        reference: where the push goes.
        store: the open repository or layout of ``reference``.
        named: the base that was asked for; None: the tag's present disk of the same architecture and type, else that of
            the tag before it.
        connections: how other registries are reached.
        progress: told why there is no base, where one could be expected.
    """

    def __init__(
        self,
        reference: Reference,
        store: Store,
        named: Reference | None,
        connections: ConnectionOptions,
        progress: Progress,
    ) -> None:
        self._reference = reference
        self._store = store
        self._named = named
        self._connections = connections
        self._progress = progress
        self._stack = ExitStack()
        self._other: Store | None = None
        self._earlier: list[str] | None = None

    @property
    def traffic(self) -> Traffic:
        """What has crossed the wire to other places than the one that is pushed to."""
        return Traffic() if self._other is None else self._other.traffic

    def find(self, architecture: Architecture, disk_type: DiskType, size: int) -> FoundBase | None:
        """Return the base for a disk of ``size`` bytes; None where there is none that is of use."""
        # What holds many times the data of the disk is no version of it, and costs memory.
        limit = min(_MAX_HINTS, max(_LEAST_HINTS, 4 * _BYTES_PER_HINT * block_count(size)))
        query = DiskQuery(architecture, disk_type.value)
        if self._named is not None:
            return self._named_base(self._named, query, limit)
        refused: str | None = None
        for candidate in self._candidates():
            try:
                entry = self._entry(candidate, architecture, disk_type)
                if entry is not None:
                    pinned = self._reference.at(entry.digest)
                    return self._load(self._store, resolve(self._store, pinned, query), limit)
            except NotFoundError:
                continue
            except HauloutError as exc:
                refused = refused or f"{self._reference.with_tag(candidate)} is no base: {exc}"
        if refused is not None:
            self._progress.note(refused)
        return None

    def _named_base(self, named: Reference, query: DiskQuery, limit: int) -> FoundBase | None:
        try:
            store = self._open(named)
            return self._load(store, resolve(store, named, query), limit)
        except HauloutError as exc:
            self._progress.note(f"{named} is no base: {exc}; everything is compressed anew")
            return None

    def _open(self, named: Reference) -> Store:
        if named.name == self._reference.name:
            return self._store
        if self._other is None:
            self._other = self._stack.enter_context(open_store(named, self._connections, self._progress))
        return self._other

    def _entry(self, tag: str, architecture: Architecture, disk_type: DiskType) -> Descriptor | None:
        # One request, where resolving would look further for what is not there.
        index = self._store.manifest(tag).parse(f"tag {tag}")
        key = ("linux", architecture.value, disk_type.value)
        entries = index.manifests if isinstance(index, Index) else ()
        return next((entry for entry in entries if entry_key(entry) == key), None)

    def _candidates(self) -> Iterator[str]:
        assert self._reference.tag is not None
        yield self._reference.tag
        if self._earlier is None:
            self._earlier = self._earlier_tags(self._reference.tag)
        yield from self._earlier

    def _earlier_tags(self, tag: str) -> list[str]:
        try:
            return earlier_tags(islice(self._store.tags(), _MAX_TAGS), tag)[:_MAX_TRIES]
        except HauloutError:
            # A repository that is not there yet, or a registry that lists no tags.
            return []

    def _load(self, store: Store, found: ResolvedDisk, limit: int) -> FoundBase:
        toc = load_toc(store, found, NullProgress())
        if toc is None:
            raise ContentError("it has no table of contents")
        hints = Descriptor(mediatype.HINTS, toc.hints.digest, toc.hints.size)
        data = read_blob(store, hints, limit, "the list of its blocks")
        return FoundBase(found, Base(toc, data, _crumbs(store, found, toc)), store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def _crumbs(store: Store, found: ResolvedDisk, toc: Toc) -> list[int]:
    """Return which frames are crumbs of a base; without its list, they only are none any more."""
    try:
        if found.crumbs is None:
            return []
        crumbs = Descriptor(mediatype.CRUMBS, found.crumbs.digest, found.crumbs.size)
        return crumb_frames(read_blob(store, crumbs, MAX_CRUMBS_BYTES, "the crumbs of the base"), toc)
    except (ContentError, NotFoundError):
        return []
