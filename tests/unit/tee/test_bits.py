"""Every bit counts: evidence and certificates with one bit changed are refused, or not evidence any more."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from tests.support.evidence import (
    AT,
    BOOT,
    DATA,
    cca,
    cca_policy,
    given,
    policy,
    rsa_keys,
    rule_of,
    snp,
    snp_policy,
    tdx,
    tdx_policy,
    vector,
)

from haulout.emulator import TdxEmulator, authorities, der
from haulout.emulator.authorities import Authority
from haulout.emulator.snp import SnpState, encode, sign
from haulout.errors import InvalidEvidence
from haulout.tee import verify
from haulout.tee.certificates import read_bundle
from haulout.tee.revocation import read_revocation_list
from haulout.tee.roots import EMULATOR
from haulout.tee.snp import endorsement as oid
from haulout.tee.snp.endorsement import Signer
from haulout.tee.tdx import parse as quote
from haulout.tee.tdx.collateral import parse as parse_collateral
from haulout.tee.verdict import Refused


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def refused(data: bytes, **more: Any) -> bool:
    """Say whether it is refused; what cannot be read is refused, too."""
    try:
        return not verify(data, **more).accepted
    except InvalidEvidence:
        return True


def test_every_bit_of_a_report():
    data = snp().report(DATA, BOOT)
    more: dict[str, Any] = {"at": AT, "certificates": given(snp().certificates()), "policy": snp_policy()}
    assert verify(data, **more).accepted
    assert [bit for bit in range(8 * len(data)) if not refused(flipped(data, bit), **more)] == []


@pytest.mark.parametrize("name", ["milan-v3", "milan-v2-tcb"])
def test_bits_of_real_reports(name):
    leaf = vector(f"snp/{name}.vcek.{'pem' if name == 'milan-v3' else 'der'}")
    data = vector(f"snp/{name}.report.bin")
    files = given(leaf, vector("snp/milan.ask.pem"), vector("snp/milan.ark.pem"))
    more: dict[str, Any] = {"at": datetime(2026, 11, 25, tzinfo=UTC), "certificates": files}
    assert verify(data, **more).accepted
    assert [bit for bit in range(0, 8 * len(data), 13) if not refused(flipped(data, bit), **more)] == []


def said(data):
    """Return what a quote says, its certificates by their content."""
    found = quote.parse(data)
    chain = tuple(one.fingerprint for one in read_bundle(found.pck_chain, "chain"))
    return (found.signed, found.signature, found.attestation_key, found.qe_signed, found.qe_signature, chain)


def test_bits_of_a_quote():
    """White space between its certificates may change: nothing else of what it says."""
    data = tdx().quote(DATA, BOOT)
    more: dict[str, Any] = {"at": AT, "collateral": given(tdx().collateral(AT)), "policy": tdx_policy()}
    assert verify(data, **more).accepted
    accepted = [bit for bit in range(0, 8 * len(data), 7) if not refused(flipped(data, bit), **more)]
    assert [(bit, data[bit // 8 :][:1]) for bit in accepted if said(flipped(data, bit)) != said(data)] == []
    begin = data.index(b"-----BEGIN")
    assert [bit for bit in accepted if bit // 8 < begin] == []
    assert len(accepted) < 40


def test_bits_of_a_token():
    data = cca().token(DATA, BOOT)
    more: dict[str, Any] = {"at": AT, "certificates": given(cca().certificates()), "policy": cca_policy()}
    assert verify(data, **more).accepted
    assert [bit for bit in range(0, 8 * len(data), 5) if not refused(flipped(data, bit), **more)] == []


def test_bits_of_the_certificate_of_a_signing_key():
    leaf = snp().vcek.certificate.public_bytes(serialization.Encoding.DER)
    data, above = snp().report(DATA, BOOT), snp().ask.pem() + snp().ark.pem()
    more: dict[str, Any] = {"at": AT, "policy": snp_policy()}
    assert verify(data, certificates=given(leaf, above), **more).accepted
    for bit in range(0, 8 * len(leaf), 7):
        assert refused(data, certificates=given(flipped(leaf, bit), above), **more), bit


def known(data):
    """Return what collateral says, certificates by their content; the chain of the PCK's list is in the quote as well."""
    found = parse_collateral(data, "collateral")
    return (
        found.tcb_info_bytes,
        found.tcb_info_signature,
        [one.fingerprint for one in found.tcb_info_chain],
        found.qe_identity_bytes,
        found.qe_identity_signature,
        [one.fingerprint for one in found.qe_identity_chain],
        found.root_list.der,
        found.pck_list.der,
    )


def test_bits_of_collateral():
    """White space, and the case of hexadecimal digits, may change: nothing of what it says."""
    data, whole = tdx().quote(DATA, BOOT), tdx().collateral(AT)
    more: dict[str, Any] = {"at": AT, "policy": tdx_policy()}
    assert verify(data, collateral=given(whole), **more).accepted
    accepted = [
        bit for bit in range(0, 8 * len(whole), 29) if not refused(data, collateral=given(flipped(whole, bit)), **more)
    ]
    assert [bit for bit in accepted if known(flipped(whole, bit)) != known(whole)] == []
    assert len(accepted) < 8 * len(whole) // 29 // 3


# --- certificates that their issuers properly signed, but should not have


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


CA = (x509.BasicConstraints(ca=True, path_length=0), True)
NO_CA = (x509.BasicConstraints(ca=False, path_length=None), True)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.3704.1.77"), b"\x05\x00")


def usage(*, sign_certificates):
    return (
        x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=sign_certificates,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        ),
        True,
    )


def judge_leaf(leaf, *above):
    data = sign(encode(snp(), DATA, BOOT.snp(), SnpState(), Signer.VCEK), leaf.signing_key)
    chain = leaf.pem() + b"".join(one.pem() for one in above or (snp().ask, snp().ark))
    roots = ((above or (snp().ark,))[-1].fingerprint(),)
    return verify(data, at=AT, certificates=given(chain), policy=policy('[snp]\nproducts = ["Genoa"]', roots=roots))


def vcek(**more):
    more.setdefault("extensions", described())
    return build("SEV-VCEK", authorities.p384_key(), rsa_keys()[1], snp().ask.certificate.subject, **more)


def test_a_good_certificate_made_here_is_accepted():
    assert rule_of(judge_leaf(vcek())) is None


LEAVES = {
    "signed with PKCS #1 1.5": (lambda: vcek(pkcs1=True), "chain"),
    "signed with a salt of 32 bytes": (lambda: vcek(pss=32), "chain"),
    "signed with SHA-256": (lambda: vcek(digest=hashes.SHA256()), "chain"),
    "signed with SHA-512": (lambda: vcek(digest=hashes.SHA512()), "chain"),
    "not valid yet": (lambda: vcek(begin=AT + timedelta(seconds=1)), "certificate-validity"),
    "expired": (lambda: vcek(end=AT - timedelta(seconds=1)), "certificate-validity"),
    "an authority itself": (lambda: vcek(extensions=(*described(), CA)), "certificate-role"),
    "an unknown critical extension": (
        lambda: vcek(extensions=(*described(), (UNKNOWN, True))),
        "certificate-extension",
    ),
    "an unknown extension": (lambda: vcek(extensions=(*described(), (UNKNOWN, False))), None),
    "no authority, said so": (lambda: vcek(extensions=(*described(), NO_CA)), None),
    "two common names": (lambda: vcek(more_names=("SEV-VCEK",)), "certificate-role"),
    "critical constraints of names": (
        lambda: vcek(extensions=(*described(), (x509.NameConstraints([x509.DNSName("x")], None), True))),
        "certificate-extension",
    ),
}


@pytest.mark.parametrize("case", LEAVES)
def test_certificates_of_signing_keys(case):
    make, rule = LEAVES[case]
    assert rule_of(judge_leaf(make())) == rule


@pytest.mark.parametrize(
    "key",
    [
        authorities.p256_key,
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-521", "RSA"],
)
def test_a_signing_key_of_another_sort(key):
    leaf = build("SEV-VCEK", key(), rsa_keys()[1], snp().ask.certificate.subject, extensions=described())
    chain = leaf.pem() + snp().ask.pem() + snp().ark.pem()
    verdict = verify(snp().report(DATA, BOOT), at=AT, certificates=given(chain), policy=snp_policy())
    assert rule_of(verdict) == "certificate-role"


def test_a_signature_that_is_said_to_end_within_a_byte():
    """Its last bits are zero in some: two spellings of one certificate would have two fingerprints."""
    leaf = next(one for one in iter(vcek, None) if not one.certificate.signature[-1] & 1)
    data = sign(encode(snp(), DATA, BOOT.snp(), SnpState(), Signer.VCEK), leaf.signing_key)
    spelled = bytearray(leaf.certificate.public_bytes(serialization.Encoding.DER))
    assert spelled[-513] == 0
    spelled[-513] = 1
    chain = given(bytes(spelled), snp().ask.pem() + snp().ark.pem())
    assert rule_of(verify(data, at=AT, certificates=chain, policy=snp_policy())) == "signature-encoding"


def test_the_algorithm_told_outside_of_what_is_signed_has_to_be_the_one_inside():
    leaf = snp().vcek.certificate
    whole = leaf.public_bytes(serialization.Encoding.DER)
    # SHA-384 becomes SHA-512, in the copy that nobody signs.
    name = bytes.fromhex("0609608648016503040202")
    at = whole.rindex(name)
    assert at > len(leaf.tbs_certificate_bytes)
    changed = whole[:at] + name[:-1] + b"\x03" + whole[at + len(name) :]
    chain = given(changed, snp().ask.pem() + snp().ark.pem())
    verdict = verify(snp().report(DATA, BOOT), at=AT, certificates=chain, policy=snp_policy())
    assert rule_of(verdict) == "chain"


def test_a_certificate_that_another_key_signed():
    leaf = build(
        "SEV-VCEK", authorities.p384_key(), rsa_keys()[2], snp().ask.certificate.subject, extensions=described()
    )
    assert rule_of(judge_leaf(leaf)) == "chain"


def authority(name, key, signer, issuer, **more):
    more.setdefault("extensions", (CA, usage(sign_certificates=True)))
    return build(name, key, signer, issuer, **more)


def below(ask):
    return build("SEV-VCEK", authorities.p384_key(), ask.key, ask.certificate.subject, extensions=described())


ASKS: dict[str, tuple[dict[str, Any], str | None]] = {
    "good": ({}, None),
    "no authority": ({"extensions": (NO_CA,)}, "certificate-role"),
    "says nothing of being an authority": ({"extensions": ()}, "certificate-role"),
    "must not sign certificates": ({"extensions": (CA, usage(sign_certificates=False))}, "certificate-role"),
    "expired": ({"end": AT - timedelta(seconds=1)}, "certificate-validity"),
    "not valid yet": ({"begin": AT + timedelta(seconds=1)}, "certificate-validity"),
    "a critical extension": ({"extensions": (CA, (UNKNOWN, True))}, "certificate-extension"),
    "signed with PKCS #1 1.5": ({"pkcs1": True}, "chain"),
    "signed with SHA-256": ({"digest": hashes.SHA256()}, "chain"),
}


@pytest.mark.parametrize("case", ASKS)
def test_certificates_of_authorities(case):
    more, rule = ASKS[case]
    root, own, _ = rsa_keys()
    ask = authority("SEV-Genoa", own, root, snp().ark.certificate.subject, **more)
    assert rule_of(judge_leaf(below(ask), ask, snp().ark)) == rule


def test_authorities_with_weak_keys():
    root = rsa_keys()[0]
    weak = rsa.generate_private_key(65537, 2048)
    ask = authority("SEV-Genoa", weak, root, snp().ark.certificate.subject)
    assert rule_of(judge_leaf(below(ask), ask, snp().ark)) == "chain"
    elliptic = authorities.p384_key()
    ask = authority("SEV-Genoa", elliptic, root, snp().ark.certificate.subject)
    assert rule_of(judge_leaf(below(ask), ask, snp().ark)) == "certificate-role"


def test_a_chain_that_is_longer_than_amds():
    root, own, other = rsa_keys()
    ark = snp().ark
    between = authority(
        "SEV-Between",
        other,
        root,
        ark.certificate.subject,
        extensions=((x509.BasicConstraints(ca=True, path_length=1), True),),
    )
    ask = authority("SEV-Genoa", own, other, between.certificate.subject)
    assert rule_of(judge_leaf(below(ask), ask, between, ark)) == "certificate-role"
    # And one that the authority between must not stand above at all.
    tight = authority("SEV-Between", other, root, ark.certificate.subject)
    ask = authority("SEV-Genoa", own, other, tight.certificate.subject)
    assert rule_of(judge_leaf(below(ask), ask, tight, ark)) == "certificate-role"


def test_a_root_that_does_not_sign_itself():
    root, own, other = rsa_keys()
    subject = snp().ark.certificate.subject
    fake = authority(
        "ARK-Genoa", root, other, subject, extensions=((x509.BasicConstraints(ca=True, path_length=None), True),)
    )
    ask = authority("SEV-Genoa", own, root, subject)
    assert rule_of(judge_leaf(below(ask), ask, fake)) == "chain"


def test_chains_in_a_circle_end():
    root, own, _ = rsa_keys()
    one = authorities.issue("SEV-Genoa", own, AT, authority=True)
    two = authority("ARK-Genoa", root, own, one.certificate.subject)
    three = authority("SEV-Genoa", own, root, two.certificate.subject)
    assert rule_of(judge_leaf(below(three), three, two)) == "chain"


def test_more_certificates_than_anybody_needs():
    data = snp().report(DATA, BOOT)
    with pytest.raises(InvalidEvidence, match="more than 32"):
        verify(data, at=AT, certificates=given(snp().certificates() * 11), policy=snp_policy())
    many = b"".join(authorities.issue(f"x{n}", authorities.p384_key(), AT).pem() for n in range(31))
    with pytest.raises(InvalidEvidence, match="more than 32"):
        verify(data, at=AT, certificates=given(many, snp().certificates()), policy=snp_policy())
    # Twice the same is once.
    twice = given(*[snp().certificates()] * 20)
    assert verify(data, at=AT, certificates=twice, policy=snp_policy()).accepted


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\0" * 100,
        b"not a certificate",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n",
        b"\x30\x82\xff\xff" + bytes(64),
        b"x" * (1 << 20) + b"y",
    ],
    ids=range(8),
)
def test_files_that_are_no_certificates(junk):
    with pytest.raises(InvalidEvidence):
        verify(snp().report(DATA, BOOT), at=AT, certificates=given(snp().certificates(), junk), policy=snp_policy())


def test_a_certificate_for_a_key_of_another_kind():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    leaf = build("SEV-VCEK", Ed25519PrivateKey.generate(), rsa_keys()[1], snp().ask.certificate.subject)
    with pytest.raises(InvalidEvidence, match="neither RSA nor"):
        verify(snp().report(DATA, BOOT), at=AT, certificates=given(leaf.pem()), policy=snp_policy())


def test_the_signature_of_a_revocation_list_has_one_spelling():
    """One bit less of a signature that ends with a zero is the same number, and cryptography takes it."""
    seen = 0
    for _ in range(40):
        whole = json.loads(TdxEmulator.make(AT).collateral(AT))
        listed = bytes.fromhex(whole["root_ca_crl"])
        size = len(x509.load_der_x509_crl(listed).signature)
        other = bytearray(listed)
        other[-size - 1] = 1
        with pytest.raises((Refused, InvalidEvidence)) as caught:
            read_revocation_list(bytes(other), "list")
        seen += isinstance(caught.value, Refused)
        if seen:
            return
    raise AssertionError("no signature in 40 ended with a zero")
