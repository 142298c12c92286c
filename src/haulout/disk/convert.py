"""Convert a disk from one format to another, with ``qemu-img`` after our own inspection.

The source is opened once, inspected, and handed to qemu-img as an open file (``/proc/self/fd/N``, on macOS
``/dev/fd/N``): whatever happens to its name meanwhile, what was inspected is what is read. The result is made in a
private directory beside the target, inspected in turn, and appears by rename only when it is right.

The options with which each format is made are those of its row in :mod:`haulout.disk.formats`.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.disk import qemu_img
from haulout.disk.formats import FORMATS, convertible_formats
from haulout.disk.image import opened
from haulout.disk.inspection import inspect_image, require_safe
from haulout.disk.types import DiskFormat
from haulout.errors import StorageError, ToolError, UnsafeDiskError, UsageError
from haulout.local import BESIDE, inherit, scratch_folder, storage_errors, sync_folder
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.disk.image import Image, Source
    from haulout.disk.info import DiskInfo
    from haulout.progress import Progress

_OPEN_FILES: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
_ROUNDING = 1 << 20
"""Bytes by which a format may round the size of a disk up: whole sectors for most."""

_SLOWEST = 4 << 20
"""Bytes per second of processor time that even a slow machine converts."""


def convert(
    source: Source,
    source_format: DiskFormat | None,
    target: str | os.PathLike[str],
    target_format: DiskFormat,
    *,
    progress: Progress | None = None,
    max_virtual_size: int | None = None,
    follow_symlinks: bool = True,
) -> DiskInfo:
    """Write ``source`` as ``target_format`` to ``target``, and return what the result is.

    A file at ``target`` is replaced, in one step, at the end; on any error it stays as it was. Runs until qemu-img
    ends; any exception in this thread, KeyboardInterrupt too, ends qemu-img and removes what was half made.

    Args:
        source: a path, or an open file descriptor, which stays open.
        source_format: the format the source was announced as; None takes what inspection finds.
        target: path of the result.
        target_format: raw, qcow2, vhdx or vmdk.
        progress: receives one task, in bytes of the virtual disk.
        max_virtual_size: most bytes the guest may see; see :func:`haulout.disk.require_safe`.
        follow_symlinks: whether a symbolic link is followed to the source.

    Raises:
        UsageError: this pair of formats cannot be converted.
        UnsafeDiskError: inspection refuses the source, or what came out of it.
        NotFoundError: there is no source.
        ToolError: qemu-img is missing or failed.
        StorageError: the source cannot be read, or the target not be written.
    """
    with opened(source, follow_symlinks=follow_symlinks) as image:
        info = require_safe(inspect_image(image), source_format, max_virtual_size)
        if not {info.format, target_format} <= {*convertible_formats()}:
            raise UsageError(
                f"cannot convert {info.format} to {target_format}",
                hint=f"formats that convert: {', '.join(convertible_formats())}; others are published as they are",
            )
        with _workplace(Path(target)) as made:
            _run(image, info, made, target_format, progress or NullProgress())
            result = _approve(made, info, target_format, Path(target))
            _publish(made, Path(target))
    return result


def uncompress(
    source: Source,
    target: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    max_virtual_size: int | None = None,
) -> DiskInfo:
    """Write a disk again in its own format, without compression inside; raises as :func:`convert`."""
    with opened(source) as image:
        own = inspect_image(image).format
    return convert(source, own, target, own, progress=progress, max_virtual_size=max_virtual_size)


def _run(image: Image, info: DiskInfo, made: Path, target_format: DiskFormat, progress: Progress) -> None:
    size = info.virtual_size
    limits = qemu_img.Limits(
        cpu_seconds=120 + 2 * size // _SLOWEST,
        # Whole blocks, tables and headers: no format needs a sixteenth more than the disk.
        file_size=size + size // 16 + (256 << 20),
    )
    arguments = [
        "convert",
        "-p",
        *("-f", info.format.value),
        *("-O", target_format.value),
        *("-o", FORMATS[target_format].qemu_options or ""),
        *("-S", "4k"),
        # Nothing reads the result before it was written and synced as a whole.
        *("-t", "unsafe"),
        f"{_OPEN_FILES}/{image.descriptor}",
        str(made),
    ]
    done = 0
    with progress.task(f"converting to {target_format}", size) as task:

        def advance(part: float) -> None:
            nonlocal done
            reached = int(size * part)
            if reached > done:
                task.advance(reached - done)
                done = reached

        try:
            qemu_img.run(arguments, limits=limits, descriptors=(image.descriptor,), advance=advance)
        except StorageError as error:
            # qemu-img says at which byte, but not of which file; people do not know the private folder.
            raise StorageError(str(made.parent.parent), error.reason, hint=error.hint) from error
        advance(1.0)


def _approve(made: Path, source: DiskInfo, target_format: DiskFormat, target: Path) -> DiskInfo:
    """Inspect the result: it must be what was asked for, not a disk within a disk."""
    if not made.is_file():
        raise ToolError(qemu_img.TOOL, "ended without an error, but wrote nothing")
    # What is wrong with the result was wrong with the source, which is the file people know.
    with opened(made, name=source.path, follow_symlinks=False) as image:
        info = inspect_image(image)
    if target_format is DiskFormat.RAW and info.format not in {DiskFormat.RAW, DiskFormat.ISO}:
        raise UnsafeDiskError(source.path, "nested", f"it holds a file of another format, not a disk: {info.content}")
    require_safe(info, DiskFormat.ISO if info.format is DiskFormat.ISO else target_format)
    if not 0 <= info.virtual_size - source.virtual_size < _ROUNDING:
        raise UnsafeDiskError(
            source.path,
            "virtual-size",
            f"its header says {source.virtual_size} bytes, but its content converts to {info.virtual_size}",
        )
    return replace(info, path=str(target))


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Yield a path in a private directory beside the target, which is removed with all it holds.

    The file has its final name there already, for VMDK writes its own name into itself.
    """
    with storage_errors(target, doing="cannot be written"), suppress(FileNotFoundError):
        if not stat.S_ISREG(target.lstat().st_mode):
            raise StorageError(str(target), "it exists and is not a regular file")
    with ExitStack() as stack:
        with storage_errors(target, doing="cannot be written"):
            place = stack.enter_context(scratch_folder(target.parent, BESIDE))
        yield place / target.name


def _publish(made: Path, target: Path) -> None:
    """Let the result appear under its name, safe against a power cut."""
    with storage_errors(target, doing="cannot be written"):
        with made.open("rb") as file:
            inherit(file.fileno(), target)
            os.fsync(file.fileno())
        made.rename(target)
        sync_folder(target.parent)
