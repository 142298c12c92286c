"""What a policy demands of a genuine SEV-SNP report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.tee.allow import require_allowed
from haulout.tee.snp.endorsement import Signer
from haulout.tee.snp.report import PLATFORM_BITS
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from haulout.tee.policy import SnpPolicy
    from haulout.tee.snp.report import Product, SnpReport
    from haulout.tee.snp.verify import SnpClaims

_NO_MIGRATION_AGENT = b"\xff" * 32
"""REPORT_ID_MA of a guest without a migration agent."""


def require(claims: SnpClaims, policy: SnpPolicy) -> None:
    """Refuse a genuine report that a policy does not allow.

    Raises:
        Refused: the first rule that is broken.
    """
    report = claims.report
    _require_origin(claims, policy)
    _require_guest_policy(report, policy)
    if report.vmpl > policy.vmpl:
        raise Refused(Rule.VMPL, f"it was asked for at VMPL {report.vmpl}; at most {policy.vmpl} is allowed")
    _require_tcb(claims, policy)
    _require_platform(report, policy)
    for rule, what, value, allowed in (
        (Rule.MEASUREMENT, "its measurement", report.measurement, policy.measurements),
        (Rule.WORKLOAD, "its HOST_DATA, the workload's binding,", report.host_data, policy.host_data),
        (Rule.GUEST_POLICY, "its family", report.family_id, policy.family_ids),
        (Rule.GUEST_POLICY, "its image", report.image_id, policy.image_ids),
        (Rule.ID_KEY, "the key of its ID block", report.id_key_digest, policy.id_keys),
    ):
        require_allowed(rule, what, value, allowed)
    if policy.author_keys is not None:
        if not report.author_key:
            raise Refused(Rule.AUTHOR_KEY, "no author's key vouches for it")
        require_allowed(Rule.AUTHOR_KEY, "its author's key", report.author_key_digest, policy.author_keys)
    if report.guest_svn < policy.guest_svn:
        raise Refused(
            Rule.GUEST_SVN, f"its guest has version {report.guest_svn}; at least {policy.guest_svn} is wanted"
        )


def open_questions(policy: SnpPolicy, product: Product) -> tuple[str, ...]:
    """Name what a policy leaves open, and a reader might think was judged."""
    candidates = {
        "measurements": policy.measurements,
        "host-data": policy.host_data,
        "chip-ids": policy.chip_ids,
        "tcb": policy.tcb.get(product),
    }
    return tuple(name for name, value in candidates.items() if value is None)


def _require_origin(claims: SnpClaims, policy: SnpPolicy) -> None:
    report, endorsement = claims.report, claims.endorsement
    if claims.product not in policy.products:
        raise Refused(Rule.PRODUCT_NOT_ALLOWED, f"it comes from {claims.product}, which the policy does not list")
    if report.version not in policy.versions:
        raise Refused(
            Rule.VERSION_NOT_ALLOWED, f"it is a report of version {report.version}, which the policy does not list"
        )
    if endorsement.signer not in policy.signers:
        raise Refused(
            Rule.SIGNER_NOT_ALLOWED, f"it was signed by a {endorsement.signer.upper()}, which the policy does not list"
        )
    if endorsement.signer is Signer.VLEK and policy.csp_ids and endorsement.csp_id not in policy.csp_ids:
        raise Refused(
            Rule.SIGNER_NOT_ALLOWED, f"it was signed for {endorsement.csp_id!r}, which the policy does not list"
        )
    if policy.chip_ids is not None:
        if not any(report.chip_id):
            raise Refused(Rule.CHIP_NOT_ALLOWED, "it hides which chip made it, but the policy lists chips")
        padded = frozenset(one.ljust(64, b"\0") for one in policy.chip_ids)
        require_allowed(Rule.CHIP_NOT_ALLOWED, "its chip", report.chip_id, padded)
    if policy.revocation_lists == "required" and not claims.revocation_checked:
        raise Refused(
            Rule.REVOCATION_LIST,
            "the policy wants revocation lists for its whole chain, and not all were given",
            hint="add AMD's list with --collateral",
        )


def _require_guest_policy(report: SnpReport, policy: SnpPolicy) -> None:
    guest = report.policy
    if guest.debug and not policy.debug:
        raise Refused(Rule.DEBUG, "its guest policy allows debugging: the host can read the guest's memory")
    if not guest.must_be_one or guest.reserved:
        raise Refused(Rule.GUEST_POLICY, "its guest policy has reserved bits as no firmware accepts them")
    if not policy.migration:
        if guest.migration_agent:
            raise Refused(Rule.MIGRATION, "its guest policy allows a migration agent to take it elsewhere")
        if report.report_id_ma != _NO_MIGRATION_AGENT:
            raise Refused(Rule.MIGRATION, "it has a migration agent")
    if not policy.smt and (guest.smt or report.platform_info >> PLATFORM_BITS["smt"] & 1):
        raise Refused(Rule.SMT, "hyper-threading is allowed by its guest policy, or on at its platform")
    if policy.single_socket and not guest.single_socket:
        raise Refused(Rule.GUEST_POLICY, "its guest policy does not keep it on a single socket")


def _require_tcb(claims: SnpClaims, policy: SnpPolicy) -> None:
    reported, committed, current = claims.reported_tcb, claims.committed_tcb, claims.current_tcb
    for older, newer, text in (
        (committed, reported, "it reports a newer TCB than is committed"),
        (current, committed, "it runs an older TCB than is committed"),
    ):
        if below := older.below(newer):
            raise Refused(Rule.TCB_ORDER, f"{text} ({', '.join(below)})")
    floor = policy.tcb.get(claims.product)
    if floor is None:
        return
    for name, tcb in (("reported", reported), ("committed", committed), ("launch", claims.launch_tcb)):
        if below := tcb.below(floor):
            parts = ", ".join(f"{part} {tcb.parts()[part]} < {floor.parts()[part]}" for part in below)
            raise Refused(Rule.TCB_FLOOR, f"its {name} TCB is too old: {parts}", hint="update the host's firmware")


def _require_platform(report: SnpReport, policy: SnpPolicy) -> None:
    missing = [name for name in policy.platform_required if name not in report.platform()]
    if missing:
        raise Refused(Rule.PLATFORM_INFO, f"its platform lacks {', '.join(missing)}")
    if policy.mitigations:
        for when, vector in (("launch", report.launch_mitigations), ("now", report.current_mitigations)):
            absent = policy.mitigations & ~(vector or 0)
            if absent:
                raise Refused(
                    Rule.MITIGATION, f"mitigations that the policy wants are not in place at {when}: {absent:#x}"
                )
