"""Fixes of more files than git is asked for by name, merges that are picked as one, and odd clones."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.libraries import ANNA, BO, Lab

from haulout.backports import pick, status
from haulout.backports.git import Git
from haulout.backports.model import Outcome
from haulout.cli.backport.pick import lines as shown
from haulout.errors import ConflictError, ToolError

FILES = 120


def lines(number: int, changes: dict[int, str] | None = None) -> str:
    return "".join(f"{(changes or {}).get(one, f'step {number} {one}')}\n" for one in range(20))


def commit(lab: Lab, message: str, files: dict[str, str], author: tuple[str, str] = BO) -> str:
    """Commit many files at once."""
    for name, text in files.items():
        lab.write(name, text)
    lab.git("add", "-A")
    return lab.commit(message, author=author)


def library(path, **extra: str) -> tuple[Lab, str]:
    """A fix of many files, and ``old``, where it was done anew by someone else, together with one more file."""
    lab = Lab.make(path)
    names = [f"p{number % 7}/f{number}.go" for number in range(FILES)]
    commit(lab, "Begin", {name: lines(number) for number, name in enumerate(names)} | extra)
    for branch in ("old", "bare"):
        lab.git("branch", branch)
    fixed = {name: lines(number, {9: f"guard {number}"}) for number, name in enumerate(names)}
    fix = commit(lab, "Guard all", fixed, ANNA)
    lab.switch("old")
    lab.clock += 60
    commit(lab, "Harden the steps", fixed | {"more.go": "more\n"})
    commit(
        lab, "Go on", {name: lines(number, {8: "near", 9: "other", 10: "near"}) for number, name in enumerate(names)}
    )
    lab.switch("main")
    return lab, fix


def test_a_copy_of_many_files_is_recognised_by_its_patch_id(tmp_path):
    lab, fix = library(tmp_path / "lib")
    old, bare = status(lab.path, [fix], branches=["old", "bare"]).columns[0].cells[::-1]
    assert (old.state.value, bare.state.value) == ("present", "missing, applies")
    assert any(one.signal == "patch-id" for one in old.evidence)


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, ...]]:
    """What git is asked from now on."""
    words: list[tuple[str, ...]] = []
    run = Git.run

    def counted(git: Git, *some: str, **more: Any) -> Any:
        words.append(some)
        return run(git, *some, **more)

    monkeypatch.setattr(Git, "run", counted)
    return words


def test_attributes_of_many_files_cost_one_process(tmp_path, asked):
    lab, fix = library(tmp_path / "lib", **{".gitattributes": "*.go merge=text\n*.png binary\n"})
    old, _ = status(lab.path, [fix], branches=["old", "bare"]).columns[0].cells[::-1]
    assert old.state.value == "present"
    assert sum(words[0] == "check-attr" for words in asked) <= 2


def test_a_pick_of_many_files_looks_for_markers_in_all_at_once(tmp_path, asked):
    lab, fix = library(tmp_path / "lib")
    assert pick(lab.path, "bare", [fix]).outcome is Outcome.PICKED
    assert len(asked) < FILES


@pytest.mark.parametrize("moved_on", ["branch", "main"])
def test_files_are_followed_only_where_main_moved_them(tmp_path, asked, moved_on):
    lab = Lab.make(tmp_path / "lib")
    commit(lab, "Begin", {"a/x.go": lines(0), "b/y.go": lines(1)})
    lab.git("branch", "old")
    began = lab.git("rev-parse", "HEAD")
    lab.switch("old" if moved_on == "branch" else "main")
    lab.clock += 60
    (lab.path / "c").mkdir()
    lab.git("mv", "a/x.go", "c/z.go")
    lab.commit("Move")
    lab.switch("main")
    fix = commit(lab, "Guard", {"c/z.go" if moved_on == "main" else "a/x.go": lines(0, {9: "guard"})}, ANNA)
    asked.clear()
    (cell,) = status(lab.path, [fix], branches=["old"]).columns[0].cells
    assert cell.state.value == "missing, applies"
    followed = [words for words in asked if "--follow" in words]
    assert len(followed) == (moved_on == "main")
    assert all(f"^{began}" in words for words in followed)


def test_a_merge_picked_as_one_is_there_where_its_commits_are(tmp_path):
    lab = Lab.make(tmp_path / "lib")
    lab.commit("Begin", {"a.go": lines(0)})
    lab.git("branch", "old")
    lab.switch("pr", "main")
    parts = [
        lab.commit(f"Part {at}", {"a.go": lines(0, {one: "new" for one in (4, 16) if one <= at})}) for at in (4, 16)
    ]
    lab.switch("main")
    lab.commit("Other", {"b.go": "b\n"})
    lab.clock += 60
    lab.git("merge", "-q", "--no-ff", "-m", "Merge pull request #1 from x/pr", "pr")
    merge = lab.git("rev-parse", "HEAD")
    lab.switch("old")
    lab.clock += 60
    lab.git("cherry-pick", "-x", *parts)
    lab.commit("Go on", {"a.go": lines(0, {3: "near", 4: "newer", 5: "near", 16: "new"})})
    lab.switch("main")
    (cell,) = status(lab.path, [merge], branches=["old"]).columns[0].cells
    assert cell.state.value == "present"
    done = pick(lab.path, "old", [merge], mainline=1)
    assert (done.outcome, done.picked, done.judged[0].state.value) == (Outcome.PRESENT, (), "present")


def small(tmp_path) -> tuple[Lab, str]:
    lab = Lab.make(tmp_path / "lib")
    lab.commit("Begin", {"a.go": lines(0)})
    lab.git("branch", "old")
    return lab, lab.commit("Guard", {"a.go": lines(0, {9: "guard"})})


def test_grafts_change_neither_status_nor_pick(tmp_path):
    """Status reads objects, git would take the commit for a first one."""
    lab, fix = small(tmp_path)
    (lab.path / ".git/info/grafts").write_text(f"{fix}\n")
    (cell,) = status(lab.path, [fix], branches=["old"]).columns[0].cells
    assert cell.state.value == "missing, applies"
    assert pick(lab.path, "old", [fix]).outcome is Outcome.PICKED


def test_a_commit_that_cannot_be_signed(tmp_path):
    lab, fix = small(tmp_path)
    lab.git("config", "commit.gpgSign", "true")
    lab.git("config", "gpg.program", "false")
    with pytest.raises(ToolError, match="cannot be signed"):
        pick(lab.path, "old", [fix])
    assert lab.git("worktree", "list").count("\n") == 0


def test_a_hook_that_fails(tmp_path):
    lab, fix = small(tmp_path)
    hook = lab.path / ".git/hooks/post-checkout"
    lab.write(".git/hooks/post-checkout", "#!/bin/sh\necho no room >&2\nexit 3\n")
    hook.chmod(0o755)
    with pytest.raises(ToolError, match="the hook post-checkout failed with exit code 3: no room") as caught:
        pick(lab.path, "old", [fix])
    assert caught.value.hint == f"mend it, or turn it off: chmod -x {hook}"
    assert lab.git("worktree", "list").count("\n") == 0
    hook.chmod(0o644)
    assert pick(lab.path, "old", [fix]).outcome is Outcome.PICKED


@pytest.mark.parametrize(("way", "other"), [("smudge", "clean"), ("clean", "smudge")])
def test_a_required_filter_that_fails(tmp_path, way, other):
    """On checkout the one, as the pick writes or compares what is there the other."""
    lab, _ = small(tmp_path)
    lab.switch("old")
    lab.commit("Lock", {".gitattributes": "*.go filter=lock\n", "a.go": lines(0, {2: "own"})})
    lab.switch("main")
    fix = lab.commit("Guard more", {"a.go": lines(0, {9: "guard", 16: "more"})})
    for name, value in ((way, "false"), (other, "cat"), ("required", "true")):
        lab.git("config", f"filter.lock.{name}", value)
    with pytest.raises(ToolError, match=f"the {way} filter lock failed on a.go") as caught:
        pick(lab.path, "old", [fix])
    assert caught.value.hint is not None
    assert f"git config filter.lock.{way} names" in caught.value.hint
    assert lab.git("worktree", "list").count("\n") == 0


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("attributes", ["* text=auto\n", "*.go text eol=crlf\n"])
def test_pick_converts_no_line_ends(tmp_path, attributes, mixed):
    """With merge.renormalize, git would write every line anew where status says that only line ends are in the way."""
    lab, fix = small(tmp_path)
    lab.git("config", "merge.renormalize", "true")
    lab.switch("old")
    ends = lines(0).replace("\n", "\r\n")
    lab.commit("Convert", {"a.go": ends.replace("3\r\n", "3\n") if mixed else ends})
    lab.commit("Attributes", {".gitattributes": attributes})
    lab.git("switch", "-q", "-f", "main")
    (cell,) = status(lab.path, [fix], branches=["old"]).columns[0].cells
    assert cell.state.value == "missing, conflicts"
    if "eol" in attributes:
        # As it is checked out, git takes it for changed.
        with pytest.raises(ConflictError, match=r"takes a\.go for changed once checked out") as caught:
            pick(lab.path, "old", [fix])
        assert "git add --renormalize ." in (caught.value.hint or "")
    else:
        said = list(shown(pick(lab.path, "old", [fix]), lab.path))
        assert "only line ends (CR LF) differ: make them alike first, in a commit of its own" in said
