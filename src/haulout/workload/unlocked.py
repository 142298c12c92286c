"""The plain content of an image's disk: listed, or written as a disk. No root, no mount.

What is handed out was verified before: against the binding's root hash, where there is a binding.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.documents import Document
from haulout.errors import InvalidWorkload
from haulout.local import replacing, storage_errors
from haulout.workload import verity
from haulout.workload.ext4 import reader as ext4
from haulout.workload.inspect.disk import check_unlocked
from haulout.workload.inspect.inspection import disk_of_file, disk_of_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from haulout.progress import Progress
    from haulout.workload.inspect.findings import Findings
    from haulout.workload.source import Image

_CHUNK: Final = 1 << 20
_KINDS: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class FoundFile(Document):
    """What is at one path of a disk.

    Attributes:
        path: from the root, without a leading slash; "" is the root.
        inode: two paths with the same are one file.
        mode: with the kind, as of ``stat``.
        mtime: nanoseconds since 1970.
        target: of a symbolic link.
    """

    path: bytes
    inode: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: bytes | None = None

    json_members: ClassVar = ("path=name", "kind", "mode=octal", "uid", "gid", "size", "mtime=seconds", "target=points")

    @property
    def name(self) -> str:
        """The path as text; bytes that are not UTF-8 are escaped."""
        return self.path.decode("utf-8", "backslashreplace")

    @property
    def points(self) -> str | None:
        """The target as text."""
        return None if self.target is None else self.target.decode("utf-8", "backslashreplace")

    @property
    def kind(self) -> str:
        """In one word."""
        return _KINDS.get(stat.S_IFMT(self.mode), "unknown")

    @property
    def octal(self) -> str:
        """Permissions in four octal digits."""
        return f"{stat.S_IMODE(self.mode):04o}"

    @property
    def seconds(self) -> int:
        """Whole seconds since 1970."""
        return self.mtime // 1_000_000_000


@dataclass(frozen=True)
class UnlockedContent:
    """The plain content of a disk, open.

    Attributes:
        findings: of the inspection that came before.
        size: bytes of file system and hashes.
    """

    findings: Findings
    plain: BinaryIO
    system: ext4.FileSystem
    size: int

    @property
    def verified(self) -> bool:
        """Whether every block was compared with a root hash that can be trusted."""
        found = self.findings.unlocked
        return found is not None and found.verity == "verified"

    def files(self) -> Iterator[FoundFile]:
        """Yield everything in it, a directory before what it holds.

        Raises:
            InvalidWorkload: the file system contradicts itself.
        """
        ext4.require_readable(self.system)
        seen = {ext4.ROOT}
        pending = [(b"", ext4.ROOT)]
        while pending:
            path, number = pending.pop()
            inode = ext4.inode(self.plain, self.system, number)
            is_link = stat.S_ISLNK(inode.mode)
            target = ext4.target(self.plain, self.system, inode) if is_link else None
            yield FoundFile(path, number, inode.mode, inode.uid, inode.gid, inode.size, inode.mtime, target)
            if not stat.S_ISDIR(inode.mode):
                continue
            below = sorted(((name, one) for one, name in ext4.names(self.plain, self.system, inode)), reverse=True)
            for name, one in below:
                child = path + b"/" + name if path else name
                if stat.S_ISDIR(ext4.inode(self.plain, self.system, one).mode):
                    if one in seen:
                        raise InvalidWorkload("ext4", f"the directory {os.fsdecode(child)!r} is in two places")
                    seen.add(one)
                pending.append((child, one))

    def copy(self, of: FoundFile, into: BinaryIO, room: int) -> int:
        """Write the content of a regular file, holes as holes.

        Args:
            of: the file.
            into: an empty file.
            room: most bytes to write, against files that share blocks.

        Returns:
            how many bytes were written.

        Raises:
            InvalidWorkload: it takes more, or the file system contradicts itself.
        """
        inode = ext4.inode(self.plain, self.system, of.inode)
        written = 0
        for start, position, amount in ext4.parts(self.plain, self.system, inode) if inode.size else ():
            written += amount
            if written > room:
                raise InvalidWorkload("ext4", "its files have more blocks than it has")
            into.seek(start)
            _pour(self.plain, position, amount, into)
        into.truncate(inode.size)
        return written


def _pour(plain: BinaryIO, position: int, amount: int, into: BinaryIO) -> None:
    plain.seek(position)
    while amount:
        data = plain.read(min(amount, _CHUNK))
        if not data:
            raise InvalidWorkload("ext4", "a file lies beyond the end of its file system")
        into.write(data)
        amount -= len(data)


@contextmanager
def unlock(subject: Image | Path, passphrase: bytes, progress: Progress) -> Iterator[UnlockedContent]:
    """Unlock the disk of an image, or a disk by itself, and verify all of it.

    The encrypted disk of an image is held in an unlinked temporary file; plain bytes only in memory.

    Raises:
        NotFoundError: there is no such image or file.
        InvalidWorkload: it breaks a rule: nothing of it is handed out.
        ContentError: it is neither an image nor a disk of a confidential workload, or damaged.
        WrongPassphrase: it does not open the disk.
    """
    with ExitStack() as stack:
        if isinstance(subject, Path):
            by_itself = stack.enter_context(disk_of_file(subject))
            findings, disk = by_itself.findings, by_itself.disk
        else:
            of_image = stack.enter_context(disk_of_image(subject, progress, whole=True))
            if of_image.disk is None:
                raise _broken(of_image.findings)
            findings, disk = of_image.findings, of_image.disk
        opened = None if findings.broken else check_unlocked(disk, passphrase, findings, progress)
        if opened is None or findings.broken:
            raise _broken(findings)
        plain, system = opened
        size = system.size
        if findings.binding is not None:
            size += verity.size_for(size // verity.BLOCK)
        yield UnlockedContent(findings, plain, system, size)


def _broken(findings: Findings) -> InvalidWorkload:
    first = findings.broken[0]
    return InvalidWorkload(first.rule, first.reason, hint="haulout cw inspect shows all that is wrong with it")


def write_disk(content: UnlockedContent, target: Path, progress: Progress) -> int:
    """Write the plain disk to a file, readable by its owner only, holes as holes; it appears when it is complete.

    Returns:
        its size in bytes: the file system, and dm-verity's hashes where the image is bound.
    """
    with storage_errors(target), replacing(target, mode=0o600) as file, progress.task("writing", content.size) as task:
        content.plain.seek(0)
        for start in range(0, content.size, _CHUNK):
            data = content.plain.read(min(_CHUNK, content.size - start))
            if any(data):
                file.seek(start)
                file.write(data)
            task.advance(len(data))
        file.truncate(content.size)
    return content.size
