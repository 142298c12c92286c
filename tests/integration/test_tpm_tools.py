"""TPM evidence by tools that are not ours: swtpm signs, tpm2-tools ask."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.documents import blocks
from tests.support.evidence import DATA, ROOT, policy, rule_of
from tests.support.tpm import SoftwareTpm, software_tpm

from haulout.tee import Given, parse_policy, verify
from haulout.tee.certificates import read_certificate
from haulout.tee.tpm.credential import make_credential
from haulout.tee.tpm.endorsement import Enrolment, fingerprint
from haulout.tee.tpm.structures import read_public

SECRET = bytes(range(32))
NOW = datetime(2100, 1, 1, tzinfo=UTC)
"""swtpm's certificates are valid without end, and from when they are made."""


@pytest.fixture
def tpm():
    with software_tpm() as running:
        yield running


def policy_for(tpm: SoftwareTpm, lines: str = ""):
    listed = json.dumps([tpm.authorities.decode()])
    return parse_policy(f"schema = 1\n[tpm]\nauthorities = {listed}\n{lines}".encode())


def enrol(tpm: SoftwareTpm, ek: bytes, hash_name: str = "sha256") -> Enrolment:
    """Enrol the AK: only the TPM that has both keys finds the secret."""
    key = read_certificate(ek).key
    name = read_public(tpm.file("ak.pub"), "AK").name
    assert name == tpm.file("ak.name")
    made = make_credential(key, name, SECRET, bytes(range(64)))
    # What tpm2_makecredential writes: a magic number, a version, and both parameters.
    (tpm.folder / "credential").write_bytes(bytes.fromhex("badcc0de00000001") + made.to_bytes())
    tpm.tool("startauthsession", "--policy-session", "-S", "session", "-g", hash_name)
    tpm.tool("policysecret", "-S", "session", "-c", "e")
    tpm.tool(
        "activatecredential",
        "-c",
        "ak.ctx",
        "-C",
        "ek.ctx",
        "-P",
        "session:session",
        "-i",
        "credential",
        "-o",
        "secret",
    )
    tpm.tool("flushcontext", "session")
    assert tpm.file("secret") == SECRET
    return Enrolment(name, fingerprint(key))


@pytest.mark.parametrize(
    ("algorithm", "scheme", "hash_name", "pcrs"),
    [
        ("ecc", "ecdsa", "sha256", "sha256:0,4,8,9"),
        ("ecc384", "ecdsa", "sha384", "sha384:0,1,2,3,4,7"),
        ("rsa", "rsassa", "sha256", "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"),
        ("rsa", "rsapss", "sha256", "sha256:0,4+sha384:4,9"),
        ("rsa", "rsassa", "sha384", "sha384:0,4"),
    ],
)
def test_quotes_of_all_kinds_of_keys_and_banks_are_accepted(tpm, algorithm, scheme, hash_name, pcrs):
    tpm.make_ak(algorithm, scheme, hash_name)
    certificate = tpm.ek_certificate()
    enrolment = enrol(tpm, certificate)
    evidence = tpm.quote(DATA, pcrs, hash_name, scheme=scheme)
    asked: dict[str, Any] = {
        "certificates": [Given("EK", certificate)],
        "collateral": [Given("enrolment", enrolment.to_bytes())],
    }
    bank = pcrs.partition(":")[0]
    value = tpm.tool("pcrread", f"{bank}:4").decode().split("0x")[-1].strip().lower()
    verdict = verify(evidence, at=NOW, policy=policy_for(tpm, f'pcr4 = ["{value}"]'), report_data=DATA, **asked)
    assert rule_of(verdict) is None
    assert verdict.claims is not None
    origin = verdict.claims.to_dict()
    assert (origin["manufacturer"], origin["model"]) == ("id:00001014", "swtpm")
    assert verdict.statement.to_dict()["pcrs"][f"{bank}:4"] == value
    # Not known to be in a TPM, of another maker, other PCRs, another occasion.
    assert rule_of(verify(evidence, at=NOW, policy=policy_for(tpm), certificates=asked["certificates"])) == "enrolment"
    stranger = parse_policy(b"schema = 1\n[tpm]\nroots = [" + b'"' + b"00" * 32 + b'"]')
    chain = [*asked["certificates"], Given("authorities", tpm.authorities)]
    assert (
        rule_of(verify(evidence, at=NOW, policy=stranger, certificates=chain, collateral=asked["collateral"])) == "root"
    )
    other = "00" * 31 + "01" if bank == "sha256" else "00" * 47 + "01"
    assert rule_of(verify(evidence, at=NOW, policy=policy_for(tpm, f'pcr4 = ["{other}"]'), **asked)) == "measurement"
    assert rule_of(verify(evidence, at=NOW, policy=policy_for(tpm), report_data=bytes(64), **asked)) == "report-data"


def test_an_endorsement_key_on_a_curve_enrols_as_well(tpm):
    # swtpm keeps one of the profile H-3, on P-384 with AES-256, at the handle 0x81010016.
    tpm.tool("createprimary", "-C", "e", "-G", "ecc", "-c", "parent.ctx")
    tpm.tool(
        "create", "-C", "parent.ctx", "-G", "ecc256:ecdsa-sha256:null", "-u", "ak.pub", "-r", "ak.priv",
        "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign",
    )  # fmt: skip
    tpm.tool("load", "-C", "parent.ctx", "-u", "ak.pub", "-r", "ak.priv", "-c", "ak.ctx", "-n", "ak.name")
    key = read_certificate(tpm.ek_certificate("0x1c00016")).key
    made = make_credential(key, tpm.file("ak.name"), SECRET, bytes(range(64)))
    (tpm.folder / "credential").write_bytes(bytes.fromhex("badcc0de00000001") + made.to_bytes())
    # Other than an EK of the lower profiles, it may be used with its password, which is empty.
    tpm.tool("activatecredential", "-c", "ak.ctx", "-C", "0x81010016", "-i", "credential", "-o", "secret")
    assert tpm.file("secret") == SECRET


def test_a_credential_for_another_key_is_not_activated(tpm):
    tpm.make_ak()
    key = read_certificate(tpm.ek_certificate()).key
    made = make_credential(key, b"\0\x0b" + bytes(32), SECRET, bytes(range(64)))
    (tpm.folder / "credential").write_bytes(bytes.fromhex("badcc0de00000001") + made.to_bytes())
    tpm.tool("startauthsession", "--policy-session", "-S", "session")
    tpm.tool("policysecret", "-S", "session", "-c", "e")
    with pytest.raises(AssertionError, match="integrity check failed"):
        tpm.tool(
            "activatecredential",
            "-c",
            "ak.ctx",
            "-C",
            "ek.ctx",
            "-P",
            "session:session",
            "-i",
            "credential",
            "-o",
            "secret",
        )


def test_a_quote_by_a_key_that_signs_anything_is_refused(tpm):
    tpm.tool(
        "createprimary", "-C", "o", "-G", "ecc256:ecdsa-sha256:null", "-c", "ak.ctx",
        "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign",
    )  # fmt: skip
    tpm.tool("readpublic", "-c", "ak.ctx", "-o", "ak.pub")
    assert rule_of(verify(tpm.quote(), at=NOW)) == "key-attributes"


def test_a_quote_by_another_key_of_the_same_tpm_is_refused(tpm):
    tpm.make_ak()
    enrolment, certificate = enrol(tpm, tpm.ek_certificate()), tpm.ek_certificate()
    tpm.make_ak("rsa", "rsassa")
    verdict = verify(
        tpm.quote(scheme="rsassa"),
        at=NOW,
        policy=policy_for(tpm),
        certificates=[Given("EK", certificate)],
        collateral=[Given("enrolment", enrolment.to_bytes())],
    )
    assert rule_of(verdict) == "enrolment"


def test_extending_a_pcr_shows_the_workload(tpm):
    digest = bytes(range(32))
    tpm.tool("pcrextend", f"8:sha256={digest.hex()}")
    tpm.make_ak()
    enrolment, certificate = enrol(tpm, tpm.ek_certificate()), tpm.ek_certificate()
    asked: dict[str, Any] = {
        "certificates": [Given("EK", certificate)],
        "collateral": [Given("enrolment", enrolment.to_bytes())],
    }
    evidence = tpm.quote()
    for wanted, rule in ((digest, None), (bytes(32), "workload")):
        verdict = verify(evidence, at=NOW, policy=policy_for(tpm, f'workload = ["{wanted.hex()}"]'), **asked)
        assert rule_of(verdict) == rule


def test_the_commands_of_the_document_make_evidence(tpm):
    tpm.make_ak()
    (block,) = (one for one in blocks(ROOT / "docs/formats/tpm-evidence.md") if one.language == "console")
    lines = [line.removeprefix("$ ") for line in block.text.splitlines()]
    script = f"set -eu\nnonce={DATA.hex()}\n" + "\n".join(lines)
    environment = {**os.environ, "TPM2TOOLS_TCTI": f"swtpm:path={tpm.socket}"}
    subprocess.run(["bash", "-c", script], cwd=tpm.folder, env=environment, check=True, timeout=240)
    named = policy(f'[tpm]\naks = ["{tpm.file("ak.name").hex()}"]')
    verdict = verify(tpm.file("evidence.json"), at=NOW, policy=named, report_data=DATA)
    assert rule_of(verdict) is None
