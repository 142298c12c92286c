"""The quote of TDX: a header, a report of the virtual machine, and signatures from it up to Intel's certificates.

Source: Intel, TDX DCAP Quoting Library API, appendix A.3 (version 4) and A.4 (version 5). Integers are little-endian,
the numbers of signatures and keys big-endian. Parsing does not verify; it accepts what has exactly this structure.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import ClassVar, Final

from haulout.documents import Document
from haulout.errors import InvalidEvidence

HEADER: Final = 48
BODY_TD10: Final = 584
BODY_TD15: Final = 648
QE_REPORT: Final = 384
KEY_ECDSA_P256: Final = 2
TEE_TDX: Final = 0x81
_TEE_SGX: Final = 0x00
INTEL: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
"""Vendor of the quoting enclave."""

TYPE_TD10: Final = 2
TYPE_TD15: Final = 3
_BODIES: Final = {TYPE_TD10: BODY_TD10, TYPE_TD15: BODY_TD15}

CERTIFICATION_QE: Final = 6
CERTIFICATION_PCK_CHAIN: Final = 5

_MAX_SIGNATURE: Final = 64 << 10

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_MAX_CHAIN_CERTIFICATES: Final = 4


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


@dataclass(frozen=True, slots=True)
class TdReport:
    """What the TDX module says about the virtual machine, or trust domain (TD).

    Attributes:
        version: 1.0, or 1.5 with ``tee_tcb_svn2`` and ``mrservicetd``.
    """

    version: str
    tee_tcb_svn: bytes
    mrseam: bytes
    mrsignerseam: bytes
    seam_attributes: bytes
    td_attributes: int
    xfam: int
    mrtd: bytes
    mrconfigid: bytes
    mrowner: bytes
    mrownerconfig: bytes
    rtmr: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes
    tee_tcb_svn2: bytes | None
    mrservicetd: bytes | None

    json_members: ClassVar = (
        "tee_tcb_svn",
        "td_attributes=attributes",
        "td_attributes_bits",
        "xfam=xfam_bits",
        "mrseam",
        "mrsignerseam",
        "mrtd",
        "rtmr",
        "report_data",
        "mrconfigid",
        "mrowner",
        "mrownerconfig",
        "mrservicetd",
    )

    @property
    def attributes(self) -> tuple[str, ...]:
        """Name the attributes that are set."""
        return tuple(name for name, bit in ATTRIBUTE_BITS.items() if self.td_attributes >> bit & 1)

    @property
    def td_attributes_bits(self) -> str:
        """Return the attributes as a number in hexadecimal."""
        return f"{self.td_attributes:#x}"

    @property
    def xfam_bits(self) -> str:
        """Return XFAM as a number in hexadecimal."""
        return f"{self.xfam:#x}"


@dataclass(frozen=True, slots=True)
class QeReport:
    """What the processor says about the quoting enclave (QE), which signs quotes."""

    cpu_svn: bytes
    misc_select: bytes
    attributes: bytes
    mrenclave: bytes
    mrsigner: bytes
    isv_prod_id: int
    isv_svn: int
    report_data: bytes

    @property
    def debug(self) -> bool:
        """Return whether the enclave can be debugged."""
        return bool(self.attributes[0] & 2)


@dataclass(frozen=True, slots=True)
class TdxQuote(Document):
    """A quote as it was parsed; nothing about it is verified.

    Attributes:
        signed: header and body, which ``signature`` covers.
        attestation_key: x and y of the QE's key, which made ``signature``.
        qe_signed: the QE's report, which ``qe_signature`` of the platform's key (PCK) covers.
        qe_authentication: what the QE's report binds besides the key.
        pck_chain: certificates in PEM, from the PCK's up to the root.
        unread_bytes: how many bytes follow the quote, which nothing signs; 0 where they are zeros, with which guests
            fill buffers of a fixed size.
    """

    version: int
    qe_vendor: bytes
    body: TdReport
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    attestation_key: bytes = field(repr=False)
    qe: QeReport = field(repr=False)
    qe_signed: bytes = field(repr=False)
    qe_signature: bytes = field(repr=False)
    qe_authentication: bytes = field(repr=False)
    pck_chain: bytes = field(repr=False)
    unread_bytes: int = 0

    json_members: ClassVar = ("version", "body=body.version", "*body", "unread_bytes")

    @property
    def report_data(self) -> bytes:
        """Return the 64 bytes that the guest chose."""
        return self.body.report_data


def recognise(data: bytes) -> bool:
    """Return whether bytes are a quote of TDX, by its header.

    Raises:
        InvalidEvidence: they are a quote of SGX.
    """
    if len(data) < HEADER:
        return False
    version, key_type, tee = struct.unpack_from("<HHI", data)
    if key_type in {2, 3} and tee == _TEE_SGX and 3 <= version <= 5:
        raise InvalidEvidence("SGX quote", "it is about an enclave, not about a virtual machine")
    return key_type in {2, 3} and tee == TEE_TDX and 4 <= version <= 0xFF


def parse(data: bytes) -> TdxQuote:
    """Parse a quote.

    Raises:
        InvalidEvidence: it is not one, or one of another TEE, version or key.
    """
    source = _Source(data)
    version, key_type, tee = struct.unpack("<HHI", source.take(8, "header"))
    source.take(4, "header")
    vendor = source.take(16, "header")
    source.take(HEADER - 28, "header")
    if version not in {4, 5}:
        raise _wrong(f"its version {version} is not known; known are 4 and 5", 0)
    if key_type != KEY_ECDSA_P256:
        raise _wrong(f"its key type {key_type} is not known; only 2, ECDSA P-256, is", 2)
    if tee != TEE_TDX:
        raise _wrong(f"its TEE type is {tee:#x}; TDX is {TEE_TDX:#x}", 4)
    body = _body(source, version)
    signed = data[: source.position]
    at = source.position
    (length,) = struct.unpack("<I", source.take(4, "length of its signature"))
    if length > _MAX_SIGNATURE:
        raise _wrong(f"it claims a signature of {length} bytes", at)
    inner = _Source(source.take(length, "signature"), offset=source.position - length)
    behind = source.rest()
    signature = inner.take(64, "signature")
    key = inner.take(64, "attestation key")
    certification = _Source(*_certification(inner, CERTIFICATION_QE))
    inner.end()
    qe_signed = certification.take(QE_REPORT, "report of its quoting enclave")
    qe_signature = certification.take(64, "signature of its quoting enclave's report")
    (size,) = struct.unpack("<H", certification.take(2, "authentication data"))
    authentication = certification.take(size, "authentication data")
    chain, chain_at = _certification(certification, CERTIFICATION_PCK_CHAIN)
    certification.end()
    return TdxQuote(
        version=version,
        qe_vendor=vendor,
        body=body,
        signed=signed,
        signature=signature,
        attestation_key=key,
        qe=_qe(qe_signed),
        qe_signed=qe_signed,
        qe_signature=qe_signature,
        qe_authentication=authentication,
        pck_chain=_chain(chain, chain_at),
        unread_bytes=len(behind) if any(behind) else 0,
    )


def _body(source: _Source, version: int) -> TdReport:
    kind, size = TYPE_TD10, BODY_TD10
    if version == 5:
        at = source.position
        kind, size = struct.unpack("<HI", source.take(6, "description of its body"))
        if kind not in _BODIES:
            raise _wrong(f"its body type {kind} is not known; known are 2 and 3", at)
        if size != _BODIES[kind]:
            raise _wrong(f"its body of type {kind} claims {size} bytes; that type has {_BODIES[kind]}", at + 2)
    data = source.take(size, "body")
    (attributes, xfam) = struct.unpack_from("<QQ", data, 120)
    registers = [data[328 + 48 * number : 376 + 48 * number] for number in range(4)]
    return TdReport(
        version="1.0" if kind == TYPE_TD10 else "1.5",
        tee_tcb_svn=data[:16],
        mrseam=data[16:64],
        mrsignerseam=data[64:112],
        seam_attributes=data[112:120],
        td_attributes=attributes,
        xfam=xfam,
        mrtd=data[136:184],
        mrconfigid=data[184:232],
        mrowner=data[232:280],
        mrownerconfig=data[280:328],
        rtmr=(registers[0], registers[1], registers[2], registers[3]),
        report_data=data[520:584],
        tee_tcb_svn2=data[584:600] if kind == TYPE_TD15 else None,
        mrservicetd=data[600:648] if kind == TYPE_TD15 else None,
    )


def _qe(data: bytes) -> QeReport:
    product, version = struct.unpack_from("<HH", data, 256)
    return QeReport(
        cpu_svn=data[:16],
        misc_select=data[16:20],
        attributes=data[48:64],
        mrenclave=data[64:96],
        mrsigner=data[128:160],
        isv_prod_id=product,
        isv_svn=version,
        report_data=data[320:384],
    )


def _certification(source: _Source, wanted: int) -> tuple[bytes, int]:
    at = source.position
    kind, size = struct.unpack("<HI", source.take(6, "certification data"))
    if kind != wanted:
        raise _wrong(f"its certification data is of type {kind}; {wanted} is expected", at)
    return source.take(size, "certification data"), at + 6


def _chain(data: bytes, at: int) -> bytes:
    """Require certificates and white space alone: the unsigned part must not carry a message."""
    if len(_PEM.findall(data)) > _MAX_CHAIN_CERTIFICATES or _PEM.sub(b"", data).strip(b" \t\r\n\0"):
        raise _wrong("its certificate data does not hold a few certificates in PEM", at)
    return data.rstrip(b"\0")


def _wrong(reason: str, offset: int) -> InvalidEvidence:
    return InvalidEvidence("TDX quote", reason, offset=offset)


class _Source:
    """Bytes that are taken from the front; running out of them is an error that names the place."""

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self._data = data
        self._offset = offset
        self._taken = 0

    @property
    def position(self) -> int:
        """Return the offset in the quote."""
        return self._offset + self._taken

    def take(self, size: int, what: str) -> bytes:
        """Take so many bytes."""
        found = self._data[self._taken : self._taken + size]
        if len(found) != size:
            raise _wrong(f"it is cut short in its {what}", self.position + len(found))
        self._taken += size
        return found

    def rest(self) -> bytes:
        """Return what is left, without taking it."""
        return self._data[self._taken :]

    def end(self) -> None:
        """Require that nothing is left."""
        if self.rest():
            raise _wrong(f"{len(self.rest())} bytes are left over in its signature", self.position)
