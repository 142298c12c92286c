"""Request, Challenge, Attestation: what is read, and what is refused."""

from __future__ import annotations

import hashlib
import json

import pytest

from haulout.broker.protocol import (
    Attestation,
    Challenge,
    Evidence,
    InvalidMessage,
    PrivateKey,
    Problem,
    Request,
    ResourcePath,
    Trouble,
    report_data,
)

KEY = PrivateKey.generate().public


def test_a_request_comes_back_as_it_was_sent():
    sent = Request("snp", ("sha512", "sha256"), "w1")
    assert Request.parse(sent.to_bytes()) == sent
    assert sent.selected_hash == "sha512"
    assert Request.parse(Request("tdx").to_bytes()).selected_hash == "sha384"


def test_extra_params_of_trustees_clients_are_an_empty_string():
    assert json.loads(Request("snp").to_bytes())["extra-params"] == ""


@pytest.mark.parametrize("version", ["0.1.1", "0.4.1", "0.0.0", "0.4.0 ", "", "1.0.0"])
def test_other_versions_are_refused(version):
    with pytest.raises(InvalidMessage, match=r"version.*0\.4\.0"):
        Request.parse(json.dumps({"version": version, "tee": "snp", "extra-params": ""}).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"version":"0.4.0"}',
        b'{"version":"0.4.0","tee":7}',
        b'{"version":"0.4.0","version":"0.4.0","tee":"snp"}',
        b'{"version":"0.4.0","tee":"snp","extra-params":{"supported-hash-algorithms":["md5"]}}',
        b'{"version":"0.4.0","tee":"snp","extra-params":{"supported-hash-algorithms":"sha384"}}',
        b'{"version":"0.4.0","tee":"snp","extra-params":' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}",
        b'{"version":"0.4.0","tee":"' + b"a" * 33 + b'"}',
        b'{"version":"0.4.0","tee":"snp","extra-params":{"workload-id":["w"]}}',
        b'{"version":"0.4.0","tee":"snp","x":1.5}',
        b'{"version":"0.4.0","tee":"snp","extra-params":"' + b" " * (64 << 10) + b'"}',
        "{'version'}".encode("utf-16"),
    ],
    ids=range(14),
)
def test_requests_that_are_not_valid(body):
    with pytest.raises(InvalidMessage):
        Request.parse(body)


def test_a_challenge_comes_back_as_it_was_sent():
    sent = Challenge("bm9uY2U=", "sha512")
    assert Challenge.parse(sent.to_bytes()) == sent
    assert Challenge.parse(b'{"nonce":"x","extra-params":""}') == Challenge("x", "sha384")
    with pytest.raises(InvalidMessage):
        Challenge.parse(b'{"nonce":"x","extra-params":{"selected-hash-algorithm":"md5"}}')


def test_report_data_is_the_digest_of_the_canonical_document():
    # The document as Trustee's attestation service canonicalises it.
    document = {"tee-pubkey": KEY.jwk, "nonce": "bm9uY2U=", "additional-evidence": ""}
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert report_data("bm9uY2U=", KEY) == hashlib.sha384(text).digest() + bytes(16)
    assert report_data("bm9uY2U=", KEY, "sha512") == hashlib.sha512(text).digest()


def test_what_report_data_binds():
    one = report_data("a", KEY)
    assert one != report_data("b", KEY)
    assert one != report_data("a", PrivateKey.generate().public)
    assert one != report_data("a", KEY, "sha256")
    assert one != report_data("a", KEY, additional="{}")


def test_an_attestation_comes_back_as_it_was_sent():
    sent = Attestation.of(Challenge("n"), "tdx", KEY, Evidence(b"quote"))
    found = Attestation.parse(sent.to_bytes())
    assert found.nonce == "n"
    assert found.key == KEY
    assert found.parse_evidence("tdx") == Evidence(b"quote")
    assert found.report_data("sha384") == report_data("n", KEY)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("runtime-data"),
        lambda a: a.pop("tee-evidence"),
        lambda a: a["tee-evidence"].pop("primary_evidence"),
        lambda a: a["runtime-data"].pop("nonce"),
        lambda a: a["runtime-data"].update(nonce=1),
        lambda a: a["runtime-data"].update({"tee-pubkey": "x"}),
        lambda a: a["tee-evidence"].update(additional_evidence={}),
        lambda a: a.update({"init-data": "x"}),
    ],
)
def test_attestations_that_are_not_valid(change):
    document = json.loads(Attestation.of(Challenge("n"), "tdx", KEY, Evidence(b"quote")).to_bytes())
    change(document)
    with pytest.raises(InvalidMessage):
        Attestation.parse(json.dumps(document).encode())


@pytest.mark.parametrize("text", ["default/key/1", "1.ok/2ok./3...", "123--_default/1Abff-_/___-afds44BC"])
def test_names_of_resources(text):
    assert str(ResourcePath.parse(text)) == text
    assert ResourcePath.parse(f"kbs:///{text}").url_path == f"/kbs/v0/resource/{text}"


@pytest.mark.parametrize(
    "text",
    [
        "/1/2",
        "1/2",
        "a/b/c/d",
        "../b/c",
        "a/../c",
        "a/b/.c",
        "a/b/c%2f",
        "a/b/",
        "a/b/c\n",
        "ä/b/c",
        "a/b/" + "c" * 129,
    ],
)
def test_what_is_no_name_of_a_resource(text):
    with pytest.raises(InvalidMessage):
        ResourcePath.parse(text)


def test_a_problem_comes_back_as_it_was_sent():
    sent = Problem(Trouble.DENIED, "the window is closed", "r1", 403)
    assert Problem.parse(sent.to_bytes(), 403) == sent
    document = json.loads(sent.to_bytes())
    assert document["type"].startswith("https://github.com/confidential-containers/kbs/errors/")
