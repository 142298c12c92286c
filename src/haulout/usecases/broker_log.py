"""The audit log of a broker: read it, and verify it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.broker.audit import Head, LogReport, Row, parse_row, verify_log
from haulout.local import open_regular, storage_errors
from haulout.tee import stamp
from haulout.usecases.broker_access import OwnersApi

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from datetime import datetime

    from haulout.registry import ConnectionOptions
    from haulout.usecases.broker_access import BrokerAccess

_LONGEST_LINE: Final = 1 << 20
_POLL_SECONDS: Final = 2.0


def broker_log(
    access: BrokerAccess,
    *,
    since: datetime | None = None,
    follow: bool = False,
    connections: ConnectionOptions | None = None,
) -> Iterator[Row]:
    """Yield the rows about an owner's workloads, the oldest first.

    Args:
        access: which broker.
        since: leave out what was before.
        follow: go on, and yield what happens.
        connections: how the broker is reached.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    after = 0
    with OwnersApi(access, connections) as api:
        while True:
            begun = after
            begin = None if since is None else stamp(since)
            for line in api.get("audit log", "log", since=begin, after=after).splitlines():
                row = parse_row(line, "the broker's log")
                after = row.number
                yield row
            if after > begun:
                continue
            if not follow:
                return
            time.sleep(_POLL_SECONDS)


def broker_log_verify(
    source: BrokerAccess | str | os.PathLike[str],
    *,
    head: Head | None = None,
    connections: ConnectionOptions | None = None,
) -> LogReport:
    """Verify a log.

    Args:
        source: an export, which may begin later than the log; or a broker, which gives an owner only the rows about their
            workloads, so that nobody can tell whether some are missing.
        head: what an earlier verification printed.
        connections: how the broker is reached.

    Raises:
        InvalidRow: a line of the export is not a row.
        NotFoundError, StorageError: the export cannot be read.
    """
    if not isinstance(source, (str, Path)) and hasattr(source, "url"):
        return verify_log(broker_log(source, connections=connections), head, part=True, gaps=True)
    return verify_log(_exported(Path(source)), head, part=True)
