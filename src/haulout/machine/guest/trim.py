"""What a guest has deleted is given back to the host: when it stops, and weekly while it runs."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from haulout.machine.guest import scripts

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.machine.guest.link import Link

SECONDS: Final = 60.0
_WEEK: Final = 7 * 86400.0


async def trim(link: Link, seconds: float = SECONDS) -> None:
    """Trim a guest's disks, for so long at most."""
    await link.run(scripts.TRIM, min(seconds, SECONDS))


def is_due(mark: Path) -> bool:
    """Return whether the last time was more than a week ago, and mark that it is done now; never fails.

    A time in the future is of a clock that was wrong.
    """
    with suppress(OSError):
        if not (mark.exists() and 0 <= time.time() - mark.stat().st_mtime <= _WEEK):
            mark.touch()
            return True
    return False
