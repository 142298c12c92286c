"""Intel's two documents about TDX: TCB info of a sort of platform, and the identity of the quoting enclave.

Source: Intel, PCS API version 4, "Get TCB Info" and "Get TD QE Identity". Both are JSON, signed as the bytes they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from haulout.errors import InvalidEvidence, InvalidManifest
from haulout.oci import loads
from haulout.tee.policy import TcbStatus

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*")
_MOST_LEVELS: Final = 256


@dataclass(frozen=True, slots=True)
class TcbLevel:
    """A state that platforms can be in, and what Intel thinks of it."""

    components: tuple[int, ...]
    tdx_components: tuple[int, ...]
    pce_svn: int
    status: TcbStatus
    date: datetime
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionLevel:
    """A security version, from which on a status holds."""

    isv_svn: int
    status: TcbStatus
    date: datetime
    advisories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModuleIdentity:
    """Who may have made a TDX module; ``levels`` is empty for the first module, which has none."""

    id: str
    mrsigner: bytes
    attributes: bytes
    mask: bytes
    levels: tuple[VersionLevel, ...]


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """What Intel knows about a sort of platform."""

    issued: datetime
    next_update: datetime
    fmspc: bytes
    pce_id: bytes
    evaluation_number: int
    modules: tuple[ModuleIdentity, ...]
    levels: tuple[TcbLevel, ...]


@dataclass(frozen=True, slots=True)
class QeIdentity:
    """Which quoting enclave is the right one."""

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
    """Read TCB info.

    Raises:
        InvalidEvidence: it is not TCB info of TDX, of version 3.
    """
    top = _Object("TCB info", _json(data, "TCB info"))
    if top.text("id") != "TDX" or top.number("version") != 3:
        raise top.wrong("id", "only that of TDX, version 3, is known")
    first = top.object("tdxModule")
    modules = [_module(first, FIRST_MODULE, ())]
    if top.has("tdxModuleIdentities"):
        modules += [_module(one, one.text("id"), _versions(one)) for one in top.objects("tdxModuleIdentities")]
    return TcbInfo(
        issued=top.time("issueDate"),
        next_update=top.time("nextUpdate"),
        fmspc=top.octets("fmspc", 6),
        pce_id=top.octets("pceId", 2),
        evaluation_number=top.number("tcbEvaluationDataNumber"),
        modules=tuple(modules),
        levels=tuple(_level(one) for one in top.objects("tcbLevels")),
    )


def qe_identity(data: bytes) -> QeIdentity:
    """Read the quoting enclave's identity.

    Raises:
        InvalidEvidence: it is not that of TDX, of version 2.
    """
    top = _Object("QE identity", _json(data, "QE identity"))
    if top.text("id") != "TD_QE" or top.number("version") != 2:
        raise top.wrong("id", "only TD_QE, version 2, is known")
    return QeIdentity(
        issued=top.time("issueDate"),
        next_update=top.time("nextUpdate"),
        evaluation_number=top.number("tcbEvaluationDataNumber"),
        misc_select=top.octets("miscselect", 4),
        misc_select_mask=top.octets("miscselectMask", 4),
        attributes=top.octets("attributes", 16),
        attributes_mask=top.octets("attributesMask", 16),
        mrsigner=top.octets("mrsigner", 32),
        isv_prod_id=top.number("isvprodid"),
        levels=_versions(top),
    )


def _module(source: _Object, name: str, levels: tuple[VersionLevel, ...]) -> ModuleIdentity:
    return ModuleIdentity(
        id=name,
        mrsigner=source.octets("mrsigner", 48),
        attributes=source.octets("attributes", 8),
        mask=source.octets("attributesMask", 8),
        levels=levels,
    )


def _versions(source: _Object) -> tuple[VersionLevel, ...]:
    return tuple(
        VersionLevel(one.object("tcb").number("isvsvn"), one.status(), one.time("tcbDate"), one.advisories())
        for one in source.objects("tcbLevels")
    )


def _level(source: _Object) -> TcbLevel:
    tcb = source.object("tcb")
    return TcbLevel(
        components=tcb.components("sgxtcbcomponents"),
        tdx_components=tcb.components("tdxtcbcomponents"),
        pce_svn=tcb.number("pcesvn"),
        status=source.status(),
        date=source.time("tcbDate"),
        advisories=source.advisories(),
    )


def _json(data: bytes, what: str) -> dict[str, Any]:
    try:
        return loads(data, what)
    except InvalidManifest as exc:
        raise InvalidEvidence(what, exc.reason) from exc


class _Object:
    """A JSON object whose members have to be there, with their type."""

    def __init__(self, what: str, values: Any, path: str = "") -> None:
        self._what = what
        self._path = path
        if not isinstance(values, dict):
            raise InvalidEvidence(what, f"{path or 'it'} is no object")
        self._values = values

    def wrong(self, name: str, reason: str) -> InvalidEvidence:
        """Return the error that a member deserves."""
        return InvalidEvidence(self._what, f"{f'{self._path}.{name}'.strip('.')}: {reason}")

    def has(self, name: str) -> bool:
        """Return whether a member is there."""
        return name in self._values

    def text(self, name: str) -> str:
        """Read a string."""
        value = self._values.get(name)
        if not isinstance(value, str) or len(value) > 1000:
            raise self.wrong(name, "a string is expected")
        return value

    def number(self, name: str) -> int:
        """Read a number of at most 32 bits."""
        value = self._values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
            raise self.wrong(name, "a number is expected")
        return value

    def octets(self, name: str, size: int) -> bytes:
        """Read bytes in hexadecimal."""
        text = self.text(name)
        if len(text) != 2 * size or not _HEX.fullmatch(text):
            raise self.wrong(name, f"{2 * size} hexadecimal digits are expected")
        return bytes.fromhex(text)

    def time(self, name: str) -> datetime:
        """Read a time in UTC."""
        try:
            return datetime.strptime(self.text(name), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError as exc:
            raise self.wrong(name, "a time such as 2026-01-31T12:00:00Z is expected") from exc

    def status(self) -> TcbStatus:
        """Read a status in Intel's words."""
        text = self.text("tcbStatus")
        try:
            return TcbStatus(text)
        except ValueError as exc:
            raise self.wrong("tcbStatus", f"{text[:40]!r} is not known") from exc

    def advisories(self) -> tuple[str, ...]:
        """Read the names of advisories; there need not be any."""
        values = self._values.get("advisoryIDs", [])
        if not isinstance(values, list) or len(values) > _MOST_LEVELS:
            raise self.wrong("advisoryIDs", "a list of strings is expected")
        if not all(isinstance(one, str) and one.isprintable() and len(one) <= 64 for one in values):
            raise self.wrong("advisoryIDs", "a list of strings is expected")
        return tuple(values)

    def object(self, name: str) -> _Object:
        """Read an object within."""
        return _Object(self._what, self._values.get(name), f"{self._path}.{name}".strip("."))

    def objects(self, name: str) -> list[_Object]:
        """Read a list of objects, at least one."""
        values = self._values.get(name)
        if not isinstance(values, list) or not 0 < len(values) <= _MOST_LEVELS:
            raise self.wrong(name, "a list of objects is expected")
        where = f"{self._path}.{name}".strip(".")
        return [_Object(self._what, one, f"{where}[{place}]") for place, one in enumerate(values)]

    def components(self, name: str) -> tuple[int, ...]:
        """Read the 16 versions of components."""
        found = tuple(one.number("svn") for one in self.objects(name))
        if len(found) != 16 or max(found) > 0xFF:
            raise self.wrong(name, "16 versions, each of a byte, are expected")
        return found
