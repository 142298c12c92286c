"""The guest of libkrun up to 1.19 and the registration of buildah, from their own text, against a broker that speaks them."""

from __future__ import annotations

import json

import pytest
from tests.support.broker_lab import SECRET, Lab, policy_for, snp_platform
from tests.support.evidence import BOOT
from tests.support.krun_client import KrunClient, register

from haulout.emulator.snp import SnpState


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("krun") / "broker")
    (made.collateral / "snp.pem").write_bytes(snp_platform().certificates())
    with made.serving(options=("--v0", "--collateral", str(made.collateral))) as instance:
        yield made
        assert "Traceback" not in instance.words()


def guest(lab, workload, **state):
    """A guest that libkrun launched: HOST_DATA is zero."""

    def report(digest):
        return snp_platform().report(digest, BOOT, SnpState(**state))

    return KrunClient(lab.url, workload, report, lab.ca)


def registered(lab, workload, secret=SECRET, *, v0=True):
    """Register as buildah does, with a token; then trust the emulator, too."""
    wire = lab.wire()
    answer = register(wire, workload, BOOT.snp(), secret.decode(), token=lab.tokens["alice"])
    assert answer.status in {200, 202}, answer
    whole = policy_for(workload, "snp", release="v0 = true" if v0 else "").decode()
    host_data = next(line for line in whole.splitlines() if line.startswith("host-data"))
    policy = whole.replace(host_data, f'host-data = ["{"00" * 32}"]').encode()
    answer = lab.owner().send("PUT", f"/v1/workloads/{workload}/policy", policy, "application/toml")
    assert answer.status == 200, answer
    lab.hang_up()


def test_a_guest_of_libkrun_gets_its_passphrase(lab):
    registered(lab, "w1")
    client = guest(lab, "w1")
    assert client.passphrase() == SECRET
    assert client.ask("w2").status in {401, 403, 404}
    client.close()


def test_its_session_gets_the_key_of_its_own_workload_only(lab):
    registered(lab, "w1")
    registered(lab, "w2", b"another")
    client = guest(lab, "w1")
    assert client.passphrase() == SECRET
    # Both have the same measurement and no binding: only what the guest said tells them apart.
    assert client.ask("w2").status == 404
    client.close()


@pytest.mark.parametrize("state", [{"policy": 1 << 17 | 1 << 16 | 1 << 19}, {"host_data": b"\1" * 32}, {"vmpl": 1}])
def test_what_buildah_allows_is_not_allowed(lab, state):
    registered(lab, "w1")
    client = guest(lab, "w1", **state)
    assert client.challenge().status == 200
    assert client.attest().status in {400, 401}
    assert client.ask().status in {401, 404}
    client.close()


def test_a_policy_has_to_allow_the_protocol(lab):
    registered(lab, "w3", v0=False)
    client = guest(lab, "w3")
    client.challenge()
    client.attest()
    assert client.ask().status in {401, 404}
    client.close()


def test_nobody_registers_without_a_token_or_over_another(lab):
    registered(lab, "w1")
    for token, expected in ((None, {401}), (lab.tokens["bob"], {404, 409})):
        assert register(lab.wire(), "w1", bytes(48), "mine", token=token).status in expected
    lab.hang_up()
    client = guest(lab, "w1")
    assert client.passphrase() == SECRET
    client.close()


def test_a_key_that_the_protocol_cannot_carry_is_not_cut(lab):
    registered(lab, "w4", b"x" * 300)
    client = guest(lab, "w4")
    client.challenge()
    assert client.attest().status == 200
    assert client.ask().status == 404
    client.close()


def test_a_session_of_this_protocol_gets_nothing_at_the_path_of_the_new(lab):
    registered(lab, "w1")
    client = guest(lab, "w1")
    client.passphrase()
    [path] = lab.owner().send("GET", "/v1/workloads/w1/resources").json
    for name in ("session_id", "kbs-session-id"):
        answer = client.wire.send("GET", f"/kbs/v0/resource/{path}", None, {"Cookie": f"{name}={client.session}"})
        assert answer.status in {401, 404}, json.dumps(answer.headers)
    client.close()
    lab.hang_up()
