"""The audit log of a broker: read it, and verify it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - part of a dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from haulout.broker.audit import Head, LogReport, Row, parse_row, verify_log
from haulout.local import open_regular, storage_errors
from haulout.tee import stamp
from haulout.usecases.broker_access import BrokerAccess, OwnersApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from haulout.registry import ConnectionOptions

_LONGEST_LINE: Final = 1 << 20
_BATCH: Final = 1000
_POLL_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The folder of a broker on this machine: its operator reads the whole log."""

    path: Path


@dataclass(frozen=True, slots=True)
class Exported:
    """A file of rows that were exported; it may begin later than the log."""

    path: Path


LogSource: TypeAlias = BrokerAccess | StateFolder | Exported
"""Where a log is: a broker gives an owner the rows about their workloads."""


def broker_log(
    source: LogSource,
    *,
    since: datetime | None = None,
    follow: bool = False,
    connections: ConnectionOptions | None = None,
) -> Iterator[Row]:
    """Yield rows, the oldest first.

    Args:
        source: where the log is.
        since: leave out what was before.
        follow: go on, and yield what happens; an export ends all the same.
        connections: how a broker is reached.

    Raises:
        InvalidRow: a line of an export is not a row.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    begin = None if since is None else stamp(since)
    if isinstance(source, Exported):
        yield from (row for row in _exported(source.path) if begin is None or row.entry.at >= begin)
        return
    with ExitStack() as stack:
        more = _of_folder(source, stack) if isinstance(source, StateFolder) else _of_broker(source, connections, stack)
        after = 0
        while True:
            begun = after
            for row in more(after, begin):
                after = row.number
                yield row
            if after == begun:
                if not follow:
                    return
                time.sleep(_POLL_SECONDS)


def broker_log_verify(
    source: LogSource, *, head: Head | None = None, connections: ConnectionOptions | None = None
) -> LogReport:
    """Verify a log.

    Args:
        source: where the log is; of an owner's rows nobody can tell whether some are missing.
        head: what an earlier verification printed.
        connections: how a broker is reached.

    Raises:
        InvalidRow: a line of an export is not a row.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    rows = broker_log(source, connections=connections)
    return verify_log(rows, head, part=not isinstance(source, StateFolder), gaps=isinstance(source, BrokerAccess))


def _of_folder(source: StateFolder, stack: ExitStack) -> Callable[[int, str | None], Iterable[Row]]:
    from haulout.broker import Place  # noqa: PLC0415 - loads the database, which owners can do without

    store = Place.open(source.path).store()
    stack.callback(store.close)
    store.require_current()

    def more(after: int, since: str | None) -> Iterable[Row]:
        with store.read() as unit:
            return list(unit.audit.rows(after=after, since=since, limit=_BATCH))

    return more


def _of_broker(
    source: BrokerAccess, connections: ConnectionOptions | None, stack: ExitStack
) -> Callable[[int, str | None], Iterable[Row]]:
    api = stack.enter_context(OwnersApi(source, connections))

    def more(after: int, since: str | None) -> Iterable[Row]:
        lines = api.get("audit log", "log", since=since, after=after).splitlines()
        return [parse_row(line, "the broker's log") for line in lines]

    return more


def _exported(path: Path) -> Iterator[Row]:
    with open_regular(path, "an exported log") as fd, storage_errors(path), open(fd, "rb", closefd=False) as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            yield parse_row(line, f"{path}, line {number}")
