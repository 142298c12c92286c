"""How many processors this process may use."""

from __future__ import annotations

import os


def processors() -> int:
    """Return their number, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1
