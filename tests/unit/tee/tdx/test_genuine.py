"""Genuine quotes: signatures, the quoting enclave, chains, times; also in the eyes of an independent verifier."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.evidence import AT, BOOT, DATA, given, policy, rule_of, tdx, tdx_policy
from tests.support.tdx_quotes import certified, collateral, judge

from haulout.emulator import authorities
from haulout.emulator.tdx import QE_ATTRIBUTES, TdxState, certify
from haulout.tee import verify
from haulout.tee.tdx import parse as quote

LAYOUTS = [(4, quote.TYPE_TD10), (5, quote.TYPE_TD10), (5, quote.TYPE_TD15)]


@pytest.mark.parametrize(("version", "body"), LAYOUTS)
def test_emulated_quotes_are_accepted(version, body):
    verdict = judge(TdxState(version=version, body=body), report_data=DATA)
    assert verdict.accepted, verdict.refusal
    assert verdict.claims.tcb.status == "UpToDate"
    assert verdict.statement.body.version == ("1.5" if body == quote.TYPE_TD15 else "1.0")


@pytest.mark.parametrize(
    "bound",
    [bytes(64), hashlib.sha256(b"another key").digest() + bytes(32), b"\xff" * 64],
    ids=["zeros", "other", "ones"],
)
def test_38_the_quoting_enclave_vouches_for_another_key(bound):
    assert rule_of(judge(TdxState(qe_report_data=bound))) == "qe-binding"


def test_38_the_rest_of_the_enclaves_report_data_is_zero():
    data = bytearray(tdx().quote(DATA, BOOT))
    key = data[48 + 584 + 4 + 64 : 48 + 584 + 4 + 128]
    bound = hashlib.sha256(bytes(key) + bytes(range(32))).digest()
    assert rule_of(judge(TdxState(qe_report_data=bound + bytes(32)))) is None
    assert rule_of(judge(TdxState(qe_report_data=bound + b"\x01" * 32))) == "qe-binding"


def test_38_another_enclave():
    assert rule_of(judge(TdxState(qe_mrsigner=bytes(32)))) == "qe-identity"
    assert rule_of(judge(TdxState(qe_product=1))) == "qe-identity"
    assert rule_of(judge(TdxState(qe_svn=1))) == "tcb-level"
    assert rule_of(judge(TdxState(vendor=bytes(16)))) == "qe-vendor"


def test_38_an_enclave_that_can_be_debugged_needs_no_collateral_to_be_refused():
    state = TdxState(qe_attributes=bytes((QE_ATTRIBUTES[0] | 2,)) + QE_ATTRIBUTES[1:])
    data = tdx().quote(DATA, BOOT, state)
    verdict = verify(data, at=AT, policy=tdx_policy('collateral = "optional"'))
    assert rule_of(verdict) == "qe-identity"


def test_13_revoked_certificates():
    serials = {name: getattr(tdx(), name).certificate.serial_number for name in ("pck", "authority", "signer")}
    assert rule_of(judge(collateral=collateral(revoked=(serials["pck"],)))) == "certificate-revoked"
    for name in ("authority", "signer"):
        revoked = collateral(revoked_authorities=(serials[name],))
        assert rule_of(judge(collateral=revoked)) == "certificate-revoked"
    assert rule_of(judge(collateral=collateral(revoked=tuple(range(1, 500))))) is None


@pytest.mark.parametrize("offset", [0, 32, 134 + 384, 134 + 416], ids=["r", "s", "QE's r", "QE's s"])
@pytest.mark.parametrize("number", [bytes(32), b"\xff" * 32], ids=["zero", "too large"])
def test_numbers_of_signatures_out_of_range(offset, number):
    data = bytearray(tdx().quote(DATA, BOOT))
    begin = 48 + 584 + 4 + offset
    data[begin : begin + 32] = number
    assert rule_of(judge(data=bytes(data))) == "signature-encoding"


def test_an_attestation_key_that_is_no_point():
    """The enclave may vouch for any bytes: they are no key for that."""
    key = b"\x01" * 64
    bound = hashlib.sha256(key + bytes(range(32))).digest() + bytes(32)
    data = bytearray(tdx().quote(DATA, BOOT, TdxState(qe_report_data=bound)))
    begin = 48 + 584 + 4 + 64
    data[begin : begin + 64] = key
    assert rule_of(judge(data=bytes(data))) == "signature-encoding"


def test_a_quote_signed_by_another_key():
    other = replace(tdx(), attestation_key=authorities.p256_key())
    assert rule_of(judge(platform=other)) is None
    theirs, own = other.quote(DATA, BOOT), tdx().quote(DATA, BOOT)
    begin = 48 + 584 + 4
    mixed = own[:begin] + theirs[begin : begin + 64] + own[begin + 64 :]
    assert rule_of(judge(data=mixed)) == "signature"


@pytest.mark.parametrize("name", ["Intel SGX TCB Signing", "Intel SGX PCK Platform CA", "SEV-VCEK"])
def test_10_another_certificate_in_the_place_of_the_platforms(name):
    # Named like its issuer, it is taken for a root, which did not sign itself.
    assert rule_of(judge(platform=certified(name=name))) == ("chain" if "Platform" in name else "certificate-role")


def test_10_another_chain():
    direct = replace(tdx(), pck=certify(tdx().root, AT))
    assert rule_of(judge(platform=direct)) in {"certificate-role", "chain"}
    other = authorities.issue("Intel SGX Other CA", authorities.p256_key(), AT, issuer=tdx().root, authority=True)
    assert rule_of(judge(platform=replace(tdx(), authority=other, pck=certify(other, AT)))) == "certificate-role"
    processor = authorities.issue(
        "Intel SGX PCK Processor CA", authorities.p256_key(), AT, issuer=tdx().root, authority=True, path_length=0
    )
    assert judge(platform=replace(tdx(), authority=processor, pck=certify(processor, AT))).accepted
    two = replace(tdx(), authority=certify(tdx().root, AT))
    assert rule_of(judge(platform=two)) == "certificate-role"


def test_11_the_emulator_where_no_policy_for_tests_names_it():
    data, files = tdx().quote(DATA, BOOT), given(tdx().collateral(AT))
    for asked in (None, policy("[tdx]"), policy("test = true\n[tdx]"), policy("[tdx]", roots=("00" * 32,))):
        assert rule_of(verify(data, at=AT, collateral=files, policy=asked)) == "test-root"


@pytest.mark.parametrize("days", [-3, 3652])
def test_13_certificates_that_are_not_valid_at_the_time(days):
    assert rule_of(judge(at=AT + timedelta(days=days))) == "certificate-validity"


def test_an_independent_verifier_accepts_emulated_quotes():
    """dcap-qvl reads the quote format on its own; below 0.3.9 it does not check the QE's identity (CVE-2026-22696)."""
    dcap_qvl = pytest.importorskip("dcap_qvl", minversion="0.3.9", reason="dcap-qvl is not installed, or too old")
    from cryptography.hazmat.primitives.serialization import Encoding

    theirs = dcap_qvl.QuoteCollateralV3.from_json(tdx().collateral(AT).decode())
    root = tdx().root.certificate.public_bytes(Encoding.DER)

    def other(data, files=theirs):
        return dcap_qvl.verify_with_root_ca(data, files, root, int(AT.timestamp()))

    for version, body in LAYOUTS:
        data = tdx().quote(DATA, BOOT, TdxState(version=version, body=body))
        assert other(data).status == "UpToDate"
        changed = bytearray(data)
        changed[600] ^= 1
        with pytest.raises(ValueError, match=r"."):
            other(bytes(changed))
    with pytest.raises(ValueError, match=r"."):
        other(tdx().quote(DATA, BOOT, TdxState(qe_mrsigner=bytes(32))))
