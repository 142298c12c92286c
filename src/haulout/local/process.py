"""Running programs: argument lists, deadlines, whole process groups ended, each command line logged."""

from __future__ import annotations

import logging
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_LOG: Final = logging.getLogger(__name__)
PIPE: Final = subprocess.PIPE
STDOUT: Final = subprocess.STDOUT
_GRACE: Final = 5.0
"""Seconds a program has to end after SIGTERM."""
_POLL: Final = 0.05
_TAIL: Final = 4096
"""Bytes of standard error of which the last line is shown."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended by itself."""

    argv: tuple[str, ...]
    code: int
    """Exit code; -N where signal N ended it."""
    out: bytes
    err: bytes

    @property
    def said(self) -> str:
        """The last line of standard error, fit to be shown."""
        return last_line(self.err)


def last_line(err: bytes) -> str:
    """Return the last line of what a program wrote to standard error, fit to be shown; "" where it wrote nothing."""
    lines = err[-_TAIL:].decode("utf-8", "replace").strip().splitlines()
    return printable(lines[-1].strip()) if lines else ""


def run(
    argv: Sequence[str],
    *,
    seconds: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    hint: str | None = None,
) -> Finished:
    """Run a program to its end, whatever its exit code; its whole process group is ended with it.

    Args:
        argv: program and arguments; never a shell. Secrets belong into ``stdin``: the command line is logged.
        seconds: after which it is ended.
        stdin: what it reads.
        environment: instead of this process's.
        folder: its working directory.
        hint: how to get the program, where it is not installed.

    Raises:
        ToolError: it is not installed, cannot be started, or does not end in time.
    """
    with started(
        argv, environment=environment, folder=folder, hint=hint, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise ToolError(os.path.basename(argv[0]), f"did not end within {seconds:.0f} seconds") from None  # noqa: PTH119
        return Finished(tuple(argv), process.returncode, out, err)


def install_hint(debian: str, brew: str = "qemu") -> str:
    """Say how to get a program: its package in Debian, or in Homebrew on macOS."""
    return f"install it: brew install {brew}" if sys.platform == "darwin" else f"install it: apt install {debian}"


def find_program(name: str, hint: str) -> str:
    """Return the absolute path of a program.

    Raises:
        ToolError: it is not installed; ``hint`` says how to get it.
    """
    if (path := shutil.which(name)) is None:
        raise ToolError(name, "is not installed", hint=hint)
    return os.path.abspath(path)  # noqa: PTH100 - a link stays one


@contextmanager
def started(  # noqa: PLR0913 - each is one word of the request
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    descriptors: Sequence[int] = (),
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.PIPE,
    grace: float = _GRACE,
    hint: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a process group of its own, which does not outlive the ``with`` block.

    Args:
        argv: as for :func:`run`.
        environment: instead of this process's.
        folder: its working directory.
        descriptors: open files it inherits.
        stdin: where it reads from; nothing by default.
        stdout: where its output goes; nowhere by default.
        stderr: where its errors go; a pipe by default.
        grace: seconds between SIGTERM and SIGKILL where it still runs at the end of the block.
        hint: how to get the program, where it is not installed.

    Raises:
        ToolError: it is not installed, or cannot be started.
    """
    _LOG.debug("running %s", shlex.join(argv))
    name = os.path.basename(argv[0])  # noqa: PTH119 - a name, not a path to open
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=None if environment is None else dict(environment),
            pass_fds=tuple(descriptors),
            # Ctrl-C in a terminal reaches us; what becomes of the child is decided here.
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        raise ToolError(name, "is not installed", hint=hint) from exc
    except OSError as exc:
        raise ToolError(name, f"cannot be started: {exc.strerror or exc}", hint=hint) from exc
    with process:
        try:
            yield process
        finally:
            end(process, grace=grace if process.poll() is None else 0)


def end(process: subprocess.Popen[bytes], *, grace: float = _GRACE) -> None:
    """End a program started by :func:`started` with all it started: SIGTERM, then SIGKILL after ``grace`` seconds."""
    if process.poll() is None and grace:
        _signal_group(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def attached(argv: Sequence[str], *, hint: str | None = None) -> int:
    """Run a program on this process's terminal, as a shell does, and return its exit code; 128 + N for signal N.

    Ctrl-C is the program's business while it runs.

    Raises:
        ToolError: it is not installed, or cannot be started.
    """
    _LOG.debug("running %s", shlex.join(argv))
    name = os.path.basename(argv[0])  # noqa: PTH119 - a name, not a path to open
    try:
        process = subprocess.Popen(list(argv))
    except FileNotFoundError as exc:
        raise ToolError(name, "is not installed", hint=hint) from exc
    except OSError as exc:
        raise ToolError(name, f"cannot be started: {exc.strerror or exc}", hint=hint) from exc
    with process:
        while True:
            with suppress(KeyboardInterrupt):
                code = process.wait()
                return code if code >= 0 else 128 - code


def wait(process: subprocess.Popen[bytes], *, seconds: float) -> int:
    """Wait until a program ends by itself, and return its exit code; -N where signal N ended it.

    Raises:
        ToolError: it still runs after ``seconds``.
    """
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise ToolError(_name(process), f"did not end within {seconds:.0f} seconds") from None


def _name(process: subprocess.Popen[bytes]) -> str:
    return os.path.basename(str(process.args[0] if isinstance(process.args, (list, tuple)) else process.args))  # noqa: PTH119


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], *, seconds: float, what: str, poll: float = _POLL
) -> None:
    """Wait until a program is ready to serve.

    Args:
        ready: asks; called every ``poll`` seconds.
        process: ends the wait when it ends.
        seconds: the longest wait.
        what: what is waited for: ``the socket``.
        poll: seconds between two questions.

    Raises:
        ToolError: the program ended before, or the time is up.
    """
    name = _name(process)
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise ToolError(name, f"ended with exit code {process.returncode} before {what} was ready")
        if time.monotonic() > deadline:
            raise ToolError(name, f"{what} was not ready within {seconds:.0f} seconds")
        time.sleep(poll)


def chunks(descriptor: int, *, stall: float, name: str, size: int = 4096) -> Iterator[bytes]:
    """Yield what a program writes to a pipe, until it closes it.

    Raises:
        ToolError: nothing came for ``stall`` seconds.
    """
    while True:
        if not select.select([descriptor], [], [], stall)[0]:
            raise ToolError(name, f"made no progress for {stall:.0f} seconds")
        piece = os.read(descriptor, size)
        if not piece:
            return
        yield piece
