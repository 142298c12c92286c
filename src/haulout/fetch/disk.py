"""Bring one disk to one target: it is there already, or comes by its table of contents, or as a whole blob."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from haulout import disk as disks
from haulout.disk import DiskFormat, DiskInfo, DiskType, convert
from haulout.errors import ContentError, DigestMismatch, InvalidPlatform, NotFoundError, UnsafeDiskError, UsageError
from haulout.fetch.bandwidth import MeasuringReader
from haulout.fetch.containerdisk import fetch_container_disk, require_disk_inside
from haulout.fetch.fetch_plan import plan
from haulout.fetch.frames import FrameRun
from haulout.fetch.records import Records
from haulout.fetch.results import Fetched, Moved
from haulout.fetch.seeds import SeedNotes, open_seeds
from haulout.fetch.survey import survey
from haulout.fetch.target import check_target, look_at_partial, open_partial, sweep
from haulout.fetch.whole import fetch_whole
from haulout.frames import hash_file, holds, require_disk
from haulout.local import open_regular, storage_errors
from haulout.resolve import load_toc

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.content import Store
    from haulout.fetch.results import PullOptions
    from haulout.fetch.target import Partial
    from haulout.frames import Toc
    from haulout.oci import Descriptor, Digest, SizedDigest
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk

_MAX_VIRTUAL_SIZE: Final = 1 << 46
"""Largest guest disk believed of a pulled image (64 TiB)."""


def pull_disk(store: Store, found: ResolvedDisk, target: Path, options: PullOptions, progress: Progress) -> Fetched:
    """Bring a disk to ``target``, where it appears whole and verified, in one step.

    Args:
        store: where it is.
        found: the disk.
        target: the file it becomes.
        options: how.
        progress: receives tasks and notes; what it raises from ``advance`` ends the pull, which can be resumed.

    Raises:
        HauloutError: the target is as it was.
    """
    return _DiskPull(store, found, target, options, progress).run()


class _DiskPull:
    """One disk on its way to one target; arguments as for :func:`pull_disk`."""

    def __init__(
        self, store: Store, found: ResolvedDisk, target: Path, options: PullOptions, progress: Progress
    ) -> None:
        self._store = store
        self._found = found
        self._target = target
        self._options = options
        self._announced = announced_format(found)
        self._as = None if options.as_format == self._announced else options.as_format
        self._progress = progress
        self._records = Records()
        self._notes = SeedNotes()
        self._form = "plain" if self._as is None else str(self._as)

    def run(self) -> Fetched:
        if self._as is not None and self._announced is not None and self._announced not in disks.convertible_formats():
            raise UsageError(
                f"a {self._announced} disk cannot be converted to {self._as}",
                hint="pull it without --as to keep its format",
            )
        check_target(self._target)
        blobs = MeasuringReader(self._store)
        toc = load_toc(blobs, self._found, self._progress)
        stated = toc.disk if toc is not None else self._found.disk
        present = self._present(toc, stated)
        if present is not None:
            if self._as is None:
                with storage_errors(self._target, option="--output"), self._target.open("rb", buffering=0) as file:
                    self._check(file.fileno(), stated)
            if not self._options.dry_run:
                # A pull that was killed after its last step could neither clear up nor take note.
                sweep(self._target)
                self._notes.remember(self._target, self._found.reference.name, toc if self._as is None else None)
            moved = Moved(reused=present.file_size)
            return Fetched(self._found.layer, stated, str(present.format), moved, "present", "present")
        if toc is None:
            return self._whole(stated)
        return self._frames(toc, blobs)

    def _frames(self, toc: Toc, blobs: MeasuringReader) -> Fetched:
        options, name = self._options, self._found.reference.name
        opened = look_at_partial if options.dry_run else open_partial
        with (
            opened(self._target, self._found.layer.digest) as partial,
            open_seeds(
                options.seeds,
                self._target,
                self._notes if options.find_seeds else None,
                name,
                settle=not options.dry_run,
            ) as seeds,
        ):
            here = survey(toc, blobs, self._found, partial, seeds, options, self._progress)
            steps = plan(here)
            if options.dry_run:
                return self._planned(self._found.layer, toc.disk, steps.moved)
            run = FrameRun(here, steps, blobs, self._found, partial, seeds, self._progress)
            moved = run.run(further=toc.data_bytes if self._as is not None else 0)
            info = self._finish(partial, toc.disk)
        self._notes.remember(self._target, name, toc if self._as is None else None)
        return Fetched(self._found.layer, toc.disk, str(info.format), moved, "pulled", "frames")

    def _planned(self, layer: Descriptor, stated: SizedDigest | None, moved: Moved) -> Fetched:
        form = self._as or self._announced
        return Fetched(layer, stated, str(form or "unknown"), moved, "planned", "nothing")

    def _whole(self, stated: SizedDigest | None) -> Fetched:
        if self._options.dry_run:
            found = require_disk_inside(self._store, self._found) if self._found.container_disk else self._found
            sizes, kept = {layer.digest: layer.size for layer in found.layers}, 0
            for digest, size in sizes.items():
                with look_at_partial(self._target, digest, "blob") as spool:
                    kept += min(os.fstat(spool.fd).st_size, size)
            return self._planned(found.layer, stated, Moved(sum(sizes.values()) - kept, reused=kept))
        found = self._found
        with ExitStack() as stack:
            # Of a container disk, what comes of it depends on all of its layers.
            plain = stack.enter_context(open_partial(self._target, _identity(found), "plain"))
            spools = {
                each: stack.enter_context(open_partial(self._target, each, "blob"))
                for each in dict.fromkeys(layer.digest for layer in found.layers)
            }
            try:
                if found.container_disk:
                    moved, layer = fetch_container_disk(self._store, found, plain, spools, self._progress)
                    made = plain
                else:
                    layer = found.layer
                    moved, made = fetch_whole(self._store, found, layer, plain, spools[layer.digest], self._progress)
                info = self._finish(made, stated, shows_origin=False)
            except (ContentError, NotFoundError, UnsafeDiskError):
                _discard(plain, *spools.values())
                raise
            _discard(plain, *spools.values())
        self._notes.remember(self._target, self._found.reference.name, None)
        return Fetched(layer, stated, str(info.format), moved, "pulled", "blob")

    def _present(self, toc: Toc | None, stated: SizedDigest | None) -> DiskInfo | None:
        """Return what the target is, if it is the disk already, byte for byte.

        A conversion does not show the bytes that the publisher states: with ``check_disk`` it counts only if what it
        was made from was checked. Otherwise it is made again, mostly of the blocks that are in it.
        """
        if not self._target.exists():
            return None
        if toc is None or self._as is not None:
            checked = None if self._as is None else self._checked(stated)
            if not self._records.holds(self._target, self._found.digest, self._form, checked=checked):
                return None
        elif not self._holds(toc):
            return None
        return disks.inspect(self._target, follow_symlinks=False)

    def _holds(self, toc: Toc) -> bool:
        with open_regular(self._target, follow=False) as fd:
            if os.fstat(fd).st_size != toc.disk.size:
                return False
            with self._progress.task("checking existing data", toc.data_bytes) as task:
                return holds(fd, toc, self._options.jobs, task)

    def _finish(self, partial: Partial, stated: SizedDigest | None, *, shows_origin: bool = True) -> DiskInfo:
        """Let the result appear; remember what it was made from where it does not show.

        Each step comes before what it replaces goes: a pull that is killed between them has nothing to fetch again.
        """
        try:
            self._check(partial.fd, stated)
        except DigestMismatch:
            # Every frame is what its table says: fetching it again would not change that.
            partial.discard()
            raise
        info = self._approve(partial)
        if self._as is None or self._as == info.format:
            if not shows_origin or self._as is not None:
                self._remember(partial.fd, stated)
            partial.publish()
            return info
        made = convert(partial.fd, info.format, self._target, self._as, progress=self._progress)
        with storage_errors(self._target, option="--output"), self._target.open("rb", buffering=0) as file:
            self._remember(file.fileno(), stated)
        partial.discard()
        return made

    def _check(self, fd: int, stated: SizedDigest | None) -> None:
        if self._options.check_disk and stated is not None:
            with self._progress.task("hashing the disk", stated.size) as task:
                require_disk(hash_file(fd, task), stated)

    def _checked(self, stated: SizedDigest | None) -> SizedDigest | None:
        return stated if self._options.check_disk else None

    def _remember(self, fd: int, stated: SizedDigest | None) -> None:
        self._records.remember(self._target, self._found.digest, self._form, fd, checked=self._checked(stated))

    def _approve(self, partial: Partial) -> DiskInfo:
        """Inspect what came before any other program may open it."""
        info = disks.inspect(partial.fd, name=str(self._target))
        if self._announced not in {None, info.format} and _is_only_asked(self._found):
            partial.discard()
            raise UnsafeDiskError(
                str(self._target),
                "format",
                f"{self._announced} was asked for, but the disk is {info.format}",
                hint=f"leave --type out to take it as it is, or convert it: --as {self._announced}",
            )
        if self._announced is not None or self._as is not None or info.format is not DiskFormat.RAW:
            try:
                disks.require_safe(info, self._announced, _MAX_VIRTUAL_SIZE)
            except UnsafeDiskError:
                partial.discard()
                raise
        return info


def _discard(*partials: Partial) -> None:
    for partial in partials:
        partial.discard()


def _is_only_asked(found: ResolvedDisk) -> bool:
    """Return whether nothing but the user says which format the disk is of."""
    return found.disk_type is None or found.container_disk


def _identity(found: ResolvedDisk) -> Digest:
    return found.digest if found.container_disk else found.layer.digest


def announced_format(found: ResolvedDisk) -> DiskFormat | None:
    """Return the format that the publisher states, else the one that was asked for: it is that, or refused."""
    stated = found.asked.disk_type if found.container_disk else found.disk_type or found.asked.disk_type
    if stated is None:
        return None
    try:
        return DiskType.parse(stated).disk_format
    except InvalidPlatform:
        return None
