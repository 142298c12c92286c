"""Evidence in the forms that Trustee's attesters send. Nothing of haulout is here.

SEV-SNP: ``AttestationReport`` of virtee/sev 7 as serde writes it, after the layout in AMD's document 56860, table 23; its names
are those of attestation-service/tests/e2e/evidence.json. TDX and CCA: the attesters of guest-components 8246e5e0.
"""

from __future__ import annotations

import base64
from typing import Any

_TURIN = 0x1A


def snp(report: bytes, *certificates: bytes) -> dict[str, Any]:
    """Return a report of 1184 bytes, and certificates in DER: the signing key's first, then ASK, ARK."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(report[at : at + size], "little")

    def octets(at: int, size: int) -> list[int]:
        return list(report[at : at + size])

    version = number(0, 4)
    turin = version >= 3 and report[0x188] == _TURIN

    def tcb(at: int) -> dict[str, int | None]:
        raw = report[at : at + 8]
        if turin:
            return {"fmc": raw[0], "bootloader": raw[1], "tee": raw[2], "snp": raw[3], "microcode": raw[7]}
        return {"fmc": None, "bootloader": raw[0], "tee": raw[1], "snp": raw[6], "microcode": raw[7]}

    def build(at: int) -> dict[str, int]:
        return {"major": report[at + 2], "minor": report[at + 1], "build": report[at]}

    document = {
        "version": version,
        "guest_svn": number(4, 4),
        "policy": number(8, 8),
        "family_id": octets(0x10, 16),
        "image_id": octets(0x20, 16),
        "vmpl": number(0x30, 4),
        "sig_algo": number(0x34, 4),
        "current_tcb": tcb(0x38),
        "plat_info": number(0x40, 8),
        "key_info": number(0x48, 4),
        "report_data": octets(0x50, 64),
        "measurement": octets(0x90, 48),
        "host_data": octets(0xC0, 32),
        "id_key_digest": octets(0xE0, 48),
        "author_key_digest": octets(0x110, 48),
        "report_id": octets(0x140, 32),
        "report_id_ma": octets(0x160, 32),
        "reported_tcb": tcb(0x180),
        "cpuid_fam_id": report[0x188] if version >= 3 else None,
        "cpuid_mod_id": report[0x189] if version >= 3 else None,
        "cpuid_step": report[0x18A] if version >= 3 else None,
        "chip_id": octets(0x1A0, 64),
        "committed_tcb": tcb(0x1E0),
        "current": build(0x1E8),
        "committed": build(0x1EC),
        "launch_tcb": tcb(0x1F0),
        "launch_mit_vector": number(0x1F8, 8) if version >= 5 else None,
        "current_mit_vector": number(0x200, 8) if version >= 5 else None,
        "signature": {"r": octets(0x2A0, 72), "s": octets(0x2E8, 72)},
    }
    signer = "VLEK" if number(0x48, 4) >> 2 & 7 == 1 else "VCEK"
    kinds = (signer, "ASVK" if signer == "VLEK" else "ASK", "ARK")
    chain = [{"cert_type": kind, "data": list(one)} for kind, one in zip(kinds, certificates, strict=False)]
    return {"attestation_report": document, "cert_chain": chain or None}


def tdx(quote: bytes) -> dict[str, Any]:
    """Return a quote."""
    return {"cc_eventlog": None, "quote": base64.b64encode(quote).decode()}


def cca(token: bytes) -> dict[str, Any]:
    """Return a token."""
    return {"token": list(token)}
