"""The decisions of backports: messages, names, verdicts, lines followed through changes."""

from __future__ import annotations

import pytest

from haulout.backports.followups import Hunk, Span, hunks, track
from haulout.backports.gomod import GoMod, Version, pseudo_version, vendored
from haulout.backports.model import Content, State
from haulout.backports.names import is_code
from haulout.backports.naming import Consumer, serves
from haulout.backports.objects import GITLINK, SYMLINK, Entry
from haulout.backports.probe import Answer, Question, compare, summed
from haulout.backports.purl import purl
from haulout.backports.stale_names import is_upkeep, mentions
from haulout.backports.trailers import (
    Citation,
    fixed,
    identifiers,
    reverted,
    reverted_subject,
    sources,
    subject_key,
)
from haulout.backports.trailers import (
    mentions as message_mentions,
)
from haulout.backports.verdict import Facts, best, joined, judged
from haulout.errors import UsageError

OID = "5a550b6fe26068dd1d5d1e1b6ac0b8a2b9d5f0aa"


@pytest.mark.parametrize(
    ("message", "signal"),
    [
        (f"Mend\n\n(cherry picked from commit {OID})", "trailer"),
        (f"Mend\n\n(cherry-picked from commit {OID})\nSigned-off-by: B", "trailer"),
        (f"Mend\n\n(backported from commit {OID[:12]})", "trailer"),
        (f"Mend\n\ncommit {OID} upstream.\n", "note"),
        (f"Mend\n\n[ Upstream commit {OID} ]\n", "note"),
        (f"Mend\n\nUpstream-commit: {OID}", "note"),
        (f"Mend\n\nOrigin: backport, https://example.com/x, commit:{OID}", "note"),
    ],
)
def test_messages_name_their_source(message, signal):
    (found,) = sources(message)
    assert found.signal == signal
    assert OID.startswith(found.oid)


def test_a_message_may_name_several_and_none_is_made_up():
    assert sources(f"x\n\n(cherry picked from commit {OID})\n(cherry picked from commit {'b' * 40})") == (
        Citation("trailer", OID),
        Citation("trailer", "b" * 40),
    )
    assert sources("See commit 1234567 for more; picked up the phone") == ()
    assert sources(f"commit {OID} upstream has a bug") == ()


def test_reverts_and_fixes():
    assert reverted(f'Revert "x"\n\nThis reverts commit {OID}.') == (OID,)
    assert reverted("Revert the logic") == ()
    assert reverted_subject('Revert "[crio-1.28] x"\n\nIt broke y.') == "[crio-1.28] x"
    assert reverted_subject('[crio-1.28] Revert "x"') == "x"
    assert reverted_subject(f'Revert "x"\n\nThis reverts commit {OID}.') is None
    assert reverted_subject("Reverting is hard") is None
    assert fixed(f"x\n\nFixes: {OID[:12]} (y)") == (OID[:12],)
    assert fixed("Fixes: #1234567") == ()
    assert message_mentions(f"follows up {OID[:12]}", OID)
    assert not message_mentions(f"follows up {OID[:7]}", OID)


def test_identifiers_are_written_officially():
    text = "fix cve-2024-9341, GHSA-MC76-5925-C5P6 and GO-2024-3169; not CVE-24-1 or GHSA-aaaa"
    assert identifiers(text) == ("CVE-2024-9341", "GHSA-mc76-5925-c5p6", "GO-2024-3169")


@pytest.mark.parametrize(
    "subject",
    [
        "Resolve paths",
        "[crio-1.27] Resolve paths",
        "[release-0.53] [crio-1.27] resolve  paths.",
        "Backport: Resolve paths",
        "Resolve paths (#1234)",
        "[x]Resolve paths (#1) (#2)",
        "Resolve paths (containers/common#12)",
    ],
)
def test_subjects_are_compared_without_what_backports_add(subject):
    assert subject_key(subject) == "resolve paths"


def test_consumers_have_a_name_and_a_version():
    assert Consumer.parse("crio-1.27").branch == "crio-1.27"
    assert Consumer.parse("podman-v5.8", rhel=True).branch == "podman-5.8-rhel"
    assert Consumer.parse("podman-5.8-rhel") == Consumer("podman", "5.8", True)
    assert str(Consumer.parse("cri-o-1.27.1")) == "cri-o 1.27.1"
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


A, B, C = Entry("100644", "a" * 40), Entry("100644", "b" * 40), Entry("100644", "c" * 40)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ((A, A, B), Answer.CHANGED),
        ((A, B, B), Answer.SAME),
        ((A, C, B), None),
        ((None, None, B), Answer.CREATED),
        ((None, B, B), Answer.SAME),
        ((None, C, B), Answer.CONFLICT),
        ((A, None, B), Answer.ABSENT),
        ((A, None, None), Answer.ABSENT),
        ((A, A, None), Answer.CHANGED),
        ((A, C, None), Answer.CONFLICT),
        ((A, Entry(SYMLINK, "c" * 40), B), Answer.CONFLICT),
        ((Entry(GITLINK, "a" * 40), Entry(GITLINK, "c" * 40), Entry(GITLINK, "b" * 40)), Answer.CONFLICT),
    ],
)
def test_ids_alone_answer_most_questions(question, answer):
    assert compare(Question(*question)) is answer


@pytest.mark.parametrize(
    ("answers", "content"),
    [
        ({"a.go": Answer.SAME}, Content.SAME),
        ({"a.go": Answer.SAME, "a_test.go": Answer.CONFLICT}, Content.SAME),
        ({"a.go": Answer.SAME, "b.go": Answer.ABSENT}, Content.SAME),
        ({"a.go": Answer.SAME, "b.go": Answer.CHANGED}, Content.APPLIES),
        ({"a.go": Answer.CHANGED, "a_test.go": Answer.CONFLICT}, Content.CONFLICTS),
        ({"a.go": Answer.CHANGED, "b.go": Answer.ABSENT}, Content.APPLIES),
        ({"a.go": Answer.ABSENT, "a_test.go": Answer.CREATED}, Content.ABSENT),
        ({"a.go": Answer.CREATED}, Content.APPLIES),
        ({"README.md": Answer.SAME}, Content.SAME),
        ({"README.md": Answer.CONFLICT}, Content.CONFLICTS),
        ({"a.go": Answer.CONFLICT, "b.go": Answer.UNKNOWN}, Content.UNKNOWN),
    ],
)
def test_files_are_summed_up(answers, content):
    assert summed(answers) is content


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


def fact(
    content: Content,
    *,
    own: Content | None = None,
    standing: bool = False,
    undone: bool = False,
    introduced: bool = True,
) -> Facts:
    return Facts(content, own, standing, undone, introduced)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (fact(Content.SAME), State.PRESENT),
        (fact(Content.SAME, undone=True), State.PRESENT),
        (fact(Content.APPLIES), State.APPLIES),
        (fact(Content.CONFLICTS), State.CONFLICTS),
        (fact(Content.ABSENT), State.NOT_AFFECTED),
        (fact(Content.UNKNOWN), State.UNKNOWN),
        (fact(Content.CONFLICTS, own=Content.CONFLICTS, standing=True), State.PRESENT),
        (fact(Content.APPLIES, own=Content.CONFLICTS, standing=True), State.PRESENT),
        (fact(Content.APPLIES, own=Content.APPLIES, standing=True), State.REVERTED),
        (fact(Content.UNKNOWN, standing=True), State.PRESENT),
        (fact(Content.APPLIES, own=Content.APPLIES, undone=True), State.REVERTED),
        (fact(Content.CONFLICTS, own=Content.CONFLICTS, undone=True), State.REVERTED),
        (fact(Content.ABSENT, undone=True), State.NOT_AFFECTED),
        (fact(Content.APPLIES, introduced=False), State.NOT_AFFECTED),
    ],
)
def test_content_is_truth_and_history_where_content_cannot_tell(facts, state):
    assert judged(facts) is state


def test_one_form_that_is_there_is_enough():
    assert best([Content.CONFLICTS, Content.SAME, Content.APPLIES]) is Content.SAME
    assert best([Content.ABSENT, Content.CONFLICTS]) is Content.CONFLICTS
    assert best([]) is Content.UNKNOWN


P, R, M, X, N, U = State.PRESENT, State.REVERTED, State.APPLIES, State.CONFLICTS, State.NOT_AFFECTED, State.UNKNOWN


@pytest.mark.parametrize(
    ("whole", "units", "state"),
    [
        (None, [M], M),
        (Content.SAME, [X, P], P),
        (Content.APPLIES, [M, X], M),
        (Content.CONFLICTS, [M, X], X),
        (Content.APPLIES, [P, M], M),
        (None, [P, P], P),
        (None, [P, N], P),
        (None, [N, N], N),
        (Content.CONFLICTS, [P, R], R),
        (None, [P, U], U),
        (Content.SAME, [N, M], M),
    ],
)
def test_a_series_is_asked_as_a_whole_first(whole, units, state):
    assert joined(whole, units) is state


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


def test_package_urls():
    assert (
        purl("example.com/a/b", "v1.0.0+incompatible", None, OID) == "pkg:golang/example.com/a/b@v1.0.0%2Bincompatible"
    )
    assert purl("lib", "1.0", "https://example.com/lib.git", OID).startswith(
        "pkg:generic/lib@1.0?vcs_url=git%2Bhttps%3A%2F%2F"
    )
    assert purl("lib", "1.0", "https://user:secret@example.com/lib.git", OID) == "pkg:generic/lib@1.0"


def test_lines_are_followed_through_changes():
    spans = [Span(10, 12)]
    assert track(spans, [Hunk(1, 2, 1, 5)]) == ([Span(13, 15)], False)
    assert track(spans, [Hunk(20, 1, 20, 0)]) == (spans, False)
    assert track(spans, [Hunk(11, 1, 11, 1)]) == ([], True)
    assert track(spans, [Hunk(9, 0, 10, 3)]) == ([Span(13, 15)], False)
    assert track(spans, [Hunk(12, 0, 13, 3)]) == (spans, False)
    assert track(spans, [Hunk(11, 0, 12, 3)]) == ([], True)
    assert hunks("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-a\n+b\n+c\n@@ -9,0 +11 @@\n") == {
        "x": [Hunk(1, 1, 1, 2), Hunk(9, 0, 11, 1)]
    }
    assert hunks("--- /dev/null\n+++ b/new\n@@ -0,0 +1,3 @@\n") == {"new": [Hunk(0, 0, 1, 3)]}


CI = """\
env:
  DEST_BRANCH: "main"
  SKOPEO_CI_BRANCH: 'main'  # other project
  GOOD_BRANCH: crio-1.31
on:
  push:
    branches: [main, release-*]
  pull_request:
    branches:
      - main
      - v0.57
  other:
    branches:
      - main
      - crio-*
name: main
"""


def test_files_that_name_another_branch():
    known = {"main", "v0.57", "crio-1.30"}
    found = mentions(".cirrus.yml", CI, "crio-1.31", known)
    assert [(one.line, one.branch) for one in found] == [
        (2, "main"),
        (3, "main"),
        (7, "main"),
        (10, "main"),
        (11, "v0.57"),
    ]
    owners = mentions(
        "OWNERS", "# approvers of crio-1.30\napprovers:\n  - main\n# see the main branch.\n", "crio-1.31", known
    )
    assert [(one.line, one.branch) for one in owners] == [(1, "crio-1.30"), (4, "main")]
    assert mentions("OWNERS", "# approvers of crio-1.31\n", "crio-1.31", known) == []


def test_upkeep_is_what_each_branch_has_of_its_own():
    assert all(map(is_upkeep, ("OWNERS", "pkg/OWNERS", ".cirrus.yml", ".github/workflows/ci.yml")))
    assert not any(map(is_upkeep, ("main.go", "owners.go", "pkg/x.yml")))
