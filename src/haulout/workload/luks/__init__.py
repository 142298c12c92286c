"""LUKS version 1 in user space: the disks that ``buildah mkcw`` writes, cryptsetup opens and QEMU reads.

Source: LUKS1 On-Disk Format Specification, version 1.2.3. Reading a header takes the standard library alone, opening a
volume the packages ``cryptography`` and ``numpy``. docs/formats/luks.md lists what is accepted and what is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face
from haulout.errors import NotLuks, RefusedLuks, WrongPassphrase

if TYPE_CHECKING:
    from haulout.workload.luks.header import HEADER_BYTES, SECTOR, LuksHeader, LuksKeySlot, Rule, read_header
    from haulout.workload.luks.payload import Payload
    from haulout.workload.luks.volume import Volume, change_passphrase, create, open_volume

__all__ = [
    "HEADER_BYTES",
    "SECTOR",
    "LuksHeader",
    "LuksKeySlot",
    "NotLuks",
    "Payload",
    "RefusedLuks",
    "Rule",
    "Volume",
    "WrongPassphrase",
    "change_passphrase",
    "create",
    "open_volume",
    "read_header",
]

open_face(
    __name__,
    {
        "header": ("HEADER_BYTES", "SECTOR", "LuksHeader", "LuksKeySlot", "Rule", "read_header"),
        "payload": ("Payload",),
        "volume": ("Volume", "change_passphrase", "create", "open_volume"),
    },
)
