"""Certificates of signing keys that their issuers properly signed, but should not have."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.support.certificates import UNKNOWN, build, described, judge_leaf
from tests.support.evidence import AT, BOOT, DATA, given, rsa_keys, rule_of, snp, snp_policy

from haulout.emulator import authorities
from haulout.emulator.snp import SnpState, encode, sign
from haulout.errors import InvalidEvidence
from haulout.tee import verify
from haulout.tee.snp.endorsement import Signer

CA = (x509.BasicConstraints(ca=True, path_length=0), True)
NO_CA = (x509.BasicConstraints(ca=False, path_length=None), True)


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
