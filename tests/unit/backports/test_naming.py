"""Names of consumers, release branches, files of code and packages."""

from __future__ import annotations

import pytest

from haulout.backports.naming import Consumer, is_code, purl, serves
from haulout.errors import UsageError

OID = "5a550b6fe26068dd1d5d1e1b6ac0b8a2b9d5f0aa"


def test_consumers_have_a_name_and_a_version():
    assert Consumer.parse("crio-1.27").branch == "crio-1.27"
    assert Consumer.parse("podman-v5.8", rhel=True).branch == "podman-5.8-rhel"
    assert Consumer.parse("podman-5.8-rhel") == Consumer("podman", "5.8", True)
    assert Consumer.parse("cri-o-1.27.1") == Consumer("cri-o", "1.27.1")
    for wrong in (
        "",
        "crio",
        "1.27",
        "crio-1",
        "-crio-1.27",
        "crio 1.27",
        "crio-1.27;rm",
        "../crio-1.27",
        "crio-1.27-x",
        "Crio-1.27",
        "crio--1.27",
    ):
        with pytest.raises(UsageError):
            Consumer.parse(wrong)


@pytest.mark.parametrize(
    ("branch", "tag", "expected"),
    [
        ("v0.53", "v0.53.0", True),
        ("release-0.53", "v0.53.4", True),
        ("release/v0.53", "v0.53.0", True),
        ("0.53.x", "0.53.1", True),
        ("v5.8-rhel", "v5.8.0", True),
        ("release-1.55", "v1.55.0-rc1", True),
        ("common/release-0.65", "common/v0.65.0", True),
        ("release-common/v0.65", "common/v0.65.0", True),
        ("stable-1.2", "v1.2.3", True),
        ("v0.5", "v0.53.0", False),
        ("v0.533", "v0.53.0", False),
        ("crio-1.27", "v1.27.0", False),
        ("main", "v0.53.0", False),
        ("v0.53", "nightly", False),
        ("v0.65", "common/v0.65.0", False),
        ("feature-0.53", "v0.53.0", False),
    ],
)
def test_release_branches_are_known_by_name(branch, tag, expected):
    assert serves(branch, tag) is expected


def test_code_is_told_from_tests_and_documents():
    for path in ("a.go", "pkg/x/y.c", "Makefile", "contest/main.go", "latest.py"):
        assert is_code(path), path
    for path in (
        "a_test.go",
        "tests/x.sh",
        "docs/a.1",
        "README.md",
        "test_a.py",
        "x/testdata/y",
        "a.bats",
        "a.test.js",
    ):
        assert not is_code(path), path


def test_package_urls():
    assert (
        purl("example.com/a/b", "v1.0.0+incompatible", None, OID) == "pkg:golang/example.com/a/b@v1.0.0%2Bincompatible"
    )
    assert purl("lib", "1.0", "https://example.com/lib.git", OID).startswith(
        "pkg:generic/lib@1.0?vcs_url=git%2Bhttps%3A%2F%2F"
    )
    assert purl("lib", "1.0", "https://user:secret@example.com/lib.git", OID) == "pkg:generic/lib@1.0"
