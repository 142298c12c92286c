"""Certificates of emulated vendors. Each names the emulator as its organisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from haulout.tee import EMULATOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Key: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

YEARS: Final = timedelta(days=3650)
_BEFORE: Final = timedelta(days=1)
"""Certificates are valid from the day before: clocks differ."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A key and its certificate."""

    key: Key = field(repr=False)
    certificate: x509.Certificate

    @property
    def signing_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the key of one that signs evidence, which no authority of AMD has."""
        assert isinstance(self.key, ec.EllipticCurvePrivateKey)
        return self.key

    def pem(self) -> bytes:
        """Return the certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def fingerprint(self) -> str:
        """Return the certificate's SHA-256, by which a test policy names a root."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def rsa_key() -> rsa.RSAPrivateKey:
    """Make a key such as AMD's authorities have; takes about a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=4096)


def p384_key() -> ec.EllipticCurvePrivateKey:
    """Make a key such as AMD's processors and Arm's platforms have."""
    return ec.generate_private_key(ec.SECP384R1())


def p256_key() -> ec.EllipticCurvePrivateKey:
    """Make a key such as Intel has."""
    return ec.generate_private_key(ec.SECP256R1())


def issue(
    name: str,
    key: Key,
    at: datetime,
    *,
    issuer: Authority | None = None,
    authority: bool = False,
    path_length: int | None = None,
    extensions: Mapping[str, bytes] | None = None,
    valid: timedelta = YEARS,
) -> Authority:
    """Issue a certificate.

    Args:
        name: its common name.
        key: the key that it is for.
        at: when it is issued.
        issuer: the authority that signs it; None: it signs itself.
        authority: whether it may sign others.
        path_length: how many authorities may stand below it.
        extensions: more extensions, by their object identifier.
        valid: for how long.
    """
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, EMULATOR),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before((at - _BEFORE).replace(microsecond=0))
        .not_valid_after((at + valid).replace(microsecond=0))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
        .add_extension(_usage(authority=authority), critical=True)
    )
    for identifier, value in (extensions or {}).items():
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(identifier), value), critical=False
        )
    signer = key if issuer is None else issuer.key
    if isinstance(signer, rsa.RSAPrivateKey):
        certificate = builder.sign(signer, hashes.SHA384(), rsa_padding=padding.PSS(padding.MGF1(hashes.SHA384()), 48))
    else:
        certificate = builder.sign(signer, _hash(signer))
    return Authority(key, certificate)


def revoke(issuer: Authority, serials: Iterable[int], at: datetime, *, valid: timedelta = timedelta(days=30)) -> bytes:
    """Issue a revocation list, in DER."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update((at - _BEFORE).replace(microsecond=0))
        .next_update((at + valid).replace(microsecond=0))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at.replace(microsecond=0))
        builder = builder.add_revoked_certificate(revoked.build())
    if isinstance(issuer.key, rsa.RSAPrivateKey):
        signed = builder.sign(issuer.key, hashes.SHA384(), rsa_padding=padding.PSS(padding.MGF1(hashes.SHA384()), 48))
    else:
        signed = builder.sign(issuer.key, _hash(issuer.key))
    return signed.public_bytes(serialization.Encoding.DER)


def _hash(key: ec.EllipticCurvePrivateKey) -> hashes.SHA256 | hashes.SHA384:
    return hashes.SHA384() if key.curve.key_size == 384 else hashes.SHA256()


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def private_pem(key: Key) -> bytes:
    """Return a private key in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load(values: Mapping[str, str]) -> Authority:
    """Read a key and its certificate, both in PEM.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: they are anything else.
    """
    key = serialization.load_pem_private_key(values["key"].encode(), None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("a key of another type")
    return Authority(key, x509.load_pem_x509_certificate(values["certificate"].encode()))


def load_elliptic(text: str) -> ec.EllipticCurvePrivateKey:
    """Read a private key of an elliptic curve in PEM; raises as :func:`load`."""
    key = serialization.load_pem_private_key(text.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("a key of another type")
    return key
