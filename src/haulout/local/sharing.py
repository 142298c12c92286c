"""Files that share their storage: snapshots and cloned ranges, where the file system can (Btrfs, XFS)."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from errno import ENOTSUP
from typing import TYPE_CHECKING, Final

from haulout.local.scratch import nameless_file

if TYPE_CHECKING:
    from pathlib import Path

# <linux/fs.h>
_FICLONE: Final = 0x40049409
_FICLONERANGE: Final = 0x4020940D
_RANGE: Final = struct.Struct("@qQQQ")


def clone_range(source: int, offset: int, length: int, target: int, at: int) -> None:
    """Let ``length`` bytes of ``target`` at byte ``at`` share the storage of those of ``source`` at ``offset``.

    All are whole blocks of the file system, or end where the source ends.

    Raises:
        OSError: it cannot.
    """
    _share(target, _FICLONERANGE, _RANGE.pack(source, offset, length, at))


def snapshot(source: int, folder: Path) -> int | None:
    """Return a descriptor of what ``source`` holds now, whatever is written to it later; None where nothing is shared.

    The snapshot is a file in ``folder`` without a name: nothing is left of it whatever happens. It takes room only for
    what is written to the source afterwards.
    """
    try:
        with nameless_file(folder) as file:
            _share(file.fileno(), _FICLONE, source)
            return os.dup(file.fileno())
    except OSError:
        return None


def _share(target: int, request: int, what: int | bytes) -> None:
    # The numbers are Linux's: elsewhere they might mean anything.
    if sys.platform != "linux":
        raise OSError(ENOTSUP, os.strerror(ENOTSUP))
    fcntl.ioctl(target, request, what)
