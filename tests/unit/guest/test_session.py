"""A guest's session with a broker, over real HTTPS, with evidence of an emulated TEE."""

import hashlib

import pytest
from tests.support import evidence
from tests.support.servers import issue_tls
from tests.support.small_broker import small_broker, spki_of

from haulout.emulator import Boot, make_bundle
from haulout.guest import session
from haulout.guest.devices import Answer
from haulout.guest.launch import Launch
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.oci import Digest
from haulout.workload.binding import Binding


class Emulated:
    """A TEE of this process."""

    name = "a TEE of the tests"

    def __init__(self, platform, value):
        self.tee = platform.kind
        self._platform, self._value = platform, value
        self.asked = []

    def evidence(self, report_data):
        self.asked.append(report_data)
        boot = Boot((b"kernel",), "quiet")
        made = make_bundle(self._platform, boot, evidence.AT, report_data=report_data, workload=self._value)
        return Answer(self.tee, made.files["evidence.bin"], (b"certificate",))


@pytest.fixture(scope="module")
def snp():
    return evidence.snp()


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return issue_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def broker(tls, monkeypatch):
    monkeypatch.setattr(session, "_WAIT", 0.01)
    with small_broker(tls) as running:
        yield running


def binding_of(key, workload="web"):
    return Binding(workload, Digest.of(b"header"), bytes(32), b"salt", 4096, key)


def fetch(broker, snp, *, key=None, seconds=60.0, resource="", said=None):
    binding = binding_of(key or broker.key)
    device = Emulated(snp, binding.host_data)
    say = ([] if said is None else said).append
    return session.fetch_passphrase(Launch(binding, broker.url, resource), device, say, seconds=seconds)


def test_a_guest_attests_and_gets_its_passphrase(broker, snp):
    assert fetch(broker, snp) == broker.secret
    assert broker.workloads == ["web"]
    paths = [path for _, path in broker.requests]
    assert paths == ["/kbs/v0/auth", "/kbs/v0/attest", "/kbs/v0/resource/default/key/web"]
    # The evidence is about this nonce and the key that the secret is encrypted to.
    attestation = broker.attestations[0]
    assert attestation.parse_evidence("snp").data[0x50:0x90] == attestation.report_data("sha384")


def test_each_session_has_a_key_of_its_own(broker, snp):
    fetch(broker, snp)
    fetch(broker, snp)
    first, second = (one.key.jwk for one in broker.attestations)
    assert first != second


def test_a_server_with_another_key_learns_nothing(broker, snp, tmp_path):
    other = spki_of(issue_tls(tmp_path))
    with pytest.raises(GuestRefusal, match="does not hold the key") as refused:
        fetch(broker, snp, key=other)
    assert refused.value.rule is Rule.BROKER_KEY
    assert broker.requests == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", ["/auth", "/attest", "/web"])
def test_what_passes_is_tried_again_with_new_evidence(broker, snp, status, path):
    broker.failures.append((status, path, {}))
    said: list[str] = []
    assert fetch(broker, snp, said=said) == broker.secret
    assert any("trying again" in line for line in said)


def test_a_session_that_an_instance_lost_is_begun_anew(broker, snp):
    broker.failures.append((401, "/web", {}))
    assert fetch(broker, snp) == broker.secret
    assert len(broker.attestations) == 2
    assert broker.attestations[0].nonce != broker.attestations[1].nonce


@pytest.mark.parametrize(("status", "path"), [(401, "/attest"), (403, "/web"), (404, "/web"), (400, "/auth")])
def test_a_refusal_is_final(broker, snp, status, path):
    broker.failures.append((status, path, {}))
    with pytest.raises(GuestRefusal, match=rf"{status}, PolicyDeny: not today \(request r-1\)") as refused:
        fetch(broker, snp)
    assert refused.value.rule is Rule.BROKER_REFUSED


def test_a_broker_that_stays_busy_is_given_up(broker, snp):
    broker.failures += [(503, "/auth", {})] * 50
    with pytest.raises(GuestRefusal, match="gave up after 0 seconds") as refused:
        fetch(broker, snp, seconds=0.1)
    assert refused.value.rule is Rule.BROKER_URL


def test_a_wait_that_a_broker_asks_for_is_kept(broker, snp):
    broker.failures.append((429, "/auth", {"Retry-After": "30"}))
    with pytest.raises(GuestRefusal, match="gave up"):
        fetch(broker, snp, seconds=20)


def test_without_a_broker_nothing_is_asked(snp):
    said: list[str] = []
    for binding, url in ((binding_of(None), "https://localhost"), (binding_of(b"key"), "")):
        with pytest.raises(GuestRefusal) as refused:
            session.fetch_passphrase(Launch(binding, url), Emulated(snp, binding.host_data), said.append)
        assert refused.value.rule is Rule.BROKER_URL


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "nonsense"])
def test_plain_http_is_refused(snp, url):
    said: list[str] = []
    binding = binding_of(b"key")
    with pytest.raises(GuestRefusal) as refused:
        session.fetch_passphrase(Launch(binding, url), Emulated(snp, binding.host_data), said.append, seconds=0.01)
    assert refused.value.rule is Rule.BROKER_URL


def test_a_path_that_is_no_resource_is_refused(broker, snp):
    with pytest.raises(GuestRefusal):
        fetch(broker, snp, resource="../../secret", seconds=0.1)


@pytest.mark.parametrize("make", [evidence.snp, evidence.tdx])
def test_the_processor_vouches_for_the_binding(make):
    platform, binding = make(), binding_of(b"key")
    value = {32: binding.host_data, 48: binding.mrconfigid}[platform.binding]
    session.require_own_binding(Emulated(platform, value), binding)

    # A host that starts the guest for one workload, and hands over the binding of its own.
    with pytest.raises(GuestRefusal, match="the host gave") as refused:
        session.require_own_binding(Emulated(platform, value), binding_of(b"key of the host"))
    assert refused.value.rule is Rule.BINDING_VALUE
    # A host that gives no value.
    with pytest.raises(GuestRefusal):
        session.require_own_binding(Emulated(platform, bytes(platform.binding)), binding)


def test_evidence_that_cannot_be_read_is_no_evidence():
    class Broken:
        name = tee = "snp"

        def evidence(self, report_data):
            return Answer("snp", hashlib.sha256(report_data).digest())

    with pytest.raises(GuestRefusal) as refused:
        session.require_own_binding(Broken(), binding_of(b"key"))
    assert refused.value.rule is Rule.DEVICE
