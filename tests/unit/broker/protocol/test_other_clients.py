"""The protocol against clients of others, written from its text: digests, encryption and evidence mean the same to both."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import krun_client, trustee_client, trustee_evidence
from tests.support.evidence import AT, BOOT, DATA, cca, snp, tdx

from haulout.broker.protocol import Attestation, Challenge, Evidence, PublicKey, Request, report_data
from haulout.emulator.snp import SnpState
from haulout.tee.snp.parse import Product

KEYS = {kind: trustee_client.TeeKey.make(kind) for kind in ("P-256", "P-521", "RSA2048")}


@pytest.mark.parametrize("module", [trustee_client, trustee_evidence, krun_client])
def test_the_clients_of_others_share_no_code_with_the_broker(module):
    assert "import haulout" not in (text := Path(module.__file__).read_text())
    assert "from haulout" not in text


def test_the_canonical_form_is_that_of_trustee():
    # The vector of parse_runtimedata_json_binding in attestation-service/src/lib.rs.
    digest = hashlib.sha384(trustee_client.jcs({"b": 1, "a": "test", "c": {"d": "e"}})).hexdigest()
    expected = "e71ce8e70d814ba6639c3612ebee0ff1f76f650f8dbb5e47157e0f3f525cd22c4597480a186427c813ca941da78870c3"
    assert digest == expected
    # RFC 8785 section 3.2.3, without what is no text.
    names = ("\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\xf6")
    found = json.loads(trustee_client.jcs(dict.fromkeys(names, 1)))
    assert [*found] == ["\r", "1", "\x80", "\xf6", "\u20ac", "\U0001f600", "\ufb33"]


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(list(KEYS)),
    st.text(max_size=80),
    st.sampled_from(trustee_client.HASHES),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
)
def test_both_hash_the_same(kind, nonce, algorithm, additional):
    nonce = nonce.encode("utf-8", "replace").decode()
    jwk = KEYS[kind].jwk
    theirs = trustee_client.runtime_digest(nonce, jwk, algorithm, additional)
    assert report_data(nonce, PublicKey.parse(jwk), algorithm, additional) == theirs.ljust(64, b"\0")


@pytest.mark.parametrize("kind", list(KEYS))
def test_a_client_that_writes_the_header_anew_can_decrypt(kind):
    key = KEYS[kind]
    for secret in (b"", b"passphrase", bytes(range(256)) * 40):
        assert key.decrypt(PublicKey.parse(key.jwk).encrypt(secret)) == secret


def test_the_messages_of_a_client():
    client = trustee_client.TrusteeClient("https://127.0.0.1:1", "snp", lambda digest: {"data": list(digest)})
    asked = Request.parse(json.dumps({"version": "0.4.0", "tee": "snp", "extra-params": ""}).encode())
    assert asked == Request("snp")
    client.nonce, client.algorithm = "bm9uY2U=", "sha512"
    found = Attestation.parse(json.dumps(client.attestation()).encode())
    assert found.nonce == "bm9uY2U="
    assert bytes(found.evidence["data"]) == found.report_data("sha512")
    assert json.loads(Challenge("n", "sha384").to_bytes())["extra-params"]["selected-hash-algorithm"] == "sha384"


PLACES = [(2, Product.MILAN), (3, Product.MILAN), (3, Product.GENOA), (5, Product.GENOA), (5, Product.TURIN)]


@pytest.mark.parametrize(("version", "product"), PLACES)
def test_reports_mean_the_same(version, product):
    platform = snp(product)
    report = platform.report(DATA, BOOT, SnpState(version=version, guest_svn=7, family_id=bytes(range(16))))
    chain = [
        one.certificate.public_bytes(serialization.Encoding.DER) for one in (platform.vcek, platform.ask, platform.ark)
    ]
    theirs = json.loads(json.dumps(trustee_evidence.snp(report, *chain)))
    assert Evidence.from_wire("snp", theirs) == Evidence(report, tuple(chain))
    ours = Evidence(report, tuple(chain)).to_wire("snp")
    assert ours["attestation_report"] == theirs["attestation_report"]


def test_quotes_and_tokens_mean_the_same():
    quote, token = tdx().quote(DATA, BOOT), cca().token(DATA, BOOT)
    assert tdx().collateral(AT)
    assert Evidence.from_wire("tdx", trustee_evidence.tdx(quote)).data == quote
    assert Evidence.from_wire("cca", trustee_evidence.cca(token)).data == token
    assert Evidence(quote).to_wire("tdx") == trustee_evidence.tdx(quote)
    assert Evidence(token).to_wire("cca") == trustee_evidence.cca(token)
