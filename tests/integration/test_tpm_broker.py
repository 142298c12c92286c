"""A guest with a TPM gets its key from a broker over HTTPS: with our own commands, and with tpm2-tools."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from tests.support.bindings import BINDING
from tests.support.brokers import SECRET, Server, make_folder, register, serving
from tests.support.tpm import SoftwareTpm, software_tpm

from haulout.broker import Management
from haulout.broker.protocol import (
    Attestation,
    Challenge,
    Evidence,
    PrivateKey,
    Request,
    ResourcePath,
    TpmKeys,
    report_data,
)
from haulout.guest import session
from haulout.guest.devices import TpmDevice
from haulout.guest.launch import Launch
from haulout.guest.refusal import GuestRefusal, Rule

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.broker.stores import Store
    from haulout.workload.binding import Binding

ZERO = "00" * 32
POLICIES: dict[str, dict[str, Any]] = {
    "web": {},
    "pcr": {"pcr4": "11" * 32},
    "binding": {"root": 2},
    "maker": {"more": 'manufacturers = ["id:494E5443"]'},
    "stranger": {"trusted": False},
    "tools": {},
}
"""Workload → what its policy has that is not so: only the first and the last accept the guest."""


def binding_of(folder: Path, workload: str, root: int = 1) -> Binding:
    """The binding of an image, which names the key of the broker."""
    key = x509.load_pem_x509_certificate((folder / "tls.pem").read_bytes()).public_key()
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return replace(BINDING, root=bytes([root]) * 32, workload_id=workload, broker_key=spki)


def policy_of(binding: Binding, authorities: bytes, *, pcr4: str = ZERO, more: str = "", trusted: bool = True) -> bytes:
    listed = json.dumps([authorities.decode()])
    return f"""schema = 1
[tpm]
{f"authorities = {listed}" if trusted else ""}
workload = ["{binding.host_data.hex()}"]
pcr4 = ["{pcr4}"]
pcr9 = ["{ZERO}"]
{more}
""".encode()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A broker's server, and its database."""
    folder = tmp_path_factory.mktemp("broker") / "state"
    with software_tpm() as tpm:
        authorities = tpm.authorities
    store = make_folder(folder)
    for workload, changes in POLICIES.items():
        more = dict(changes)
        binding = binding_of(folder, workload, more.pop("root", 1))
        path = ResourcePath("default", "key", workload)
        register(store, workload, policy=policy_of(binding, authorities, **more), path=path)
    with serving(folder) as server:
        yield server, store
    store.close()


@pytest.fixture
def tpm():
    with software_tpm() as found:
        yield found


def launch(server: Server, workload: str) -> Launch:
    return Launch(binding_of(server.folder, workload), f"https://127.0.0.1:{server.port}")


def fetch(server: Server, tpm: SoftwareTpm, workload: str) -> bytes:
    """Do what a guest does when it boots."""
    device, handed = TpmDevice("swtpm", tpm.send), launch(server, workload)
    session.require_own_binding(device, handed.binding)
    return session.fetch_passphrase(handed, device, lambda _: None)


def last_rule(store: Store) -> str:
    return Management(store, "alice").rows()[-1].entry.rule


def test_a_guest_with_a_tpm_gets_its_passphrase(running, tpm):
    server, store = running
    assert fetch(server, tpm, "web") == SECRET
    row = Management(store, "alice").rows()[-1].entry
    assert (row.event, row.decision, row.tee) == ("release", "allowed", "tpm")
    # The machine is the TPM: its endorsement key.
    key = x509.load_der_x509_certificate(tpm.ek_certificate()).public_key()
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert row.machine == f"tpm:{hashlib.sha256(spki).hexdigest()}"
    # Again, in a new session.
    assert fetch(server, tpm, "web") == SECRET


@pytest.mark.parametrize(
    ("workload", "rule"),
    [
        ("pcr", "measurement"),
        ("binding", "workload"),
        ("maker", "product-not-allowed"),
        ("stranger", "certificate-missing"),
    ],
)
def test_a_guest_that_a_policy_does_not_accept_gets_nothing(running, tpm, workload, rule):
    server, store = running
    with pytest.raises(GuestRefusal) as refused:
        fetch(server, tpm, workload)
    assert refused.value.rule is Rule.BROKER_REFUSED
    assert last_rule(store) == rule


def test_a_binding_that_was_not_measured_first_is_refused_by_the_guest(running, tpm):
    server, _ = running
    TpmDevice("swtpm", tpm.send).bind(bytes(31) + b"\1")
    with pytest.raises(GuestRefusal) as refused:
        fetch(server, tpm, "web")
    assert refused.value.rule is Rule.BINDING_VALUE


class Tools:
    """A guest that has tpm2-tools instead of our code."""

    def __init__(self, server: Server, tpm: SoftwareTpm, workload: str = "tools") -> None:
        self.server, self.tpm, self.workload = server, tpm, workload
        self.key = PrivateKey.generate()
        tpm.make_ak()
        tpm.tool("pcrextend", f"8:sha256={binding_of(server.folder, workload).host_data.hex()}")
        self.certificate = tpm.ek_certificate()

    def begin(self, *, ak: bytes | None = None) -> tuple[str, Challenge]:
        keys = TpmKeys(self.certificate, self.tpm.file("ak.pub") if ak is None else ak)
        request = Request("tpm", workload=self.workload, tpm=keys)
        answer = self.server.ask("POST", "/kbs/v0/auth", request.to_bytes())
        assert answer.status == 200, answer
        return answer.headers["set-cookie"].partition(";")[0].partition("=")[2], Challenge.parse(answer.body)

    def attest(self, cookie: str, challenge: Challenge, activation: bytes) -> int:
        said = report_data(challenge.nonce, self.key.public, challenge.hash)
        evidence = Evidence(self.tpm.quote(said, activation=activation), (self.certificate,))
        message = Attestation.of(challenge, "tpm", self.key.public, evidence)
        return self.server.ask("POST", "/kbs/v0/attest", message.to_bytes(), cookie=cookie).status

    def activate(self, challenge: Challenge) -> bytes:
        assert challenge.credential is not None
        return self.tpm.activate(challenge.credential)


def test_a_guest_with_tpm2_tools_gets_its_passphrase(running, tpm):
    server, _ = running
    guest = Tools(server, tpm)
    cookie, challenge = guest.begin()
    assert guest.attest(cookie, challenge, guest.activate(challenge)) == 200
    answer = server.ask("GET", "/kbs/v0/resource/default/key/tools", cookie=cookie)
    assert guest.key.decrypt(answer.body) == SECRET
    # A session of one workload gets nothing of another.
    assert server.ask("GET", "/kbs/v0/resource/default/key/web", cookie=cookie).status == 404


def test_an_activation_counts_for_its_session_and_its_key_alone(running, tpm):
    server, store = running
    guest = Tools(server, tpm)
    cookie, challenge = guest.begin()
    found = guest.activate(challenge)
    for activation in (b"", bytes(32), found):
        other, fresh = guest.begin()
        assert guest.attest(other, fresh, activation) == 401
        assert last_rule(store) == "enrolment"
    assert guest.attest(cookie, challenge, found) == 200
    # A key of the same TPM that was not asked about.
    cookie, challenge = guest.begin()
    found = guest.activate(challenge)
    tpm.make_ak()
    assert guest.attest(cookie, challenge, found) == 401
    assert last_rule(store) == "enrolment"


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"ek-certificate": "AAAA", "ak-public": "AAAA"},
        {"ek-certificate": "é", "ak-public": ""},
        {"ek-certificate": 1, "ak-public": None},
        [],
        {"ek-certificate": "A" * 20_000, "ak-public": ""},
    ],
)
def test_keys_that_cannot_be_read_are_refused_at_once(running, keys):
    server, _ = running
    request = {"version": "0.4.0", "tee": "tpm", "extra-params": {"tpm-keys": keys}}
    answer = server.ask("POST", "/kbs/v0/auth", json.dumps(request).encode())
    assert answer.status in {400, 401}
    assert answer.headers["content-type"] == "application/problem+json"
