"""Give a machine's unused space back to this host."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.disk import data_extents, is_zero, punch_hole
from haulout.documents import Document
from haulout.errors import ToolError
from haulout.local import run, storage_errors
from haulout.machine import HINT, TRIM, Machines, client, disks, rest
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.machine import Disks
    from haulout.progress import Progress

_STEP: Final = 1 << 20
_TRIM_SECONDS: Final = 600.0
_CHECK_SECONDS: Final = 3600.0
_CLEAN: Final = {0, 1}
"""Exit codes of e2fsck: nothing was wrong, or it was the journal of a machine that was killed."""


@dataclass(frozen=True, slots=True)
class CompactedMachine(Document):
    """What a machine takes on this host, in bytes, system and data, before and after."""

    name: str
    running: bool
    before: int
    after: int


def machine_compact(name: str, *, progress: Progress | None = None) -> CompactedMachine:
    """Give back what the guest does not use any more.

    A machine that runs trims its file systems. Of one that does not, zeros in the data disk become holes, and so do
    the free blocks of an ext4 file system, which matters after a machine was killed: each stop trims by itself.

    Raises:
        NotFoundError: there is no such machine.
        ConflictError: another command changes it.
        ToolError: ssh does not reach the machine that runs.
        StorageError: its data disk cannot be read or written.
    """
    place = Machines.here().place(name)
    progress = progress or NullProgress()
    with place.lock():
        place.load()
        before = _taken(disks(place, None))
        running = place.is_held("run.lock") or place.is_held("vm.lock")
        if running:
            done = run([*client(place, "root"), "sh"], stdin=TRIM.encode(), seconds=_TRIM_SECONDS, hint=HINT)
            if done.code:
                raise ToolError("ssh", done.said or f"failed with exit code {done.code}")
        elif (data := place.file("data.raw")).exists():
            rest(place, progress.note)
            _discard(data, progress)
            _punch(data, progress)
        return CompactedMachine(name, running, before, _taken(disks(place, None)))


def _taken(found: Disks) -> int:
    return found.system + found.data


def _discard(data: Path, progress: Progress) -> None:
    """Make free blocks of an ext4 file system holes, where e2fsck is installed and finds nothing to ask about."""
    program = shutil.which("e2fsck", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        progress.note("e2fsck is not installed: only zeros are given back; a machine that runs does without it")
        return
    done = run([program, "-p", "-f", "-E", "discard", str(data)], seconds=_CHECK_SECONDS)
    if done.code not in _CLEAN:
        progress.note(f"only zeros are given back: {done.said or 'the data disk has no ext4 file system'}")


def _punch(data: Path, progress: Progress) -> None:
    with storage_errors(data), data.open("r+b", buffering=0) as file:
        fd = file.fileno()
        extents = list(data_extents(fd, os.fstat(fd).st_size))
        with progress.task(f"data of {data.parent.name}", sum(each.length for each in extents)) as task:
            for extent in extents:
                for at in range(extent.offset, extent.end, _STEP):
                    length = min(_STEP, extent.end - at)
                    if is_zero(os.pread(fd, length, at)):
                        punch_hole(fd, at, length)
                    task.advance(length)
