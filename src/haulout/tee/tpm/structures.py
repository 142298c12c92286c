"""Structures of a TPM as bytes, read strictly: public areas, attestations, signatures.

Source: TCG, TPM 2.0 Library, Part 2: Structures, revision 1.59. Numbers are big-endian.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from haulout.errors import InvalidEvidence

if TYPE_CHECKING:
    from collections.abc import Mapping

RSA: Final = 0x0001
NULL: Final = 0x0010
RSASSA: Final = 0x0014
RSAES: Final = 0x0015
RSAPSS: Final = 0x0016
ECDSA: Final = 0x0018
ECDAA: Final = 0x001A
ECC: Final = 0x0023
HASHES: Final[Mapping[int, str]] = {0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512"}
"""TPM_ALG_ID → hash. SHA-1 is not accepted anywhere."""
CURVES: Final[Mapping[int, ec.EllipticCurve]] = {3: ec.SECP256R1(), 4: ec.SECP384R1(), 5: ec.SECP521R1()}
"""TPM_ECC_CURVE → curve."""

GENERATED: Final = b"\xffTCG"
"""TPM_GENERATED_VALUE: a TPM signs no data of others that begins with it, by a restricted key."""
ATTEST_QUOTE: Final = 0x8018
PCRS: Final = 24
LONGEST: Final = 8192
"""Bytes of a structure; a public area with a key of RSA 4096 has about 600."""

ATTRIBUTES: Final[Mapping[str, int]] = {
    "fixed-tpm": 1,
    "st-clear": 2,
    "fixed-parent": 4,
    "sensitive-data-origin": 5,
    "user-with-auth": 6,
    "admin-with-policy": 7,
    "no-da": 10,
    "encrypted-duplication": 11,
    "restricted": 16,
    "decrypt": 17,
    "sign": 18,
    "x509-sign": 19,
}
"""Bits of TPMA_OBJECT; all others are reserved."""

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class Reader:
    """Takes values off the front of a structure; :meth:`end` refuses what is left."""

    def __init__(self, data: bytes, what: str) -> None:
        if len(data) > LONGEST:
            raise InvalidEvidence(what, f"it has {len(data)} bytes; at most {LONGEST} are read")
        self._data = data
        self._what = what
        self.at = 0

    def wrong(self, reason: str) -> InvalidEvidence:
        """Return the error about what was just read."""
        return InvalidEvidence(self._what, reason, offset=self.at)

    def take(self, size: int) -> bytes:
        """Take bytes."""
        found = self._data[self.at : self.at + size]
        if len(found) != size:
            raise self.wrong("it ends too early")
        self.at += size
        return found

    def number(self, size: int) -> int:
        """Take a number of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def sized(self, most: int) -> bytes:
        """Take a TPM2B: a size in 2 bytes, and as many bytes."""
        size = self.number(2)
        if size > most:
            raise self.wrong(f"a value has {size} bytes, where at most {most} are allowed")
        return self.take(size)

    def hash(self) -> str:
        """Take the number of a hash; return its name."""
        number = self.number(2)
        if number not in HASHES:
            raise self.wrong(f"its hash {number:#06x} is not known; known are {', '.join(HASHES.values())}")
        return HASHES[number]

    def end(self) -> None:
        """Require that nothing is left."""
        if self.at != len(self._data):
            raise self.wrong("it has bytes behind its end")


@dataclass(frozen=True, slots=True)
class Public:
    """A public area, TPMT_PUBLIC.

    Attributes:
        raw: its bytes.
        name_hash: hash of the object's name.
        attributes: TPMA_OBJECT.
        scheme: of signing; NULL: any.
        scheme_hash: its hash; "" where the scheme has none.
    """

    raw: bytes = field(repr=False)
    name_hash: str
    attributes: int
    scheme: int
    scheme_hash: str
    key: PublicKey = field(repr=False)

    @property
    def name(self) -> bytes:
        """Return the object's name (Part 1, section 16): what it is known by to its TPM."""
        return _number_of(self.name_hash) + hashlib.new(self.name_hash, self.raw).digest()

    def has(self, attribute: str) -> bool:
        """Return whether an attribute is set."""
        return bool(self.attributes >> ATTRIBUTES[attribute] & 1)


def _number_of(name: str) -> bytes:
    return next(number for number, one in HASHES.items() if one == name).to_bytes(2, "big")


def read_public(data: bytes, what: str) -> Public:
    """Read a public area of a key: TPMT_PUBLIC, or TPM2B_PUBLIC, which tools write.

    Raises:
        InvalidEvidence: it is neither, or of another type than RSA and elliptic curves.
    """
    if len(data) > 2 and int.from_bytes(data[:2], "big") == len(data) - 2:
        data = data[2:]
    reader = Reader(data, what)
    kind = reader.number(2)
    if kind not in {RSA, ECC}:
        raise reader.wrong(f"its type {kind:#06x} is neither RSA nor of an elliptic curve")
    name_hash = reader.hash()
    attributes = reader.number(4)
    reader.sized(64)
    if reader.number(2) != NULL:  # symmetric algorithm: bits, mode
        reader.take(4)
    scheme = reader.number(2)
    scheme_hash = "" if scheme in {NULL, RSAES} else reader.hash()
    if scheme == ECDAA:
        reader.take(2)
    key = _read_rsa(reader) if kind == RSA else _read_point(reader)
    reader.end()
    return Public(data, name_hash, attributes, scheme, scheme_hash, key)


def _read_rsa(reader: Reader) -> rsa.RSAPublicKey:
    bits, exponent = reader.number(2), reader.number(4) or 65537
    modulus = reader.sized(512)
    if bits not in {2048, 3072, 4096} or exponent != 65537 or 8 * len(modulus) != bits or modulus[0] < 0x80:
        raise reader.wrong("its RSA key does not have 2048, 3072 or 4096 bits and the exponent 65537")
    try:
        return rsa.RSAPublicNumbers(exponent, int.from_bytes(modulus, "big")).public_key()
    except ValueError as exc:
        raise reader.wrong("its RSA key is not valid") from exc


def _read_point(reader: Reader) -> ec.EllipticCurvePublicKey:
    number = reader.number(2)
    if number not in CURVES:
        raise reader.wrong(f"its curve {number} is not known; known are P-256, P-384 and P-521")
    if reader.number(2) != NULL:  # key derivation
        reader.hash()
    x, y = (int.from_bytes(reader.sized(66), "big") for _ in range(2))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, CURVES[number]).public_key()
    except ValueError as exc:
        raise reader.wrong("its key is not a point of its curve") from exc


@dataclass(frozen=True, slots=True)
class Attest:
    """An attestation, TPMS_ATTEST, of the type quote.

    Attributes:
        raw: its bytes, which are signed.
        signer: qualified name of the signing key.
        extra: what the caller of the TPM added.
        clock: milliseconds that the TPM was powered, since its owner was cleared.
        resets: how often it was reset since then; a new number is a new boot.
        restarts: how often it was restarted or resumed since the last reset.
        safe: whether the clock has not gone back.
        firmware: version, as the maker counts.
        selection: hash and number of the PCRs, in the order in which they are digested.
        digest: over their values.
    """

    raw: bytes = field(repr=False)
    signer: bytes
    extra: bytes
    clock: int
    resets: int
    restarts: int
    safe: bool
    firmware: int
    selection: tuple[tuple[str, int], ...]
    digest: bytes


def read_attest(data: bytes, what: str) -> Attest:
    """Read a quote: TPMS_ATTEST, or TPM2B_ATTEST.

    Raises:
        InvalidEvidence: it is not one.
    """
    if len(data) > 2 and int.from_bytes(data[:2], "big") == len(data) - 2:
        data = data[2:]
    reader = Reader(data, what)
    if reader.take(4) != GENERATED:
        raise reader.wrong("no TPM made it: it does not begin with TPM_GENERATED")
    kind = reader.number(2)
    if kind != ATTEST_QUOTE:
        raise reader.wrong(f"it is an attestation of the type {kind:#06x}, not a quote")
    signer, extra = reader.sized(66), reader.sized(64)
    clock, resets, restarts, safe = reader.number(8), reader.number(4), reader.number(4), reader.number(1)
    if safe > 1:
        raise reader.wrong("a value that is yes or no is neither")
    firmware = reader.number(8)
    selection = _read_selection(reader)
    digest = reader.sized(64)
    reader.end()
    return Attest(data, signer, extra, clock, resets, restarts, bool(safe), firmware, selection, digest)


def _read_selection(reader: Reader) -> tuple[tuple[str, int], ...]:
    """Take a TPML_PCR_SELECTION."""
    count = reader.number(4)
    if not 0 < count <= len(HASHES):
        raise reader.wrong(f"it selects PCRs of {count} banks")
    found: list[tuple[str, int]] = []
    for _ in range(count):
        bank = reader.hash()
        size = reader.number(1)
        if not 0 < size <= PCRS // 8:
            raise reader.wrong(f"its selection of PCRs has {size} bytes")
        bits = int.from_bytes(reader.take(size), "little")
        found += [(bank, number) for number in range(PCRS) if bits >> number & 1]
    if not found or len(set(found)) != len(found):
        raise reader.wrong("it selects no PCR, or one twice")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, TPMT_SIGNATURE.

    Attributes:
        scheme: RSASSA, RSAPSS or ECDSA.
        hash: of what is signed.
        numbers: one of RSA, two of an elliptic curve, as bytes.
    """

    scheme: int
    hash: str
    numbers: tuple[bytes, ...] = field(repr=False)


def read_signature(data: bytes, what: str) -> Signature:
    """Read a signature.

    Raises:
        InvalidEvidence: it is not one, or by a scheme that is not known.
    """
    reader = Reader(data, what)
    scheme = reader.number(2)
    if scheme not in {RSASSA, RSAPSS, ECDSA}:
        raise reader.wrong(f"its scheme {scheme:#06x} is not known; known are RSASSA, RSAPSS and ECDSA")
    name = reader.hash()
    numbers = tuple(reader.sized(512 if scheme != ECDSA else 66) for _ in range(1 if scheme != ECDSA else 2))
    reader.end()
    return Signature(scheme, name, numbers)
