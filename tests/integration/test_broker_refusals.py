"""What a served broker must refuse, by number of the list that the design was checked against, each over HTTPS.

14 report data · 15 nonces · 26 another workload's key · 27 a key too early or too late · 28 attesting again · 29 registering over
another · 30 another protocol or TEE · 31 tokens · 32 keys of guests · 33 paths and JSON · 34 what answers tell · 35 secrets
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.support.broker_lab import SECRET, Lab, audit_of, binding_of, policy_for, snp_evidence
from tests.support.trustee_client import TeeKey, b64, runtime_digest, unb64

from haulout.broker import Place

PATH = "w1/key/disk"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("refusals") / "broker")
    with made.serving() as instance:
        made.instance_of_test = instance  # type: ignore[attr-defined]
        made.owner().register("w1", "snp", "tdx", "cca")
        made.owner().register("w2", "snp", secret=b"the other secret")
        made.owner("bob").register("w3", "snp", secret=b"the secret of bob")
        yield made
        assert instance.process is not None
        assert instance.process.poll() is None
        assert "Traceback" not in instance.words()


@pytest.fixture(autouse=True)
def hung_up(lab):
    """An address has so many connections at once, and all guests here are at one."""
    yield
    lab.hang_up()


def attested(lab, workload="w1"):
    guest = lab.guest(workload)
    guest.handshake()
    return guest


def refused(guest, document):
    """Send an Attestation that has to be refused, and see that no key can be had then."""
    answer = guest.answer(document)
    assert answer.status in {400, 401}, (answer.status, answer.body)
    assert guest.ask(PATH).status == 401
    return answer


def in_store(lab, statement, *values):
    with closing(sqlite3.connect(lab.database, timeout=240)) as connection, connection:
        return connection.execute(statement, values).fetchall()


# --- 14 --------------------------------------------------------------------------------------------------------------


def report_data_of(guest, case):  # noqa: PLR0911 - a table
    nonce, jwk = guest.nonce, guest.key.jwk
    match case:
        case "another nonce":
            return runtime_digest(b64(bytes(32)), jwk)
        case "another key":
            return runtime_digest(nonce, TeeKey.make().jwk)
        case "another hash":
            return runtime_digest(nonce, jwk, "sha512")
        case "truncated":
            return runtime_digest(nonce, jwk)[:32]
        case "the end is not zero":
            return runtime_digest(nonce, jwk).ljust(63, b"\0") + b"\1"
        case "the key is not hashed":
            return runtime_digest(nonce, {})
        case "additional evidence":
            return runtime_digest(nonce, jwk, additional="{}")
        case "not canonical":
            hashed = hashes.Hash(hashes.SHA384())
            hashed.update(json.dumps({"tee-pubkey": jwk, "nonce": nonce, "additional-evidence": ""}).encode())
            return hashed.finalize()
    return bytes(48)


@pytest.mark.parametrize(
    "case",
    [
        "another nonce",
        "another key",
        "another hash",
        "truncated",
        "the end is not zero",
        "the key is not hashed",
        "additional evidence",
        "not canonical",
        "zeros",
    ],
)
def test_14_report_data_of_something_else(lab, case):
    guest = lab.guest()
    assert guest.request().status == 200
    document = guest.attestation()
    document["tee-evidence"]["primary_evidence"] = snp_evidence(report_data_of(guest, case))
    refused(guest, document)


# --- 15 --------------------------------------------------------------------------------------------------------------


def test_15_a_nonce_is_taken_once(lab):
    guest = lab.guest()
    guest.request()
    document = guest.attestation()
    assert guest.answer(document).status == 200
    assert guest.answer(document).status == 401
    assert guest.ask(PATH).status == 200  # what was attested before is still so


def test_15_a_refused_nonce_is_gone(lab):
    guest = lab.guest()
    guest.request()
    good = guest.attestation()
    bad = guest.attestation()
    bad["tee-evidence"]["primary_evidence"]["attestation_report"]["vmpl"] = 1
    assert guest.answer(bad).status == 401
    refused(guest, good)


def test_15_a_nonce_of_another_session(lab):
    first, second = lab.guest(), lab.guest()
    first.request()
    second.request()
    refused(second, second.attestation(nonce=first.nonce))
    stolen = first.attestation()
    third = lab.guest()
    third.request()
    refused(third, stolen)


def test_15_a_nonce_of_nobody(lab):
    guest = lab.guest()
    guest.request()
    refused(guest, guest.attestation(nonce=base64.b64encode(bytes(32)).decode()))


def test_15_an_expired_nonce(lab):
    guest = lab.guest()
    guest.request()
    in_store(
        lab, "UPDATE sessions SET created = created - 301000, expires = expires - 301000 WHERE nonce = ?", guest.nonce
    )
    refused(guest, guest.attestation())


def test_15_one_nonce_by_sixteen_at_once(lab):
    guest = lab.guest()
    guest.request()
    document = guest.attestation()

    def send(_):
        wire = lab.wire()
        wire.cookies = dict(guest.wire.cookies)
        return wire.post("/kbs/v0/attest", document).status

    with ThreadPoolExecutor(16) as pool:
        found = sorted(pool.map(send, range(16)))
    assert found == [200] + [401] * 15


# --- 26, 27, 28 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claimed", [{}, {"workload-id": "w1"}])
def test_26_the_key_of_another_workload(lab, claimed):
    guest = lab.guest("w1", extra=claimed)
    guest.handshake()
    for path in ("w2/key/disk", "w3/key/disk"):
        assert guest.ask(path).status == 404
        assert guest.ask(path, bearer=guest.token).status == 404
    assert guest.ask(PATH).status == 200


def test_26_a_guest_that_says_another_workload(lab):
    guest = lab.guest("w1", extra={"workload-id": "w2"})
    guest.request()
    answer = guest.answer(guest.attestation())
    assert answer.status == 401
    assert guest.ask("w2/key/disk").status == 401


def test_27_a_key_before_anything(lab):
    guest = lab.guest()
    assert guest.ask(PATH).status == 401
    guest.wire.cookies = {"kbs-session-id": b64(bytes(32))}
    assert guest.ask(PATH).status == 401
    guest.wire.cookies = {}
    assert guest.ask(PATH, bearer="x.y.z").status == 401


def test_27_a_key_before_attesting(lab):
    guest = lab.guest()
    guest.request()
    assert guest.ask(PATH).status == 401


def test_27_a_key_after_an_attestation_that_failed(lab):
    guest = lab.guest(evidence=partial(snp_evidence, workload="w1", policy=1 << 17 | 1 << 16 | 1 << 19))  # DEBUG
    guest.request()
    guest.answer(guest.attestation())
    assert guest.ask(PATH).status in {401, 404}
    allowed = [row for row in audit_of(lab.database) if row["event"] == "release" and row["decision"] == "allowed"]
    assert guest.nonce not in str(allowed)


@pytest.mark.parametrize("column", ["expires", "verified"])
def test_27_a_key_after_the_session_expired(lab, column):
    guest = attested(lab)
    assert guest.ask(PATH).status == 200
    in_store(lab, f"UPDATE sessions SET {column} = {column} - 301000 WHERE nonce = ?", guest.nonce)
    by_cookie, by_token = guest.ask(PATH), guest.ask(PATH, bearer=guest.token)
    assert {by_cookie.status, by_token.status} <= {401, 404}
    # Trustee's client gets it all the same: by attesting again.
    if by_cookie.status == 401:
        assert guest.resource(PATH) == SECRET


@pytest.mark.parametrize("way", ["same nonce", "another nonce"])
def test_28_attesting_again_changes_no_key(lab, way):
    guest, thief = attested(lab), TeeKey.make()
    nonce = guest.nonce
    if way == "another nonce":
        jar = dict(guest.wire.cookies)
        guest.request()
        nonce, guest.wire.cookies = guest.nonce, jar
    assert guest.answer(guest.attestation(nonce=nonce, jwk=thief.jwk)).status == 401
    answer = guest.ask(PATH)
    assert (answer.status, guest.key.decrypt(answer.body)) == (200, SECRET)


# --- 29 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [None, "bob", "forged", "guest"])
def test_29_nobody_else_registers_over_a_workload(lab, who):
    token = {None: None, "bob": lab.tokens["bob"], "forged": b64(bytes(32)), "guest": attested(lab).token}[who]
    wire, headers = lab.wire(), {} if token is None else {"Authorization": f"Bearer {token}"}
    for method, path, body in (
        ("PUT", "/v1/workloads/w1", None),
        ("PUT", "/v1/workloads/w1/policy", policy_for("w1", "snp")),
        ("PUT", "/v1/workloads/w1/resources/w1/key/disk", b"mine"),
        ("PUT", "/v1/workloads/w1/resources/w1/key/other", b"mine"),
        ("PUT", "/v1/workloads/w1/list", b"{}"),
        ("POST", "/kbs/v0/resource/w1/key/disk", b"mine"),
        ("POST", "/kbs/v0/resource/w1/key/disk?workload=w3", b"mine"),
        ("POST", "/kbs/v0/register_workload", b'{"workload_id":"w1"}'),
        ("DELETE", "/v1/workloads/w1/resources/w1/key/disk", None),
        ("DELETE", "/v1/workloads/w1", None),
        ("GET", "/v1/workloads/w1", None),
        ("GET", "/v1/workloads/w1/policy", None),
    ):
        answer = wire.send(method, path, body, headers)
        expected = {401, 404} if who != "bob" else {400, 404, 409}
        assert answer.status in expected, (method, path, answer.status, answer.body)
        if who != "bob" and "register_workload" not in path:
            assert answer.headers["www-authenticate"] == "Bearer"
    assert attested(lab).resource(PATH) == SECRET


def test_29_policies_without_a_binding_or_measurement_are_not_taken(lab):
    owner = lab.owner()
    whole = policy_for("w1", "snp").decode()
    for missing in ("host-data", "measurements"):
        answer = owner.send(
            "PUT", "/v1/workloads/w1/policy", re.sub(f"{missing} = .*", "", whole).encode(), "text/plain"
        )
        assert answer.status == 400, missing
    assert attested(lab).resource(PATH) == SECRET


# --- 30 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version", ["0.0.0", "0.1.0", "0.1.1", "0.3.0", "0.4.1", "0.5.0", "0.4", "0.4.0 ", "", None, 4, ["0.4.0"]]
)
def test_30_another_version(lab, version):
    answer = lab.guest().request(version=version)
    assert answer.status in {400, 401}
    assert "kbs-session-id" not in answer.cookies


@pytest.mark.parametrize("tee", ["tdx", "cca"])
def test_30_evidence_of_another_tee_than_was_said(lab, tee):
    guest = lab.guest("w1", "snp")
    guest.request(tee=tee)
    refused(guest, guest.attestation())


@pytest.mark.parametrize("tee", ["sample", "sampledevice", "sgx", "az-snp-vtpm", "SNP", "", None, {}, "snp\0"])
def test_30_a_tee_that_is_not_known(lab, tee):
    assert lab.guest().request(tee=tee).status in {400, 401}


def test_30_a_session_of_this_protocol_gets_nothing_at_the_path_of_the_old(lab):
    guest = attested(lab)
    assert guest.wire.get("/kbs/v0/key/w1").status in {401, 404}
    guest.wire.cookies["session_id"] = guest.wire.cookies["kbs-session-id"]
    assert guest.wire.get("/kbs/v0/key/w1").status in {401, 404}


def test_30_the_old_attestation_is_not_taken_by_a_session_of_this_protocol(lab):
    guest = lab.guest()
    guest.request()
    numbers = TeeKey.make("RSA2048").jwk
    document = {
        "tee-pubkey": {"alg": "RSA", "k-mod": numbers["n"], "k-exp": numbers["e"]},
        "tee-evidence": json.dumps({"report": "00" * 1184, "gen": "genoa", "cert_chain": "[]"}),
    }
    refused(guest, document)


# --- 31 --------------------------------------------------------------------------------------------------------------


def signed(header, claims, key=None):
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    if key is None:
        return f"{text}."
    if isinstance(key, bytes):
        mac = hmac.HMAC(key, hashes.SHA256())
        mac.update(text.encode())
        return f"{text}.{b64(mac.finalize())}"
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def public_key_of(lab):
    return in_store(lab, "SELECT kid FROM signing_keys")[0][0].encode()


def test_31_tokens_that_the_broker_did_not_sign(lab):
    guest = attested(lab)
    header, claims = (json.loads(unb64(part)) for part in guest.token.split(".")[:2])
    body, signature = guest.token.rsplit(".", 1)
    own = ec.generate_private_key(ec.SECP256R1())
    numbers = own.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256"} | {
        name: b64(value.to_bytes(32, "big")) for name, value in (("x", numbers.x), ("y", numbers.y))
    }
    later = claims | {"exp": claims["exp"] + 3600}
    tokens = {
        "none": signed(header | {"alg": "none"}, claims),
        "None": signed(header | {"alg": "None"}, claims),
        "no signature": f"{body}.",
        "no third part": body,
        "HS256 by the certificate": signed(header | {"alg": "HS256"}, claims, lab.ca.read_bytes()),
        "HS256 by the key's name": signed(header | {"alg": "HS256"}, claims, public_key_of(lab)),
        "HS256 by nothing": signed(header | {"alg": "HS256"}, claims, b""),
        "a foreign key": signed(header, claims, own),
        "a foreign jwk": signed(header | {"jwk": jwk}, claims, own),
        "a foreign jku": signed(header | {"jku": "https://127.0.0.1:1/keys", "kid": "x"}, claims, own),
        "a foreign x5c": signed(header | {"x5c": [base64.b64encode(b"x").decode()]}, claims, own),
        "other claims": f"{body.partition('.')[0]}.{b64(json.dumps(later).encode())}.{signature}",
        "the signature, changed": f"{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "more parts": f"{guest.token}.{signature}",
        "long": f"{guest.token}{'A' * 20000}",
        "padding": f"{guest.token}=",
        "empty": " ",
        "no JSON": f"{b64(b'x')}.{b64(b'y')}.{b64(b'z')}",
        "another critical header": signed(header | {"crit": ["exp"]}, claims, own),
    }
    found = {case: guest.ask(PATH, bearer=token).status for case, token in tokens.items()}
    assert found == dict.fromkeys(tokens, 401)
    assert guest.ask(PATH, bearer=guest.token).status == 200


def test_31_a_token_of_another_broker_or_time(lab):
    """By a key that this broker has: only issuer, audience, times and session differ."""
    guest = attested(lab)
    _, claims = (json.loads(unb64(part)) for part in guest.token.split(".")[:2])
    store = Place.open(lab.folder).store()
    try:
        with store.read() as unit:
            sign = unit.signing_keys.all()[0].sign
    finally:
        store.close()
    now = int(datetime.now(UTC).timestamp())
    changes = {
        "issuer": {"iss": "https://127.0.0.1:1"},
        "audience": {"aud": "https://127.0.0.1:1"},
        "expired": {"exp": now - 1},
        "of the future": {"nbf": now + 600, "iat": now + 600},
        "another session": {"jti": "0" * 64},
        "no session": {"jti": None},
        "a list": {"jti": [claims["jti"]]},
    }
    assert guest.ask(PATH, bearer=sign(claims)).status == 200
    found = {case: guest.ask(PATH, bearer=sign(claims | change)).status for case, change in changes.items()}
    assert found == dict.fromkeys(changes, 401)
    for name in ("iss", "aud", "exp", "jti"):
        assert guest.ask(PATH, bearer=sign({k: v for k, v in claims.items() if k != name})).status == 401, name


def test_31_a_token_gives_the_key_to_the_guest_of_the_token(lab):
    guest, thief = attested(lab), lab.guest()
    answer = thief.ask(PATH, bearer=guest.token)
    assert answer.status == 200
    with pytest.raises(Exception):  # noqa: B017 - whatever fails in decrypting
        thief.key.decrypt(answer.body)


def test_31_an_owner_has_no_session_and_a_guest_owns_nothing(lab):
    assert lab.guest().ask(PATH, bearer=lab.tokens["alice"]).status == 401
    guest = attested(lab)
    assert guest.wire.get("/v1/workloads", Authorization=f"Bearer {guest.token}").status == 401


# --- 32 --------------------------------------------------------------------------------------------------------------


def weak(n_bits=0, **changed):
    jwk = dict(TeeKey.make(f"RSA{n_bits}" if n_bits else "P-256").jwk)
    return {name: value for name, value in (jwk | changed).items() if value is not None}


KEYS = {
    "off the curve": lambda: weak(y=b64(bytes(31) + b"\1")),
    "infinity": lambda: weak(x=b64(bytes(32)), y=b64(bytes(32))),
    "short coordinates": lambda: weak(x=b64(b"\1" * 31)),
    "long coordinates": lambda: weak(x=b64(bytes(1) + b"\1" * 32)),
    "coordinates of another curve": lambda: weak(crv="P-521"),
    "P-384": lambda: weak(crv="P-384"),
    "secp256k1": lambda: weak(crv="secp256k1"),
    "X25519": lambda: {"kty": "OKP", "crv": "X25519", "alg": "ECDH-ES+A256KW", "x": b64(bytes(32))},
    "symmetric": lambda: {"kty": "oct", "alg": "A256KW", "k": b64(bytes(32))},
    "small RSA": lambda: weak(1024),
    "RSA1_5": lambda: weak(2048, alg="RSA1_5"),
    "RSA-OAEP with SHA-1": lambda: weak(2048, alg="RSA-OAEP"),
    "exponent 1": lambda: weak(2048, e="AQ"),
    "exponent 3": lambda: weak(2048, e="Aw"),
    "huge RSA": lambda: weak(2048, n=b64(b"\xff" * 8192)),
    "direct agreement": lambda: weak(alg="ECDH-ES"),
    "no algorithm": lambda: weak(alg=None),
    "more members": lambda: weak(key_ops=["deriveKey"]),
    "a private key": lambda: weak(d=b64(bytes(32))),
    "padding": lambda: weak(x=TeeKey.make().jwk["x"] + "="),
    "standard base64": lambda: weak(x="+" * 43),
    "not canonical base64": lambda: weak(x=TeeKey.make().jwk["x"][:-1] + "9"),
    "a number": lambda: weak(x=7),
    "a list": list,
}


@pytest.mark.parametrize("case", list(KEYS))
def test_32_a_key_that_must_not_be_encrypted_to(lab, case):
    guest = lab.guest()
    guest.request()
    # The evidence is genuine, and about this very key.
    refused(guest, guest.attestation(jwk=KEYS[case]()))


# --- 33 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd",
        "w1/key/../key/disk",
        "w1/key/%2e%2e",
        "w1/key/..%2fdisk",
        "w1/key/disk/",
        "/w1/key/disk",
        "w1//disk",
        "w1/key/disk%00",
        "w1/key/.disk",
        "W1/key/disk",
        "w1/key/disk%20",
        "w1/key/" + "a" * 129,
        "w1/key/%C3%A4",
        "w1/key/disk;x",
        "w1/key/*",
        "kbs:///w1/key/disk",
        "w1/key",
    ],
)
def test_33_a_path_that_is_none(lab, path):
    guest = attested(lab)
    answer = guest.ask(path)
    assert answer.status == 404, answer
    assert SECRET not in answer.body


BODIES = {
    "nothing": b"",
    "not JSON": b"{",
    "text": b'"x"',
    "a list": b"[]",
    "null": b"null",
    "NaN": b'{"version":NaN}',
    "deep lists": b'{"version":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a duplicate key": b'{"version":"0.4.0","version":"0.4.0","tee":"snp","extra-params":""}',
    "a duplicate nested key": b'{"version":"0.4.0","tee":"snp","extra-params":{"a":1,"a":2}}',
    "oversize": b'{"version":"0.4.0","tee":"snp","extra-params":"' + b" " * 3_000_000 + b'"}',
    "a huge number": b'{"version":"0.4.0","tee":"snp","extra-params":' + b"9" * 100_000 + b"}",
    "a fraction": b'{"version":0.4,"tee":"snp"}',
    "not UTF-8": b'{"version":"\xff"}',
    "UTF-16": '{"version":"0.4.0","tee":"snp"}'.encode("utf-16"),
    "a lone surrogate": b'{"version":"0.4.0","tee":"\\ud800","extra-params":""}',
    "two documents": b'{"version":"0.4.0","tee":"snp"}{}',
    "many hashes": json.dumps(
        {"version": "0.4.0", "tee": "snp", "extra-params": {"supported-hash-algorithms": ["sha384"] * 5000}}
    ).encode(),
    "no hash that is known": json.dumps(
        {"version": "0.4.0", "tee": "snp", "extra-params": {"supported-hash-algorithms": ["md5"]}}
    ).encode(),
}


@pytest.mark.parametrize("case", list(BODIES))
@pytest.mark.parametrize("where", ["/kbs/v0/auth", "/kbs/v0/attest"])
def test_33_a_body_that_is_none(lab, case, where):
    guest = lab.guest()
    guest.request()
    answer = guest.wire.post(where, BODIES[case])
    assert answer.status in {400, 401, 413}, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.body) < 1500


# --- 34 --------------------------------------------------------------------------------------------------------------


def told(answer):
    """What an answer tells: all but what names the request and the session."""
    body = re.sub(rb"session [0-9a-f]+|request:[0-9a-f]+|(?<=id )[0-9a-f-]{8,}", b"", answer.body)
    headers = {
        name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id", "content-length"}
    }
    return answer.status, body, headers


def test_34_a_resource_that_is_not_there_and_one_that_is_not_yours(lab):
    guest = attested(lab, "w1")
    answers = [told(guest.ask(path)) for path in ("w2/key/disk", "w3/key/disk", "w9/key/disk", "w2/key/none")]
    assert answers.count(answers[0]) == 4


def test_34_a_workload_that_is_not_there_and_one_that_you_are_not(lab):
    def attempt(workload):
        guest = lab.guest("w1", extra={"workload-id": workload})
        asked = guest.request()
        return told(asked)[0], told(asked)[2].keys(), told(guest.answer(guest.attestation()))

    assert attempt("w2") == attempt("w9")


def test_34_workloads_of_another_owner(lab):
    bob = lab.owner("bob")
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/policy", None),
        ("GET", "/resources", None),
    ):
        theirs, none = (told(bob.send(method, f"/v1/workloads/{name}{path}", body)) for name in ("w1", "w9"))
        assert theirs == none, (method, path)
    theirs, none = (
        told(bob.send("PUT", f"/v1/workloads/{name}/policy", policy_for("w1", "snp"), "application/toml"))
        for name in ("w1", "w9")
    )
    assert theirs == none


# --- 35 --------------------------------------------------------------------------------------------------------------


def test_35_secrets_stay_where_they_belong(lab):
    guest = attested(lab)
    assert guest.resource(PATH) == SECRET
    guest.answer(b'{"runtime-data": "' + SECRET + b'"}')
    lab.owner().send("PUT", f"/v1/workloads/w1/resources/{'x' * 200}/y/z", SECRET, "application/octet-stream")
    lab.owner().send("PUT", "/v1/workloads/w1/policy", SECRET, "application/toml")
    instance = lab.instance_of_test
    process = Path(f"/proc/{instance.process.pid}")
    shown = {
        "the log": instance.words().encode(),
        "arguments": (process / "cmdline").read_bytes(),
        "the audit log": json.dumps(audit_of(lab.database)).encode(),
        "the database": lab.database.read_bytes(),
        "what is not yet in it": Path(f"{lab.database}-wal").read_bytes(),
    }
    cookie = next(iter(guest.wire.cookies.values()))
    secrets = {
        "a resource": SECRET,
        "an owner's token": lab.tokens["alice"].encode(),
        "a cookie": cookie.encode(),
        "a guest's token": guest.token.encode(),
    }
    found = [(what, where) for what, secret in secrets.items() for where, text in shown.items() if secret in text]
    assert found == []
    assert "(deleted)" not in str(process)


def test_35_files_with_secrets_are_their_owners(lab):
    for name in ("keys", "tls.key", "broker.toml", "broker.db"):
        assert (lab.folder / name).stat().st_mode & 0o077 == 0, name
    assert lab.folder.stat().st_mode & 0o077 == 0


def test_35_the_process_leaves_no_core(lab):
    limits = Path(f"/proc/{lab.instance_of_test.process.pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0", limits)


def test_the_binding_is_what_separates_workloads(lab):
    """Were it not for HOST_DATA, the same guest would get both keys: its measurement is the same."""
    assert binding_of("w1") != binding_of("w2")
    assert attested(lab, "w2").resource("w2/key/disk") == b"the other secret"
    assert datetime.now(UTC) - timedelta(days=1) < datetime.now(UTC)
