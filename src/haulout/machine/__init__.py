"""Local virtual machines: what they are to be, how they run, and what leads into them.

Images come as files: who fetches them is no business of this room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.machine.base import check_base
    from haulout.machine.control import copy_data, follow, forward_ports, start_supervisor, status
    from haulout.machine.events import EventKind, MachineEvent, publish, read_events
    from haulout.machine.files import (
        Disks,
        allocated,
        appearing_machine,
        clear,
        clone_files,
        disks,
        new_machine,
        remove,
        remove_unused_bases,
        require_room,
    )
    from haulout.machine.guest.proxy import proxy_for_guest, proxy_setting
    from haulout.machine.guest.scripts import TRIM
    from haulout.machine.guest.seed import SEED_FILES
    from haulout.machine.guest.ssh import HINT, client, command_line, make_key
    from haulout.machine.guest.trust import read_authorities
    from haulout.machine.model import (
        SCHEMA,
        Accelerator,
        DiskKind,
        Firmware,
        Forward,
        Image,
        Machine,
        Mount,
        Protocol,
        Resources,
        Socket,
        valid_name,
    )
    from haulout.machine.moving.exports import Export, Head, Writer, restore
    from haulout.machine.moving.podman import PODMAN_PROVIDERS, VOLUME, PodmanMachine, parse_podman
    from haulout.machine.moving.sealing import Sealing
    from haulout.machine.partial import (
        USES,
        PartialBase,
        bytes_here,
        disk_waits_for,
        is_written,
        note_of_partial,
        partial_base,
        write_partial,
    )
    from haulout.machine.preflight import check_ports, check_settings
    from haulout.machine.registration import connection, forget, register
    from haulout.machine.states import Event, State, Status, derive, why_ended
    from haulout.machine.store import Machines, Place, boot
    from haulout.machine.supervision.rescue import force_off
    from haulout.machine.units.auto_timer import AutoTimer, update_timer
    from haulout.machine.units.autostart import start_file, starts_at_boot
    from haulout.machine.update.api import answers, containers
    from haulout.machine.update.auto_note import AutoNote, read_note, write_note
    from haulout.machine.update.data_disk import keep_current, parts, unite_kept
    from haulout.machine.update.fixes import Fixed, FixedVersion, FixList, FixSource, read_fixes
    from haulout.machine.update.idleness import use_of
    from haulout.machine.update.journal import BadImage, Container, Journal, Step, Switch, begin_journal
    from haulout.machine.update.notifications import tell_desktop, tell_guest
    from haulout.machine.update.policy import Action, Decision, Offer, decide, is_turn, turns, valid_window
    from haulout.machine.update.switch import (
        check_way_back,
        plan_rollback,
        prune,
        read_journal,
        rest,
        settle,
        take_over,
        write_journal,
    )
    from haulout.machine.update_settings import Policy, Severity, Update, is_window, within

__all__ = [
    "HINT",
    "PODMAN_PROVIDERS",
    "SCHEMA",
    "SEED_FILES",
    "TRIM",
    "USES",
    "VOLUME",
    "Accelerator",
    "Action",
    "AutoNote",
    "AutoTimer",
    "BadImage",
    "Container",
    "Decision",
    "DiskKind",
    "Disks",
    "Event",
    "EventKind",
    "Export",
    "Firmware",
    "FixList",
    "FixSource",
    "Fixed",
    "FixedVersion",
    "Forward",
    "Head",
    "Image",
    "Journal",
    "Machine",
    "MachineEvent",
    "Machines",
    "Mount",
    "Offer",
    "PartialBase",
    "Place",
    "PodmanMachine",
    "Policy",
    "Protocol",
    "Resources",
    "Sealing",
    "Severity",
    "Socket",
    "State",
    "Status",
    "Step",
    "Switch",
    "Update",
    "Writer",
    "allocated",
    "answers",
    "appearing_machine",
    "begin_journal",
    "boot",
    "bytes_here",
    "check_base",
    "check_ports",
    "check_settings",
    "check_way_back",
    "clear",
    "client",
    "clone_files",
    "command_line",
    "connection",
    "containers",
    "copy_data",
    "decide",
    "derive",
    "disk_waits_for",
    "disks",
    "follow",
    "force_off",
    "forget",
    "forward_ports",
    "is_turn",
    "is_window",
    "is_written",
    "keep_current",
    "make_key",
    "new_machine",
    "note_of_partial",
    "parse_podman",
    "partial_base",
    "parts",
    "plan_rollback",
    "proxy_for_guest",
    "proxy_setting",
    "prune",
    "publish",
    "read_authorities",
    "read_events",
    "read_fixes",
    "read_journal",
    "read_note",
    "register",
    "remove",
    "remove_unused_bases",
    "require_room",
    "rest",
    "restore",
    "settle",
    "start_file",
    "start_supervisor",
    "starts_at_boot",
    "status",
    "take_over",
    "tell_desktop",
    "tell_guest",
    "turns",
    "unite_kept",
    "update_timer",
    "use_of",
    "valid_name",
    "valid_window",
    "why_ended",
    "within",
    "write_journal",
    "write_note",
    "write_partial",
]

open_face(
    __name__,
    {
        "update.auto_note": ("AutoNote", "read_note", "write_note"),
        "units.auto_timer": ("AutoTimer", "update_timer"),
        "update.notifications": ("tell_desktop", "tell_guest"),
        "update.api": ("containers", "answers"),
        "update.data_disk": ("keep_current", "parts", "unite_kept"),
        "update.journal": ("begin_journal", "Journal", "Step", "Switch", "BadImage", "Container"),
        "update.switch": (
            *(
                "check_way_back",
                "prune",
                "read_journal",
                "plan_rollback",
                "rest",
                "settle",
                "take_over",
                "write_journal",
            ),
        ),
        "update.idleness": ("use_of",),
        "units.autostart": ("start_file", "starts_at_boot"),
        "base": ("check_base",),
        "control": ("copy_data", "follow", "forward_ports", "start_supervisor", "status"),
        "events": ("EventKind", "MachineEvent", "publish", "read_events"),
        "moving.exports": (
            "Export",
            "Head",
            "Writer",
            "restore",
        ),
        "files": (
            "Disks",
            "allocated",
            "appearing_machine",
            "clone_files",
            "disks",
            "new_machine",
            "remove",
            "remove_unused_bases",
            "require_room",
        ),
        "guest.scripts": ("TRIM",),
        "model": (
            "SCHEMA",
            "Accelerator",
            "DiskKind",
            "Firmware",
            "Forward",
            "Image",
            "Machine",
            "Mount",
            "Protocol",
            "Resources",
            "Socket",
            "valid_name",
        ),
        "partial": (
            "USES",
            "PartialBase",
            "bytes_here",
            "disk_waits_for",
            "is_written",
            "note_of_partial",
            "partial_base",
            "write_partial",
        ),
        "moving.podman": (
            "PODMAN_PROVIDERS",
            "VOLUME",
            "PodmanMachine",
            "parse_podman",
        ),
        "update.policy": ("Action", "Decision", "Offer", "decide", "is_turn", "turns", "valid_window"),
        "update.fixes": ("Fixed", "FixedVersion", "FixList", "FixSource", "read_fixes"),
        "preflight": ("check_ports", "check_settings"),
        "guest.proxy": ("proxy_for_guest", "proxy_setting"),
        "registration": ("connection", "forget", "register"),
        "supervision.rescue": ("force_off",),
        "moving.sealing": ("Sealing",),
        "guest.seed": ("SEED_FILES",),
        "guest.ssh": ("HINT", "client", "command_line", "make_key"),
        "states": ("Event", "State", "Status", "derive", "why_ended"),
        "store": ("Machines", "Place", "boot"),
        "guest.trust": ("read_authorities",),
        "update_settings": ("is_window", "within", "Policy", "Severity", "Update"),
    },
)
