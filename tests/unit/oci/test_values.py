"""Digests, sized digests, platforms: closed grammars."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import InvalidDigest, InvalidManifest, InvalidPlatform
from haulout.oci import Architecture, Digest, Platform, SizedDigest

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


@pytest.mark.parametrize(
    ("text", "kernel", "go"),
    [
        ("amd64", "x86_64", "amd64"),
        ("X86_64", "x86_64", "amd64"),
        ("arm64", "aarch64", "arm64"),
        ("aarch64", "aarch64", "arm64"),
        ("riscv64", "riscv64", "riscv64"),
        ("s390x", "s390x", "s390x"),
        ("386", "i686", "386"),
        ("arm", "armv7l", "arm"),
    ],
)
def test_both_families_of_names_mean_one_architecture(text, kernel, go):
    found = Architecture.parse(text)
    assert (kernel, go) == (found.value, found.go)
    assert found is Architecture.parse(found.go)


def test_an_unknown_architecture_is_answered_with_the_known_ones():
    with pytest.raises(InvalidPlatform) as caught:
        Architecture.parse("z80")
    assert "x86_64 (amd64)" in (caught.value.hint or "")


def test_kernel_names_tell_disks_from_containers():
    assert Platform("x86_64", "linux").is_kernel_named
    assert not Platform("amd64", "linux").is_kernel_named
    assert not Platform("riscv64", "linux").is_kernel_named
    assert not Platform("unknown", "unknown").is_kernel_named


def test_a_platform_keeps_what_it_does_not_read():
    document = {"architecture": "arm64", "os": "windows", "os.version": "10", "os.features": ["a"], "variant": "v8"}
    assert document == Platform.from_json(document, "p").to_json()


@pytest.mark.parametrize("value", [[], "x", {"architecture": 1}, {"os": None}, {"variant": []}])
def test_a_malformed_platform_is_refused(value):
    with pytest.raises(InvalidManifest, match="platform"):
        Platform.from_json(value, "manifests[3].platform")
