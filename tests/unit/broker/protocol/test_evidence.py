"""Evidence as Trustee's clients write it, and back to the bytes that the TEE signed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.evidence import BOOT, DATA, cca, snp, tdx, vector

from haulout.broker.protocol import FORMS, Evidence, InvalidMessage
from haulout.tee.snp.endorsement import Signer
from haulout.tee.snp.parse import Product


def through_json(evidence, tee):
    return Evidence.from_wire(tee, json.loads(json.dumps(evidence.to_wire(tee))))


@pytest.mark.parametrize("product", [Product.MILAN, Product.GENOA, Product.TURIN])
def test_an_snp_report_survives_the_form_of_trustee(product):
    platform = snp(product)
    sent = Evidence(platform.report(DATA, BOOT, signer=Signer.VCEK), (platform.certificates(Signer.VCEK),))
    assert through_json(sent, "snp") == sent


@pytest.mark.parametrize("name", ["milan-v2-tcb.report.bin", "milan-v3.report.bin", "milan-v3-vlek.report.bin"])
def test_real_snp_reports_survive_the_form_of_trustee(name):
    sent = Evidence(vector(f"snp/{name}"), (b"certificate",))
    assert through_json(sent, "snp") == sent
    kind = sent.to_wire("snp")["cert_chain"][0]["cert_type"]
    assert kind == ("VLEK" if "vlek" in name else "VCEK")


def test_tdx_and_cca_survive_their_forms():
    for tee, data in (("tdx", tdx().quote(DATA, BOOT)), ("cca", cca().token(DATA, BOOT))):
        assert through_json(Evidence(data), tee) == Evidence(data)


def test_an_unknown_tee_has_no_form():
    with pytest.raises(InvalidMessage, match="snp"):
        Evidence.from_wire("sample", {"svn": "1", "report_data": ""})


WIRE = Evidence(snp().report(DATA, BOOT), (b"c",)).to_wire("snp")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("report_data", [0] * 63),
        ("report_data", [0] * 65),
        ("report_data", [256] * 64),
        ("report_data", [-1] * 64),
        ("report_data", [True] * 64),
        ("report_data", "00" * 64),
        ("measurement", None),
        ("version", 1 << 32),
        ("version", -1),
        ("version", True),
        ("version", "3"),
        ("policy", None),
        ("current_tcb", [0] * 8),
        ("current_tcb", {"bootloader": 256}),
        ("signature", {}),
        ("cpuid_fam_id", 256),
    ],
)
def test_snp_reports_that_are_not_valid(name, value):
    changed = WIRE | {"attestation_report": WIRE["attestation_report"] | {name: value}}
    with pytest.raises(InvalidMessage, match=name):
        Evidence.from_wire("snp", changed)


@pytest.mark.parametrize("chain", ["x", {"data": []}, [{"data": "x"}], [None], [{"data": [1]}] * 17])
def test_tables_of_certificates_that_are_not_valid(chain):
    with pytest.raises(InvalidMessage):
        Evidence.from_wire("snp", WIRE | {"cert_chain": chain})


def test_revocation_lists_and_empty_entries_are_not_certificates():
    chain = [{"cert_type": "Empty", "data": []}, {"cert_type": "CRL", "data": [1]}, {"cert_type": "VCEK", "data": [2]}]
    assert Evidence.from_wire("snp", WIRE | {"cert_chain": chain}).certificates == (b"\2",)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(tee=st.sampled_from(sorted(FORMS)), value=ANYTHING)
def test_whatever_is_sent_as_evidence_is_read_or_refused(tee, value):
    for sent in (value, WIRE | value if isinstance(value, dict) else value):
        try:
            Evidence.from_wire(tee, sent)
        except InvalidMessage:
            continue
