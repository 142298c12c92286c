"""How a machine is updated, as its file says. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from haulout.local import Table

_WINDOW: Final = re.compile(r"(?:([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?")
_LONGEST_HEALTH: Final = 86400
_LONGEST_PATH: Final = 4096


class Policy(StrEnum):
    """What is done by itself about an update that was found."""

    NOTIFY = "notify"
    STAGE = "stage"
    """It is fetched, too."""
    APPLY = "apply"
    """It is applied, too, within the window and while the machine is idle."""


class Severity(StrEnum):
    """How bad a vulnerability is, in the order of growing severity."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Update:
    """How a machine is updated."""

    policy: Policy = Policy.NOTIFY
    window: str = ""
    """``HH:MM-HH:MM``, local time, in which it is done by itself; it may cross midnight. Empty: at any time."""
    min_severity: Severity = Severity.LOW
    """The least that an update has to fix to be fetched by itself; one that nobody has rated counts as low."""
    pin: bool = False
    """Whether the image stays until the user names another one."""
    hooks: tuple[str, ...] = ()
    """Programs of this host, by absolute paths, that must succeed before an updated system is kept."""
    health_seconds: int = 300
    """That an updated system has, from its start, to prove itself."""


def is_window(text: str) -> bool:
    """Return whether a text is a window that some time is in, or empty."""
    return _WINDOW.fullmatch(text) is not None and (not text or text[:5] != text[6:])


def within(window: str, now: time) -> bool:
    """Return whether a time of day is in a window, which may cross midnight; all are in an empty one."""
    if not window:
        return True
    begin, end = (time.fromisoformat(each) for each in window.split("-"))
    return begin <= now < end if begin <= end else now >= begin or now < end


def parse_update(table: Table) -> Update:
    """Parse the member ``update`` of a machine file; what is left out is as usual.

    Raises:
        InvalidFile: a value is wrong, or not known.
    """
    usual = Update()
    window = table.text("window", usual.window)
    if not is_window(window):
        raise table.wrong("window", "expected HH:MM-HH:MM")
    hooks = table.texts("hooks", longest=_LONGEST_PATH)
    if not all(each.startswith("/") for each in hooks):
        raise table.wrong("hooks", "expected absolute paths")
    update = Update(
        table.choice("policy", usual.policy),
        window,
        table.choice("min_severity", usual.min_severity),
        table.flag("pin", usual.pin),
        hooks,
        table.number("health_seconds", usual.health_seconds, _LONGEST_HEALTH, 1),
    )
    table.end()
    return update
