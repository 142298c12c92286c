"""Policies and verdicts: what a workload's policy says of a guest's evidence, with all that is at hand to verify it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from haulout.broker.policy import follow, parse, read_list
from haulout.broker.protocol import InvalidMessage, Rejected, Trouble
from haulout.broker.stores import Proof
from haulout.errors import InvalidEvidence
from haulout.tee import Given, Policy, Rule, Verdict, verify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from haulout.broker.policy import WorkloadPolicy
    from haulout.broker.protocol import Attestation
    from haulout.broker.sessions import Session
    from haulout.broker.stores import Workload

NOTHING: Final = Policy("the policy that accepts nothing", report_data_required=True)
"""Judges for workloads that are not there, so that the answer takes as long as for those that are."""


class Supplied(Protocol):
    """What is at hand for some evidence."""

    @property
    def certificates(self) -> Sequence[Given]:
        """Return certificates of the vendor."""

    @property
    def collateral(self) -> Sequence[Given]:
        """Return collateral and revocation lists."""


class Supply(Protocol):
    """Where certificates and collateral of vendors come from: a port, for the cache of ``operations``."""

    def for_evidence(self, evidence: bytes) -> Supplied:
        """Return what is at hand for some evidence, which need not be genuine; raises InvalidEvidence."""


@lru_cache(maxsize=1024)
def _parsed(document: bytes, workload: str, envelope: bytes | None) -> WorkloadPolicy:
    policy = parse(document)
    if policy.follows and envelope is not None:
        return follow(policy, workload, read_list(envelope, policy.keys), None)
    return policy


def policy_of(workload: Workload | None) -> WorkloadPolicy | None:
    """Return the policy in force of a workload, with the list that it follows; None: there is none.

    Raises:
        HauloutError: what is stored cannot be read, which was checked before it was stored.
    """
    if workload is None or workload.policy is None:
        return None
    return _parsed(workload.policy.document, workload.id, workload.list)


def proof_of(attestation: Attestation, session: Session, supply: Supply) -> Proof:
    """Return the evidence of an answer, and what it is verified with.

    Raises:
        Rejected: it is not in the form that its TEE has, or there is more than can be verified.
    """
    if attestation.additional not in {"", "{}"}:
        raise Rejected(Trouble.ATTEST_FAILED, "additional evidence cannot be verified by this broker")
    try:
        evidence = attestation.parse_evidence(session.tee)
        supplied = supply.for_evidence(evidence.data)
    except (InvalidMessage, InvalidEvidence) as exc:
        raise Rejected(Trouble.ATTEST_FAILED, str(exc)) from exc
    sent = tuple(Given(f"certificate {number} of the guest", one) for number, one in enumerate(evidence.certificates))
    return Proof(
        evidence.data,
        attestation.report_data(session.hash),
        (*sent, *supplied.certificates),
        tuple(supplied.collateral),
        session.v0,
    )


def judge(proof: Proof, tee: str, at: datetime, policy: Policy) -> Verdict | None:
    """Return the verdict on evidence; None: it cannot be read, or is of another TEE than was said.

    Args:
        proof: the evidence.
        tee: what the guest said it is.
        at: the time.
        policy: what the evidence has to say.
    """
    try:
        verdict = verify(
            proof.data,
            at=at,
            certificates=proof.certificates,
            collateral=proof.collateral,
            policy=policy,
            report_data=proof.report_data,
        )
    except InvalidEvidence:
        return None
    return verdict if verdict.kind == tee else None


def genuine_by(test_roots: frozenset[str]) -> Policy:
    """Return a policy that accepts no TEE, so that only genuineness and report data are judged.

    Args:
        test_roots: roots of emulators that some workload's policy trusts. What they sign gives keys of such workloads
            only, and tokens say so.
    """
    return replace(NOTHING, test=bool(test_roots), roots=test_roots)


def is_genuine(verdict: Verdict | None) -> bool:
    """Say whether evidence is genuine and carries the report data, whatever a policy demands besides."""
    return (
        verdict is not None
        and verdict.claims is not None
        and (verdict.refusal is None or verdict.refusal.rule not in {Rule.REPORT_DATA, Rule.FRESHNESS})
    )
