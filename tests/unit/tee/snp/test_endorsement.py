"""What the certificate of a signing key says of its chip."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.evidence import AT, BOOT, DATA, given, judge_snp, rsa_keys, rule_of, snp, snp_policy
from tests.support.snp_reports import judge

from haulout.emulator import der
from haulout.emulator.snp import SnpState, encode, endorse, sign
from haulout.tee import verify
from haulout.tee.snp import endorsement as oid
from haulout.tee.snp.endorsement import Signer
from haulout.tee.snp.parse import Product, Tcb

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


@pytest.mark.parametrize("name", ["SEV-VLEK", "SEV-Genoa", "ARK-Genoa", "", "SEV-VCEK ", "sev-vcek"])
def test_09_the_certificate_has_another_name(name):
    if not name:
        name = "x"
    assert rule_of(endorsed(name=name)) == "certificate-role"


def test_09_a_vcek_that_names_a_cloud_provider_and_a_vlek_that_names_a_chip():
    assert rule_of(endorsed({oid.CSP_ID: der.text("CN=x")})) == "certificate-role"
    assert rule_of(endorsed({oid.HARDWARE_ID: bytes(64)}, signer=Signer.VLEK)) == "certificate-role"


@pytest.mark.parametrize("name", ["Milan-B0", "Milan", "Turin-B1", "Venice", "genoa", "Genoax", "", "Genoa\xff"])
def test_12_the_certificate_is_for_another_product(name):
    content = der.value(0x16, name.encode("latin-1"))
    assert rule_of(endorsed({oid.PRODUCT_NAME: content})) in {"product", "certificate-extension"}


@pytest.mark.parametrize("name", ["Genoa", "Genoa-B1", "Genoa-A0"])
def test_12_a_product_with_or_without_its_stepping(name):
    assert rule_of(endorsed({oid.PRODUCT_NAME: der.text(name)})) is None
