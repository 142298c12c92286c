"""Evidence in the forms that Trustee's clients send, one row for each TEE; and as the TEE signed it.

SEV-SNP: the structure of ``sev::firmware::guest::AttestationReport`` as serde writes it, and the table of certificates.
TDX: the quote in base64. CCA: the token as an array of bytes. TPM: its JSON as it is, and certificates, which Trustee
does not have. Sources: ``deps/verifier/src`` of Trustee 0.21.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from haulout.broker.protocol.errors import InvalidMessage
from haulout.broker.protocol.members import Members
from haulout.errors import InvalidManifest
from haulout.oci import json

if TYPE_CHECKING:
    from collections.abc import Callable

_WHAT: Final = "Attestation"
_WHERE: Final = "tee-evidence.primary_evidence"
_REPORT: Final = 1184
_SIGNATURE: Final = 0x2A0
_TURIN: Final = 0x1A
"""Family of processors whose TCB versions have another layout."""
_WITH_CPUID: Final = 3
"""Version of a report from which on it names the processor."""
_WITH_MITIGATIONS: Final = 5
MAX_CERTIFICATES: Final = 16


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence as the TEE signed it, and the certificates that came with it.

    Attributes:
        data: the evidence.
        certificates: in DER or PEM, in any order; none where the verifier is expected to have them.
    """

    data: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def from_wire(cls, tee: str, value: object) -> Self:
        """Read the protocol's form.

        Raises:
            InvalidMessage: it is not the form of this TEE, or no form is known.
        """
        return cls(*_form(tee).decode(Members(value, _WHAT, _WHERE)))

    def to_wire(self, tee: str) -> Any:
        """Return the protocol's form.

        Raises:
            InvalidMessage: no form of this TEE is known, or the evidence does not fit it.
        """
        return _form(tee).encode(self.data, self.certificates)


class Form(NamedTuple):
    """How the evidence of one TEE is written."""

    decode: Callable[[Members], tuple[bytes, tuple[bytes, ...]]]
    encode: Callable[[bytes, tuple[bytes, ...]], Any]


def _form(tee: str) -> Form:
    if tee not in FORMS:
        raise InvalidMessage("Request", "tee", f"not one of {', '.join(FORMS)}")
    return FORMS[tee]


# --- SEV-SNP ---------------------------------------------------------------------------------------------------------

_OCTETS: Final = {
    "family_id": (0x10, 16),
    "image_id": (0x20, 16),
    "report_data": (0x50, 64),
    "measurement": (0x90, 48),
    "host_data": (0xC0, 32),
    "id_key_digest": (0xE0, 48),
    "author_key_digest": (0x110, 48),
    "report_id": (0x140, 32),
    "report_id_ma": (0x160, 32),
    "chip_id": (0x1A0, 64),
}
_NUMBERS: Final = {
    "version": (0x00, 4),
    "guest_svn": (0x04, 4),
    "policy": (0x08, 8),
    "vmpl": (0x30, 4),
    "sig_algo": (0x34, 4),
    "plat_info": (0x40, 8),
    "key_info": (0x48, 4),
}
_OPTIONAL: Final = {
    "cpuid_fam_id": (0x188, 1, _WITH_CPUID),
    "cpuid_mod_id": (0x189, 1, _WITH_CPUID),
    "cpuid_step": (0x18A, 1, _WITH_CPUID),
    "launch_mit_vector": (0x1F8, 8, _WITH_MITIGATIONS),
    "current_mit_vector": (0x200, 8, _WITH_MITIGATIONS),
}
"""Offset, size, the version of the report from which on it is there."""
_TCBS: Final = {"current_tcb": 0x38, "reported_tcb": 0x180, "committed_tcb": 0x1E0, "launch_tcb": 0x1F0}
_TCB_BYTES: Final = ("bootloader", "tee", None, None, None, None, "snp", "microcode")
_TURIN_TCB_BYTES: Final = ("fmc", "bootloader", "tee", "snp", None, None, None, "microcode")
_BUILDS: Final = {"current": 0x1E8, "committed": 0x1EC}
_BUILD_BYTES: Final = ("build", "minor", "major")
_SIGNED_NUMBERS: Final = {"r": 0x2A0, "s": 0x2E8}
_SCALAR: Final = 72


def _decode_snp(evidence: Members) -> tuple[bytes, tuple[bytes, ...]]:
    report = evidence.object("attestation_report")
    raw = bytearray(_REPORT)

    places = dict(_NUMBERS)
    places |= {name: (at, size) for name, (at, size, _) in _OPTIONAL.items() if report.values.get(name) is not None}
    for name, (offset, size) in _OCTETS.items():
        raw[offset : offset + size] = report.octets(name, size)
    for name, (offset, size) in places.items():
        raw[offset : offset + size] = report.number(name, 8 * size).to_bytes(size, "little")
    for name, offset in _TCBS.items():
        tcb = report.object(name)
        layout = _TCB_BYTES if tcb.values.get("fmc") is None else _TURIN_TCB_BYTES
        raw[offset : offset + len(layout)] = bytes(tcb.number(part, 8) if part else 0 for part in layout)
    for name, offset in _BUILDS.items():
        raw[offset : offset + len(_BUILD_BYTES)] = bytes(report.object(name).number(part, 8) for part in _BUILD_BYTES)
    for name, offset in _SIGNED_NUMBERS.items():
        raw[offset : offset + _SCALAR] = report.object("signature").octets(name, _SCALAR)
    return bytes(raw), _certificates(evidence)


def _certificates(evidence: Members) -> tuple[bytes, ...]:
    chain = evidence.values.get("cert_chain") or []
    if not isinstance(chain, list) or len(chain) > MAX_CERTIFICATES:
        raise evidence.wrong("cert_chain", f"expected a list of at most {MAX_CERTIFICATES} certificates")
    entries = [Members(one, _WHAT, f"{_WHERE}.cert_chain") for one in chain]
    return tuple(one.octets("data") for one in entries if one.values.get("cert_type") not in {"Empty", "CRL"})


def _encode_snp(data: bytes, certificates: tuple[bytes, ...]) -> Any:
    if len(data) != _REPORT:
        raise InvalidMessage(_WHAT, _WHERE, f"an SEV-SNP report has {_REPORT} bytes")

    def number(offset: int, size: int) -> int:
        return int.from_bytes(data[offset : offset + size], "little")

    version = number(0, 4)
    layout = _TURIN_TCB_BYTES if version >= _WITH_CPUID and data[0x188] == _TURIN else _TCB_BYTES
    report: dict[str, Any] = {name: number(*place) for name, place in _NUMBERS.items()}
    report |= {name: list(data[offset : offset + size]) for name, (offset, size) in _OCTETS.items()}
    for name, (offset, size, since) in _OPTIONAL.items():
        report[name] = number(offset, size) if version >= since else None
    for name, offset in _TCBS.items():
        report[name] = {"fmc": None} | {part: data[offset + i] for i, part in enumerate(layout) if part}
    for name, offset in _BUILDS.items():
        report[name] = {part: data[offset + i] for i, part in enumerate(_BUILD_BYTES)}
    report["signature"] = {name: list(data[at : at + _SCALAR]) for name, at in _SIGNED_NUMBERS.items()}
    signer = "VLEK" if number(0x48, 4) >> 2 & 7 == 1 else "VCEK"
    chain = [
        {"cert_type": signer if index == 0 else "ASK", "data": list(one)} for index, one in enumerate(certificates)
    ]
    return {"attestation_report": report, "cert_chain": chain or None}


# --- TDX, CCA, TPM ---------------------------------------------------------------------------------------------------


def _decode_tdx(evidence: Members) -> tuple[bytes, tuple[bytes, ...]]:
    return evidence.base64("quote"), ()


def _encode_tdx(data: bytes, _: tuple[bytes, ...]) -> Any:
    return {"cc_eventlog": None, "quote": base64.b64encode(data).decode()}


def _decode_cca(evidence: Members) -> tuple[bytes, tuple[bytes, ...]]:
    return evidence.octets("token"), ()


def _encode_cca(data: bytes, _: tuple[bytes, ...]) -> Any:
    return {"token": list(data)}


def _decode_tpm(evidence: Members) -> tuple[bytes, tuple[bytes, ...]]:
    values = dict(evidence.values)
    listed = values.pop("certificates", [])
    if not isinstance(listed, list) or len(listed) > MAX_CERTIFICATES:
        raise evidence.wrong("certificates", f"expected a list of at most {MAX_CERTIFICATES} certificates")
    named = Members({str(number): one for number, one in enumerate(listed)}, _WHAT, f"{_WHERE}.certificates")
    return json.dumps(values), tuple(named.base64(name) for name in named.values)


def _encode_tpm(data: bytes, certificates: tuple[bytes, ...]) -> Any:
    try:
        values = json.loads(data, _WHAT)
    except InvalidManifest as exc:
        raise InvalidMessage(_WHAT, _WHERE, exc.reason) from exc
    return {**values, "certificates": [base64.b64encode(one).decode() for one in certificates]}


FORMS: Final[dict[str, Form]] = {
    "snp": Form(_decode_snp, _encode_snp),
    "tdx": Form(_decode_tdx, _encode_tdx),
    "cca": Form(_decode_cca, _encode_cca),
    "tpm": Form(_decode_tpm, _encode_tpm),
}
"""Trustee's word for a TEE → how its evidence is written."""
