"""Build the guest that unlocks and runs confidential images."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from haulout.guest import build_guest as build
from haulout.local import large_folder
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.guest import GuestFiles
    from haulout.progress import Progress


def build_guest(folder: Path, *, kernel_package: str | None = None, progress: Progress | None = None) -> GuestFiles:
    """Build kernel and initramfs of the guest from the packages of Debian that apt-get downloads; nothing is installed.

    Args:
        folder: gets ``vmlinuz``, ``initramfs`` and ``guest.json``.
        kernel_package: the kernel's package, or one that depends on it; None: Debian's for virtual machines.
        progress: told what is done.

    Raises:
        ToolError: apt-get or dpkg is not installed, or a package cannot be had.
        StorageError: the file system refuses.
    """
    with ExitStack() as stack:
        return build(folder, large_folder(stack), progress or NullProgress(), kernel=kernel_package)
