"""LUKS version 1 in user space: the disks that ``buildah mkcw`` writes, cryptsetup opens and QEMU reads.

Source: LUKS1 On-Disk Format Specification, version 1.2.3. It needs the packages ``cryptography`` and ``numpy``.
docs/formats/luks.md lists what is accepted and what is refused.
"""

from haulout.extras import require

require("cryptography", "numpy")

from haulout.errors import NotLuks, RefusedLuks, WrongPassphrase  # noqa: E402
from haulout.workload.luks.header import HEADER_BYTES, LuksHeader, LuksKeySlot, Rule, read_header  # noqa: E402
from haulout.workload.luks.payload import Payload  # noqa: E402
from haulout.workload.luks.volume import Volume, change_passphrase, create, open_volume  # noqa: E402
from haulout.workload.luks.xts import SECTOR  # noqa: E402

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
