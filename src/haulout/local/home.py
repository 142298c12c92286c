"""The home directory, for the files that containers/image keeps in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def home_of(environment: Mapping[str, str]) -> Path:
    """Return the home directory; for a user who has none, as in many containers, a place where nothing can be."""
    named = environment.get("HOME")
    if named:
        return Path(named)
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)
