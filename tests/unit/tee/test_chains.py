"""Chains of certificates that lead somewhere else, or nowhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.support.certificates import UNKNOWN, build, described, judge_leaf
from tests.support.evidence import AT, rsa_keys, rule_of, snp

from haulout.emulator import authorities

CA = (x509.BasicConstraints(ca=True, path_length=0), True)
NO_CA = (x509.BasicConstraints(ca=False, path_length=None), True)


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
