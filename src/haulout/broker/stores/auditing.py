"""The audit log: rows are appended, and never changed."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, insert, select

from haulout.broker.audit import BEGINNING, Entry, Head, Row, append
from haulout.broker.stores.engine import lock_audit
from haulout.broker.stores.tables import audit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

_ENTRY: Final = tuple(field.name for field in fields(Entry))
_BATCH: Final = 1000


class AuditLog:
    """The table of the audit log, in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, entry: Entry) -> Row:
        """Append a row. Nobody else appends until this transaction ends: do it last."""
        lock_audit(self._connection)
        row = append(self.head(), entry)
        values = {name: getattr(entry, name) for name in _ENTRY}
        self._connection.execute(
            insert(audit).values(number=row.number, previous=row.previous, hash=row.hash, **values)
        )
        return row

    def head(self) -> Head:
        """Return number and hash of the last row."""
        last = select(audit.c.number, audit.c.hash).order_by(audit.c.number.desc()).limit(1)
        found = self._connection.execute(last).one_or_none()
        return BEGINNING if found is None else Head(found.number, found.hash)

    def rows(
        self,
        *,
        since: str | None = None,
        owner: str | None = None,
        workload: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield rows in their order; those of one owner or workload do not form a chain.

        Args:
            since: RFC 3339 in UTC.
            owner: only about this owner's workloads.
            workload: only about this workload.
            after: number of a row, which is left out with those before it.
            limit: how many at most; None: all.
        """
        wanted = select(audit).order_by(audit.c.number)
        if since is not None:
            wanted = wanted.where(audit.c.at >= since)
        if owner is not None:
            wanted = wanted.where(audit.c.owner == owner)
        if workload is not None:
            wanted = wanted.where(audit.c.workload == workload)
        left = limit
        while left is None or left > 0:
            batch = _BATCH if left is None else min(_BATCH, left)
            found = self._connection.execute(wanted.where(audit.c.number > after).limit(batch)).all()
            for row in found:
                yield Row(row.number, Entry(*(getattr(row, name) for name in _ENTRY)), row.previous, row.hash)
            if len(found) < batch:
                return
            after = found[-1].number
            left = None if left is None else left - len(found)

    def count(self) -> int:
        """Return how many rows there are."""
        return int(self._connection.execute(select(func.count()).select_from(audit)).scalar_one())
