"""Workloads of an owner at a broker: register, list, show, remove, and their policies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Self

from haulout.broker.policy import WorkloadPolicy, parse
from haulout.broker.protocol import InvalidMessage, ResourcePath
from haulout.documents import Document
from haulout.errors import InvalidPolicy, UsageError
from haulout.local import read_small
from haulout.usecases.broker_access import OwnersApi, read_object

if TYPE_CHECKING:
    import os

    from haulout.local import Table
    from haulout.registry import ConnectionOptions
    from haulout.usecases.broker_access import BrokerAccess

_LARGEST: Final = 1 << 20
_MOST: Final = (1 << 53) - 1
_TOML: Final = "application/toml"
_OCTETS: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class PolicyVersion(Document):
    """A version of a policy: its number, the digest of its document, and since when it is there."""

    version: int
    digest: str
    created: str

    @classmethod
    def read(cls, table: Table) -> Self:
        """Read what a broker sent."""
        return cls(table.number("version", None, _MOST), table.text("digest"), table.text("created"))


@dataclass(frozen=True, slots=True)
class BrokerWorkload(Document):
    """A workload.

    Attributes:
        id: its name at the broker.
        owner: whose it is.
        created: when it was registered.
        policy: the version in force; None: there is none, and no key is released.
        releases: how often its keys were released.
        resources: names of what is released: repository/type/tag.
    """

    id: str
    owner: str
    created: str
    policy: PolicyVersion | None
    releases: int
    resources: tuple[str, ...]

    json_members: ClassVar = ("id", "owner", "created", "policy", "releases", "resources")

    @classmethod
    def read(cls, table: Table) -> Self:
        """Read what a broker sent."""
        return cls(
            id=table.line("id"),
            owner=table.line("owner"),
            created=table.text("created"),
            policy=PolicyVersion.read(table.table("policy")) if table.take("policy") is not None else None,
            releases=table.number("releases", None, _MOST),
            resources=table.lines("resources"),
        )


@dataclass(frozen=True, slots=True)
class PolicyDocument(Document):
    """A policy in force: its document, and what it says."""

    workload: str
    policy: WorkloadPolicy
    document: bytes = field(repr=False)

    json_members: ClassVar = ("workload", "*policy", "document=text")

    @property
    def text(self) -> str:
        """Return the document as text."""
        return self.document.decode("utf-8", "replace")


def broker_workload_list(
    access: BrokerAccess, *, connections: ConnectionOptions | None = None
) -> tuple[BrokerWorkload, ...]:
    """Return an owner's workloads, by name.

    Raises:
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    with OwnersApi(access, connections) as api:
        return tuple(map(BrokerWorkload.read, api.listed("listing workloads", "workloads")))


def broker_workload_show(
    access: BrokerAccess, workload: str, *, connections: ConnectionOptions | None = None
) -> BrokerWorkload:
    """Return a workload.

    Raises:
        NotFoundError: there is none, or it is another owner's.
    """
    with OwnersApi(access, connections) as api:
        return BrokerWorkload.read(api.document(f"workload {workload}", "workloads", workload))


def broker_workload_add(
    access: BrokerAccess,
    workload: str,
    *,
    policy: str | os.PathLike[str] | None = None,
    passphrase: bytes | None = None,
    resource: str | None = None,
    connections: ConnectionOptions | None = None,
) -> BrokerWorkload:
    """Register a workload, or give one that is there another policy or passphrase.

    Args:
        access: which broker.
        workload: its name, which evidence of protocol v0 has to name.
        policy: file of its policy; None: it stays as it is, and without one no key is released.
        passphrase: what is released to guests; None: it stays as it is.
        resource: the name by which guests ask for it, REPOSITORY/TYPE/TAG; None: default/key/WORKLOAD, which
            ``haulout cw run`` asks for.
        connections: how the broker is reached.

    Raises:
        ConflictError: the name of the workload or of the resource is in use.
        UsageError: the resource's name is not one.
        InvalidPolicy: the file is not a policy; nothing was registered.
    """
    document = None if policy is None else read_policy(policy)
    what = f"registering {workload}"
    path = () if passphrase is None else _resource(resource or f"default/key/{workload}")
    with OwnersApi(access, connections) as api:
        answer = api.put(what, "workloads", workload, attempts=5)
        if document is not None:
            answer = api.put(what, "workloads", workload, "policy", body=document, kind=_TOML)
        if passphrase is not None:
            api.put(what, "workloads", workload, "resources", *path, body=passphrase, kind=_OCTETS)
            answer = api.get(what, "workloads", workload)
    return BrokerWorkload.read(read_object(answer, what))


def broker_workload_rm(access: BrokerAccess, workload: str, *, connections: ConnectionOptions | None = None) -> None:
    """Remove a workload with its keys and policies; its rows in the audit log stay.

    Raises:
        NotFoundError: there is none, or it is another owner's.
    """
    with OwnersApi(access, connections) as api:
        api.delete(f"removing {workload}", "workloads", workload)


def broker_policy_set(
    access: BrokerAccess,
    workload: str,
    policy: str | os.PathLike[str],
    *,
    connections: ConnectionOptions | None = None,
) -> BrokerWorkload:
    """Put a policy into force.

    Raises:
        InvalidPolicy: the file is not a policy; the one in force stays.
        NotFoundError: there is no such workload.
    """
    document, what = read_policy(policy), f"setting the policy of {workload}"
    with OwnersApi(access, connections) as api:
        answer = api.put(what, "workloads", workload, "policy", body=document, kind=_TOML)
    return BrokerWorkload.read(read_object(answer, what))


def broker_policy_show(
    access: BrokerAccess,
    workload: str,
    *,
    version: int | None = None,
    connections: ConnectionOptions | None = None,
) -> PolicyDocument:
    """Return a policy: the one in force, or an earlier version.

    Raises:
        NotFoundError: there is none.
    """
    with OwnersApi(access, connections) as api:
        return get_policy(api, workload, version)


def broker_policy_history(
    access: BrokerAccess, workload: str, *, connections: ConnectionOptions | None = None
) -> tuple[PolicyVersion, ...]:
    """Return the versions of a policy, the oldest first.

    Raises:
        NotFoundError: there is no such workload.
    """
    with OwnersApi(access, connections) as api:
        return tuple(map(PolicyVersion.read, api.listed(f"policies of {workload}", "workloads", workload, "policies")))


def get_policy(api: OwnersApi, workload: str, version: int | None = None) -> PolicyDocument:
    """Get a policy and parse it."""
    what = f"policy of {workload}"
    document = api.get(what, "workloads", workload, "policy", version=version)
    return PolicyDocument(workload, parse(document, what), document)


def read_policy(file: str | os.PathLike[str]) -> bytes:
    """Read a file that has to be a policy.

    Raises:
        InvalidPolicy: it is none.
        NotFoundError, StorageError: it cannot be read.
    """
    path = Path(file)
    document = read_small(path, _LARGEST, too_large=lambda reason: InvalidPolicy(str(path), "", reason))
    parse(document, str(path))
    return document


def _resource(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ResourcePath.parse(text)).split("/"))
    except InvalidMessage as exc:
        raise UsageError(
            f"not the name of a resource: {text[:100]!r}", hint="REPOSITORY/TYPE/TAG, with --resource"
        ) from exc
