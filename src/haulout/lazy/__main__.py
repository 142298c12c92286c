"""``python -m haulout.lazy BASE SOCKET``: serves a disk that is not whole yet, or records which blocks of one are read.

Started by the supervisors of machines alone; what it says goes to their log. It ends when it has had no client for a
while. SIGUSR1, and ``--settled``, say that a machine has booted. ``--record USES`` writes down what is read of a whole
file, which then comes from nowhere else.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.errors import HauloutError
from haulout.lazy.server import Server
from haulout.lazy.trace import Recorder
from haulout.local import hold
from haulout.progress import NullProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.lazy.server import Export

_FIRST_SECONDS: Final = 60.0
_IDLE_SECONDS: Final = 10.0


class _Notes(NullProgress):
    """Writes notes to the log."""

    def note(self, message: str) -> None:
        # The log may be on the disk that is full.
        with suppress(OSError):
            os.write(2, f"{message}\n".encode("utf-8", "replace"))


class _Whole:
    """A whole file; what is read of it may be written down.

    Args:
        path: of the file.
        uses: of the record.
    """

    def __init__(self, path: Path, uses: Path | None = None) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self.fd).st_size
        self._recorder = Recorder(self.size)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._uses = None if uses is None else os.open(uses, flags, 0o600)

    def require(self, offset: int, length: int, done: Callable[[bool], None]) -> bool:  # noqa: ARG002 - as exports do
        if self._uses is not None and (new := self._recorder.use(offset, length)):
            os.write(self._uses, new)
        return True


def main(argv: list[str]) -> int:
    """Serve; return an exit code."""
    os.umask(0o077)
    notes = _Notes()
    settled = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: settled.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if "--settled" in argv:
        settled.set()
    try:
        if argv[0] == "--record":
            uses, disk, path = map(Path, argv[1:4])
            _run(_Whole(disk, uses), path)
        else:
            _serve(Path(argv[0]), Path(argv[1]), notes, settled)
    except (HauloutError, OSError) as error:
        notes.note(str(error))
        return 1
    return 0


def _run(export: Export, path: Path, tick: Callable[[], None] = lambda: None) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        path.unlink(missing_ok=True)
        listener.bind(os.fspath(path))
        listener.listen(16)
        Server(listener, export).run(first=_FIRST_SECONDS, idle=_IDLE_SECONDS, tick=tick)
        # The next one binds a socket of its own.
        path.unlink(missing_ok=True)


def _serve(base: Path, path: Path, notes: _Notes, settled: threading.Event) -> None:
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not hold(lock):
        # Another machine has just started it.
        return
    if base.exists():
        # It has become whole, and QEMU knows it by this name until its next start.
        _run(_Whole(base), path)
        return
    from haulout.lazy.serving import Serving  # noqa: PLC0415 - what speaks HTTP; a whole file does without

    with Serving.open(base, path.with_suffix(".waits"), notes) as export:
        _run(export, path, lambda: export.tick(settled=settled.is_set()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
