"""What a policy demands of a genuine TDX quote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haulout.tee.allow import require_allowed
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from haulout.tee.policy import TdxPolicy
    from haulout.tee.tdx.verify import TdxClaims

ATTRIBUTE_BITS: Final = {
    "debug": 0,
    "lass": 27,
    "sept-ve-disable": 28,
    "migratable": 29,
    "pks": 30,
    "key-locker": 31,
    "perfmon": 63,
}
"""Names of the bits of TDATTRIBUTES (Intel, TDX Module ABI Specification)."""
_KNOWN_BITS: Final = sum(1 << bit for bit in ATTRIBUTE_BITS.values())
_XFAM_ALWAYS: Final = 0b11
"""x87 and SSE state, which every guest has."""


def attributes(bits: int) -> tuple[str, ...]:
    """Name the attributes of a trust domain that are set."""
    return tuple(name for name, bit in ATTRIBUTE_BITS.items() if bits >> bit & 1)


def require(claims: TdxClaims, policy: TdxPolicy) -> None:
    """Refuse a genuine quote that a policy does not allow.

    Raises:
        Refused: the first rule that is broken.
    """
    body = claims.quote.body
    named = attributes(body.td_attributes)
    if "debug" in named and not policy.debug:
        raise Refused(Rule.DEBUG, "it can be debugged: the host can read its memory")
    if body.td_attributes & ~_KNOWN_BITS:
        raise Refused(Rule.TD_ATTRIBUTES, f"it has reserved attributes, {body.td_attributes & ~_KNOWN_BITS:#x}")
    if "migratable" in named and not policy.migration:
        raise Refused(Rule.MIGRATION, "it may be moved to another platform")
    if "sept-ve-disable" not in named and policy.sept_ve_disable:
        raise Refused(
            Rule.TD_ATTRIBUTES, "SEPT_VE_DISABLE is not set: the host can surprise its kernel by taking memory away"
        )
    if body.xfam & _XFAM_ALWAYS != _XFAM_ALWAYS:
        raise Refused(Rule.XFAM, f"its XFAM {body.xfam:#x} lacks bits that are always set")
    require_allowed(Rule.CHIP_NOT_ALLOWED, "its sort of platform", claims.platform.fmspc, policy.platforms)
    _require_tcb(claims, policy)
    require_allowed(Rule.TDX_MODULE, "its TDX module", body.mrseam, policy.modules)
    require_allowed(Rule.MEASUREMENT, "its MRTD", body.mrtd, policy.mrtd)
    for number, (value, allowed) in enumerate(zip(body.rtmr, policy.rtmr, strict=True)):
        require_allowed(Rule.MEASUREMENT, f"its RTMR{number}", value, allowed)
    require_allowed(Rule.WORKLOAD, "its MRCONFIGID, the workload's binding,", body.mrconfigid, policy.mrconfigid)
    require_allowed(Rule.OWNER, "its MROWNER", body.mrowner, policy.mrowner)
    require_allowed(Rule.OWNER, "its MROWNERCONFIG", body.mrownerconfig, policy.mrownerconfig)
    if policy.service_td is not None:
        if body.mrservicetd is None:
            raise Refused(Rule.OWNER, "it does not tell of service TDs, but the policy lists them")
        require_allowed(Rule.OWNER, "its service TDs", body.mrservicetd, policy.service_td)


def open_questions(policy: TdxPolicy) -> tuple[str, ...]:
    """Name what a policy leaves open, and a reader might think was judged."""
    candidates: dict[str, object] = {"mrtd": policy.mrtd}
    candidates |= {f"rtmr{number}": allowed for number, allowed in enumerate(policy.rtmr)}
    candidates |= {"mrconfigid": policy.mrconfigid}
    if policy.collateral == "optional":
        candidates["collateral"] = None
    return tuple(name for name, value in candidates.items() if value is None)


def _require_tcb(claims: TdxClaims, policy: TdxPolicy) -> None:
    judged = claims.tcb
    if judged is None:
        if policy.collateral == "required":
            raise Refused(
                Rule.TCB_STATUS,
                "there is no collateral, by which to judge its platform",
                hint="add Intel's collateral with --collateral",
            )
        return
    if judged.status not in policy.tcb_statuses:
        known = f" ({', '.join(judged.advisories[:4])}{', …' if len(judged.advisories) > 4 else ''})"
        raise Refused(
            Rule.TCB_STATUS,
            f"Intel judges its platform {judged.status}{known if judged.advisories else ''}",
            hint="update the host's firmware and microcode",
        )
    if judged.evaluation_number < policy.evaluation_number:
        raise Refused(
            Rule.EVALUATION_NUMBER,
            f"the collateral has the evaluation number {judged.evaluation_number}; at least "
            f"{policy.evaluation_number} is wanted: it may be rolled back",
        )
