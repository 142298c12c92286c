"""The verdict on a piece of evidence: a pure function of bytes, policy and time."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from haulout.tee.inputs import Given, Inputs, Policy
from haulout.tee.kinds import KINDS, Kind, recognise
from haulout.tee.verdict import Claims, Refusal, Refused, Rule, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from haulout.tee.azure import Vtpm


def verify(
    data: bytes,
    *,
    at: datetime,
    certificates: Sequence[Given] = (),
    collateral: Sequence[Given] = (),
    policy: Policy | None = None,
    report_data: bytes | None = None,
    vtpm: Vtpm | None = None,
    kinds: Iterable[Kind[Any, Any, Any]] = KINDS,
) -> Verdict:
    """Verify a piece of evidence.

    Args:
        data: what the TEE signed.
        at: the time for which to verify; it has a time zone. No clock is read.
        certificates: files of certificates (PEM, DER; for CCA also a JSON Web Key), in any order.
        collateral: revocation lists (PEM or DER), and Intel's collateral (JSON).
        policy: what it has to say; None: only genuineness is verified.
        report_data: the 64 bytes that it was asked to carry; None: not known.
        vtpm: the virtual TPM that the evidence has to vouch for, and that carries the report data in its place.
        kinds: the kinds of TEE that are known.

    Raises:
        InvalidEvidence: something given cannot be read: there is no verdict.
        ValueError: the time has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("the time must have a time zone")
    kind = recognise(data, kinds)
    statement = kind.parse(data)
    section = None if policy is None else policy.sections.get(kind.name)
    claims: Claims | None = None
    refusal: Refusal | None = None
    warning: Refusal | None = None
    left: tuple[str, ...] = ()
    try:
        claims = kind.genuine(statement, Inputs(at, certificates, collateral, policy, section))
        carried = statement.report_data if vtpm is None else vtpm.require(statement.report_data)
        _require_occasion(carried, report_data, policy)
        if policy is None:
            warning = objection(kind, claims, kind.strict)
        else:
            left = _require(kind, claims, section)
    except Refused as exc:
        refusal = exc.refusal
    name = None if policy is None else policy.name
    return Verdict(kind.name, kind.title, statement, claims, refusal, name, at, left, warning)


def _require(kind: Kind[Any, Any, Any], claims: Claims | None, section: object) -> tuple[str, ...]:
    if section is None:
        reason = f"the policy does not accept any {kind.title}"
        raise Refused(Rule.TEE, reason, hint=f"it has no table [{kind.name}]")
    return kind.require(claims, section)


def objection(kind: Kind[Any, Any, Any], claims: Claims, section: object) -> Refusal | None:
    """Return what a section of a policy objects to in genuine evidence; None where it accepts it."""
    try:
        kind.require(claims, section)
    except Refused as exc:
        return exc.refusal
    return None


def _require_occasion(found: bytes, expected: bytes | None, policy: Policy | None) -> None:
    """Require the report data that was asked for: what makes evidence new, and the answer to this very question."""
    if expected is None:
        if policy is not None and policy.report_data_required:
            raise Refused(
                Rule.FRESHNESS,
                "the policy requires report data, and none was given",
                hint="give it with --report-data",
            )
    elif not hmac.compare_digest(found, expected):
        raise Refused(Rule.REPORT_DATA, "its report data differs: it was made for another occasion or another key")
