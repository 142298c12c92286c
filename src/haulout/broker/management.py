"""What owners do with their workloads, over HTTP or at the command line. Each change is a row of the audit log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from haulout.broker.audit import Entry
from haulout.broker.policy import follow, parse, read_list
from haulout.broker.stores import Unknown
from haulout.documents import Document
from haulout.errors import UsageError
from haulout.tee import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from haulout.broker.audit import Row
    from haulout.broker.policy import ImageList, WorkloadPolicy
    from haulout.broker.protocol import ResourcePath
    from haulout.broker.stores import Store, StoredPolicy, Unit, Workload

_LONGEST = 128


@dataclass(frozen=True, slots=True)
class PolicyVersion(Document):
    """A version of a policy: its number, the digest of its document, and since when it is there."""

    version: int
    digest: str
    created: str

    @classmethod
    def of(cls, stored: StoredPolicy) -> PolicyVersion:
        """Return the version that was stored."""
        return cls(stored.version, stored.digest, stamp(stored.created))


@dataclass(frozen=True, slots=True)
class WorkloadReport(Document):
    """A workload: whose it is, which policy is in force, how often its keys were released, what it has."""

    id: str
    owner: str
    created: str
    policy: PolicyVersion | None
    releases: int
    resources: tuple[str, ...]

    json_members: ClassVar = ("id", "owner", "created", "policy", "releases", "resources")


@dataclass(frozen=True, slots=True)
class Management:
    """What one owner may do.

    Attributes:
        store: of the broker.
        owner: who; None: the operator, who sees all workloads.
        client: from where, for the audit log.
        now: the clock.
    """

    store: Store
    owner: str | None
    client: str | None = None
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def workloads(self) -> list[WorkloadReport]:
        """Return the workloads."""
        with self.store.read() as unit:
            return [_report(unit, one) for one in unit.workloads.all(self.owner)]

    def workload(self, workload: str) -> WorkloadReport:
        """Return a workload.

        Raises:
            Unknown: there is none, or it is another owner's.
        """
        with self.store.read() as unit:
            return _report(unit, unit.workloads.get(workload, self.owner))

    def add(self, workload: str, owner: str | None = None) -> WorkloadReport:
        """Register a workload without a policy; one that is there and this owner's stays as it is.

        Args:
            workload: its id.
            owner: whose it will be, where the operator registers it.

        Raises:
            UsageError: the id has no or too many characters, or some that cannot be printed.
            Taken: the id is in use.
            Unknown: there is no such owner.
        """
        if not workload.isprintable() or not 0 < len(workload) <= _LONGEST or "/" in workload:
            raise UsageError(f"the id of a workload has 1 to {_LONGEST} characters that can be printed, and no slash")
        whose = self.owner or owner
        if whose is None:
            raise UsageError("a workload has an owner", hint="name one")
        now = self.now()
        with self.store.write() as unit:
            if whose not in unit.owners.names():
                raise Unknown(f"owner {whose}")
            try:
                return _report(unit, unit.workloads.get(workload, whose))
            except Unknown:
                unit.workloads.add(workload, whose, now)
            report = _report(unit, unit.workloads.get(workload))
            unit.audit.append(self._entry("workload", workload, whose, "registered"))
            return report

    def remove(self, workload: str) -> None:
        """Remove a workload with its resources.

        Raises:
            Unknown: there is none, or it is another owner's.
        """
        with self.store.write() as unit:
            found = unit.workloads.get(workload, self.owner, locked=True)
            unit.workloads.remove(workload)
            unit.audit.append(self._entry("workload", workload, found.owner, "removed"))

    def policy(self, workload: str, version: int | None = None) -> StoredPolicy:
        """Return a version of a policy; None: the one in force.

        Raises:
            Unknown: there is none.
        """
        with self.store.read() as unit:
            found = unit.workloads.get(workload, self.owner)
            every = [found.policy] if version is None else unit.workloads.policies(workload)
        for one in every:
            if one is not None and version in {None, one.version}:
                return one
        raise Unknown("policy of this workload" if version is None else f"version {version} of this policy")

    def policies(self, workload: str) -> list[PolicyVersion]:
        """Return the versions of a policy, the oldest first.

        Raises:
            Unknown: there is no such workload.
        """
        with self.store.read() as unit:
            unit.workloads.get(workload, self.owner)
            return [PolicyVersion.of(one) for one in unit.workloads.policies(workload)]

    def set_policy(self, workload: str, document: bytes) -> WorkloadReport:
        """Put a policy into force. A list that is followed stays, if the new policy's keys signed it.

        Raises:
            Unknown: there is no such workload.
            InvalidPolicy: it is not a policy.
        """
        policy = parse(document, "the policy")
        now = self.now()
        with self.store.write() as unit:
            found = unit.workloads.get(workload, self.owner, locked=True)
            if found.list is not None and policy.follows:
                # Raises where the list is not signed by the keys that the new policy pins.
                _following(policy, workload, found.list, None)
            version = unit.workloads.set_policy(
                workload, document, policy.digest, now, test_roots=frozenset(policy.evidence.roots)
            )
            words = f"version {version} is in force"
            unit.audit.append(self._entry("policy", workload, found.owner, words, policy=policy.digest))
            return _report(unit, unit.workloads.get(workload))

    def follow(self, workload: str, envelope: bytes) -> ImageList:
        """Follow a signed list of images that is newer than the one before.

        Raises:
            Unknown: there is no such workload, or it has no policy.
            RefusedList: no key of the policy signed it, it is older, or another workload's.
            UsageError: the policy follows no list.
        """
        with self.store.write() as unit:
            found = unit.workloads.get(workload, self.owner, locked=True)
            if found.policy is None:
                raise Unknown("policy of this workload")
            policy = parse(found.policy.document)
            if not policy.follows:
                raise UsageError("the policy of this workload follows no list", hint="add [follow] with keys to it")
            before = None if found.list is None else read_list(found.list, policy.keys)
            listed = _following(policy, workload, envelope, before)
            unit.workloads.set_list(workload, envelope)
            words = f"list {listed.number} of images is followed"
            unit.audit.append(self._entry("list", workload, found.owner, words, policy=policy.digest))
            return listed

    def put(self, workload: str, path: ResourcePath, content: bytes) -> bool:
        """Keep a resource; return whether it is new.

        Raises:
            Unknown: there is no such workload.
            Taken: another workload has a resource of this name.
        """
        with self.store.write() as unit:
            found = unit.workloads.get(workload, self.owner, locked=True)
            new = unit.resources.put(path, workload, content, self.now())
            words = "kept" if new else "replaced"
            unit.audit.append(self._entry("resource", workload, found.owner, words, resource=str(path)))
            return new

    def put_all(self, workload: str, contents: Mapping[ResourcePath, bytes]) -> None:
        """Keep resources: all of them, or none; as :meth:`put`."""
        with self.store.write() as unit:
            found = unit.workloads.get(workload, self.owner, locked=True)
            for path, content in contents.items():
                unit.resources.put(path, workload, content, self.now())
            for path in contents:
                unit.audit.append(self._entry("resource", workload, found.owner, "imported", resource=str(path)))

    def take_out(self, workload: str) -> dict[ResourcePath, bytes]:
        """Return a workload's resources in clear; each is a row of the audit log.

        Raises:
            Unknown: there is no such workload.
            SealError: the key-encryption key is not at hand.
        """
        with self.store.write() as unit:
            found = unit.workloads.get(workload, self.owner, locked=True)
            contents = {one.path: unit.resources.open(one) for one in unit.resources.of(workload)}
            for path in contents:
                unit.audit.append(self._entry("resource", workload, found.owner, "exported", resource=str(path)))
            return contents

    def remove_resource(self, workload: str, path: ResourcePath) -> None:
        """Remove a resource.

        Raises:
            Unknown: there is none.
        """
        with self.store.write() as unit:
            found = unit.workloads.get(workload, self.owner, locked=True)
            resource = unit.resources.find(path)
            if resource is None or resource.workload != workload:
                raise Unknown("resource of this workload")
            unit.resources.remove(path)
            unit.audit.append(self._entry("resource", workload, found.owner, "removed", resource=str(path)))

    def rows(self, after: int = 0, since: str | None = None, limit: int | None = None) -> list[Row]:
        """Return rows of the audit log about this owner's workloads, after a number."""
        with self.store.read() as unit:
            return list(unit.audit.rows(since=since, owner=self.owner, after=after, limit=limit))

    def _entry(
        self,
        event: str,
        workload: str,
        owner: str,
        words: str,
        *,
        policy: str | None = None,
        resource: str | None = None,
    ) -> Entry:
        return Entry(
            at=stamp(self.now()),
            event=event,
            decision="allowed",
            rule="operator" if self.owner is None else "owner",
            words=words,
            workload=workload,
            owner=owner,
            client=self.client,
            policy=policy,
            resource=resource,
        )


def _following(policy: WorkloadPolicy, workload: str, envelope: bytes, before: ImageList | None) -> ImageList:
    listed = read_list(envelope, policy.keys)
    follow(policy, workload, listed, before)
    return listed


def _report(unit: Unit, found: Workload) -> WorkloadReport:
    return WorkloadReport(
        found.id,
        found.owner,
        stamp(found.created),
        None if found.policy is None else PolicyVersion.of(found.policy),
        found.releases,
        tuple(str(one.path) for one in unit.resources.of(found.id)),
    )
