"""Why an attestation key (AK) is known to live in a TPM: its own certificate, or an enrolment by an endorsement key.

An endorsement key (EK) decrypts only. That an AK is beside it in one TPM is known to whoever saw the TPM activate a
credential (:mod:`.credential`); an enrolment says so. It is believed because the caller gave it, so it must not come
with the evidence.

Source: TCG, EK Credential Profile for TPM Family 2.0, version 2.5, section 3.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtensionOID

from haulout.errors import InvalidEvidence, InvalidManifest
from haulout.oci import json
from haulout.tee.certificates import BROKEN, read_certificate
from haulout.tee.chains import chain_of
from haulout.tee.verdict import Refused, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from haulout.tee.certificates import Certificate
    from haulout.tee.inputs import Given
    from haulout.tee.tpm.structures import PublicKey

EK_USAGE: Final = "2.23.133.8.1"
"""tcg-kp-EKCertificate."""
AK_USAGE: Final = "2.23.133.8.3"
"""tcg-kp-AIKCertificate."""
_ATTRIBUTES: Final = {"2.23.133.2.1": "manufacturer", "2.23.133.2.2": "model", "2.23.133.2.3": "version"}
"""Attributes of a TPM, in the name of a directory in the subject's alternative names."""
_UNDERSTOOD: Final = frozenset(
    one.dotted_string
    for one in (
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.NAME_CONSTRAINTS,
    )
)
"""Critical extensions that certificates of TPMs may have; names are not what they are trusted for."""
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_KEY: Final = "tpm_enrolment"


@dataclass(frozen=True, slots=True)
class Chip:
    """A TPM, by the certificate that its maker gave it.

    Attributes:
        fingerprint: SHA-256 of the certified key's SubjectPublicKeyInfo, 64 hexadecimal digits.
        manufacturer: as the certificate spells it, such as ``id:49465800``; "" where it does not say.
    """

    fingerprint: str
    manufacturer: str = ""
    model: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """That an attestation key was seen beside an endorsement key.

    Attributes:
        ak: name of the attestation key, by its TPM.
        ek: fingerprint of the endorsement key, as in :class:`Chip`.
    """

    ak: bytes
    ek: str

    def to_bytes(self) -> bytes:
        """Return it as a document, for :func:`read_enrolments`."""
        return json.dumps({_KEY: 1, "ak": self.ak.hex(), "ek": self.ek})


def read_enrolments(files: Sequence[Given]) -> tuple[Enrolment, ...]:
    """Read enrolments from collateral.

    Raises:
        InvalidEvidence: a file is something else.
    """
    return tuple(_enrolment(file) for file in files)


def _enrolment(file: Given) -> Enrolment:
    reason = "it is not an enrolment of a TPM's key, the only collateral that a TPM has"
    try:
        values = json.loads(file.data, file.name)
        if values.keys() != {_KEY, "ak", "ek"} or values[_KEY] != 1 or len(bytes.fromhex(values["ek"])) != 32:
            raise InvalidEvidence(file.name, reason)
        return Enrolment(bytes.fromhex(values["ak"]), values["ek"])
    except (InvalidManifest, ValueError, TypeError) as exc:
        raise InvalidEvidence(file.name, reason) from exc


def fingerprint(key: PublicKey) -> str:
    """Return the SHA-256 of a key's SubjectPublicKeyInfo, 64 hexadecimal digits."""
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()


def find(certificates: Sequence[Certificate], key: str, usage: str) -> Certificate | None:
    """Return the certificate of a key for a usage, EK or AK; None: it was not given."""
    return next((one for one in certificates if fingerprint(one.key) == key and usage in _usages(one)), None)


def vendor_chain(leaf: Certificate, pool: Sequence[Certificate], at: datetime) -> tuple[Certificate, ...]:
    """Follow the certificate of a TPM to a root, as :func:`haulout.tee.chains.chain_of`.

    Raises:
        Refused: there is no such chain.
    """
    return chain_of(leaf, pool, at, signed=is_issued, understood=_UNDERSTOOD)


def is_issued(child: Certificate, issuer: Certificate) -> bool:
    """Return whether a certificate is signed by another's key, with an algorithm that makers of TPMs use.

    RSA from 2048 bits, or an elliptic curve; SHA-256, SHA-384 or SHA-512.
    """
    certificate = read_certificate(child.der).parsed
    if isinstance(issuer.key, rsa.RSAPublicKey) and issuer.key.key_size < 2048:
        return False
    try:
        if not isinstance(certificate.signature_hash_algorithm, _HASHES):
            return False
        certificate.verify_directly_issued_by(read_certificate(issuer.der).parsed)
    except (*BROKEN, InvalidSignature):
        return False
    return True


def chip_of(certificate: Certificate) -> Chip:
    """Return what the certificate of an endorsement key says of its TPM."""
    found: dict[str, str] = {}
    for one in _names(certificate):
        for attribute in one:
            name = _ATTRIBUTES.get(attribute.oid.dotted_string)
            if name is not None:
                # A second value could be read as another maker's by another reader.
                if name in found:
                    raise Refused(Rule.CERTIFICATE_EXTENSION, f"its TPM's certificate names the {name} twice")
                found[name] = str(attribute.value)
    return Chip(fingerprint(certificate.key), **found)


def _names(certificate: Certificate) -> list[x509.Name]:
    try:
        names = certificate.parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(names.get_values_for_type(x509.DirectoryName))


def _usages(certificate: Certificate) -> frozenset[str]:
    try:
        usage = certificate.parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(one.dotted_string for one in usage)
