"""What a broker does only where it is told to: the protocol of libkrun up to 1.19, owners' client certificates."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
from datetime import UTC, datetime
from http.client import HTTPSConnection

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.brokers import SECRET, Guest, make_folder, register, serving
from tests.support.evidence import BOOT, snp

from haulout.broker import Management, digest_of
from haulout.emulator.snp import SnpState
from haulout.workload import Registration, Tee

TOKEN = "token-of-alice"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority):
    folder = tmp_path_factory.mktemp("broker") / "state"
    store = make_folder(folder)
    issued = authority.issue_cert("bob@example.com")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "bob.pem")
    der = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).public_bytes(Encoding.DER)
    with store.write() as unit:
        unit.owners.credit("alice", digest_of(TOKEN), "token", datetime.now(UTC))
        unit.owners.credit("bob", hashlib.sha256(der).hexdigest(), "certificate", datetime.now(UTC))
    authority.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "vendor").mkdir()
    (folder / "vendor" / "chain.pem").write_bytes(snp().certificates())
    register(store)
    with serving(
        folder, "--v0", "--client-ca", str(folder / "ca.pem"), "--collateral", str(folder / "vendor")
    ) as found:
        found.store = store  # type: ignore[attr-defined]
        yield found
    store.close()


class OldGuest:
    """A guest as libkrun 1.19 has it."""

    def __init__(self, server, state=None):
        self.server = server
        self.state = state or SnpState()
        self.key = rsa.generate_private_key(65537, 2048)
        self.cookie = ""

    def attest(self, workload):
        body = {"extra-params": json.dumps({"workload_id": workload}), "tee": "snp", "version": "0.0.0"}
        begun = self.server.ask("POST", "/kbs/v0/auth", json.dumps(body).encode())
        assert begun.status == 200, begun
        self.cookie = begun.headers["set-cookie"].partition(";")[0]
        assert self.cookie.startswith("session_id=")
        numbers = self.key.public_key().public_numbers()
        n, e = (base64.b64encode(v.to_bytes((v.bit_length() + 7) // 8, "big")).decode() for v in (numbers.n, numbers.e))
        data = hashlib.sha512((begun.json["nonce"] + n + e).encode()).digest()
        report = snp().report(data, BOOT, self.state)
        proof = json.dumps({"gen": "genoa", "report": report.hex(), "cert_chain": "[]"})
        answer = {"tee-pubkey": {"alg": "RSA", "k-mod": n, "k-exp": e}, "tee-evidence": proof}
        return self.server.ask("POST", "/kbs/v0/attest", json.dumps(answer).encode(), headers={"Cookie": self.cookie})

    def fetch(self, workload):
        return self.server.ask("GET", f"/kbs/v0/key/{workload}", headers={"Cookie": self.cookie})


def registered(server, workload="old"):
    body = Registration.of(workload, Tee.SNP, BOOT.snp(), SECRET).to_bytes()
    assert server.ask("POST", "/kbs/v0/register_workload", body).status == 401
    done = server.ask("POST", "/kbs/v0/register_workload", body, token=TOKEN)
    assert done.status == 200, done
    # A policy that accepts the emulator, as tests need: otherwise that of the registration.
    management = Management(server.store, "alice")
    policy = management.policy(workload).document.decode()
    trusted = f'test = true\nroots = ["{snp().ark.fingerprint()}"]\n[snp]'
    management.set_policy(workload, policy.replace("[snp]", trusted, 1).encode())


def test_a_guest_of_libkrun_gets_what_buildah_registered(server):
    registered(server)
    guest = OldGuest(server)
    attested = guest.attest("old")
    assert (attested.status, attested.body) == (200, b"")
    released = guest.fetch("old")
    assert guest.key.decrypt(bytes.fromhex(released.json), padding.PKCS1v15()) == SECRET


def test_it_gets_no_key_of_another_workload_and_none_without_that_policy(server):
    registered(server)
    registered(server, "other")
    guest = OldGuest(server)
    guest.attest("old")
    assert guest.fetch("other").status == 404
    assert guest.fetch("w1").status == 404
    assert guest.fetch("..").status == 404
    bound = OldGuest(server, Guest().state)
    assert bound.attest("w1").status == 401


def test_another_owner_cannot_replace_what_was_registered(server):
    registered(server)
    body = Registration.of("old", Tee.SNP, BOOT.snp(), b"mine now").to_bytes()
    assert _as_bob(server, "POST", "/kbs/v0/register_workload", body)[0] == 409


def test_sessions_of_one_protocol_are_none_of_the_other(server):
    registered(server)
    old = OldGuest(server)
    assert old.attest("old").status == 200
    value = old.cookie.partition("=")[2]
    assert server.ask("GET", "/kbs/v0/resource/v0/key/old", cookie=value).status == 401
    cookie, challenge = server.begin("w1")
    guest = Guest()
    server.ask("POST", "/kbs/v0/attest", guest.answer(challenge).to_bytes(), cookie=cookie)
    assert server.ask("GET", "/kbs/v0/key/w1", headers={"Cookie": f"session_id={cookie}"}).status == 401
    # Nor is a challenge of one answered by the other.
    again = server.ask("POST", "/kbs/v0/attest", b"{}", headers={"Cookie": f"session_id={server.begin()[0]}"})
    assert again.status == 401


def _as_bob(server, method, path, body=None, certificate="bob.pem"):
    context = ssl.create_default_context(cafile=str(server.certificate))
    context.load_cert_chain(server.folder / certificate)
    connection = HTTPSConnection("127.0.0.1", server.port, timeout=60, context=context)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_an_owner_proves_to_be_one_by_a_client_certificate(server, authority):
    assert _as_bob(server, "PUT", "/v1/workloads/bobs")[0] == 201
    assert json.loads(_as_bob(server, "GET", "/v1/workloads")[1])[0]["owner"] == "bob"
    # Another certificate of the same authority is nobody's.
    authority.issue_cert("eve@example.com").private_key_and_cert_chain_pem.write_to_path(server.folder / "eve.pem")
    assert _as_bob(server, "GET", "/v1/workloads", certificate="eve.pem")[0] == 401
    # One of another authority does not get as far.
    trustme.CA().issue_cert("bob@example.com").private_key_and_cert_chain_pem.write_to_path(
        server.folder / "mallory.pem"
    )
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _as_bob(server, "GET", "/v1/workloads", certificate="mallory.pem")
