"""Valid evidence for the right nonce with one field changed, over HTTPS: refused, each of them, and the row says so.

The default run takes one change of each field; ``make test-broker`` every element of every field.
"""

from __future__ import annotations

import base64
import copy
import os
import random

import pytest
from tests.support.broker_lab import EVIDENCE, SECRET, Lab, audit_of

pytestmark = pytest.mark.long
LONG = os.environ.get("HAULOUT_TEST_BROKER")
EVERY = {"snp": 1, "tdx": 4, "cca": 5}
"""In the long run, each so many bytes of what is not an array."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("mutations") / "broker")
    with made.serving(options=("--collateral", str(made.collateral))) as instance:
        made.owner().register("w1", "snp", "tdx", "cca")
        yield made
        assert "Traceback" not in instance.words()


@pytest.fixture(autouse=True)
def hung_up(lab):
    """An address has so many connections at once, and all guests here are at one."""
    yield
    lab.hang_up()


def leaves(value, at=()):
    """Yield the path of each value that is neither an object nor an array."""
    match value:
        case dict():
            for name, one in value.items():
                yield from leaves(one, (*at, name))
        case list():
            for number, one in enumerate(value):
                yield from leaves(one, (*at, number))
        case _:
            yield at


def changed(value, at, new):
    """Return a copy with one value replaced by what ``new`` makes of it."""
    found = copy.deepcopy(value)
    inner = found
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = new(inner[at[-1]])
    return found


def flip(value):
    """Change a value by one bit, or what is not there to something."""
    return 1 if value is None else value ^ 1


def flipped(text, at):
    data = bytearray(base64.b64decode(text))
    data[at] ^= 1
    return base64.b64encode(bytes(data)).decode()


def mutations(tee, evidence):
    """Yield a name for each change, and what makes it."""
    if tee == "snp":
        report = evidence["attestation_report"]
        paths = list(leaves(report))
        if not LONG:
            # One of each field: of arrays, one element.
            seen: dict[tuple[str, ...], tuple[str | int, ...]] = {}
            for path in random.Random(3).sample(paths, len(paths)):
                seen.setdefault(tuple(name for name in path if isinstance(name, str)), path)
            paths = list(seen.values())
        for path in paths:
            if path[-1] == "fmc":
                # The member is of Turin alone: with it, the bytes mean something else.
                yield "/".join(map(str, path)), lambda e, p=path: changed(e, ("attestation_report", *p), lambda _: 9)
            else:
                yield "/".join(map(str, path)), lambda e, p=path: changed(e, ("attestation_report", *p), flip)
        for number in range(2):
            size = len(evidence["cert_chain"][number]["data"])
            for at in range(3, size, 97 if LONG else 501):
                path = ("cert_chain", number, "data", at)
                yield "/".join(map(str, path)), lambda e, p=path: changed(e, p, flip)
    elif tee == "tdx":
        # What follows the signed parts is the chain of certificates in PEM, where white space may change.
        whole = base64.b64decode(evidence["quote"])
        end = whole.index(b"-----BEGIN")
        for at in range(0, end, EVERY[tee] if LONG else 57):
            yield f"quote[{at}]", lambda e, a=at: changed(e, ("quote",), lambda text: flipped(text, a))
        for at in range(end + 100, len(whole) - 200, 61 if LONG else 997):
            if whole[at : at + 1].isalnum():
                yield f"quote[{at}]", lambda e, a=at: changed(e, ("quote",), lambda text: flipped(text, a))
    else:
        for at in range(0, len(evidence["token"]), EVERY[tee] if LONG else 83):
            yield f"token[{at}]", lambda e, a=at: changed(e, ("token", a), flip)


@pytest.mark.parametrize("tee", ["snp", "tdx", "cca"])
def test_every_field_counts(lab, tee):
    guest = lab.guest("w1", tee)
    assert guest.resource("w1/key/disk") == SECRET
    before = audit_of(lab.database)[-1]["number"]
    tried, accepted, failed = 0, [], []
    for name, change in mutations(tee, EVIDENCE[tee](bytes(48), "w1")):
        assert guest.request().status == 200
        document = guest.attestation()
        document["tee-evidence"]["primary_evidence"] = change(document["tee-evidence"]["primary_evidence"])
        answer = guest.answer(document)
        tried += 1
        if answer.status == 200:
            accepted.append(name)
        elif answer.status not in {400, 401}:
            failed.append((name, answer.status, answer.body))
        assert guest.ask("w1/key/disk").status == (200 if answer.status == 200 else 401)
    assert (accepted, failed) == ([], [])
    assert tried >= ({"snp": 600, "tdx": 180, "cca": 180}[tee] if LONG else 12)
    rows = [row for row in audit_of(lab.database) if row["number"] > before]
    assert {row["decision"] for row in rows} == {"refused"}
    assert {row["rule"] for row in rows} & {"allowed"} == set()


@pytest.mark.parametrize("member", ["nonce", "tee-pubkey", "additional_evidence", "init-data", "primary_evidence"])
def test_every_member_of_the_message_counts(lab, member):
    guest = lab.guest()
    guest.request()
    document = guest.attestation()
    match member:
        case "nonce":
            document["runtime-data"]["nonce"] = flipped(guest.nonce, 0)
        case "tee-pubkey":
            document["runtime-data"]["tee-pubkey"] = lab.guest().key.jwk
        case "additional_evidence":
            document["tee-evidence"]["additional_evidence"] = '{"nvidia":{}}'
        case "init-data":
            document["init-data"] = {"format": "toml", "body": 7}
        case _:
            document["tee-evidence"]["primary_evidence"] = [document["tee-evidence"]["primary_evidence"]]
    assert guest.answer(document).status in {400, 401}
    assert guest.ask("w1/key/disk").status == 401
