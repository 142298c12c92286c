"""What runs inside a confidential guest: evidence, the key from the broker, LUKS and dm-verity, the workload.

A host uses three parts of it: the launch document, the lines of an emulated TEE, and the initramfs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.guest import arguments
    from haulout.guest.devices.port import Answer, as_answer, read_question
    from haulout.guest.initramfs.build import GuestFiles, build_guest, read_guest
    from haulout.guest.launch import DISK_SERIAL, SERIAL, STATUS_PORT, TEE_PORT, Launch
    from haulout.guest.refusal import GuestRefusal, Rule

__all__ = [
    "DISK_SERIAL",
    "SERIAL",
    "STATUS_PORT",
    "TEE_PORT",
    "Answer",
    "GuestFiles",
    "GuestRefusal",
    "Launch",
    "Rule",
    "arguments",
    "as_answer",
    "build_guest",
    "read_guest",
    "read_question",
]

open_face(
    __name__,
    {
        "devices.port": ("Answer", "as_answer", "read_question"),
        "initramfs.build": ("GuestFiles", "build_guest", "read_guest"),
        "launch": ("DISK_SERIAL", "SERIAL", "STATUS_PORT", "TEE_PORT", "Launch"),
        "refusal": ("GuestRefusal", "Rule"),
    },
)
