"""Small files of the user's cache: in place whole or not at all. A cache that cannot be written costs only speed."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from platformdirs import user_cache_path

from haulout.local import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

_ABANDONED: Final = 3600.0
"""Seconds after which a file under way was left by a killed process: writing one takes less than one."""


def folder(name: str) -> Path:
    """Return a folder of the user's cache; for a user without a home, a place where nothing can be kept."""
    try:
        return user_cache_path("haulout") / name
    except RuntimeError:
        return Path(os.devnull) / name


def put(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step, and remove what killed writers left of this file.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data, mode=0o600, durable=False)
    for left in path.parent.glob(f".{path.name}.*.new"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime > _ABANDONED:
                left.unlink()


def read_note(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None where there is none, or something else."""
    with suppress(OSError, ValueError):
        note = json.loads(path.read_bytes())
        return note if isinstance(note, dict) else None
    return None


def put_note(path: Path, note: Mapping[str, Any]) -> None:
    """Write a JSON object to a file; names that are not UTF-8 survive as surrogates, escaped.

    Raises:
        OSError: it cannot be written.
    """
    put(path, json.dumps(note).encode())
