"""What a policy demands of a genuine SEV-SNP report."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.documents import Document
from haulout.tee.rules import Allowed, Need, require_allowed
from haulout.tee.shortfall import Shortfall
from haulout.tee.snp.endorsement import Signer
from haulout.tee.snp.parse import PLATFORM_BITS, VERSIONS, Product, Tcb
from haulout.tee.verdict import ORIGIN, Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from haulout.local import Table
    from haulout.tee.inputs import Given
    from haulout.tee.snp.endorsement import Endorsement
    from haulout.tee.snp.parse import SnpReport
    from haulout.tee.verdict import Anchor

_NO_MIGRATION_AGENT = b"\xff" * 32
"""REPORT_ID_MA of a guest without a migration agent."""


PlatformBit = StrEnum("PlatformBit", {name.upper().replace("-", "_"): name for name in PLATFORM_BITS})  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class SnpPolicy:
    """What an SEV-SNP report has to say."""

    products: tuple[Product, ...]
    versions: tuple[int, ...] = VERSIONS[1:]
    signers: tuple[Signer, ...] = (Signer.VCEK,)
    csp_ids: tuple[str, ...] = ()
    chip_ids: Allowed = None
    measurements: Allowed = None
    host_data: Allowed = None
    family_ids: Allowed = None
    image_ids: Allowed = None
    id_keys: Allowed = None
    author_keys: Allowed = None
    vmpl: int = 0
    guest_svn: int = 0
    debug: bool = False
    migration: bool = False
    smt: bool = True
    single_socket: bool = False
    platform_required: tuple[str, ...] = ()
    mitigations: int = 0
    revocation_lists: Need = Need.OPTIONAL
    tcb: Mapping[Product, Tcb] = field(default_factory=dict)


STRICT: Final = SnpPolicy(products=tuple(Product), versions=VERSIONS)


def read_policy(table: Table) -> SnpPolicy:
    """Read the section ``[snp]``.

    Raises:
        InvalidPolicy: a key is missing, or has an impossible value.
    """
    tcb = table.table("tcb")
    floors = {product: _floor(tcb.table(product), product) for product in Product if tcb.has(product)}
    tcb.end(*Product)
    return SnpPolicy(
        products=table.choices("products", Product, None),
        versions=table.numbers("versions", VERSIONS, VERSIONS[1:]),
        signers=table.choices("signers", Signer, (Signer.VCEK,)),
        csp_ids=() if table.listed("csp-ids") is None else table.texts("csp-ids"),
        chip_ids=table.digests("chip-ids", (8, 64)),
        measurements=table.digests("measurements", (48,)),
        host_data=table.digests("host-data", (32,)),
        family_ids=table.digests("family-ids", (16,)),
        image_ids=table.digests("image-ids", (16,)),
        id_keys=table.digests("id-keys", (48,)),
        author_keys=table.digests("author-keys", (48,)),
        vmpl=table.number("vmpl", 0, 3),
        guest_svn=table.number("guest-svn", 0, 0xFFFF_FFFF),
        debug=table.flag("debug", default=False),
        migration=table.flag("migration", default=False),
        smt=table.flag("smt", default=True),
        single_socket=table.flag("single-socket", default=False),
        platform_required=tuple(str(one) for one in table.choices("platform-required", PlatformBit, ())),
        mitigations=table.number("mitigations", 0, (1 << 64) - 1),
        revocation_lists=table.choice("revocation-lists", Need.OPTIONAL),
        tcb=floors,
    )


def _floor(table: Table, product: Product) -> Tcb:
    parts = ("bootloader", "tee", "snp", "microcode", *(("fmc",) if product is Product.TURIN else ()))
    found = Tcb(**{name: table.number(name, 0, 255) for name in parts})
    table.end()
    return found


@dataclass(frozen=True, slots=True)
class SnpClaims(Document):
    """What a genuine report says."""

    report: SnpReport
    product: Product
    endorsement: Endorsement
    anchor: Anchor
    reported_tcb: Tcb
    committed_tcb: Tcb
    current_tcb: Tcb
    launch_tcb: Tcb
    revocation_checked: bool

    json_members: ClassVar = (
        *ORIGIN,
        "revocation_checked",
        "product=endorsement.product_name",
        "signer=endorsement.signer",
        "csp_id=endorsement.csp_id",
        "reported_tcb=reported_tcb.parts",
        "committed_tcb=committed_tcb.parts",
        "current_tcb=current_tcb.parts",
        "launch_tcb=launch_tcb.parts",
    )


def require(claims: SnpClaims, policy: SnpPolicy) -> tuple[str, ...]:
    """Refuse a genuine report that a policy does not allow.

    Returns:
        what the policy leaves open, and a reader might think was verified.

    Raises:
        Refused: the first rule that is broken.
    """
    report = claims.report
    _require_origin(claims, policy)
    _require_guest_policy(report, policy)
    if report.vmpl > policy.vmpl:
        raise Refused(Rule.VMPL, f"it was requested at VMPL {report.vmpl}; the policy allows at most {policy.vmpl}")
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
        if report.author_key is None:
            raise Refused(Rule.AUTHOR_KEY, "no author's key signed its ID block")
        require_allowed(Rule.AUTHOR_KEY, "its author's key", report.author_key, policy.author_keys)
    if report.guest_svn < policy.guest_svn:
        raise Refused(
            Rule.GUEST_SVN, f"its guest has version {report.guest_svn}; the policy requires at least {policy.guest_svn}"
        )
    candidates = {
        "measurements": policy.measurements,
        "host-data": policy.host_data,
        "chip-ids": policy.chip_ids,
        "tcb": policy.tcb.get(claims.product),
    }
    return tuple(name for name, value in candidates.items() if value is None)


def _require_origin(claims: SnpClaims, policy: SnpPolicy) -> None:
    report, endorsement = claims.report, claims.endorsement
    if claims.product not in policy.products:
        raise Refused(Rule.PRODUCT_NOT_ALLOWED, f"it comes from {claims.product}, which the policy does not list")
    if report.version not in policy.versions:
        raise Refused(Rule.VERSION_NOT_ALLOWED, f"its report version {report.version} is not one that the policy lists")
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
            raise Refused(Rule.CHIP_NOT_ALLOWED, "it hides its chip, but the policy lists chips")
        padded = frozenset(one.ljust(64, b"\0") for one in policy.chip_ids)
        require_allowed(Rule.CHIP_NOT_ALLOWED, "its chip", report.chip_id, padded)
    if policy.revocation_lists == "required" and not claims.revocation_checked:
        raise Refused(
            Rule.REVOCATION_LIST,
            "the policy requires revocation lists for its whole chain, and not all were given",
            hint="add AMD's list with --collateral",
        )


def _require_guest_policy(report: SnpReport, policy: SnpPolicy) -> None:
    guest = report.policy
    if guest.debug and not policy.debug:
        raise Refused(Rule.DEBUG, "its guest policy allows debugging: the host can read the guest's memory")
    if not guest.must_be_one or guest.reserved:
        raise Refused(Rule.GUEST_POLICY, "its guest policy has impossible reserved bits")
    if not policy.migration:
        if guest.migration_agent:
            raise Refused(Rule.MIGRATION, "its guest policy allows a migration agent to move it to another host")
        if report.report_id_ma != _NO_MIGRATION_AGENT:
            raise Refused(Rule.MIGRATION, "it has a migration agent")
    if not policy.smt and (guest.smt or report.platform_info >> PLATFORM_BITS["smt"] & 1):
        raise Refused(Rule.SMT, "its guest policy allows hyper-threading, or its platform has it on")
    if policy.single_socket and not guest.single_socket:
        raise Refused(Rule.GUEST_POLICY, "its guest policy does not require a single socket")


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
            parts = ", ".join(f"{part} {tcb.parts[part]} < {floor.parts[part]}" for part in below)
            raise Refused(Rule.TCB_FLOOR, f"its {name} TCB is too old: {parts}", hint="update the host's firmware")


def shortfalls(claims: SnpClaims, policy: SnpPolicy, collateral: Sequence[Given]) -> tuple[Shortfall, ...]:  # noqa: ARG001
    """Compare a processor's TCBs with the policy's floor for its product."""
    floor = policy.tcb.get(claims.product)
    if floor is None:
        return ()
    named = (("reported", claims.reported_tcb), ("committed", claims.committed_tcb), ("launch", claims.launch_tcb))
    return tuple(
        Shortfall(
            f"{name} TCB of {claims.product}, {part}", tcb.parts.get(part, 0), floor.parts[part], "the host's firmware"
        )
        for name, tcb in named
        for part in tcb.below(floor)
    )


def machine(claims: SnpClaims) -> str:
    """Name the processor by its chip ID; "" where it hides it."""
    return (
        claims.report.chip_id.hex().rstrip("0")
        and claims.report.chip_id.hex()[: 16 if claims.product is Product.TURIN else 128]
    )


def _require_platform(report: SnpReport, policy: SnpPolicy) -> None:
    missing = [name for name in policy.platform_required if name not in report.platform]
    if missing:
        raise Refused(Rule.PLATFORM_INFO, f"its platform lacks {', '.join(missing)}")
    if policy.mitigations:
        for when, vector in (("at launch", report.launch_mitigations), ("now", report.current_mitigations)):
            absent = policy.mitigations & ~(vector or 0)
            if absent:
                raise Refused(
                    Rule.MITIGATION, f"mitigations that the policy requires are missing ({when}): {absent:#x}"
                )
