"""Local virtual machines: what they are to be, how they run, and what leads into them.

Images come as files: who fetches them is no business of this room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.machine.base import check_base
    from haulout.machine.control import follow, start_supervisor, status
    from haulout.machine.files import Disks, appearing_machine, clear, clone_files, disks, remove, remove_unused_bases
    from haulout.machine.model import (
        SCHEMA,
        Accelerator,
        DiskKind,
        Firmware,
        Forward,
        Image,
        Machine,
        Mount,
        Resources,
        Socket,
        valid_name,
    )
    from haulout.machine.registration import connection, forget, register
    from haulout.machine.rescue import force_off
    from haulout.machine.ssh import HINT, client, command_line, make_key
    from haulout.machine.states import Event, State, Status, derive, why_ended
    from haulout.machine.store import Machines, Place, boot

__all__ = [
    "HINT",
    "SCHEMA",
    "Accelerator",
    "DiskKind",
    "Disks",
    "Event",
    "Firmware",
    "Forward",
    "Image",
    "Machine",
    "Machines",
    "Mount",
    "Place",
    "Resources",
    "Socket",
    "State",
    "Status",
    "appearing_machine",
    "boot",
    "check_base",
    "clear",
    "client",
    "clone_files",
    "command_line",
    "connection",
    "derive",
    "disks",
    "follow",
    "force_off",
    "forget",
    "make_key",
    "register",
    "remove",
    "remove_unused_bases",
    "start_supervisor",
    "status",
    "valid_name",
    "why_ended",
]

open_face(
    __name__,
    {
        "base": ("check_base",),
        "control": ("follow", "start_supervisor", "status"),
        "files": ("Disks", "appearing_machine", "clear", "clone_files", "disks", "remove", "remove_unused_bases"),
        "model": (
            "SCHEMA",
            "Accelerator",
            "DiskKind",
            "Firmware",
            "Forward",
            "Image",
            "Machine",
            "Mount",
            "Resources",
            "Socket",
            "valid_name",
        ),
        "registration": ("connection", "forget", "register"),
        "rescue": ("force_off",),
        "ssh": ("HINT", "client", "command_line", "make_key"),
        "states": ("Event", "State", "Status", "derive", "why_ended"),
        "store": ("Machines", "Place", "boot"),
    },
)
