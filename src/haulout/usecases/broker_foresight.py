"""What a policy would have decided, and who will be refused: recorded attempts, verified anew on this machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.broker.operations import Cache, Services, fetch
from haulout.broker.policy import Outlook, Recorded, Rerun, dry_run, forecast, parse
from haulout.documents import Document
from haulout.errors import HauloutError
from haulout.http import Client
from haulout.local import read_small, scratch_folder, temporary_place
from haulout.registry import ConnectionOptions
from haulout.tee import Given, publications, stamp
from haulout.usecases.broker_access import OwnersApi
from haulout.usecases.broker_workload import BrokerWorkload, get_policy, read_policy

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from haulout.broker.policy import WorkloadPolicy
    from haulout.usecases.broker_access import BrokerAccess

_LARGEST: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class PolicyCheck(Document):
    """What a policy would have decided.

    Attributes:
        workload: whose key was asked for.
        policy: the policy's name.
        since: attempts before were left out.
        attempts: all attempts, in the order of time.
    """

    workload: str
    policy: str
    since: str
    attempts: tuple[Rerun, ...]

    json_members: ClassVar = ("workload", "policy", "since", "attempts", "refused", "allowed")

    @property
    def refused(self) -> int:
        """Return how many attempts were allowed, and would be refused."""
        return sum(one.changed and not one.decision.allowed for one in self.attempts)

    @property
    def allowed(self) -> int:
        """Return how many attempts were refused, and would be allowed."""
        return sum(one.changed and one.decision.allowed for one in self.attempts)


@dataclass(frozen=True, slots=True)
class Forecast(Document):
    """Who will be refused.

    Attributes:
        at: the time that was judged for.
        since: machines that did not attest since then were left out.
        outlooks: of each machine.
        notes: what could not be judged, and why.
    """

    at: str
    since: str
    outlooks: tuple[Outlook, ...]
    notes: tuple[str, ...] = ()

    json_members: ClassVar = ("at", "since", "machines=outlooks", "warnings", "notes")

    @property
    def warnings(self) -> int:
        """Return how many machines get their key today, and will be refused."""
        return sum(one.warns for one in self.outlooks)


def broker_policy_check(
    access: BrokerAccess,
    workload: str,
    policy: str | os.PathLike[str],
    since: datetime,
    *,
    connections: ConnectionOptions | None = None,
) -> PolicyCheck:
    """Try a policy on what guests sent: nothing is changed at the broker.

    Args:
        access: which broker.
        workload: whose key they asked for.
        policy: file of the policy to try.
        since: leave out attempts before.
        connections: how the broker is reached.

    Raises:
        InvalidPolicy: the file is not a policy.
        NotFoundError: there is no such workload.
    """
    tried = parse(read_policy(policy), str(policy))
    with OwnersApi(access, connections) as api:
        info = BrokerWorkload.read(api.document(f"workload {workload}", "workloads", workload))
        attempts = tuple(_attempts(api, workload, since))
    before = info.releases - sum(one.rule == "allowed" for one in attempts)
    return PolicyCheck(workload, tried.name, stamp(since), tuple(dry_run(tried, attempts, releases=max(0, before))))


def broker_forecast(
    access: BrokerAccess,
    since: datetime,
    at: datetime,
    *,
    workloads: Iterable[str] = (),
    policy: str | os.PathLike[str] | None = None,
    collateral: Iterable[Given | Path] = (),
    early: str | None = None,
    connections: ConnectionOptions | None = None,
) -> Forecast:
    """Foretell which machines will be refused.

    Args:
        access: which broker.
        since: leave out machines that did not attest since then.
        at: the time to judge for.
        workloads: whose machines; none: all of the owner's.
        policy: file of a policy that will be set, such as one with a higher floor; None: each workload's own.
        collateral: newer documents of the vendors, by content or path.
        early: URL of Intel's service (or a PCCS) to fetch from what will be in force after its next TCB recovery.
        connections: how the broker is reached.

    Raises:
        InvalidPolicy: the file is not a policy.
        NotFoundError: there is no such workload.
    """
    newer = [one if isinstance(one, Given) else Given(str(one), read_small(one, _LARGEST)) for one in collateral]
    other = None if policy is None else parse(read_policy(policy), str(policy))
    found: list[Outlook] = []
    notes: list[str] = []
    with OwnersApi(access, connections) as api:
        every = [BrokerWorkload.read(one) for one in api.listed("listing workloads", "workloads")]
        named = {one.id: one for one in every}
        for name in tuple(workloads) or tuple(one.id for one in every if one.policy is not None):
            info = named.get(name) or BrokerWorkload.read(api.document(f"workload {name}", "workloads", name))
            asked = get_policy(api, name).policy
            attempts = tuple(_attempts(api, name, since))
            fetched = _fetch_early(attempts, asked, early, connections, notes) if early else ()
            given = [*newer, *fetched]
            found += forecast(asked, attempts, at, future=other, collateral=given, releases=info.releases)
    return Forecast(stamp(at), stamp(since), tuple(found), tuple(dict.fromkeys(notes)))


def _fetch_early(
    attempts: Iterable[Recorded],
    policy: WorkloadPolicy,
    service: str,
    connections: ConnectionOptions | None,
    notes: list[str],
) -> list[Given]:
    """Fetch what Intel announces about the platforms that attested; what cannot be had is noted."""
    services = Services(pcs=service)
    found: dict[str, Given] = {}
    with (
        scratch_folder(Path(temporary_place()), "haulout-early-") as folder,
        Client(connections or ConnectionOptions()) as client,
    ):
        cache = Cache(folder, trusted=lambda: policy.evidence.roots)
        for one in attempts:
            try:
                needs = publications(one.evidence, early=True)
                if needs.kind != "tdx":
                    continue
                for publication in needs.collateral:
                    if cache.get(publication) is None:
                        fetch(publication, cache, client, services)
            except HauloutError as error:
                notes.append(str(error))
                continue
            _, collateral = needs.given(cache.find(needs).content)
            found |= {hashlib.sha256(each.data).hexdigest(): each for each in collateral}
    return list(found.values())


def _attempts(api: OwnersApi, workload: str, since: datetime) -> Iterator[Recorded]:
    after = 0
    while True:
        number = after
        for table in api.lines(
            f"attempts of {workload}", "workloads", workload, "attempts", since=stamp(since), after=after
        ):
            one = Recorded.read(table)
            number = one.number
            yield one
        if number == after:
            return
        after = number
