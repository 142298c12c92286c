"""Start machines when their user logs in: a unit of systemd's user manager, or an agent of launchd on macOS.

The file itself is the setting: there is no other note of it that could differ.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from haulout.machine.units import user_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class StartFile:
    """Where a machine's start at login is written down, and how."""

    name: str
    path: Path
    wanted_by: Path | None = None
    """The link by which systemd starts it; launchd needs none."""

    @property
    def enabled(self) -> bool:
        """Whether it takes effect at the next login."""
        return self.path.exists() and (self.wanted_by is None or self.wanted_by.is_symlink())

    def enable(self) -> bool:
        """Write it, and return whether that changed anything.

        Raises:
            StorageError: it cannot be written.
            ToolError: this host has no systemd, so that nobody would read it.
        """
        user_units.require_reader(f"let your session run: haulout machine start {self.name}")
        make = agent if self.wanted_by is None else unit
        made = make(self.name, user_units.program(), user_units.environment())
        return user_units.write({self.path: made}, self.wanted_by)

    def disable(self) -> bool:
        """Remove it, and return whether it was there.

        Raises:
            StorageError: it cannot be removed.
        """
        return user_units.remove((self.wanted_by, self.path))


def start_file(name: str) -> StartFile:
    """Return that of a machine of this user, on this host."""
    folder = user_units.folder()
    if user_units.is_launchd():
        return StartFile(name, folder / f"io.github.haulout.{name}.plist")
    path = folder / f"haulout-{name}.service"
    return StartFile(name, path, folder / "default.target.wants" / path.name)


def unit(name: str, haulout: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """Return the unit. Pure.

    Args:
        name: of the machine.
        haulout: the beginning of the command line.
        environment: variables it needs.
    """
    start, stop = (user_units.command([*haulout, "machine", verb, name]) for verb in ("start", "stop"))
    lines = [
        "# Written by haulout machine autostart enable.",
        *("[Unit]", f"Description=Machine {name}", "[Service]"),
        # The supervisor goes on when the start has ended; at logout it is stopped as a user would do it.
        *("Type=oneshot", "RemainAfterExit=yes", "TimeoutStartSec=900", "TimeoutStopSec=180"),
        *user_units.variables(environment),
        *(f"ExecStart={start}", f"ExecStop={stop}", "[Install]", "WantedBy=default.target", ""),
    ]
    return "\n".join(lines).encode()


def agent(name: str, haulout: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """Return launchd's property list (launchd.plist(5)). Pure."""
    import plistlib  # noqa: PLC0415 - loads a parser of XML, which list, inspect and start do not need

    return plistlib.dumps(
        {
            "Label": f"io.github.haulout.{name}",
            "ProgramArguments": [*haulout, "machine", "start", name],
            "EnvironmentVariables": dict(environment),
            "RunAtLoad": True,
            # The supervisor goes on when the start has ended.
            "AbandonProcessGroup": True,
        }
    )


def starts_at_boot() -> bool:
    """Return whether this user's session begins when the host boots (loginctl enable-linger)."""
    return Path("/var/lib/systemd/linger", _user()).exists()


def _user() -> str:
    import pwd  # noqa: PLC0415 - not on every platform

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
