"""What a policy demands of a genuine TDX quote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.documents import Document
from haulout.tee.rules import Allowed, Four, Need, read_four, require_allowed
from haulout.tee.tdx.documents import TcbStatus
from haulout.tee.tdx.parse import ATTRIBUTE_BITS
from haulout.tee.verdict import ORIGIN, Refused, Rule

if TYPE_CHECKING:
    from haulout.local import Table
    from haulout.tee.tdx import pck, tcb
    from haulout.tee.tdx.parse import TdxQuote
    from haulout.tee.verdict import Anchor

_KNOWN_BITS: Final = sum(1 << bit for bit in ATTRIBUTE_BITS.values())
_XFAM_ALWAYS: Final = 0b11
"""x87 and SSE state, which every guest has."""


@dataclass(frozen=True, slots=True)
class TdxPolicy:
    """What a TDX quote has to say."""

    collateral: Need = Need.REQUIRED
    tcb_statuses: tuple[TcbStatus, ...] = (TcbStatus.UP_TO_DATE,)
    evaluation_number: int = 0
    platforms: Allowed = None
    debug: bool = False
    migration: bool = False
    sept_ve_disable: bool = True
    modules: Allowed = None
    mrtd: Allowed = None
    rtmr: Four = (None, None, None, None)
    mrconfigid: Allowed = None
    mrowner: Allowed = None
    mrownerconfig: Allowed = None
    service_td: Allowed = None


STRICT: Final = TdxPolicy(collateral=Need.OPTIONAL)


def read_policy(table: Table) -> TdxPolicy:
    """Read the section ``[tdx]``.

    Raises:
        InvalidPolicy: a key has an impossible value.
    """
    found = TdxPolicy(
        collateral=table.choice("collateral", Need.REQUIRED),
        tcb_statuses=table.choices("tcb-statuses", TcbStatus, (TcbStatus.UP_TO_DATE,)),
        evaluation_number=table.number("evaluation-number", 0, 0xFFFF_FFFF),
        platforms=table.digests("platforms", (6,)),
        debug=table.flag("debug", default=False),
        migration=table.flag("migration", default=False),
        sept_ve_disable=table.flag("sept-ve-disable", default=True),
        modules=table.digests("modules", (48,)),
        mrtd=table.digests("mrtd", (48,)),
        rtmr=read_four(table, "rtmr", (48,)),
        mrconfigid=table.digests("mrconfigid", (48,)),
        mrowner=table.digests("mrowner", (48,)),
        mrownerconfig=table.digests("mrownerconfig", (48,)),
        service_td=table.digests("service-td", (48,)),
    )
    if TcbStatus.REVOKED in found.tcb_statuses:
        raise table.wrong("tcb-statuses", "a revoked TCB is never accepted")
    return found


@dataclass(frozen=True, slots=True)
class TdxClaims(Document):
    """What a genuine quote says.

    Attributes:
        tcb: how Intel rates the platform; None where no collateral was given.
    """

    quote: TdxQuote
    anchor: Anchor
    platform: pck.Platform
    tcb: tcb.TcbRating | None

    json_members: ClassVar = (
        *ORIGIN,
        "revocation_checked",
        "fmspc=platform.fmspc",
        "pce_svn=platform.pce_svn",
        "components=platform.components",
        "tcb_status=tcb.status",
        "tcb_date=tcb.date",
        "advisories",
        "evaluation_number=tcb.evaluation_number",
    )

    @property
    def revocation_checked(self) -> bool:
        """Return whether revocation lists were given, which are part of the collateral."""
        return self.tcb is not None

    @property
    def advisories(self) -> tuple[str, ...]:
        """Return Intel's advisories about the platform, as far as the collateral has them."""
        return () if self.tcb is None else self.tcb.advisories


def require(claims: TdxClaims, policy: TdxPolicy) -> tuple[str, ...]:
    """Refuse a genuine quote that a policy does not allow.

    Returns:
        what the policy leaves open, and a reader might think was verified.

    Raises:
        Refused: the first rule that is broken.
    """
    body = claims.quote.body
    named = body.attributes
    if "debug" in named and not policy.debug:
        raise Refused(Rule.DEBUG, "it can be debugged: the host can read its memory")
    if body.td_attributes & ~_KNOWN_BITS:
        raise Refused(Rule.TD_ATTRIBUTES, f"it has reserved attributes, {body.td_attributes & ~_KNOWN_BITS:#x}")
    if "migratable" in named and not policy.migration:
        raise Refused(Rule.MIGRATION, "it can be migrated to another platform")
    if "sept-ve-disable" not in named and policy.sept_ve_disable:
        raise Refused(
            Rule.TD_ATTRIBUTES, "SEPT_VE_DISABLE is not set: the host can inject exceptions by removing memory"
        )
    if body.xfam & _XFAM_ALWAYS != _XFAM_ALWAYS:
        raise Refused(Rule.XFAM, f"its XFAM {body.xfam:#x} lacks bits that are always set")
    require_allowed(Rule.CHIP_NOT_ALLOWED, "its type of platform (FMSPC)", claims.platform.fmspc, policy.platforms)
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
            raise Refused(Rule.OWNER, "it does not name service TDs, but the policy lists them")
        require_allowed(Rule.OWNER, "its service TDs", body.mrservicetd, policy.service_td)
    candidates: dict[str, object] = {"mrtd": policy.mrtd}
    candidates |= {f"rtmr{number}": allowed for number, allowed in enumerate(policy.rtmr)}
    candidates |= {"mrconfigid": policy.mrconfigid}
    if policy.collateral == "optional":
        candidates["collateral"] = None
    return tuple(name for name, value in candidates.items() if value is None)


def machine(claims: TdxClaims) -> str:
    """Name the platform by its PPID."""
    return claims.platform.ppid.hex()


def _require_tcb(claims: TdxClaims, policy: TdxPolicy) -> None:
    rating = claims.tcb
    if rating is None:
        if policy.collateral == "required":
            raise Refused(
                Rule.TCB_STATUS,
                "no collateral was given, and the policy requires it to rate the platform",
                hint=f"add Intel's collateral about platforms {claims.platform.fmspc.hex()} (FMSPC) with --collateral; "
                "docs/evidence.md says where it comes from",
            )
        return
    if rating.status not in policy.tcb_statuses:
        known = f" ({', '.join(rating.advisories[:4])}{', …' if len(rating.advisories) > 4 else ''})"
        raise Refused(
            Rule.TCB_STATUS,
            f"Intel rates its platform {rating.status}{known if rating.advisories else ''}",
            hint="update the host's firmware and microcode",
        )
    if rating.evaluation_number < policy.evaluation_number:
        raise Refused(
            Rule.EVALUATION_NUMBER,
            f"the collateral has the evaluation number {rating.evaluation_number}; the policy requires at least "
            f"{policy.evaluation_number}: the collateral may be rolled back",
        )
