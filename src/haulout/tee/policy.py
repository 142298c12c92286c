"""A policy: what evidence has to say to be accepted. TOML, every key known; docs/evidence.md has them all.

What a policy does not mention is decided strictly (debugging is refused) or left open (any measurement), never
guessed; the verdict names what was left open. An empty policy accepts nothing: a TEE is accepted where its table is.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidPolicy
from haulout.tee.snp.endorsement import Signer
from haulout.tee.snp.report import PLATFORM_BITS, VERSIONS, Product, Tcb
from haulout.tee.tables import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA: Final = 1
MAX_BYTES: Final = 1 << 20

Allowed = frozenset[bytes] | None
"""Values of which one has to be met; None: any."""


class Need(StrEnum):
    """Whether something has to be given."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class TcbStatus(StrEnum):
    """How Intel judges the state of a platform, in its own words."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"


class Profile(StrEnum):
    """Which edition of the CCA token it is."""

    LEGACY = "http://arm.com/CCA-SSD/1.0.0"
    PLATFORM_1 = "tag:arm.com,2023:cca_platform#1.0.0"


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
    rtmr: tuple[Allowed, Allowed, Allowed, Allowed] = (None, None, None, None)
    mrconfigid: Allowed = None
    mrowner: Allowed = None
    mrownerconfig: Allowed = None
    service_td: Allowed = None


@dataclass(frozen=True, slots=True)
class CcaPolicy:
    """What an Arm CCA token has to say."""

    roots: frozenset[str] = frozenset()
    platform_keys: Allowed = None
    profiles: tuple[Profile, ...] = tuple(Profile)
    instances: Allowed = None
    implementations: Allowed = None
    rim: Allowed = None
    rem: tuple[Allowed, Allowed, Allowed, Allowed] = (None, None, None, None)
    personalization: Allowed = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it was read.

    Attributes:
        name: for people.
        test: whether it may trust an emulator.
        roots: fingerprints of roots that it trusts besides the pinned ones, which only a policy for tests has.
        report_data_required: whether evidence that was not made for this very occasion is refused.
        nonce_seconds: how long a nonce may be answered.
    """

    name: str
    test: bool = False
    roots: frozenset[str] = frozenset()
    report_data_required: bool = False
    nonce_seconds: int = 300
    snp: SnpPolicy | None = None
    tdx: TdxPolicy | None = None
    cca: CcaPolicy | None = None


def parse_policy(data: bytes, what: str = "policy") -> Policy:
    """Read a policy.

    Args:
        data: TOML.
        what: its file's name, for the error.

    Raises:
        InvalidPolicy: it is no TOML, has an unknown key or an impossible value, or is of a schema of the future.
    """
    if len(data) > MAX_BYTES:
        raise InvalidPolicy(what, "", f"{len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise InvalidPolicy(what, "", "it is not UTF-8") from exc
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as exc:
        # Besides its own error, tomllib lets int() complain about numbers of thousands of digits.
        reason = str(exc).split("\n", 1)[0][:120]
        raise InvalidPolicy(what, "", f"it is not TOML ({reason})") from exc
    top = Table(what, "", document)
    schema = top.number("schema", 0, 1 << 31)
    if schema != SCHEMA:
        reason = "it is missing" if not top.has("schema") else f"{schema} is not known; this haulout knows {SCHEMA}"
        raise top.wrong("schema", reason, hint=f"a policy begins with: schema = {SCHEMA}")
    test = top.flag("test", default=False)
    roots = frozenset(one.hex() for one in top.digests("roots", (32,)) or ())
    freshness = top.table("freshness")
    policy = Policy(
        name=top.text("name", what),
        test=test,
        roots=roots,
        report_data_required=freshness.flag("report-data-required", default=False),
        nonce_seconds=freshness.number("nonce-seconds", 300, 86_400),
        snp=_snp(top.table("snp")) if top.has("snp") else None,
        tdx=_tdx(top.table("tdx")) if top.has("tdx") else None,
        cca=_cca(top.table("cca")) if top.has("cca") else None,
    )
    freshness.end()
    for known in ("snp", "tdx", "cca"):
        top.table(known)
    top.end()
    if roots and not test:
        # AMD's and Intel's roots are pinned: no other can be right for them.
        raise top.wrong("roots", "only a policy for tests may add roots", hint="say test = true, for tests only")
    return policy


def _snp(table: Table) -> SnpPolicy:
    tcb = table.table("tcb")
    floors = {}
    for product in Product:
        if tcb.has(product):
            floors[product] = _floor(tcb.table(product), product)
        tcb.table(product)
    tcb.end()
    found = SnpPolicy(
        products=table.choices("products", Product, None),
        versions=table.numbers("versions", VERSIONS, VERSIONS[1:]),
        signers=table.choices("signers", Signer, (Signer.VCEK,)),
        csp_ids=table.strings("csp-ids"),
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
    table.end()
    return found


def _floor(table: Table, product: Product) -> Tcb:
    def part(name: str) -> int:
        return table.number(name, 0, 255)

    found = Tcb(
        part("bootloader"),
        part("tee"),
        part("snp"),
        part("microcode"),
        part("fmc") if product is Product.TURIN else None,
    )
    table.end()
    return found


def _tdx(table: Table) -> TdxPolicy:
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
        rtmr=_four(table, "rtmr", (48,)),
        mrconfigid=table.digests("mrconfigid", (48,)),
        mrowner=table.digests("mrowner", (48,)),
        mrownerconfig=table.digests("mrownerconfig", (48,)),
        service_td=table.digests("service-td", (48,)),
    )
    if TcbStatus.REVOKED in found.tcb_statuses:
        raise table.wrong("tcb-statuses", "what Intel revoked is never accepted")
    table.end()
    return found


def _cca(table: Table) -> CcaPolicy:
    sizes = (32, 48, 64)
    found = CcaPolicy(
        roots=frozenset(one.hex() for one in table.digests("roots", (32,)) or ()),
        platform_keys=table.digests("platform-keys", (32,)),
        profiles=table.choices("profiles", Profile, tuple(Profile)),
        instances=table.digests("instances", (33,)),
        implementations=table.digests("implementations", (32,)),
        rim=table.digests("rim", sizes),
        rem=_four(table, "rem", sizes),
        personalization=table.digests("personalization", (64,)),
    )
    table.end()
    return found


def _four(table: Table, name: str, sizes: tuple[int, ...]) -> tuple[Allowed, Allowed, Allowed, Allowed]:
    first, second, third, fourth = (table.digests(f"{name}{number}", sizes) for number in range(4))
    return first, second, third, fourth
