"""How Intel rates the state of a platform: the level that it has reached, and the worst of its parts.

Source: Intel, PCS API version 4, "Get TCB Info": the enumerated steps that determine the TCB status. A level holds
where every component is at least as new; levels are listed from the newest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.tee.tdx.documents import FIRST_MODULE, TcbStatus
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.tee.tdx.documents import (
        ModuleIdentity,
        QeIdentity,
        TcbInfo,
        TcbLevel,
        VersionLevel,
    )
    from haulout.tee.tdx.parse import QeReport, TdReport
    from haulout.tee.tdx.pck import Platform

_OUT_OF_DATE: Final = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}
"""What becomes of a platform's status where the module or the quoting enclave is out of date."""


@dataclass(frozen=True, slots=True)
class TcbRating:
    """Intel's rating of a platform.

    Attributes:
        status: of the whole.
        date: when the platform's level was up to date, as RFC 3339.
        advisories: known weaknesses, by Intel's names.
        evaluation_number: of the documents, the smaller of both.
    """

    status: TcbStatus
    date: str
    advisories: tuple[str, ...]
    evaluation_number: int


def rate(body: TdReport, qe: QeReport, platform: Platform, info: TcbInfo, identity: QeIdentity) -> TcbRating:
    """Rate a quote's TCB by documents that are verified.

    Raises:
        Refused: they are about another type of platform, it reaches no level, or something else differs.
    """
    if info.fmspc != platform.fmspc or info.pce_id != platform.pce_id:
        raise Refused(
            Rule.PLATFORM,
            f"the TCB info is for FMSPC {info.fmspc.hex()}, but this platform has {platform.fmspc.hex()}",
            hint="fetch the collateral for this platform",
        )
    module = _module(body, info)
    own = _level(body, platform, info)
    _require_qe(qe, identity)
    parts = [_version(body.tee_tcb_svn[0], module.levels, "TDX module")] if module.levels else []
    parts.append(_version(qe.isv_svn, identity.levels, "quoting enclave"))
    status = own.status
    for part in parts:
        status = worse(status, part.status)
    if status is TcbStatus.REVOKED:
        raise Refused(Rule.TCB_REVOKED, "Intel revoked its TCB")
    known = {*own.advisories, *(name for part in parts for name in part.advisories)}
    return TcbRating(
        status=status,
        date=own.date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        advisories=tuple(sorted(known)),
        evaluation_number=min(info.evaluation_number, identity.evaluation_number),
    )


def worse(platform: TcbStatus, part: TcbStatus) -> TcbStatus:
    """Join a platform's status with that of a part, whose own can be up to date, out of date or revoked."""
    if TcbStatus.REVOKED in {platform, part}:
        return TcbStatus.REVOKED
    if part is TcbStatus.UP_TO_DATE:
        return platform
    # A part has no other status than these three; any other is taken for the worse.
    return _OUT_OF_DATE.get(platform, platform)


def _module(body: TdReport, info: TcbInfo) -> ModuleIdentity:
    """Find which TDX module it is, and require that it is Intel's."""
    version = body.tee_tcb_svn[1]
    wanted = f"TDX_{version:02X}" if version else FIRST_MODULE
    module = next((one for one in info.modules if one.id.upper() == wanted), None)
    if module is None:
        raise Refused(Rule.TDX_MODULE, f"Intel's TCB info does not list the TDX module {wanted}")
    masked = bytes(value & mask for value, mask in zip(body.seam_attributes, module.mask, strict=True))
    if body.mrsignerseam != module.mrsigner or masked != module.attributes:
        raise Refused(Rule.TDX_MODULE, "its TDX module is not signed by Intel, or has other attributes than Intel's")
    return module


def _level(body: TdReport, platform: Platform, info: TcbInfo) -> TcbLevel:
    # From the second module on, the first two bytes are the module's version, which has levels of its own.
    begin = 2 if body.tee_tcb_svn[1] else 0
    for level in info.levels:
        if (
            _reached(platform.components, level.components)
            and platform.pce_svn >= level.pce_svn
            and _reached(body.tee_tcb_svn[begin:], level.tdx_components[begin:])
        ):
            return level
    raise Refused(Rule.TCB_LEVEL, "its TCB is below every level that Intel lists")


def _reached(own: Sequence[int], wanted: Sequence[int]) -> bool:
    return all(mine >= least for mine, least in zip(own, wanted, strict=True))


def _version(own: int, levels: Sequence[VersionLevel], what: str) -> VersionLevel:
    found = next((one for one in levels if own >= one.isv_svn), None)
    if found is None:
        raise Refused(Rule.TCB_LEVEL, f"its {what} has version {own}, older than any that Intel lists")
    return found


def _require_qe(qe: QeReport, identity: QeIdentity) -> None:
    for what, own, mask, wanted in (
        ("MISCSELECT", qe.misc_select, identity.misc_select_mask, identity.misc_select),
        ("attributes", qe.attributes, identity.attributes_mask, identity.attributes),
    ):
        # Masks are written as numbers, the report's bytes as bytes: both are compared in the order of the text.
        if bytes(value & bit for value, bit in zip(own, mask, strict=True)) != wanted:
            raise Refused(Rule.QE_IDENTITY, f"its quoting enclave has other {what} than Intel's")
    if qe.mrsigner != identity.mrsigner:
        raise Refused(Rule.QE_IDENTITY, "its quoting enclave was not signed by Intel")
    if qe.isv_prod_id != identity.isv_prod_id:
        raise Refused(Rule.QE_IDENTITY, f"its quoting enclave is another product, {qe.isv_prod_id}")
