"""TPM evidence: a quote, its signature, the key that made it, and the values of the PCRs that it digests.

It is the JSON object that Trustee's guests send, with members of ours that may be absent: docs/formats/tpm-evidence.md.
Nothing is verified here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from haulout.documents import Document
from haulout.errors import InvalidEvidence, InvalidManifest
from haulout.oci import json
from haulout.tee.tpm.structures import Attest, Public, Signature, read_attest, read_public, read_signature

_WHAT: Final = "TPM evidence"
_REPORT_DATA: Final = 64
_SIZES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
LARGEST: Final = 1 << 17
"""Bytes of the evidence; one with all PCRs of three banks has about 12,000."""
_MEMBERS: Final = frozenset({"ak_public", "tpm_quote", "report_data", "activation"})
_QUOTE: Final = frozenset({"message", "signature", "pcrs"})


@dataclass(frozen=True, slots=True)
class TpmQuote(Document):
    """Evidence as it was parsed; nothing about it is verified.

    Attributes:
        attest: what was signed.
        signature: of the attestation key (AK).
        ak: its public area.
        values: of the selected PCRs, in the order of the selection.
        report_data: the 64 bytes that the guest chose.
        activation: what the guest's TPM decrypted of a broker's challenge; "" where it was not asked.
    """

    attest: Attest = field(repr=False)
    signature: Signature = field(repr=False)
    ak: Public = field(repr=False)
    values: tuple[bytes, ...] = field(repr=False)
    report_data: bytes
    activation: bytes = field(default=b"", repr=False)

    json_members: ClassVar = (
        "ak=ak.name",
        "signer=attest.signer",
        "report_data",
        "pcrs",
        "clock=attest.clock",
        "clock_safe=attest.safe",
        "resets=attest.resets",
        "restarts=attest.restarts",
        "firmware=firmware",
    )

    @property
    def firmware(self) -> str:
        """Return the version of the TPM's firmware, 16 hexadecimal digits."""
        return f"{self.attest.firmware:016x}"

    @property
    def pcrs(self) -> dict[str, str]:
        """Return the PCRs by names such as ``sha256:4``."""
        named = zip(self.attest.selection, self.values, strict=True)
        return {f"{bank}:{number}": value.hex() for (bank, number), value in named}

    def pcr(self, number: int) -> dict[str, bytes]:
        """Return the values of a PCR, by bank; banks that were not quoted are absent."""
        named = zip(self.attest.selection, self.values, strict=True)
        return {bank: value for (bank, one), value in named if one == number}


def recognise(data: bytes) -> bool:
    """Return whether bytes are TPM evidence."""
    # Evidence of Azure's machines has a tpm_quote as well, beside a report of the hardware.
    return data.lstrip()[:1] == b"{" and all(name in data for name in (b'"ak_public"', b'"tpm_quote"'))


def parse(data: bytes) -> TpmQuote:
    """Parse evidence.

    Raises:
        InvalidEvidence: it is not TPM evidence, or a structure in it is broken.
    """
    try:
        values = json.loads(data, _WHAT, largest=LARGEST)
    except InvalidManifest as exc:
        raise InvalidEvidence(_WHAT, exc.reason) from exc
    _require_members(values, _MEMBERS, {"ak_public", "tpm_quote"}, "it")
    quote = values["tpm_quote"]
    _require_members(quote, _QUOTE, _QUOTE, "its tpm_quote")
    attest = read_attest(_base64(quote, "message"), "message of the TPM evidence")
    signature = read_signature(_base64(quote, "signature"), "signature of the TPM evidence")
    ak = read_public(_base64(values, "ak_public"), "attestation key of the TPM evidence")
    pcrs = _pcrs(quote["pcrs"], attest)
    activation = _base64(values, "activation") if "activation" in values else b""
    return TpmQuote(attest, signature, ak, pcrs, _report_data(values, attest), activation)


def build(
    attest: bytes, signature: bytes, ak: bytes, pcrs: tuple[bytes, ...], *, report_data: bytes, activation: bytes = b""
) -> bytes:
    """Return evidence from what a TPM answered.

    Args:
        attest: TPMS_ATTEST.
        signature: TPMT_SIGNATURE.
        ak: TPMT_PUBLIC of the attestation key.
        pcrs: values in the order of the selection.
        report_data: 64 bytes, of which the TPM signed all, or the SHA-256.
        activation: the answer to a broker's challenge.
    """

    def text(value: bytes) -> str:
        return base64.b64encode(value).decode()

    quote = {"signature": text(signature), "message": text(attest), "pcrs": [one.hex() for one in pcrs]}
    values: dict[str, Any] = {"report_data": text(report_data), "tpm_quote": quote, "ak_public": text(ak)}
    if activation:
        values["activation"] = text(activation)
    return json.dumps(values)


def _require_members(values: Any, known: frozenset[str], needed: frozenset[str] | set[str], whose: str) -> None:
    if not isinstance(values, dict) or not needed <= values.keys() <= known:
        raise InvalidEvidence(
            _WHAT, f"{whose} does not have the members {', '.join(sorted(needed))}, or has unknown ones"
        )


def _base64(values: dict[str, Any], name: str) -> bytes:
    text = values[name]
    try:
        found = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        found = b""
    # Two texts must not mean the same bytes: unused bits of the last character are zero.
    if not found or base64.b64encode(found).decode() != text:
        raise InvalidEvidence(_WHAT, f"its {name} is not in base64, or empty")
    return found


def _pcrs(values: Any, attest: Attest) -> tuple[bytes, ...]:
    if not isinstance(values, list) or len(values) != len(attest.selection):
        raise InvalidEvidence(_WHAT, f"it does not have one value for each of the {len(attest.selection)} PCRs quoted")
    found = []
    for value, (bank, number) in zip(values, attest.selection, strict=True):
        try:
            one = bytes.fromhex(value) if isinstance(value, str) and value.isalnum() else b""
        except ValueError:
            one = b""
        if len(one) != _SIZES[bank] or one.hex() != value:
            raise InvalidEvidence(
                _WHAT, f"its PCR {number} of {bank} does not have {2 * _SIZES[bank]} hexadecimal digits"
            )
        found.append(one)
    return tuple(found)


def _report_data(values: dict[str, Any], attest: Attest) -> bytes:
    """Return the report data that was signed: as it is, or, for TPMs that sign at most 50 bytes, its SHA-256."""
    if "report_data" not in values:
        return attest.extra.ljust(_REPORT_DATA, b"\0")
    found = _base64(values, "report_data")
    if len(found) != _REPORT_DATA or attest.extra not in {found, hashlib.sha256(found).digest()}:
        raise InvalidEvidence(_WHAT, "its report data is not what its quote carries")
    return found
