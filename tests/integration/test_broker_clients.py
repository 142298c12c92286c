"""Clients of others against a served broker: they get their keys, unchanged, over HTTPS."""

from __future__ import annotations

import json

import pytest
from tests.support.broker_lab import SECRET, Lab, audit_of, broken_links
from tests.support.trustee_client import Failed, TeeKey, unb64


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("clients") / "broker")
    with made.serving(options=("--collateral", str(made.collateral))) as instance:
        made.owner().register("w1", "snp", "tdx", "cca")
        yield made
        assert instance.process is not None
        assert instance.process.poll() is None


@pytest.fixture(autouse=True)
def hung_up(lab):
    """An address has so many connections at once, and all guests here are at one."""
    yield
    lab.hang_up()


@pytest.mark.parametrize(
    ("tee", "kind"),
    [("snp", "P-256"), ("snp", "P-521"), ("snp", "RSA2048"), ("snp", "RSA4096"), ("tdx", "P-256"), ("cca", "P-256")],
)
def test_a_guest_of_trustee_gets_its_key(lab, tee, kind):
    guest = lab.guest("w1", tee, key=TeeKey.make(kind))
    assert guest.resource("w1/key/disk") == SECRET
    # The first request has no session: 401, and then the handshake, as Trustee's client does it.
    assert guest.log == [401, 200, 200, 200]
    assert guest.resource("w1/key/disk") == SECRET
    assert guest.log[4:] == [200]


@pytest.mark.parametrize("hashes", [("sha256",), ("sha384",), ("sha512",), ("sha512", "sha256"), ()])
def test_the_broker_selects_a_hash_that_the_guest_knows(lab, hashes):
    guest = lab.guest(hashes=hashes)
    guest.handshake()
    assert guest.algorithm in (hashes or ("sha384",))
    assert guest.resource("w1/key/disk") == SECRET


def test_a_guest_that_says_its_workload(lab):
    guest = lab.guest(extra={"workload-id": "w1"})
    assert guest.resource("w1/key/disk") == SECRET


def test_extra_params_may_be_empty_text(lab):
    guest = lab.guest()
    assert guest.request(**{"extra-params": ""}).status == 200
    assert guest.algorithm == "sha384"
    assert guest.answer(guest.attestation()).status == 200


def test_a_token_stands_for_the_session(lab):
    guest = lab.guest()
    guest.handshake()
    answer = guest.ask("w1/key/disk", bearer=guest.token)
    assert (answer.status, guest.key.decrypt(answer.body)) == (200, SECRET)
    header, claims = (json.loads(unb64(part)) for part in guest.token.split(".")[:2])
    assert header["alg"] == "ES256"
    assert claims["exp"] - claims["iat"] == 300
    assert claims["iss"] == lab.url
    [submod] = claims["submods"].values()
    shown = submod["ear.veraison.annotated-evidence"]
    assert shown["runtime_data_claims"]["tee-pubkey"] == guest.key.jwk
    assert "snp" in shown


def test_init_data_of_a_client_is_not_in_the_way(lab):
    guest = lab.guest(init_data='algorithm = "sha384"\nversion = "0.1.0"\n[data]\n')
    assert guest.resource("w1/key/disk") == SECRET


def test_each_answer_is_encrypted_anew(lab):
    guest = lab.guest()
    guest.handshake()
    bodies = [guest.ask("w1/key/disk").body for _ in range(3)]
    assert len({json.loads(body)["encrypted_key"] for body in bodies}) == 3
    assert len({json.loads(body)["iv"] for body in bodies}) == 3


def test_all_of_it_is_in_the_log_and_chained(lab):
    guest = lab.guest()
    assert guest.resource("w1/key/disk") == SECRET
    rows = audit_of(lab.database)
    assert broken_links(rows) == 0
    session = json.loads(unb64(guest.token.split(".")[1]))["jti"]
    assert [(row["event"], row["decision"]) for row in rows if row["session"] == session] == [
        ("attest", "allowed"),
        ("release", "allowed"),
    ]
    assert {row["number"] for row in lab.owner("alice").rows()} <= {row["number"] for row in rows}
    assert lab.owner("bob").rows() == []


def test_a_guest_of_another_workload_is_refused(lab):
    guest = lab.guest("another")
    guest.handshake()  # its evidence is genuine
    with pytest.raises(Failed, match="resource: 404"):
        guest.resource("w1/key/disk")
