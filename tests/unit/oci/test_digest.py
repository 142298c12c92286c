"""Digests: one form, and that of their bytes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import InvalidDigest
from haulout.oci import Digest

HEX = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"SHA256:{HEX}",
        f"sha256:{HEX.upper()}",
        f"sha512:{HEX}{HEX}",
        "sha256:../../../../etc/passwd",
        f"sha256:{HEX[:-3]}/..",
        "sha256:" + "\u0660" * 64,
    ],
)
def test_only_the_one_form_of_a_digest_is_accepted(text):
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


def test_a_digest_cannot_be_built_around_its_grammar():
    for text in ("", "..", HEX.upper(), HEX + "\n", HEX[:-1] + "/"):
        with pytest.raises(InvalidDigest):
            Digest(text)


@given(st.binary())
def test_a_digest_is_that_of_its_bytes(data):
    digest = Digest.of(data)
    assert digest == Digest.parse(str(digest))
    assert digest.raw == hashlib.sha256(data).digest()
    assert digest.hex.startswith(digest.short)
