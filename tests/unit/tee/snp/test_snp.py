"""What an SEV-SNP report must not get away with. The numbers are those of our list of negative cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.evidence import AT, BOOT, DATA, given, judge_snp, policy, rsa_keys, rule_of, snp, snp_policy

from haulout.emulator import authorities, der
from haulout.emulator.snp import DEFAULT_POLICY, SnpState, encode, endorse, sign
from haulout.errors import InvalidEvidence
from haulout.tee import verify
from haulout.tee.signatures import P384_ORDER
from haulout.tee.snp import endorsement as oid
from haulout.tee.snp.endorsement import Signer
from haulout.tee.snp.parse import Product, Tcb

ALL = [(product, signer, version) for product in Product for signer in Signer for version in (2, 3, 4, 5)]
ANY_VERSION = 'versions = [2, 3, 4, 5]\nsigners = ["vcek", "vlek"]\n'


@pytest.mark.parametrize(("product", "signer", "version"), ALL)
def test_emulated_reports_of_every_product_signer_and_version_are_accepted(product, signer, version):
    verdict = judge_snp(SnpState(version=version), ANY_VERSION, product=product, signer=signer, report_data=DATA)
    assert verdict.accepted, verdict.refusal
    assert verdict.open == ("measurements", "host-data", "chip-ids", "tcb")


def report(state=None, signer=Signer.VCEK):
    return snp().report(DATA, BOOT, state, signer=signer)


def judge(data, table="", certificates=None, **more: Any):
    asked: dict[str, Any] = {"at": AT, "policy": snp_policy(table)} | more
    chain = snp().certificates() if certificates is None else certificates
    return verify(data, certificates=given(chain), **asked)


@pytest.mark.parametrize("length", [4, 5, 47, 48, 671, 672, 1183, 1185, 1184 * 2])
def test_01_another_length(length):
    whole = report() * 2
    with pytest.raises(InvalidEvidence, match="1184"):
        judge(whole[:length])


def test_01_next_to_nothing():
    for few in (1, 2, 3):
        with pytest.raises(InvalidEvidence, match="its format is not known"):
            judge(report()[:few])
    with pytest.raises(InvalidEvidence, match="empty"):
        judge(b"")


@pytest.mark.parametrize("version", [0, 1, 6, 7, 255, 1 << 31])
def test_02_versions_that_are_not_known(version):
    assert rule_of(judge_snp(SnpState(version=version))) == "format-version"


def test_02_version_2_by_policy():
    assert rule_of(judge_snp(SnpState(version=2))) == "version-not-allowed"
    assert rule_of(judge_snp(SnpState(version=3), "versions = [5]")) == "version-not-allowed"


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


COMPONENTS = ["bootloader", "tee", "snp", "microcode"]


@pytest.mark.parametrize("step", [1, -1, 128])
@pytest.mark.parametrize("name", COMPONENTS)
def test_07_the_certificate_is_for_another_tcb(name, step):
    tcb = snp().tcb
    value = getattr(tcb, name) + step
    if not 0 <= value <= 255:
        value = getattr(tcb, name) - step if 0 <= getattr(tcb, name) - step <= 255 else 77
    other = replace(tcb, **{name: value})
    state = SnpState(reported_tcb=other, committed_tcb=Tcb(255, 255, 255, 255), current_tcb=Tcb(255, 255, 255, 255))
    assert rule_of(judge_snp(state)) == "tcb-certificate"


def test_07_the_fmc_of_turin_counts():
    tcb = replace(snp(Product.TURIN).tcb, fmc=2)
    state = SnpState(reported_tcb=tcb, committed_tcb=tcb, current_tcb=tcb)
    assert rule_of(judge_snp(state, product=Product.TURIN)) == "tcb-certificate"


def endorsed(changed=None, *, product=Product.GENOA, signer=Signer.VCEK, name=None, **more):
    """Judge a report by a signing key whose certificate is properly issued, with something changed in it."""
    platform = snp(product)
    leaf = endorse(
        signer,
        product,
        platform.tcb,
        platform.ask if signer is Signer.VCEK else platform.asvk,
        AT,
        chip_id=platform.chip_id,
        changed=changed,
        name=name,
    )
    body = encode(platform, DATA, BOOT.snp(), SnpState(), signer)
    above = platform.ask if signer is Signer.VCEK else platform.asvk
    return verify(
        sign(body, leaf.signing_key),
        at=AT,
        certificates=given(leaf.pem() + above.pem() + platform.ark.pem()),
        policy=snp_policy('signers = ["vcek", "vlek"]', product),
        **more,
    )


def test_the_harness_of_changed_certificates_is_accepted_unchanged():
    for product in Product:
        for signer in Signer:
            assert rule_of(endorsed(product=product, signer=signer)) is None


@pytest.mark.parametrize("signer", Signer)
@pytest.mark.parametrize(
    "name", [oid.STRUCT_VERSION, oid.PRODUCT_NAME, oid.BOOTLOADER, oid.TEE, oid.SNP, oid.MICROCODE]
)
def test_08_an_extension_is_missing(name, signer):
    assert rule_of(endorsed({name: None}, signer=signer)) == "certificate-extension"


def test_08_what_says_whose_key_it_is_is_missing():
    assert rule_of(endorsed({oid.HARDWARE_ID: None})) == "certificate-extension"
    assert rule_of(endorsed({oid.CSP_ID: None}, signer=Signer.VLEK)) == "certificate-extension"
    assert rule_of(endorsed({oid.FMC: None}, product=Product.TURIN)) == "certificate-extension"
    assert rule_of(endorsed({oid.FMC: der.integer(1)})) == "certificate-extension"


MALFORMED = {
    "empty": b"",
    "another tag": b"\x04\x01\x04",
    "cut short": b"\x02\x02\x04",
    "longer": b"\x02\x01\x04\x00",
    "padded": b"\x02\x02\x00\x04",
    "negative": b"\x02\x01\xff",
    "no content": b"\x02\x00",
    "two bytes": b"\x02\x02\x01\x04",
    "indefinite": b"\x02\x80\x04\x00\x00",
    "long length": b"\x02\x81\x01\x04",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("name", [oid.STRUCT_VERSION, oid.BOOTLOADER, oid.TEE, oid.SNP, oid.MICROCODE])
def test_08_an_extension_is_malformed(name, content):
    assert rule_of(endorsed({name: content})) == "certificate-extension"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (bytes(63), "certificate-extension"),
        (bytes(65), "certificate-extension"),
        (der.octets(bytes(8)), "certificate-extension"),
        (b"", "certificate-extension"),
        (bytes(64), "chip"),
        (der.octets(bytes(64)), "chip"),
        (b"\x05\x00", "certificate-extension"),
    ],
)
def test_08_the_identity_of_the_chip_is_not_one(content, rule):
    assert rule_of(endorsed({oid.HARDWARE_ID: content})) == rule


@pytest.mark.parametrize("product", Product)
def test_the_identity_of_the_chip_may_be_bare_or_wrapped(product):
    chip = snp(product).chip_id[: 8 if product is Product.TURIN else 64]
    assert rule_of(endorsed({oid.HARDWARE_ID: chip}, product=product)) is None
    assert rule_of(endorsed({oid.HARDWARE_ID: der.octets(chip)}, product=product)) is None


def test_turin_needs_the_rest_of_the_chip_field_to_be_zero():
    chip = snp(Product.TURIN).chip_id[:63] + b"\x01"
    assert rule_of(judge_snp(SnpState(chip_id=chip), product=Product.TURIN)) == "chip"


@pytest.mark.parametrize("last", [b"\x01", b"\x02", b"\x04", b"\x08"], ids=["version", "product", "chip", "foreign"])
def test_08_an_extension_twice(last):
    """A name that nobody knows is made, in the signed bytes, into one that is there already."""
    platform = snp()
    leaf = endorse(
        Signer.VCEK,
        platform.product,
        platform.tcb,
        platform.ask,
        AT,
        chip_id=platform.chip_id,
        changed={"1.3.6.1.4.1.3704.1.99": b"\x02\x01\x00"},
    )
    marker = bytes.fromhex("2b060104019c7801")
    signed = leaf.certificate.tbs_certificate_bytes
    assert signed.count(marker + b"\x63") == 1
    twice = signed.replace(marker + b"\x63", marker + last)
    chain = resigned(twice, rsa_keys()[1]) + platform.ask.pem() + platform.ark.pem()
    data = sign(encode(platform, DATA, BOOT.snp(), SnpState(), Signer.VCEK), leaf.signing_key)
    rule = rule_of(judge(data, certificates=chain))
    assert rule == (None if last == b"\x08" else "certificate-extension")


def resigned(tbs, key):
    from base64 import encodebytes

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    from haulout.tee.der import parse

    signature = key.sign(tbs, padding.PSS(padding.MGF1(hashes.SHA384()), 48), hashes.SHA384())
    # The algorithm stands in the signed part as well: third, behind version and serial number.
    algorithm = list(parse(tbs).parts())[2]
    whole = der.sequence(tbs, der.value(algorithm.tag, algorithm.content), der.value(0x03, b"\0" + signature))
    return b"-----BEGIN CERTIFICATE-----\n" + encodebytes(whole) + b"-----END CERTIFICATE-----\n"


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


@pytest.mark.parametrize("name", ["SEV-VLEK", "SEV-Genoa", "ARK-Genoa", "", "SEV-VCEK ", "sev-vcek"])
def test_09_the_certificate_has_another_name(name):
    if not name:
        name = "x"
    assert rule_of(endorsed(name=name)) == "certificate-role"


def test_09_a_vcek_that_names_a_cloud_provider_and_a_vlek_that_names_a_chip():
    assert rule_of(endorsed({oid.CSP_ID: der.text("CN=x")})) == "certificate-role"
    assert rule_of(endorsed({oid.HARDWARE_ID: bytes(64)}, signer=Signer.VLEK)) == "certificate-role"


def test_09_vleks_of_listed_providers_only():
    assert rule_of(judge_snp(None, 'signers = ["vlek"]\ncsp-ids = ["CN=other"]', signer=Signer.VLEK)) == (
        "signer-not-allowed"
    )
    listed = 'signers = ["vlek"]\ncsp-ids = ["CN=cloud.haulout.example"]'
    assert rule_of(judge_snp(None, listed, signer=Signer.VLEK)) is None


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


@pytest.mark.parametrize("cpuid", [(0x19, 0x10, 0), (0x19, 0x1F, 2), (0x19, 0xA0, 0), (0x19, 0xAF, 9)])
def test_12_models_of_genoa(cpuid):
    assert rule_of(judge_snp(SnpState(cpuid=cpuid))) is None


@pytest.mark.parametrize("name", ["Milan-B0", "Milan", "Turin-B1", "Venice", "genoa", "Genoax", "", "Genoa\xff"])
def test_12_the_certificate_is_for_another_product(name):
    content = der.value(0x16, name.encode("latin-1"))
    assert rule_of(endorsed({oid.PRODUCT_NAME: content})) in {"product", "certificate-extension"}


@pytest.mark.parametrize("name", ["Genoa", "Genoa-B1", "Genoa-A0"])
def test_12_a_product_with_or_without_its_stepping(name):
    assert rule_of(endorsed({oid.PRODUCT_NAME: der.text(name)})) is None


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


@pytest.mark.parametrize(
    "expected",
    [
        bytes(64),
        DATA[:63] + b"\0",
        b"\0" + DATA[1:],
        DATA[:32] + bytes(32),
        DATA[32:] + DATA[:32],
        DATA[::-1],
    ],
)
def test_14_report_data_for_another_occasion(expected):
    assert rule_of(judge_snp(report_data=expected)) == "report-data"
    assert rule_of(judge_snp(report_data=DATA)) is None


@pytest.mark.parametrize("expected", [b"", DATA[:32], DATA[:63], DATA + b"\0"])
def test_14_report_data_of_another_length(expected):
    assert rule_of(judge_snp(report_data=expected)) == "report-data"


def test_14_no_report_data_where_the_policy_wants_some():
    asked = snp_policy(top="[freshness]\nreport-data-required = true\n")
    assert rule_of(judge_snp(policy=asked)) == "freshness"
    assert rule_of(judge_snp(policy=asked, report_data=DATA)) is None


MEASURED = BOOT.snp()


@pytest.mark.parametrize(
    "listed",
    [bytes(48), MEASURED[:-1] + bytes(1), bytes(1) + MEASURED[1:], MEASURED[:24] + bytes(24), MEASURED[::-1]],
    ids=["zeros", "last byte", "first byte", "prefix", "reversed"],
)
def test_16_another_measurement(listed):
    assert rule_of(judge_snp(None, f'measurements = ["{listed.hex()}"]')) == "measurement"
    both = f'measurements = ["{listed.hex()}", "{MEASURED.hex().upper()}"]'
    assert rule_of(judge_snp(None, both)) is None


def test_16_other_files_have_another_measurement():
    listed = f'measurements = ["{MEASURED.hex()}"]'
    for changed in (
        replace(BOOT, command_line="console=ttyS0 root=/dev/vdb"),
        replace(BOOT, files=BOOT.files[::-1]),
        replace(BOOT, files=(*BOOT.files[:2], BOOT.files[2][:-1] + b"!")),
        replace(BOOT, files=BOOT.files[:2]),
    ):
        data = snp().report(DATA, changed)
        assert rule_of(judge(data, listed)) == "measurement"


def test_17_debugging():
    assert rule_of(judge_snp(SnpState(policy=DEFAULT_POLICY | 1 << 19))) == "debug"
    assert rule_of(judge_snp(SnpState(policy=DEFAULT_POLICY | 1 << 19), "debug = true")) is None


def test_18_migration():
    assert rule_of(judge_snp(SnpState(policy=DEFAULT_POLICY | 1 << 18))) == "migration"
    for agent in (bytes(32), bytes(31) + b"\x01", b"\xff" * 31 + b"\xfe"):
        assert rule_of(judge_snp(SnpState(report_id_ma=agent))) == "migration"
    both = SnpState(policy=DEFAULT_POLICY | 1 << 18, report_id_ma=b"\x05" * 32)
    assert rule_of(judge_snp(both, "migration = true")) is None


@pytest.mark.parametrize("bits", [0, 1 << 16, *(DEFAULT_POLICY | 1 << bit for bit in range(26, 64))])
def test_19_reserved_bits_of_the_guest_policy(bits):
    assert rule_of(judge_snp(SnpState(policy=bits))) == "guest-policy"


@pytest.mark.parametrize("bit", range(20, 26))
def test_19_bits_of_the_guest_policy_that_are_defined(bit):
    assert rule_of(judge_snp(SnpState(policy=DEFAULT_POLICY | 1 << bit))) is None


@pytest.mark.parametrize("vmpl", [1, 2, 3, 4, 0xFFFFFFFF])
def test_20_vmpl(vmpl):
    assert rule_of(judge_snp(SnpState(vmpl=vmpl))) == "vmpl"
    assert rule_of(judge_snp(SnpState(vmpl=vmpl), "vmpl = 3")) == (None if vmpl <= 3 else "vmpl")


FLOORS = ["bootloader = 5", "tee = 1", "snp = 25", "microcode = 220", "bootloader = 255\nmicrocode = 255"]


@pytest.mark.parametrize("floor", FLOORS)
def test_21_a_tcb_below_the_floor(floor):
    assert rule_of(judge_snp(None, f"[snp.tcb.Genoa]\n{floor}")) == "tcb-floor"


def test_21_a_floor_that_is_met_and_one_of_another_product():
    assert rule_of(judge_snp(None, "[snp.tcb.Genoa]\nbootloader = 4\nsnp = 24\nmicrocode = 219")) is None
    other = judge_snp(None, "[snp.tcb.Milan]\nbootloader = 9")
    assert other.accepted
    assert "tcb" in other.open
    assert rule_of(judge_snp(None, "[snp.tcb.Turin]\nfmc = 2", product=Product.TURIN)) == "tcb-floor"


@pytest.mark.parametrize("name", COMPONENTS)
def test_21_what_is_reported_committed_and_current_has_an_order(name):
    tcb = snp().tcb
    high, low = replace(tcb, **{name: 250}), replace(tcb, **{name: 0})
    if getattr(tcb, name):
        assert rule_of(judge_snp(SnpState(committed_tcb=low))) == "tcb-order"
        assert rule_of(judge_snp(SnpState(current_tcb=low))) == "tcb-order"
    assert rule_of(judge_snp(SnpState(committed_tcb=high))) == "tcb-order"
    assert rule_of(judge_snp(SnpState(committed_tcb=high, current_tcb=high))) is None


@pytest.mark.parametrize("member", ["committed_tcb", "launch_tcb"])
def test_21_the_floor_counts_for_what_is_committed_and_what_was_launched(member):
    low = Tcb(4, 0, 24, 100)
    changed: dict[str, Any] = {member: low}
    state = SnpState(**changed)
    rule = rule_of(judge_snp(state, "[snp.tcb.Genoa]\nmicrocode = 200"))
    assert rule == ("tcb-floor" if member == "launch_tcb" else "tcb-order")


def test_22_which_chip():
    assert rule_of(judge_snp(SnpState(chip_id=bytes(64)))) == "chip"
    listed = f'chip-ids = ["{snp().chip_id.hex()}"]'
    assert rule_of(judge_snp(None, listed)) is None
    assert rule_of(judge_snp(None, f'chip-ids = ["{bytes(64).hex()}"]')) == "chip-not-allowed"
    hidden = SnpState(chip_id=bytes(64))
    vlek = 'signers = ["vlek"]\n'
    assert rule_of(judge_snp(hidden, vlek, signer=Signer.VLEK)) is None
    assert rule_of(judge_snp(hidden, vlek + listed, signer=Signer.VLEK)) == "chip-not-allowed"
    # Turin's chips have 8 bytes, which a list may give as such.
    turin = snp(Product.TURIN).chip_id
    for text in (turin.hex(), turin[:8].hex()):
        assert rule_of(judge_snp(None, f'chip-ids = ["{text}"]', product=Product.TURIN)) is None


@pytest.mark.parametrize("host_data", [bytes(32), b"\x07" * 31 + b"\0", b"\0" + b"\x07" * 31])
def test_23_another_workload(host_data):
    listed = 'host-data = ["' + "07" * 32 + '"]'
    assert rule_of(judge_snp(SnpState(host_data=host_data), listed)) == "workload"
    assert rule_of(judge_snp(SnpState(host_data=b"\x07" * 32), listed)) is None


def test_24_guest_version_and_keys():
    assert rule_of(judge_snp(SnpState(guest_svn=1), "guest-svn = 2")) == "guest-svn"
    assert rule_of(judge_snp(SnpState(guest_svn=2), "guest-svn = 2")) is None
    wanted = "11" * 48
    assert rule_of(judge_snp(None, f'id-keys = ["{wanted}"]')) == "id-key"
    assert rule_of(judge_snp(SnpState(id_key_digest=b"\x11" * 48), f'id-keys = ["{wanted}"]')) is None
    table = f'author-keys = ["{wanted}"]'
    # A digest counts only where the report says that there is an author's key.
    assert rule_of(judge_snp(SnpState(author_key_digest=b"\x11" * 48), table)) == "author-key"
    assert rule_of(judge_snp(SnpState(key_info=1, author_key_digest=bytes(48)), table)) == "author-key"
    assert rule_of(judge_snp(SnpState(key_info=1, author_key_digest=b"\x11" * 48), table)) is None
    assert rule_of(judge_snp(None, 'family-ids = ["' + "22" * 16 + '"]')) == "guest-policy"
    assert rule_of(judge_snp(None, 'image-ids = ["' + "22" * 16 + '"]')) == "guest-policy"


def test_25_hyper_threading():
    for state in (SnpState(platform_info=0), SnpState(policy=1 << 17)):
        assert rule_of(judge_snp(state, "smt = false")) == "smt"
    assert rule_of(judge_snp(SnpState(platform_info=0, policy=1 << 17), "smt = false")) is None
    assert rule_of(judge_snp(None, "single-socket = true")) == "guest-policy"
    assert rule_of(judge_snp(SnpState(policy=DEFAULT_POLICY | 1 << 20), "single-socket = true")) is None


PLATFORM = {"tsme": 1, "ecc": 2, "rapl-off": 3, "ciphertext-hiding": 4, "alias-check": 5, "tio": 7}


@pytest.mark.parametrize(("name", "bit"), PLATFORM.items())
def test_25_what_the_platform_has_to_have(name, bit):
    table = f'platform-required = ["{name}"]'
    assert rule_of(judge_snp(SnpState(platform_info=0xFF ^ 1 << bit), table)) == "platform-info"
    assert rule_of(judge_snp(SnpState(platform_info=1 << bit), table)) is None


def test_25_mitigations():
    table = "mitigations = 5"
    assert rule_of(judge_snp(SnpState(mitigations=4), table)) == "mitigation"
    assert rule_of(judge_snp(SnpState(mitigations=7), table)) is None
    # Reports before version 5 do not tell.
    assert rule_of(judge_snp(SnpState(version=3, mitigations=7), table)) == "mitigation"


def test_a_product_that_the_policy_does_not_list():
    assert rule_of(judge_snp(None, 'products = ["Turin", "Milan"]')) == "product-not-allowed"


def test_a_policy_without_a_table_for_it():
    asked = policy("[tdx]", roots=(snp().ark.fingerprint(),))
    assert rule_of(judge_snp(policy=asked)) == "tee"
