"""Merge attributes: ``status`` foretells what ``pick`` does."""

from __future__ import annotations

import pytest
from tests.support.libraries import Lab

from haulout.backports.model import Outcome
from haulout.backports.pick import abort_pick, pick
from haulout.backports.status import status

NOTES = "".join(f"line {number}\n" for number in range(20))
FOUND = {Outcome.PICKED: "missing, applies", Outcome.CONFLICT: "missing, conflicts", Outcome.PRESENT: "present"}


def library(place, attributes: str, *, near: bool = True) -> tuple[Lab, str]:
    """Make a library whose branch and whose fix change a file at the same place, or at two."""
    lab = Lab.make(place)
    lab.commit(
        "Begin",
        {"docs/NOTES.go": NOTES, ".gitattributes": attributes or None} if attributes else {"docs/NOTES.go": NOTES},
    )
    lab.git("branch", "old")
    fix = lab.commit("Fix", {"docs/NOTES.go": NOTES.replace("line 10\n", "line 10, mended\n")})
    lab.switch("old")
    changed = "line 10\n" if near else "line 1\n"
    lab.commit("Own", {"docs/NOTES.go": NOTES.replace(changed, f"{changed[:-1]}, ours\n")})
    lab.switch("main")
    return lab, fix


def agree(lab: Lab, fix: str) -> tuple[str, str]:
    """Return the state that both verbs find, and the evidence."""
    (column,) = status(lab.path, [fix], branches=("old",)).columns
    (cell,) = column.cells
    done = pick(lab.path, "old", [fix])
    if done.outcome is Outcome.CONFLICT:
        abort_pick(lab.path, "old")
    assert FOUND[done.outcome] == cell.state
    return str(cell.state), "; ".join(one.text for one in cell.evidence)


@pytest.mark.parametrize(
    ("attributes", "near", "state", "said"),
    [
        ("", True, "missing, conflicts", ""),
        ("", False, "missing, applies", ""),
        ("*.go merge=union\n", True, "missing, applies", "merged by union"),
        ("*.go -merge\n", False, "missing, conflicts", "not merged line by line"),
        ("*.go binary\n", False, "missing, conflicts", "not merged line by line"),
        ("[attr]odd -merge\n*.go odd\n", False, "missing, conflicts", "not merged line by line"),
        ("*.go merge\n", False, "missing, applies", ""),
        ("*.go merge=nobody\n", True, "missing, conflicts", ""),
        ("*.md merge=union\n", True, "missing, conflicts", ""),
    ],
)
def test_status_foretells_what_pick_does(tmp_path, attributes, near, state, said):
    found, why = agree(*library(tmp_path / "lab", attributes, near=near))
    assert found == state
    assert said in why
    assert said or "attributes" not in why


def test_in_a_folder_and_of_the_clone_itself(tmp_path):
    lab, fix = library(tmp_path / "one", "")
    lab.switch("old")
    lab.commit("Attributes", {"docs/.gitattributes": "NOTES.go merge=union\n"})
    lab.switch("main")
    assert agree(lab, fix)[0] == "missing, applies"
    lab, fix = library(tmp_path / "two", "")
    (lab.path / ".git/info").mkdir(exist_ok=True)
    (lab.path / ".git/info/attributes").write_text("docs/* merge=union\n")
    assert agree(lab, fix)[0] == "missing, applies"
    lab, fix = library(tmp_path / "three", "")
    lab.git("config", "merge.default", "union")
    assert agree(lab, fix)[0] == "missing, applies"


def test_what_is_checked_out_does_not_count(tmp_path):
    lab, fix = library(tmp_path / "lab", "")
    lab.write("docs/.gitattributes", "* merge=union\n")
    lab.git("add", "docs/.gitattributes")
    assert agree(lab, fix)[0] == "missing, conflicts"


def test_two_files_of_one_name(tmp_path):
    lab = Lab.make(tmp_path / "lab")
    lab.commit("Begin", {".gitattributes": "*.go merge=union\n"})
    lab.git("branch", "old")
    fix = lab.commit("Fix", {"new.go": "theirs\n"})
    lab.switch("old")
    lab.commit("Own", {"new.go": "ours\n"})
    lab.switch("main")
    assert agree(lab, fix)[0] == "missing, applies"


def test_a_driver_of_the_users_is_named_and_not_run(tmp_path):
    lab, fix = library(tmp_path / "lab", "*.go merge=mine\n")
    lab.git("config", "merge.mine.driver", f"touch {tmp_path}/ran")
    (column,) = status(lab.path, [fix], branches=("old",)).columns
    (cell,) = column.cells
    assert any(
        one.signal == "attribute" and "the merge driver mine on docs/NOTES.go" in one.text for one in cell.evidence
    )
    assert not (tmp_path / "ran").exists()
    assert pick(lab.path, "old", [fix]).outcome is Outcome.PRESENT
    assert (tmp_path / "ran").exists()
