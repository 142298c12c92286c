"""Platforms and the names of architectures: closed grammars."""

from __future__ import annotations

import pytest

from haulout.errors import InvalidManifest, InvalidPlatform
from haulout.oci import Architecture, Platform


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
