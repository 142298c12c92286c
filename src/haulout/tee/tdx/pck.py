"""The certificate of the key that signs reports of quoting enclaves: PCK, of one platform at one TCB.

Source: Intel, SGX PCK Certificate and Certificate Revocation List Profile Specification, section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from haulout.tee import der
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from haulout.tee.certificates import Certificate

EXTENSION: Final = "1.2.840.113741.1.13.1"
PPID: Final = f"{EXTENSION}.1"
TCB: Final = f"{EXTENSION}.2"
PCEID: Final = f"{EXTENSION}.3"
FMSPC: Final = f"{EXTENSION}.4"
COMPONENTS: Final = 16
PCESVN: Final = f"{TCB}.17"
CPUSVN: Final = f"{TCB}.18"


@dataclass(frozen=True, slots=True)
class Platform:
    """What Intel says about a platform.

    Attributes:
        fmspc: family, model, stepping, platform type and custom SKU, 6 bytes.
        components: the 16 security versions of what runs below enclaves.
        pce_svn: the version of the provisioning certification enclave.
        ppid: what tells this platform from all others, 16 bytes.
    """

    fmspc: bytes
    pce_id: bytes
    components: tuple[int, ...]
    pce_svn: int
    ppid: bytes = b""


def read(certificate: Certificate) -> Platform:
    """Read the extension of a PCK certificate.

    Raises:
        Refused: it is missing or malformed.
    """
    raw = certificate.extensions.get(EXTENSION)
    if raw is None:
        raise Refused(Rule.CERTIFICATE_EXTENSION, f"its platform's certificate lacks the extension {EXTENSION}")
    try:
        found = der.pairs(der.parse(raw))
        tcb = der.pairs(_part(found, TCB))
        platform = Platform(
            fmspc=_bytes(found, FMSPC, 6),
            pce_id=_bytes(found, PCEID, 2),
            components=tuple(_number(tcb, f"{TCB}.{place}", 0xFF) for place in range(1, COMPONENTS + 1)),
            pce_svn=_number(tcb, PCESVN, 0xFFFF),
            ppid=_bytes(found, PPID, 16),
        )
        again = _bytes(tcb, CPUSVN, COMPONENTS)
    except der.NotDer as exc:
        raise Refused(
            Rule.CERTIFICATE_EXTENSION, f"its platform's certificate has a malformed extension: {exc}"
        ) from exc
    # The same versions, as the processor reports them.
    if again != bytes(platform.components):
        raise Refused(Rule.CERTIFICATE_EXTENSION, "its platform's certificate has two different TCBs")
    return platform


def _part(values: dict[str, der.Value], name: str) -> der.Value:
    if name not in values:
        raise der.NotDer(f"{name} is missing")
    return values[name]


def _bytes(values: dict[str, der.Value], name: str, size: int) -> bytes:
    content = _part(values, name).expect(der.OCTET_STRING)
    if len(content) != size:
        raise der.NotDer(f"{name} has {len(content)} bytes, not {size}")
    return content


def _number(values: dict[str, der.Value], name: str, most: int) -> int:
    number = _part(values, name).integer()
    if number > most:
        raise der.NotDer(f"{name} is larger than {most}")
    return number
