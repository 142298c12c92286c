"""The ground floor: files, locks, scratch space, programs and text of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.local.atomic import PRIVATE, appearing, mode_for, replace_file, replacing, sync_folder, umask
    from haulout.local.background import Peer, begin, detach
    from haulout.local.files import descriptor_name, open_regular, read_head, read_small, reopen
    from haulout.local.home import home_of
    from haulout.local.locks import hold, hold_record, locked
    from haulout.local.oserrors import is_full, reason_of, storage_error, storage_errors
    from haulout.local.process import (
        PIPE,
        STDOUT,
        Finished,
        attached,
        chunks,
        end,
        last_line,
        run,
        started,
        wait,
        wait_until,
    )
    from haulout.local.processors import processors
    from haulout.local.scratch import (
        APART,
        BESIDE,
        ScratchFile,
        large_folder,
        lasting_folder,
        nameless_file,
        private_folder,
        scratch_errors,
        scratch_folder,
        sweep,
        temporary_place,
    )
    from haulout.local.sharing import clone_range, snapshot
    from haulout.local.tables import (
        LARGEST,
        LONGEST_LIST,
        LONGEST_TEXT,
        Table,
        Wrong,
        parse_json,
        parse_toml,
        read_text,
        read_toml,
        wrong_file,
    )
    from haulout.local.text import LONGEST, printable, shorten

__all__ = [
    "APART",
    "BESIDE",
    "LARGEST",
    "LONGEST",
    "LONGEST_LIST",
    "LONGEST_TEXT",
    "PIPE",
    "PRIVATE",
    "STDOUT",
    "Finished",
    "Peer",
    "ScratchFile",
    "Table",
    "Wrong",
    "appearing",
    "attached",
    "begin",
    "chunks",
    "clone_range",
    "descriptor_name",
    "detach",
    "end",
    "hold",
    "hold_record",
    "home_of",
    "is_full",
    "large_folder",
    "last_line",
    "lasting_folder",
    "locked",
    "mode_for",
    "nameless_file",
    "open_regular",
    "parse_json",
    "parse_toml",
    "printable",
    "private_folder",
    "processors",
    "read_head",
    "read_small",
    "read_text",
    "read_toml",
    "reason_of",
    "reopen",
    "replace_file",
    "replacing",
    "run",
    "scratch",
    "scratch_errors",
    "scratch_folder",
    "shorten",
    "snapshot",
    "started",
    "storage_error",
    "storage_errors",
    "sweep",
    "sync_folder",
    "temporary_place",
    "umask",
    "wait",
    "wait_until",
    "wrong_file",
]

open_face(
    __name__,
    {
        "atomic": ("PRIVATE", "appearing", "mode_for", "replace_file", "replacing", "sync_folder", "umask"),
        "background": ("Peer", "begin", "detach"),
        "files": ("descriptor_name", "open_regular", "read_head", "read_small", "reopen"),
        "home": ("home_of",),
        "locks": ("hold", "hold_record", "locked"),
        "oserrors": ("is_full", "reason_of", "storage_error", "storage_errors"),
        "process": (
            "Finished",
            "PIPE",
            "STDOUT",
            "attached",
            "chunks",
            "end",
            "last_line",
            "run",
            "started",
            "wait",
            "wait_until",
        ),
        "processors": ("processors",),
        "scratch": (
            "APART",
            "BESIDE",
            "ScratchFile",
            "large_folder",
            "lasting_folder",
            "nameless_file",
            "private_folder",
            "scratch_errors",
            "scratch_folder",
            "sweep",
            "temporary_place",
        ),
        "sharing": ("clone_range", "snapshot"),
        "tables": (
            "LARGEST",
            "LONGEST_LIST",
            "LONGEST_TEXT",
            "Table",
            "Wrong",
            "parse_json",
            "parse_toml",
            "read_text",
            "read_toml",
            "wrong_file",
        ),
        "text": ("LONGEST", "printable", "shorten"),
    },
)
