"""Certificates issued with every liberty."""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from tests.support.evidence import AT, BOOT, DATA, given, policy, snp

from haulout.emulator import der
from haulout.emulator.authorities import Authority
from haulout.emulator.snp import SnpState, encode, sign
from haulout.tee import verify
from haulout.tee.roots import EMULATOR
from haulout.tee.snp import endorsement as oid
from haulout.tee.snp.endorsement import Signer


def build(
    name,
    key,
    signer,
    issuer,
    *,
    extensions=(),
    begin=AT - timedelta(days=1),
    end=AT + timedelta(days=99),
    pss=48,
    digest=None,
    pkcs1=False,
    organisation=EMULATOR,
    more_names=(),
):
    """Issue a certificate with every liberty."""

    def names(common):
        parts = [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            *(x509.NameAttribute(NameOID.COMMON_NAME, one) for one in more_names),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
        return x509.Name(parts)

    builder = (
        x509.CertificateBuilder()
        .subject_name(names(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(77)
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    digest = digest or hashes.SHA384()
    if isinstance(signer, rsa.RSAPrivateKey):
        pad = padding.PKCS1v15() if pkcs1 else padding.PSS(padding.MGF1(digest), pss)
        return Authority(key, builder.sign(signer, digest, rsa_padding=pad))
    return Authority(key, builder.sign(signer, digest))


def described(**changed):
    """The extensions of a good VCEK."""
    platform = snp()
    tcb = platform.tcb
    found = {
        oid.STRUCT_VERSION: der.integer(0),
        oid.PRODUCT_NAME: der.text("Genoa-B0"),
        oid.BOOTLOADER: der.integer(tcb.bootloader),
        oid.TEE: der.integer(tcb.tee),
        oid.SNP: der.integer(tcb.snp),
        oid.MICROCODE: der.integer(tcb.microcode),
        oid.HARDWARE_ID: platform.chip_id,
    } | changed
    return tuple(
        (x509.UnrecognizedExtension(x509.ObjectIdentifier(name), value), False) for name, value in found.items()
    )


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.3704.1.77"), b"\x05\x00")


def judge_leaf(leaf, *above):
    data = sign(encode(snp(), DATA, BOOT.snp(), SnpState(), Signer.VCEK), leaf.signing_key)
    chain = leaf.pem() + b"".join(one.pem() for one in above or (snp().ask, snp().ark))
    roots = ((above or (snp().ark,))[-1].fingerprint(),)
    return verify(data, at=AT, certificates=given(chain), policy=policy('[snp]\nproducts = ["Genoa"]', roots=roots))
