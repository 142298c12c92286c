"""Start machines at login."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.documents import Document
from haulout.machine import Machines, start_file, starts_at_boot

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Autostart(Document):
    """Whether a machine starts by itself."""

    name: str
    enabled: bool
    """It starts when its user logs in."""
    at_boot: bool
    """It starts when the host boots: sessions of this user begin then."""
    path: Path
    """The unit of systemd, or launchd's agent."""
    changed: bool = False


def machine_autostart(name: str, *, enable: bool | None = None) -> Autostart:
    """Say whether a machine starts when its user logs in, or decide it.

    Args:
        name: of the machine.
        enable: True or False: let it start by itself, or not; None: only say.

    Raises:
        NotFoundError: there is no such machine.
        StorageError: the unit cannot be written or removed.
        ToolError: this host has neither systemd nor launchd.
    """
    place = Machines.here().place(name)
    if enable or not place.exists():
        place.load()
    file = start_file(name)
    changed = False if enable is None else file.enable() if enable else file.disable()
    return Autostart(name, file.enabled, file.enabled and starts_at_boot(), file.path, changed)
