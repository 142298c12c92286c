"""What is done by itself about an update of a machine, when, and why. Pure.

Times are local and naive, as windows are. The day that clocks are changed on moves a turn by an hour; a window within
the hour that is left out in spring does not come on that day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

from haulout.documents import Document
from haulout.errors import UsageError
from haulout.machine.update_settings import Policy, Severity, Update, is_window, within

_DAY: Final = timedelta(days=1)
_EVERY: Final = timedelta(hours=6)
"""How often a machine without a window looks for updates."""
_SHARE: Final = 0.75
"""Part of a window over which downloads are spread: the rest is for those that come last, to apply them in the same."""
SHORTEST_WINDOW: Final = timedelta(minutes=30)
"""It is looked every quarter of an hour whether something is due."""


class Action(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    NOTIFY = "notify"
    STAGE = "stage"
    APPLY = "apply"


@dataclass(frozen=True, slots=True)
class Offer:
    """What there is for a machine."""

    current: str
    """Digest of what it runs."""
    candidate: str
    """Digest of what its reference leads to."""
    severity: Severity | None = None
    """The worst of what the candidate fixes; None: nobody says."""
    staged: bool = False
    bad: str | None = None
    """Why the candidate was undone on this machine before."""


@dataclass(frozen=True, slots=True)
class Decision(Document):
    """What is done about an offer."""

    action: Action
    due: bool
    """Whether now."""
    when: datetime | None
    """When it is due, if that is known."""
    why: str
    """One sentence."""

    json_members = ("action", "due", "when", "why")


def decide(
    update: Update, machine_id: str, now: datetime, offer: Offer, use: str, *, at_once: bool = False
) -> Decision:
    """Decide about what there is.

    Args:
        update: what the machine file says.
        machine_id: the machine's UUID.
        now: local time, naive.
        offer: what there is.
        use: who uses the machine; empty: nobody. What cannot be found out is use, too.
        at_once: whether it is fetched now, without waiting for its turn.
    """
    if offer.candidate == offer.current:
        return Decision(Action.NOTHING, False, None, "it runs the newest version")
    if offer.bad is not None:
        return Decision(Action.NOTHING, False, None, f"this version was undone here before: {offer.bad}")
    if reason := _only_told(update, offer):
        return Decision(Action.NOTIFY, True, None, reason)
    if not offer.staged:
        due = at_once or within(update.window, now.time())
        when = None if due else turns(machine_id, update.window, now)[1]
        return Decision(Action.STAGE, due, when, "it is fetched" if due else f"it is fetched within {update.window}")
    if update.policy is Policy.STAGE:
        return Decision(Action.NOTIFY, True, None, "it is here, and waits for: haulout machine update")
    if not within(update.window, now.time()):
        when = _begin(update.window, now)
        return Decision(Action.APPLY, False, when, f"it is here, and is applied within {update.window}")
    if use:
        return Decision(Action.APPLY, False, None, f"it is here, and is applied once nobody uses the machine: {use}")
    return Decision(Action.APPLY, True, None, "it is here, and nobody uses the machine")


def _only_told(update: Update, offer: Offer) -> str:
    """Say why an update is not even fetched by itself; empty: it is."""
    if update.pin:
        return "the image of this machine is pinned"
    if update.policy is Policy.NOTIFY:
        return "this machine is updated only when its user says so"
    order = list(Severity)
    # Nobody knows: it may be the least. Whoever waits for bad ones is told, and whoever takes all gets it.
    found = offer.severity or Severity.LOW
    if order.index(found) < order.index(update.min_severity):
        known = f"fixes nothing worse than {found}" if offer.severity else "fixes what nobody has rated"
        return f"it {known}, and this machine waits for {update.min_severity}"
    return ""


def is_turn(update: Update, machine_id: str, now: datetime, checked: datetime) -> bool:
    """Return whether a machine that looked for updates last at ``checked`` has to look again."""
    # A clock that was wrong may have said a time that is still to come.
    due = checked < turns(machine_id, update.window, now)[0] or checked > now
    return within(update.window, now.time()) and due


def turns(machine_id: str, window: str, now: datetime) -> tuple[datetime, datetime]:
    """Return a machine's last turn to look for updates and to fetch them, up to now, and its next one.

    Each machine has its own moment, always the same, within the window, or within every six hours: those of many
    machines are spread evenly, so that registries are not asked by all of them at once.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    begin, length, every = timedelta(0), _EVERY, _EVERY
    if window:
        begin, length = _span(window)
        length, every = length * _SHARE, _DAY
    part = int.from_bytes(sha256(machine_id.encode()).digest()[:8], "big") / 2**64
    first = midnight - _DAY + begin + part * length
    last = first + (now - first) // every * every
    return last, last + every


def valid_window(window: str) -> str:
    """Return a window that machines can be updated in; "" stays: any time.

    Raises:
        UsageError: it is not one, or too short.
    """
    if not is_window(window):
        raise UsageError(f"{window[:40]!r} is not a time of day", hint="for example 02:00-05:00; none: any time")
    if window and _span(window)[1] < SHORTEST_WINDOW:
        raise UsageError(f"{window} is too short", hint="give it half an hour or more")
    return window


def _begin(window: str, now: datetime) -> datetime:
    """Return when a window begins next."""
    begin, _ = _span(window)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0) + begin
    return today if today > now else today + _DAY


def _span(window: str) -> tuple[timedelta, timedelta]:
    """Return the beginning of a window after midnight, and its length."""
    begin, end = (timedelta(hours=int(each[:2]), minutes=int(each[3:])) for each in window.split("-"))
    return begin, (end - begin) % _DAY
