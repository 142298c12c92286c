"""What is remembered of a machine between two runs that look for updates. Pure, but for reading and writing it.

It may be lost at any time: then the machine waits for its next turn, and its user is told once more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from haulout.documents import Document
from haulout.errors import HauloutError
from haulout.local import parse_json, read_small, replace_file, storage_errors, wrong_file

if TYPE_CHECKING:
    from haulout.machine.store import Place

_FILE: Final = "auto.json"
_LONGEST_FILE: Final = 1 << 16
_LONGEST: Final = 8192


@dataclass(frozen=True, slots=True)
class AutoNote(Document):
    """One note."""

    checked: datetime
    """When it was looked for updates last, or the machine was seen first; aware."""
    candidate: str = ""
    """What its reference led to then, by digest; empty: it was not looked yet."""
    told: str = ""
    """What its user was told last, so that it is told once."""

    tried: str = ""
    """What was applied since it was looked last, by digest."""

    json_members = ("schema", "checked", "candidate", "told", "tried")

    @property
    def schema(self) -> int:
        """The version of the file."""
        return 1


def read_note(place: Place) -> AutoNote | None:
    """Return the note; None where there is none that can be read."""
    path = place.file(_FILE)
    try:
        table = parse_json(read_small(path, _LONGEST_FILE), wrong_file(path))
        checked = datetime.fromisoformat(table.text("checked"))
        if checked.tzinfo is None:
            return None
        return AutoNote(checked, *(table.text(name, "", longest=_LONGEST) for name in ("candidate", "told", "tried")))
    except (HauloutError, ValueError):
        return None


def write_note(place: Place, note: AutoNote) -> None:
    """Write the note, in one step.

    Raises:
        StorageError: it cannot be written.
    """
    path = place.file(_FILE)
    with storage_errors(path, doing="cannot be written"):
        replace_file(path, json.dumps(note.to_dict()).encode() + b"\n", mode=0o600)
