"""Is a TPM's quote genuine: the key, its signature, the PCRs, and why the key is trusted."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.support.evidence import AT, DATA, policy, rule_of
from tests.support.tpm import ATTRIBUTES, Maker, Quoted, ec_key, maker, rsa_key

from haulout.errors import InvalidEvidence
from haulout.tee import Given, verify
from haulout.tee.tpm.endorsement import AK_USAGE, EK_USAGE, Enrolment, fingerprint
from haulout.tee.tpm.structures import NULL

EK = ec.generate_private_key(ec.SECP256R1())


def judge(
    quoted: Quoted,
    lines: str = "",
    *,
    evidence: bytes | None = None,
    by: Maker | None = None,
    usage: str = EK_USAGE,
    **more,
):
    """Judge a quote of a TPM whose key was enrolled, by a policy that trusts its maker."""
    by = by or maker()
    ek = EK.public_key()
    asked: dict[str, Any] = {
        "certificates": [Given("EK", by.certify(ek, usage)), Given("authorities", by.pem)],
        "collateral": [Given("enrolment", Enrolment(quoted.name, fingerprint(ek)).to_bytes())],
        "policy": policy(f'[tpm]\nroots = ["{maker().fingerprint}"]\n{lines}'),
        "report_data": DATA,
    }
    return verify(quoted.evidence() if evidence is None else evidence, at=AT, **(asked | more))


def test_a_quote_of_an_enrolled_key_is_accepted():
    verdict = judge(Quoted())
    assert rule_of(verdict) is None
    assert verdict.open == ("pcr0 to pcr15", "workload")
    assert verdict.claims.to_dict() == {
        "root": "Toy TPM Root (added by the policy)",
        "root_fingerprint": maker().fingerprint,
        "test_root": False,
        "ek": fingerprint(EK.public_key()),
        "manufacturer": "id:48414F00",
        "model": "toy",
        "version": "id:1",
    }
    said = verdict.statement.to_dict()
    assert (said["clock"], said["clock_safe"], said["resets"], said["restarts"]) == (123_456, True, 7, 3)
    assert said["pcrs"]["sha256:9"] == "09" * 32


@pytest.mark.parametrize(
    ("key", "scheme", "hash_name"),
    [
        (rsa_key(), "rsassa", "sha256"),
        (rsa_key(), "rsapss", "sha384"),
        (ec_key(), "ecdsa", "sha256"),
        (ec.generate_private_key(ec.SECP384R1()), "ecdsa", "sha384"),
        (ec.generate_private_key(ec.SECP521R1()), "ecdsa", "sha512"),
    ],
)
def test_all_kinds_of_keys_sign(key, scheme, hash_name):
    assert rule_of(judge(Quoted(key, scheme, hash_name))) is None


@pytest.mark.parametrize("bit", range(32))
def test_each_attribute_of_the_key_counts(bit):
    allowed = {2, 6, 7, 10, 11, 19}
    """stClear, userWithAuth, adminWithPolicy, noDA, encryptedDuplication, x509sign: nothing follows from them."""
    rule = rule_of(judge(Quoted(attributes=ATTRIBUTES ^ 1 << bit)))
    reserved = bit not in allowed | {1, 4, 5, 16, 17, 18}
    assert rule == (None if bit in allowed else "reserved" if reserved else "key-attributes")


def test_values_of_pcrs_that_were_not_quoted_are_refused():
    quoted = Quoted(digest=hashlib.sha256(b"other").digest())
    assert rule_of(judge(quoted)) == "pcr-digest"
    # The digest of a signature by SHA-384 is one of SHA-384, whatever the bank.
    short = Quoted(hash_name="sha384", digest=hashlib.sha256(b"".join(Quoted().pcrs.values())).digest())
    assert rule_of(judge(short)) == "pcr-digest"


def test_a_signature_by_another_key_or_scheme_is_refused():
    assert rule_of(judge(Quoted(signer=EK))) == "signature"
    assert (
        rule_of(judge(Quoted(key=rsa_key(), scheme="rsassa", signer=rsa.generate_private_key(65537, 2048))))
        == "signature"
    )
    assert rule_of(judge(Quoted(key=rsa_key(), scheme="ecdsa", signer=EK))) == "signature-algorithm"
    assert (
        rule_of(judge(Quoted(key=rsa_key(), scheme="rsassa", signer=rsa.generate_private_key(65537, 3072))))
        == "signature-encoding"
    )
    fixed = Quoted(fixed=("ecdsa", "sha384"))
    assert rule_of(judge(fixed)) == "signature-algorithm"
    assert rule_of(judge(Quoted(fixed=("ecdsa", "sha256")))) is None
    assert NULL == 0x10


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"magic": b"\xfeTCG"}, "no TPM made it"),
        ({"kind": 0x8017}, "not a quote"),
        ({"safe": 2}, "neither"),
        ({"pcrs": {}}, "0 banks"),
        ({"extra": bytes(65)}, "at most 64"),
        ({"extra": b"another"}, "report data"),
    ],
)
def test_what_no_tpm_says_of_a_quote_is_not_read(changed, reason):
    with pytest.raises(InvalidEvidence, match=reason):
        judge(Quoted(**changed))


def test_a_small_tpm_signs_the_hash_of_the_report_data():
    assert rule_of(judge(Quoted(extra=hashlib.sha256(DATA).digest()))) is None
    assert rule_of(judge(Quoted(), report_data=bytes(64))) == "report-data"
    assert rule_of(judge(Quoted(), report_data=DATA[:-1] + b"\0")) == "report-data"


def test_why_a_key_is_trusted():
    quoted, stranger = Quoted(), maker("Another Root")
    # The endorsement key's maker is not known, or its certificate is one for something else, or missing.
    assert rule_of(judge(quoted, by=stranger)) == "root"
    assert rule_of(judge(quoted, usage="1.3.6.1.5.5.7.3.1")) == "certificate-missing"
    assert rule_of(judge(quoted, certificates=[])) == "certificate-missing"
    assert rule_of(judge(quoted, certificates=[Given("EK", maker().certify(EK.public_key()))])) == "certificate-missing"
    # Enrolled beside another endorsement key, or another key was, or none.
    other = Enrolment(quoted.name, fingerprint(ec_key().public_key()))
    assert rule_of(judge(quoted, collateral=[Given("enrolment", other.to_bytes())])) == "certificate-missing"
    other = Enrolment(Quoted(key=rsa_key()).name, fingerprint(EK.public_key()))
    assert rule_of(judge(quoted, collateral=[Given("enrolment", other.to_bytes())])) == "enrolment"
    assert rule_of(judge(quoted, collateral=[])) == "enrolment"
    # The same key with other attributes has another name.
    assert (
        rule_of(
            judge(
                Quoted(attributes=ATTRIBUTES | 1 << 10),
                collateral=[Given("e", Enrolment(quoted.name, fingerprint(EK.public_key())).to_bytes())],
            )
        )
        == "enrolment"
    )


def test_a_certificate_of_the_attestation_key_is_enough():
    key = ec_key().public_key()
    chain = [Given("AK", maker().certify(key, AK_USAGE)), Given("authorities", maker().pem)]
    verdict = judge(Quoted(), certificates=chain, collateral=[])
    assert rule_of(verdict) is None
    assert verdict.claims.to_dict()["ek"] is None
    wrong = [Given("AK", maker().certify(key, EK_USAGE)), Given("authorities", maker().pem)]
    assert rule_of(judge(Quoted(), certificates=wrong, collateral=[])) == "enrolment"


def test_a_policy_may_name_the_key_or_the_maker_s_certificates():
    quoted = Quoted()
    named = policy(f'[tpm]\naks = ["{quoted.name.hex()}"]')
    assert rule_of(judge(quoted, policy=named, certificates=[], collateral=[])) is None
    listed = policy(f"[tpm]\nauthorities = {json.dumps([maker().pem.decode()])}")
    ek = [Given("EK", maker().certify(EK.public_key()))]
    assert rule_of(judge(quoted, policy=listed, certificates=ek)) is None
    # An authority below the root is no root.
    below = policy(
        f"[tpm]\nauthorities = {json.dumps([maker().pem.decode().split('-----END')[0] + '-----END CERTIFICATE-----'])}"
    )
    assert rule_of(judge(quoted, policy=below)) == "root"


def test_without_a_policy_the_root_is_trusted_because_it_was_given():
    verdict = judge(Quoted(), policy=None)
    assert rule_of(verdict) is None
    assert verdict.claims.anchor.given


@pytest.mark.parametrize(
    "document",
    [
        b"{",
        b"{}",
        b'{"tpm_enrolment":2,"ak":"","ek":""}',
        b"\x30\x03",
        b'{"tpm_enrolment":1,"ak":"x","ek":"' + b"00" * 32 + b'"}',
        b'{"tpm_enrolment":1,"ak":1,"ek":"' + b"00" * 32 + b'"}',
    ],
)
def test_collateral_that_is_not_an_enrolment_is_not_read(document):
    with pytest.raises(InvalidEvidence, match="not an enrolment"):
        judge(Quoted(), collateral=[Given("file", document)])


def _fields(evidence: bytes) -> list[tuple[str, bytes]]:
    """Change each byte of each field of some evidence, one at a time."""
    made = []
    values = json.loads(evidence)

    def put(name: str, path: tuple[str | int, ...], value: object) -> None:
        copy = json.loads(evidence)
        inner = copy
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        made.append((name, json.dumps(copy).encode()))

    for path in (("tpm_quote", "message"), ("tpm_quote", "signature"), ("ak_public",), ("report_data",)):
        inner = values
        for step in path:
            inner = inner[step]
        raw = base64.b64decode(inner)
        for at in range(len(raw)):
            changed = raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :]
            put(f"{path[-1]}[{at}]", path, base64.b64encode(changed).decode())
        for name, changed in (("cut", raw[:-1]), ("longer", raw + b"\0"), ("empty", b"")):
            put(f"{path[-1]} {name}", path, base64.b64encode(changed).decode())
    for number, value in enumerate(values["tpm_quote"]["pcrs"]):
        for at in range(0, 64, 4):
            changed = value[:at] + f"{int(value[at], 16) ^ 1:x}" + value[at + 1 :]
            put(f"pcr {number}", ("tpm_quote", "pcrs", number), changed)
        put(f"pcr {number} upper", ("tpm_quote", "pcrs", number), value.replace("0", "A"))
    pcrs = values["tpm_quote"]["pcrs"]
    for name, listed in (("swapped", pcrs[::-1]), ("fewer", pcrs[1:]), ("more", [*pcrs, pcrs[0]]), ("none", [])):
        put(f"pcrs {name}", ("tpm_quote", "pcrs"), listed)
    put("unknown member", ("other",), 1)
    return made


@pytest.mark.parametrize(("key", "scheme"), [(ec_key(), "ecdsa"), (rsa_key(), "rsassa"), (rsa_key(), "rsapss")])
def test_every_change_of_a_single_field_is_refused(key, scheme):
    quoted = Quoted(key, scheme)
    evidence = quoted.evidence()
    assert rule_of(judge(quoted, evidence=evidence)) is None
    changes = _fields(evidence)
    assert len(changes) >= 400
    accepted = []
    for name, changed in changes:
        try:
            if judge(quoted, evidence=changed).accepted:
                accepted.append(name)
        except InvalidEvidence:
            continue
    assert accepted == []
