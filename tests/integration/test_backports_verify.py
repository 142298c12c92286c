"""``backport verify`` and ``backport fixes``: what a consumer pins, what it vendors, and what a release brings."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from tests.support.libraries import ANNA, CVE, FILE, Lab, Vendoring, pseudo, source, vendor, vendoring

from haulout.backports.fixes import fixes, version_of
from haulout.backports.model import State
from haulout.backports.repository import open_repository
from haulout.backports.verify import Verdict, VerifyResult, split_consumer, verify
from haulout.cli.backport.fixes import lines
from haulout.errors import NotFoundError, UsageError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return vendoring(tmp_path_factory.mktemp("fixture"))


@pytest.fixture
def made(built, tmp_path):
    """A copy of fixture 3."""
    for name in ("common", "cri-o"):
        shutil.copytree(built.consumer.path.parent / name, tmp_path / name, symlinks=True)
    library = replace(built.library, lab=Lab(tmp_path / "common", built.library.lab.clock))
    return Vendoring(library, Lab(tmp_path / "cri-o", built.consumer.clock))


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "ledgers" / "backports.toml"
    path.parent.mkdir()
    path.write_text(
        "".join(
            f'[[branch]]\nlibrary = "library/common"\nname = "crio-1.{number}"\nbase = "v0.52.0"\nconsumer = "crio"\n'
            f'consumer-version = "1.{number}"\nconsumer-branch = "release-1.{number}"\n'
            for number in range(24, 31)
        )
    )
    return path


def verdicts(found: VerifyResult) -> dict[str, str]:
    return {check.name: str(check.verdict) for check in found.checks}


def attributions(found: VerifyResult, name: str) -> str:
    return next(check.text for check in found.checks if check.name == name)


class TestVerify:
    @pytest.mark.parametrize("number", range(25, 31))
    def test_a_consumer_at_the_tip_of_its_branch(self, made, book, number):
        found = verify(made.library.lab.path, made.consumer.path, f"release-1.{number}", ledger=book)
        assert found.good, found.checks
        assert verdicts(found) == dict.fromkeys(("pin", "commit", "version", "branch", "modules", "vendor"), "ok")
        assert (found.branch, found.behind) == (f"crio-1.{number}", ())
        assert found.pin.commit == made.library.lab.git("rev-parse", f"crio-1.{number}")
        assert found.vendored is not None
        assert (found.vendored.files, found.vendored.same) == (2, 2)

    def test_one_that_lags_by_an_owners_commit(self, made, book):
        found = verify(made.library.lab.path, made.consumer.path, "release-1.24", ledger=book)
        assert [one.subject for one in found.behind] == ["[crio-1.24] Name the owners"]
        assert found.good
        assert "1 commit behind" in attributions(found, "branch")

    def test_patches_in_the_tree_are_shown(self, made, book):
        lab = made.library.lab
        made.consumer.switch("release-1.24")
        vendor(
            made,
            lab.git("rev-parse", "crio-1.24"),
            "v0.52.0",
            changed={FILE: source(52, safe=True), "extra.go": "package common\n"},
        )
        found = verify(lab.path, made.consumer.path, "release-1.24", ledger=book)
        assert not found.good
        assert found.vendored is not None
        assert (found.vendored.patched, found.vendored.extra) == ((FILE,), ("extra.go",))
        assert "+\tdir := resolve(container, mounts)" in found.vendored.patch
        assert verdicts(found)["vendor"] == "failed"

    def test_a_mode_that_differs_is_a_patch(self, made, book):
        made.consumer.switch("release-1.30")
        made.consumer.git("update-index", "--chmod=+x", f"vendor/{made.module}/{FILE}")
        made.consumer.commit("Make it run")
        found = verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book)
        assert found.vendored is not None
        assert found.vendored.patched == (FILE,)

    def test_a_commit_the_clone_does_not_have_is_unknown(self, made, book):
        made.consumer.switch("release-1.30")
        vendor(made, made.library.lab.head, "", version="v0.58.1-0.20231206103011-0123456789ab")
        found = verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book)
        assert (found.good, found.pin.commit) == (False, None)
        assert (verdicts(found)["commit"], verdicts(found)["vendor"]) == ("unknown", "unknown")

    def test_a_tag_that_does_not_exist_is_wrong(self, made, book):
        made.consumer.switch("release-1.30")
        vendor(made, made.library.lab.head, "", version="v0.99.0")
        assert (
            verdicts(verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book))["commit"]
            == "failed"
        )

    def test_a_commit_of_another_branch(self, made, book):
        made.consumer.switch("release-1.30")
        vendor(made, made.library.lab.git("rev-parse", "v0.61"), "v0.61.0")
        found = verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book)
        assert verdicts(found)["branch"] == "failed"
        assert verify(made.library.lab.path, made.consumer.path, "release-1.30", branch="v0.61").good

    def test_without_a_ledger_the_branches_it_is_on_are_named(self, made):
        found = verify(made.library.lab.path, made.consumer.path, "release-1.30")
        assert found.good
        assert "it is on crio-1.30" in attributions(found, "branch")

    def test_a_version_that_lies(self, made, book):
        made.consumer.switch("release-1.30")
        tip = made.library.lab.git("rev-parse", "crio-1.30")
        for version, said in (
            (f"v0.58.1-0.20200101000000-{tip[:12]}", "2020-01-01"),
            (pseudo(made.library.lab, tip, "v0.61.0"), "v0.61.0 is not in the history"),
            (pseudo(made.library.lab, tip, "v0.77.0"), "there is no tag v0.77.0"),
        ):
            vendor(made, tip, "v0.58.0", version=version)
            found = verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book)
            assert verdicts(found)["version"] == "failed"
            assert said in attributions(found, "version")

    def test_replacements(self, made, book):
        tip = made.library.lab.git("rev-parse", "crio-1.30")
        version = pseudo(made.library.lab, tip, "v0.58.0")
        made.consumer.switch("release-1.30")
        vendor(made, tip, "v0.58.0", version="v0.58.0", more=f"replace {made.module} => {made.module} {version}\n")
        found = verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book)
        assert found.pin.commit == tip
        assert verdicts(found)["replace"] == "ok"
        assert verdicts(found)["modules"] == "failed", "modules.txt does not say it is replaced"
        vendor(made, tip, "v0.58.0", more=f"replace {made.module} => ../common\n")
        found = verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book)
        assert (verdicts(found)["replace"], found.good) == ("failed", False)
        vendor(
            made,
            tip,
            "v0.58.0",
            more=f"replace {made.module} => example.com/fork v1.0.1-0.20231206103011-0123456789ab\n",
        )
        assert (
            verdicts(verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book))["commit"]
            == "unknown"
        )

    def test_modules_txt_that_says_something_else(self, made, book):
        made.consumer.switch("release-1.30")
        made.consumer.commit("Half a bump", {"vendor/modules.txt": f"# {made.module} v0.58.0\n"})
        assert (
            verdicts(verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book))["modules"]
            == "failed"
        )

    def test_nothing_vendored(self, made, book):
        made.consumer.switch("release-1.30")
        made.consumer.git("rm", "-rq", "vendor")
        made.consumer.commit("Use the proxy")
        found = verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book)
        assert (verdicts(found)["vendor"], found.good) == ("skipped", True)

    def test_the_consumers_own_check_changes_nothing(self, made, book):
        before = made.consumer.bytes()
        found = verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book, make="check-vendor")
        assert verdicts(found)["make"] == "ok"
        found = verify(made.library.lab.path, made.consumer.path, "release-1.30", ledger=book, make="broken")
        assert (verdicts(found)["make"], found.good) == ("failed", False)
        assert "no good" in found.output
        assert made.consumer.bytes() == before
        for wrong in ("-f/etc/passwd", "a b", "X=1", ""):
            with pytest.raises(UsageError):
                verify(made.library.lab.path, made.consumer.path, "release-1.30", make=wrong)

    def test_neither_clone_is_written(self, made, book):
        before = made.library.lab.bytes(), made.consumer.bytes()
        verify(made.library.lab.path, made.consumer.path, "release-1.24", ledger=book)
        assert (made.library.lab.bytes(), made.consumer.bytes()) == before

    def test_a_module_in_a_folder(self, tmp_path):
        lab = Lab.make(tmp_path / "libs")
        lab.commit(
            "Begin",
            {
                "LICENSE": "free\n",
                "common/go.mod": "module example.com/libs/common\n",
                "common/a.go": "package common\n",
                "common/sub/go.mod": "module example.com/libs/common/sub\n",
                "image/go.mod": "module example.com/libs/image\n",
            },
        )
        lab.tag("common/v0.65.0")
        consumer = Lab.make(tmp_path / "podman")
        consumer.commit(
            "Vendor",
            {
                "go.mod": "module example.com/podman\nrequire example.com/libs/common v0.65.0\n",
                "vendor/modules.txt": "# example.com/libs/common v0.65.0\n",
                "vendor/example.com/libs/common/a.go": "package common\n",
                "vendor/example.com/libs/common/LICENSE": "free\n",
            },
        )
        found = verify(lab.path, consumer.path, "main")
        assert found.good, found.checks
        assert (found.module, found.pin.folder) == ("example.com/libs/common", "common/")

    def test_bad_input(self, made, tmp_path):
        lab, consumer = made.library.lab.path, made.consumer.path
        assert split_consumer("a@b/c@release-1.27") == ("a@b/c", "release-1.27")
        for wrong in ("", "x", "@x", "x@"):
            with pytest.raises(UsageError, match="not a consumer"):
                split_consumer(wrong)
        with pytest.raises(NotFoundError, match="no such commit"):
            verify(lab, consumer, "nonsense")
        with pytest.raises(NotFoundError, match=r"no go\.mod"):
            verify(lab, consumer, "main")
        made.consumer.commit("Hostile", {"go.mod": "require (\n" * 500 + '\x00\xff )) => "' + "x" * 10000})
        with pytest.raises(NotFoundError, match="does not require"):
            verify(lab, consumer, "main")
        with pytest.raises(NotFoundError, match="no branch"):
            verify(lab, consumer, "release-1.30", branch="--all")
        with pytest.raises(NotFoundError):
            verify(lab, tmp_path / "absent", "main")


class TestFixes:
    @pytest.fixture
    def recorded(self, made, book):
        (book.parent / "fixes").mkdir()
        (book.parent / "fixes/a.toml").write_text(
            f'id = "{CVE}"\naliases = ["GHSA-mc76-5925-c5p6"]\nsummary = "Paths"\nlibrary = "library/common"\ncommits = ["{made.library.fix}"]\n'
        )
        return book

    def test_what_a_release_of_the_library_brings(self, made, recorded):
        found = fixes(made.library.lab.path, "v0.61.0..v0.62.0", ledger=recorded)
        (one,) = found.fixed
        assert (one.id, one.aliases, one.old, one.new, one.recorded) == (
            CVE,
            ("GHSA-mc76-5925-c5p6",),
            State.APPLIES,
            State.PRESENT,
            True,
        )
        assert (found.new.version, found.new.purl) == ("v0.62.0", "pkg:golang/example.com/library/common@v0.62.0")
        assert found.lost == found.missing == ()

    def test_a_consumer_branch_without_the_cve_in_any_message(self, made, recorded):
        tip = made.library.lab.git("rev-parse", "crio-1.27")
        found = fixes(made.library.lab.path, "v0.53.0..crio-1.27", ledger=recorded)
        (one,) = found.fixed
        assert one.backports == (tip,)
        assert found.new.version == pseudo(made.library.lab, tip, "v0.53.0")
        assert found.new.purl.endswith(found.new.version)

    def test_releases_of_a_consumer(self, made, recorded):
        consumer = made.consumer
        consumer.switch("release-1.27")
        consumer.tag("v1.27.1")
        old = made.library.lab.git("rev-parse", "v0.53.0")
        consumer.switch("before", "main")
        vendor(made, old, "v0.53.0", version="v0.53.0")
        consumer.tag("v1.27.0")
        found = fixes(made.library.lab.path, "v1.27.0..v1.27.1", ledger=recorded, consumer=consumer.path)
        assert [one.id for one in found.fixed] == [CVE]
        assert (found.old.version, found.new.commit) == ("v0.53.0", made.library.lab.git("rev-parse", "crio-1.27"))

    def test_what_is_lost_and_what_is_missing(self, made, recorded):
        path = made.library.lab.path
        assert [one.id for one in fixes(path, "v0.62.0..v0.59", ledger=recorded).lost] == [CVE]
        found = fixes(path, "v0.58.0..v0.59", ledger=recorded)
        assert ([one.id for one in found.missing], found.fixed) == ([CVE], ())
        assert fixes(path, "v0.8.0..v0.8", ledger=recorded).missing == (), "not affected"

    def test_how_the_two_stand_to_each_other_is_said(self, made, recorded):
        lab = made.library.lab
        lab.git("checkout", "-q", "--orphan", "other")
        lab.commit("Another beginning")
        for series, relation, said in (
            ("v0.61.0..v0.62.0", "newer", []),
            ("v0.62.0..v0.61.0", "older", ["write v0.61.0..v0.62.0"]),
            ("v0.62.0..main", "same", ["the same commit"]),
            ("v0.58..v0.59", "parted", [lab.git("rev-parse", "v0.58.0")[:12], "does not build on"]),
            ("v0.62.0..other", "unrelated", ["no commit in common"]),
        ):
            found = fixes(lab.path, series, ledger=recorded)
            text = "\n".join(lines(found))
            assert found.relation == relation
            assert all(one in text for one in said), text

    @pytest.mark.parametrize("how", ["merge", "squash"])
    def test_what_came_as_one_commit_brings_all_its_fixes(self, tmp_path, how):
        lab = Lab.make(tmp_path / "lib")
        lab.commit("Begin", {"go.mod": "module example.com/lib\n", "a.go": "a\n", "b.go": "b\n"})
        lab.tag("v1.0.0")
        lab.git("branch", "v1.0")
        lab.switch("topic", "main")
        one = lab.commit("One, CVE-2025-0001", {"a.go": "a2\n"})
        two = lab.commit("Two, CVE-2025-0002", {"b.go": "b2\n"})
        lab.switch("main")
        lab.commit("Meanwhile", {"c.go": "c\n"})
        lab.git("merge", "-q", "--no-ff", "-m", "Merge pull request #5", "topic")
        merge = lab.head
        lab.switch("v1.0")
        if how == "merge":
            lab.git("cherry-pick", "-x", "-m1", merge)
        else:
            lab.commit("Both", {"a.go": "a2\n", "b.go": "b2\n"})
        lab.switch("main")
        found = fixes(lab.path, "v1.0.0..v1.0")
        assert [(fixed.id, fixed.commits) for fixed in found.fixed] == [
            ("CVE-2025-0001", (one,)),
            ("CVE-2025-0002", (two,)),
        ]

    def test_a_tag_and_a_branch_of_one_name(self, made, recorded):
        lab = made.library.lab
        lab.git("tag", "v0.58", "v0.57.0")
        lab.git("config", "core.warnAmbiguousRefs", "false")
        with pytest.raises(UsageError, match=r"'v0\.58' is a tag and a branch") as caught:
            fixes(lab.path, "v0.58..v0.59", ledger=recorded)
        assert caught.value.hint == "write which: refs/tags/v0.58, or refs/heads/v0.58"
        assert fixes(lab.path, "refs/heads/v0.58..v0.59", ledger=recorded).lost
        assert not fixes(lab.path, "refs/tags/v0.58..v0.59", ledger=recorded).lost
        lab.git("tag", "-f", "v0.58", "refs/heads/v0.58")
        assert fixes(lab.path, "v0.58..v0.59", ledger=recorded).lost, "both lead to the same commit"

    def test_messages_count_where_there_is_no_record(self, made):
        lab = made.library.lab
        found = fixes(lab.path, "v0.61.0..v0.62.0")
        (one,) = found.fixed
        assert (one.id, one.recorded, one.commits) == (CVE, False, (made.library.fix,))

    def test_what_only_a_message_speaks_of_may_be_lost_too(self, made):
        path = made.library.lab.path
        found = fixes(path, "v0.58..v0.59")
        assert ([one.id for one in found.lost], found.fixed) == ([CVE], ())
        assert fixes(path, "v0.58..v0.60").lost == ()

    def test_a_backport_that_lost_its_cve_is_known_by_its_source(self, made):
        lab = made.library.lab
        assert CVE not in lab.git("log", "--format=%B", "v0.53.0..crio-1.27")
        found = fixes(lab.path, "v0.53.0..crio-1.27")
        assert [(one.id, one.commits, one.recorded) for one in found.fixed] == [(CVE, (made.library.fix,), False)]

    def test_a_message_that_was_reverted_does_not(self, made):
        lab = made.library.lab
        lab.clock += 60
        lab.git("revert", "--no-edit", made.library.fix)
        assert fixes(lab.path, "v0.61.0..main").fixed == ()

    def test_versions(self, made):
        lab = made.library.lab
        repository = open_repository(lab.path)
        module = "example.com/library/common"
        assert version_of(repository, lab.git("rev-parse", "v0.53.0"), module) == "v0.53.0"
        head = lab.commit("More", {"x": "x"}, author=ANNA)
        assert version_of(repository, head, module) == pseudo(lab, head, "v0.62.0")
        bare = Lab.make(lab.path.parent / "untagged")
        first = bare.commit("Begin")
        assert version_of(open_repository(bare.path), first, "x") == pseudo(bare, first)

    def test_a_version_is_not_guessed_where_the_history_is_cut(self, tmp_path):
        whole = Lab.make(tmp_path / "whole")
        whole.commit("one", {"a": "1\n"})
        whole.git("tag", "v1.0.0")
        for number in range(3):
            head = whole.commit(f"more {number}", {"a": f"{number}\n"})
        shallow = tmp_path / "shallow"
        subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{whole.path}", shallow], check=True)
        with pytest.raises(NotFoundError, match="shallow clone ends before any tag"):
            version_of(open_repository(shallow), head, "example.com/m")

    def test_bad_input(self, made, recorded):
        path = made.library.lab.path
        for wrong in ("", "v0.61.0", "..x", "x..", "a...b"):
            with pytest.raises(UsageError, match="not a range"):
                fixes(path, wrong, ledger=recorded)
        with pytest.raises(NotFoundError):
            fixes(path, "v0.61.0..nonsense", ledger=recorded)
        with pytest.raises(NotFoundError, match=r"no go\.mod"):
            fixes(path, "main..release-1.30", ledger=recorded, consumer=made.consumer.path)


def test_checks_have_stable_names():
    assert [str(one) for one in Verdict] == ["ok", "failed", "unknown", "skipped"]
