"""Whose evidence some bytes are, by the bytes alone."""

from __future__ import annotations

import struct
from typing import Final

from haulout.errors import InvalidEvidence
from haulout.tee.snp import report as snp
from haulout.tee.verdict import Kind

MAX_BYTES: Final = 1 << 20
"""Bytes of evidence read; the largest known has 16 KB."""

_TDX_HEADER = struct.Struct("<HHI")
_KEY_TYPES: Final = (2, 3)
_TEE_SGX: Final = 0x00
_TEE_TDX: Final = 0x81
_CCA_TAG: Final = bytes.fromhex("d9018f")
"""CBOR's tag 399, which begins a CCA token."""

_HINT: Final = (
    "known are SEV-SNP reports (1184 bytes), TDX quotes of version 4 and 5, and Arm CCA tokens (CBOR), all binary"
)


def recognise(data: bytes) -> Kind:
    """Tell whose evidence it is.

    Raises:
        InvalidEvidence: nobody's that is known, or somebody's that is cut short.
    """
    if not data:
        raise InvalidEvidence("evidence", "it is empty")
    if len(data) > MAX_BYTES:
        raise InvalidEvidence("evidence", f"{len(data)} bytes; at most {MAX_BYTES} are read")
    if data.startswith(_CCA_TAG):
        return Kind.CCA
    if len(data) >= 48:
        version, key_type, tee = _TDX_HEADER.unpack_from(data)
        if key_type in _KEY_TYPES and tee == _TEE_TDX and 4 <= version <= 0xFF:
            return Kind.TDX
        if key_type in _KEY_TYPES and tee == _TEE_SGX and 3 <= version <= 5:
            raise InvalidEvidence("SGX quote", "it tells of an enclave, not of a virtual machine")
    if len(data) == snp.SIZE:
        return Kind.SNP
    if len(data) >= 4 and struct.unpack_from("<I", data)[0] in snp.VERSIONS:
        raise InvalidEvidence("SEV-SNP report", f"{len(data)} bytes, where a report has {snp.SIZE}")
    if data.lstrip()[:1] in {b"{", b"["} or data.startswith(b"-----BEGIN"):
        raise InvalidEvidence("evidence", "it is JSON or PEM, not what the TEE itself signs", hint=_HINT)
    raise InvalidEvidence("evidence", "it is nothing that is known", hint=_HINT)
