"""virtiofsd: shares a folder of this host with a guest, as the user who runs the machine.

There are two programs of that name. The one written in Rust (https://gitlab.com/virtio-fs/virtiofsd) translates users:
whatever the guest's users write belongs to this user, and what belongs to this user is the guest's ``core``'s. The one
that came with QEMU until 7.2 (Debian 12) needs a user namespace for that, in which there is ``core`` alone: the guest's
root can read, and not write.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local import begin, install_hint, printable, run, storage_errors
from haulout.machine.guest.seed import USER_ID
from haulout.machine.store import tail
from haulout.machine.supervision.forward import bind

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.machine.model import Mount

PLACES: Final = ("/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd")
_START_SECONDS: Final = 20.0
_POLL: Final = 0.02
_READY: Final = "aiting for vhost-user socket connection"
"""Both say so when they are ready; they serve one client alone, so that nobody else may connect to find out."""
_EVERYONE: Final = (1 << 32) - 1
_READ_ONLY: Final = 'mount --bind -o ro "$0" "$0" && exec "$@"'


def find() -> str:
    """Return the path of virtiofsd.

    Raises:
        ToolError: it is not installed, or this host cannot have it.
    """
    usual = (path for path in PLACES if os.access(path, os.X_OK))
    found = (shutil.which("virtiofsd") or next(usual, None)) if sys.platform == "linux" else None
    if found is None:
        raise ToolError(
            "virtiofsd", "is not installed, and the machine has mounts",
            hint=install_hint("virtiofsd (in Debian 12: qemu-system-common)")
            if sys.platform == "linux" else "there is none for this system: remove the mounts",
        )  # fmt: skip
    return found


def commands(program: str, options: str, mount: Mount, descriptor: int, user: int, group: int) -> list[list[str]]:
    """Return the command lines to try, the safest first. Pure.

    Args:
        program: path of virtiofsd.
        options: what it prints as its help.
        mount: what to share.
        descriptor: of a socket that listens.
        user: who runs it; 0: root, whose guest's users are the same as the host's.
        group: of that user.

    Raises:
        ToolError: it cannot do what the mount wants.
    """
    if "--shared-dir" not in options:
        return [_old(program, mount, descriptor, user)]
    line = [program, "--shared-dir", mount.source, "--fd", str(descriptor)]
    if mount.read_only and "--readonly" not in options:
        raise ToolError("virtiofsd", "is too old to share read-only", hint="install version 1.11 or later")
    line += ["--readonly"] if mount.read_only else []
    if user and "--translate-uid" in options:
        for name, host in (("uid", user), ("gid", group)):
            line += [f"--translate-{name}", f"squash-guest:0:{host}:{_EVERYONE}"]
            line += [f"--translate-{name}", f"host:{host}:{USER_ID}:1"]
    # Some hosts allow users no namespaces, and most containers none at all.
    return [[*line, "--sandbox", each] for each in ("namespace", "none" if user else "chroot")]


def _old(program: str, mount: Mount, descriptor: int, user: int) -> list[str]:
    source = mount.source.replace("\\", "\\\\").replace(",", "\\,")
    line = [program, "-f", "-o", f"source={source}", "-o", "sandbox=chroot", f"--fd={descriptor}"]
    if user:
        line = ["unshare", "--user", f"--map-user={USER_ID}", f"--map-group={USER_ID}", "--keep-caps", *line]
    if mount.read_only:
        root = ["--user", "--map-root-user"] if user else []
        line = ["unshare", *root, "--mount", "sh", "-c", _READ_ONLY, mount.source, *line]
    return line


async def share(mount: Mount, path: Path, log: Path) -> asyncio.subprocess.Process:
    """Start virtiofsd for a mount.

    Args:
        mount: what to share.
        path: of the socket for QEMU.
        log: file for what it says.

    Raises:
        ToolError: it is not installed, or does not start.
        StorageError: the log or the socket cannot be written.
    """
    program = find()
    options = (await asyncio.to_thread(run, [program, "--help"], seconds=_START_SECONDS)).out.decode("utf-8", "replace")
    with storage_errors(path, doing="cannot be made"):
        listener = bind(path)
    with listener:
        listener.setblocking(True)
        for line in commands(program, options, mount, listener.fileno(), os.geteuid(), os.getegid()):
            with storage_errors(log, doing="cannot be written"), log.open("wb") as output:
                process = await begin(line, output=output, descriptors=(listener.fileno(),))
            with suppress(TimeoutError):
                async with asyncio.timeout(_START_SECONDS):
                    while process.returncode is None:
                        if _READY in tail(log):
                            return process
                        await asyncio.sleep(_POLL)
            if process.returncode is None:
                process.kill()
    said = printable(" ".join(tail(log, 400).split())) or "it said nothing"
    raise ToolError("virtiofsd", f"cannot share {mount.source}: {said}")
