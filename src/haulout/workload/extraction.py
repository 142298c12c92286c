"""Files out of an unlocked disk, into a new folder that nothing can escape from. No root, no mount.

Everything is written into a fresh folder that no other user may enter, and symbolic links come last: nothing is ever
written through one.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.errors import NotFoundError, StorageError, UsageError
from haulout.local import scratch_folder, storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from haulout.progress import Progress, Task
    from haulout.workload.unlocked import FoundFile, UnlockedContent

_SET_ID: Final = 0o6000
"""Bits that make a program run as its owner, for files that do not get their owner."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was taken out: how many of each, their stored bytes, and the paths of what was left out, such as devices."""

    files: int
    directories: int
    links: int
    bytes: int
    left_out: tuple[str, ...]


def extract(
    content: UnlockedContent, target: Path, paths: Sequence[str], *, owners: bool, progress: Progress
) -> Extraction:
    """Write files of an unlocked disk into a new folder, which appears when it is complete. Devices are left out.

    Args:
        content: what :func:`~haulout.workload.unlocked.unlock` yields.
        target: the folder; nothing must be there, or an empty folder.
        paths: which files and folders; none: all.
        owners: whether to give files their owners, for which one has to be root; else set-id bits are taken away.
        progress: receives the progress of the work.

    Raises:
        StorageError: something is in the way, or cannot be written.
        NotFoundError: one of the paths is not there.
        InvalidWorkload: the file system contradicts itself.
    """
    if os.path.lexists(target) and (target.is_symlink() or not target.is_dir() or any(target.iterdir())):
        raise StorageError(str(target), "it is not an empty folder", hint="name a folder that does not exist")
    chosen = _chosen(content, paths)
    size = sum(one.size for one in chosen if one.kind == "file")
    with (
        storage_errors(target),
        scratch_folder(target.absolute().parent, ".haulout-extract-") as place,
        progress.task("extracting", size) as task,
    ):
        writing = _Writing(content, place / "root", task, owners=owners)
        writing.everything(chosen)
        writing.place(target)
    return writing.done()


def _chosen(content: UnlockedContent, paths: Sequence[str]) -> list[FoundFile]:
    wanted = [os.fsencode(path).strip(b"/") for path in paths]
    if any(part in {b".", b".."} for path in wanted for part in path.split(b"/")):
        raise UsageError("a path in the disk must not have . or ..", hint="for example: etc/motd")
    files = list(content.files())
    if not wanted or b"" in wanted:
        return files
    there = {one.path for one in files}
    if missing := next((path for path in wanted if path not in there), None):
        raise NotFoundError(f"there is no {os.fsdecode(missing)!r} in the disk", hint="haulout cw open lists its files")
    return [one for one in files if any(one.path == path or one.path.startswith(path + b"/") for path in wanted)]


class _Writing:
    """One extraction."""

    def __init__(self, content: UnlockedContent, root: Path, task: Task, *, owners: bool) -> None:
        self._content = content
        self._root = root
        self._task = task
        self._owners = owners
        self._by_inode: dict[int, Path] = {}
        self._folders: list[FoundFile] = []
        self._left_out: list[str] = []
        self._links = self._bytes = 0
        root.mkdir(mode=0o700)

    def everything(self, chosen: Sequence[FoundFile]) -> None:
        """Write folders and files, then symbolic links, then what folders look like, the deepest first."""
        for one in chosen:
            if one.kind == "directory":
                self._folders.append(one)
                self._path(one).mkdir(mode=0o700, exist_ok=not one.path)
            elif one.kind in {"file", "fifo"}:
                self._file(one)
            elif one.kind != "symlink":
                self._left_out.append(one.name)
        for one in chosen:
            if one.kind == "symlink":
                self._links += 1
                self._path(one).symlink_to(os.fsdecode(one.target or b""))
                self._dress(self._path(one), one)
        for one in reversed(self._folders):
            if one.path:
                self._dress(self._path(one), one)

    def place(self, target: Path) -> None:
        """Put the folder in its place."""
        self._root.rename(target)
        # Last: a folder that must not be written to cannot be moved.
        if self._folders and not self._folders[0].path:
            self._dress(target, self._folders[0])
        else:
            target.chmod(0o755)

    def done(self) -> Extraction:
        """Return what was written."""
        files = len(self._by_inode)
        return Extraction(files, len(self._folders), self._links, self._bytes, tuple(self._left_out))

    def _path(self, one: FoundFile) -> Path:
        """Return where something goes; of what was not chosen, the folders on the way are made."""
        path = self._root / os.fsdecode(one.path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def _file(self, one: FoundFile) -> None:
        path = self._path(one)
        if one.inode in self._by_inode:
            path.hardlink_to(self._by_inode[one.inode])
            self._links += 1
            return
        self._by_inode[one.inode] = path
        if one.kind == "fifo":
            os.mkfifo(path, 0o600)
        else:
            with path.open("xb") as file:
                # No two files share blocks: together they have at most those of the file system.
                self._bytes += self._content.copy(one, file, self._content.system.size - self._bytes)
            self._task.advance(one.size)
        self._dress(path, one)

    def _dress(self, path: Path, one: FoundFile) -> None:
        """Give a path its owner, permissions and time; a symbolic link is not followed."""
        if self._owners:
            os.chown(path, one.uid, one.gid, follow_symlinks=False)
        if one.kind != "symlink":
            path.chmod(stat.S_IMODE(one.mode) & ~(0 if self._owners else _SET_ID))
        os.utime(path, ns=(one.mtime, one.mtime), follow_symlinks=False)
