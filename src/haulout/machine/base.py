"""Base images: verified when they are fetched, shared by machines, and looked at before each start.

To read a base of gigabytes at each start would take longer than the boot. So a note beside it tells what it was when it
was verified; it is read again when size, time or inode are other ones.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from haulout.errors import StorageError
from haulout.local import replace_file, storage_errors

if TYPE_CHECKING:
    from pathlib import Path


def note_of(base: Path) -> Path:
    """Return the path of the note about a base image."""
    return base.with_name(f"{base.name}.json")


def check_base(base: Path, pinned: str) -> None:
    """Check that a base image is what was verified; of one without a note, write that: it was fetched just now.

    Args:
        base: the image.
        pinned: reference by which it can be fetched again.

    Raises:
        StorageError: it is gone, or was changed, or cannot be read.
    """
    again = f"haulout pull {pinned} -o {base}"
    if not base.exists():
        raise StorageError(str(base), "the base image of the machine is gone", hint=f"fetch it again: {again}")
    with storage_errors(base):
        found = base.stat()
        state = [found.st_size, found.st_mtime_ns, found.st_ino]
        known: dict[str, object] = {}
        with suppress(OSError, ValueError, TypeError):
            known = dict(json.loads(note_of(base).read_bytes()))
        if known.get("state") == state:
            return
        with base.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    if known.get("sha256", digest) != digest:
        raise StorageError(
            str(base), "the base image was changed since it was verified: no machine boots from it",
            hint=f"fetch it again: rm -f {base} && {again}",
        )  # fmt: skip
    with suppress(OSError):
        # It is read again at the next start where this fails.
        replace_file(note_of(base), json.dumps({"sha256": digest, "state": state}).encode(), durable=False)
