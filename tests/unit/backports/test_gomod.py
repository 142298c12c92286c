"""What go.mod and vendor/modules.txt pin."""

from __future__ import annotations

import pytest

from haulout.backports.gomod import GoMod, Version, pseudo_version, vendored

OID = "5a550b6fe26068dd1d5d1e1b6ac0b8a2b9d5f0aa"

GO_MOD = """\
module example.com/cri-o // the consumer

go 1.21
require example.com/one v1.0.0
require (
\texample.com/common v0.53.1-0.20231206103011-0123456789ab // indirect
\t"example.com/quoted" v1.2.3+incompatible
)
exclude example.com/one v0.9.0
replace example.com/one => ../one
replace (
\texample.com/common v0.53.1-0.20231206103011-0123456789ab => example.com/fork/common v0.53.2
\texample.com/common => example.com/fork/common v0.53.1
)
"""


def test_go_mod_says_what_is_pinned():
    gomod = GoMod.parse(GO_MOD)
    assert gomod.module == "example.com/cri-o"
    found = gomod.required("example.com/common")
    assert found is not None
    assert (found.version, found.indirect) == ("v0.53.1-0.20231206103011-0123456789ab", True)
    assert gomod.required("example.com/comm") is None
    quoted = gomod.required("example.com/quoted")
    assert quoted is not None
    assert quoted.version == "v1.2.3+incompatible"
    for version, new in ((found.version, "v0.53.2"), ("v1", "v0.53.1")):
        replaced = gomod.replacement("example.com/common", version)
        assert replaced is not None
        assert replaced.new_version == new
    local = gomod.replacement("example.com/one", "v1.0.0")
    assert local is not None
    assert local.local


@pytest.mark.parametrize(
    ("text", "commit", "base"),
    [
        ("v0.0.0-20231206103011-0123456789ab", "0123456789ab", None),
        ("v0.53.1-0.20231206103011-0123456789ab", "0123456789ab", "v0.53.0"),
        ("v2.0.0-rc.1.0.20231206103011-0123456789ab", "0123456789ab", "v2.0.0-rc.1"),
        ("v5.0.1-0.20231206103011-0123456789ab+incompatible", "0123456789ab", "v5.0.0"),
        ("v0.53.0", None, None),
        ("v1.2.3-rc.1", None, None),
        ("v0.0.0-20239999999999-0123456789ab", None, None),
    ],
)
def test_versions_of_commits(text, commit, base):
    found = Version.parse(text)
    assert (found.commit, found.base) == (commit, base)
    assert (found.tag is None) is (commit is not None)


def test_versions_of_commits_are_made_as_go_makes_them():
    when = 1701858611
    assert pseudo_version(None, OID, when) == "v0.0.0-20231206103011-5a550b6fe260"
    assert pseudo_version("v0.53.0", OID, when) == "v0.53.1-0.20231206103011-5a550b6fe260"
    assert pseudo_version("v2.0.0-rc.1", OID, when) == "v2.0.0-rc.1.0.20231206103011-5a550b6fe260"


def test_modules_txt():
    text = "# a v1\n## explicit\na/x\n# b v2 => ../b\n# c v3 => d v4\n# e\n"
    assert vendored(text) == {"a": ("v1", None), "b": ("v2", "../b"), "c": ("v3", "d v4")}
