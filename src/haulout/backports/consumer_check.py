"""Run the consumer's own check, in a throw-away clone that borrows its objects: nothing of its own is changed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.backports.git import Git, decode, environment
from haulout.errors import ToolError, UsageError

if TYPE_CHECKING:
    from haulout.backports.repository import Repository

_SECONDS: Final = 3600.0
_TARGET: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_LONGEST: Final = 20_000
"""Bytes of output kept, from its end."""


def run_make(consumer: Repository, commit: str, target: str) -> tuple[int, str]:
    """Run ``make TARGET`` at a commit; return its exit code and the end of what it printed.

    This runs the consumer's code, so it happens only where a person asks for it.

    Raises:
        UsageError: that cannot be a target.
        ToolError: there is no make, or it does not end.
    """
    if not _TARGET.fullmatch(target):
        raise UsageError(f"not a target of make: {target[:80]!r}")
    program = shutil.which("make")
    if program is None:
        raise ToolError("make", "not found", hint="install it: the package is called make")
    with tempfile.TemporaryDirectory(prefix="haulout-check-") as made:
        place = Path(made, "consumer")
        git = Git(Path(made), environment(os.environ) | {"GIT_ALLOW_PROTOCOL": "file"})
        git.run("clone", "--quiet", "--shared", "--no-checkout", "--", str(consumer.common), str(place))
        Git(place, git.variables).run("checkout", "--quiet", "--detach", commit)
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [program, target],
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
                # What it starts is ended with it.
                start_new_session=True,
            )
            try:
                code = process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                raise ToolError("make", f"{target} did not end within {_SECONDS:.0f} seconds") from None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            said.seek(max(0, said.seek(0, os.SEEK_END) - _LONGEST))
            return code, decode(said.read())
