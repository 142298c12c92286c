"""Real evidence of other projects gets the verdict that it deserves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.support.evidence import given, policy, rule_of, vector

from haulout.tee import verify
from haulout.tee.snp.parse import parse, read_tcb
from haulout.tee.snp.rules import SnpClaims
from haulout.tee.tdx.rules import TdxClaims

NOW = datetime(2026, 11, 25, tzinfo=UTC)
STRICT = '[snp]\nproducts = ["Milan"]\nversions = [2, 3]\n[tdx]\n[cca]\n'
CHAIN = ("snp/milan.ask.pem", "snp/milan.ark.pem")
VLEK_CHAIN = ("snp/milan.asvk-ark.pem",)


def judge(name, *certificates, at=NOW, collateral=(), table=None):
    return verify(
        vector(name),
        at=at,
        certificates=given(*map(vector, certificates)),
        collateral=given(*map(vector, collateral)),
        policy=None if table is None else policy(table),
    )


@pytest.mark.parametrize("order", [1, -1], ids=["leaf first", "root first"])
def test_a_genuine_report_is_accepted_with_and_without_a_policy(order):
    files = ("snp/milan-v3.vcek.pem", *CHAIN)[::order]
    for table in (None, STRICT):
        verdict = judge("snp/milan-v3.report.bin", *files, table=table)
        assert verdict.accepted, verdict.refusal
        assert isinstance(verdict.claims, SnpClaims)
        assert verdict.claims.anchor.name == "AMD ARK-Milan"
        assert verdict.claims.endorsement.product_name == "Milan-B0"
        # 219 is written with two bytes in the certificate.
        assert verdict.claims.reported_tcb.parts == {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219}


def test_a_guest_that_can_be_debugged_is_genuine_and_refused():
    files = ("snp/milan-v2-debug.vcek.der", *CHAIN)
    verdict = judge("snp/milan-v2-debug.report.bin", *files)
    assert verdict.accepted
    assert verdict.warning is not None
    assert verdict.warning.rule == "debug"
    assert rule_of(judge("snp/milan-v2-debug.report.bin", *files, table=STRICT)) == "debug"


def test_the_certificate_belongs_to_the_reported_tcb_and_not_to_the_one_that_runs():
    report = parse(vector("snp/milan-v2-tcb.report.bin"))
    verdict = judge("snp/milan-v2-tcb.report.bin", "snp/milan-v2-tcb.vcek.der", *CHAIN, table=STRICT)
    assert verdict.accepted, verdict.refusal
    assert isinstance(verdict.claims, SnpClaims)
    assert verdict.claims.endorsement.tcb == verdict.claims.reported_tcb != verdict.claims.current_tcb
    assert verdict.claims.current_tcb == read_tcb(report.current_tcb, verdict.claims.product)


def test_reports_of_version_2_need_a_policy_that_allows_them():
    files = ("snp/milan-v2-tcb.vcek.der", *CHAIN)
    table = '[snp]\nproducts = ["Milan"]'
    assert rule_of(judge("snp/milan-v2-tcb.report.bin", *files, table=table)) == "version-not-allowed"


def test_a_report_signed_by_a_vlek():
    name, files = "snp/milan-v3-vlek.report.bin", ("snp/milan-v3-vlek.vlek.der", *VLEK_CHAIN)
    valid = datetime(2025, 6, 1, tzinfo=UTC)
    assert rule_of(judge(name, *files)) == "certificate-validity"
    assert judge(name, *files, at=valid).accepted
    assert rule_of(judge(name, *files, at=valid, table=STRICT)) == "signer-not-allowed"
    allowed = f"{STRICT.replace('[tdx]', '')}".replace("[snp]", '[snp]\nsigners = ["vlek"]')
    assert rule_of(judge(name, *files, at=valid, table=allowed)) == "vmpl"


@pytest.mark.parametrize(
    ("report", "leaf"),
    [
        ("snp/milan-v3.report.bin", "snp/milan-v3-vlek.vlek.der"),
        ("snp/milan-v3-vlek.report.bin", "snp/milan-v3.vcek.pem"),
    ],
)
def test_a_vlek_is_no_vcek_and_a_vcek_no_vlek(report, leaf):
    verdict = judge(report, leaf, *CHAIN, *VLEK_CHAIN, at=datetime(2025, 6, 1, tzinfo=UTC))
    assert rule_of(verdict) == "certificate-role"


@pytest.mark.parametrize(
    "report", ["snp/milan-v3.report.bin", "snp/milan-v2-tcb.report.bin", "snp/milan-v2-debug.report.bin"]
)
def test_a_certificate_whose_chain_does_not_verify(report):
    assert rule_of(judge(report, "snp/invalid.vcek.der", *CHAIN)) == "chain"


def test_certificates_of_other_chips_do_not_fit():
    leaves = ("snp/milan-v3.vcek.pem", "snp/milan-v2-tcb.vcek.der", "snp/milan-v2-debug.vcek.der")
    reports = ("snp/milan-v3.report.bin", "snp/milan-v2-tcb.report.bin", "snp/milan-v2-debug.report.bin")
    for row, report in enumerate(reports):
        for column, leaf in enumerate(leaves):
            assert rule_of(judge(report, leaf, *CHAIN)) == (None if row == column else "signature")
        # The right one is found among them all.
        assert judge(report, *leaves, *CHAIN).accepted


def test_amds_certificates_are_known_and_the_chips_is_asked_for():
    leaf = "snp/milan-v3.vcek.pem"
    assert judge("snp/milan-v3.report.bin", leaf).accepted
    assert judge("snp/milan-v3.report.bin", leaf, *VLEK_CHAIN).accepted
    valid = datetime(2025, 6, 1, tzinfo=UTC)
    assert judge("snp/milan-v3-vlek.report.bin", "snp/milan-v3-vlek.vlek.der", at=valid).accepted
    verdict = judge("snp/milan-v3.report.bin")
    assert rule_of(verdict) == "certificate-missing"
    chip = parse(vector("snp/milan-v3.report.bin")).chip_id.hex()
    url = f"https://kdsintf.amd.com/vcek/v1/Milan/{chip}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"
    assert verdict.refusal is not None
    assert (verdict.refusal.hint or "").endswith(url)


QUOTES = ["tdx/quote-v4-debug.dat", "tdx/quote-v4-azure.bin", "tdx/quote-v5.dat", "tdx/quote-uptodate.bin"]


@pytest.mark.parametrize("name", QUOTES)
def test_quotes_are_genuine(name):
    verdict = judge(name)
    assert verdict.accepted, verdict.refusal
    assert isinstance(verdict.claims, TdxClaims)
    assert verdict.claims.anchor.name == "Intel SGX Root CA"
    assert verdict.claims.tcb is None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("tdx/quote-v4-debug.dat", "debug"),
        ("tdx/quote-v4-azure.bin", "td-attributes"),
        ("tdx/quote-v5.dat", "tcb-status"),
        ("tdx/quote-uptodate.bin", "tcb-status"),
    ],
)
def test_what_a_strict_policy_says_of_quotes_without_collateral(name, rule):
    assert rule_of(judge(name, table=STRICT)) == rule


COLLATERAL = ("tdx/quote-uptodate.collateral.json",)
WHILE_VALID = datetime(2025, 7, 1, tzinfo=UTC)


def test_a_platform_that_is_up_to_date_while_the_collateral_is_valid():
    verdict = judge("tdx/quote-uptodate.bin", at=WHILE_VALID, collateral=COLLATERAL, table=STRICT)
    assert verdict.accepted, verdict.refusal
    assert isinstance(verdict.claims, TdxClaims)
    assert verdict.claims.tcb is not None
    assert verdict.claims.tcb.status == "UpToDate"
    assert verdict.claims.tcb.evaluation_number == 17


@pytest.mark.parametrize(
    ("at", "rule"),
    [
        (NOW, "collateral-validity"),
        (datetime(2025, 7, 19, 11, tzinfo=UTC), "collateral-validity"),
        (datetime(2025, 6, 19, 10, tzinfo=UTC), "collateral-validity"),
        (datetime(2024, 1, 1, tzinfo=UTC), "certificate-validity"),
    ],
)
def test_collateral_before_and_after_its_time(at, rule):
    assert rule_of(judge("tdx/quote-uptodate.bin", at=at, collateral=COLLATERAL)) == rule


def test_collateral_of_another_sort_of_platform():
    # Before its platform's certificate was issued, nothing else is looked at.
    quote = "tdx/quote-v4-debug.dat"
    assert rule_of(judge(quote, at=WHILE_VALID, collateral=COLLATERAL)) == "platform"


def test_a_cca_token_and_the_key_given_with_it():
    verdict = judge("cca/token.cbor", "cca/cpak-pub.json")
    assert verdict.accepted, verdict.refusal
    assert verdict.claims is not None
    assert verdict.claims.anchor.name == "the key given"
    # A policy does not take a key for trusted because it came along.
    assert rule_of(judge("cca/token.cbor", "cca/cpak-pub.json", table=STRICT)) == "root"
    pinned = f'[cca]\nplatform-keys = ["{verdict.claims.anchor.fingerprint}"]'
    assert judge("cca/token.cbor", "cca/cpak-pub.json", table=pinned).accepted
    assert rule_of(judge("cca/token.cbor")) == "certificate-missing"
