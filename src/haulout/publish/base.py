"""Finding the base of a push: an earlier version of the disk, whose frames the new one keeps where it can.

A base only saves: a broken one costs a note, never the push.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from haulout.content import read_blob
from haulout.errors import ContentError, HauloutError, NotFoundError, ToolError
from haulout.extras import require
from haulout.frames import MAX_BUNDLE_BYTES, Base, block_count, bundled_frames
from haulout.oci import Descriptor, Index, RegistryReference, mediatype
from haulout.oci import annotations as keys
from haulout.progress import NullProgress
from haulout.publish.index import entry_of
from haulout.publish.stored_frames import LocalFrames, RemoteFrames
from haulout.resolve import DiskQuery, earlier_tags, load_toc, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from haulout.content import Store
    from haulout.disk import DiskType
    from haulout.frames import FrameSource, Toc
    from haulout.oci import Architecture, Reference
    from haulout.progress import Progress
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


@dataclass(frozen=True, slots=True)
class StoredDisk:
    """A published disk, and the open store that holds it."""

    store: Store
    found: ResolvedDisk


@dataclass(frozen=True, slots=True)
class FoundBase(StoredDisk):
    """A base that can be used."""

    base: Base

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
            progress: receives a note where they cease to come.
        """
        if not isinstance(self.found.reference, RegistryReference):
            yield LocalFrames(self.store, self.found.layer, self.base, progress.note)
            return
        with RemoteFrames(self.store, self.found.layer, self.base, jobs, progress.note) as frames:
            yield frames

    def mounts_into(self, reference: RegistryReference) -> str | None:
        """The base's repository, where the registry of ``reference`` can mount blobs from it; None where it cannot."""
        here = self.found.reference
        return here.repository if isinstance(here, RegistryReference) and here.host == reference.host else None


class Bases:
    """Finds a base for each disk of a push.

    Args:
        reference: where the push goes.
        store: open on it.
        index: what the tag holds; None: nothing.
        named: the base that was asked for; None: the tag's present disk of the same architecture and type, else that
            of the tag before it.
        find: finds a disk in what is named.
        progress: receives the reason where there is no base, but one could be expected.
    """

    def __init__(
        self,
        reference: Reference,
        store: Store,
        index: Index | None,
        named: Reference | None,
        find: Callable[[Reference, DiskQuery], StoredDisk],
        progress: Progress,
    ) -> None:
        assert reference.tag is not None
        self._reference = reference
        self._tag = reference.tag
        self._store = store
        self._indexes = {self._tag: index}
        self._named = named
        self._find = find
        self._progress = progress
        self._earlier: list[str] | None = None
        self._noted: set[str] = set()

    def find(self, architecture: Architecture, disk_type: DiskType, size: int) -> FoundBase | None:
        """Return the base for a disk of ``size`` bytes; None where there is none that can be used."""
        # What holds many times the data of the disk is not a version of it, and costs memory.
        limit = min(_MAX_HINTS, max(_LEAST_HINTS, 4 * _BYTES_PER_HINT * block_count(size)))
        query = DiskQuery(architecture, disk_type.value)
        if self._named is not None:
            try:
                return self._load(self._find(self._named, query), limit)
            except HauloutError as exc:
                self._progress.note(f"{self._named} cannot be used as base ({exc}); compressing everything")
                return None
        unusable: str | None = None
        for tag in self._candidates():
            try:
                entry = self._entry(tag, architecture, disk_type)
                if entry is not None:
                    found = resolve(self._store, self._reference.at(entry.digest), query)
                    return self._load(StoredDisk(self._store, found), limit)
            except NotFoundError:
                continue
            except ToolError as exc:
                unusable = f"not using {self._reference.with_tag(tag)} as base, which needs numpy ({exc.hint})"
                break
            except HauloutError as exc:
                unusable = unusable or f"{self._reference.with_tag(tag)} cannot be used as base ({exc})"
        if unusable is not None and unusable not in self._noted:
            self._noted.add(unusable)
            self._progress.note(unusable)
        return None

    def _entry(self, tag: str, architecture: Architecture, disk_type: DiskType) -> Descriptor | None:
        # One request for all disks of the push, where resolving would look further for what is not there.
        if tag not in self._indexes:
            parsed = self._store.manifest(tag).parse(f"tag {tag}")
            self._indexes[tag] = parsed if isinstance(parsed, Index) else None
        index = self._indexes[tag]
        return None if index is None else entry_of(index, architecture, disk_type)

    def _candidates(self) -> Iterator[str]:
        yield self._tag
        if self._earlier is None:
            self._earlier = self._earlier_tags()
        yield from self._earlier

    def _earlier_tags(self) -> list[str]:
        try:
            return earlier_tags(islice(self._store.tags(), _MAX_TAGS), self._tag)[:_MAX_TRIES]
        except HauloutError:
            # A repository that does not exist yet, or a registry that does not list tags.
            return []

    def _load(self, disk: StoredDisk, limit: int) -> FoundBase:
        require("numpy", extra="deltas")
        toc = load_toc(disk.store, disk.found, NullProgress())
        if toc is None:
            raise ContentError("it has no table of contents")
        hints = Descriptor(mediatype.HINTS, toc.hints.digest, toc.hints.size)
        data = read_blob(disk.store, hints, limit, "the list of its blocks")
        return FoundBase(disk.store, disk.found, Base(toc, data, _small_frames(disk.store, disk.found, toc)))


def _small_frames(store: Store, found: ResolvedDisk, toc: Toc) -> list[int]:
    """Return which frames are in the small-frame bundle of a base; none where it cannot be read."""
    try:
        if found.crumbs is None:
            return []
        crumbs = Descriptor(mediatype.CRUMBS, found.crumbs.digest, found.crumbs.size)
        return bundled_frames(read_blob(store, crumbs, MAX_BUNDLE_BYTES, "the base's small-frame bundle"), toc)
    except (ContentError, NotFoundError):
        return []
