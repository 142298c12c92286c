"""Run ``qemu-img``: the only place that starts it.

Always with explicit formats, on files that were inspected before, confined by :mod:`haulout.disk._confine`: limited in
memory, processor time and size of files, without network, and killed when this process dies.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.disk import _confine
from haulout.errors import StorageError, ToolError
from haulout.local import PIPE, STDOUT, chunks, find_program, install_hint, last_line, started, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOOL: Final = "qemu-img"

ADDRESS_SPACE: Final = 2 << 30
"""Bytes of address space. A conversion by qemu-img 7.2 was seen to need between 600 MiB and 1 GiB, mostly the stacks of
its threads, never touched."""

_STALL = 1800.0
"""Seconds without any sign of life after which a conversion is given up. Progress comes in steps of one percent."""

_PROGRESS = re.compile(rb"\((\d{1,3}\.\d\d)/100%\)")
_NOT_SAID = re.compile(rb"\([^()]*/100%\)")
_KEPT: Final = 4096
"""Bytes of the output kept for the last line, which says what failed."""


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
    return find_program(TOOL, install_hint("qemu-utils"))


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
        *("-I", "-S", os.fspath(_confine.__file__)),
        *(str(limit) for limit in (ADDRESS_SPACE, limits.cpu_seconds, limits.file_size, os.getpid())),
        find(),
        *arguments,
    ]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        # Else every thread reserves address space of its own, more on machines with more processors.
        "MALLOC_ARENA_MAX": "2",
    }
    kept = b""
    # Errors come through the pipe, too: where the disk is full, a file could not hold the message that says so.
    with started(
        command, environment=environment, descriptors=descriptors, stdout=PIPE, stderr=STDOUT, grace=0
    ) as process:
        assert process.stdout is not None
        for piece in chunks(process.stdout.fileno(), stall=_STALL, name=TOOL):
            kept = (kept + piece)[-_KEPT:]
            if advance is not None and (found := _PROGRESS.findall(kept)):
                advance(min(float(found[-1]) / 100, 1.0))
        code = wait(process, seconds=_STALL)
    if code:
        raise _failure(code, last_line(_NOT_SAID.sub(b"", kept)).removeprefix(f"{TOOL}: "), limits)


def _failure(code: int, said: str, limits: Limits) -> ToolError | StorageError:
    if "No space left on device" in said:
        return StorageError(said.partition(": ")[0], "no space left", hint="free some space, or choose another place")
    if code == -signal.SIGXCPU:
        return ToolError(TOOL, f"used more than {limits.cpu_seconds} seconds of processor time, so it was stopped")
    if code == -signal.SIGXFSZ or "File too large" in said:
        return ToolError(TOOL, f"wrote more than {limits.file_size} bytes, so it was stopped")
    if code < 0:
        return ToolError(TOOL, f"was killed by signal {-code}")
    return ToolError(TOOL, said or f"failed with exit code {code}")
