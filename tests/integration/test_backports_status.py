"""``backport status`` against real repositories: the fixtures it was learnt on, and whatever odd thing git can do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.libraries import ANNA, CVE, FILE, SUBJECT, Lab, security, source, undone

from haulout.backports.status import status
from haulout.cli.backport.status import lines
from haulout.errors import ContentError, DeniedError, NotFoundError, UsageError

if TYPE_CHECKING:
    from haulout.backports.model import Matrix


def states(matrix: Matrix, column: int = 0) -> dict[str, str]:
    """Return branch → state."""
    return {cell.branch.shown: str(cell.state) for cell in matrix.columns[column].cells}


def why(matrix: Matrix, branch: str) -> str:
    """Return all evidence of a branch in one string."""
    (cell,) = (cell for cell in matrix.columns[0].cells if cell.branch.shown == branch)
    return "; ".join(f"{one.signal}: {one.text}" for one in cell.evidence)


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    return security(tmp_path_factory.mktemp("fixture") / "common")


def numbered(changes: dict[int, str] | None = None, *, count: int = 40) -> str:
    """Return a file of numbered lines, some of them changed."""
    return "".join(f"{(changes or {}).get(number, f'line {number}')}\n" for number in range(count))


MENDED = {20: "line 20, mended"}


@pytest.fixture
def lab(tmp_path):
    """A library with one file, the tag v1.0.0 and a branch ``old`` there."""
    made = Lab.make(tmp_path / "lib")
    made.commit("Begin", {"a.go": numbered(), "b.go": "b\n"})
    made.tag("v1.0.0")
    made.git("branch", "old")
    return made


def mend(lab: Lab, message: str = "Mend line 20") -> str:
    return lab.commit(message, {"a.go": numbered(MENDED)}, author=ANNA)


class TestFixtures:
    def test_every_branch_of_the_cve_is_classified(self, common):
        matrix = status(common.lab.path, [common.fix])
        found = states(matrix)
        assert {name for name, state in found.items() if state == "present"} == set(common.present)
        assert {name for name, state in found.items() if state == "missing, applies"} == set(common.missing)
        assert {name for name, state in found.items() if state == "not affected"} == set(common.absent)
        assert not matrix.complete

    def test_the_fixture_is_what_it_claims(self, common):
        """Eleven copies, one author date, two patch-ids that matter, and main's commit alone conflicts with most."""
        copies = common.lab.git("log", "--all", "--format=%H %at %ae", "--grep", SUBJECT).splitlines()
        assert len(copies) == 11
        assert len({line.split()[1] for line in copies}) == 1
        diffs = [common.lab.git("diff-tree", "-p", line.split()[0]).encode() for line in copies]
        ids = {common.lab.git("patch-id", "--stable", stdin=diff + b"\n").split()[0] for diff in diffs}
        assert len(ids) == 2
        worktree = common.lab.path.parent / "w"
        common.lab.git("worktree", "add", "-q", "--detach", str(worktree), "crio-1.25^")
        assert common.lab.git("-C", str(worktree), "cherry-pick", common.fix, check=False) is not None
        assert "UU" in common.lab.git("-C", str(worktree), "status", "--porcelain")
        common.lab.git("worktree", "remove", "--force", str(worktree))

    def test_any_copy_leads_to_the_same_answer(self, common):
        expected = states(status(common.lab.path, [common.fix]))
        assert states(status(common.lab.path, [common.oldest])) == expected
        assert states(status(common.lab.path, ["crio-1.26"])) == expected

    def test_all_copies_are_known_with_their_signals(self, common):
        (column,) = status(common.lab.path, [common.fix]).columns
        assert len(column.known) == 10
        assert all({"author-date", "subject"} <= set(one.signals) for one in column.known)
        assert {branch for one in column.known for branch in one.branches} == set(common.present) - {"main"}

    def test_a_revert_beats_every_message(self, tmp_path):
        made = undone(tmp_path / "lib")
        matrix = status(made.lab.path, [made.fix])
        assert states(matrix) == {"crio-1.28": "reverted", "main": "present"}
        assert f"{made.revert[:10]} reverts {made.pick[:10]}" in why(matrix, "crio-1.28")

    def test_a_revert_that_was_reverted_does_not_count(self, tmp_path):
        made = undone(tmp_path / "lib")
        made.lab.switch("crio-1.28")
        made.lab.clock += 60
        made.lab.git("revert", "--no-edit", made.revert)
        # The code around it goes on, so that content alone cannot tell.
        text = (made.lab.path / "a.go").read_text()
        made.lab.commit(
            "Go on", {"a.go": text.replace("line 8\n", "line 8 too\n").replace("line 9, mended", "line 9, mended well")}
        )
        matrix = status(made.lab.path, [made.fix])
        assert states(matrix)["crio-1.28"] == "present"
        assert "changed since" in why(matrix, "crio-1.28")


class TestContent:
    def test_a_fix_done_anew_without_any_sign_is_there(self, lab):
        fix = mend(lab)
        lab.switch("old")
        lab.commit("Something else entirely", {"a.go": numbered({**MENDED, 3: "own"})})
        assert states(status(lab.path, [fix])) == {"main": "present", "old": "present"}

    def test_a_fix_taken_back_silently_is_reverted(self, lab):
        fix = mend(lab)
        lab.switch("old")
        lab.clock += 60
        lab.git("cherry-pick", "-x", fix)
        lab.commit("Sync", {"a.go": numbered()})
        matrix = status(lab.path, [fix])
        assert states(matrix)["old"] == "reverted"
        assert "does the opposite, without saying so" in why(matrix, "old")

    def test_on_main_too(self, lab):
        fix = mend(lab)
        lab.clock += 60
        lab.git("revert", "--no-edit", fix)
        assert states(status(lab.path, [fix])) == {"main": "reverted", "old": "missing, applies"}

    def test_conflicts_name_the_files(self, lab):
        fix = mend(lab)
        lab.switch("old")
        lab.commit("Other", {"a.go": numbered({20: "something else"})})
        matrix = status(lab.path, [fix])
        assert states(matrix)["old"] == "missing, conflicts"
        assert "conflicts in a.go" in why(matrix, "old")

    def test_files_unknown_to_a_branch(self, lab):
        lab.commit("Add", {"new/c.go": numbered()})
        fix = lab.commit("Mend c", {"new/c.go": numbered(MENDED), "new/c_test.go": "package new\n"})
        matrix = status(lab.path, [fix])
        assert states(matrix) == {"main": "present", "old": "not affected"}
        assert "new/c.go" in why(matrix, "old")

    def test_a_backport_without_the_tests(self, lab):
        fix = lab.commit("Mend", {"a.go": numbered(MENDED), "a_test.go": "package a\n"})
        lab.switch("old")
        lab.commit("By hand", {"a.go": numbered(MENDED)})
        assert states(status(lab.path, [fix]))["old"] == "present"

    def test_a_deleting_fix(self, lab):
        fix = lab.commit("Drop b", {"b.go": None})
        lab.git("branch", "without", "v1.0.0")
        lab.switch("without")
        lab.commit("[without] Drop b", {"b.go": None})
        lab.switch("old")
        assert states(status(lab.path, [fix])) == {
            "main": "present",
            "old": "missing, applies",
            "without": "present",
        }

    def test_a_creating_fix(self, lab):
        fix = lab.commit("Add guard", {"guard.go": "package guard\n"})
        lab.git("branch", "other", "v1.0.0")
        lab.switch("other")
        lab.commit("Own guard", {"guard.go": "package different\n"})
        assert states(status(lab.path, [fix])) == {
            "main": "present",
            "old": "missing, applies",
            "other": "missing, conflicts",
        }

    def test_a_mode_is_content_too(self, lab):
        lab.commit("Script", {"run.sh": "#!/bin/sh\n"})
        lab.git("branch", "script")
        lab.git("update-index", "--chmod=+x", "run.sh")
        fix = lab.commit("Make it run")
        lab.git("reset", "-q", "--hard")
        assert states(status(lab.path, [fix])) == {
            "main": "present",
            "old": "not affected",
            "script": "missing, applies",
        }

    def test_a_binary_file_does_not_confuse(self, lab):
        lab.commit("Blob", {"x.bin": bytes(range(256)) * 40})
        lab.git("branch", "bin")
        fix = lab.commit("Change it", {"x.bin": bytes(range(255, -1, -1)) * 40})
        lab.switch("bin")
        lab.commit("Change it here", {"x.bin": b"\0other" * 99})
        assert states(status(lab.path, [fix]))["bin"] == "missing, conflicts"

    def test_other_line_ends(self, lab):
        fix = mend(lab)
        lab.switch("old")
        lab.commit("Convert", {"a.go": numbered().replace("\n", "\r\n")})
        matrix = status(lab.path, [fix])
        assert states(matrix)["old"] == "missing, conflicts"
        assert "only line ends (CR LF) differ" in why(matrix, "old")
        lab.commit("Mend", {"a.go": numbered(MENDED).replace("\n", "\r\n")})
        assert states(status(lab.path, [fix]))["old"] == "present"


class TestRenames:
    def test_a_file_renamed_upstream_before_the_fix(self, lab):
        lab.git("mv", "a.go", "moved.go")
        lab.commit("Move")
        # So much changes over time that nothing but history knows it is the same file.
        text = numbered({number: f"new {number}" for number in range(36) if not 17 <= number <= 23})
        lab.commit("Rework", {"moved.go": text})
        fix = lab.commit("Mend", {"moved.go": text.replace("line 20\n", "line 20, mended\n")})
        matrix = status(lab.path, [fix])
        assert "moved.go is a.go here" in why(matrix, "old")
        assert states(matrix)["old"] in {"missing, applies", "missing, conflicts"}
        lab.switch("old")
        lab.commit("Mend by hand", {"a.go": numbered(MENDED)})
        lab.switch("main")

    def test_a_file_renamed_on_the_branch(self, lab):
        fix = mend(lab)
        lab.switch("old")
        lab.git("mv", "a.go", "pkg.go")
        lab.commit("Move here", {"pkg.go": numbered({1: "own"})})
        matrix = status(lab.path, [fix])
        assert states(matrix)["old"] == "missing, applies"
        assert "a.go is pkg.go here" in why(matrix, "old")
        lab.commit("Mend here", {"pkg.go": numbered({1: "own", **MENDED})})
        assert states(status(lab.path, [fix]))["old"] == "present"

    def test_a_fix_that_renames(self, lab):
        lab.git("mv", "a.go", "c.go")
        fix = lab.commit("Mend and move", {"c.go": numbered(MENDED)})
        assert states(status(lab.path, [fix]))["old"] == "missing, applies"


class TestForms:
    def test_one_known_backport_of_a_record_classifies_the_rest(self, common, tmp_path):
        """Where nothing in history ties the copies together, a record does."""
        lab = Lab.make(tmp_path / "lib")
        lab.commit("Begin", {FILE: source(52)})
        lab.git("branch", "one")
        lab.git("branch", "two")
        lab.git("branch", "three")
        lab.commit("Rework", {FILE: source(60)})
        fix = lab.commit("Mend upstream", {FILE: source(60, safe=True)}, author=ANNA)
        lab.switch("one")
        pick = lab.commit("Another way to say it", {FILE: source(52, safe=True)})
        lab.switch("two")
        lab.commit("Squash of many things", {FILE: source(52, safe=True, tail="// and more")})
        assert states(status(lab.path, [fix]))["three"] == "missing, conflicts"
        book = tmp_path / "ledger" / "backports.toml"
        (book.parent / "fixes").mkdir(parents=True)
        (book.parent / "fixes/CVE-1.toml").write_text(
            f'id = "CVE-1"\ncommits = ["{fix}"]\n[[backport]]\nbranch = "one"\ncommits = ["{pick}"]\n'
        )
        matrix = status(lab.path, ["CVE-1"], ledger=book)
        assert states(matrix) == {"main": "present", "one": "present", "three": "missing, applies", "two": "present"}
        assert matrix.columns[0].cells[2].pick == (pick,)
        assert states(status(lab.path, [fix], ledger=book)) == states(matrix), "a commit brings its record"

    @pytest.mark.parametrize(
        "note",
        [
            "(cherry picked from commit {})",
            "commit {} upstream.",
            "[ Upstream commit {} ]",
            "Origin: backport, commit:{}",
        ],
    )
    def test_notes_make_variants(self, tmp_path, note):
        lab = Lab.make(tmp_path / "lib")
        lab.commit("Begin", {FILE: source(52)})
        lab.git("branch", "one")
        lab.git("branch", "two")
        lab.commit("Rework", {FILE: source(60)})
        fix = lab.commit("Mend upstream", {FILE: source(60, safe=True)}, author=ANNA)
        lab.switch("one")
        lab.commit(f"Adapted\n\n{note.format(fix)}", {FILE: source(52, safe=True)})
        assert states(status(lab.path, [fix])) == {"main": "present", "one": "present", "two": "missing, applies"}

    def test_a_form_in_another_file_is_seen_though_the_first_file_is_untouched(self, lab, tmp_path):
        fix = mend(lab)
        lab.git("branch", "two", "old")
        lab.switch("old")
        pick = lab.commit("Elsewhere", {"b.go": "b, guarded\n"})
        lab.switch("two")
        lab.commit("Other words", {"b.go": "b, guarded\n"}, author=ANNA)
        (tmp_path / "fixes").mkdir()
        (tmp_path / "fixes/F.toml").write_text(
            f'id = "F"\ncommits = ["{fix}"]\n[[backport]]\nbranch = "old"\ncommits = ["{pick}"]\n'
        )
        found = states(status(lab.path, ["F"], ledger=tmp_path / "backports.toml"))
        assert found == {"main": "present", "old": "present", "two": "present"}

    def test_picks_of_picks_are_followed(self, tmp_path):
        lab = Lab.make(tmp_path / "lib")
        lab.commit("Begin", {FILE: source(52)})
        for name in ("one", "two", "three"):
            lab.git("branch", name)
        lab.commit("Rework", {FILE: source(60)})
        fix = lab.commit("Mend upstream", {FILE: source(60, safe=True)}, author=ANNA)
        lab.switch("one")
        first = lab.commit(f"Adapted\n\n(cherry picked from commit {fix})", {FILE: source(52, safe=True)})
        lab.switch("two")
        lab.commit(f"Again\n\n(cherry picked from commit {first})", {FILE: source(52, safe=True, tail="// own")})
        (column,) = status(lab.path, [fix]).columns
        assert len(column.known) == 2

    def test_another_commit_of_the_same_second_is_no_backport(self, lab):
        when = lab.clock + 9999
        fix = lab.commit("First of two", {"a.go": numbered(MENDED)}, author=ANNA, authored=when)
        lab.switch("old")
        lab.commit("Second of two", {"a.go": numbered({5: "five"})}, author=ANNA, authored=when)
        matrix = status(lab.path, [fix])
        assert states(matrix)["old"] == "missing, applies"
        assert matrix.columns[0].known == ()

    def test_another_commit_of_the_same_subject_is_no_backport(self, lab):
        fix = mend(lab, "Fix lint")
        lab.switch("old")
        lab.commit("Fix lint", {"a.go": numbered({20: "line 20 quite other"})}, author=ANNA)
        assert states(status(lab.path, [fix]))["old"] == "missing, conflicts"

    def test_half_a_backport_proves_nothing(self, lab):
        """A pick that left out one file is no variant of the whole: where it is, the other file may still lack the fix."""
        fix = lab.commit("Mend both", {"a.go": numbered(MENDED), "b.go": "b, mended\n"}, author=ANNA)
        lab.switch("old")
        lab.commit(f"[old] Mend both\n\n(cherry picked from commit {fix})", {"a.go": numbered(MENDED)}, author=ANNA)
        assert states(status(lab.path, [fix]))["old"] != "present"


class TestSeries:
    def series(self, lab: Lab) -> tuple[str, str]:
        first = lab.head
        lab.commit("One", {"a.go": numbered({10: "ten"})}, author=ANNA)
        lab.commit("Unrelated", {"b.go": "unrelated\n"})
        lab.commit("Two", {"a.go": numbered({10: "ten, again"})}, author=ANNA)
        return first, lab.head

    def test_a_series_whose_commits_change_the_same_line(self, lab):
        first, last = self.series(lab)
        lab.switch("old")
        lab.commit("Squashed", {"a.go": numbered({10: "ten, again"}), "b.go": "unrelated\n"})
        assert states(status(lab.path, [f"{first}..{last}"])) == {"main": "present", "old": "present"}

    def test_a_part_of_a_series_is_not_the_series(self, lab):
        first = lab.head
        lab.commit("One", {"a.go": numbered({10: "ten"})}, author=ANNA)
        lab.commit("Two", {"a.go": numbered({10: "ten", 30: "thirty"})}, author=ANNA)
        series = f"{first}..{lab.head}"
        lab.switch("old")
        lab.clock += 60
        lab.git("cherry-pick", "-x", f"{series.partition('..')[2]}^")
        matrix = status(lab.path, [series])
        assert states(matrix)["old"] == "missing, applies"
        assert "1 of 2 commits are there" in why(matrix, "old")

    def test_commits_that_do_not_follow_each_other(self, lab, tmp_path):
        self.series(lab)
        one, two = lab.git("log", "--reverse", "--format=%H", "--author=anna", "main").split()
        book = tmp_path / "backports.toml"
        (tmp_path / "fixes").mkdir()
        (tmp_path / "fixes/F.toml").write_text(f'id = "F"\ncommits = ["{one}", "{two}"]\n')
        assert states(status(lab.path, ["F"], ledger=book))["old"] == "missing, applies"
        lab.switch("old")
        lab.commit("Squashed", {"a.go": numbered({10: "ten, again"})})
        assert states(status(lab.path, ["F"], ledger=book))["old"] == "present"

    def test_merges_within_a_series_bring_nothing_of_their_own(self, lab):
        first = lab.head
        lab.switch("topic", "main")
        lab.commit("One", {"a.go": numbered({10: "ten"})})
        lab.switch("main")
        lab.commit("Elsewhere", {"b.go": "elsewhere\n"})
        lab.clock += 60
        lab.git("merge", "-q", "--no-ff", "--no-edit", "topic")
        lab.git("branch", "-D", "topic")
        (column,) = status(lab.path, [f"{first}..main"]).columns
        assert [commit.subject for commit in column.fix.commits] == ["One", "Elsewhere"] or [
            commit.subject for commit in column.fix.commits
        ] == ["Elsewhere", "One"]
        assert {str(cell.state) for cell in column.cells} == {"present", "missing, applies"}

    @pytest.mark.parametrize("series", ["main..main", "main..v1.0.0", "..main", "main..", "a...b"])
    def test_no_series(self, lab, series):
        with pytest.raises((UsageError, NotFoundError)):
            status(lab.path, [series])


class TestIntroduced:
    def record(self, tmp_path, fix: str, introduced: str):
        (tmp_path / "fixes").mkdir(exist_ok=True)
        (tmp_path / "fixes/F.toml").write_text(f'id = "F"\ncommits = ["{fix}"]\nintroduced-in = ["{introduced}"]\n')
        return tmp_path / "backports.toml"

    def test_a_branch_without_the_fault_is_not_affected(self, lab, tmp_path):
        fault = lab.commit("Add feature", {"b.go": "b\nfeature\n"})
        lab.git("branch", "faulty")
        fix = mend(lab)
        matrix = status(lab.path, ["F"], ledger=self.record(tmp_path, fix, fault))
        assert states(matrix) == {"faulty": "missing, applies", "main": "present", "old": "not affected"}
        assert "which introduced it" in why(matrix, "old")

    def test_a_fault_that_was_backported_too(self, lab, tmp_path):
        fault = lab.commit("Add feature", {"b.go": "b\nfeature\n"})
        fix = mend(lab)
        lab.switch("old")
        lab.clock += 60
        lab.git("cherry-pick", "-x", fault)
        assert states(status(lab.path, ["F"], ledger=self.record(tmp_path, fix, fault)))["old"] == "missing, applies"

    def test_an_unknown_fault_affects_everybody(self, lab, tmp_path):
        matrix = status(lab.path, ["F"], ledger=self.record(tmp_path, mend(lab), "d" * 40))
        assert states(matrix)["old"] == "missing, applies"


class TestOddClones:
    def test_merges_are_what_they_brought(self, lab):
        lab.switch("topic", "main")
        lab.commit("One", {"a.go": numbered(MENDED)})
        lab.commit("Two", {"b.go": "two\n"})
        lab.switch("main")
        lab.commit("Meanwhile", {"c.go": "c\n"})
        lab.clock += 60
        lab.git("merge", "-q", "--no-ff", "--no-edit", "topic")
        merge = lab.head
        lab.git("branch", "-D", "topic")
        assert states(status(lab.path, [merge])) == {"main": "present", "old": "missing, applies"}
        lab.switch("old")
        lab.clock += 60
        lab.git("cherry-pick", "-m", "1", merge)
        assert states(status(lab.path, [merge])) == {"main": "present", "old": "present"}
        with pytest.raises(UsageError, match="no parent 3"):
            status(lab.path, [merge], mainline=3)

    def test_a_fix_that_changes_nothing_is_none(self, lab):
        empty = lab.commit("Nothing")
        with pytest.raises(UsageError, match="changes nothing"):
            status(lab.path, [empty])

    def test_the_root_commit(self, lab):
        root = lab.git("rev-list", "--max-parents=0", "main")
        assert states(status(lab.path, [root])) == {"main": "present", "old": "present"}

    def test_a_submodule_moved(self, lab):
        for number in (1, 2):
            lab.git("update-index", "--add", "--cacheinfo", f"160000,{str(number) * 40},sub")
            lab.commit(f"Submodule {number}")
            if number == 1:
                lab.git("branch", "sub1")
        fix = lab.head
        lab.switch("main")
        matrix = status(lab.path, [fix])
        assert states(matrix) == {"main": "present", "old": "not affected", "sub1": "missing, applies"}

    def test_a_link_changed_on_both_sides_conflicts(self, lab):
        (lab.path / "link").symlink_to("one")
        lab.git("add", "link")
        lab.commit("Link")
        lab.git("branch", "linked")
        (lab.path / "link").unlink()
        (lab.path / "link").symlink_to("two")
        lab.git("add", "link")
        fix = lab.commit("Relink")
        lab.switch("linked")
        (lab.path / "link").unlink()
        (lab.path / "link").symlink_to("three")
        lab.git("add", "link")
        lab.commit("Relink here")
        assert states(status(lab.path, [fix]))["linked"] == "missing, conflicts"

    def test_shallow_clones_say_unknown_and_never_guess(self, lab, tmp_path):
        lab.commit("Before", {"a.go": numbered({1: "own"})})
        fix = lab.commit("Mend", {"a.go": numbered({1: "own", **MENDED})})
        lab.commit("After", {"b.go": "later\n"})
        clone = tmp_path / "shallow"
        shallow = ["git", "clone", "-q", "--depth=2", "--no-single-branch", f"file://{lab.path}", clone]
        subprocess.run(shallow, check=True)
        matrix = status(clone, [fix])
        assert states(matrix) == {"main": "present", "origin/old": "unknown"}
        assert "not everything that" in why(matrix, "origin/old")
        with pytest.raises(NotFoundError) as caught:
            status(clone, [lab.git("rev-parse", f"{fix}^")])
        assert "git fetch --unshallow" in str(caught.value.hint)

    def test_a_partial_clone_fetches_nothing(self, lab, tmp_path):
        fix = mend(lab)
        lab.git("config", "uploadpack.allowFilter", "true")
        clone = tmp_path / "partial"
        subprocess.run(
            ["git", "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{lab.path}", clone], check=True
        )
        shutil.move(lab.path, tmp_path / "gone")
        assert set(states(status(clone, [fix])).values()) <= {"present", "unknown", "missing, applies"}

    def test_worktrees_subfolders_bare_and_detached(self, lab, tmp_path):
        fix = mend(lab)
        expected = {"main": "present", "old": "missing, applies"}
        linked = tmp_path / "linked"
        lab.git("worktree", "add", "-q", "--detach", str(linked), "v1.0.0")
        (lab.path / "sub").mkdir()
        bare = tmp_path / "bare.git"
        subprocess.run(["git", "clone", "-q", "--mirror", lab.path, bare], check=True)
        lab.git("checkout", "-q", "--detach", "v1.0.0")
        for place in (linked, lab.path / "sub", bare, lab.path, lab.path / ".git"):
            assert states(status(place, [fix])) == expected, place

    def test_borrowed_objects_and_odd_names_of_folders(self, lab, tmp_path):
        fix = mend(lab)
        for name in ("shared", 'a:b "c', "\u2603 \n x"):
            clone = tmp_path / name
            subprocess.run(["git", "clone", "-q", "--shared", lab.path, clone], check=True)
            assert states(status(clone, [fix]))["origin/old"] == "missing, applies"

    def test_sha256(self, tmp_path):
        lab = Lab.make(tmp_path / "lib", "--object-format=sha256")
        lab.commit("Begin", {"a.go": numbered()})
        lab.git("branch", "old")
        lab.git("branch", "own")
        fix = mend(lab)
        lab.switch("own")
        lab.commit("Own", {"a.go": numbered({**MENDED, 2: "own"})})
        assert states(status(lab.path, [fix])) == {"main": "present", "old": "missing, applies", "own": "present"}

    def test_another_locale_and_a_hostile_environment(self, lab, monkeypatch, tmp_path):
        fix = mend(lab)
        lab.switch("old")
        lab.commit("Other", {"a.go": numbered({20: "something else"})})
        for name, value in {
            "LC_ALL": "de_DE.UTF-8",
            "LANGUAGE": "de",
            "GIT_DIR": "/nonexistent",
            "GIT_WORK_TREE": "/",
            "GIT_INDEX_FILE": "/x",
            "GIT_OBJECT_DIRECTORY": "/nonexistent",
            "GIT_PAGER": "false",
            "GIT_EXTERNAL_DIFF": "false",
            "GIT_TRACE": "1",
        }.items():
            monkeypatch.setenv(name, value)
        settings = tmp_path / "gitconfig"
        settings.write_text(
            "[color]\nui = always\n[log]\nshowSignature = true\ndate = relative\n[diff]\nexternal = false\nnoprefix = true\n"
            "renames = false\n[merge]\nconflictStyle = diff3\ndriver = x\n[core]\nquotePath = true\npager = false\n[format]\npretty = oneline\n"
            "[i18n]\nlogOutputEncoding = latin1\n"
        )
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
        assert states(status(lab.path, [fix])) == {"main": "present", "old": "missing, conflicts"}

    def test_names_that_are_not_ascii_or_not_utf8(self, lab):
        raw = b"g\xe4h.go".decode("utf-8", "surrogateescape")
        lab.commit("Add", {"größe ☃.go": numbered(), raw: numbered()})
        lab.git("branch", "odd")
        fix = lab.commit("Mend", {"größe ☃.go": numbered(MENDED), raw: numbered(MENDED)}, author=("Ö", "ö@example.com"))
        assert states(status(lab.path, [fix])) == {"main": "present", "odd": "missing, applies", "old": "not affected"}


class TestBranches:
    def test_remote_branches_count_and_equal_ones_once(self, lab, tmp_path):
        fix = mend(lab)
        clone = tmp_path / "clone"
        subprocess.run(["git", "clone", "-q", lab.path, clone], check=True)
        subprocess.run(["git", "-C", clone, "branch", "-q", "mine", "origin/old"], check=True)
        assert states(status(clone, [fix])) == {
            "main": "present",
            "mine": "missing, applies",
            "origin/old": "missing, applies",
        }
        assert states(status(clone, [fix], branches=("o*",))) == {"origin/old": "missing, applies"}

    def test_globs_and_support(self, common):
        path, fix = common.lab.path, common.fix
        matrix = status(path, [fix], branches=("crio-1.2[5-9]",))
        assert (len(matrix.columns[0].cells), matrix.complete) == (5, True)
        assert status(path, [fix], supported=("crio-1.27", "main")).complete
        assert not status(path, [fix], supported=("v0.59",)).complete
        with pytest.raises(NotFoundError, match=r"no branch of .* matches nothing-\*"):
            status(path, [fix], branches=("nothing-*",))

    def test_the_ledger_says_who_is_served_and_supported(self, common, tmp_path):
        book = tmp_path / "backports.toml"
        book.write_text(
            '[[branch]]\nlibrary = "library/common"\nname = "crio-1.24"\nbase = "v0.52.0"\nconsumer = "crio"\nconsumer-version = "1.24"\n'
            '[[branch]]\nlibrary = "library/common"\nname = "v0.59"\nbase = "v0.59.0"\nconsumer = "podman"\nsupported = false\n'
        )
        cells = {cell.branch.name: cell for cell in status(common.lab.path, [common.fix], ledger=book).columns[0].cells}
        assert cells["crio-1.24"].consumers == ("crio 1.24",)
        assert cells["crio-1.24"].lacking
        assert not cells["v0.59"].lacking
        assert not cells["v0.55"].lacking

    def test_several_fixes_are_columns(self, common):
        other = common.lab.git("rev-parse", "v0.60.0")
        matrix = status(common.lab.path, [common.fix, other])
        assert [column.fix.name for column in matrix.columns] == [common.fix, other]
        assert states(matrix, 1)["v0.61"] == "present"


class TestAbsent:
    def test_a_branch_of_the_ledger_that_is_not_here_may_lack_it(self, lab, tmp_path):
        fix = mend(lab)
        book = tmp_path / "book.toml"
        entry = f'library = "{lab.path.name}"\nname = "crio-1.9"\nbase = "v1"\nconsumer = "crio"\n'
        book.write_text(f"[[branch]]\n{entry}")
        found = status(lab.path, [fix], ledger=book)
        assert (states(found)["crio-1.9"], found.complete) == ("unknown", False)
        assert status(lab.path, [fix], ledger=book, branches=("main",)).complete


class TestNothingIsWritten:
    def test_not_a_byte_nor_a_time_of_the_clone_changes(self, common):
        before = common.lab.bytes()
        status(common.lab.path, [common.fix, common.oldest])
        assert common.lab.bytes() == before

    def test_not_even_where_the_clone_cannot_be_written(self, common, tmp_path):
        """A merge that leads to an object the clone has must not renew that object's time."""
        place = tmp_path / "read-only"
        shutil.copytree(common.lab.path, place, symlinks=True)
        lab = Lab(place)
        lab.git("gc", "-q")
        subprocess.run(["chmod", "-R", "a-w", place], check=True)
        before = lab.bytes()
        try:
            assert states(status(place, [common.fix]))["v0.59"] == "missing, applies"
            assert lab.bytes() == before
        finally:
            subprocess.run(["chmod", "-R", "u+w", place], check=True)

    def test_no_throw_away_folder_is_left(self, common, tmp_path, monkeypatch):
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        import tempfile

        monkeypatch.setattr(tempfile, "tempdir", None)
        status(common.lab.path, [common.fix])
        with pytest.raises(NotFoundError):
            status(common.lab.path, ["nonsense"])
        assert list(tmp_path.iterdir()) == []


def said_of_damage(lab: Lab, fix: str) -> str:
    """Return what a damaged repository leads to: an error, or that a branch is unknown, as versions of git differ."""
    try:
        return states(status(lab.path, [fix]))["old"]
    except (ContentError, NotFoundError) as error:
        return "one line" if "\n" not in str(error) else str(error)


class TestBadInput:
    def test_no_such_fix(self, lab, tmp_path):
        for name in (
            "nonsense",
            "",
            "-n",
            "--all",
            "--output=x",
            "d" * 40,
            "main:a.go",
            "v1.0.0^{tree}",
            "x\ny",
            "HEAD@{9999}",
        ):
            with pytest.raises((NotFoundError, UsageError)) as caught:
                status(lab.path, [name])
            assert "\n" not in str(caught.value)
        assert not (tmp_path / "x").exists()

    def test_no_such_place(self, tmp_path):
        (tmp_path / "file").write_text("")
        (tmp_path / "empty").mkdir()
        for place in ("absent", "file", "empty"):
            with pytest.raises(NotFoundError, match=place):
                status(tmp_path / place, ["main"])

    def test_a_repository_without_a_commit(self, tmp_path):
        lab = Lab.make(tmp_path / "lib")
        with pytest.raises(NotFoundError):
            status(lab.path, ["main"])

    def test_a_branch_whose_name_looks_like_an_option(self, lab):
        fix = mend(lab)
        lab.git("update-ref", "refs/heads/--upload-pack=x", "v1.0.0")
        lab.git("update-ref", "refs/heads/-d", "v1.0.0")
        found = states(status(lab.path, [fix]))
        assert found["--upload-pack=x"] == found["-d"] == "missing, applies"

    def test_an_abbreviation_of_several(self, lab):
        for number in range(300):
            lab.git("hash-object", "-w", "--stdin", stdin=f"{number}".encode())
        names = lab.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
        prefix = (
            next(name[:4] for name in names if sum(other.startswith(name[:4]) for other in names) > 1)
            if any(sum(other.startswith(name[:4]) for other in names) > 1 for name in names)
            else None
        )
        if prefix is None:
            pytest.skip("no two of 300 ids share four digits")
        with pytest.raises((UsageError, NotFoundError)):
            status(lab.path, [prefix])

    @pytest.mark.parametrize("kind", ["commit", "tree", "blob"])
    def test_a_damaged_repository(self, lab, kind):
        fix = mend(lab)
        name = {"commit": fix, "tree": f"{fix}^{{tree}}", "blob": f"{fix}:a.go"}[kind]
        oid = lab.git("rev-parse", name)
        path = lab.path / ".git/objects" / oid[:2] / oid[2:]
        path.chmod(0o644)
        path.write_bytes(b"damaged")
        if kind == "blob":
            # Nothing needs it: that old has the content from before is told by ids.
            assert states(status(lab.path, [fix]))["old"] == "missing, applies"
            lab.switch("old")
            lab.commit("Own", {"a.go": numbered({3: "own"})})
        assert said_of_damage(lab, fix) in {"unknown", "one line"}

    def test_a_damaged_pack(self, lab):
        fix = mend(lab)
        lab.git("repack", "-adq")
        (pack,) = (lab.path / ".git/objects/pack").glob("*.pack")
        pack.chmod(0o644)
        raw = bytearray(pack.read_bytes())
        raw[40:120] = b"x" * 80
        pack.write_bytes(raw)
        with pytest.raises((ContentError, NotFoundError)):
            status(lab.path, [fix])

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
    def test_somebody_elses_repository(self, lab, monkeypatch):
        for folder, folders, files in os.walk(lab.path):
            for name in (".", *folders, *files):
                os.chown(Path(folder, name), 12345, 12345, follow_symlinks=False)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        monkeypatch.delenv("SUDO_UID", raising=False)
        with pytest.raises(DeniedError, match="belongs to another user") as caught:
            status(lab.path, ["main"])
        assert "safe.directory" in str(caught.value.hint)

    def test_no_git(self, lab, monkeypatch):
        from haulout.errors import ToolError

        monkeypatch.setenv("PATH", "/nonexistent")
        with pytest.raises(ToolError, match="is not installed") as caught:
            status(lab.path, ["main"])
        assert caught.value.hint is not None

    def test_a_git_that_is_too_old(self, lab, monkeypatch, tmp_path):
        from haulout.errors import ToolError

        old = tmp_path / "bin/git"
        old.parent.mkdir()
        old.write_text("#!/bin/sh\necho git version 2.30.2\n")
        old.chmod(0o755)
        monkeypatch.setenv("PATH", str(old.parent))
        with pytest.raises(ToolError, match=r"2\.30\.2 is too old"):
            status(lab.path, ["main"])

    def test_aliases_of_a_record_that_is_not_there_are_listed(self, common, tmp_path):
        (tmp_path / "fixes").mkdir()
        (tmp_path / "fixes/a.toml").write_text(f'id = "{CVE}"\ncommits = ["{common.fix}"]\n')
        with pytest.raises(NotFoundError) as caught:
            status(common.lab.path, ["CVE-2024-9999"], ledger=tmp_path / "backports.toml")
        assert CVE in str(caught.value.hint)

    def test_a_backport_stands_in_for_an_upstream_that_is_not_here(self, common, tmp_path):
        (tmp_path / "fixes").mkdir()
        (tmp_path / "fixes/a.toml").write_text(
            f'id = "X"\ncommits = ["{"d" * 40}"]\n[[backport]]\nbranch = "v0.57"\ncommits = ["{common.oldest}"]\n'
        )
        matrix = status(common.lab.path, ["X"], ledger=tmp_path / "backports.toml")
        assert states(matrix) == states(status(common.lab.path, [common.fix]))

    def test_a_record_of_commits_that_are_not_here(self, common, tmp_path):
        (tmp_path / "fixes").mkdir()
        (tmp_path / "fixes/a.toml").write_text('id = "X"\ncommits = ["' + "d" * 40 + '"]\n')
        matrix = status(common.lab.path, ["X"], ledger=tmp_path / "backports.toml")
        assert set(states(matrix).values()) == {"unknown"}
        assert not matrix.complete


def test_a_branch_of_the_ledger_for_whom_no_version_is_said(common, tmp_path):
    book = tmp_path / "backports.toml"
    book.write_text('[[branch]]\nlibrary = "library/common"\nname = "crio-9.9"\nbase = "v0.53.0"\nconsumer = "crio"\n')
    matrix = status(common.lab.path, [common.fix], ledger=book)
    (shown,) = [one for one in matrix.to_dict()["fixes"][0]["branches"] if one["branch"] == "crio-9.9"]
    assert (shown["tip"], shown["state"], shown["consumers"]) == (None, "unknown", ["crio"])
    assert "\n".join(lines(matrix)).count("(for crio)") == 1
