"""Disk files as people have them: compressed, in an OVA, as VHD. What is published is the disk inside, byte for byte.

It is written to a sparse file as it is expanded, so that inspection can read it as any other; memory stays flat, and
what claims to hold more than a disk can is stopped.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from haulout.content import STEP, expand
from haulout.disk import DISK_EXTENSIONS, EXPANDED, SparseWriter, expand_vhd, inspect
from haulout.errors import ContentError, InvalidFrame, StorageError, UnsafeDiskError
from haulout.local import large_folder, storage_errors
from haulout.rootfs import File, Limits, from_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from haulout.disk import DiskInfo
    from haulout.progress import Progress, Task
    from haulout.rootfs import Tree

_MOST_WRAPPINGS: Final = 4
"""Such as ``.ova.gz`` with a compressed disk in it."""
_LIMITS: Final = Limits(entries=10_000, plain_bytes=1 << 44)
_MEMBER: Final = re.compile(rf"\.({'|'.join(sorted(DISK_EXTENSIONS))})(\.(gz|xz|zst|bz2))?$", re.IGNORECASE)
_MANIFEST_LINE: Final = re.compile(r"SHA(1|256|512)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)")
_MAX_MANIFEST: Final = 1 << 20


def plain_disk(path: Path, stack: ExitStack, progress: Progress) -> Path:
    """Return the disk that is in a file: the file itself where it is one, else a file that ``stack`` removes.

    What nobody can expand is returned too: it is refused by inspection, with the reason.

    Raises:
        UnsafeDiskError: it is damaged, a bomb, or holds several disks.
        HauloutError: it cannot be read, or there is no room.
    """
    place = path
    for _ in range(_MOST_WRAPPINGS):
        info = inspect(place)
        unwrap = _unwrapper(info)
        if unwrap is None:
            break
        made = large_folder(stack) / "disk"
        with _room_for(made), made.open("xb", buffering=0) as target:
            unwrap(path, place, target, progress)
        if place is not path:
            place.unlink()
        place = made
    return place


def _unwrapper(info: DiskInfo) -> Callable[[Path, Path, BinaryIO, Progress], None] | None:
    # A file that is something else as well is left to be refused.
    if [danger.rule for danger in info.dangers] == ["compressed"] and info.content in EXPANDED:
        return lambda path, place, target, progress: _expand(path, place, target, EXPANDED[info.content], progress)
    if [danger.rule for danger in info.dangers] == ["archive"]:
        return _take_member
    if [danger.rule for danger in info.dangers] == ["wrapped"]:
        return lambda _, place, target, progress: _expand_vhd(place, target, progress)
    return None


@contextmanager
def _room_for(made: Path) -> Iterator[None]:
    try:
        with storage_errors(made.parent):
            yield
    except StorageError as exc:
        raise StorageError(exc.path, exc.reason, hint="make room, or set TMPDIR to a place that has more") from exc


def _expand_vhd(place: Path, target: BinaryIO, progress: Progress) -> None:
    expand_vhd(place, target.fileno(), progress)


def _expand(path: Path, place: Path, target: BinaryIO, compression: str, progress: Progress) -> None:
    size = place.stat().st_size
    writer = SparseWriter(target.fileno(), size)
    with place.open("rb") as file, progress.task(f"expanding {compression}", size) as task:
        try:
            for piece in expand(_Counted(file, task), compression):
                writer.write(piece)
        except ContentError as exc:
            rule = "damaged" if isinstance(exc, InvalidFrame) else "bomb"
            reason = str(exc).replace("the blob", "it")
            raise UnsafeDiskError(str(path), rule, reason, hint=exc.hint or "is the file complete?") from exc
    target.truncate(writer.size)


class _Counted:
    """A file that reports what is read of it."""

    def __init__(self, file: BinaryIO, task: Task) -> None:
        self._file = file
        self._task = task

    def read(self, amount: int = -1, /) -> bytes:
        """Return up to ``amount`` bytes."""
        data = self._file.read(STEP if amount < 0 else amount)
        self._task.advance(len(data))
        return data


def _take_member(path: Path, place: Path, target: BinaryIO, progress: Progress) -> None:
    """Write the one disk of an archive, checked against the archive's own list of digests where it has one."""
    tree = from_layers([lambda: place.open("rb")], names=[str(path)], limits=_LIMITS, strict=False)
    files = {name.decode("utf-8", "replace"): node for name, node in tree.walk() if isinstance(node, File)}
    disks = sorted(name for name in files if _MEMBER.search(name))
    if len(disks) != 1:
        several = f"it is an archive of {len(disks)} disks: {', '.join(map(ascii, disks[:8]))}"
        none = "it is an archive without a disk that is known"
        hint = f"take one out and push that: tar -xf {path} {disks[0]}" if disks else None
        raise UnsafeDiskError(str(path), "archive", several if disks else none, hint=hint)
    (name,) = disks
    progress.note(f"publishing {name!r} out of {path.name}")
    writer = SparseWriter(target.fileno(), files[name].size)
    hashes = {algorithm: hashlib.new(algorithm) for algorithm in ("sha1", "sha256", "sha512")}
    stated = _stated(tree, files, name)
    with progress.task("taking the disk out", files[name].size) as task:
        for piece in _content(tree, files[name]):
            writer.write(piece)
            task.advance(len(piece))
            if stated is not None:
                hashes[stated[0]].update(piece)
    if stated is not None and hashes[stated[0]].hexdigest() != stated[1].lower():
        raise UnsafeDiskError(str(path), "damaged", f"{name!r} in it is not what its manifest says ({stated[0]})")
    target.truncate(writer.size)


def _stated(tree: Tree, files: dict[str, File], disk: str) -> tuple[str, str] | None:
    """Return algorithm and digest that the manifest of an OVA states of a member (OVF 2.1.1, section 6.2)."""
    for name, node in files.items():
        if name.lower().endswith(".mf") and node.size <= _MAX_MANIFEST:
            for line in b"".join(_content(tree, node)).decode("utf-8", "replace").splitlines():
                found = _MANIFEST_LINE.fullmatch(line.strip())
                if found is not None and found[2] == disk:
                    return f"sha{found[1]}", found[3]
    return None


def _content(tree: Tree, file: File) -> Iterator[bytes]:
    position = 0
    with tree.reading() as reader:
        reader.begin(file)
        for offset, size in (*file.stored, (file.size, 0)):
            while position < offset:
                yield bytes(min(STEP, offset - position))
                position += min(STEP, offset - position)
            end = offset + size
            while position < end:
                buffer = bytearray(min(STEP, end - position))
                reader.fill(memoryview(buffer))
                yield bytes(buffer)
                position += len(buffer)
