"""Run ``qemu-img``: the only place that starts it.

Always with explicit formats, on files that were inspected before, confined by :mod:`haulout.disk._confine`: limited in
memory, processor time and size of files, without network, and killed when this process dies.
"""

from __future__ import annotations

import logging
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from haulout.disk import _confine
from haulout.errors import StorageError, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LOG = logging.getLogger(__name__)

TOOL = "qemu-img"
_MISSING_HINT = "install it: the Debian package is qemu-utils (Fedora: qemu-img)"

ADDRESS_SPACE = 2 << 30
"""Bytes of address space. A conversion by qemu-img 7.2 was seen to need between 600 MiB and 1 GiB, mostly the stacks of
its threads, never touched."""

_STALL = 1800.0
"""Seconds without any sign of life after which a conversion is given up. Progress is told in steps of one percent."""

_PROGRESS = re.compile(rb"\((\d{1,3}\.\d\d)/100%\)")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use: seconds of processor time, and bytes of the file it writes."""

    cpu_seconds: int
    file_size: int


def find() -> str:
    """Return the absolute path of qemu-img.

    Raises:
        ToolError: it is not installed.
    """
    path = shutil.which(TOOL)
    if path is None:
        raise ToolError(TOOL, "not found", hint=_MISSING_HINT)
    return str(Path(path).absolute())


def run(
    arguments: Sequence[str],
    *,
    limits: Limits,
    descriptors: Sequence[int] = (),
    advance: Callable[[float], None] | None = None,
) -> None:
    """Run qemu-img to its end.

    Args:
        arguments: what follows the program's name.
        limits: what it may use.
        descriptors: open files it inherits, for ``/proc/self/fd/N`` among the arguments.
        advance: called with the part done so far, 0 to 1, where the arguments ask for progress (``-p``).

    Raises:
        ToolError: it is missing, failed, stalled or ran into a limit.
        StorageError: it found the disk full.
    """
    command = [
        sys.executable,
        "-I",
        "-S",
        os.fspath(_confine.__file__),
        str(ADDRESS_SPACE),
        str(limits.cpu_seconds),
        str(limits.file_size),
        str(os.getpid()),
        find(),
        *arguments,
    ]
    _LOG.debug("running %s", shlex.join(command[8:]))
    # In memory: where the disk is full, a file could not hold the message that says so.
    with os.fdopen(os.memfd_create(TOOL), "w+b") as errors:
        with _process(command, errors, descriptors) as process:
            _follow(process, advance or (lambda _part: None))
            code = _wait(process)
        if code:
            raise _failure(code, errors, limits)


@contextmanager
def _process(
    command: Sequence[str], errors: IO[bytes], descriptors: Sequence[int]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that does not outlive the ``with`` block."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        # Else every thread reserves address space of its own, more on machines with more processors.
        "MALLOC_ARENA_MAX": "2",
    }
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=descriptors,
            env=environment,
            # Ctrl-C in a terminal reaches us; what becomes of the child is decided here.
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(TOOL, f"cannot be started: {error.strerror}", hint=_MISSING_HINT) from error
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _follow(process: subprocess.Popen[bytes], advance: Callable[[float], None]) -> None:
    """Read the progress that qemu-img prints until it closes its output."""
    if process.stdout is None:
        return
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + _STALL
    kept = b""
    while True:
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise ToolError(TOOL, f"made no progress for {_STALL:.0f} seconds")
        piece = os.read(descriptor, 4096)
        if not piece:
            return
        deadline = time.monotonic() + _STALL
        kept = (kept + piece)[-4096:]
        if found := _PROGRESS.findall(kept):
            advance(min(float(found[-1]) / 100, 1.0))
            kept = kept[kept.rindex(b")") + 1 :]


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_STALL)
    except subprocess.TimeoutExpired:
        raise ToolError(TOOL, f"did not end within {_STALL:.0f} seconds of its last word") from None


def _failure(code: int, errors: IO[bytes], limits: Limits) -> ToolError | StorageError:
    errors.seek(0)
    lines = errors.read(4096).decode("utf-8", "replace").strip().splitlines()
    said = "".join(c for c in (lines[-1] if lines else "") if c.isprintable()).removeprefix(f"{TOOL}: ")[:300]
    if "No space left on device" in said:
        return StorageError(said.partition(": ")[0], "no space left", hint="free some space, or choose another place")
    if code == -signal.SIGXCPU:
        return ToolError(TOOL, f"used more than {limits.cpu_seconds} seconds of processor time, so it was stopped")
    if code == -signal.SIGXFSZ or "File too large" in said:
        return ToolError(TOOL, f"wrote more than {limits.file_size} bytes, so it was stopped")
    if code < 0:
        return ToolError(TOOL, f"was killed by signal {-code}")
    return ToolError(TOOL, said or f"failed with exit code {code}")
