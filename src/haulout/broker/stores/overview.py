"""What operators look at: the newest rows of the audit log, each machine's last attempt, how many sessions are open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select

from haulout.broker.stores.auditing import read_row
from haulout.broker.stores.tables import audit, sessions
from haulout.broker.stores.times import to_stored

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from haulout.broker.audit import Row


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of a machine that asked for the key of a workload.

    Attributes:
        workload: whose key.
        machine: its name, as far as the evidence tells.
        succeeded: when it last got what it asked for, RFC 3339 in UTC; None: never.
        last: the row of its last attempt.
    """

    workload: str
    machine: str
    succeeded: str | None
    last: Row


class Overview:
    """Looks over several tables, in one transaction. Where it takes an owner, None sees all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def newest(
        self,
        owner: str | None,
        *,
        workload: str | None = None,
        refused: bool = False,
        limit: int,
    ) -> list[Row]:
        """Return the newest rows about guests, the newest first; with ``refused`` those that were refused."""
        wanted = select(audit).where(audit.c.event.in_(GUESTS)).order_by(audit.c.number.desc()).limit(limit)
        if owner is not None:
            wanted = wanted.where(audit.c.owner == owner)
        if workload is not None:
            wanted = wanted.where(audit.c.workload == workload)
        if refused:
            wanted = wanted.where(audit.c.decision == "refused")
        return [read_row(row) for row in self._connection.execute(wanted)]

    def machines(self, owner: str | None, since: datetime, *, workload: str | None = None) -> list[Machine]:
        """Return the machines that made an attempt since some time, those of the longest ago first."""
        begin = f"{since:%Y-%m-%dT%H:%M:%SZ}"
        known = and_(audit.c.at >= begin, audit.c.workload.is_not(None), audit.c.machine.is_not(None))
        if owner is not None:
            known = and_(known, audit.c.owner == owner)
        if workload is not None:
            known = and_(known, audit.c.workload == workload)
        grouped = (
            select(
                func.max(audit.c.number).label("number"),
                func.max(audit.c.at).filter(audit.c.decision == "allowed").label("succeeded"),
            )
            .where(known, audit.c.event.in_(GUESTS))
            .group_by(audit.c.workload, audit.c.machine)
            .subquery()
        )
        wanted = (
            select(audit, grouped.c.succeeded)
            .join(grouped, grouped.c.number == audit.c.number)
            .order_by(audit.c.number)
        )
        return [
            Machine(row.workload, row.machine, row.succeeded, read_row(row)) for row in self._connection.execute(wanted)
        ]

    def sessions(self, at: datetime) -> int:
        """Return how many sessions have not expired."""
        wanted = select(func.count()).select_from(sessions).where(sessions.c.expires >= to_stored(at))
        return int(self._connection.execute(wanted).scalar_one())


GUESTS = ("attest", "release")
"""Events that guests cause."""
