"""Pulling onto a block device: what it holds already is compared in place, and only what differs is written.

There is no partial file, and nothing to rename: the device itself is resumed, since whatever is right on it is kept. It
is opened exclusively, which the kernel refuses while it, or a partition of it, is mounted or part of another device.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haulout import disk as disks
from haulout.disk import DiskFormat, require_safe, size_of, write_all
from haulout.errors import ContentError, StorageError, UsageError
from haulout.fetch import cache
from haulout.fetch.bandwidth import MeasuringReader
from haulout.fetch.disk import announced_format, pull_disk
from haulout.fetch.fetch_plan import plan
from haulout.fetch.frames import FrameRun
from haulout.fetch.results import Fetched, Moved
from haulout.fetch.seeds import SeedNotes, open_seeds
from haulout.fetch.survey import survey
from haulout.fetch.target import Partial
from haulout.frames import hash_file, holds, require_disk
from haulout.local import storage_error, storage_errors
from haulout.resolve import load_toc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.content import Store
    from haulout.fetch.results import PullOptions
    from haulout.frames import Toc
    from haulout.progress import Progress
    from haulout.resolve import ResolvedDisk

_STEP: Final = 1 << 20
_IN_USE: Final = "close or unmount what uses it (lsblk shows it), or name another device"


@dataclass(frozen=True, slots=True)
class Device(Partial):
    """An open block device in the place of a partial file."""

    def resize(self, size: int) -> None:
        """Check that the device is large enough: it has the size it has.

        Raises:
            StorageError: it is too small.
        """
        there = size_of(self.fd)
        if size > there:
            raise StorageError(
                str(self.target), f"it has {there} bytes, and the disk has {size}", hint="name a larger device"
            )

    def require_room(self, needed: int) -> None:
        """Nothing is needed beyond the device."""

    def discard(self) -> None:
        """Keep what is there: what is right of it is not fetched again."""

    def discard_empty(self) -> None:
        """Keep what is there."""


def pull_to_device(
    store: Store, found: ResolvedDisk, target: Path, options: PullOptions, progress: Progress
) -> Fetched:
    """Write a disk onto a block device, and verify it by reading it again.

    A raw disk with a table of contents goes straight onto the device; any other is pulled into the cache first, and
    converted to raw there. Bytes behind the end of the disk stay as they are.

    Args:
        store: where the disk is.
        found: the disk.
        target: the device.
        options: how.
        progress: receives tasks and notes.

    Raises:
        UsageError: ``target`` is not a block device, or another format than raw is asked for.
        StorageError: it is in use, too small, or cannot be written.
        HauloutError: what was written so far stays; the same pull again goes on.
    """
    announced = announced_format(found)
    if options.as_format not in {None, DiskFormat.RAW} and options.as_format is not announced:
        raise UsageError(f"a device cannot hold a disk in the format {options.as_format}", hint="leave out --as")
    with _opened(target, options) as device:
        blobs = MeasuringReader(store)
        toc = load_toc(blobs, found, progress) if announced in {DiskFormat.RAW, DiskFormat.ISO} else None
        if toc is None:
            return _through_file(store, found, device, options, progress)
        return _DevicePull(found, device, options, progress).run(toc, blobs)


@contextmanager
def _opened(target: Path, options: PullOptions) -> Iterator[Device]:
    with storage_errors(target, option="--output"):
        if not stat.S_ISBLK(target.stat().st_mode):
            raise UsageError(f"{target} is not a block device", hint="leave out --device to write a file")
    flags = os.O_RDONLY if options.dry_run else os.O_RDWR | os.O_EXCL
    try:
        fd = os.open(target, flags | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.EBUSY:
            raise StorageError(str(target), "it is in use: mounted, or part of another device", hint=_IN_USE) from exc
        raise storage_error(target, exc, doing="cannot be opened") from exc
    try:
        yield Device(fd, target, target)
    finally:
        os.close(fd)


class _DevicePull:
    """A disk with a table of contents on its way onto a device."""

    def __init__(self, found: ResolvedDisk, device: Device, options: PullOptions, progress: Progress) -> None:
        self._found = found
        self._device = device
        # A delta is expanded beside its target, and beside a device there is memory.
        self._options = replace(options, use_deltas=False)
        self._progress = progress

    def run(self, toc: Toc, blobs: MeasuringReader) -> Fetched:
        found, device, options = self._found, self._device, self._options
        device.resize(toc.disk.size)
        notes = SeedNotes() if options.find_seeds else None
        form = str(announced_format(found))
        with open_seeds(options.seeds, device.target, notes, found.reference.name, settle=False) as seeds:
            here = survey(toc, blobs, found, device, seeds, options, self._progress)
            if all(here.right):
                return Fetched(found.layer, toc.disk, form, Moved(reused=toc.data_bytes), "present", "present")
            steps = plan(here)
            if options.dry_run:
                return Fetched(found.layer, toc.disk, form, steps.moved, "planned", "nothing")
            moved = FrameRun(here, steps, blobs, found, device, seeds, self._progress).run()
        _settle(device)
        with self._progress.task("reading the device again", toc.data_bytes) as task:
            if not holds(device.fd, toc, options.jobs, task):
                raise _damaged(device)
        if options.check_disk:
            with self._progress.task("hashing the disk", toc.disk.size) as task:
                require_disk(hash_file(device.fd, task, toc.disk.size), toc.disk)
        info = disks.inspect(device.fd, name=str(device.target), allow_device=True, size=toc.disk.size)
        require_safe(info, announced_format(found))
        return Fetched(found.layer, toc.disk, str(info.format), moved, "pulled", "frames")


def _through_file(
    store: Store, found: ResolvedDisk, device: Device, options: PullOptions, progress: Progress
) -> Fetched:
    """Pull into a file of the cache, from where an interrupted pull resumes, and copy what differs onto the device."""
    folder = cache.folder("devices").path
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / f"{found.digest.hex}.raw"
    own = replace(options, as_format=DiskFormat.RAW if announced_format(found) is not DiskFormat.ISO else None)
    fetched = pull_disk(store, found, file, own, progress)
    if options.dry_run:
        return fetched
    if fetched.format not in {DiskFormat.RAW, DiskFormat.ISO}:
        file.unlink()
        raise UsageError(f"a device cannot hold a disk in the format {fetched.format}", hint="pull it into a file")
    with file.open("rb", buffering=0) as source:
        device.resize(size_of(source.fileno()))
        written = _copy(source.fileno(), device, progress)
        if written:
            _settle(device)
            if not _same(source.fileno(), device, progress):
                raise _damaged(device)
    file.unlink()
    return replace(fetched, status="pulled" if written else "present")


def _copy(source: int, device: Device, progress: Progress) -> int:
    size, written = size_of(source), 0
    with progress.task("writing the device", size) as task:
        for offset in range(0, size, _STEP):
            data = os.pread(source, _STEP, offset)
            if os.pread(device.fd, len(data), offset) != data:
                write_all(device.fd, data, offset)
                written += len(data)
            task.advance(len(data))
    return written


def _same(source: int, device: Device, progress: Progress) -> bool:
    size = size_of(source)
    with progress.task("reading the device again", size) as task:
        for offset in range(0, size, _STEP):
            data = os.pread(source, _STEP, offset)
            if os.pread(device.fd, len(data), offset) != data:
                return False
            task.advance(len(data))
    return True


def _settle(device: Device) -> None:
    """Bring everything to the device, and forget it here: what is read next comes from there."""
    with storage_errors(device.target, option="--output"):
        os.fsync(device.fd)
    with suppress(OSError, AttributeError):
        os.posix_fadvise(device.fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _damaged(device: Device) -> ContentError:
    return ContentError(
        f"{device.target} does not hold what was written to it", hint="the device is probably broken; try another one"
    )
