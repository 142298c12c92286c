"""Overlays: qcow2 files that hold what differs from a base, which stays as it is."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from haulout.disk import qemu_img
from haulout.errors import StorageError
from haulout.local import BESIDE, scratch_folder, storage_errors, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from haulout.disk.types import DiskFormat

_LIMITS: Final = qemu_img.Limits(cpu_seconds=60, file_size=64 << 20)
_SLOWEST: Final = 4 << 20
"""Bytes per second of processor time that even a slow host copies."""
_SECTOR: Final = 512
_GPT_ENTRIES: Final = 128
_ESP: Final = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")
"""The type of an EFI system partition, as GPT stores it (UEFI 2.10, 5.3.3)."""


def create_overlay(base: Path, base_format: DiskFormat, target: Path, size: int | None = None) -> None:
    """Create a qcow2 file at ``target`` that holds nothing yet, over ``base``, which was inspected before.

    Args:
        base: what is read where the overlay holds nothing.
        base_format: its format.
        target: appears in one step; what was there is replaced.
        size: bytes that the guest sees; None: those of the base. With it, the base need not be there yet.

    Raises:
        ToolError: qemu-img is missing or failed.
        StorageError: the target cannot be written.
    """
    with storage_errors(target, doing="cannot be written"), scratch_folder(target.parent, BESIDE) as place:
        made = place / target.name
        sizes = [] if size is None else [str(size)]
        unseen = [] if size is None or base.exists() else ["-u"]
        options = ["-q", "-f", "qcow2", "-F", base_format.value, "-b", str(base.absolute())]
        qemu_img.run(["create", *unseen, *options, str(made), *sizes], limits=_LIMITS)
        made.chmod(0o600)
        made.rename(target)
        sync_folder(target.parent)


def overlay_size(overlay: Path) -> int:
    """Return how many bytes a guest sees of an overlay of ours.

    Raises:
        StorageError: it cannot be read, or is none.
    """
    with storage_errors(overlay), overlay.open("rb") as file:
        head = file.read(32)
    if len(head) < 32 or head[:4] != b"QFI\xfb":
        raise StorageError(str(overlay), "is no qcow2 file")
    return int(struct.unpack_from(">Q", head, 24)[0])


def grow_overlay(overlay: Path, base: Path, base_format: DiskFormat, size: int) -> None:
    """Let a guest see more bytes of an overlay, whatever base its header names; raises as :func:`create_overlay`."""
    qemu_img.run(["resize", "-q", "--image-opts", _over(overlay, base, base_format), str(size)], limits=_LIMITS)


def commit_overlay(overlay: Path, base: Path, base_format: DiskFormat, advance: Callable[[float], None]) -> None:
    """Write what an overlay holds into its base, durably; holes become holes. The overlay stays as it is.

    Until the overlay is removed, both together hold what they held before, also where this is killed in the middle:
    then it can be done again.

    Args:
        overlay: what is read.
        base: what is written; a file of that overlay's size, or a smaller one.
        base_format: its format.
        advance: told the part done so far, 0 to 1.

    Raises:
        ToolError: qemu-img is missing or failed.
        StorageError: the base cannot be written, as where there is no room.
    """
    size = overlay_size(overlay)
    limits = qemu_img.Limits(cpu_seconds=120 + size // _SLOWEST, file_size=size + (64 << 20))
    discard = "discard=unmap,backing.discard=unmap,backing.file.discard=unmap"
    options = f"{_over(overlay, base, base_format)},{discard}"
    qemu_img.run(["commit", "-p", "-d", "--image-opts", options], limits=limits, advance=advance)
    with storage_errors(base, doing="cannot be written"), base.open("rb+") as file:
        os.fsync(file.fileno())


def _over(overlay: Path, base: Path, base_format: DiskFormat) -> str:
    image = f"driver=qcow2,file.driver=file,file.filename={_quoted(overlay)}"
    return f"{image},backing.driver={base_format.value},backing.file.driver=file,backing.file.filename={_quoted(base)}"


def _quoted(path: Path) -> str:
    return os.fspath(path.absolute()).replace(",", ",,")


def has_efi_partition(path: Path, disk_format: DiskFormat) -> bool:
    """Return whether a disk, which was inspected before, has a GPT with an EFI system partition.

    Raises:
        ToolError: qemu-img is missing or failed.
        StorageError: there is no room for the first sectors.
    """
    with scratch_folder(path.parent, BESIDE) as place:
        head = place / "head"
        blocks = 2 + _GPT_ENTRIES // 4
        names = (f"if={path.absolute()}", f"of={head}", f"bs={_SECTOR}", f"count={blocks}")
        qemu_img.run(["dd", "-f", disk_format.value, "-O", "raw", *names], limits=_LIMITS)
        try:
            table = head.read_bytes()
        except OSError as error:
            raise StorageError(str(path.parent), f"cannot be written: {error.strerror}") from error
    if table[_SECTOR : _SECTOR + 8] != b"EFI PART":
        return False
    count, length = struct.unpack_from("<II", table, _SECTOR + 80)
    entries = range(2 * _SECTOR, 2 * _SECTOR + min(count, _GPT_ENTRIES) * max(length, 128), max(length, 128))
    return any(table[at : at + 16] == _ESP for at in entries)
