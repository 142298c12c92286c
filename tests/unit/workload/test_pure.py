"""What libkrun reads, the binding, the room left, the registration, the policy: pure parts of confidential images."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.support.evidence import AT, BOOT, DATA, cca, snp, tdx
from tests.support.evidence import given as certificates
from tests.support.workloads import config

from haulout.emulator import make_bundle
from haulout.errors import InvalidWorkload, UsageError
from haulout.oci import Digest
from haulout.tee import KINDS, parse_policy, verify
from haulout.workload import krun, policy
from haulout.workload.binding import Binding, broker_key
from haulout.workload.build import entrypoint
from haulout.workload.build.image import size_with
from haulout.workload.build.registration import Registration, check_url, parse_registration
from haulout.workload.measurement import GivenMeasurement, KrunGuest, SnpGuest, expected_measurement

BINDING = Binding("web", Digest.of(b"header"), bytes(range(32)), b"s" * 32, 10 << 20)


def test_the_json_is_mkcws_to_the_byte():
    assert config(workload_id="wid1").to_bytes() == (
        b'{"tee":"snp","tee_data":"{\\"gen\\":\\"milan\\"}","workload_id":"wid1","cpus":2,"ram_mib":512,"attestation_url":""}'
    )
    sev = krun.WorkloadConfig.of(krun.Tee.SEV, "web", 2, 512, chain=True)
    assert sev.tee_data == '{"vendor_chain":"/sev.chain","attestation_server_pubkey":""}'


@given(st.integers(0, 1 << 40), st.binary(max_size=9000))
def test_a_disk_with_its_footer_is_whole_blocks(before, document):
    size = before + krun.padding(before, document) + len(krun.footer(document))
    assert size % 4096 == 0
    assert krun.padding(before, document) < 4096
    assert krun.json_size(krun.footer(document)[-12:], before + len(document), "disk") == len(document)


@given(st.binary(max_size=200))
def test_the_json_of_strangers_raises_declared_errors_alone(data):
    for parse in (krun.WorkloadConfig.parse, Binding.parse):
        with pytest.raises(InvalidWorkload):
            parse(data, "it")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"tee": "sgx"}, "tee"),
        ({"cpus": 0}, "json"),
        ({"cpus": 256}, "json"),
        ({"cpus": True}, "json"),
        ({"ram_mib": "512"}, "json"),
        ({"workload_id": None}, "json"),
    ],
)
def test_impossible_configurations_are_named(changes, rule):
    values = json.loads(config().to_bytes()) | changes
    with pytest.raises(InvalidWorkload) as refused:
        krun.WorkloadConfig.parse(json.dumps(values).encode(), "it")
    assert refused.value.rule == rule


def test_json_above_1_mib_is_not_read():
    with pytest.raises(InvalidWorkload, match="at most 1048576"):
        krun.WorkloadConfig.parse(b" " * ((1 << 20) + 1), "it")
    with pytest.raises(InvalidWorkload, match="the limit is 1048576"):
        krun.json_size(b"KRUN" + struct.pack("<Q", (1 << 20) + 1), 1 << 30, "disk")


@pytest.mark.parametrize(
    ("content", "wanted", "size"),
    [
        (100 << 20, "25%", 125 << 20),
        (100 << 20, "", 100 << 20),
        (100 << 20, "10%+10MB", 120 << 20),
        (100 << 20, "10MB+10%", 121 << 20),
        (100 << 20, "200%", 300 << 20),
        (100 << 20, "1g", (100 << 20) + (1 << 30)),
        (1, "25%", 10 << 20),
        ((10 << 20) + 1, "0%", (10 << 20) + 4096),
    ],
)
def test_slop(content, wanted, size):
    assert size_with(content, wanted) == size


@pytest.mark.parametrize("wanted", ["x", "-1%", "%", "1.5%", "12e3", "10%10MB", "9" * 30, "99999999%+99999999%"])
def test_slop_that_is_none(wanted):
    with pytest.raises(UsageError):
        size_with(1 << 30, wanted)


def test_the_binding_is_canonical_and_its_values_are_its_hashes():
    data = BINDING.to_bytes()
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    assert BINDING.host_data == hashlib.sha256(data).digest()
    assert BINDING.mrconfigid == hashlib.sha384(data).digest()
    assert BINDING.personalization == hashlib.sha512(data).digest()
    assert Binding.parse(data) == BINDING


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v | {"version": 2}, "use a newer|version 2"),
        (lambda v: v | {"version": True}, "version"),
        (lambda v: v | {"type": "x"}, "type"),
        (lambda v: v | {"more": 1}, "members"),
        (lambda v: v | {"verity": {**v["verity"], "root": "00"}}, "wrong size"),
        (lambda v: v | {"verity": {**v["verity"], "hash_offset": 0}}, "wrong type"),
        (lambda v: v | {"luks_header": "sha256:0"}, "digest or key"),
        (lambda v: v | {"broker_key": "!"}, "digest or key"),
    ],
)
def test_bindings_of_others_are_refused(change, reason):
    values = json.dumps(change(json.loads(BINDING.to_bytes())), sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(InvalidWorkload, match=reason):
        Binding.parse(values)


def test_the_same_binding_in_another_form_is_refused():
    with pytest.raises(InvalidWorkload, match="canonical"):
        Binding.parse(json.dumps(json.loads(BINDING.to_bytes())).encode())


def test_keys_of_brokers():
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    numbers = public.public_numbers()

    def b64(number):
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    jwk = json.dumps({"kty": "EC", "crv": "P-256", "x": b64(numbers.x), "y": b64(numbers.y)}).encode()
    assert broker_key(pem, "key") == broker_key(jwk, "key") == der
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(UsageError, match="private key"):
        broker_key(private, "key")
    with pytest.raises(UsageError, match="private key"):
        broker_key(json.dumps({**json.loads(jwk), "d": "x"}).encode(), "key")
    weak = rsa.generate_private_key(65537, 1024).public_key()
    with pytest.raises(UsageError, match="too weak"):
        broker_key(
            weak.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo), "key"
        )


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda data: b"{" + data)))
def test_what_is_no_key_is_said_so(data):
    with pytest.raises(UsageError):
        broker_key(data, "key")


def test_registering_allows_neither_debugging_nor_migration():
    values = json.loads(Registration.of("web", krun.Tee.SNP, b"\1" * 48, b"pass").to_bytes())
    assert list(values) == ["workload_id", "launch_measurement", "passphrase", "tee_config"]
    bits = json.loads(values["tee_config"])["flags"]["bits"]
    assert bits == 0b0011
    assert not bits & 0b1100, "MIGRATE_MA and DEBUG"
    sev = json.loads(Registration.of("web", krun.Tee.SEV, b"\1" * 32, b"pass", es=False).to_bytes())
    assert json.loads(sev["tee_config"])["flags"]["bits"] == 59


@pytest.mark.parametrize(
    "url", ["https://b.example.com", "https://b.example.com:8443/x/", "http://127.0.0.1:1", "http://[::1]/"]
)
def test_urls_a_passphrase_may_go_to(url):
    assert check_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://b.example.com",
        "ftp://x",
        "b.example.com",
        "https://u@b",
        "https://:token@b",
        "https://@b",
        "https://b?x",
        "https://[",
        "https://b:x",
        "https://ä",
    ],
)
def test_urls_a_passphrase_may_not_go_to(url):
    with pytest.raises(UsageError):
        check_url(url)


@pytest.mark.parametrize("url", ["https://user:hush@b", "https://:hush@b", "ftp://hush@b:x", "user:hush@b"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url):
    with pytest.raises(UsageError, match="holds credentials") as caught:
        check_url(url)
    assert "hush" not in f"{caught.value} {caught.value.hint}"


def test_plain_http_elsewhere_only_when_asked():
    assert check_url("http://b.example.com", plain=True)


@pytest.mark.parametrize("url", ["https://u:s3cret@broker.example.com/", "https://s3cret@[x", "ftp://:s3cret@x"])
def test_what_a_url_says_of_its_user_is_not_repeated(url):
    with pytest.raises(UsageError, match="holds credentials") as caught:
        check_url(url)
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="an ELF runs on Linux")
def test_the_entrypoint_says_its_sentence_and_fails(tmp_path):
    import platform

    if platform.machine() != "x86_64":
        pytest.skip("this machine runs no x86-64 programs")
    program = tmp_path / "entrypoint"
    program.write_bytes(entrypoint.program("amd64"))
    program.chmod(0o755)
    done = subprocess.run([str(program)], capture_output=True, timeout=10, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, entrypoint.TEXT, b"")


def test_the_entrypoint_of_arm_is_what_an_assembler_makes():
    # as -march=armv8-a: mov x0,1; mov x1,0x9c; movk x1,0x40,lsl 16; mov x2,75; mov x8,64; svc 0; mov x0,1; mov x8,93; svc 0
    code = entrypoint.program("arm64")[120 : -len(entrypoint.TEXT)]
    assert code.hex(" ", 4) == "200080d2 811380d2 0108a0f2 620980d2 080880d2 010000d4 200080d2 a80b80d2 010000d4"


def test_measurements_given():
    assert expected_measurement(GivenMeasurement("ab" * 48), config()) == b"\xab" * 48
    for how, tee in (
        (GivenMeasurement("ab" * 32), krun.Tee.SNP),
        (GivenMeasurement("zz" * 48), krun.Tee.TDX),
        (SnpGuest(Path("x")), krun.Tee.TDX),
        (KrunGuest(Path("x")), krun.Tee.TDX),
    ):
        with pytest.raises(UsageError):
            expected_measurement(how, config(tee=tee))


@pytest.mark.parametrize(
    ("tee", "platform", "value"),
    [(krun.Tee.SNP, snp, "host_data"), (krun.Tee.TDX, tdx, "mrconfigid"), (krun.Tee.CCA, cca, "personalization")],
    ids=["snp", "tdx", "cca"],
)
def test_the_policy_accepts_evidence_of_this_workload_and_of_no_other(tee, platform, value):
    emulator = platform()
    other = Binding("other", BINDING.luks_header, BINDING.root, BINDING.salt, BINDING.hash_offset)
    verdicts = []
    for binding in (BINDING, other):
        made = make_bundle(emulator, BOOT, AT, report_data=DATA, workload=getattr(binding, value))
        marked = f'schema = 1\ntest = true\nroots = ["{emulator.root.fingerprint()}"]\n'
        text = policy.policy_for(BINDING, tee, None).replace("schema = 1\n", marked)
        judged = verify(
            made.files["evidence.bin"],
            at=AT,
            certificates=certificates(made.files["certificates.pem"]) if "certificates.pem" in made.files else [],
            collateral=certificates(made.files["collateral.json"]) if "collateral.json" in made.files else [],
            policy=parse_policy(text.encode(), "policy"),
            report_data=DATA,
        )
        verdicts.append("accepted" if judged.refusal is None else str(judged.refusal.rule))
    assert verdicts == ["accepted", "workload"], verdicts


def test_sev_has_no_evidence_to_write_a_policy_for():
    with pytest.raises(UsageError, match="names no workload"):
        policy.policy_for(BINDING, krun.Tee.SEV, None)


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=128),
    st.sampled_from(krun.Tee),
    st.sampled_from([32, 48, 64]).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    st.booleans(),
)
def test_a_registration_is_read_as_it_was_written(workload, tee, measurement, passphrase, es):
    one = Registration.of(workload, tee, measurement, passphrase.encode(), es=es)
    assert parse_registration(one.to_bytes()) == one


def test_a_registration_of_mkcw_is_read():
    # As buildah writes it: Go's encoder, in the order of its members.
    tee_config = '{"flags":{"bits":63},"minfw":{"major":1,"minor":51}}'
    data = {"workload_id": "w", "launch_measurement": "AB" * 48, "tee_config": tee_config, "passphrase": "p"}
    found = parse_registration(json.dumps(data).encode())
    assert found == Registration("w", b"\xab" * 48, "p", 63, (1, 51))
    assert "'p'" not in repr(found)


def registered(**changes):
    config = {"flags": {"bits": 3}, "minfw": {"major": 0, "minor": 0}} | changes.pop("config", {})
    values = {"workload_id": "w", "launch_measurement": "ab" * 48, "passphrase": "p", "tee_config": json.dumps(config)}
    return json.dumps(values | changes).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[]", "not a JSON object"),
        (b" " * 16385, "at most 16384"),
        (registered(workload_id=""), "at workload_id: must not be empty"),
        (registered(workload_id=1), "at workload_id: expected one line"),
        (registered(passphrase=""), "at passphrase: expected text"),
        (registered(passphrase=None), "at passphrase: expected text"),
        (registered(launch_measurement="zz" * 48), "64, 96 or 128"),
        (registered(launch_measurement="ab"), "64, 96 or 128"),
        (registered(launch_measurement=" ".join(["ab"] * 32)), "64, 96 or 128"),
        (registered(tee_config="x"), "at tee_config: not a JSON object"),
        (registered(config={"flags": 3}), "flags: expected a table"),
        (registered(config={"flags": {"bits": True}}), "bits: expected a whole number"),
        (registered(config={"flags": {"bits": 1 << 32}}), "bits: expected a whole number"),
        (registered(config={"minfw": {"major": 256, "minor": 0}}), "major: expected a whole number from 0 to 255"),
        (registered(config={"minfw": {"major": 1}}), "minor: is missing"),
    ],
)
def test_registrations_that_are_refused(data, reason):
    with pytest.raises(InvalidWorkload, match=reason) as refused:
        parse_registration(data)
    assert refused.value.rule == "registration"


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(lambda data: b'{"tee_config":"' + data)))
def test_registrations_of_strangers_raise_declared_errors_alone(data):
    with pytest.raises(InvalidWorkload):
        parse_registration(data)


def test_tees_and_kinds_of_evidence_have_the_same_names():
    assert {tee.value for tee in krun.Tee} - {kind.name for kind in KINDS} == {"sev"}
    assert {kind.name for kind in KINDS} < {tee.value for tee in krun.Tee}


@pytest.mark.parametrize("room", ["luks", "verity", "binding"])
def test_a_guest_loads_these_rooms_and_little_else(room):
    code = f"import sys, haulout.workload.{room} as room; [getattr(room, name) for name in room.__all__]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.split(".", 1)[1] for name in done.stdout.split() if name.startswith("haulout.")}
    allowed = ("_face", "errors", "extras", "oci", "oci.", "workload", f"workload.{room}")
    assert {name for name in loaded if not name.startswith(allowed)} == set()
    assert {name for name in loaded if name.startswith("workload.")} <= {
        name for name in loaded if name.startswith(f"workload.{room}")
    }
