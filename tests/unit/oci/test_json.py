"""Strict JSON: every document that two readers could read differently is refused, with one line."""

from __future__ import annotations

import contextlib
import json as stdlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import InvalidManifest
from haulout.oci import json


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"null", "object is expected"),
        (b"[]", "object is expected"),
        (b'{"a":1}x', "not JSON"),
        (b'{"a":1}{"a":1}', "not JSON"),
        (b'{"a":1,"a":1}', "'a' occurs twice"),
        (b'{"x":{"a":1,"\\u0061":2}}', "'a' occurs twice"),
        (b'{"a":1.0}', "not an integer"),
        (b'{"a":1e3}', "not an integer"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "-Infinity"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"  \n<HTML>", "HTML"),
        (b"<?xml version='1.0'?>", "HTML or XML"),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "deeper than 32"),
        (b"[" * 4_000_000, "deeper than 32"),
        (b"{" + b" " * json.MAX_MANIFEST_BYTES + b"}", "at most 4194304"),
    ],
)
def test_refuses(data, reason):
    with pytest.raises(InvalidManifest, match=reason) as caught:
        json.loads(data, "the index")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the index is not a valid manifest")


def test_html_gets_a_hint_at_the_proxy():
    with pytest.raises(InvalidManifest) as caught:
        json.loads(b"<html>login", "x")
    assert "proxy" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "hard",
    [
        b'{"a":"' + b'\\"' * 2_000_000 + b'"}',
        b'"' * 4_000_000,
        b'{"a":"' + b"\\" * 4_000_000,
        b'{"a":[' + b'"x",' * 1_000_000 + b'"x"]}',
        b"{" + b",".join(b'"%d":1' % number for number in range(350_000)) + b"}",
        b"{" + b",".join(b'"%d":1' % number for number in range(350_000)) + b',"349999":1}',
    ],
)
def test_the_hardest_4_mib_take_a_moment_not_a_minute(hard):
    began = time.monotonic()
    with contextlib.suppress(InvalidManifest):
        json.loads(hard[: json.MAX_MANIFEST_BYTES], "x")
    assert time.monotonic() - began < 10


def test_brackets_in_strings_are_no_depth():
    assert json.loads(b'{"a":"' + b"[{" * 100 + b'\\"["}', "x")["a"].startswith("[{")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), _VALUES, max_size=5))
def test_an_honest_object_survives_the_round_trip(document):
    try:
        data = json.dumps(document)
    except UnicodeEncodeError:
        return
    assert document == json.loads(data, "x") == stdlib.loads(data)


@given(st.binary(max_size=60) | st.text('{}[]":,0-eE.tn\\u ', max_size=60).map(str.encode))
def test_any_bytes_parse_or_are_refused(data):
    try:
        document = json.loads(data, "x")
    except InvalidManifest:
        return
    assert document == stdlib.loads(data)
