"""Workloads, the versions of their policies, and how often their keys were released."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from haulout.broker.stores.errors import Taken, Unknown
from haulout.broker.stores.tables import policies, workloads
from haulout.broker.stores.times import from_stored, to_stored

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A version of a policy: its number, counted from 1, its document, and since when it is there."""

    version: int
    digest: str
    created: datetime
    document: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload.

    Attributes:
        owner: whose it is.
        releases: how often its keys were released.
        policy: the version in force; None: none was set yet, and no key is released.
        list: the signed list of images that it follows; None: none was taken yet.
    """

    id: str
    owner: str
    created: datetime
    releases: int
    policy: StoredPolicy | None
    list: bytes | None = field(default=None, repr=False)


_FROM = workloads.outerjoin(
    policies, (policies.c.workload == workloads.c.id) & (policies.c.version == workloads.c.policy)
)
_WANTED = select(
    workloads.c.id,
    workloads.c.owner,
    workloads.c.created,
    workloads.c.releases,
    workloads.c.list,
    policies.c.version,
    policies.c.digest,
    policies.c.document,
    policies.c.created.label("since"),
).select_from(_FROM)


class Workloads:
    """The tables of workloads and policies, in one transaction.

    Where a method takes an ``owner``, the workloads of others are as if they were not there; None sees all.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, workload: str, owner: str, at: datetime) -> None:
        """Add a workload without a policy.

        Raises:
            Taken: the id is in use, be it by another owner.
        """
        values = {
            "id": workload,
            "owner": owner,
            "created": to_stored(at),
            "policy": 0,
            "releases": 0,
            "test_roots": "",
        }
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(workloads).values(**values))
        except IntegrityError as exc:
            raise Taken("workload") from exc

    def get(self, workload: str, owner: str | None = None, *, locked: bool = False) -> Workload:
        """Return a workload; with ``locked`` nobody else changes it until the end of the transaction.

        Raises:
            Unknown: there is none, or it is another owner's.
        """
        wanted = _WANTED.where(workloads.c.id == workload)
        if owner is not None:
            wanted = wanted.where(workloads.c.owner == owner)
        if locked:
            # Without effect in SQLite, where whoever writes is alone.
            wanted = wanted.with_for_update(of=workloads)
        row = self._connection.execute(wanted).one_or_none()
        if row is None:
            raise Unknown("workload of this name")
        return _workload(row)

    def all(self, owner: str | None = None) -> list[Workload]:
        """Return an owner's workloads, by id."""
        wanted = _WANTED.order_by(workloads.c.id)
        if owner is not None:
            wanted = wanted.where(workloads.c.owner == owner)
        return [_workload(row) for row in self._connection.execute(wanted)]

    def remove(self, workload: str, owner: str | None = None) -> None:
        """Remove a workload with its policies and resources; its rows in the audit log stay.

        Raises:
            Unknown: as of :meth:`get`.
        """
        self.get(workload, owner)
        self._connection.execute(delete(workloads).where(workloads.c.id == workload))

    def set_policy(
        self, workload: str, document: bytes, digest: str, at: datetime, *, test_roots: frozenset[str] = frozenset()
    ) -> int:
        """Put a new version of a policy into force, and return its number.

        Args:
            workload: whose policy it is; :meth:`get` locked it.
            document: the policy, which was parsed before.
            digest: SHA-256 of it.
            at: the time.
            test_roots: fingerprints of the roots that it adds.
        """
        wanted = select(func.coalesce(func.max(policies.c.version), 0)).where(policies.c.workload == workload)
        version = int(self._connection.execute(wanted).scalar_one()) + 1
        values = {"workload": workload, "version": version, "digest": digest, "document": document}
        self._connection.execute(insert(policies).values(**values, created=to_stored(at)))
        changes = {"policy": version, "test_roots": " ".join(sorted(test_roots))}
        self._connection.execute(update(workloads).where(workloads.c.id == workload).values(**changes))
        return version

    def policies(self, workload: str) -> list[StoredPolicy]:
        """Return all versions of a workload's policy, the oldest first."""
        wanted = (
            select(policies.c.version, policies.c.digest, policies.c.created, policies.c.document)
            .where(policies.c.workload == workload)
            .order_by(policies.c.version)
        )
        return [
            StoredPolicy(row.version, row.digest, from_stored(row.created), row.document)
            for row in self._connection.execute(wanted)
        ]

    def set_list(self, workload: str, envelope: bytes) -> None:
        """Keep the signed list that a workload follows; it was verified, and is newer than the one before."""
        self._connection.execute(update(workloads).where(workloads.c.id == workload).values(list=envelope))

    def count_release(self, workload: str) -> None:
        """Count a release; :meth:`get` locked the workload."""
        changes = {"releases": workloads.c.releases + 1}
        self._connection.execute(update(workloads).where(workloads.c.id == workload).values(**changes))

    def test_roots(self) -> frozenset[str]:
        """Return the roots that policies add, which are policies for tests."""
        wanted = select(workloads.c.test_roots).where(workloads.c.test_roots != "").distinct()
        return frozenset(root for row in self._connection.execute(wanted).scalars() for root in row.split())


def _workload(row: Any) -> Workload:
    policy = None
    if row.version is not None:
        policy = StoredPolicy(row.version, row.digest, from_stored(row.since), row.document)
    return Workload(row.id, row.owner, from_stored(row.created), row.releases, policy, row.list)
