"""Collateral: whose it is, of what time, of which platform."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from tests.support.evidence import AT, BOOT, DATA, cca, given, policy, rule_of, snp, tdx, tdx_policy
from tests.support.tdx_quotes import collateral, judge

from haulout.emulator import authorities
from haulout.emulator.tdx import FMSPC
from haulout.errors import InvalidEvidence
from haulout.tee import verify


def test_39_forged_documents():
    other = authorities.p256_key()
    assert rule_of(judge(collateral=collateral(signing_key=other))) == "collateral"
    values = json.loads(collateral())
    for name in ("tcb_info", "qe_identity"):
        changed = values | {name: values[name].replace('"tcbEvaluationDataNumber":17', '"tcbEvaluationDataNumber":99')}
        assert rule_of(judge(collateral=json.dumps(changed).encode())) == "collateral"
        # Insignificant white space is signed, too.
        changed = values | {name: values[name] + " "}
        assert rule_of(judge(collateral=json.dumps(changed).encode())) == "collateral"
    for first, second in (("tcb_info_signature", "qe_identity_signature"), ("root_ca_crl", "pck_crl")):
        changed = values | {first: values[second], second: values[first]}
        rule = rule_of(judge(collateral=json.dumps(changed).encode()))
        assert rule == ("collateral" if first.startswith("tcb") else None)


def test_39_documents_signed_by_somebody_else_of_intel():
    values = json.loads(collateral())
    chain = (tdx().pck.pem() + tdx().authority.pem() + tdx().root.pem()).decode()
    for name in ("tcb_info_issuer_chain", "qe_identity_issuer_chain"):
        assert rule_of(judge(collateral=json.dumps(values | {name: chain}).encode())) == "collateral"


def test_39_documents_below_another_root():
    other = type(tdx()).make(AT)
    values = json.loads(collateral())
    theirs = json.loads(other.collateral(AT))
    mixed = values | {name: theirs[name] for name in ("tcb_info", "tcb_info_signature", "tcb_info_issuer_chain")}
    assert rule_of(judge(collateral=json.dumps(mixed).encode())) == "test-root"
    asked = policy("[tdx]", roots=(tdx().root.fingerprint(), other.root.fingerprint()))
    assert rule_of(judge(collateral=json.dumps(mixed).encode(), policy=asked)) == "test-root"
    assert rule_of(judge(collateral=other.collateral(AT), policy=asked)) == "collateral"


@pytest.mark.parametrize("which", ["info", "identity"])
def test_39_documents_out_of_their_time(which):
    def at(**times):
        return {which: {name: value.strftime("%Y-%m-%dT%H:%M:%SZ") for name, value in times.items()}}

    day = timedelta(days=1)
    for times in ({"nextUpdate": AT - day}, {"issueDate": AT + day}, {"issueDate": AT + day, "nextUpdate": AT - day}):
        assert rule_of(judge(collateral=collateral(**at(**times)))) == "collateral-validity"
    assert rule_of(judge(collateral=collateral(**at(issueDate=AT, nextUpdate=AT)))) is None


def test_39_lists_out_of_their_time():
    assert rule_of(judge(at=AT + timedelta(days=31))) == "collateral-validity"
    early = tdx().collateral(AT + timedelta(days=9))
    assert rule_of(judge(collateral=early)) == "collateral-validity"


@pytest.mark.parametrize("which", ["info", "identity"])
def test_39_rolled_back_documents(which):
    old = collateral(**{which: {"tcbEvaluationDataNumber": 16}})
    assert rule_of(judge(None, "evaluation-number = 17", collateral=old)) == "evaluation-number"
    assert rule_of(judge(None, "evaluation-number = 16", collateral=old)) is None
    assert rule_of(judge(None, "evaluation-number = 18")) == "evaluation-number"


def test_39_another_platform():
    assert rule_of(judge(collateral=collateral(info={"fmspc": "00906ED50000"}))) == "platform"
    assert rule_of(judge(collateral=collateral(info={"pceId": "0001"}))) == "platform"
    assert rule_of(judge(None, f'platforms = ["{"00" * 6}"]')) == "chip-not-allowed"
    assert rule_of(judge(None, f'platforms = ["{FMSPC.hex()}"]')) is None


def test_13_lists_that_are_missing_or_forged():
    values = json.loads(collateral())
    for name, missing in (("root_ca_crl", "pck_crl"), ("pck_crl", "root_ca_crl")):
        assert rule_of(judge(collateral=json.dumps(values | {missing: values[name]}).encode())) == "collateral"
    forged = authorities.issue("Intel SGX Root CA", authorities.p256_key(), AT, authority=True)
    lists = authorities.revoke(forged, (), AT).hex()
    assert rule_of(judge(collateral=json.dumps(values | {"root_ca_crl": lists}).encode())) == "collateral"


def test_collateral_that_is_missing():
    data = tdx().quote(DATA, BOOT)
    assert rule_of(verify(data, at=AT, policy=tdx_policy())) == "tcb-status"
    assert rule_of(verify(data, at=AT, policy=tdx_policy('collateral = "optional"'))) is None


MEMBERS = sorted(json.loads(collateral()))


@pytest.mark.parametrize("value", [None, 7, "", "zz", "\ud800", {}], ids=repr)
@pytest.mark.parametrize("name", MEMBERS)
def test_collateral_that_cannot_be_read(name, value):
    values = json.loads(collateral())
    values[name] = value
    with pytest.raises(InvalidEvidence):
        judge(collateral=json.dumps(values).encode())
    del values[name]
    with pytest.raises(InvalidEvidence):
        judge(collateral=json.dumps(values).encode())


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"{}", b"\xff", b'{"a":1.5}', b'{"a":1,"a":1}', b"[" * 1000])
def test_junk_for_collateral(junk):
    with pytest.raises(InvalidEvidence):
        judge(collateral=junk)


def test_collateral_belongs_to_one_quote():
    files = given(tdx().collateral(AT), tdx().collateral(AT))
    with pytest.raises(InvalidEvidence, match="one file"):
        verify(tdx().quote(DATA, BOOT), at=AT, collateral=files)
    with pytest.raises(InvalidEvidence, match="no collateral"):
        verify(cca().token(DATA, BOOT), at=AT, collateral=files[:1])
    with pytest.raises(InvalidEvidence, match="not a revocation list"):
        verify(snp().report(DATA, BOOT), at=AT, collateral=files[:1])
