"""Azure's HCL report: a report of the hardware around the data of the machine's virtual TPM. Pure.

A paravisor at VMPL 0 (or in the TDX partition) owns the hardware's report. Its report data are the hash of a JSON, the
runtime data, which names the TPM's attestation key and what the guest wrote as user data. The guest's own nonce stands
in a quote that this key signed, or in the user data.

Source: Microsoft, "Guest attestation for confidential virtual machines", attestation report format.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from haulout.documents import Document
from haulout.errors import InvalidEvidence, InvalidManifest
from haulout.oci import loads
from haulout.tee.nonces import REPORT_DATA, as_report_data
from haulout.tee.verdict import Refused, Rule

MAGIC: Final = b"HCLA"
_WHAT: Final = "Azure's HCL report"
_HEADER: Final = 32
_HARDWARE: Final = 1184
_REQUEST: Final = struct.Struct("<IIIII")
_SNP, _TDX = 2, 4
_HASHES: Final = {1: hashlib.sha256, 2: hashlib.sha384, 3: hashlib.sha512}
_KEY: Final = "HCLAkPub"
_TPM_MAGIC: Final = b"\xffTCG\x80\x18"
"""TPM_GENERATED_VALUE and TPM_ST_ATTEST_QUOTE (TPM 2.0, part 2, 10.12.8)."""
_SHA256_ID: Final = 0x000B
_CLOCK_AND_FIRMWARE: Final = 17 + 8
_LEAST_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class HclReport:
    """A report as it was parsed; nothing about it is verified.

    Attributes:
        report: the hardware's report, of SEV-SNP; None where it is of TDX, which is no evidence by itself.
        runtime: the bytes of the runtime data.
        digest: their hash, which the hardware's report has to carry.
        key: the TPM's attestation key.
        user_data: what the guest wrote, as the runtime data have it.
    """

    report: bytes | None = field(repr=False)
    runtime: bytes = field(repr=False)
    digest: bytes
    key: rsa.RSAPublicKey = field(repr=False)
    user_data: bytes | None
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class VtpmQuote:
    """A quote of the virtual TPM over its PCRs: what was signed, the signature, and the values of the PCRs."""

    message: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    pcrs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Vtpm(Document):
    """The virtual TPM of a machine on Azure."""

    hcl: HclReport
    quote: VtpmQuote | None

    json_members: ClassVar = ("key", "user_data=hcl.user_data", "settings=hcl.settings", "quoted", "pcrs")

    @property
    def key(self) -> str:
        """SHA-256 of the attestation key's SubjectPublicKeyInfo."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return hashlib.sha256(self.hcl.key.public_bytes(serialization.Encoding.DER, form)).hexdigest()

    @property
    def quoted(self) -> bool:
        """Whether there is a quote of it, too."""
        return self.quote is not None

    @property
    def pcrs(self) -> tuple[bytes, ...]:
        """The PCRs of SHA-256 that were quoted, from 0 on."""
        return () if self.quote is None else self.quote.pcrs

    def require(self, report_data: bytes) -> bytes:
        """Require that the hardware vouches for the TPM's key, and the key for the quote.

        Args:
            report_data: of the hardware's evidence.

        Returns:
            what the guest itself put in: the quote's nonce, else its user data, else zeros; 64 bytes.

        Raises:
            Refused: the runtime data were changed, or the quote was.
        """
        if not hmac.compare_digest(as_report_data(self.hcl.digest), report_data):
            raise Refused(
                Rule.RUNTIME_DATA, "its report data is not the hash of the runtime data: they belong to another report"
            )
        if self.quote is None:
            return (self.hcl.user_data or b"").ljust(REPORT_DATA, b"\0")[:REPORT_DATA]
        return _require_quote(self.quote, self.hcl.key)


def parse(data: bytes) -> HclReport:
    """Parse an HCL report.

    Raises:
        InvalidEvidence: it is not one, or of an unknown type.
    """
    start = _HEADER + _HARDWARE + _REQUEST.size
    if len(data) < start:
        raise InvalidEvidence(_WHAT, f"it has {len(data)} bytes; the smallest has {start}")
    _, _, kind, algorithm, size = _REQUEST.unpack_from(data, _HEADER + _HARDWARE)
    runtime = data[start : start + size]
    if kind not in {_SNP, _TDX} or algorithm not in _HASHES or len(runtime) != size:
        raise InvalidEvidence(_WHAT, f"its type {kind}, hash {algorithm} or size {size} is not known")
    try:
        values = loads(runtime, _WHAT)
        key = _key(values)
        user = values.get("user-data")
        user_data = bytes.fromhex(user) if isinstance(user, str) else None
    except (InvalidManifest, ValueError, KeyError, TypeError) as exc:
        raise InvalidEvidence(_WHAT, "its runtime data do not name the attestation key of a TPM") from exc
    settings = values.get("vm-configuration")
    return HclReport(
        report=data[_HEADER : _HEADER + _HARDWARE] if kind == _SNP else None,
        runtime=runtime,
        digest=_HASHES[algorithm](runtime).digest(),
        key=key,
        user_data=user_data,
        settings=settings if isinstance(settings, dict) else {},
    )


def _key(values: dict[str, Any]) -> rsa.RSAPublicKey:
    found = next((one for one in values["keys"] if isinstance(one, dict) and one.get("kid") == _KEY), {})
    n, e = (int.from_bytes(base64.urlsafe_b64decode(found[name] + "==")) for name in ("n", "e"))
    if n.bit_length() < _LEAST_BITS:
        raise ValueError("a short key")
    return rsa.RSAPublicNumbers(e, n).public_key()


def quote(values: dict[str, Any]) -> VtpmQuote | None:
    """Read a quote from the JSON of Trustee's attesters; None where the members are not those of one."""
    message, signature, pcrs = (_octets(values.get(name)) for name in ("message", "signature", "pcrs"))
    if not (isinstance(message, bytes) and isinstance(signature, bytes) and isinstance(pcrs, list)):
        return None
    if not all(isinstance(one, bytes) and len(one) == hashlib.sha256().digest_size for one in pcrs):
        return None
    return VtpmQuote(message, signature, tuple(one for one in pcrs if isinstance(one, bytes)))


def _octets(value: Any) -> bytes | list[Any] | None:
    """Read bytes as hexadecimal or as a list of numbers; a list of such things as a list."""
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            return None
    if isinstance(value, list) and all(type(one) is int and 0 <= one < 256 for one in value):
        return bytes(value)
    return [_octets(one) for one in value[:64]] if isinstance(value, list) else None


def _require_quote(found: VtpmQuote, key: rsa.RSAPublicKey) -> bytes:
    """Verify a quote; returns its nonce, 64 bytes."""
    try:
        key.verify(found.signature, found.message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as exc:
        raise Refused(Rule.TPM_QUOTE, "the TPM's attestation key did not sign the quote of its virtual TPM") from exc
    try:
        nonce, selected, digest = _attested(found.message)
    except (struct.error, IndexError, ValueError) as exc:
        raise Refused(Rule.TPM_QUOTE, "what its virtual TPM signed is not a quote over PCRs of SHA-256") from exc
    values = b"".join(found.pcrs[number] for number in selected if number < len(found.pcrs))
    if not hmac.compare_digest(hashlib.sha256(values).digest(), digest):
        raise Refused(Rule.TPM_QUOTE, "the quote of its virtual TPM is about other PCRs than those beside it")
    return nonce


def _attested(message: bytes) -> tuple[bytes, list[int], bytes]:
    """Read TPMS_ATTEST of a quote: its nonce, the PCRs it is about, and their digest (TPM 2.0, part 2, 10.12)."""
    if not message.startswith(_TPM_MAGIC):
        raise ValueError("no quote")
    rest = message[len(_TPM_MAGIC) :]
    _, rest = _counted(rest)
    nonce, rest = _counted(rest)
    rest = rest[_CLOCK_AND_FIRMWARE:]
    count, algorithm, size = struct.unpack_from(">IHB", rest)
    if (count, algorithm) != (1, _SHA256_ID):
        raise ValueError("other PCRs")
    mask = int.from_bytes(rest[7 : 7 + size], "little")
    digest, rest = _counted(rest[7 + size :])
    if rest or len(nonce) > REPORT_DATA:
        raise ValueError("more than a quote")
    return nonce.ljust(REPORT_DATA, b"\0"), [bit for bit in range(8 * size) if mask >> bit & 1], digest


def _counted(data: bytes) -> tuple[bytes, bytes]:
    (size,) = struct.unpack_from(">H", data)
    if len(data) < 2 + size:
        raise ValueError("cut short")
    return data[2 : 2 + size], data[2 + size :]
