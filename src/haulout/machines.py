"""Local virtual machines, as a library: what ``haulout machine`` and ``haulout run`` do.

>>> from haulout import machines
>>> machines.machine_list()
[]

Functions take and return typed values; every failure is a :class:`haulout.HauloutError`. Progress
tells what is waited for. docs/library.md has a whole program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.machine import (
        Accelerator,
        Action,
        BadImage,
        Container,
        Decision,
        DiskKind,
        Disks,
        EventKind,
        Firmware,
        Fixed,
        FixedVersion,
        FixList,
        FixSource,
        Forward,
        Image,
        Journal,
        Machine,
        MachineEvent,
        Mount,
        Policy,
        Protocol,
        Resources,
        Severity,
        Socket,
        State,
        Step,
        Switch,
        Update,
        read_fixes,
    )
    from haulout.usecases.machine_auto import AutoMachine, AutoRun, AutoStatus, machine_auto, machine_auto_run
    from haulout.usecases.machine_autostart import Autostart, machine_autostart
    from haulout.usecases.machine_compact import CompactedMachine, machine_compact
    from haulout.usecases.machine_events import machine_events
    from haulout.usecases.machine_export import ExportedMachine, machine_export
    from haulout.usecases.machine_import import ImportedMachine, machine_import
    from haulout.usecases.machine_import_podman import TakenMachine, machine_import_podman
    from haulout.usecases.machine_init import MadeMachine, machine_clone, machine_init, machine_set
    from haulout.usecases.machine_lifecycle import (
        StoppedMachine,
        machine_cp,
        machine_restart,
        machine_ssh,
        machine_start,
        machine_stop,
    )
    from haulout.usecases.machine_query import (
        MachineDisks,
        MachineStatus,
        SocketStatus,
        machine_df,
        machine_inspect,
        machine_list,
        machine_logs,
    )
    from haulout.usecases.machine_record import RecordedBoot, machine_record
    from haulout.usecases.machine_rm import RemovedMachine, machine_rm
    from haulout.usecases.machine_rollback import machine_rollback
    from haulout.usecases.machine_update import UpdatedMachine, machine_update
    from haulout.usecases.machine_update_check import UpdateCheck, machine_update_check
    from haulout.usecases.run_machine import run_machine

__all__ = [
    "Accelerator",
    "Action",
    "AutoMachine",
    "AutoRun",
    "AutoStatus",
    "Autostart",
    "BadImage",
    "CompactedMachine",
    "Container",
    "Decision",
    "DiskKind",
    "Disks",
    "EventKind",
    "ExportedMachine",
    "Firmware",
    "FixList",
    "FixSource",
    "Fixed",
    "FixedVersion",
    "Forward",
    "Image",
    "ImportedMachine",
    "Journal",
    "Machine",
    "MachineDisks",
    "MachineEvent",
    "MachineStatus",
    "MadeMachine",
    "Mount",
    "Policy",
    "Protocol",
    "RecordedBoot",
    "RemovedMachine",
    "Resources",
    "Severity",
    "Socket",
    "SocketStatus",
    "State",
    "Step",
    "StoppedMachine",
    "Switch",
    "TakenMachine",
    "Update",
    "UpdateCheck",
    "UpdatedMachine",
    "machine_auto",
    "machine_auto_run",
    "machine_autostart",
    "machine_clone",
    "machine_compact",
    "machine_cp",
    "machine_df",
    "machine_events",
    "machine_export",
    "machine_import",
    "machine_import_podman",
    "machine_init",
    "machine_inspect",
    "machine_list",
    "machine_logs",
    "machine_record",
    "machine_restart",
    "machine_rm",
    "machine_rollback",
    "machine_set",
    "machine_ssh",
    "machine_start",
    "machine_stop",
    "machine_update",
    "machine_update_check",
    "read_fixes",
    "run_machine",
]

open_face(
    __name__,
    {
        "machine": (
            "Accelerator",
            "Action",
            "Decision",
            "FixList",
            "FixSource",
            "FixedVersion",
            "Fixed",
            "read_fixes",
            "BadImage",
            "Container",
            "DiskKind",
            "Disks",
            "EventKind",
            "Firmware",
            "Forward",
            "Image",
            "Journal",
            "Machine",
            "MachineEvent",
            "Mount",
            "Policy",
            "Protocol",
            "Resources",
            "Severity",
            "Socket",
            "State",
            "Switch",
            "Step",
            "Update",
        ),
        "usecases.machine_auto": ("AutoMachine", "AutoRun", "AutoStatus", "machine_auto", "machine_auto_run"),
        "usecases.machine_update_check": ("UpdateCheck", "machine_update_check"),
        "usecases.machine_autostart": ("Autostart", "machine_autostart"),
        "usecases.machine_compact": (
            "CompactedMachine",
            "machine_compact",
        ),
        "usecases.machine_events": ("machine_events",),
        "usecases.machine_export": (
            "ExportedMachine",
            "machine_export",
        ),
        "usecases.machine_import": (
            "ImportedMachine",
            "machine_import",
        ),
        "usecases.machine_import_podman": (
            "TakenMachine",
            "machine_import_podman",
        ),
        "usecases.machine_init": (
            "MadeMachine",
            "machine_clone",
            "machine_init",
            "machine_set",
        ),
        "usecases.machine_lifecycle": (
            "StoppedMachine",
            "machine_cp",
            "machine_restart",
            "machine_ssh",
            "machine_start",
            "machine_stop",
        ),
        "usecases.machine_query": (
            "MachineDisks",
            "MachineStatus",
            "SocketStatus",
            "machine_df",
            "machine_inspect",
            "machine_list",
            "machine_logs",
        ),
        "usecases.machine_record": ("RecordedBoot", "machine_record"),
        "usecases.machine_rm": (
            "RemovedMachine",
            "machine_rm",
        ),
        "usecases.machine_rollback": ("machine_rollback",),
        "usecases.machine_update": ("UpdatedMachine", "machine_update"),
        "usecases.run_machine": ("run_machine",),
    },
    root="haulout",
)
