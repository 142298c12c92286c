"""The verdict on a piece of evidence: a pure function of bytes, policy and time."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from haulout.errors import InvalidEvidence
from haulout.tee import certificates as x509
from haulout.tee.cca import keys as cca_keys
from haulout.tee.cca import rules as cca_rules
from haulout.tee.cca import token as cca_token
from haulout.tee.cca import verify as cca
from haulout.tee.policy import CcaPolicy, Need, Policy, SnpPolicy, TdxPolicy
from haulout.tee.recognise import recognise
from haulout.tee.revocation import read_revocation_list
from haulout.tee.snp import report as snp_report
from haulout.tee.snp import rules as snp_rules
from haulout.tee.snp import verify as snp
from haulout.tee.tdx import collateral as intel
from haulout.tee.tdx import quote as tdx_quote
from haulout.tee.tdx import rules as tdx_rules
from haulout.tee.tdx import verify as tdx
from haulout.tee.verdict import Kind, Refusal, Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

Statement: TypeAlias = snp_report.SnpReport | tdx_quote.TdxQuote | cca_token.CcaToken
Claims: TypeAlias = snp.SnpClaims | tdx.TdxClaims | cca.CcaClaims

_PARSERS: Final[dict[Kind, Callable[[bytes], Statement]]] = {
    Kind.SNP: snp_report.parse,
    Kind.TDX: tdx_quote.parse,
    Kind.CCA: cca_token.parse,
}


@dataclass(frozen=True, slots=True)
class Given:
    """A file that came with the evidence: its name, for errors, and its content."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer.

    Attributes:
        kind: whose evidence it is.
        statement: what the evidence says of itself, true or not.
        claims: the same, once it is known to be genuine; None where it is not.
        refusal: why it is not accepted; None where it is.
        policy: the policy's name; None where genuineness alone was judged.
        at: the time for which it was judged.
        open: what the policy left open.
        beware: where there is no policy, what the strictest one would object to first.
    """

    kind: Kind
    statement: Statement
    claims: Claims | None
    refusal: Refusal | None
    policy: str | None
    at: datetime
    open: tuple[str, ...] = ()
    beware: Refusal | None = None

    @property
    def accepted(self) -> bool:
        """Return whether it may be relied on."""
        return self.refusal is None


def verify(
    data: bytes,
    *,
    at: datetime,
    certificates: Sequence[Given] = (),
    collateral: Sequence[Given] = (),
    policy: Policy | None = None,
    report_data: bytes | None = None,
) -> Verdict:
    """Judge a piece of evidence.

    Args:
        data: what the TEE signed.
        at: the time for which to judge; it has a time zone. No clock is read.
        certificates: files of certificates (PEM, DER; for CCA also a JSON Web Key), in any order.
        collateral: revocation lists (PEM or DER), and Intel's collateral (JSON).
        policy: what it has to say; None: genuineness alone is judged.
        report_data: the 64 bytes that it was asked to carry; None: not known.

    Raises:
        InvalidEvidence: something given cannot be read: there is no verdict.
        ValueError: the time has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("a time without a time zone can mean any of 24 hours")
    kind = recognise(data)
    statement = _PARSERS[kind](data)
    claims: Claims | None = None
    refusal: Refusal | None = None
    beware: Refusal | None = None
    left: tuple[str, ...] = ()
    try:
        claims = _genuine(statement, certificates, collateral, policy, at)
        _require_occasion(statement.report_data, report_data, policy)
        if policy is not None:
            left = _require(claims, policy)
        else:
            beware = _objection(claims)
    except Refused as exc:
        refusal = exc.refusal
    return Verdict(kind, statement, claims, refusal, None if policy is None else policy.name, at, left, beware)


def _genuine(
    statement: Statement,
    certificates: Sequence[Given],
    collateral: Sequence[Given],
    policy: Policy | None,
    at: datetime,
) -> Claims:
    trusted = frozenset[str]() if policy is None else policy.roots
    test = policy is not None and policy.test
    match statement:
        case snp_report.SnpReport():
            given = [one for file in certificates for one in x509.read_bundle(file.data, file.name)]
            lists = [read_revocation_list(file.data, file.name) for file in collateral]
            return snp.genuine(statement, given, lists, at, trusted=trusted, test=test)
        case tdx_quote.TdxQuote():
            # A quote brings its chain along: certificates given besides have nothing to add.
            return tdx.genuine(statement, _of_intel(collateral), at, trusted=trusted, test=test)
        case cca_token.CcaToken():
            if collateral:
                raise InvalidEvidence(collateral[0].name, "there is no collateral for Arm CCA")
            pinned = None if policy is None else (policy.cca and policy.cca.platform_keys) or frozenset[bytes]()
            if policy is not None and policy.cca is not None:
                trusted |= policy.cca.roots
            bare = [cca_keys.read(file.data, file.name) for file in certificates if cca_keys.is_key(file.data)]
            given = [
                one
                for file in certificates
                if not cca_keys.is_key(file.data)
                for one in x509.read_bundle(file.data, file.name)
            ]
            return cca.genuine(statement, bare, given, at, pinned=pinned, trusted=trusted, test=test)


def _of_intel(collateral: Sequence[Given]) -> intel.Collateral | None:
    if len(collateral) > 1:
        raise InvalidEvidence(collateral[1].name, "one file holds all collateral of a TDX quote, and one was given")
    if not collateral:
        return None
    return intel.parse(collateral[0].data, collateral[0].name)


def _require(claims: Claims, policy: Policy) -> tuple[str, ...]:
    match claims:
        case snp.SnpClaims() if policy.snp is not None:
            snp_rules.require(claims, policy.snp)
            return snp_rules.open_questions(policy.snp, claims.product)
        case tdx.TdxClaims() if policy.tdx is not None:
            tdx_rules.require(claims, policy.tdx)
            return tdx_rules.open_questions(policy.tdx)
        case cca.CcaClaims() if policy.cca is not None:
            cca_rules.require(claims, policy.cca)
            return cca_rules.open_questions(policy.cca)
    raise Refused(Rule.TEE, "the policy does not accept such evidence at all", hint=f"it has no table [{claims.kind}]")


def _objection(claims: Claims) -> Refusal | None:
    """Say what a policy that leaves the strict defaults as they are would object to."""
    strict = Policy(
        "strict",
        snp=SnpPolicy(products=tuple(snp_report.Product), versions=snp_report.VERSIONS),
        tdx=TdxPolicy(collateral=Need.OPTIONAL),
        cca=CcaPolicy(),
    )
    try:
        _require(claims, strict)
    except Refused as exc:
        return exc.refusal
    return None


def _require_occasion(found: bytes, expected: bytes | None, policy: Policy | None) -> None:
    """Require the report data that was asked for: what makes evidence new, and the answer to this very question."""
    if expected is None:
        if policy is not None and policy.report_data_required:
            raise Refused(
                Rule.FRESHNESS,
                "the policy wants evidence for one occasion, and no report data to expect was given",
                hint="give it with --report-data",
            )
        return
    if not hmac.compare_digest(found, expected):
        raise Refused(Rule.REPORT_DATA, "it was made for another occasion, or another key: its report data differs")
