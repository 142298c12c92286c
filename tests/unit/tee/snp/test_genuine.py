"""Genuine reports: signatures, signers, chains, products, times, revocation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support.evidence import AT, BOOT, DATA, given, judge_snp, policy, rsa_keys, rule_of, snp
from tests.support.snp_reports import judge, report

from haulout.emulator import authorities
from haulout.emulator.snp import SnpState, encode, endorse, sign
from haulout.tee.signatures import P384_ORDER
from haulout.tee.snp.endorsement import Signer
from haulout.tee.snp.parse import Product

ALL = [(product, signer, version) for product in Product for signer in Signer for version in (2, 3, 4, 5)]
ANY_VERSION = 'versions = [2, 3, 4, 5]\nsigners = ["vcek", "vlek"]\n'


@pytest.mark.parametrize(("product", "signer", "version"), ALL)
def test_emulated_reports_of_every_product_signer_and_version_are_accepted(product, signer, version):
    verdict = judge_snp(SnpState(version=version), ANY_VERSION, product=product, signer=signer, report_data=DATA)
    assert verdict.accepted, verdict.refusal
    assert verdict.open == ("measurements", "host-data", "chip-ids", "tcb")


@pytest.mark.parametrize("algorithm", [0, 2, 0xFFFFFFFF])
def test_03_another_signature_algorithm(algorithm):
    assert rule_of(judge_snp(SnpState(signature_algorithm=algorithm))) == "signature-algorithm"


ORDER = P384_ORDER.to_bytes(72, "little")


@pytest.mark.parametrize("offset", [0x2A0, 0x2E8], ids=["r", "s"])
@pytest.mark.parametrize(
    "number",
    [bytes(72), ORDER, (P384_ORDER + 1).to_bytes(72, "little"), b"\xff" * 48 + bytes(24), b"\x01" * 49 + bytes(23)],
    ids=["zero", "the order", "more than the order", "all ones", "too long"],
)
def test_05_numbers_of_the_signature_out_of_range(offset, number):
    data = bytearray(report())
    data[offset : offset + 72] = number
    assert rule_of(judge(bytes(data))) == "signature-encoding"


@pytest.mark.parametrize("place", [*range(0x2D0, 0x2E8), *range(0x318, 0x330), 0x330, 0x400, 0x49F])
def test_05_bytes_where_zeros_belong(place):
    data = bytearray(report())
    data[place] ^= 0x80
    assert rule_of(judge(bytes(data))) == "signature-encoding"


def test_06_the_certificate_of_another_chip():
    platform = snp()
    other = endorse(Signer.VCEK, platform.product, platform.tcb, platform.ask, AT, chip_id=bytes(range(64)))
    assert rule_of(judge(report(), certificates=other.pem() + platform.ask.pem() + platform.ark.pem())) == "signature"
    # Its key on another chip: what is told of the chip has to agree as well.
    assert rule_of(judge_snp(SnpState(chip_id=bytes(range(64))))) == "chip"


def test_09_a_vlek_where_a_vcek_is_demanded():
    chain = snp().certificates(Signer.VLEK)
    assert rule_of(judge_snp(signer=Signer.VLEK)) == "signer-not-allowed"
    assert rule_of(judge(report(), certificates=chain)) == "certificate-role"


@pytest.mark.parametrize("key_info", [1 << 2, 2 << 2, 6 << 2, 7 << 2])
def test_09_the_report_names_another_signer(key_info):
    assert rule_of(judge_snp(SnpState(key_info=key_info))) == "certificate-role"


@pytest.mark.parametrize("bit", range(5, 32))
def test_09_reserved_bits_of_the_key_information(bit):
    assert rule_of(judge_snp(SnpState(key_info=1 << bit))) == "reserved"


@pytest.mark.parametrize("other", [Product.MILAN, Product.TURIN])
def test_10_the_authority_of_another_product(other):
    chain = snp().vcek.pem() + snp(other).ask.pem() + snp(other).ark.pem()
    assert rule_of(judge(report(), certificates=chain)) == "certificate-missing"


def test_10_authorities_of_vceks_and_vleks_changed_places():
    platform = snp()
    leaf = endorse(Signer.VCEK, platform.product, platform.tcb, platform.asvk, AT, chip_id=platform.chip_id)
    data = sign(encode(platform, DATA, BOOT.snp(), SnpState(), Signer.VCEK), leaf.signing_key)
    chain = leaf.pem() + platform.asvk.pem() + platform.ark.pem()
    assert rule_of(judge(data, certificates=chain)) == "certificate-role"
    leaf = endorse(Signer.VLEK, platform.product, platform.tcb, platform.ask, AT, chip_id=platform.chip_id)
    data = sign(encode(platform, DATA, BOOT.snp(), SnpState(), Signer.VLEK), leaf.signing_key)
    chain = leaf.pem() + platform.ask.pem() + platform.ark.pem()
    assert rule_of(judge(data, 'signers = ["vlek"]', certificates=chain)) == "certificate-role"


def test_10_a_signing_key_directly_below_the_root():
    platform = snp()
    leaf = endorse(Signer.VCEK, platform.product, platform.tcb, platform.ark, AT, chip_id=platform.chip_id)
    data = sign(encode(platform, DATA, BOOT.snp(), SnpState(), Signer.VCEK), leaf.signing_key)
    assert rule_of(judge(data, certificates=leaf.pem() + platform.ark.pem())) == "certificate-role"


def test_11_a_root_that_somebody_made():
    own = authorities.issue("ARK-Genoa", rsa_keys()[0], AT, authority=True)
    ask = authorities.issue("SEV-Genoa", rsa_keys()[1], AT, issuer=own, authority=True, path_length=0)
    chain = snp().vcek.pem() + ask.pem() + own.pem()
    # The same names and the same keys: but it is another certificate than the one that is trusted.
    assert rule_of(judge(report(), certificates=chain)) == "test-root"


@pytest.mark.parametrize("trusted", [None, '[snp]\nproducts = ["Genoa"]', 'test = true\n[snp]\nproducts = ["Genoa"]'])
def test_11_the_emulator_where_no_policy_for_tests_names_it(trusted):
    asked = None if trusted is None else policy(trusted)
    assert rule_of(judge(report(), policy=asked)) == "test-root"


def test_11_roots_are_named_one_by_one():
    asked = policy('[snp]\nproducts = ["Genoa"]', roots=("00" * 32, snp(Product.MILAN).ark.fingerprint()))
    assert rule_of(judge(report(), policy=asked)) == "test-root"


def test_11_a_root_of_no_known_product():
    ark = authorities.issue("ARK-Naples", rsa_keys()[0], AT, authority=True)
    ask = authorities.issue("SEV-Naples", rsa_keys()[1], AT, issuer=ark, authority=True, path_length=0)
    leaf = endorse(Signer.VCEK, Product.GENOA, snp().tcb, ask, AT, chip_id=snp().chip_id)
    data = sign(encode(snp(), DATA, BOOT.snp(), SnpState(), Signer.VCEK), leaf.signing_key)
    asked = policy('[snp]\nproducts = ["Genoa"]', roots=(ark.fingerprint(),))
    chain = leaf.pem() + ask.pem() + ark.pem()
    assert rule_of(judge(data, certificates=chain, policy=asked)) == "product"


@pytest.mark.parametrize(
    "cpuid",
    [(0x19, 0x01, 0), (0x19, 0x20, 0), (0x19, 0x9F, 0), (0x19, 0xB0, 0), (0x1A, 0x02, 0), (0x1A, 0x12, 0), (0, 0, 0)],
)
def test_12_the_processor_told_is_not_of_the_chains_product(cpuid):
    assert rule_of(judge_snp(SnpState(cpuid=cpuid))) == "product"


@pytest.mark.parametrize("days", [-2, 3651, 36500])
def test_13_certificates_that_are_not_valid_at_the_time(days):
    assert rule_of(judge(report(), at=AT + timedelta(days=days))) == "certificate-validity"


def test_13_an_authority_that_was_certified_again():
    platform = snp()
    old = authorities.issue(
        "SEV-Genoa",
        rsa_keys()[1],
        AT - timedelta(days=900),
        issuer=platform.ark,
        authority=True,
        path_length=0,
        valid=timedelta(days=800),
    )
    for order in ((old, platform.ask), (platform.ask, old)):
        chain = platform.vcek.pem() + b"".join(one.pem() for one in order) + platform.ark.pem()
        assert rule_of(judge(report(), certificates=chain)) is None
    alone = platform.vcek.pem() + old.pem() + platform.ark.pem()
    assert rule_of(judge(report(), certificates=alone)) == "certificate-validity"


def test_13_a_time_without_a_time_zone_is_no_time():
    with pytest.raises(ValueError, match="time zone"):
        judge(report(), at=AT.replace(tzinfo=None))


@pytest.mark.parametrize("which", ["leaf", "ask", "ark"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_13_every_certificate_of_the_chain_has_to_be_valid(which, when):
    root, below, _ = rsa_keys()

    def times(name):
        if name != which:
            return AT - timedelta(days=900), authorities.YEARS
        return (
            (AT + timedelta(days=30), authorities.YEARS)
            if when == "before"
            else (AT - timedelta(days=90), timedelta(60))
        )

    def issue(label, name, key, **more):
        begin, valid = times(label)
        return authorities.issue(name, key, begin, valid=valid, **more)

    ark = issue("ark", "ARK-Genoa", root, authority=True)
    ask = issue("ask", "SEV-Genoa", below, issuer=ark, authority=True, path_length=0)
    plain = endorse(Signer.VCEK, Product.GENOA, snp().tcb, ask, AT, chip_id=snp().chip_id)
    found = {
        one.oid.dotted_string: one.value.value
        for one in plain.certificate.extensions
        if one.oid.dotted_string.startswith("1.3.6")
    }
    leaf = issue("leaf", "SEV-VCEK", plain.key, issuer=ask, extensions=found)
    data = sign(encode(snp(), DATA, BOOT.snp(), SnpState(), Signer.VCEK), leaf.signing_key)
    asked = policy('[snp]\nproducts = ["Genoa"]', roots=(ark.fingerprint(),))
    chain = leaf.pem() + ask.pem() + ark.pem()
    assert rule_of(judge(data, certificates=chain, policy=asked)) == "certificate-validity"


def test_13_revoked_certificates():
    platform = snp()
    serial = platform.ask.certificate.serial_number

    def lists(*serials, issuer=platform.ark, at=AT, valid=timedelta(days=30)):
        return given(authorities.revoke(issuer, serials, at, valid=valid))

    assert rule_of(judge_snp(collateral=lists(serial))) == "certificate-revoked"
    assert rule_of(judge_snp(collateral=lists(serial + 1))) is None
    assert rule_of(judge_snp(collateral=lists(platform.vcek.certificate.serial_number, issuer=platform.ask))) == (
        "certificate-revoked"
    )
    old = AT - timedelta(days=60)
    assert rule_of(judge_snp(collateral=lists(at=old))) == "collateral-validity"
    assert rule_of(judge_snp(collateral=lists(at=AT + timedelta(days=9)))) == "collateral-validity"
    forged = authorities.issue("ARK-Genoa", rsa_keys()[2], AT, authority=True)
    assert rule_of(judge_snp(collateral=lists(serial, issuer=forged))) == "collateral"
    # A list of somebody else says nothing, and does not count where lists are demanded.
    foreign = lists(serial, issuer=snp(Product.MILAN).ark)
    assert rule_of(judge_snp(collateral=foreign)) is None
    demanded = 'revocation-lists = "required"'
    assert rule_of(judge_snp(None, demanded)) == "revocation-list"
    assert rule_of(judge_snp(None, demanded, collateral=foreign)) == "revocation-list"
    assert rule_of(judge_snp(None, demanded, collateral=lists())) == "revocation-list"
    both = lists() + lists(issuer=platform.ask)
    assert rule_of(judge_snp(None, demanded, collateral=both)) is None
