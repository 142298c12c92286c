"""What a policy would have done, and what will be refused: recorded evidence, verified anew. Pure."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from haulout.broker.policy.decide import Decision, Facts, decide
from haulout.broker.policy.document import read_time
from haulout.documents import Document
from haulout.errors import InvalidEvidence
from haulout.tee import KINDS, Given, Shortfall, Verdict, stamp, verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from haulout.broker.policy.document import WorkloadPolicy
    from haulout.local import Table

_KINDS: Final = {kind.name: kind for kind in KINDS}
_MOST: Final = (1 << 53) - 1
UNREADABLE: Final = "unreadable"
"""Rule of a decision about evidence that cannot be read."""


@dataclass(frozen=True, slots=True)
class Recorded(Document):
    """An attempt to get a key, as it was recorded, with the evidence.

    Attributes:
        at: when.
        workload: whose key was asked for.
        evidence: what the guest sent.
        certificates: what the evidence was verified with.
        collateral: the same.
        report_data: what the evidence had to carry; None: not recorded.
        v0: whether the guest spoke protocol v0.
        rule: what was decided then: ``allowed``, or the rule that was broken.
        session: the guest's.
        client: address of the client.
        number: of the row in the audit log.
    """

    at: datetime
    workload: str
    evidence: bytes = field(repr=False)
    certificates: tuple[Given, ...] = field(default=(), repr=False)
    collateral: tuple[Given, ...] = field(default=(), repr=False)
    report_data: bytes | None = field(default=None, repr=False)
    v0: bool = False
    rule: str = ""
    session: str | None = None
    client: str | None = None
    number: int = 0

    json_members: ClassVar = ("number", "at=stamp", "workload", "session", "client")

    @property
    def stamp(self) -> str:
        """Return the time as text."""
        return stamp(self.at)

    def to_line(self) -> bytes:
        """Return the JSON line that a broker's owner gets, without its end."""
        files = {"certificates": self.certificates, "collateral": self.collateral}
        values = {
            "number": self.number,
            "at": self.stamp,
            "workload": self.workload,
            "rule": self.rule,
            "session": self.session,
            "client": self.client,
            "v0": self.v0,
            "evidence": _encoded(self.evidence),
            "report_data": None if self.report_data is None else _encoded(self.report_data),
            **{name: [_encoded(one.data) for one in given] for name, given in files.items()},
        }
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def read(cls, table: Table) -> Self:
        """Read what :meth:`to_line` wrote, but for the number.

        Raises:
            Exception: as the table makes it: a member is missing, or of the wrong type.
        """
        at = read_time(table, "at")
        if at is None:
            raise table.wrong("at", "is missing")

        def files(name: str) -> tuple[Given, ...]:
            return tuple(
                Given(f"{name} {place}", _decoded(table, name, one)) for place, one in enumerate(table.lines(name))
            )

        return cls(
            at=at,
            workload=table.line("workload"),
            evidence=_decoded(table, "evidence", table.line("evidence")),
            certificates=files("certificates"),
            collateral=files("collateral"),
            report_data=_decoded(table, "report_data", table.line("report_data", "")) or None,
            v0=table.flag("v0", default=False),
            rule=table.line("rule"),
            session=table.line("session", "") or None,
            client=table.line("client", "") or None,
            number=table.number("number", None, _MOST),
        )


@dataclass(frozen=True, slots=True)
class Rerun(Document):
    """What a policy would have decided about a recorded attempt.

    Attributes:
        recorded: the attempt.
        machine: which machine it was, as far as the evidence tells.
        decision: by the other policy.
    """

    recorded: Recorded
    machine: str
    decision: Decision

    json_members: ClassVar = ("*recorded", "machine", "before=recorded.rule", "*decision", "changed")

    @property
    def changed(self) -> bool:
        """Return whether it was allowed and would be refused, or the other way round."""
        return (self.recorded.rule == "allowed") != self.decision.allowed


def dry_run(policy: WorkloadPolicy, attempts: Iterable[Recorded], *, releases: int = 0) -> Iterator[Rerun]:
    """Decide anew about recorded attempts.

    Args:
        policy: the other policy.
        attempts: in the order of time.
        releases: how often the key was released before the first of them.
    """
    for one in attempts:
        verdict, decision = _judge(policy, one, Facts(one.at, one.at, releases, one.v0), one.collateral)
        releases += decision.allowed
        yield Rerun(one, machine_of(verdict), decision)


@dataclass(frozen=True, slots=True)
class Outlook(Document):
    """What will become of a machine that attests again.

    Attributes:
        recorded: its last attempt.
        machine: its name, as far as the evidence tells.
        today: what the policy says of that attempt, with what was recorded.
        then: what it will say.
        shortfalls: the versions that are too low, where that is the reason.
    """

    recorded: Recorded
    machine: str
    today: Decision
    then: Decision
    shortfalls: tuple[Shortfall, ...]

    json_members: ClassVar = ("*recorded", "machine", "today", "then", "shortfalls", "warns")

    @property
    def warns(self) -> bool:
        """Return whether a machine that gets the key today will be refused."""
        return self.today.allowed and not self.then.allowed


def forecast(
    policy: WorkloadPolicy,
    attempts: Iterable[Recorded],
    at: datetime,
    *,
    future: WorkloadPolicy | None = None,
    collateral: Sequence[Given] = (),
    releases: int = 0,
) -> tuple[Outlook, ...]:
    """Foretell which machines will be refused.

    Args:
        policy: in force.
        attempts: recorded ones, in the order of time; the last of each machine counts.
        at: the time to judge for.
        future: the policy that will be in force; None: the same.
        collateral: newer documents of the vendors, which take the place of recorded ones about the same platform.
        releases: how often the key was released so far.
    """
    latest: dict[tuple[str, str], tuple[Recorded, Verdict | None, Decision]] = {}
    for one in attempts:
        verdict, decision = _judge(policy, one, Facts(one.at, one.at, 0, one.v0), one.collateral)
        name = machine_of(verdict) or one.client or ""
        latest.pop((one.workload, name), None)
        latest[one.workload, name] = one, verdict, decision
    return tuple(
        _outlook(future or policy, one, name, verdict, today, Facts(at, at, releases, one.v0), collateral)
        for (_, name), (one, verdict, today) in latest.items()
    )


def _outlook(
    policy: WorkloadPolicy,
    one: Recorded,
    name: str,
    verdict: Verdict | None,
    today: Decision,
    facts: Facts,
    newer: Sequence[Given],
) -> Outlook:
    claims = None if verdict is None else verdict.claims
    kind = None if verdict is None else _KINDS[verdict.kind]
    mine = tuple(each for each in newer if kind is not None and claims is not None and kind.suits(claims, each))
    chosen = mine[:1] or one.collateral
    _, then = _judge(policy, replace(one, at=facts.now), facts, chosen)
    short: tuple[Shortfall, ...] = ()
    if kind is not None and claims is not None and not then.allowed and kind.name in policy.evidence.sections:
        short = kind.shortfalls(claims, policy.evidence.sections[kind.name], chosen)
    return Outlook(one, name, today, then, short)


def machine_of(verdict: Verdict | None) -> str:
    """Return the name of the machine that made genuine evidence, ``KIND:ID``; "" where it does not tell."""
    if verdict is None or verdict.claims is None:
        return ""
    name = _KINDS[verdict.kind].machine(verdict.claims)
    return name and f"{verdict.kind}:{name}"


def _judge(
    policy: WorkloadPolicy, one: Recorded, facts: Facts, collateral: Sequence[Given]
) -> tuple[Verdict | None, Decision]:
    asked = policy.evidence if one.report_data else replace(policy.evidence, report_data_required=False)
    arguments: dict[str, Any] = {"certificates": one.certificates, "collateral": collateral, "policy": asked}
    try:
        verdict = verify(one.evidence, at=one.at, report_data=one.report_data, **arguments)
    except InvalidEvidence as error:
        return None, Decision(False, UNREADABLE, str(error), error.hint, policy.digest)
    return verdict, decide(policy, verdict, facts)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(table: Table, name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise table.wrong(name, "is not base64") from exc
