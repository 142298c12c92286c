"""Tell a user something where they are: on the desktop, and in the machine, when they log in there."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from haulout.errors import ToolError
from haulout.local import run
from haulout.machine.guest.ssh import client

if TYPE_CHECKING:
    from haulout.machine.store import Place

_SECONDS: Final = 10.0
_GUEST_SECONDS: Final = 60.0
_SCRIPT: Final = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"
MOTD: Final = "/run/motd.d/haulout"
"""pam_motd(8) shows it at logins; it is gone after the next boot, which is the one of the update."""


def notification(title: str, text: str) -> list[str] | None:
    """Return the command that shows a text on this desktop; None where there is none."""
    if sys.platform == "darwin":
        return ["osascript", "-e", _SCRIPT, title, text]
    desktop = any(os.environ.get(name) for name in ("DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY"))
    if not desktop or shutil.which("notify-send") is None:
        return None
    return ["notify-send", "--app-name=haulout", "--", title, text]


def tell_desktop(title: str, text: str) -> bool:
    """Show a text on this desktop, and return whether that was possible."""
    words = notification(title, text)
    if words is None:
        return False
    with suppress(ToolError):
        return run(words, seconds=_SECONDS).code == 0
    return False


def tell_guest(place: Place, text: str) -> bool:
    """Have a machine that runs show a text when somebody logs in, and return whether that was possible."""
    script = f"mkdir -p {MOTD.rpartition('/')[0]} && printf '%s\\n' {shlex.quote(text)} > {MOTD}\n"
    with suppress(ToolError):
        return run([*client(place, "root"), "sh"], stdin=script.encode(), seconds=_GUEST_SECONDS).code == 0
    return False
