"""Sized digests in annotations."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import InvalidManifest
from haulout.oci import Digest, SizedDigest

HEX = hashlib.sha256(b"x").hexdigest()


@given(st.integers(0, 10**18))
def test_a_sized_digest_round_trips(size):
    value = SizedDigest(Digest(HEX), size)
    assert value == SizedDigest.parse(str(value), "key")


@pytest.mark.parametrize(
    "text", ["", f"sha256:{HEX}", f"sha256:{HEX} 01", f"sha256:{HEX} -1", f"sha256:{HEX}  1", "x 1"]
)
def test_a_malformed_sized_digest_names_its_annotation(text):
    with pytest.raises(InvalidManifest, match=r"io\.example"):
        SizedDigest.parse(text, "io.example")
