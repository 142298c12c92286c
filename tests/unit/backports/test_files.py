"""The ledger and the fix records: what is read, what is refused, and that comments survive."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import pytest

from haulout.backports import ledger, records, toml
from haulout.errors import ContentError, HauloutError, NotFoundError, StorageError, UsageError

KEPT = ledger.Kept("example.com/common", "crio-1.27", "v0.53.0", "a" * 40, "crio", "1.27", "release-1.27")
RECORD = 'id = "CVE-2024-0001"\naliases = ["GHSA-mc76-5925-c5p6"]\nlibrary = "common"\ncommits = ["' + "a" * 40 + '"]\n'


def test_a_ledger_is_begun_and_goes_on_with_its_comments(tmp_path):
    path = tmp_path / "ledgers" / "backports.toml"
    ledger.add(path, KEPT)
    text = (
        path.read_text()
        .replace("[[branch]]", "# asked for in the meeting\n[[branch]]")
        .replace("supported = true", "supported = false  # since May")
    )
    path.write_text(text)
    other = ledger.Kept("example.com/common", "podman-5.8", "v0.60.0", "b" * 40, "podman", "5.8", "v5.8")
    ledger.add(path, other)
    assert path.read_text().startswith(text)
    assert ledger.load(path).branches == (
        replace(KEPT, supported=False),
        other,
    )


def test_who_must_have_fixes(tmp_path):
    path = tmp_path / "backports.toml"
    assert ledger.load(path).supports("x", "anything")
    ledger.add(path, KEPT)
    found = ledger.load(path)
    assert found.supports("common", "crio-1.27")
    assert found.supports("example.com/common", "crio-1.27")
    assert not found.supports("example.com/common", "v0.57")
    assert found.supports("example.com/image", "v0.57"), "it says nothing about that library"
    path.write_text('supported = ["main", "v0.5*"]\n' + path.read_text())
    assert ledger.load(path).supports("example.com/common", "v0.57")


def test_records_are_found_by_id_and_alias_and_grow(tmp_path):
    book = tmp_path / "backports.toml"
    path = tmp_path / "fixes" / "CVE-2024-0001.toml"
    path.parent.mkdir()
    path.write_text(f"# embargoed until June\n{RECORD}\n")
    (record,) = records.load_all(book)
    assert records.find([record], "cve-2024-0001") is record
    assert records.find([record], "GHSA-mc76-5925-c5p6") is record
    assert records.find([record], "CVE-2024-1") is None
    records.grow(record, "v0.57", ["b" * 40])
    once = path.read_text()
    records.grow(record, "v0.57", ["b" * 40])
    assert path.read_text() == once, "twice is once"
    records.grow(record, "v0.57", ["c" * 40])
    records.grow(record, "v0.58", ["d" * 40])
    assert path.read_text().startswith("# embargoed until June\n")
    (grown,) = records.load_all(book)
    assert [(one.branch, one.commits) for one in grown.backports] == [
        ("v0.57", ("b" * 40, "c" * 40)),
        ("v0.58", ("d" * 40,)),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[branch]\n", "is not TOML"),
        ("branch = 3\n", "branch: must be an array of tables"),
        ("[[branch]]\nname = 3\n", "branch[0].library: is missing"),
        ('[[branch]]\nlibrary = "a\\nb"\n', "branch[0].library: must be a line of text"),
        ('[[branch]]\nlibary = "x"\n', "branch[0].libary: is not a known key"),
        ('supported = "x"\nsuported = "y"\n', "suported: is not a known key"),
        ("supported = [1]\n", "supported: must be a list of texts"),
        ("\0", "is not TOML"),
        ("a" * 5000 + " = " + "[" * 3000, "is not TOML"),
        (b"\xff\xfe", "is not UTF-8 text, at byte 0"),
    ],
)
def test_a_broken_ledger_is_one_clear_line_and_stays_as_it_is(tmp_path, text, said):
    path = tmp_path / "backports.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    with pytest.raises(ContentError) as caught:
        ledger.load(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('commits = ["a"]\n', "id: is missing"),
        ('id = "../x"\n', "id: must be letters"),
        ('id = "x"\ncommits = ["HEAD"]\n', "commits: 'HEAD' is not a commit id"),
        ('id = "x"\ncommits = ["--upload-pack=x"]\n', "is not a commit id"),
        ('id = "x"\n[[backport]]\nbranch = "v1"\ncommits = [3]\n', "backport[0].commits: must be a list of texts"),
    ],
)
def test_a_broken_record_is_one_clear_line(tmp_path, text, said):
    path = tmp_path / "fixes" / "x.toml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ContentError) as caught:
        records.load_all(tmp_path / "backports.toml")
    assert said in str(caught.value)


def test_two_records_must_not_share_an_id(tmp_path):
    (tmp_path / "fixes").mkdir()
    for name in ("a", "b"):
        (tmp_path / "fixes" / f"{name}.toml").write_text(RECORD)
    with pytest.raises(ContentError, match=r"b\.toml: id: has the id of .*a\.toml"):
        records.load_all(tmp_path / "backports.toml")


def test_an_id_becomes_a_file_name_and_nothing_else(tmp_path):
    for wrong in ("", "../x", "a/b", ".hidden", "a b", "x" * 200, "-x"):
        with pytest.raises(UsageError):
            records.create(tmp_path / "b.toml", records.New(wrong, "l", "s", ("a" * 40,)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode_and_link(tmp_path):
    real, link = tmp_path / "kept.toml", tmp_path / "backports.toml"
    real.write_text("old = 1\n")
    real.chmod(0o640)
    link.symlink_to(real)
    toml.store(link, "new = 1\n")
    assert link.is_symlink()
    assert real.read_text() == "new = 1\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backports.toml", "kept.toml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError):
        toml.store(tmp_path / "x.toml", "")


def test_what_is_no_file_says_so(tmp_path):
    (tmp_path / "d.toml").mkdir()
    with pytest.raises(NotFoundError):
        toml.load(tmp_path / "absent.toml")
    with pytest.raises(HauloutError):
        toml.load(tmp_path / "d.toml")
    with pytest.raises(StorageError):
        toml.store(tmp_path / "d.toml", "")
