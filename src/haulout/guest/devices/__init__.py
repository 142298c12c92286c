"""Where evidence comes from: one table of devices, the first that is there is asked.

A real TEE comes first: the host cannot put an emulated one in its place. What an emulated one signs is accepted only
by policies that are marked as ones for tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.guest.devices.configfs import find_configfs
from haulout.guest.devices.emulated import find_emulated
from haulout.guest.devices.port import Answer, Device, as_answer, as_question, read_answer, read_question
from haulout.guest.devices.sev import find_sev
from haulout.guest.refusal import GuestRefusal, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DEVICES",
    "Answer",
    "Device",
    "as_answer",
    "as_question",
    "find_device",
    "read_answer",
    "read_question",
]

DEVICES: Final[tuple[Callable[[Path], Device | None], ...]] = (find_configfs, find_sev, find_emulated)
"""Each looks for one kind of device below a root, ``/``; None: it is not there."""


def find_device(root: Path = Path("/")) -> Device:
    """Return the device to ask for evidence.

    Raises:
        GuestRefusal: there is none.
    """
    for find in DEVICES:
        if (found := find(root)) is not None:
            return found
    raise GuestRefusal(
        Rule.DEVICE,
        "this machine has no TEE: neither configfs-tsm, /dev/sev-guest, nor an emulated one",
        hint="start it as a confidential VM, or with: haulout cw run",
    )
