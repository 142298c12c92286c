"""What vendors publish: named by evidence, recognised in files, accepted only where genuine, current and the right one."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from tests.support.evidence import (
    AT,
    BOOT,
    DATA,
    cca,
    given,
    rsa_keys,
    rule_of,
    snp,
    snp_policy,
    tdx,
    tdx_policy,
    vector,
)
from tests.support.simulators.vendors import Vendors

from haulout.emulator import SnpEmulator, authorities
from haulout.errors import InvalidEvidence
from haulout.tee import accept, identify, publications, verify
from haulout.tee.snp import Signer
from haulout.tee.snp.kds import Authorities, EndorsementKey, Revocations
from haulout.tee.snp.parse import Product
from haulout.tee.tdx.pcs import PckList, QeIdentity, RootList, TcbInfo

DER = serialization.Encoding.DER


def vcek(product=Product.GENOA):
    return snp(product).vcek.certificate.public_bytes(DER)


def take(publication, data, above=b"", at=AT, root=None):
    """Accept, trusting the emulator."""
    trusted = [root or (snp(publication.product).ark if hasattr(publication, "product") else tdx().root).fingerprint()]
    return accept(publication, data, at=at, above=above, trusted=trusted, test=True)


def parts(**more):
    return dict(identify(tdx().collateral(AT, **more), "collateral"))


@pytest.mark.parametrize("product", Product)
def test_a_report_needs_chain_certificate_and_list_at_amds_addresses(product):
    needs = publications(snp(product).report(DATA, BOOT))
    size, fmc = (16, "fmcSPL=01&") if product is Product.TURIN else (128, "")
    chip = snp(product).chip_id.hex()[:size]
    assert [one.address for one in needs.all] == [
        f"https://kdsintf.amd.com/vcek/v1/{product}/cert_chain",
        f"https://kdsintf.amd.com/vcek/v1/{product}/{chip}?{fmc}blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219",
        f"https://kdsintf.amd.com/vcek/v1/{product}/crl",
    ]


def test_a_vlek_is_not_published_and_a_hidden_chip_has_no_address():
    needs = publications(snp().report(DATA, BOOT, signer=Signer.VLEK))
    assert [one.address for one in needs.certificates] == ["https://kdsintf.amd.com/vlek/v1/Genoa/cert_chain", ""]
    from haulout.emulator.snp import SnpState

    hidden = publications(snp().report(DATA, BOOT, SnpState(chip_id=bytes(64))))
    assert len(hidden.certificates) == 1
    old = publications(snp().report(DATA, BOOT, SnpState(version=2)))
    assert old.all == ()


def test_a_quote_needs_the_four_parts_of_collateral_at_intels_addresses():
    pcs = "https://api.trustedservices.intel.com"
    needs = publications(tdx().quote(DATA, BOOT))
    assert [one.address for one in needs.all] == [
        f"{pcs}/tdx/certification/v4/tcb?fmspc=90c06f000000&update=standard",
        f"{pcs}/tdx/certification/v4/qe/identity?update=standard",
        f"{pcs}/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
        "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der",
    ]
    early = publications(tdx().quote(DATA, BOOT), early=True)
    assert [one.address.endswith("update=early") for one in early.all] == [True, True, False, False]
    assert len({one.name for one in (*needs.all, *early.all)}) == 6


def test_arm_publishes_nothing_and_what_is_no_evidence_needs_nothing():
    assert publications(cca().token(DATA, BOOT)).all == ()
    with pytest.raises(InvalidEvidence):
        publications(b"no evidence")


def test_what_was_identified_and_accepted_verifies_the_evidence():
    platform = snp()
    report = platform.report(DATA, BOOT)
    found = dict(identify(platform.certificates(), "certificates.pem"))
    found |= dict(identify(authorities.revoke(platform.ark, (), AT), "crl.der"))
    needs = publications(report)
    for one in needs.all:
        take(one, found[one], b"" if one.above is None else found[one.above])
    certificates, collateral = needs.given({one.name: found[one] for one in needs.all})
    assert verify(report, at=AT, certificates=certificates, collateral=collateral, policy=snp_policy()).accepted
    # With its authority's certificate revoked, it is not.
    revoked = authorities.revoke(platform.ark, (platform.ask.certificate.serial_number,), AT)
    verdict = verify(report, at=AT, certificates=certificates, collateral=given(revoked), policy=snp_policy())
    assert rule_of(verdict) == "certificate-revoked"

    quote, known = tdx().quote(DATA, BOOT), parts()
    needs = publications(quote)
    for one in needs.all:
        take(one, known[one], b"" if one.above is None else known[one.above])
    _, collateral = needs.given({one.name: known[one] for one in needs.all})
    assert verify(quote, at=AT, collateral=collateral, policy=tdx_policy()).accepted
    assert needs.given({one.name: known[one] for one in needs.all[1:]}) == ([], [])


def test_real_publications_are_accepted_under_the_pinned_roots():
    report = vector("snp/milan-v3.report.bin")
    found = dict(identify(vector("snp/milan.ask.pem") + vector("snp/milan.ark.pem"), "chain"))
    found |= dict(identify(vector("snp/milan-v3.vcek.pem"), "vcek"))
    needs = publications(report)
    for one in needs.certificates:
        assert accept(one, found[one], at=AT, above=b"" if one.above is None else found[one.above]).until > AT
    quote, known = vector("tdx/quote-uptodate.bin"), dict(identify(vector("tdx/quote-uptodate.collateral.json"), "c"))
    needs = publications(quote)
    assert set(needs.all) == set(known)
    from datetime import UTC, datetime

    then = datetime(2025, 6, 20, tzinfo=UTC)
    for one in needs.all:
        accept(one, known[one], at=then, above=b"" if one.above is None else known[one.above])
    with pytest.raises(InvalidEvidence, match="expired"):
        accept(needs.all[0], known[needs.all[0]], at=AT)


def test_an_emulators_publications_are_refused_without_a_root_for_tests():
    for one, data in identify(snp().certificates(), "certificates.pem"):
        if one.above is None:
            with pytest.raises(InvalidEvidence, match="emulator"):
                accept(one, data, at=AT)
    with pytest.raises(InvalidEvidence, match="emulator"):
        accept(QeIdentity(), parts()[QeIdentity()], at=AT)


def test_the_certificate_of_another_chip_tcb_or_product_is_refused():
    chain = snp().ask.pem() + snp().ark.pem()
    key = next(one for one, _ in identify(vcek(), "vcek") if isinstance(one, EndorsementKey))
    take(key, vcek(), chain)
    for other in (
        replace(key, chip=bytes(64)),
        replace(key, tcb=replace(key.tcb, snp=23)),
        replace(key, product=Product.MILAN),
        replace(key, signer=Signer.VLEK),
    ):
        with pytest.raises(InvalidEvidence):
            take(other, vcek(), chain, root=snp().ark)
    stranger = SnpEmulator.make(AT, keys=[rsa_keys()[0], rsa_keys()[2], rsa_keys()[1]])
    with pytest.raises(InvalidEvidence):
        take(key, vcek(), stranger.ask.pem() + stranger.ark.pem())
    with pytest.raises(InvalidEvidence, match="not valid before"):
        take(key, vcek(), chain, AT - timedelta(days=3000))


def test_chains_lists_and_documents_in_each_others_place_are_refused():
    platform = snp()
    chain = Authorities(Product.GENOA, Signer.VCEK)
    listed = authorities.revoke(platform.ark, (), AT)
    good = platform.ask.pem() + platform.ark.pem()
    take(chain, good)
    for wrong in (
        platform.asvk.pem() + platform.ark.pem(),
        platform.ark.pem(),
        snp(Product.MILAN).ask.pem() + snp(Product.MILAN).ark.pem(),
        snp(Product.MILAN).ask.pem() + platform.ark.pem(),
        platform.certificates(),
        listed,
        b"",
    ):
        with pytest.raises(InvalidEvidence):
            take(chain, wrong, root=platform.ark)
    revocations = Revocations(Product.GENOA, Signer.VCEK)
    take(revocations, listed, good)
    for wrong in (authorities.revoke(snp(Product.MILAN).ark, (), AT), authorities.revoke(platform.ask, (), AT), good):
        with pytest.raises(InvalidEvidence):
            take(revocations, wrong, good)
    with pytest.raises(InvalidEvidence, match="expired"):
        take(revocations, listed, good, AT + timedelta(days=31))
    known = parts()
    for one in known:
        for other, data in known.items():
            if other != one:
                with pytest.raises(InvalidEvidence):
                    take(one, data, known[QeIdentity()])


def test_collateral_for_other_platforms_or_signed_by_others_is_refused():
    with pytest.raises(InvalidEvidence, match="for platform"):
        take(TcbInfo(fmspc=bytes(6)), parts()[TcbInfo(fmspc=bytes.fromhex("90c06f000000"))])
    forged = parts(signing_key=authorities.p256_key())
    for one in (TcbInfo(fmspc=bytes.fromhex("90c06f000000")), QeIdentity()):
        with pytest.raises(InvalidEvidence, match="not signed"):
            take(one, forged[one])
    other = authorities.issue("Intel SGX Root CA", authorities.p256_key(), AT, authority=True)
    listed = json.dumps({"root_ca_crl": authorities.revoke(other, (), AT).hex()}).encode()
    with pytest.raises(InvalidEvidence):
        take(RootList(), listed, parts()[QeIdentity()])
    with pytest.raises(InvalidEvidence, match="processor authority"):
        take(PckList("processor"), parts()[PckList("platform")])


def test_intels_answers_are_kept_as_the_bytes_that_are_signed():
    served = Vendors()
    for one in (TcbInfo(fmspc=bytes.fromhex("90c06f000000")), QeIdentity(early=True)):
        _, headers, body = served.answer(one.address.removeprefix("https://api.trustedservices.intel.com"))
        from urllib.parse import unquote_to_bytes

        chain = unquote_to_bytes(headers[one.chain_header])
        take(one, one.kept(body, chain))
        take(one, one.kept(b" " + body.replace(b',"signature"', b' , "signature"', 1) + b"\n", chain))
        for wrong in (b"{}", b"", body[:-2], body + b"}", body.replace(b'"signature"', b'"sign"')):
            with pytest.raises(InvalidEvidence):
                one.kept(wrong, chain)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"{", b"[]", b"\x30\x03\x02\x01\x00", b"-----BEGIN X509 CRL-----", b"\0" * 99]
)
def test_what_is_nothing_known_is_said_so(data):
    with pytest.raises(InvalidEvidence):
        identify(data, "file")
