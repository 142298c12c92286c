"""Where machines are on this host: one folder each, to back up or delete, and one for what dies with the host's boot.

``$XDG_DATA_HOME/haulout/machines/NAME`` and ``…/images`` last. ``$XDG_RUNTIME_DIR/haulout/NAME`` holds sockets alone;
it may be gone whenever the machine does not run.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from platformdirs import user_cache_path, user_data_path

from haulout.errors import ConflictError, HauloutError, NotFoundError, StorageError
from haulout.local import hold, home_of, locked, read_small, replace_file, storage_errors, wrong_file
from haulout.machine.model import SCHEMA, Machine, parse, schema_of, valid_name
from haulout.machine.states import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.machine.model import Image

LONGEST_SOCKET: Final = 103
"""Bytes of a socket's path that every system takes: macOS ends at 103, Linux at 107."""
_LONGEST_FILE: Final = 1 << 20
_LOCK_SECONDS: Final = 5.0
_SSH_SUFFIX: Final = 17
"""ssh binds its control socket under a longer name first: a dot and 16 letters."""
_TAIL: Final = 1 << 16
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one machine."""

    name: str
    folder: Path
    runtime: Path
    images: Path

    def file(self, name: str) -> Path:
        """Return a lasting file, such as ``machine.json``, ``system.qcow2`` or ``data.raw``."""
        return self.folder / name

    def socket(self, name: str) -> Path:
        """Return the path of a socket, such as ``podman``, ``podman-root``, ``control`` or ``qmp``."""
        return self.runtime / f"{name}.sock"

    def base(self, machine: Machine) -> Path:
        """Return the base image of the machine's system, which other machines share."""
        return self.images / machine.image.digest.replace(":", "-")

    def system(self, image: Image) -> Path:
        """Return what the system of an image has changed of itself."""
        return self._slot(image, "qcow2", "system.qcow2")

    def variables(self, image: Image) -> Path:
        """Return the variables of the firmware for the system of an image."""
        return self._slot(image, "vars", "firmware.vars")

    def _slot(self, image: Image, suffix: str, first: str) -> Path:
        slot, old = self.file("slots") / f"{image.slot}.{suffix}", self.file(first)
        # Before there were updates, a machine had one system, under a name of its own; an update renames that.
        return old if old.exists() and not slot.exists() else slot

    def data_since(self, image: Image) -> Path:
        """Return what was written to the data disk since the system of an image took over; there may be none."""
        return self.file(f"data-{image.slot}.qcow2")

    @property
    def history(self) -> Path:
        """The history of all machines of this user."""
        return self.folder.parents[1] / "events.jsonl"

    @property
    def ssh_config(self) -> Path:
        """The configuration by which ``ssh`` reaches the machine while it runs."""
        return self.runtime / "ssh_config"

    def exists(self) -> bool:
        """Return whether there is a machine: data that was kept is none."""
        try:
            return self.file("machine.json").exists()
        except PermissionError:
            # Another user's, such as root's: not to be used, and not free.
            return True

    def load(self) -> Machine:
        """Read the machine file.

        Raises:
            NotFoundError: there is no such machine.
            InvalidFile: the file is damaged, of a newer version or of another machine.
            StorageError: it cannot be read.
        """
        path = self.file("machine.json")
        if not self.exists():
            kept = self.file("data.raw").exists()
            raise NotFoundError(
                f"there is no machine {self.name}" + (", but its data was kept" if kept else ""),
                hint=f"haulout machine init {self.name} REF makes it" + (" with that data" if kept else ""),
            )
        return parse(read_small(path, _LONGEST_FILE), wrong_file(path), self.name)

    @property
    def identity(self) -> str | None:
        """The machine's UUID; None where its file cannot be read."""
        try:
            return self.load().id
        except HauloutError:
            return None

    def save(self, machine: Machine) -> None:
        """Write the machine file, in one step; one of an older version is kept as ``machine.json.v1``.

        Raises:
            StorageError: it cannot be written.
        """
        path = self.file("machine.json")
        with storage_errors(path, doing="cannot be written"):
            if path.exists() and (old := schema_of(read_small(path, _LONGEST_FILE))) < SCHEMA:
                replace_file(self.file(f"machine.json.v{old}"), path.read_bytes(), mode=0o600)
            replace_file(path, machine.to_json().encode(), mode=0o600)

    @contextmanager
    def lock(self, *, new: bool = False) -> Iterator[None]:
        """Hold the machine against other commands that change it.

        Args:
            new: whether there may be none yet.

        Raises:
            ConflictError: another command holds it.
            NotFoundError: there is no such machine, and no data of one.
            StorageError: the folder cannot be made or locked.
        """
        if not (new or self.folder.exists()):
            self.load()
        with storage_errors(self.folder, doing="cannot be written"):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with locked(
                self.file("lock"), seconds=_LOCK_SECONDS, busy=f"another command is changing machine {self.name}"
            ):
                yield

    def updating(self) -> ExitStack:
        """Hold the machine against updates, rollbacks and removal, but not against commands that start or stop it.

        Raises:
            ConflictError: another command updates it, or removes it.
            StorageError: its folder cannot be written.
        """
        stack = ExitStack()
        with storage_errors(self.folder, doing="cannot be written"):
            stack.enter_context(
                locked(self.file("update.lock"), seconds=0, busy=f"another command is updating machine {self.name}")
            )
        return stack

    def take(self, lock: str) -> int:
        """Take a lock for as long as the descriptor is open, here or in a process that inherits it.

        Raises:
            ConflictError: another process has it.
            StorageError: it cannot be written.
        """
        with storage_errors(self.file(lock), doing="cannot be written"):
            fd = os.open(self.file(lock), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if not hold(fd, seconds=_LOCK_SECONDS):
            os.close(fd)
            raise ConflictError(f"machine {self.name} is running already")
        return fd

    def is_held(self, lock: str) -> bool:
        """Return whether some process has a lock: ``run.lock`` the supervisor, ``vm.lock`` the virtual machine."""
        try:
            # For reading: that works on a file system that has become read-only, and tells askers from holders.
            fd = os.open(self.file(lock), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not hold(fd, shared=True)
        except OSError:
            return False
        finally:
            os.close(fd)

    def prepare_runtime(self, machine: Machine) -> None:
        """Make the folder for sockets.

        Raises:
            StorageError: it cannot be made, belongs to another user, or its name is too long for sockets.
        """
        users = ("root", *(each.user for each in machine.sockets))
        names = [len(f"/to-{each.name}.sock") for each in machine.sockets]
        longest = max(*names, *(len(f"/ssh-{user}") + _SSH_SUFFIX for user in users), 0)
        if len(os.fsencode(self.runtime)) + longest > LONGEST_SOCKET:
            raise StorageError(
                str(self.runtime), f"is too long for sockets, which have at most {LONGEST_SOCKET} bytes",
                hint="choose a shorter name, or set XDG_RUNTIME_DIR to a shorter directory of yours",
            )  # fmt: skip
        with storage_errors(self.runtime, doing="cannot be made"):
            for folder in (self.runtime.parent, self.runtime):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                found = folder.lstat()
                if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                    raise StorageError(str(folder), "belongs to another user", hint="set XDG_RUNTIME_DIR")
                folder.chmod(0o700)

    def record(self, kind: str, detail: str = "") -> None:
        """Add a line to the machine's history, where that can be written."""
        event = Event(datetime.now(UTC).isoformat(timespec="seconds"), kind, detail, boot())
        line = json.dumps(event.to_dict()).encode() + b"\n"
        with suppress(OSError):
            fd = os.open(self.file("events.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, line)
            finally:
                os.close(fd)

    def last_event(self) -> Event | None:
        """Return the newest line of the history; None where there is none."""
        for line in reversed(tail(self.file("events.jsonl")).splitlines()):
            with suppress(ValueError, KeyError, TypeError):
                found = json.loads(line)
                return Event(str(found["at"]), str(found["kind"]), str(found["detail"]), str(found.get("boot", "")))
        return None

    def console(self, lines: int = 10) -> list[str]:
        """Return the last lines of the guest's console."""
        found = tail(self.file("console.log")).replace("\r", "").splitlines()
        return [line for line in found if line.strip()][-lines:]


def boot() -> str:
    """Return what is another one after each boot of this host; "" where there is nothing of the kind."""
    with suppress(OSError):
        return _BOOT.read_text("ascii").strip()
    return ""


def tail(path: Path, most: int = _TAIL) -> str:
    """Return the end of a text file; "" where it cannot be read."""
    with suppress(OSError, StorageError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return file.read(most).decode("utf-8", "replace")
    return ""


@dataclass(frozen=True, slots=True)
class Machines:
    """All machines of a user."""

    data: Path
    runtime: Path
    cache: Path

    @classmethod
    def here(cls) -> Machines:
        """Return those of this user, as the environment says."""
        return cls(user_data_path("haulout"), _runtime() / "haulout", user_cache_path("haulout"))

    @property
    def history(self) -> Path:
        """The history of all of them."""
        return self.data / "events.jsonl"

    def place(self, name: str) -> Place:
        """Return where a machine is, or would be.

        Raises:
            UsageError: it is no name for a machine.
        """
        folder = self.data / "machines" / valid_name(name)
        return Place(name, folder, self.runtime / name, self.data / "images")

    def all(self) -> list[Place]:
        """Return the places that have a machine file, by name, whatever is in it."""
        folder = self.data / "machines"
        with storage_errors(folder):
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        places = (Place(name, folder / name, self.runtime / name, self.data / "images") for name in names)
        return [place for place in places if place.exists()]


def _runtime() -> Path:
    named = os.environ.get("XDG_RUNTIME_DIR")
    # A relative path is not valid (XDG Base Directory Specification); a supervisor has another current directory.
    if named and Path(named).is_absolute():
        return Path(named)
    usual = Path(f"/run/user/{os.geteuid()}")
    # Without a session there is none. A folder below the home directory is no other user's.
    return usual if usual.is_dir() else home_of(os.environ) / ".cache"
