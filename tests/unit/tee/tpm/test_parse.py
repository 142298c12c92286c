"""Structures of TPMs: whatever the bytes, an answer or one error."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given as examples
from hypothesis import strategies as some
from tests.support.tpm import Quoted, ec_key, public, rsa_key, sized

from haulout.errors import InvalidEvidence
from haulout.tee.tpm import parse
from haulout.tee.tpm.credential import Credential, make_credential
from haulout.tee.tpm.structures import read_attest, read_public, read_signature

READERS = {
    "attest": (read_attest, Quoted().attest),
    "public": (read_public, public(ec_key(), scheme="ecdsa")),
    "rsa": (read_public, public(rsa_key(), scheme="rsassa")),
    "signature": (read_signature, Quoted().signature(b"")),
}


@pytest.mark.parametrize("name", READERS)
def test_a_structure_is_read_whole_or_not_at_all(name):
    read, data = READERS[name]
    assert read(data, name)
    if name != "signature":
        assert read(sized(data), name) == read(data, name)
    for size in range(len(data)):
        with pytest.raises(InvalidEvidence):
            read(data[:size], name)
    for more in (b"\0", b"\0" * 9000):
        with pytest.raises(InvalidEvidence):
            read(data + more, name)


@pytest.mark.parametrize("name", READERS)
@examples(some.data())
def test_changed_structures_give_an_answer_or_one_error(name, data):
    read, raw = READERS[name]
    changed = bytearray(raw)
    for _ in range(data.draw(some.integers(1, 4))):
        changed[data.draw(some.integers(0, len(raw) - 1))] = data.draw(some.integers(0, 255))
    with suppress(InvalidEvidence):
        read(bytes(changed), name)


@examples(some.binary(max_size=300))
def test_any_bytes_give_an_answer_or_one_error(data):
    for read, _ in READERS.values():
        with suppress(InvalidEvidence):
            read(data, "bytes")
    with suppress(InvalidEvidence):
        Credential.parse(data)
    text = base64.b64encode(data).decode()
    document = {"ak_public": text, "tpm_quote": {"message": text, "signature": text, "pcrs": []}}
    with pytest.raises(InvalidEvidence):
        parse.parse(json.dumps(document).encode())


EVIDENCE = Quoted().evidence()
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=9),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=9), inner, max_size=3),
)


@examples(
    JSON, some.sampled_from(["ak_public", "tpm_quote", "report_data", "activation", "message", "signature", "pcrs"])
)
def test_members_of_any_type_give_one_error(value, name):
    values = json.loads(EVIDENCE)
    values["activation"] = "AAAA"
    (values["tpm_quote"] if name in values["tpm_quote"] else values)[name] = value
    with pytest.raises(InvalidEvidence):
        parse.parse(json.dumps(values).encode())


def test_what_is_built_is_parsed():
    made = Quoted()
    found = parse.parse(made.evidence())
    assert (found.attest.raw, found.ak.name, found.values) == (made.attest, made.name, tuple(made.pcrs.values()))
    assert parse.recognise(made.evidence())
    without = json.loads(made.evidence())
    del without["report_data"]
    assert parse.parse(json.dumps(without).encode()).report_data == made.extra
    assert not parse.recognise(b'{"tpm_quote":{},"hcl_report":""}')
    for broken in (b"", b"{", b"[]", b'{"tpm_quote":1}'):
        with pytest.raises(InvalidEvidence):
            parse.parse(broken)


def test_a_credential_needs_enough_chance_and_a_secret_that_fits():
    for secret, seed in ((b"", bytes(64)), (bytes(33), bytes(64)), (bytes(32), bytes(63))):
        with pytest.raises(ValueError, match="seed"):
            make_credential(rsa_key().public_key(), b"name", secret, seed)
    made = make_credential(rsa_key().public_key(), b"name", bytes(32), bytes(64))
    assert Credential.parse(made.to_bytes()) == made
