"""Whether somebody uses a machine at this moment. What cannot be found out counts as use."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from haulout.machine.control import clients

if TYPE_CHECKING:
    from haulout.machine.store import Place

_PROC = Path("/proc")


def use_of(place: Place) -> str:
    """Return who uses a machine that runs, for people; empty: nobody.

    Clients of its sockets and ports are counted by its supervisor and QEMU, shells by the processes of this host. What
    containers do by themselves is not seen.
    """
    found = clients(place)
    if found is None:
        return "its clients cannot be counted"
    if found:
        return f"{found} client{'s are' if found > 1 else ' is'} connected to its sockets or ports"
    if not (_PROC / "self").exists():
        return "shells cannot be counted on this system"
    shells = _shells(os.fsencode(place.ssh_config))
    return f"{shells} ssh session{'s are' if shells > 1 else ' is'} open" if shells else ""


def _shells(config: bytes) -> int:
    """Count the processes of ssh that use a configuration, but those of its supervisor."""
    found = 0
    for each in _PROC.glob("[0-9]*"):
        try:
            words = (each / "cmdline").read_bytes().split(b"\0")
            if config not in words or os.path.basename(words[0]) not in {b"ssh", b"scp", b"sftp"}:  # noqa: PTH119
                continue
            parent = re.search(rb"^PPid:\s*(\d+)", (each / "status").read_bytes(), re.MULTILINE)
            line = (_PROC / parent[1].decode() / "cmdline").read_bytes() if parent is not None else b""
        except OSError:
            # It ended, or is another user's.
            continue
        found += b"\0haulout.machine\0" not in line
    return found
