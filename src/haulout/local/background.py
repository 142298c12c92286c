"""Programs that run beside this one: as children that may outlive it, or on their own from the beginning."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from haulout.errors import ToolError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

_LOG: Final = logging.getLogger(__name__)
_UCRED: Final = struct.Struct("3i")
_LOCAL_PEERPID: Final = 2
_END_SECONDS: Final = 5.0
_POLL: Final = 0.01


async def begin(
    argv: Sequence[str],
    *,
    output: int | IO[bytes] = subprocess.DEVNULL,
    descriptors: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    hint: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> asyncio.subprocess.Process:
    """Start a program in a session of its own; the caller waits for it, or it goes on when this process ends.

    Args:
        argv: program and arguments, which are logged.
        output: where standard output and errors go.
        descriptors: open files it inherits.
        stdin: where it reads from.
        stdout: instead of ``output``, for standard output alone.
        hint: how to get the program, where it is not installed.
        environment: of the program; None: that of this process.

    Raises:
        ToolError: it is not installed, or cannot be started.
    """
    import asyncio  # noqa: PLC0415 - takes long to load, and the other half of this module does without

    _LOG.debug("starting %s", shlex.join(argv))
    name = os.path.basename(argv[0])  # noqa: PTH119 - a name, not a path to open
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=output if stdout is None else stdout,
            stderr=output,
            pass_fds=tuple(descriptors),
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        raise ToolError(name, "is not installed", hint=hint) from exc
    except OSError as exc:
        raise ToolError(name, f"cannot be started: {exc.strerror or exc}", hint=hint) from exc


async def terminate(process: asyncio.subprocess.Process, seconds: float = _END_SECONDS) -> None:
    """End a program that :func:`begin` started: by SIGTERM, and by SIGKILL after so many seconds.

    ``Process.wait`` also waits until the pipes are closed, and another process may hold those: ssh hands them to the
    one that has the connection.
    """
    import asyncio  # noqa: PLC0415 - as above

    for act, patience in ((process.terminate, seconds), (process.kill, _END_SECONDS)):
        deadline = time.monotonic() + patience
        if process.returncode is None:
            with suppress(ProcessLookupError):
                act()
        while process.returncode is None and time.monotonic() < deadline:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(_POLL)
    # Its ends of the pipes stay open otherwise, as long as the others do; there is no public way.
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001


def detach(argv: Sequence[str], *, stdout: int, stderr: int) -> None:
    """Start a program that goes on by itself, whatever becomes of this process, its terminal and its folder.

    Raises:
        ToolError: it cannot be started.
    """
    _LOG.debug("detaching %s", shlex.join(argv))
    try:
        made = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd="/", start_new_session=True
        )
    except OSError as exc:
        raise ToolError(argv[0], f"cannot be started: {exc.strerror or exc}") from exc
    # Its end is noticed, so that no zombie stays where this process goes on for long.
    threading.Thread(target=made.wait, name="detached", daemon=True).start()


class Peer:
    """The process that listens on a UNIX socket, known without a file that names it.

    A process id may be used again. So on Linux a descriptor of the process is held (pidfd_open(2)), opened while the
    connection proves that it lives.
    """

    def __init__(self, pid: int, fd: int | None) -> None:
        self.pid = pid
        self.fd = fd

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Peer | None:
        """Return who listens; None where nobody does."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(os.fspath(path))
                if sys.platform == "linux":
                    raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
                    pid = _UCRED.unpack(raw)[0]
                    return cls(pid, os.pidfd_open(pid))
                return cls(probe.getsockopt(0, _LOCAL_PEERPID), None)
            except OSError:
                return None

    @classmethod
    def writing(cls, path: Path) -> list[Peer]:
        """Return the processes of this user that have a file open for writing; none where the system does not tell."""
        found: list[Peer] = []
        if sys.platform == "linux":
            for folder in Path("/proc").glob("[1-9]*"):
                with suppress(OSError):
                    peer = cls(int(folder.name), os.pidfd_open(int(folder.name)))
                    # After the process is held: its number may have been another's until then.
                    if _has_open(folder / "fd", path):
                        found.append(peer)
                    else:
                        peer.close()
        return found

    def kill(self) -> None:
        """End it by SIGKILL; it may have ended before."""
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; it may have ended before."""
        with suppress(OSError):
            if self.fd is not None and sys.platform == "linux":
                signal.pidfd_send_signal(self.fd, number)
            else:
                os.kill(self.pid, number)

    async def ended(self) -> None:
        """Wait for its end."""
        import asyncio  # noqa: PLC0415 - as above

        if self.fd is not None:
            over = asyncio.Event()
            asyncio.get_running_loop().add_reader(self.fd, over.set)
            try:
                await over.wait()
            finally:
                asyncio.get_running_loop().remove_reader(self.fd)
            return
        with suppress(OSError):
            while True:
                os.kill(self.pid, 0)
                await asyncio.sleep(0.2)

    def close(self) -> None:
        """Let go of it."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def _has_open(descriptors: Path, path: Path) -> bool:
    for each in descriptors.iterdir() if os.access(descriptors, os.R_OK) else ():
        with suppress(OSError):
            # proc(5): the permissions of the link are those that the file is open for. The name spares a look at files
            # of systems that hang.
            if each.lstat().st_mode & 0o200 and each.readlink().name == path.name and each.samefile(path):
                return True
    return False
