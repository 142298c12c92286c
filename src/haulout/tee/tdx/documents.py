"""Intel's two documents about TDX: TCB info of a type of platform, and the identity of the quoting enclave.

Source: Intel, PCS API version 4, "Get TCB Info" and "Get TD QE Identity". Both are JSON, signed as the bytes they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from haulout.errors import InvalidEvidence, InvalidManifest
from haulout.local import Table
from haulout.oci import loads

_MOST_LEVELS: Final = 256
_TEXT: Final = 1000


class TcbStatus(StrEnum):
    """How Intel rates the state of a platform, in its own words."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"


@dataclass(frozen=True, slots=True)
class TcbLevel:
    """A state that platforms can be in, and how Intel rates it."""

    components: tuple[int, ...]
    tdx_components: tuple[int, ...]
    pce_svn: int
    status: TcbStatus
    date: datetime
    advisories: tuple[str, ...]
    names: tuple[str, ...] = ("",) * 16
    tdx_names: tuple[str, ...] = ("",) * 16
    """What Intel calls the components, and in brackets who updates them; "" where it does not say."""


@dataclass(frozen=True, slots=True)
class VersionLevel:
    """The lowest security version that has a status."""

    isv_svn: int
    status: TcbStatus
    date: datetime
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModuleIdentity:
    """Which TDX module it is, and who signed it; ``levels`` is empty for the first module, which has none."""

    id: str
    mrsigner: bytes
    attributes: bytes
    mask: bytes
    levels: tuple[VersionLevel, ...]


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """What Intel publishes about a type of platform."""

    issued: datetime
    next_update: datetime
    fmspc: bytes
    pce_id: bytes
    evaluation_number: int
    modules: tuple[ModuleIdentity, ...]
    levels: tuple[TcbLevel, ...]


@dataclass(frozen=True, slots=True)
class QeIdentity:
    """What identifies the right quoting enclave."""

    issued: datetime
    next_update: datetime
    evaluation_number: int
    misc_select: bytes
    misc_select_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mrsigner: bytes
    isv_prod_id: int
    levels: tuple[VersionLevel, ...]


FIRST_MODULE: Final = "TDX"
"""Name given here to the module of ``tdxModule``, which has no version."""


def tcb_info(data: bytes) -> TcbInfo:
    """Parse TCB info.

    Raises:
        InvalidEvidence: it is not TCB info of TDX, of version 3.
    """
    top = _document(data, "TCB info", "TDX", 3)
    modules = [_module(top.table("tdxModule"), FIRST_MODULE, ())]
    if top.has("tdxModuleIdentities"):
        modules += [_module(one, _text(one, "id"), _versions(one)) for one in _many(top, "tdxModuleIdentities")]
    return TcbInfo(
        issued=_time(top, "issueDate"),
        next_update=_time(top, "nextUpdate"),
        fmspc=_octets(top, "fmspc", 6),
        pce_id=_octets(top, "pceId", 2),
        evaluation_number=_number(top, "tcbEvaluationDataNumber"),
        modules=tuple(modules),
        levels=tuple(_level(one) for one in _many(top, "tcbLevels")),
    )


def qe_identity(data: bytes) -> QeIdentity:
    """Parse the quoting enclave's identity.

    Raises:
        InvalidEvidence: it is not that of TDX, of version 2.
    """
    top = _document(data, "QE identity", "TD_QE", 2)
    return QeIdentity(
        issued=_time(top, "issueDate"),
        next_update=_time(top, "nextUpdate"),
        evaluation_number=_number(top, "tcbEvaluationDataNumber"),
        misc_select=_octets(top, "miscselect", 4),
        misc_select_mask=_octets(top, "miscselectMask", 4),
        attributes=_octets(top, "attributes", 16),
        attributes_mask=_octets(top, "attributesMask", 16),
        mrsigner=_octets(top, "mrsigner", 32),
        isv_prod_id=_number(top, "isvprodid"),
        levels=_versions(top),
    )


def _document(data: bytes, what: str, identity: str, version: int) -> Table:
    def wrong(where: str, reason: str, *, hint: str | None = None) -> InvalidEvidence:
        return InvalidEvidence(what, f"{where}: {reason}", hint=hint)

    try:
        top = Table(loads(data, what), wrong)
    except InvalidManifest as exc:
        raise InvalidEvidence(what, exc.reason) from exc
    if _text(top, "id") != identity or _number(top, "version") != version:
        raise top.wrong("id", f"only {identity}, version {version}, is known")
    return top


def _module(source: Table, name: str, levels: tuple[VersionLevel, ...]) -> ModuleIdentity:
    return ModuleIdentity(
        id=name,
        mrsigner=_octets(source, "mrsigner", 48),
        attributes=_octets(source, "attributes", 8),
        mask=_octets(source, "attributesMask", 8),
        levels=levels,
    )


def _versions(source: Table) -> tuple[VersionLevel, ...]:
    return tuple(
        VersionLevel(_number(one.table("tcb"), "isvsvn"), _status(one), _time(one, "tcbDate"), _advisories(one))
        for one in _many(source, "tcbLevels")
    )


def _level(source: Table) -> TcbLevel:
    tcb = source.table("tcb")
    return TcbLevel(
        components=_components(tcb, "sgxtcbcomponents"),
        tdx_components=_components(tcb, "tdxtcbcomponents"),
        pce_svn=_number(tcb, "pcesvn"),
        status=_status(source),
        date=_time(source, "tcbDate"),
        advisories=_advisories(source),
        names=_names(tcb, "sgxtcbcomponents"),
        tdx_names=_names(tcb, "tdxtcbcomponents"),
    )


def _text(source: Table, name: str) -> str:
    return source.text(name, longest=_TEXT)


def _number(source: Table, name: str) -> int:
    return source.number(name, None, 0xFFFF_FFFF)


def _octets(source: Table, name: str, size: int) -> bytes:
    text = _text(source, name)
    try:
        found = bytes.fromhex(text) if text.isalnum() else b""
    except ValueError:
        found = b""
    if len(found) != size:
        raise source.wrong(name, f"expected {2 * size} hexadecimal digits")
    return found


def _time(source: Table, name: str) -> datetime:
    try:
        return datetime.strptime(_text(source, name), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as exc:
        raise source.wrong(name, "expected a time such as 2026-01-31T12:00:00Z") from exc


def _status(source: Table) -> TcbStatus:
    text = _text(source, "tcbStatus")
    try:
        return TcbStatus(text)
    except ValueError as exc:
        raise source.wrong("tcbStatus", f"{text[:40]!r} is not known") from exc


def _advisories(source: Table) -> tuple[str, ...]:
    """Read the names of advisories; there need not be any."""
    found = source.texts("advisoryIDs", longest=64)
    if len(found) > _MOST_LEVELS:
        raise source.wrong("advisoryIDs", f"expected at most {_MOST_LEVELS}")
    return found


def _many(source: Table, name: str) -> tuple[Table, ...]:
    """Read a list of objects, at least one."""
    found = source.tables(name)
    if not 0 < len(found) <= _MOST_LEVELS:
        raise source.wrong(name, f"expected 1 to {_MOST_LEVELS} objects")
    return found


def _components(source: Table, name: str) -> tuple[int, ...]:
    """Read the 16 versions of components."""
    found = tuple(one.number("svn", None, 0xFF) for one in _many(source, name))
    if len(found) != 16:
        raise source.wrong(name, "expected 16 versions")
    return found


def _names(source: Table, name: str) -> tuple[str, ...]:
    found = (
        (one.text("type", "", longest=_TEXT), one.text("category", "", longest=_TEXT)) for one in _many(source, name)
    )
    return tuple(f"{kind} ({who})".strip() if who else kind for kind, who in found)
