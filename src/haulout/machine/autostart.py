"""Start machines when their user logs in: a unit of systemd's user manager, or an agent of launchd on macOS.

The file itself is the setting: there is no other note of it that could differ.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local import home_of, replace_file, run, storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SECONDS: Final = 20.0
_PASSED_ON: Final = ("PATH", "XDG_DATA_HOME", "XDG_CACHE_HOME")
"""Variables without which another data folder or no QEMU would be found: a session's start knows few."""


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
        if self.wanted_by is not None and shutil.which("systemctl") is None:
            raise ToolError(
                "systemctl", "is not installed", hint=f"let your session run: haulout machine start {self.name}"
            )
        environment = {key: os.environ[key] for key in _PASSED_ON if os.environ.get(key)}
        made = unit(self.name, program(), environment) if self.wanted_by else agent(self.name, program(), environment)
        with storage_errors(self.path, doing="cannot be written"):
            if self.enabled and self.path.read_bytes() == made:
                return False
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, made)
            if self.wanted_by is not None and not self.wanted_by.is_symlink():
                self.wanted_by.parent.mkdir(parents=True, exist_ok=True)
                self.wanted_by.symlink_to(self.path)
        _reload()
        return True

    def disable(self) -> bool:
        """Remove it, and return whether it was there.

        Raises:
            StorageError: it cannot be removed.
        """
        was = self.path.exists() or (self.wanted_by is not None and self.wanted_by.is_symlink())
        with storage_errors(self.path, doing="cannot be removed"):
            for each in (self.wanted_by, self.path):
                if each is not None:
                    each.unlink(missing_ok=True)
        if was:
            _reload()
        return was


def start_file(name: str) -> StartFile:
    """Return that of a machine of this user, on this host."""
    home = home_of(os.environ)
    if sys.platform == "darwin":
        return StartFile(name, home / f"Library/LaunchAgents/io.github.haulout.{name}.plist")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "systemd/user"
    path = folder / f"haulout-{name}.service"
    return StartFile(name, path, folder / "default.target.wants" / path.name)


def program() -> list[str]:
    """Return what runs this very haulout: by a name on the search path that leads here, since it outlives upgrades."""
    found, ours = shutil.which("haulout"), Path(sys.executable).with_name("haulout")
    if found is not None and ours.exists() and Path(found).resolve() == ours.resolve():
        return [os.path.abspath(found)]  # noqa: PTH100 - keeps the link, which the next version moves
    return [sys.executable, "-P", "-m", "haulout"]


def unit(name: str, haulout: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """Return the unit. Pure.

    Args:
        name: of the machine.
        haulout: the beginning of the command line.
        environment: variables it needs.
    """
    if set(haulout[0]) & set("\"'\\"):
        # systemd refuses such a program, but not such an argument.
        haulout = ["/bin/sh", "-c", 'exec "$@"', "haulout", *haulout]
    # The colon: no variables are put in (systemd.service(5)).
    start, stop = (" ".join(map(_quoted, [*haulout, "machine", verb, name])) for verb in ("start", "stop"))
    lines = [
        "# Written by haulout machine autostart enable.",
        *("[Unit]", f"Description=Machine {name}", "[Service]"),
        # The supervisor goes on when the start has ended; at logout it is stopped as a user would do it.
        *("Type=oneshot", "RemainAfterExit=yes", "TimeoutStartSec=900", "TimeoutStopSec=180"),
        *(f"Environment={_quoted(f'{key}={value}')}" for key, value in environment.items()),
        *(f"ExecStart=:{start}", f"ExecStop=:{stop}", "[Install]", "WantedBy=default.target", ""),
    ]
    return "\n".join(lines).encode()


def _quoted(word: str) -> str:
    """Quote a word for a unit: systemd.syntax(7), and "%" as systemd.unit(5) wants it."""
    escaped = "".join(
        f"\\{each}" if each in '\\"' else f"\\x{ord(each):02x}" if each < " " or each == "\x7f" else each
        for each in word
    )
    return f'"{escaped.replace("%", "%%")}"'


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


def _reload() -> None:
    """Tell a user manager that runs; one that begins later reads its files anyway."""
    if sys.platform == "linux" and shutil.which("systemctl"):
        try:
            run(["systemctl", "--user", "daemon-reload"], seconds=_SECONDS)
        except ToolError:
            return
