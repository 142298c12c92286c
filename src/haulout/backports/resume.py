"""The command that takes picks up again, as hints and people say it. Pure."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def again(lib: Path, branch: str, *rest: str) -> str:
    """Return ``haulout backport pick BRANCH …``, with ``--lib`` where it is needed."""
    place = os.fspath(lib)
    words = ["haulout", "backport", "pick", branch, *rest, *([] if place == "." else ["--lib", place])]
    return shlex.join(words)
