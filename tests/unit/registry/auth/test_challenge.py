"""WWW-Authenticate is written by servers of every kind; nothing in it may surprise us."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.registry.auth.authorizer import choose
from haulout.registry.auth.challenge import MAX_HEADER, Challenge, parse_challenges

_TOKEN = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=12)
_VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
_PARAMETERS = st.dictionaries(_TOKEN.map(str.lower), _VALUE, min_size=1, max_size=4)


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.tuples(_TOKEN, _PARAMETERS), min_size=1, max_size=3), st.sampled_from([", ", ",", " , "]))
def test_reads_back_every_challenge_that_can_be_written(offers, comma):
    header = comma.join(f"{scheme} " + comma.join(f"{k}={_quote(v)}" for k, v in p.items()) for scheme, p in offers)

    assert parse_challenges([header]) == tuple(Challenge(scheme.lower(), p) for scheme, p in offers)


@given(st.lists(st.text(max_size=200), max_size=3))
def test_never_fails_on_nonsense(headers):
    for challenge in parse_challenges(headers):
        assert challenge.scheme
        choose([challenge])


def test_reads_the_headers_of_real_registries():
    hub = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'
    (challenge,) = parse_challenges([hub])

    assert challenge.scheme == "bearer"
    assert challenge.parameters["realm"] == "https://auth.docker.io/token"
    assert challenge.scopes == {"repository:a/b:pull,push"}
    assert parse_challenges(["Basic"]) == (Challenge("basic"),)
    assert parse_challenges(["Basic realm=plain"])[0].parameters == {"realm": "plain"}


def test_a_token68_does_not_swallow_the_challenge_after_it():
    found = parse_challenges(['Negotiate dG9rZW4==, Basic realm="x"'])

    assert [one.scheme for one in found] == ["negotiate", "basic"]
    assert found[1].parameters == {"realm": "x"}


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        (['Basic realm="b", Bearer realm="https://a/t"'], "bearer"),
        (['Basic realm="b"', 'Bearer realm="https://a/t"'], "bearer"),
        (['Bearer service="no realm", Basic realm="b"'], "basic"),
        (['Digest realm="d"'], None),
        ([], None),
    ],
)
def test_chooses_what_it_can_answer(headers, scheme):
    chosen = choose(parse_challenges(headers))

    assert (chosen[1].scheme if chosen else None) == scheme
    assert (chosen[0].name if chosen else None) == scheme


def test_sees_that_a_scope_is_missing():
    (challenge,) = parse_challenges(['Bearer realm="r",error="insufficient_scope",scope="a b"'])

    assert challenge.is_insufficient_scope
    assert challenge.scopes == {"a", "b"}


def test_a_giant_header_is_cut():
    assert len(parse_challenges(["Basic, " * MAX_HEADER])) <= MAX_HEADER // len("Basic, ") + 1
    assert parse_challenges(['Bearer realm="' + "a\\" * MAX_HEADER]) is not None
