"""``backport branch`` and ``backport pick`` with the real git: what they make, and that nothing is half made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from tests.support.libraries import ANNA, CVE, FILE, SUBJECT, Lab, security, source

from haulout.backports import pick as pick_anywhere
from haulout.backports import records, toml
from haulout.backports.branch import branch
from haulout.backports.fixes import fixes
from haulout.backports.ledger import load_ledger
from haulout.backports.log import log
from haulout.backports.model import Outcome
from haulout.backports.naming import Consumer
from haulout.backports.pick import abort_pick, resume_pick
from haulout.backports.status import status
from haulout.backports.suggestions import proposal
from haulout.errors import (
    ConflictError,
    ContentError,
    HauloutError,
    InvalidFile,
    NotFoundError,
    StorageError,
    UsageError,
)


def pick(*arguments, topic=None, exact=True, **more):
    """Pick exactly what is named, onto the branch itself, unless into a topic."""
    return pick_anywhere(*arguments, topic=topic, direct=topic is None, exact=exact, **more)


CRIO = Consumer.parse("crio-1.31")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return security(tmp_path_factory.mktemp("fixture") / "common")


@pytest.fixture
def common(made, tmp_path, monkeypatch):
    """A copy of fixture 1 whose temporary files are seen."""
    place = tmp_path / "common"
    shutil.copytree(made.lab.path, place, symlinks=True)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return type(made)(Lab(place, made.lab.clock), made.fix, made.oldest, made.present, made.missing, made.absent)


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "ledgers" / "backports.toml"
    path.parent.mkdir()
    path.write_text("")
    return path


def leftovers(lab: Lab) -> list[str]:
    """Return everything a pick may leave behind: worktrees, folders, refs, settings, files of git's sequencer."""
    scratch = Path(os.environ["TMPDIR"])
    found = [str(path) for path in scratch.iterdir()]
    found += lab.git("worktree", "list").splitlines()[1:]
    git = lab.path / ".git"
    names = ("CHERRY_PICK_HEAD", "sequencer", "rr-cache", "worktrees")
    found += [
        str(git / name)
        for name in names
        if (git / name).exists() and (name != "worktrees" or any((git / name).iterdir()))
    ]
    return found


class TestBranch:
    def test_a_branch_begins_at_the_tag_and_is_entered(self, common, book):
        done = branch(common.lab.path, "v0.53.0", CRIO, ledger=book)
        assert done.status == "created"
        assert common.lab.git("rev-parse", "crio-1.31") == common.lab.git("rev-parse", "v0.53.0")
        (kept,) = load_ledger(book).branches
        assert (kept.library, kept.base, kept.consumer, kept.consumer_version, kept.consumer_branch) == (
            "example.com/library/common",
            "v0.53.0",
            "crio",
            "1.31",
            "release-1.31",
        )
        assert kept.base_commit == common.lab.git("rev-parse", "v0.53.0^{commit}")
        text = book.read_bytes()
        again = branch(common.lab.path, "v0.53.0", CRIO, ledger=book)
        assert (again.status, again.recorded, book.read_bytes()) == ("present", False, text)

    def test_a_release_branch_that_serves_the_line_is_named(self, common, book):
        before = common.lab.git("for-each-ref"), book.read_text()
        done = branch(common.lab.path, "v0.59.0", CRIO, ledger=book)
        assert (done.status, done.instead) == ("refused", "v0.59")
        assert (common.lab.git("for-each-ref"), book.read_text()) == before

    def test_a_branch_for_rhel_goes_beside_the_release_branch(self, common, book):
        rhel = Consumer.parse("podman-5.8", rhel=True)
        assert branch(common.lab.path, "v0.59.0", rhel, ledger=book).entry.name == "podman-5.8-rhel"
        common.lab.git("branch", "v0.60-rhel", "v0.60.0")
        assert (
            branch(common.lab.path, "v0.60.0", Consumer.parse("podman-5.9", rhel=True), ledger=book).instead
            == "v0.60-rhel"
        )

    def test_a_name_that_is_taken_at_another_base(self, common, book):
        done = branch(common.lab.path, "v0.53.0", Consumer.parse("crio-1.26"), ledger=book)
        assert done.status == "refused"
        assert done.reason == "crio-1.26 already exists, based on v0.52.0, not on v0.53.0"
        assert branch(common.lab.path, "v0.52.0", Consumer.parse("crio-1.26"), ledger=book).status == "present"

    def test_a_name_that_another_remote_or_the_ledger_has(self, common, book, tmp_path):
        clone = Lab(tmp_path / "clone")
        subprocess.run(["git", "clone", "-q", common.lab.path, clone.path], check=True)
        assert branch(clone.path, "v0.53.0", Consumer.parse("crio-1.26"), ledger=book).instead == "origin/crio-1.26"
        assert branch(clone.path, "v0.59.0", CRIO, ledger=book).instead == "v0.59"
        branch(common.lab.path, "v0.53.0", CRIO, ledger=book)
        assert "the ledger already has crio-1.31 at v0.53.0" in str(
            branch(clone.path, "v0.52.0", CRIO, ledger=book).reason
        )

    def test_no_such_tag_and_a_broken_ledger(self, common, book):
        with pytest.raises(NotFoundError) as caught:
            branch(common.lab.path, "v0.53.1", CRIO, ledger=book)
        assert "v0.53.0" in str(caught.value.hint)
        book.write_text("[[branch]]\nx\n")
        with pytest.raises(InvalidFile):
            branch(common.lab.path, "v0.53.0", CRIO, ledger=book)
        assert common.lab.git("branch", "--list", "crio-1.31") == ""

    def test_several_consumers_may_share_a_tag(self, common, book):
        for name in ("crio-1.31", "podman-5.1"):
            assert branch(common.lab.path, "v0.53.0", Consumer.parse(name), ledger=book).status == "created"
        assert [kept.name for kept in load_ledger(book).of("common")] == ["crio-1.31", "podman-5.1"]


class TestPick:
    def test_a_pick_is_one_commit_with_its_author_and_source(self, common, book):
        lab = common.lab
        before = lab.git("rev-parse", "v0.59")
        done = pick(lab.path, "v0.59", [common.fix], ledger=book)
        assert (done.outcome, done.before, done.after) == (Outcome.PICKED, before, lab.git("rev-parse", "v0.59"))
        assert lab.git("rev-parse", "v0.59^") == before
        assert lab.git("show", "-s", "--format=%an <%ae> %at", "v0.59") == lab.git(
            "show", "-s", "--format=%an <%ae> %at", common.fix
        )
        assert (
            lab.git("show", "-s", "--format=%B", "v0.59").rstrip().endswith(f"(cherry picked from commit {common.fix})")
        )
        assert leftovers(lab) == []
        assert lab.git("status", "--porcelain") == ""
        (record,) = records.load_all(book)
        assert (record.id, record.commits, record.backports[0].commits) == (CVE, (common.fix,), (done.after,))

    def test_what_is_there_is_passed_over(self, common, book):
        done = pick(common.lab.path, "v0.60", [common.fix], ledger=book)
        assert (done.outcome, done.present, done.before) == (Outcome.PRESENT, (common.fix,), done.after)
        assert leftovers(common.lab) == []
        assert records.load_all(book) == ()

    def test_a_series_in_order_with_one_that_is_there(self, common, book):
        lab = common.lab
        start = lab.head
        for number in range(4):
            lab.commit(f"Step {number}", {f"step{number}.go": "x\n"}, author=ANNA)
        lab.switch("v0.59")
        lab.commit("Have it", {"step1.go": "x\n"})
        lab.switch("main")
        done = pick(lab.path, "v0.59", [f"{start}..main"], ledger=book)
        assert [one.subject for one in done.picked] == ["Step 0", "Step 2", "Step 3"]
        assert done.present == (lab.git("rev-parse", "main~2"),)
        assert lab.git("log", "--format=%s", "-3", "v0.59").splitlines() == ["Step 3", "Step 2", "Step 0"]
        (record,) = records.load_all(book)
        assert len(record.commits) == 3
        assert proposal(done).title.startswith("[v0.59] Backport commit-")

    def test_the_text_of_the_pull_request_and_no_push(self, common, book, tmp_path):
        lab = common.lab
        bare = tmp_path / "origin.git"
        subprocess.run(["git", "init", "-q", "--bare", bare], check=True)
        lab.git("remote", "add", "origin", str(bare))
        lab.git("push", "-q", "origin", "--all")
        done = pick(lab.path, "v0.59", [common.fix], ledger=book)
        sent = proposal(done)
        assert (sent.base, sent.head) == ("v0.59", f"backport-{CVE}-to-v0.59")
        assert sent.title == f"[v0.59] {SUBJECT}"
        assert common.fix in sent.body
        refs = ["git", "--git-dir", str(bare), "for-each-ref"]
        before = subprocess.check_output(refs)
        assert sent.head.encode() not in before
        subprocess.run(sent.push, shell=True, cwd=lab.path, check=True, capture_output=True)
        assert sent.head.encode() in subprocess.check_output(refs)

    def test_subjects_cannot_call_people_or_write_html(self, common):
        evil = common.lab.commit("Ping @everyone <img src=x> [click](http://example.com)", {"x.go": "x\n"})
        body = proposal(pick(common.lab.path, "v0.59", [evil])).body
        assert "@everyone" not in body
        assert "<img" not in body.replace("\\<", "")

    def test_a_topic_leaves_the_branch_alone(self, common):
        lab = common.lab
        lab.switch("v0.59")
        before = lab.git("rev-parse", "v0.59")
        with pytest.raises(ConflictError, match="checked out"):
            pick(lab.path, "v0.59", [common.fix])
        done = pick(lab.path, "v0.59", [common.fix], topic="fix-v0.59")
        assert lab.git("rev-parse", "v0.59") == before
        assert lab.git("rev-parse", "fix-v0.59^") == before
        assert (done.target, proposal(done).base, proposal(done).head) == ("fix-v0.59", "v0.59", "fix-v0.59")
        with pytest.raises(ConflictError, match="already exists"):
            pick(lab.path, "v0.59", [common.fix], topic="fix-v0.59")
        for wrong in ("-x", "a..b", "a b", "x.lock", "@{-1}"):
            with pytest.raises(UsageError, match="not a branch name"):
                pick(lab.path, "v0.59", [common.fix], topic=wrong)

    def test_a_branch_that_only_the_remote_has(self, common, tmp_path):
        clone = Lab(tmp_path / "clone")
        subprocess.run(["git", "clone", "-q", common.lab.path, clone.path], check=True)
        clone.git("config", "user.name", "B")
        clone.git("config", "user.email", "b@example.com")
        done = pick(clone.path, "v0.59", [common.fix])
        assert (done.branch, done.target) == ("origin/v0.59", "v0.59")
        assert clone.git("rev-parse", "v0.59^") == clone.git("rev-parse", "origin/v0.59")
        assert proposal(done).base == "v0.59"
        common.lab.switch("v0.58")
        common.lab.commit("Ahead", {"x": "x"})
        clone.git("branch", "-q", "--no-track", "v0.58", "origin/v0.58")
        clone.git("fetch", "-q")
        with pytest.raises(ConflictError, match=r"v0\.58 lacks commits of origin/v0\.58"):
            pick(clone.path, "v0.58", [common.fix], force=True)

    def test_a_merge_is_its_commits_or_one_with_its_mainline(self, common):
        lab = common.lab
        start = lab.head
        lab.switch("topic", "main")
        lab.commit("One", {"one.go": "x\n"})
        lab.commit("Two", {"two.go": "x\n"})
        lab.switch("main")
        lab.clock += 60
        lab.git("merge", "-q", "--no-ff", "-m", "Merge topic", "topic")
        merge = lab.head
        for number, wanted in enumerate((merge, f"{start}..main")):
            done = pick(lab.path, "v0.59", [wanted], topic=f"single-{number}")
            assert [one.subject for one in done.picked] == ["One", "Two"]
        with pytest.raises(UsageError, match="no parent 3"):
            pick(lab.path, "v0.59", [merge], mainline=3)
        assert leftovers(lab) == []
        done = pick(lab.path, "v0.59", [f"{start}..main"], mainline=1)
        assert [one.subject for one in done.picked] == ["Merge topic"]
        assert lab.git("ls-tree", "--name-only", "v0.59", "one.go", "two.go").split() == ["one.go", "two.go"]

    def test_who_commits_is_asked_for(self, common, monkeypatch, tmp_path):
        lab = common.lab
        lab.git("config", "--unset", "user.name")
        lab.git("config", "--unset", "user.email")
        lab.git("config", "user.useConfigOnly", "true")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        with pytest.raises(UsageError, match="no committer is set") as caught:
            pick(lab.path, "v0.59", [common.fix])
        assert "user.email" in str(caught.value.hint)
        assert leftovers(lab) == []

    def test_a_pick_of_a_backport_is_known_as_the_fix(self, common, book):
        """What was picked from another branch is told from there to upstream."""
        lab = common.lab
        pick(lab.path, "v0.59", [common.fix], ledger=book)
        pick(lab.path, "crio-1.24", [common.oldest], ledger=book)
        (line,) = [
            line for line in log(lab.path, "crio-1.24", ledger=book, base="v0.52.0").lines if line.kind == "pick"
        ]
        assert line.origin is not None
        assert (line.origin.oid, line.origin.via, line.origin.upstream) == (common.fix, common.oldest, True)

    def test_a_submodule_and_a_mode(self, common):
        lab = common.lab
        lab.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
        lab.write("run.sh", "#!/bin/sh\n")
        lab.git("add", "run.sh")
        lab.git("update-index", "--chmod=+x", "run.sh")
        made = lab.commit("Submodule and script")
        done = pick(lab.path, "v0.59", [made])
        assert "160000 commit" in lab.git("ls-tree", "v0.59", "sub")
        assert "100755 blob" in lab.git("ls-tree", "v0.59", "run.sh")
        assert done.outcome is Outcome.PICKED

    def test_line_ends_are_kept(self, common):
        lab = common.lab
        lab.commit("Windows", {"dos.txt": "one\r\ntwo\r\n"})
        start = lab.head
        lab.git("branch", "dos")
        made = lab.commit("Change", {"dos.txt": "one\r\nTWO\r\n"})
        pick(lab.path, "dos", [made])
        assert lab.git("cat-file", "blob", "dos:dos.txt") == "one\r\nTWO\r"
        assert start != made


def conflicting(common, book):
    """Pick upstream's variant onto a branch where only a backport of it applies."""
    return pick(common.lab.path, "crio-1.24", [common.fix], ledger=book)


class TestConflict:
    def test_it_stops_with_the_files_the_prerequisites_and_another_form(self, common, book):
        before = common.lab.git("rev-parse", "crio-1.24")
        done = conflicting(common, book)
        assert done.outcome is Outcome.CONFLICT
        assert done.stop is not None
        assert done.stop.files == (FILE,)
        assert [one.subject for one in done.stop.prerequisites][:2] == ["Work on 0.61", "Work on 0.60"]
        assert len(done.stop.instead) == 1
        assert common.lab.git("rev-parse", "crio-1.24") == before
        assert "locked haulout backport pick onto refs/heads/crio-1.24" in common.lab.git(
            "worktree", "list", "--porcelain"
        )
        assert abort_pick(common.lab.path, "crio-1.24").outcome is Outcome.ABORTED
        assert common.lab.git("rev-parse", "crio-1.24") == before
        assert leftovers(common.lab) == []
        other = pick(common.lab.path, "crio-1.24", [done.stop.instead[0].oid], ledger=book)
        assert other.outcome is Outcome.PICKED

    def test_resolved_it_goes_on(self, common, book):
        lab = common.lab
        after = lab.commit("FollowUp", {"later.go": "x\n"})
        done = pick(lab.path, "crio-1.24", [common.fix, after], ledger=book)
        assert done.stop is not None
        place = Lab(done.stop.worktree, lab.clock)
        place.write(FILE, source(52, safe=True))
        place.git("add", FILE)
        done = resume_pick(lab.path, "crio-1.24", ledger=book)
        assert done.outcome is Outcome.PICKED
        assert [one.source for one in done.picked] == [common.fix, after]
        message = lab.git("show", "-s", "--format=%B", "crio-1.24^")
        assert f"(cherry picked from commit {common.fix})" in message
        assert f"\n\nConflicts:\n\t{FILE}\n\n(cherry picked from" in message
        assert lab.git("show", "-s", "--format=%an", "crio-1.24^") == ANNA[0]
        assert leftovers(lab) == []
        assert status(lab.path, [common.fix], branches=("crio-1.24",)).complete
        assert {record.id for record in records.load_all(book)} == {CVE}

    def test_markers_never_become_a_commit(self, common, book):
        done = conflicting(common, book)
        assert done.stop is not None
        place = Lab(done.stop.worktree)
        assert "<<<<<<<" in (place.path / FILE).read_text()
        with pytest.raises(ConflictError, match="still in conflict"):
            resume_pick(common.lab.path, "crio-1.24")
        place.git("add", FILE)
        with pytest.raises(ConflictError, match=f"conflict markers in {FILE}"):
            resume_pick(common.lab.path, "crio-1.24")
        # Not even where somebody commits them with git itself.
        place.git(
            "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "core.editor=true", "cherry-pick", "--continue"
        )
        with pytest.raises(ConflictError, match="conflict markers in"):
            resume_pick(common.lab.path, "crio-1.24")
        abort_pick(common.lab.path, "crio-1.24")
        for ref in common.lab.git("for-each-ref", "--format=%(refname)", "refs/heads").split():
            assert common.lab.git("grep", "-l", "^<<<<<<< ", ref, "--", check=False) == ""
        assert leftovers(common.lab) == []

    def test_markers_that_the_fix_itself_has_are_content(self, common):
        lab = common.lab
        made = lab.commit("Test data", {"testdata/conflict.txt": "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n"})
        assert pick(lab.path, "v0.59", [made]).outcome is Outcome.PICKED

    def test_changes_that_are_not_staged_are_not_lost(self, common, book):
        done = conflicting(common, book)
        assert done.stop is not None
        place = Lab(done.stop.worktree)
        place.write(FILE, source(52, safe=True))
        place.git("add", FILE)
        place.write(FILE, source(52, safe=True, tail="// more"))
        with pytest.raises(ConflictError, match="changed and not staged"):
            resume_pick(common.lab.path, "crio-1.24")
        abort_pick(common.lab.path, "crio-1.24")

    def test_resolved_to_nothing_it_was_there(self, common, book):
        done = conflicting(common, book)
        assert done.stop is not None
        place = Lab(done.stop.worktree)
        place.git("checkout", "HEAD", "--", FILE)
        done = resume_pick(common.lab.path, "crio-1.24", ledger=book)
        assert (done.outcome, done.present) == (Outcome.PRESENT, (common.fix,))
        assert leftovers(common.lab) == []

    def test_one_at_a_time(self, common, book):
        conflicting(common, book)
        with pytest.raises(ConflictError, match="in progress") as caught:
            pick(common.lab.path, "crio-1.24", [common.fix])
        assert f"--continue --lib {common.lab.path}; or --abort" in str(caught.value.hint)
        assert pick(common.lab.path, "v0.59", [common.fix]).outcome is Outcome.PICKED, "another branch is free"
        abort_pick(common.lab.path, "crio-1.24")

    def test_a_branch_that_moved_meanwhile_is_not_overwritten(self, common, book):
        lab = common.lab
        done = conflicting(common, book)
        assert done.stop is not None
        lab.git("update-ref", "refs/heads/crio-1.24", lab.git("rev-parse", "crio-1.25"))
        place = Lab(done.stop.worktree)
        place.write(FILE, source(52, safe=True))
        place.git("add", FILE)
        with pytest.raises(ConflictError, match="has moved"):
            resume_pick(lab.path, "crio-1.24")
        assert lab.git("rev-parse", "crio-1.24") == lab.git("rev-parse", "crio-1.25")
        abort_pick(lab.path, "crio-1.24")

    def test_a_worktree_removed_by_hand(self, common, book):
        done = conflicting(common, book)
        assert done.stop is not None
        shutil.rmtree(done.stop.worktree)
        with pytest.raises(ConflictError, match="worktree of the picks is gone"):
            resume_pick(common.lab.path, "crio-1.24")
        assert abort_pick(common.lab.path, "crio-1.24").outcome is Outcome.ABORTED
        assert leftovers(common.lab) == []

    def test_nothing_to_go_on_with(self, common):
        for verb in (resume_pick, abort_pick):
            with pytest.raises(NotFoundError, match="are in progress"):
                verb(common.lab.path, "crio-1.24")

    def test_gits_own_commands_work_in_the_worktree(self, common, book):
        """The state is git's: whoever prefers plain git may use it."""
        done = conflicting(common, book)
        assert done.stop is not None
        place = Lab(done.stop.worktree)
        place.write(FILE, source(52, safe=True))
        place.git("add", FILE)
        place.git(
            "-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "core.editor=true", "cherry-pick", "--continue"
        )
        assert resume_pick(common.lab.path, "crio-1.24", ledger=book).outcome is Outcome.PICKED

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
    def test_killed_in_the_middle(self, common, number, tmp_path):
        """A hook that waits makes the middle long."""
        lab = common.lab
        hook = lab.path / ".git/hooks/post-checkout"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexec sleep 2\n")
        hook.chmod(0o755)
        before = lab.git("rev-parse", "v0.59")
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "haulout",
                "backport",
                "pick",
                "v0.59",
                common.fix,
                "--direct",
                "--lib",
                str(lab.path),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        )
        deadline = time.monotonic() + 30
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
        assert b"Traceback" not in err
        hook.unlink()
        assert lab.git("rev-parse", "v0.59") == before
        if number == signal.SIGKILL:
            time.sleep(2.5)
            with pytest.raises(ConflictError, match="in progress"):
                pick(lab.path, "v0.59", [common.fix])
            abort_pick(lab.path, "v0.59")
        assert leftovers(lab) == []
        assert pick(lab.path, "v0.59", [common.fix]).outcome is Outcome.PICKED


class TestBrokenOff:
    """What people and signals do to picks under way."""

    def series(self, common) -> tuple[Lab, list[str]]:
        lab = common.lab
        return lab, [common.fix, *(lab.commit(f"More {number}", {f"more{number}.go": "x\n"}) for number in range(2))]

    def resolve(self, done) -> Lab:
        assert done.stop is not None
        place = Lab(done.stop.worktree)
        place.write(FILE, source(52, safe=True))
        place.git("add", FILE)
        return place

    def test_a_pick_committed_by_hand_is_not_the_end_of_its_series(self, common):
        lab, wanted = self.series(common)
        place = self.resolve(pick(lab.path, "crio-1.24", wanted))
        place.git("-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-q", "--no-edit")
        done = resume_pick(lab.path, "crio-1.24")
        assert [one.source for one in done.picked] == wanted
        assert leftovers(lab) == []

    COMMITTER = ("-c", "user.name=x", "-c", "user.email=x@example.com")

    def test_committed_with_another_message_it_is_still_known_what_it_was(self, common, book):
        lab = common.lab
        place = self.resolve(pick(lab.path, "crio-1.24", [common.fix], ledger=book))
        place.git(*self.COMMITTER, "commit", "-q", "-m", "In my own words\n\nSigned-off-by: X <x@example.com>")
        done = resume_pick(lab.path, "crio-1.24", ledger=book)
        assert [(one.source, one.subject) for one in done.picked] == [(common.fix, "In my own words")]
        said = lab.git("show", "-s", "--format=%B", "crio-1.24").rstrip()
        assert said == (
            f"In my own words\n\nSigned-off-by: X <x@example.com>\n(cherry picked from commit {common.fix})"
        )
        assert lab.git("show", "-s", "--format=%an", "crio-1.24") == ANNA[0]
        (record,) = records.load_all(book)
        assert (record.commits, record.backports[0].commits) == ((common.fix,), (done.after,))
        assert leftovers(lab) == []

    @pytest.mark.parametrize("by_hand", [False, True])
    def test_a_series_with_another_message_in_it(self, common, by_hand):
        lab, wanted = self.series(common)
        place = self.resolve(pick(lab.path, "crio-1.24", wanted))
        place.git(*self.COMMITTER, "commit", "-q", "-m", "No source")
        if by_hand:
            place.git(*self.COMMITTER, "-c", "core.editor=true", "cherry-pick", "--continue")
        done = resume_pick(lab.path, "crio-1.24")
        assert [one.source for one in done.picked] == wanted
        assert lab.git("log", "--format=%s", "-3", "crio-1.24").splitlines() == ["More 1", "More 0", "No source"]
        assert lab.git("fsck", "--no-dangling") == ""
        assert leftovers(lab) == []

    def test_where_it_cannot_be_told_what_was_picked_it_stops(self, common):
        lab, wanted = self.series(common)
        before = lab.git("rev-parse", "crio-1.24")
        place = self.resolve(pick(lab.path, "crio-1.24", wanted))
        place.git(*self.COMMITTER, "commit", "-q", "-m", "Not the author's", "--reset-author")
        with pytest.raises(ConflictError, match="does not name what it was picked from") as caught:
            resume_pick(lab.path, "crio-1.24")
        assert "git commit --amend" in str(caught.value.hint)
        assert lab.git("rev-parse", "crio-1.24") == before
        abort_pick(lab.path, "crio-1.24")

    def test_a_commit_of_their_own_between_picks_is_refused(self, common):
        lab = common.lab
        place = self.resolve(pick(lab.path, "crio-1.24", [common.fix]))
        place.git(*self.COMMITTER, "commit", "-q", "--no-edit")
        place.write("own.go", "x\n")
        place.git("add", "own.go")
        place.git(*self.COMMITTER, "commit", "-q", "-m", "Make it build")
        with pytest.raises(ConflictError, match="Make it build") as caught:
            resume_pick(lab.path, "crio-1.24")
        assert "join it to the pick before it" in str(caught.value.hint)
        place.git(*self.COMMITTER, "reset", "-q", "--soft", "HEAD^")
        place.git(*self.COMMITTER, "commit", "-q", "--amend", "--no-edit")
        assert resume_pick(lab.path, "crio-1.24").outcome is Outcome.PICKED
        assert leftovers(lab) == []

    def test_a_hook_that_takes_the_source_away(self, common):
        lab = common.lab
        hook = lab.path / ".git/hooks/prepare-commit-msg"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho mine > $1\n")
        hook.chmod(0o755)
        done = pick(lab.path, "v0.59", [common.fix])
        assert [one.source for one in done.picked] == [common.fix]
        assert lab.git("show", "-s", "--format=%B", "v0.59").rstrip() == (
            f"mine\n\n(cherry picked from commit {common.fix})"
        )

    @pytest.mark.parametrize("back", [True, False])
    def test_a_branch_taken_back_meanwhile_stays_where_it_was_put(self, common, back):
        lab = common.lab
        lab.switch("crio-1.24")
        lab.commit("A commit to be taken back", {"oops.go": "x\n"})
        lab.switch("main")
        start = lab.git("rev-parse", "crio-1.24")
        self.resolve(pick(lab.path, "crio-1.24", [common.fix]))
        lab.git("branch", "-q", *(("-f", "crio-1.24", "crio-1.24~1") if back else ("-D", "crio-1.24")))
        now = lab.git("for-each-ref", "refs/heads/crio-1.24")
        with pytest.raises(ConflictError, match="has moved" if back else "is gone") as caught:
            resume_pick(lab.path, "crio-1.24")
        assert lab.git("for-each-ref", "refs/heads/crio-1.24") == now
        hint = str(caught.value.hint)
        assert f"--abort --lib {lab.path}" in hint
        subprocess.run(hint.partition("put it back: ")[2].partition(",")[0], shell=True, cwd=lab.path, check=True)
        assert lab.git("rev-parse", "crio-1.24") == start
        assert resume_pick(lab.path, "crio-1.24").outcome is Outcome.PICKED
        assert leftovers(lab) == []

    def test_given_up_with_git_is_not_already_there(self, common):
        lab, _ = self.series(common)
        done = pick(lab.path, "crio-1.24", [common.fix])
        assert done.stop is not None
        Lab(done.stop.worktree).git("cherry-pick", "--abort")
        with pytest.raises(ConflictError, match="nothing was picked"):
            resume_pick(lab.path, "crio-1.24")
        abort_pick(lab.path, "crio-1.24")

    def test_a_branch_checked_out_meanwhile_does_not_move(self, common):
        lab = common.lab
        self.resolve(pick(lab.path, "crio-1.24", [common.fix]))
        lab.switch("crio-1.24")
        with pytest.raises(ConflictError, match="is checked out in"):
            resume_pick(lab.path, "crio-1.24")
        assert lab.git("status", "--porcelain") == ""
        lab.switch("main")
        assert resume_pick(lab.path, "crio-1.24").outcome is Outcome.PICKED

    def test_lines_of_a_message_that_look_like_comments_stay(self, common):
        lab = common.lab
        message = "#123: a fix\n\n# not a comment"
        wanted = [lab.commit(message, {FILE: source(62, safe=True, tail="// 1")}), lab.commit("#2", {"two.go": "x\n"})]
        self.resolve(pick(lab.path, "crio-1.24", wanted))
        done = resume_pick(lab.path, "crio-1.24")
        assert [one.subject for one in done.picked] == ["#123: a fix", "#2"]
        said = lab.git("show", "-s", "--format=%B", "crio-1.24^")
        assert said.strip() == f"{message}\n\nConflicts:\n\t{FILE}\n\n(cherry picked from commit {wanted[0]})"

    def test_another_branch_of_a_similar_name_is_not_given_up(self, common):
        lab = common.lab
        lab.git("branch", "team/crio-1.24", "crio-1.24")
        pick(lab.path, "team/crio-1.24", [common.fix])
        with pytest.raises(NotFoundError, match="are in progress"):
            abort_pick(lab.path, "crio-1.24")
        abort_pick(lab.path, "team/crio-1.24")

    def test_of_several_topics_one_must_be_named(self, common):
        lab = common.lab
        for topic in ("one", "two"):
            pick(lab.path, "crio-1.24", [common.fix], topic=topic)
        with pytest.raises(UsageError, match="several picks") as caught:
            abort_pick(lab.path, "crio-1.24")
        assert "one, two" in str(caught.value.hint)
        assert abort_pick(lab.path, "two").target == "two"
        assert abort_pick(lab.path, "crio-1.24").target == "one"

    def test_worktrees_of_the_user_that_are_away_are_not_forgotten(self, common, tmp_path):
        lab = common.lab
        lab.git("worktree", "add", "-q", "-b", "away", str(tmp_path / "disk"))
        (tmp_path / "disk").rename(tmp_path / "not-mounted")
        assert pick(lab.path, "v0.59", [common.fix]).outcome is Outcome.PICKED
        assert str(tmp_path / "disk") in lab.git("worktree", "list")

    def test_long_markers(self, common):
        lab = common.lab
        lab.switch("crio-1.24")
        lab.commit("Attributes", {".gitattributes": "*.go conflict-marker-size=12\n"})
        lab.switch("main")
        done = conflicting(common, None)
        assert done.stop is not None
        Lab(done.stop.worktree).git("add", FILE)
        with pytest.raises(ConflictError, match="conflict markers"):
            resume_pick(lab.path, "crio-1.24")
        abort_pick(lab.path, "crio-1.24")

    def test_a_topic_that_cannot_be_beside_its_branch(self, common):
        with pytest.raises(ConflictError, match="git cannot have a branch"):
            pick(common.lab.path, "v0.59", [common.fix], topic="v0.59/fix")
        assert leftovers(common.lab) == []

    @pytest.mark.parametrize("name", ["a\u00a0b", "a\u2028b", "a\u0085b"])
    def test_spaces_of_unicode_in_names(self, common, name):
        lab = common.lab
        lab.git("update-ref", f"refs/heads/{name}", lab.git("rev-parse", "crio-1.24"))
        lab.git("tag", name, "crio-1.24")
        assert pick(lab.path, name, [common.fix]).outcome is Outcome.CONFLICT
        assert abort_pick(lab.path, name).outcome is Outcome.ABORTED
        assert leftovers(lab) == []

    def test_a_shallow_clone_does_not_give_everything_for_a_fix(self, tmp_path):
        whole = Lab.make(tmp_path / "whole")
        whole.commit("Begin", {"a.go": "a\n"})
        whole.git("branch", "v1.0")
        whole.commit("Feature", {"feature.go": "x\n"})
        whole.commit("Fix", {"guard.go": "x\n"})
        shallow = Lab(tmp_path / "shallow")
        subprocess.run(
            ["git", "clone", "-q", "--depth=1", "--no-single-branch", f"file://{whole.path}", shallow.path], check=True
        )
        with pytest.raises(ContentError, match="not in this shallow clone"):
            pick(shallow.path, "v1.0", ["main"])
        assert shallow.git("branch", "--list", "v1.0") == ""


class TestWritten:
    def test_an_id_that_cannot_be_is_refused_before_anything_moves(self, common, book):
        lab = common.lab
        before = lab.git("rev-parse", "v0.59")
        folder = records.folder(book)
        folder.mkdir()
        (folder / "taken.toml").write_text(f'id = "other"\ncommits = ["{"0" * 40}"]\n')
        for name in ("a/b", "other", "taken"):
            with pytest.raises(UsageError):
                pick(lab.path, "v0.59", [common.fix], ledger=book, record=name)
        assert lab.git("rev-parse", "v0.59") == before
        assert leftovers(lab) == []

    def test_a_file_with_another_id_is_not_overwritten(self, common, book):
        folder = records.folder(book)
        folder.mkdir()
        text = f'id = "other"\ncommits = ["{"0" * 40}"]\n'
        (folder / f"{CVE}.toml").write_text(text)
        done = pick(common.lab.path, "v0.59", [common.fix], ledger=book)
        assert done.recorded == (folder / f"commit-{common.fix[:12]}.toml",)
        assert (folder / f"{CVE}.toml").read_text() == text

    @pytest.mark.parametrize("kind", ["file", "link", "nowhere"])
    def test_where_no_record_can_be_written_nothing_is_picked(self, common, book, kind):
        lab = common.lab
        folder = records.folder(book)
        if kind == "file":
            folder.write_text("")
        else:
            folder.symlink_to("/proc/self" if kind == "link" else "/nowhere/at/all")
        before = lab.git("for-each-ref")
        for act in (
            lambda: pick(lab.path, "v0.59", [common.fix], ledger=book),
            lambda: pick(lab.path, "crio-1.24", [common.fix], ledger=book),
        ):
            with pytest.raises(StorageError, match="fixes"):
                act()
        assert lab.git("for-each-ref") == before
        assert leftovers(lab) == []

    def test_where_no_ledger_can_be_written_no_branch_is_made(self, common):
        with pytest.raises(StorageError):
            branch(common.lab.path, "v0.53.0", CRIO, ledger=Path("/proc/self/backports.toml"))
        assert common.lab.git("branch", "--list", "crio-1.31") == ""

    @pytest.mark.parametrize("grown", [False, True])
    def test_what_could_not_be_written_after_all_is_told(self, common, book, grown):
        """A hook takes the folder away while the pick is made."""
        lab = common.lab
        folder = records.folder(book)
        if grown:
            pick(lab.path, "v0.55", [common.fix], ledger=book)
        hook = lab.path / ".git/hooks/post-commit"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\nmv {folder} {folder}.away\ntouch {folder}\n")
        hook.chmod(0o755)
        where = ("--lib", str(lab.path), "--ledger", str(book), "--direct")
        said = subprocess.run(
            [sys.executable, "-m", "haulout", "backport", "pick", "v0.59", common.fix, *where],
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == StorageError.exit_code, said
        assert lab.git("log", "-1", "--format=%s", "v0.59") == SUBJECT
        assert "not recorded, although v0.59 has moved" in said.stdout
        assert "to publish it: git push REMOTE v0.59" in said.stdout
        lines = said.stdout.splitlines()
        at = lines.index(f"add this to {folder / CVE}.toml yourself:")
        text = "\n".join(line[2:] for line in lines[at + 1 : lines.index(next(x for x in lines if "to publish" in x))])
        folder.unlink()
        if (away := folder.with_name("fixes.away")).exists():
            away.rename(folder)
        folder.mkdir(exist_ok=True)
        with (folder / f"{CVE}.toml").open("a") as file:
            file.write(text)
        (record,) = records.load_all(book)
        assert record.commits == (common.fix,)
        assert record.backports[-1].branch == "v0.59"
        assert record.backports[-1].commits == (lab.git("rev-parse", "v0.59"),)

    @pytest.mark.parametrize(
        "backports",
        [
            '[[backport]]\nbranch = "v0.59"\n',
            '[[backport]]\nbranch = "v0.59"\ncommits = "0123456"\n',
            "backport = []\n",
            'backport = [{branch = "x", commits = ["0123456"]}]\n',
        ],
    )
    def test_records_as_people_may_write_them(self, common, book, backports):
        folder = records.folder(book)
        folder.mkdir()
        (folder / "a.toml").write_text(f'id = "A"\ncommits = ["{common.fix}"]\n{backports}')
        done = pick(common.lab.path, "v0.59", ["A"], ledger=book)
        (record,) = records.load_all(book)
        (grown,) = [one for one in record.backports if one.branch == "v0.59"]
        assert grown.commits[-1:] == (done.after,)

    def test_a_ledger_with_an_inline_array(self, common, book):
        book.write_text("branch = []\n")
        branch(common.lab.path, "v0.53.0", CRIO, ledger=book)
        assert [one.name for one in load_ledger(book).branches] == ["crio-1.31"]


@pytest.fixture
def stopped(book):
    """Another haulout that was stopped while it wrote in the ledger's folder."""
    text = (
        "import os, signal, sys, pathlib\n"
        "from haulout.backports import toml\n"
        "with toml.exclusive(pathlib.Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    with subprocess.Popen([sys.executable, "-c", text, book.parent]) as other:
        try:
            assert os.WIFSTOPPED(os.waitpid(other.pid, os.WUNTRACED)[1])
            yield other
        finally:
            other.kill()


class TestStopped:
    """Another haulout holds the ledger's folder and never goes on."""

    def test_the_branch_is_there_and_the_error_says_so(self, common, book, stopped, monkeypatch):
        monkeypatch.setattr(toml, "LOCK_SECONDS", 0.3)
        with pytest.raises(ConflictError) as caught:
            branch(common.lab.path, "v0.53.0", CRIO, ledger=book)
        assert str(book.parent) in caught.value.message
        assert f"the branch crio-1.31 exists, but is not in {book}" in caught.value.message
        assert caught.value.hint is not None
        assert "lslocks" in caught.value.hint
        stopped.send_signal(signal.SIGCONT)
        stopped.wait(timeout=20)
        assert branch(common.lab.path, "v0.53.0", CRIO, ledger=book).recorded
        assert [one.name for one in load_ledger(book).branches] == ["crio-1.31"]

    def test_a_pick_is_made_and_what_is_not_written_is_told(self, common, book, stopped, monkeypatch):
        monkeypatch.setattr(toml, "LOCK_SECONDS", 0.3)
        done = pick(common.lab.path, "v0.59", [common.fix], ledger=book)
        (unwritten,) = done.unwritten
        assert str(book.parent) in unwritten.reason
        assert done.after in unwritten.text
        assert common.lab.git("rev-parse", "v0.59") == done.after
        assert not records.folder(book).exists()
        # What is told is what would have been written.
        stopped.send_signal(signal.SIGCONT)
        stopped.wait(timeout=20)
        unwritten.path.parent.mkdir()
        unwritten.path.write_text(unwritten.text)
        (record,) = records.load_all(book)
        assert [one.branch for one in record.backports] == ["v0.59"]

    def test_it_is_waited_for_some_seconds_and_no_more(self, common, book, stopped):
        where = ("--consumer", "crio-1.31", "--lib", common.lab.path, "--ledger", book)
        begun = time.monotonic()
        said = subprocess.run(
            [sys.executable, "-m", "haulout", "backport", "branch", "--tag", "v0.53.0", *where],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert said.returncode == ConflictError.exit_code, said
        assert "another haulout has been writing" in said.stderr
        assert toml.LOCK_SECONDS <= time.monotonic() - begun < toml.LOCK_SECONDS + 20

    def test_waiting_ends_with_ctrl_c(self, common, book, stopped):
        where = ("--consumer", "crio-1.31", "--lib", common.lab.path, "--ledger", book)
        command = [sys.executable, "-m", "haulout", "backport", "branch", "--tag", "v0.53.0", *where]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
            while waiting.poll() is None and not common.lab.git("branch", "--list", "crio-1.31"):
                time.sleep(0.02)
            time.sleep(0.3)
            begun = time.monotonic()
            waiting.send_signal(signal.SIGINT)
            _, said = waiting.communicate(timeout=20)
        assert waiting.returncode == 128 + signal.SIGINT, said
        assert time.monotonic() - begun < 3
        assert "Traceback" not in said

    def test_one_that_goes_on_in_time_is_waited_for(self, common, book, stopped):
        ending = threading.Timer(0.5, stopped.send_signal, (signal.SIGCONT,))
        ending.start()
        assert branch(common.lab.path, "v0.53.0", CRIO, ledger=book).recorded
        ending.join()


class TestBesides:
    """What else is on a machine: hooks, settings of the user, another pick at the same time."""

    def test_hooks(self, common, tmp_path):
        lab = common.lab
        hooks = lab.path / ".git/hooks"
        hooks.mkdir(exist_ok=True)
        often = {"post-index-change", "reference-transaction"}
        names = (
            "pre-commit pre-merge-commit prepare-commit-msg commit-msg post-commit post-checkout post-merge pre-push"
        )
        for name in (*names.split(), "pre-rebase", "post-rewrite", "pre-auto-gc", *often):
            (hooks / name).write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/ran\n")
            (hooks / name).chmod(0o755)

        def ran() -> set[str]:
            path = tmp_path / "ran"
            found = set(path.read_text().split()) if path.exists() else set()
            path.unlink(missing_ok=True)
            return found

        pick(lab.path, "v0.59", [common.fix])
        assert ran() == {"post-checkout", "prepare-commit-msg", "post-commit", *often}
        done = pick(lab.path, "crio-1.24", [common.fix])
        assert done.stop is not None
        (done.stop.worktree / FILE).write_text(source(52, safe=True))
        Lab(done.stop.worktree).git("add", FILE)
        ran()
        resume_pick(lab.path, "crio-1.24")
        assert ran() == {"pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", *often}
        status(lab.path, [common.fix])
        log(lab.path, "crio-1.27")
        assert ran() == set()
        branch(lab.path, "v0.53.0", CRIO, ledger=tmp_path / "backports.toml")
        assert ran() == {"reference-transaction"}

    def test_a_hook_that_refuses_stops_the_pick(self, common):
        lab = common.lab
        hook = lab.path / ".git/hooks/prepare-commit-msg"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
        before = lab.git("rev-parse", "v0.59")
        with pytest.raises(HauloutError):
            pick(lab.path, "v0.59", [common.fix])
        assert lab.git("rev-parse", "v0.59") == before
        assert leftovers(lab) == []

    @pytest.mark.parametrize(
        "settings",
        [
            {"color.diff": "always", "color.ui": "always", "color.branch": "always", "color.status": "always"},
            {"diff.noprefix": "true"},
            {"diff.mnemonicPrefix": "true"},
            {"diff.external": "false"},
            {"core.quotePath": "true"},
            {"log.showSignature": "true", "log.decorate": "full", "log.date": "relative", "format.pretty": "fuller"},
            {"merge.conflictStyle": "diff3"},
            {"merge.conflictStyle": "zdiff3"},
            {
                "diff.algorithm": "patience",
                "diff.renames": "copies",
                "diff.context": "0",
                "diff.orderFile": "/dev/null",
            },
            {"commit.verbose": "true", "commit.template": "/dev/null", "commit.cleanup": "strip"},
            {"rerere.enabled": "true", "rerere.autoupdate": "true", "merge.renames": "true"},
            {"core.pager": "false", "pager.log": "true", "pager.diff": "true", "core.editor": "false"},
            {"core.abbrev": "5", "core.commentChar": ";", "column.ui": "always", "status.short": "true"},
            {"core.attributesFile": "/dev/null", "core.excludesFile": "/dev/null", "status.showUntrackedFiles": "no"},
            {"push.default": "nothing", "branch.autoSetupMerge": "always", "advice.detachedHead": "true"},
            {"i18n.logOutputEncoding": "ISO-8859-1", "core.precomposeUnicode": "true", "feature.manyFiles": "true"},
            {"core.logAllRefUpdates": "false", "core.sharedRepository": "group", "core.fsync": "none"},
            {"log.follow": "true", "log.mailmap": "true", "diff.submodule": "log", "diff.ignoreSubmodules": "all"},
            {"fetch.prune": "true", "worktree.guessRemote": "true", "checkout.defaultRemote": "origin"},
        ],
        ids=lambda settings: next(iter(settings.items()))[0] + "=" + next(iter(settings.values())),
    )
    def test_settings_of_the_user_change_nothing(self, common, book, settings, tmp_path, monkeypatch):
        lab = common.lab
        odd = lab.commit("Odd name \u00e4", {"d\u00e4 r/x\ty.go": "x\n"}, author=ANNA)
        text = "".join(
            f'[{name.partition(".")[0]}]\n\t{name.partition(".")[2]} = "{value}"\n' for name, value in settings.items()
        )
        (tmp_path / "gitconfig").write_text(text)
        plain = self.attributions(common, odd)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
        assert self.attributions(common, odd) == plain
        done = conflicting(common, book)
        assert done.stop is not None
        assert (done.stop.files, len(done.stop.instead)) == ((FILE,), 1)
        assert "<<<<<<<" in (done.stop.worktree / FILE).read_text()
        with pytest.raises(ConflictError, match="still in conflict"):
            resume_pick(lab.path, "crio-1.24")
        (done.stop.worktree / FILE).write_text(source(52, safe=True))
        Lab(done.stop.worktree).git("add", FILE)
        assert [one.source for one in resume_pick(lab.path, "crio-1.24", ledger=book).picked] == [common.fix]
        assert [one.source for one in pick(lab.path, "v0.59", [odd, common.fix], ledger=book).picked] == [
            odd,
            common.fix,
        ]
        assert leftovers(lab) == []

    def attributions(self, common, odd) -> list[object]:
        lab = common.lab
        columns = status(lab.path, [common.fix, odd]).columns
        cells = [(cell.branch.shown, cell.state, cell.evidence) for column in columns for cell in column.cells]
        lines = [
            (line.commit.oid, line.kind, line.origin, line.flags)
            for name in ("crio-1.27", "v0.57")
            for line in log(lab.path, name, range_diff=True).lines
        ]
        found = fixes(lab.path, "v0.58..v0.59")
        return [cells, lines, found]

    def test_commits_that_must_be_signed(self, common):
        lab = common.lab
        signer = lab.path / ".git/signer"
        signer.write_text(
            "#!/bin/sh\ncat > /dev/null\necho '[GNUPG:] SIG_CREATED ' >&2\n"
            "printf -- '-----BEGIN PGP SIGNATURE-----\\n\\nx\\n-----END PGP SIGNATURE-----\\n'\n"
        )
        signer.chmod(0o755)
        lab.git("config", "commit.gpgSign", "true")
        lab.git("config", "gpg.program", str(signer))
        assert pick(lab.path, "v0.59", [common.fix]).outcome is Outcome.PICKED
        assert "\ngpgsig " in lab.git("cat-file", "commit", "v0.59")
        signer.write_text("#!/bin/sh\nexit 1\n")
        lab.git("branch", "again", "v0.59.0")
        with pytest.raises(HauloutError):
            pick(lab.path, "again", [common.fix])
        assert lab.git("rev-parse", "again") == lab.git("rev-parse", "v0.59.0")
        assert leftovers(lab) == []

    def test_two_at_once_onto_one_branch(self, common, tmp_path):
        lab = common.lab
        before = lab.git("rev-parse", "v0.59")
        done = self.together(common, ["v0.59", "v0.59"], tmp_path)
        codes = sorted(code for code, _ in done)
        assert codes in ([0, 0], [0, 12], [12, 12]), done
        made = lab.git("rev-list", f"{before}..v0.59").split()
        assert len(made) == (1 if 0 in codes else 0), done
        assert leftovers(lab) == []
        assert pick(lab.path, "v0.59", [common.fix]).outcome in {Outcome.PICKED, Outcome.PRESENT}

    def test_several_at_once_onto_several_branches(self, common, tmp_path):
        lab = common.lab
        lab.git("branch", "again", "v0.59.0")
        names = ["v0.59", "again"]
        start = {name: lab.git("rev-parse", name) for name in names}
        done = self.together(common, names, tmp_path)
        assert [code for code, _ in done] == [0, 0], done
        for name in names:
            assert lab.git("rev-parse", f"{name}^") == start[name]
        assert leftovers(lab) == []
        (record,) = records.load_all(tmp_path / "both.toml")
        assert {one.branch for one in record.backports} == set(names)

    def together(self, common, names: list[str], tmp_path: Path) -> list[tuple[int, str]]:
        """Run picks at the same time, with a hook that makes them meet."""
        hook = common.lab.path / ".git/hooks/post-checkout"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexec sleep 0.5\n")
        hook.chmod(0o755)
        book = tmp_path / "both.toml"
        book.write_text("")
        command = [sys.executable, "-m", "haulout", "backport", "pick"]
        where = ["--lib", str(common.lab.path), "--ledger", str(book), "--direct"]
        running = [
            subprocess.Popen(
                [*command, name, common.fix, *where],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name in names
        ]
        found = [(one.communicate(timeout=120)[0], one.returncode) for one in running]
        assert not any("Traceback" in said for said, _ in found), found
        hook.unlink()
        return [(code, said) for said, code in found]
