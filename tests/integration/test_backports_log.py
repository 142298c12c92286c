"""``backport log``: where every commit of a branch comes from, and what a reviewer is told."""

from __future__ import annotations

import subprocess

import pytest
from tests.support.libraries import ANNA, BO, Lab, security, undone

from haulout.backports.log import Kind, LogResult, log
from haulout.cli.backport.log import lines
from haulout.errors import NotFoundError


def text(changes: dict[int, str] | None = None) -> str:
    return "".join(f"{(changes or {}).get(number, f'line {number}')}\n" for number in range(60))


@pytest.fixture
def lab(tmp_path):
    """A library with the tag v1.0.0 and a branch ``crio-1.31`` there."""
    made = Lab.make(tmp_path / "lib")
    made.commit("Begin", {"a.go": text(), "b.go": "b\n", "OWNERS": "approvers\n"})
    made.tag("v1.0.0")
    made.git("branch", "crio-1.31")
    return made


def kinds(found: LogResult) -> dict[str, str]:
    return {line.commit.subject: str(line.kind) for line in found.lines}


def line_of(found: LogResult, subject: str):
    (found_line,) = (line for line in found.lines if line.commit.subject == subject)
    return found_line


def pick(lab: Lab, *commits: str, option: str = "-x") -> str:
    lab.switch("crio-1.31")
    lab.clock += 60
    lab.git("cherry-pick", option, *commits)
    head = lab.head
    lab.switch("main")
    return head


def test_picks_of_every_kind_are_recognised(lab):
    lab.commit("Before", {"b.go": "b2\n"})
    one = lab.commit("One", {"a.go": text({5: "five"})}, author=ANNA)
    two = lab.commit("Two (#12)", {"a.go": text({5: "five", 20: "twenty"})}, author=ANNA)
    three = lab.commit("Three", {"c.go": "c\n"}, author=BO)
    pick(lab, one)
    pick(lab, two, option="--allow-empty")
    lab.switch("crio-1.31")
    adapted = lab.commit(f"Differently\n\ncommit {three} upstream.", {"c.go": "c for 1.31\n"})
    lab.switch("main")
    found = log(lab.path, "crio-1.31")
    assert (found.base, found.clean) == ("v1.0.0", True), found
    assert kinds(found) == {"One": "pick", "Two (#12)": "pick", "Differently": "pick"}
    assert [(line.origin.oid, line.origin.equal) for line in found.lines if line.origin] == [
        (one, True),
        (two, True),
        (three, False),
    ]
    assert "trailer" in line_of(found, "One").origin.signals
    assert "patch-id" in line_of(found, "Two (#12)").origin.signals
    assert line_of(found, "Differently").commit.oid == adapted


def test_range_diff_on_request(lab):
    fix = lab.commit("Fix", {"c.go": "c\n"}, author=ANNA)
    lab.switch("crio-1.31")
    lab.commit(f"Fix\n\n(cherry picked from commit {fix})", {"c.go": "c for 1.31\n"}, author=ANNA)
    lab.switch("main")
    (line,) = log(lab.path, "crio-1.31").lines
    assert line.range_diff is None
    (line,) = log(lab.path, "crio-1.31", range_diff=True).lines
    assert "+c for 1.31" in str(line.range_diff)


def test_what_was_never_upstream_is_flagged(lab):
    lab.switch("crio-1.31")
    own = lab.commit("Own idea", {"b.go": "own\n"})
    lab.commit("Name the owners", {"OWNERS": "others\n"})
    lab.switch("side", "v1.0.0")
    side = lab.commit("On a side branch", {"a.go": text({9: "nine"})}, author=ANNA)
    pick(lab, side)
    lab.switch("crio-1.31")
    lab.commit(f"Lost source\n\n(cherry picked from commit {'d' * 40})", {"d.go": "d\n"})
    lab.switch("main")
    found = log(lab.path, "crio-1.31")
    assert kinds(found) == {
        "Own idea": "own",
        "Name the owners": "upkeep",
        "On a side branch": "pick",
        "Lost source": "pick",
    }
    assert line_of(found, "Own idea").flags == ("no source: not upstream first",)
    assert line_of(found, "Name the owners").flags == ()
    assert "is not on main: not upstream first" in line_of(found, "On a side branch").flags[0]
    assert "is not in this clone" in line_of(found, "Lost source").flags[0]
    assert not found.clean
    assert own


def test_merges(lab):
    lab.commit("On main", {"b.go": "main\n"})
    lab.switch("crio-1.31")
    lab.clock += 60
    lab.git("merge", "-q", "--no-ff", "-m", "Merge main", "main")
    lab.switch("pr", "crio-1.31")
    lab.commit("Name the owners", {"OWNERS": "others\n"})
    lab.switch("crio-1.31")
    lab.clock += 60
    lab.git("merge", "-q", "--no-ff", "-m", "Merge pull request 1", "pr")
    lab.switch("main")
    found = log(lab.path, "crio-1.31", base="v1.0.0")
    assert kinds(found)["Merge main"] == "merge of main"
    assert kinds(found)["Merge pull request 1"] == "merge"
    assert "brings more than was picked" in line_of(found, "Merge main").flags[0]
    assert line_of(found, "Merge pull request 1").flags == ()


def test_a_pick_taken_back_on_the_branch(tmp_path):
    made = undone(tmp_path / "lib")
    found = log(made.lab.path, "crio-1.28")
    first, second = found.lines
    assert (first.kind, first.reverted_by) == (Kind.PICK, made.revert)
    assert second.kind is Kind.REVERT
    assert second.flags == ()


def test_reverts_and_follow_ups_upstream_are_pointed_out(lab):
    lab.commit("Far away first", {"a.go": text({1: "one"})})
    fix = lab.commit("Fix", {"a.go": text({1: "one", 30: "thirty"})}, author=ANNA)
    pick(lab, fix)
    lab.commit("Insert above", {"a.go": "new\nnew\n" + text({1: "one", 30: "thirty"})})
    again = lab.commit("Mend the mend", {"a.go": "new\nnew\n" + text({1: "one", 30: "thirty, better"})})
    cites = lab.commit(f"Complete it\n\nFixes: {fix[:12]}", {"d.go": "d\n"})
    speaks = lab.commit(f"Explain\n\nSee {fix}.", {"e.go": "e\n"})
    lab.commit("Elsewhere", {"a.go": "new\nnew\n" + text({1: "one", 30: "thirty, better", 50: "fifty"})})
    lab.clock += 60
    found = log(lab.path, "crio-1.31")
    assert [(one.commit.oid, one.how) for one in found.lines[0].later] == [
        (again, "same lines"),
        (cites, "fixes"),
        (speaks, "mentions"),
    ]
    assert found.clean, "follow-ups may be none of the branch's business"
    lab.commit(f'Revert "Fix"\n\nThis reverts commit {fix}.', {"a.go": text()})
    found = log(lab.path, "crio-1.31")
    assert "reverts its source" in found.lines[0].flags[0]


def test_follow_ups_come_by_merges_too(lab):
    lab.switch("topic", "main")
    fix = lab.commit("Fix", {"a.go": text({30: "thirty"})}, author=ANNA)
    lab.switch("main")
    lab.commit("Meanwhile", {"b.go": "b2\n"})
    lab.clock += 60
    lab.git("merge", "-q", "--no-ff", "-m", "Merge topic", "topic")
    lab.switch("topic2", "main")
    lab.commit("Change it", {"a.go": text({30: "thirty-one"})})
    lab.switch("main")
    lab.clock += 60
    lab.git("merge", "-q", "--no-ff", "-m", "Merge topic2", "topic2")
    pick(lab, fix)
    (line,) = log(lab.path, "crio-1.31").lines
    assert [(one.commit.subject, one.how) for one in line.later] == [("Merge topic2", "same lines")]


def test_a_pull_request_picked_in_part(lab):
    lab.switch("topic", "main")
    one = lab.commit("Part one", {"a.go": text({5: "five"})}, author=ANNA)
    two = lab.commit("Part two", {"b.go": "two\n"}, author=ANNA)
    lab.switch("main")
    lab.clock += 60
    lab.git("merge", "-q", "--no-ff", "-m", "Merge topic", "topic")
    pick(lab, one)
    found = log(lab.path, "crio-1.31")
    assert len(found.flags) == 1
    assert two[:12] in found.flags[0]
    pick(lab, two)
    assert log(lab.path, "crio-1.31").flags == ()


def test_what_no_record_lists(lab, tmp_path):
    one = lab.commit("Part one", {"a.go": text({5: "five"})}, author=ANNA)
    two = lab.commit("Part two", {"b.go": "two\n"}, author=ANNA)
    pick(lab, one)
    book = tmp_path / "backports.toml"
    book.write_text("")
    found = log(lab.path, "crio-1.31", ledger=book)
    assert found.lines[0].flags == ("it is in no fix record",)
    (tmp_path / "fixes").mkdir()
    (tmp_path / "fixes/F.toml").write_text(f'id = "F"\ncommits = ["{one}", "{two}"]\n')
    found = log(lab.path, "crio-1.31", ledger=book)
    assert (found.lines[0].records, found.lines[0].flags) == (("F",), ())
    assert found.flags == (f"F is only partly picked: {two[:12]} missing",)


def test_the_ledger_says_where_it_began(lab, tmp_path):
    book = tmp_path / "backports.toml"
    entry = '[[branch]]\nlibrary = "lib"\nname = "crio-1.31"\nbase = "v1.0.0"\nbase-commit = "{}"\nconsumer = "crio"\n'
    book.write_text(entry.format(lab.git("rev-parse", "v1.0.0")))
    assert log(lab.path, "crio-1.31", ledger=book).clean
    book.write_text(entry.format("d" * 40))
    assert "v1.0.0 was dddddddddddd" in log(lab.path, "crio-1.31", ledger=book).flags[0]
    book.write_text(entry.format("").replace("v1.0.0", "v9"))
    with pytest.raises(NotFoundError, match="no tag 'v9'"):
        log(lab.path, "crio-1.31", ledger=book)


def test_files_that_still_name_another_branch(lab):
    lab.switch("crio-1.31")
    lab.commit(
        "Copy CI",
        {".cirrus.yml": 'env:\n  DEST_BRANCH: "main"\n', "OWNERS": "# see crio-1.30\n", "main.go": "// main branch\n"},
    )
    lab.git("branch", "crio-1.30", "v1.0.0")
    found = log(lab.path, "crio-1.31")
    assert [(one.path, one.line, one.branch) for one in found.mentions] == [
        (".cirrus.yml", 2, "main"),
        ("OWNERS", 1, "crio-1.30"),
    ]
    assert not found.clean


def test_the_real_shape_of_the_first_fixture(tmp_path):
    made = security(tmp_path / "common")
    found = log(made.lab.path, "crio-1.27")
    assert found.base == "v0.53.0"
    assert [str(line.kind) for line in found.lines] == ["upkeep", "pick"]
    assert found.lines[1].origin is not None
    assert (found.lines[1].origin.oid, found.lines[1].origin.signals) == (made.fix, ("author-date", "subject"))


def test_nothing_is_written(tmp_path):
    made = security(tmp_path / "common")
    before = made.lab.bytes()
    log(made.lab.path, "crio-1.27", range_diff=True)
    assert made.lab.bytes() == before


def test_bad_input(lab, tmp_path):
    for name in ("absent", "--all", "", "a b"):
        with pytest.raises(NotFoundError, match="no branch"):
            log(lab.path, name)
    with pytest.raises(NotFoundError):
        log(lab.path, "crio-1.31", base="v9")
    untagged = Lab.make(tmp_path / "untagged")
    untagged.commit("Begin")
    assert log(untagged.path, "main").lines == ()


def test_a_merge_picked_with_its_mainline_is_the_same_patch(lab):
    lab.switch("topic", "main")
    lab.commit("Topic one", {"a.go": text({5: "five"})})
    lab.commit("Topic two", {"c.go": "c\n"})
    lab.switch("main")
    lab.commit("Meanwhile", {"b.go": "b3\n"})
    lab.git("merge", "-q", "--no-ff", "-m", "Merge topic", "topic")
    merge = lab.head
    lab.switch("crio-1.31")
    lab.clock += 60
    lab.git("cherry-pick", "-x", "-m1", merge)
    lab.switch("main")
    found = log(lab.path, "crio-1.31")
    (line,) = found.lines
    assert line.origin is not None
    assert (str(line.kind), line.origin.oid, line.origin.equal, line.origin.upstream) == ("pick", merge, True, True)
    assert found.clean, found
    lab.switch("crio-1.31")
    lab.write("c.go", "c for 1.31\n")
    lab.git("commit", "-q", "-a", "--amend", "--no-edit")
    lab.switch("main")
    (line,) = log(lab.path, "crio-1.31").lines
    assert line.origin is not None
    assert (line.origin.oid, line.origin.equal) == (merge, False)


def test_a_pick_of_what_is_not_upstream_may_be_the_same_patch(lab):
    lab.switch("other", "main")
    one = lab.commit("Only here", {"a.go": text({5: "five"})})
    lab.switch("main")
    pick(lab, one)
    (line,) = log(lab.path, "crio-1.31").lines
    assert line.origin is not None
    assert (line.origin.equal, line.origin.upstream) == (True, False)


@pytest.mark.parametrize("message", ["trailers", "squash", "none"])
@pytest.mark.parametrize("adapted", [False, True])
def test_two_upstream_commits_made_one(lab, message, adapted):
    one = lab.commit("One", {"a.go": text({5: "five"})}, author=ANNA)
    lab.commit("Between", {"b.go": "b2\n"})
    two = lab.commit("Two", {"a.go": text({5: "five", 20: "twenty"}), "c.go": "c\n"}, author=BO)
    lab.commit("After", {"b.go": "b3\n"})
    said = {
        "trailers": f"Both\n\n(cherry picked from commit {one})\n(cherry picked from commit {two})",
        "squash": f"Squashed commit of the following:\n\ncommit {two}\nAuthor: B\n\n    Two\n\ncommit {one}\n\n    One\n",
        "none": "Both",
    }[message]
    lab.switch("crio-1.31")
    ours = text({5: "five", 20: "twenty"} | ({40: "forty"} if adapted else {}))
    lab.commit(said, {"a.go": ours, "c.go": "c\n"})
    lab.switch("main")
    found = log(lab.path, "crio-1.31", range_diff=True)
    (line,) = found.lines
    if message == "none" and adapted:
        assert (str(line.kind), line.origin) == ("own", None), "nothing tells"
        return
    assert line.origin is not None
    assert (str(line.kind), line.origin.squashed, line.origin.equal) == ("pick", (one, two), not adapted)
    assert found.clean, found
    assert f"from {one[:12]} and {two[:12]}, squashed" in "\n".join(lines(found))


def test_a_part_of_a_commit_with_another_is_not_called_both(lab):
    lab.commit("One", {"a.go": text({5: "five"}), "d.go": "d\n"}, author=ANNA)
    lab.commit("Two", {"a.go": text({5: "five", 20: "twenty"})}, author=BO)
    lab.switch("crio-1.31")
    lab.commit("Most", {"a.go": text({5: "five", 20: "twenty"})})
    lab.switch("main")
    (line,) = log(lab.path, "crio-1.31").lines
    assert str(line.kind) == "own"


def test_a_shallow_clone_without_its_tag_is_told_how_to_get_it(lab, tmp_path):
    lab.switch("crio-1.31")
    for number in range(3):
        lab.commit(f"More {number}")
    lab.switch("main")
    clone = Lab(tmp_path / "clone")
    command = [
        "git",
        "clone",
        "-q",
        "--depth=2",
        "--no-tags",
        "--no-single-branch",
        f"file://{lab.path}",
        str(clone.path),
    ]
    subprocess.run(command, check=True)
    with pytest.raises(NotFoundError) as caught:
        log(clone.path, "crio-1.31")
    assert "--unshallow --tags" in str(caught.value.hint)
