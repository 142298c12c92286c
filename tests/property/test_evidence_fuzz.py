"""Whatever the bytes, verifiers answer: with a verdict or an error of ours, in one line, and soon."""

from __future__ import annotations

import time
from functools import cache

import cbor2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.support.evidence import AT, BOOT, DATA, cca, cca_policy, snp, snp_policy, tdx, tdx_policy
from tests.support.evidence import given as files

from haulout.emulator import der as writer
from haulout.emulator.cca import sign
from haulout.emulator.tdx import TdxState
from haulout.errors import InvalidEvidence, InvalidPolicy
from haulout.tee import Verdict, parse_policy, verify
from haulout.tee import der as reader
from haulout.tee.cca import cbor
from haulout.tee.cca import parse as token
from haulout.tee.certificates import read_bundle
from haulout.tee.revocation import read_revocation_list
from haulout.tee.tdx import documents
from haulout.tee.verdict import Refused

SECONDS = 2.0
CASES = settings(max_examples=150, deadline=None)


@cache
def seeds() -> dict[str, bytes]:
    return {
        "snp": snp().report(DATA, BOOT),
        "tdx 4": tdx().quote(DATA, BOOT),
        "tdx 5": tdx().quote(DATA, BOOT, TdxState(version=5, body=3)),
        "cca": cca().token(DATA, BOOT),
        "pem": snp().certificates(),
        "collateral": tdx().collateral(AT),
        "policy": b'schema = 1\n[snp]\nproducts = ["Genoa"]\n[tdx]\nmrtd = ["' + b"ab" * 48 + b'"]\n[cca]\n',
    }


EVIDENCE = ["snp", "tdx 4", "tdx 5", "cca"]


def one_line(error):
    assert str(error).isprintable()
    assert len(str(error)) < 400


def judge(data, certificates=(), collateral=(), policy=None):
    begin = time.monotonic()
    try:
        verdict = verify(data, at=AT, certificates=files(*certificates), collateral=files(*collateral), policy=policy)
    except InvalidEvidence as error:
        one_line(error)
    else:
        assert isinstance(verdict, Verdict)
        if verdict.refusal is not None:
            assert verdict.refusal.reason.isprintable()
            assert len(verdict.refusal.reason) < 400
        assert (verdict.refusal is None) is verdict.accepted
    assert time.monotonic() - begin < SECONDS


def changed(data, edits, cut):
    found = bytearray(data)
    for place, value in edits:
        at = place % max(1, len(found))
        found[at : at + len(value)] = value
    return bytes(found[:cut])


EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=9)), max_size=5)
CUT = st.none() | st.integers(0, 5000)


@CASES
@given(
    data=st.binary(max_size=2000),
    head=st.sampled_from([b"", b"\xd9\x01\x8f", b"\4\0\2\0\x81\0\0\0", b"\5\0\2\0\x81\0\0\0"]),
)
def test_random_bytes(data, head):
    judge(head + data)


@CASES
@given(seed=st.sampled_from(EVIDENCE), edits=EDITS, cut=CUT)
def test_real_layouts_with_fields_overwritten(seed, edits, cut):
    policy = {"snp": snp_policy, "cca": cca_policy}.get(seed, tdx_policy)()
    chain = {"snp": snp().certificates(), "cca": cca().certificates()}.get(seed)
    collateral = () if chain else (seeds()["collateral"],)
    judge(changed(seeds()[seed], edits, cut), (chain,) if chain else (), collateral, policy)


@CASES
@given(kind=st.sampled_from(EVIDENCE), seed=st.sampled_from(["pem", "collateral", "policy"]), edits=EDITS, cut=CUT)
def test_certificates_and_collateral_overwritten(kind, seed, edits, cut):
    junk = changed(seeds()[seed], edits, cut)
    judge(seeds()[kind], (junk,), (), None)
    judge(seeds()[kind], (snp().certificates(),), (junk,), None)


@CASES
@given(edits=EDITS, cut=CUT)
def test_certificates_in_der_overwritten(edits, cut):
    whole = read_bundle(snp().vcek.pem(), "x")[0].der
    try:
        read_bundle(changed(whole, edits, cut), "x")
    except (InvalidEvidence, Refused) as error:
        one_line(error)


@CASES
@given(edits=EDITS, cut=CUT)
def test_revocation_lists_overwritten(edits, cut):
    from haulout.emulator import authorities

    whole = authorities.revoke(tdx().root, (5, 6, 7), AT)
    try:
        read_revocation_list(changed(whole, edits, cut), "x")
    except InvalidEvidence as error:
        one_line(error)


@CASES
@given(data=st.binary(max_size=400), edits=EDITS, cut=CUT, whole=st.booleans())
def test_policies_overwritten(data, edits, cut, whole):
    text = changed(seeds()["policy"], edits, cut) if whole else data
    try:
        parse_policy(text)
    except InvalidPolicy as error:
        one_line(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["UpToDate", "00" * 16, "TDX"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@CASES
@given(
    which=st.sampled_from(["info", "identity"]),
    changes=st.dictionaries(
        st.sampled_from(
            ["id", "version", "issueDate", "fmspc", "tdxModule", "tdxModuleIdentities", "tcbLevels", "attributes"]
        ),
        JSON,
        max_size=3,
    ),
)
def test_documents_with_members_of_any_type(which, changes):
    import json

    from haulout.emulator.tdx import default_identity, default_info

    read, whole = (
        (documents.tcb_info, default_info(AT)) if which == "info" else (documents.qe_identity, default_identity(AT))
    )
    try:
        read(json.dumps(whole | changes).encode())
    except InvalidEvidence as error:
        one_line(error)


VALUES = st.recursive(
    st.integers() | st.binary(max_size=70) | st.text(max_size=5) | st.none() | st.booleans() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=4)
        | st.builds(cbor2.CBORTag, st.sampled_from([0, 2, 4, 18, 24, 28, 29, 35, 258, 399]), inner)
    ),
    max_leaves=12,
)
KNOWN = st.sampled_from([10, 256, 265, 2395, 2396, 2399, 2401, 44235, 44237, 44238, 44239, 44240])


@CASES
@given(platform=st.dictionaries(KNOWN, VALUES, max_size=4), realm=st.dictionaries(KNOWN, VALUES, max_size=4))
def test_claims_of_any_type(platform, realm):
    from haulout.emulator.cca import CcaState

    try:
        data = cca().token(DATA, BOOT, CcaState(platform=platform, realm=realm))
    except (cbor2.CBORError, ValueError, TypeError, OverflowError):
        assume(False)
    judge(data, (cca().certificates(),), (), cca_policy())


@CASES
@given(value=VALUES)
def test_any_cbor_in_place_of_a_token(value):
    try:
        data = cbor2.dumps(value)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError):
        assume(False)
    judge(b"\xd9\x01\x8f" + data)
    part = sign({1: 2}, cca().cpak.signing_key)
    judge(cbor2.dumps(cbor2.CBORTag(token.TOKEN, {token.PLATFORM: data, token.REALM: part})))


PLAIN = st.recursive(
    st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(-9, 9), inner, max_size=4),
    max_leaves=6,
)


@CASES
@given(PLAIN)
def test_plain_cbor_comes_back(value):
    data = cbor2.dumps(value)
    try:
        assert cbor.loads(data, "x") == value
    except InvalidEvidence:
        # Deeper than any token.
        assert str(value).count("[") + str(value).count("{") >= cbor.MAX_DEPTH
    with pytest.raises(InvalidEvidence):
        cbor.loads(data + b"\0", "x")


@CASES
@given(st.binary(max_size=300))
def test_the_reader_of_der_raises_one_error(data):
    try:
        value = reader.parse(data)
        for read in (value.integer, value.text, value.name, lambda: reader.pairs(value)):
            try:
                read()
            except reader.NotDer as error:
                one_line(error)
        assert writer.value(value.tag, value.content) == data
    except reader.NotDer as error:
        one_line(error)


@CASES
@given(
    number=st.integers(0, 1 << 80),
    text=st.text(st.characters(max_codepoint=127), max_size=200),
    octets=st.binary(max_size=300),
    arcs=st.lists(st.integers(0, 1 << 40), max_size=6),
)
def test_what_is_written_in_der_is_read(number, text, octets, arcs):
    dotted = ".".join(map(str, (1, 3, *arcs)))
    assert reader.parse(writer.integer(number)).integer() == number
    assert reader.parse(writer.text(text)).text() == text
    assert reader.parse(writer.octets(octets)).expect(reader.OCTET_STRING) == octets
    assert reader.parse(writer.name(dotted)).name() == dotted
    pair = writer.sequence(writer.name(dotted), writer.integer(number))
    assert reader.pairs(reader.parse(writer.sequence(pair)))[dotted].integer() == number


def test_the_kinds_are_told_apart():
    kinds = {"snp": "snp", "tdx 4": "tdx", "tdx 5": "tdx", "cca": "cca"}
    for seed, kind in kinds.items():
        assert verify(seeds()[seed], at=AT).kind == kind
