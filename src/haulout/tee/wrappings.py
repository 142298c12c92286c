"""Evidence inside what tools put around it: text, JSON, protobuf, buffers of drivers, Azure's HCL report. Pure.

Nothing is verified here, and nothing that is found is believed: the evidence inside is signed. So this searches for it,
instead of knowing the members of every tool: whatever decodes to evidence of a known kind is evidence.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import InvalidEvidence
from haulout.tee import azure
from haulout.tee.inputs import Given
from haulout.tee.kinds import KINDS, MAX_BYTES, Kind
from haulout.tee.snp import fields
from haulout.tee.snp.parse import SIZE as SNP_SIZE
from haulout.tee.snp.parse import VERSIONS as SNP_VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DEPTH: Final = 8
_NODES: Final = 20_000
"""Values looked at: a JSON of a machine's event log has some thousands."""
_SHORTEST: Final = 256
"""Characters or bytes of the smallest thing that is looked into."""
_LONGEST: Final = 4 * MAX_BYTES
_TEXT: Final = re.compile(rb"[\t\n\r\x20-\x7e]+")
_HEX: Final = re.compile(r"(?:0[xX])?((?:[0-9a-fA-F]{2})+)")
_BASE64: Final = re.compile(r"([A-Za-z0-9+/_-]+)={0,2}")
_PEM: Final = "-----BEGIN CERTIFICATE-----"
_DRIVER_HEADER: Final = 32
"""Bytes before a report in MSG_REPORT_RSP: status, size, and zeros (AMD 56860, table 25)."""
_TABLE_ENTRY: Final = 24


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """What was found.

    Attributes:
        evidence: what a TEE signed.
        certificates: certificates that lay beside it.
        layers: what was around it, from the outside in; empty where it was bare.
        vtpm: Azure's data about the machine's virtual TPM, whose hash the evidence has to carry.
    """

    evidence: bytes = field(repr=False)
    certificates: tuple[Given, ...] = ()
    layers: tuple[str, ...] = ()
    vtpm: azure.Vtpm | None = None


def unwrap(data: bytes, kinds: Iterable[Kind[Any, Any, Any]] = KINDS) -> Unwrapped:
    """Find the one piece of evidence in what a tool wrote; what holds none is returned as it is.

    Raises:
        InvalidEvidence: it holds several, or a report that only its own machine can verify.
    """
    search = _Search(tuple(kinds))
    if len(data) <= _LONGEST:
        search.look(data, ())
    found = search.found
    if len(found) > 1:
        # Anything of the length of a report is taken for one: what else has that length has no version of one.
        found = {one: layers for one, layers in found.items() if len(one) != SNP_SIZE or _is_versioned(one)} or found
    if len(found) > 1:
        raise InvalidEvidence(
            "evidence", f"it holds {len(found)} pieces of evidence", hint="give one of them in a file of its own"
        )
    vtpm = search.vtpm()
    if not found:
        if vtpm is not None:
            raise InvalidEvidence(
                "Azure's HCL report",
                "it holds a TDX report, which only its own machine can verify",
                hint="have the machine make a quote of it: docs/evidence.md, Azure",
            )
        return Unwrapped(data)
    ((evidence, layers),) = found.items()
    beside = enumerate(dict.fromkeys(search.certificates), 1)
    named = tuple(Given(f"certificate {number} beside the evidence", one) for number, one in beside)
    return Unwrapped(evidence, named, layers, vtpm)


def certificates_of(file: Given) -> list[Given]:
    """Split a table of certificates, as drivers hand it out, into its certificates; other files are left alone."""
    table = _table(file.data)
    return [file] if not table else [Given(file.name, one) for one in table]


class _Search:
    """One search, within its limits."""

    def __init__(self, kinds: tuple[Kind[Any, Any, Any], ...]) -> None:
        self._kinds = kinds
        self._nodes = _NODES
        self.found: dict[bytes, tuple[str, ...]] = {}
        self.certificates: list[bytes] = []
        self._hcl: azure.HclReport | None = None
        self._quote: azure.VtpmQuote | None = None

    def vtpm(self) -> azure.Vtpm | None:
        """Return what was found about a virtual TPM."""
        return None if self._hcl is None else azure.Vtpm(self._hcl, self._quote)

    def look(self, data: bytes, layers: tuple[str, ...]) -> None:
        """Look into some bytes."""
        self._nodes -= 1
        if self._nodes < 0 or len(layers) > _DEPTH or not data:
            return
        if self._is_evidence(data):
            self.found.setdefault(data, layers)
        elif data.startswith(azure.MAGIC):
            self._hcl = azure.parse(data)
            if self._hcl.report is not None:
                self.look(self._hcl.report, (*layers, "Azure HCL report"))
        elif _TEXT.fullmatch(data):
            self._text(data.decode("ascii").strip(), layers)
        elif data[:2] == b"\x30\x82" and len(data) == 4 + int.from_bytes(data[2:4], "big"):
            self.certificates.append(data)
        elif (inner := _buffer(data)) is not None:
            self.certificates += _table(data[SNP_SIZE:])
            self.look(inner, (*layers, "driver's buffer"))
        else:
            # A field may hold what is none of ours: only the bytes of evidence count.
            for part in _protobuf(data):
                self.look(part, (*layers, "protobuf"))

    def _is_evidence(self, data: bytes) -> bool:
        try:
            return any(kind.recognise(data) for kind in self._kinds)
        except InvalidEvidence:
            return False

    def _text(self, text: str, layers: tuple[str, ...]) -> None:
        if text[:1] in {"{", "[", '"'}:
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                return
            self._value(value, (*layers, "JSON"), _DEPTH)
        elif text.startswith(_PEM):
            self.certificates.append(text.encode())
        elif len(text) >= _SHORTEST:
            name, decoded = _decoded("".join(text.split()))
            if decoded:
                self.look(decoded, (*layers, name))

    def _value(self, value: Any, layers: tuple[str, ...], depth: int) -> None:
        """Look into a value of JSON."""
        self._nodes -= 1
        if self._nodes < 0 or depth < 0:
            return
        if isinstance(value, str):
            if len(value) >= _SHORTEST and value.isascii():
                self._text(value.strip(), layers)
        elif isinstance(value, list) and (octets := fields.octets(value)) is not None:
            if len(octets) >= _SHORTEST:
                self.look(octets, layers)
        elif isinstance(value, dict | list):
            parts = value
            if isinstance(value, dict):
                self.look(fields.report(value) or b"", layers)
                self._quote = self._quote or azure.quote(value)
                parts = list(value.values())
            for one in parts:
                self._value(one, layers, depth - 1)


def _decoded(text: str) -> tuple[str, bytes]:
    if found := _HEX.fullmatch(text):
        return "hexadecimal", bytes.fromhex(found[1])
    if found := _BASE64.fullmatch(text):
        digits = found[1].replace("-", "+").replace("_", "/")
        try:
            return "base64", base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
        except (binascii.Error, ValueError):
            return "", b""
    return "", b""


def _is_versioned(data: bytes) -> bool:
    return int.from_bytes(data[:4], "little") in SNP_VERSIONS


def _buffer(data: bytes) -> bytes | None:
    """Return the report of SEV-SNP in a driver's answer: behind a header, or before a table of certificates."""
    if _is_versioned(data):
        return data[:SNP_SIZE] if _table(data[SNP_SIZE:]) else None
    inner = data[_DRIVER_HEADER : _DRIVER_HEADER + SNP_SIZE]
    header = bytes(4) + SNP_SIZE.to_bytes(4, "little") + bytes(_DRIVER_HEADER - 8)
    return inner if data.startswith(header) and len(inner) == SNP_SIZE else None


def _table(data: bytes) -> list[bytes]:
    """Return the certificates of a table: entries of GUID, offset and length, ended by zeros (GHCB, section 4.1.8)."""
    found: list[bytes] = []
    for start in range(0, min(len(data), 64 * _TABLE_ENTRY) - _TABLE_ENTRY + 1, _TABLE_ENTRY):
        entry = data[start : start + _TABLE_ENTRY]
        if not any(entry):
            return found
        offset, length = int.from_bytes(entry[16:20], "little"), int.from_bytes(entry[20:], "little")
        if not length or offset < start + _TABLE_ENTRY or offset + length > len(data):
            return []
        one = data[offset : offset + length]
        # A list of revoked certificates may be among them: only its kind tells, which is not needed here.
        found += [one] if one[:2] == b"\x30\x82" or one.startswith(_PEM.encode()) else []
    return []


def _protobuf(data: bytes) -> Iterator[bytes]:
    """Return the larger fields of bytes of a message, if it is one from beginning to end."""
    parts: list[bytes] = []
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind, size = key & 7, 0
        if key >> 3 == 0 or kind not in {0, 1, 2, 5}:
            return
        if kind == 0:
            _, position = _varint(data, position)
        else:
            size = {1: 8, 5: 4}.get(kind, 0)
            if kind == 2:
                size, position = _varint(data, position)
                parts.append(data[position : position + size])
            position += size
        if position > len(data) or len(parts) > _NODES:
            return
    yield from (part for part in parts if len(part) >= _SHORTEST)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Read a number of up to 64 bits, and return where it ends; beyond the end of what is cut short."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position + shift // 7 : position + shift // 7 + 1]
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value, position + shift // 7 + 1
    return 0, len(data) + 1
