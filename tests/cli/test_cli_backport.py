"""``haulout backport`` as a person meets it: what it says, how it ends, and bad input of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.sandbox import sandbox


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with sandbox(tmp_path_factory.mktemp("backport"), registry=False, libraries=True) as made:
        yield made


@pytest.fixture
def fresh(tmp_path):
    with sandbox(tmp_path, registry=False, libraries=True) as made:
        yield made


def test_status_says_what_it_found_and_ends_with_1(place):
    done = place.haulout("backport", "status", "main~1", "--lib", "common")
    assert done.code == 1
    lines = done.out.splitlines()
    assert "! v0.59      missing, applies  7bfc397365 applies" in lines
    assert any(line.startswith("! crio-1.24") and line.endswith("(for crio 1.24)") for line in lines)
    assert any(line.startswith("  v0.55") for line in lines), "not supported by the ledger"
    assert lines[-1] == "2 supported branches lack it, or may lack it"
    assert place.haulout("backport", "status", "main~1", "--lib", "common", "--quiet").out == "incomplete\n"
    done = place.haulout("backport", "status", "main~1", "--lib", "common", "--supported", "v0.58")
    assert done.code == 0


def test_reports_are_written_beside(place):
    done = place.haulout(
        "backport", "status", "CVE-2024-0001", "main", "--lib", "common", "--report", "a.md", "--report", "a.HTML"
    )
    assert done.code == 1
    assert "| **v0.59** |" in (place.path / "a.md").read_text()
    assert '<td class="missing-applies">missing, applies</td>' in (place.path / "a.HTML").read_text()
    done = place.haulout("backport", "status", "main", "--lib", "common", "--report", "a.pdf")
    assert (done.code, "unknown kind of report" in done.err) == (2, True)


def test_the_ledger_may_be_anywhere(place, tmp_path):
    book = tmp_path / "elsewhere" / "book.toml"
    arguments = ("backport", "branch", "--lib", "common", "--tag", "v0.52.0", "--consumer", "podman-4.0")
    assert place.haulout(*arguments, "--ledger", str(book)).code == 0
    assert "podman" in book.read_text()
    again = place.haulout(*arguments, HAULOUT_LEDGER=str(book))
    assert (again.code, "already there: podman-4.0" in again.out) == (0, True)
    done = place.haulout("backport", "status", "main", "--lib", "common", "--ledger", str(tmp_path / "none.toml"))
    assert (done.code, "no such ledger" in done.err) == (4, True)


def test_a_conflict_says_how_to_go_on(fresh):
    done = fresh.haulout("backport", "pick", "crio-1.24", "main~1", "--lib", "common", "--direct", "--exact")
    assert done.code == 1
    assert "conflict: 7bfc39736555 does not apply onto crio-1.24" in done.out
    assert "  pkg/subscriptions/subscriptions.go" in done.out
    assert "a backport of it applies:" in done.out
    assert "then: haulout backport pick crio-1.24 --continue --lib common" in done.out
    folder = next(
        line.removeprefix("resolve it in ") for line in done.out.splitlines() if line.startswith("resolve it in")
    )
    assert Path(folder).is_dir()
    done = fresh.haulout("backport", "pick", "crio-1.24", "--continue", "--lib", "common")
    assert (done.code, "still in conflict" in done.err) == (12, True)
    # From anywhere in the worktree, without --lib, as one stands there.
    done = fresh._run(["haulout", "backport", "pick", "crio-1.24", "--abort", "--lib", folder])
    assert (done.code, done.out) == (0, "aborted: crio-1.24 is as it was\n")
    assert not Path(folder).exists()


BAD = [
    (["status"], 2, "missing argument"),
    (["status", "nonsense", "--lib", "common"], 4, "neither a fix record nor a commit"),
    (["status", "main", "--lib", "absent"], 4, "no such folder: absent"),
    (["status", "main", "--lib", "."], 4, "no git repository"),
    (["status", "main", "--lib", "disk.raw"], 4, "no"),
    (["status", "--lib", "common", "--", "--all"], 4, "neither a fix record nor a commit"),
    (["status", "main", "--lib", "common", "--branches", "x*"], 4, "no branch of common matches x*"),
    (["status", "main", "--lib", "common", "--main", "-x"], 4, "no branch '-x'"),
    (["status", "main", "--lib", "common", "--remote", "--all"], 4, "no remote '--all'"),
    (["pick", "v0.59", "--lib", "common"], 2, "nothing to pick"),
    (["pick", "v0.59", "main", "--continue", "--lib", "common"], 2, "take only branch"),
    (["pick", "v0.59", "--continue", "--abort", "--lib", "common"], 2, "take only branch"),
    (["pick", "absent", "main", "--lib", "common"], 4, "no branch 'absent'"),
    (["pick", "--lib", "common", "--", "-d", "main"], 4, "no branch '-d'"),
    (["pick", "v0.59", "main", "--lib", "common", "--topic", "-x"], 2, "not a branch name"),
    (["pick", "v0.59", "--abort", "--lib", "common"], 4, "are in progress"),
    (["pick", "main", "v0.59", "--lib", "common", "--direct"], 12, "main is checked out"),
    (["branch", "--lib", "common", "--tag", "v9", "--consumer", "crio-1.31"], 4, "no tag 'v9'"),
    (["branch", "--lib", "common", "--tag", "v0.53.0", "--consumer", "crio"], 2, "not a consumer"),
    (["branch", "--lib", "common", "--tag", "v0.59.0", "--consumer", "crio-1.31"], 1, ""),
    (["verify", "--lib", "common", "--consumer", "cri-o"], 2, "not a consumer"),
    (["verify", "--lib", "common", "--consumer", "cri-o@absent"], 4, "no such commit"),
    (["log", "absent", "--lib", "common"], 4, "no branch"),
    (["log", "v0.59", "--lib", "common", "--base", "x"], 4, "no such commit"),
    (["fixes", "v0.59.0", "--lib", "common"], 2, "not a range"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), BAD, ids=[" ".join(arguments) for arguments, _, _ in BAD])
def test_bad_input_is_one_clear_line(place, arguments, code, said):
    done = place.haulout("backport", *arguments)
    assert done.code == code, done.err
    assert said in done.err.lower()
    assert "Traceback" not in done.err
    if code > 1:
        assert done.out == ""
        first, *rest = done.err.splitlines()
        assert first.startswith("haulout: ")
        assert len(rest) <= 1
        assert all(line.startswith("  hint: ") for line in rest)


@pytest.mark.parametrize(
    "arguments",
    [["status", "main"], ["log", "v0.59"], ["pick", "v0.59", "main~1"], ["fixes", "v0.8.0..main"]],
    ids=lambda value: value[0],
)
def test_a_broken_ledger_or_record_stops_everything_and_stays(fresh, arguments):
    for name, text in (("backports.toml", "[[branch]\n"), ("fixes/x.toml", 'id = "x"\ncommits = 3\n')):
        (fresh.path / name).write_text(text)
        done = fresh.haulout("backport", *arguments, "--lib", "common")
        if name == "backports.toml" and arguments[0] in {"pick", "fixes"}:
            # These read the records alone.
            assert done.code in {0, 1}, done.err
        else:
            assert done.code == 2, done.err
            assert name in done.err
        assert (fresh.path / name).read_text() == text
        (fresh.path / name).write_text("")


def test_escape_sequences_in_history_do_not_reach_the_terminal(fresh):
    from tests.support.libraries import Lab

    lab = Lab(fresh.path / "common")
    lab.commit("Evil \x1b[31m\x1b]0;title\x07 subject", {"x.go": "x\n"})
    for arguments in (["status", "main"], ["log", "main", "--base", "v0.62.0"]):
        done = fresh.haulout("backport", *arguments, "--lib", "common")
        assert "\x1b" not in done.out
        assert "\\x1b" in done.out


def test_no_git_at_all(place, tmp_path):
    done = place.haulout("backport", "status", "main", "--lib", "common", PATH=f"{place.path.parent / 'bin'}")
    assert done.code in {11, 127}
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sh").symlink_to("/bin/sh")
    done = place.haulout(
        "backport", "status", "main", "--lib", "common", "--json", PATH=f"{place.path.parent / 'bin'}:{programs}"
    )
    assert done.code == 11, done.err
    assert json.loads(done.out)["error"]["message"] == "git: is not installed"


def test_json_is_ascii_whatever_the_history_holds(fresh):
    from tests.support.libraries import Lab

    lab = Lab(fresh.path / "common")
    lab.commit("Größe ☃ \x1b", {b"g\xe4.go".decode("utf-8", "surrogateescape"): "x\n"})
    done = fresh.haulout("backport", "status", "main", "--lib", "common", "--json", LC_ALL="C")
    assert done.out.isascii()
    assert json.loads(done.out)["fixes"][0]["title"] == "Größe ☃ \x1b"
