"""The workload's root: the verified file system below, memory above, and what every Linux root has mounted."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.guest.command import command_of
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.local import run

if TYPE_CHECKING:
    from haulout.guest.command import Command

_CONFIG: Final = ".krun_config.json"
_SECONDS: Final = 120.0
_MAX_CONFIG: Final = 4 << 20
_KERNEL: Final = (
    ("proc", "proc", "nosuid,noexec,nodev"),
    ("sysfs", "sys", "nosuid,noexec,nodev,ro"),
    ("devtmpfs", "dev", "nosuid"),
    ("devpts", "dev/pts", "nosuid,noexec,gid=5,mode=620,ptmxmode=666"),
    ("tmpfs", "dev/shm", "nosuid,nodev,mode=1777"),
    ("tmpfs", "run", "nosuid,nodev,mode=755"),
)
_FROM_HOST: Final = ("etc/resolv.conf", "etc/hosts", "etc/hostname")
"""Files that container engines provide."""


def mounted_root(device: Path, scratch: Path) -> tuple[Path, Command]:
    """Mount the verified file system with memory over it, and return its root and what it starts.

    Args:
        device: of the verified file system.
        scratch: a folder in memory.

    Raises:
        GuestRefusal: it cannot be mounted, or holds no image configuration.
    """
    below, above, root = scratch / "below", scratch / "above", scratch / "root"
    for folder in (below, above, root):
        folder.mkdir()
    mount("ext4", os.fspath(device), below, "ro,nodev,noload")
    mount("tmpfs", "memory", above, "mode=755")
    for name in ("upper", "work"):
        (above / name).mkdir()
    # The upper folder becomes the root: it has the mode and owner that the image gives its root.
    shutil.copystat(below, above / "upper")
    about = below.stat()
    os.chown(above / "upper", about.st_uid, about.st_gid)
    layers = f"lowerdir={below},upperdir={above}/upper,workdir={above}/work"
    mount("overlay", "root", root, layers)
    try:
        with (below / _CONFIG).open("rb") as file:
            config = file.read(_MAX_CONFIG)
    except OSError as exc:
        raise GuestRefusal(Rule.COMMAND, f"the root holds no image configuration: {exc.strerror}") from exc
    command = command_of(config, _small(below, "etc/passwd"), _small(below, "etc/group"))
    for kind, name, options in _KERNEL:
        # A link in the image must not lead a mount elsewhere; O_NOFOLLOW would not help mount(8).
        if (root / name).is_symlink():
            raise GuestRefusal(Rule.ROOT, f"/{name} of the image is a link")
        (root / name).mkdir(parents=True, exist_ok=True)
        mount(kind, kind, root / name, options)
    for name in _FROM_HOST:
        _provide(root, name)
    return root, command


def mount(kind: str, source: str, target: Path, options: str) -> None:
    """Mount a file system.

    Raises:
        GuestRefusal: the kernel refuses.
    """
    done = run(["mount", "-t", kind, "-o", options, source, os.fspath(target)], seconds=_SECONDS)
    if done.code:
        raise GuestRefusal(Rule.ROOT, f"cannot mount {kind} on {target}: {done.said}")


def _small(root: Path, name: str) -> str:
    """Return the content of a file of the image, or ""; links are not followed out of it."""
    path = root / name
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        return ""
    return path.read_text(encoding="utf-8", errors="replace")[:_MAX_CONFIG]


def _provide(root: Path, name: str) -> None:
    """Copy a file of this initrd over that of the image, as container engines do, if it is a plain file."""
    source, target = Path("/") / name, root / name
    with suppress(OSError):
        if source.is_file() and not target.is_symlink() and not target.parent.is_symlink():
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)


def start(root: Path, command: Command) -> int:
    """Run the workload to its end, as the parent of all its processes, and return its exit code; 128 + N for signal N.

    Raises:
        GuestRefusal: it cannot be started.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _become(root, command, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        failed = pipe.read(1000).decode("utf-8", "replace")
    if failed:
        os.waitpid(child, 0)
        raise GuestRefusal(Rule.COMMAND, f"{command.argv[0][:100]!r} cannot be started: {failed}")
    while True:
        found, status = os.wait()
        if found == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become(root: Path, command: Command, report: int) -> None:
    """Become the workload; on failure say why, and end."""
    try:
        os.setsid()
        os.chroot(root)
        os.chdir("/")
        # An engine makes the folder where it is missing.
        Path(command.folder).mkdir(parents=True, exist_ok=True)
        os.chdir(command.folder)
        os.setgroups(list(command.groups))
        os.setgid(command.gid)
        os.setuid(command.uid)
        os.umask(0o022)
        os.execvpe(command.argv[0], list(command.argv), command.environment)  # noqa: S606 - a workload's own program
    except BaseException as exc:  # noqa: BLE001 - whatever it is: this is a child, and its parent has to know
        os.write(report, str(getattr(exc, "strerror", None) or exc).encode()[:1000])
    finally:
        os._exit(127)
