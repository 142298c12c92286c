"""What a TDX platform lacks by Intel's collateral. Pure.

Source: Intel, PCS API version 4, "Get TCB Info"; names of components are those of its ``type`` and ``category``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.errors import InvalidEvidence
from haulout.tee.shortfall import Shortfall
from haulout.tee.tdx import collateral as intel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from haulout.tee.inputs import Given
    from haulout.tee.tdx.documents import TcbStatus, VersionLevel
    from haulout.tee.tdx.rules import TdxClaims, TdxPolicy


def suits(claims: TdxClaims, given: Given) -> bool:
    """Return whether a file is Intel's collateral for the type of platform that made a quote."""
    try:
        info = intel.parse(given.data, given.name).tcb_info
    except InvalidEvidence:
        return False
    return (info.fmspc, info.pce_id) == (claims.platform.fmspc, claims.platform.pce_id)


def shortfalls(claims: TdxClaims, policy: TdxPolicy, collateral: Sequence[Given]) -> tuple[Shortfall, ...]:
    """Compare a platform with the lowest level that a policy accepts.

    Args:
        claims: of a genuine quote.
        policy: says which of Intel's ratings are accepted.
        collateral: Intel's; only that for this type of platform counts. Nothing in it is verified here.
    """
    mine = next((one for one in collateral if suits(claims, one)), None)
    if mine is None:
        return ()
    found = intel.parse(mine.data, mine.name)
    return tuple(_all(claims, policy.tcb_statuses, found))


def _all(claims: TdxClaims, accepted: Sequence[TcbStatus], found: intel.Collateral) -> Iterator[Shortfall]:
    body, platform = claims.quote.body, claims.platform
    # Levels are listed from the newest: the last that is accepted demands the least.
    levels = [level for level in found.tcb_info.levels if level.status in accepted]
    version = body.tee_tcb_svn[1]
    if levels:
        level = levels[-1]
        yield from _components(platform.components, level.components, level.names, "SGX TCB component")
        if platform.pce_svn < level.pce_svn:
            yield Shortfall("PCE", platform.pce_svn, level.pce_svn, "SGX platform software (PCE)")
        # From the second module on, the first two bytes are the module's own version.
        begin = 2 if version else 0
        own, wanted = body.tee_tcb_svn[begin:], level.tdx_components[begin:]
        yield from _components(own, wanted, level.tdx_names[begin:], "TDX TCB component", begin)
    name = f"TDX_{version:02X}"
    module = next((one for one in found.tcb_info.modules if version and one.id.upper() == name), None)
    if module is not None:
        yield from _version(body.tee_tcb_svn[0], module.levels, accepted, f"TDX module {name}", "the TDX module")
    yield from _version(
        claims.quote.qe.isv_svn, found.qe_identity.levels, accepted, "quoting enclave", "the quoting enclave"
    )


def _components(
    own: Sequence[int], wanted: Sequence[int], names: Sequence[str], what: str, begin: int = 0
) -> Iterator[Shortfall]:
    for place, (have, need, name) in enumerate(zip(own, wanted, names, strict=True), begin + 1):
        if have < need:
            yield Shortfall(f"{what} {place}{f', {name}' if name else ''}", have, need, _update(name))


def _update(name: str) -> str:
    """Say what to update, by Intel's category of a component."""
    if "TDX Module" in name:
        return "the TDX module"
    if "(BIOS)" in name:
        return "the BIOS"
    return "the operating system's microcode or loader" if "(OS/VMM)" in name else "BIOS and microcode"


def _version(
    own: int, levels: Sequence[VersionLevel], accepted: Sequence[TcbStatus], what: str, update: str
) -> Iterator[Shortfall]:
    need = min((level.isv_svn for level in levels if level.status in accepted), default=own)
    if own < need:
        yield Shortfall(what, own, need, update)
