"""What happened to machines, and what happens to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.machine import Machines, read_events, valid_name

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from haulout.machine import MachineEvent


def machine_events(
    names: Iterable[str] = (),
    *,
    since: datetime | None = None,
    follow: bool = False,
    ended: threading.Event | None = None,
) -> Iterator[MachineEvent]:
    """Yield what happened to machines, the oldest first: all that is remembered, at least the last thousands.

    Args:
        names: of machines, also of some that do not exist yet, or any more; none: of all.
        since: leave out what was before.
        follow: go on, and yield what happens, until ``ended`` is set or the iteration is given up.
        ended: set, by any thread, to end it.

    Raises:
        UsageError: a name is not valid.
        StorageError: the history cannot be read.
    """
    wanted = {valid_name(name) for name in names}
    first = since.astimezone() if since is not None else None
    found = read_events(Machines.here().history, follow=follow, ended=ended)
    return (
        event for event in found if (not wanted or event.machine in wanted) and (first is None or event.time >= first)
    )
