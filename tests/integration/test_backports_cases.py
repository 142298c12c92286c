"""Histories that real libraries have and that were once judged wrongly; each stands for its kind."""

from __future__ import annotations

import pytest
from tests.support.libraries import ANNA, Lab, security

from haulout.backports import abort_pick, fixes, log, pick, picks, resume_pick, status
from haulout.backports.model import Outcome
from haulout.errors import NotFoundError


def numbered(changes: dict[int, str] | None = None, *, count: int = 40) -> str:
    return "".join(f"{(changes or {}).get(number, f'line {number}')}\n" for number in range(count))


@pytest.fixture
def lab(tmp_path):
    made = Lab.make(tmp_path / "lib")
    made.commit("Begin", {"a.go": numbered(), "b.go": "b\n"})
    made.tag("v1.0.0")
    made.git("branch", "old")
    return made


def state(lab: Lab, fix: str, branch: str = "old") -> str:
    (cell,) = status(lab.path, [fix], branches=[branch]).columns[0].cells
    return str(cell.state)


def why(lab: Lab, fix: str) -> str:
    (cell,) = status(lab.path, [fix], branches=["old"]).columns[0].cells
    return "; ".join(one.text for one in cell.evidence)


def take(lab: Lab, commit: str) -> str:
    """Cherry-pick onto ``old``, and stay there."""
    lab.switch("old")
    lab.clock += 60
    lab.git("cherry-pick", "-x", commit)
    return lab.head


GUARD = "if current < scheduled {\n\tcurrent = scheduled\n}"


class TestMoved:
    def fix(self, lab: Lab) -> str:
        fix = lab.commit("Keep the revision", {"a.go": numbered({20: f"line 20\n{GUARD}"})}, author=ANNA)
        take(lab, fix)
        return fix

    @pytest.mark.parametrize(
        "files",
        [
            {"a.go": numbered({30: "line 30\nfor {\n\t" + GUARD.replace("\n", "\n\t") + "\n}"})},
            {"a.go": numbered({35: f"line 35\n{GUARD}"})},
            {"a.go": numbered(), "b.go": f"b\n{GUARD}\n"},
            {"a.go": numbered(), "new.go": f"package new\n{GUARD}\n"},
        ],
        ids=["indented", "moved", "moved to another file", "moved to a new file"],
    )
    def test_what_was_moved_is_there_and_not_picked_again(self, lab, files):
        fix = self.fix(lab)
        lab.commit("Go on", files)
        lab.switch("main")
        assert state(lab, fix) == "present"
        done = pick(lab.path, "old", [fix])
        assert (done.outcome, done.picked, done.judged[0].state) == (Outcome.PRESENT, (), "present")
        forced = pick(lab.path, "old", [fix], force=True)
        assert forced.outcome is Outcome.PICKED

    def test_what_is_gone_without_a_revert_is_unknown(self, lab):
        fix = self.fix(lab)
        lab.commit("Rework", {"a.go": numbered({3: "other"}), "b.go": "b, other\n"})
        lab.switch("main")
        assert state(lab, fix) == "unknown"
        assert "no commit reverts it" in why(lab, fix)

    def test_a_revert_that_was_picked_names_the_commit_it_reverted_elsewhere(self, lab):
        fix = self.fix(lab)
        lab.switch("main")
        lab.clock += 60
        lab.git("revert", "--no-edit", fix)
        take(lab, lab.head)
        lab.commit("Drift", {"a.go": numbered({19: "drift", 21: "drift"})})
        lab.switch("main")
        assert state(lab, fix) == "reverted"

    def test_a_fix_that_was_picked_again_after_its_revert_stands(self, lab):
        fix = self.fix(lab)
        lab.clock += 60
        lab.git("revert", "--no-edit", "HEAD")
        take(lab, fix)
        text = numbered({19: "drift", 20: f"line 20\n{GUARD}", 21: "drift"})
        lab.commit("Drift", {"a.go": text.replace("current = scheduled", "current = later(scheduled)")})
        lab.switch("main")
        assert state(lab, fix) == "present"

    def test_a_revert_of_another_commit_of_the_same_subject_does_not_count(self, lab):
        lab.switch("old")
        lab.commit("Keep the revision", {"b.go": "b, kept\n"})
        lab.commit('Revert "Keep the revision"', {"b.go": "b\n"})
        lab.switch("main")
        fix = self.fix(lab)
        lab.commit('Revert "Keep the revision"', {"b.go": "b, once more\n"})
        changed = GUARD.replace("current", "now")
        lab.commit("Drift", {"a.go": numbered({19: "drift", 20: f"line 20\n{changed}", 21: "drift"})})
        lab.switch("main")
        assert state(lab, fix) == "present"


@pytest.mark.parametrize("fragment", ["changelog/77.bugfix.rst", "CHANGES/77.bugfix", "newsfragments/77.fix"])
@pytest.mark.parametrize("drift", [False, True])
def test_a_news_fragment_that_the_release_used_up_is_not_missing(lab, fragment, drift):
    fix = lab.commit("Mend (#77)", {"a.go": numbered({20: "mended"}), fragment: "Mended.\n"}, author=ANNA)
    take(lab, fix)
    lab.git("rm", "-q", fragment)
    lab.commit(
        "Release 1.0.1",
        {"CHANGELOG": "1.0.1: Mended.\n", **({"a.go": numbered({20: "mended", 30: "x"})} if drift else {})},
    )
    lab.switch("main")
    assert state(lab, fix) == "present"
    assert pick(lab.path, "old", [fix]).picked == ()


class TestMerges:
    def merged(self, lab: Lab) -> tuple[str, str, str]:
        lab.commit("Refactor", {"a.go": numbered({18: "refactored"})})
        lab.switch("pr", "main")
        one = lab.commit("Check the user", {"a.go": numbered({18: "refactored", 20: "checked"})}, author=ANNA)
        two = lab.commit("Blanks", {"b.go": "b, two\n"}, author=ANNA)
        lab.switch("main")
        lab.clock += 60
        lab.git("merge", "-q", "--no-ff", "-m", "Merge pull request #7 from x/pr", "pr")
        lab.git("update-ref", "refs/pull/7/head", "pr")
        lab.git("branch", "-qD", "pr")
        return lab.head, one, two

    def adapted(self, lab: Lab, one: str, two: str) -> None:
        lab.switch("old")
        text = f"Check the user\n\n(cherry picked from commit {one})"
        lab.commit(text, {"a.go": numbered({20: "checked"})}, author=ANNA)
        take(lab, two)
        lab.commit("Drift", {"a.go": numbered({19: "drift", 20: "checked twice"}), "b.go": "b, two, three\n"})
        lab.switch("main")

    def test_a_merge_is_its_commits(self, lab):
        merge, one, two = self.merged(lab)
        assert state(lab, merge) in {"missing, applies", "missing, conflicts"}
        self.adapted(lab, one, two)
        for name in (merge, f"{merge}^1..{merge}", "#7"):
            assert state(lab, name) == "present"
            assert pick(lab.path, "old", [name]).outcome is Outcome.PRESENT

    def test_a_merge_that_was_picked_as_one_and_reverted_as_one(self, lab):
        merge, _, _ = self.merged(lab)
        done = pick(lab.path, "old", [merge], mainline=1, direct=True)
        if done.stop is not None:
            lab2 = Lab(done.stop.worktree, lab.clock)
            lab2.write("a.go", numbered({20: "checked"}))
            lab2.git("add", "a.go")
            done = resume_pick(lab.path, "old")
        assert done.outcome is Outcome.PICKED
        assert state(lab, merge) == "present"
        lab.switch("old")
        lab.clock += 60
        lab.git("revert", "--no-edit", done.after)
        lab.switch("main")
        assert state(lab, merge) == "reverted"

    def test_a_merge_that_has_changes_of_its_own_is_remarked(self, lab):
        merge, _, _ = self.merged(lab)
        assert "differs from what its commits bring" not in why(lab, merge)
        lab.write("b.go", "b, two, and more\n")
        lab.git("add", "b.go")
        lab.git("commit", "-q", "--amend", "--no-edit")
        assert f"the merge {lab.head[:10]} differs from what its commits bring" in why(lab, lab.head)

    def test_singles_of_a_squash(self, lab):
        lab.commit("Refactor", {"a.go": numbered({18: "refactored"})})
        message = "Fix a and b (#12)\n\n* wip: fix a\n\n* wip: fix b"
        fix = lab.commit(
            message, {"a.go": numbered({18: "refactored", 20: "fixed"}), "b.go": "b, fixed\n"}, author=ANNA
        )
        lab.switch("old")
        lab.commit("wip: fix a", {"a.go": numbered({20: "fixed"})}, author=ANNA)
        lab.switch("main")
        assert state(lab, fix) != "present"
        lab.switch("old")
        lab.commit("wip: fix b", {"b.go": "b, fixed\n"}, author=ANNA)
        lab.commit("Drift", {"a.go": numbered({19: "drift", 20: "fixed better"}), "b.go": "b, fixed well\n"})
        lab.switch("main")
        assert state(lab, fix) == state(lab, "#12") == "present"

    def test_a_pull_request_that_is_not_merged(self, lab):
        lab.switch("pr", "main")
        lab.commit("Check", {"b.go": "b, checked\n"}, author=ANNA)
        lab.switch("main")
        lab.git("update-ref", "refs/merge-requests/9/head", "pr")
        assert state(lab, "!9") == "missing, applies"
        assert pick(lab.path, "old", ["!9"]).target == "backport-merge-request-9-to-old"
        with pytest.raises(NotFoundError) as caught:
            status(lab.path, ["#10"])
        assert "refs/pull/10/head:refs/pull/10/head" in str(caught.value.hint)


class TestFiles:
    def test_an_adapted_pick_that_leaves_out_a_file_is_a_part(self, lab):
        names = ("ci.yml", "docker", "fuzz.sh")
        lab.commit("Files", dict.fromkeys(names, "go: 1.23.10\n"))
        lab.git("branch", "-f", "old")
        lab.commit("Go 1.24", dict.fromkeys(names, "go: 1.24.4\n"))
        fix = lab.commit("Go 1.24.5", dict.fromkeys(names, "go: 1.24.5\n"))
        lab.switch("old")
        part = lab.commit(f"Go 1.23.11\n\n(cherry picked from commit {fix})", dict.fromkeys(names[:2], "go: 1.23.11\n"))
        lab.switch("main")
        assert state(lab, fix) == "partly"
        assert f"{part[:10]} is a part of it, without fuzz.sh" in why(lab, fix)
        (line,) = log(lab.path, "old", base=f"{part}~1").lines
        assert line.flags == ("leaves out fuzz.sh, which its source changes",)

    def test_a_file_that_the_branch_never_had(self, lab):
        lab.commit("Add", {"doc.md": numbered()})
        fix = lab.commit("Mend", {"a.go": numbered({20: "mended"}), "doc.md": numbered({3: "new"})})
        assert state(lab, fix) == "missing, conflicts"
        done = pick(lab.path, "old", [fix])
        assert done.stop is not None
        assert done.stop.absent == ("doc.md",)
        abort_pick(lab.path, "old")

    @pytest.mark.parametrize(
        ("setting", "expected"), [("conflict", "missing, conflicts"), ("true", "missing, applies")]
    )
    def test_a_new_file_in_a_renamed_folder(self, lab, setting, expected):
        lab.commit("Folder", {f"pkg/f{number}.go": numbered({1: f"{number}"}) for number in range(3)})
        lab.git("branch", "-f", "old")
        lab.switch("old")
        lab.git("mv", "pkg", "internal")
        lab.commit("Rename")
        lab.switch("main")
        fix = lab.commit("Mend", {"pkg/f1.go": numbered({1: "1", 20: "mended"}), "pkg/helper.go": "package pkg\n"})
        lab.git("config", "merge.directoryRenames", setting)
        assert state(lab, fix) == expected
        outcome = pick(lab.path, "old", [fix]).outcome
        assert outcome is (Outcome.PICKED if setting == "true" else Outcome.CONFLICT)
        if outcome is Outcome.CONFLICT:
            abort_pick(lab.path, "old")


class TestMentioned:
    def test_a_cve_that_is_only_mentioned_is_not_fixed(self, lab):
        lab.commit(
            "Console: no truncation\n\nIt could be a worse CVE-2024-4531, as in CVE-2024-21626.", {"b.go": "2\n"}
        )
        lab.tag("v1.0.1")
        found = fixes(lab.path, "v1.0.0..v1.0.1")
        assert found.fixed == ()
        assert [one.id for one in found.mentioned] == ["CVE-2024-4531", "CVE-2024-21626"]

    def test_one_line_for_each_cve(self, lab):
        lab.commit("One\n\nFixes: CVE-2025-1001, CVE-2025-1002", {"b.go": "2\n"})
        lab.commit("CVE-2025-1002: two\n\nGHSA-2222-3333-4444", {"b.go": "3\n"})
        lab.commit("Three\n\nReported-by: Bo\nCVE: CVE-2025-1001", {"b.go": "4\n"})
        lab.commit("Four\n\nThis fixes CVE-2025-1003.", {"b.go": "5\n"})
        lab.tag("v1.0.1")
        found = fixes(lab.path, "v1.0.0..v1.0.1")
        assert [one.id for one in found.fixed] == ["CVE-2025-1001", "CVE-2025-1002", "CVE-2025-1003"]
        assert [one.aliases for one in found.fixed] == [(), ("GHSA-2222-3333-4444",), ()]
        assert found.mentioned == ()


class TestFlow:
    def test_one_fix_onto_several_branches(self, tmp_path):
        made = security(tmp_path / "common")
        lab = made.lab
        done = picks(lab.path, [made.fix], missing=True, supported=["v0.*", "crio-*"], signoff=True)
        assert {one.branch for one in done.picks} == set(made.missing)
        assert done.complete
        for one in done.picks:
            assert one.target == f"backport-{made.fix[:12]}-to-{one.branch}"
            assert lab.git("rev-parse", f"{one.target}^") == lab.git("rev-parse", one.branch) == one.before
            assert "Signed-off-by: Bo Berg <bo@example.com>" in lab.git("show", "-s", "--format=%B", one.target)
        stand_in = next(one for one in done.picks if one.branch == "crio-1.24").picked[0]
        assert stand_in.of == made.fix != stand_in.source
        again = picks(lab.path, [made.fix], missing=True, supported=["v0.*", "crio-*"])
        assert {one.outcome for one in again.picks} == {Outcome.PRESENT}

    def test_a_conflict_on_one_branch_holds_up_no_other(self, lab):
        fix = lab.commit("Mend", {"a.go": numbered({20: "mended"})})
        lab.git("branch", "free", "v1.0.0")
        lab.switch("old")
        lab.commit("Other", {"a.go": numbered({20: "something else"})})
        lab.switch("main")
        done = picks(lab.path, [fix], onto=["old", "fr*"], signoff=True)
        assert {one.branch: one.outcome for one in done.picks} == {"old": Outcome.CONFLICT, "free": Outcome.PICKED}
        assert not done.complete
        (failed,) = picks(lab.path, [fix], onto=["old"]).failed
        assert failed.reason.startswith("picks onto backport-")
        stop = next(one.stop for one in done.picks if one.stop)
        Lab(stop.worktree).write("a.go", numbered({20: "mended else"}))
        Lab(stop.worktree).git("add", "a.go")
        resumed = resume_pick(lab.path, "old")
        assert resumed.outcome is Outcome.PICKED
        message = lab.git("show", "-s", "--format=%B", resumed.target).strip()
        assert message == (
            f"Mend\n\nConflicts:\n\ta.go\n\n(cherry picked from commit {fix})\nSigned-off-by: Bo Berg <bo@example.com>"
        )
