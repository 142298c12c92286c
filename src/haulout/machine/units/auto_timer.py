"""Look for updates of machines by itself: a timer of systemd's user manager, or an agent of launchd on macOS.

It runs every quarter of an hour, which costs nothing unless a machine's turn has come
(:mod:`haulout.machine.update.policy`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.machine.units import user_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MINUTES: Final = 15
"""Between two runs."""
_NAME: Final = "haulout_auto"
"""No machine has this name: the files of machines are named in the same way."""
_HOST: Final = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True)
class AutoTimer:
    """The files, and whether they take effect."""

    files: tuple[Path, ...]
    """The last is the timer, or launchd's agent."""
    wanted_by: Path | None

    @property
    def enabled(self) -> bool:
        """Whether it runs while this user is logged in."""
        linked = self.wanted_by is None or self.wanted_by.is_symlink()
        return linked and all(path.exists() for path in self.files)

    @property
    def fixes(self) -> Path | None:
        """The file of fixes that each run reads."""
        with suppress(OSError, ValueError, KeyError, IndexError):
            words = self._words()
            return Path(words[words.index("--fixes") + 1])
        return None

    def _words(self) -> list[str]:
        text = self.files[0].read_bytes()
        if self.wanted_by is None:
            import plistlib  # noqa: PLC0415 - as below

            return list(map(str, plistlib.loads(text)["ProgramArguments"]))
        begin = "ExecStart="
        (line,) = (each for each in text.decode().splitlines() if each.startswith(begin))
        return user_units.words_of(line.removeprefix(begin))

    def enable(self, arguments: Sequence[str]) -> bool:
        """Write them, and return whether that changed anything.

        Args:
            arguments: of each run.

        Raises:
            StorageError: one cannot be written.
            ToolError: this host has no systemd, so that nobody would read them.
        """
        user_units.require_reader("let your session run every quarter of an hour: haulout machine auto run")
        words = [*user_units.program(), "machine", "auto", "run", *arguments]
        environment = user_units.environment(registries=True)
        made = (
            [agent(words, environment)]
            if self.wanted_by is None
            else [service(words, environment), timer(phase(_host(), os.geteuid()))]
        )
        changed = user_units.write(dict(zip(self.files, made, strict=True)), self.wanted_by)
        if self.wanted_by is not None:
            user_units.tell("restart" if changed else "start", self.files[-1].name)
        return changed

    def disable(self) -> bool:
        """Remove them, and return whether there was one.

        Raises:
            StorageError: one cannot be removed.
        """
        if self.wanted_by is not None:
            user_units.tell("stop", self.files[-1].name)
        return user_units.remove((self.wanted_by, *self.files))


def update_timer() -> AutoTimer:
    """Return that of this user, on this host."""
    folder = user_units.folder()
    if user_units.is_launchd():
        return AutoTimer((folder / f"io.github.{_NAME}.plist",), None)
    unit = folder / f"{_NAME}.timer"
    return AutoTimer((unit.with_suffix(".service"), unit), folder / "timers.target.wants" / unit.name)


def service(words: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """Return what the timer starts. Pure."""
    lines = [
        "# Written by haulout machine auto enable.",
        *("[Unit]", "Description=Updates of machines"),
        # A machine that is started for an update has a supervisor, which goes on when this has ended.
        *("[Service]", "Type=oneshot", "KillMode=process", "Nice=10", *user_units.variables(environment)),
        *(f"ExecStart={user_units.command(words)}", ""),
    ]
    return "\n".join(lines).encode()


def timer(after: int) -> bytes:
    """Return the timer. Pure.

    Args:
        after: seconds after each quarter of an hour. It is another one on each host, always the same: systemd's own
            random delay would be another one each time, and move runs out of short windows.
    """
    lines = [
        "# Written by haulout machine auto enable.",
        *("[Unit]", "Description=Updates of machines", "[Timer]"),
        f"OnCalendar=*-*-* *:{after // 60:02}/{MINUTES}:{after % 60:02}",
        *("RandomizedDelaySec=0", "Persistent=no", "[Install]", "WantedBy=timers.target", ""),
    ]
    return "\n".join(lines).encode()


def agent(words: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """Return launchd's property list (launchd.plist(5)); its runs count from the login on. Pure."""
    import plistlib  # noqa: PLC0415 - loads a parser of XML, which nothing else here needs

    return plistlib.dumps(
        {
            "Label": f"io.github.{_NAME}",
            "ProgramArguments": list(words),
            "EnvironmentVariables": dict(environment),
            "StartInterval": MINUTES * 60,
            "ProcessType": "Background",
            "AbandonProcessGroup": True,
        }
    )


def phase(host: bytes, user: int) -> int:
    """Return the seconds after each quarter of an hour at which a user's runs begin on a host. Pure."""
    return int.from_bytes(sha256(host + str(user).encode()).digest()[:4], "big") % (MINUTES * 60)


def _host() -> bytes:
    with suppress(OSError):
        return _HOST.read_bytes()
    return b""
