"""Fix records: what is read, what is refused, and what picks add."""

from __future__ import annotations

import pytest

from haulout.backports import records
from haulout.errors import InvalidFile, UsageError

RECORD = 'id = "CVE-2024-0001"\naliases = ["GHSA-mc76-5925-c5p6"]\nlibrary = "common"\ncommits = ["' + "a" * 40 + '"]\n'


def test_records_are_found_by_id_and_alias_and_grow(tmp_path):
    book = tmp_path / "backports.toml"
    path = tmp_path / "fixes" / "CVE-2024-0001.toml"
    path.parent.mkdir()
    path.write_text(f"# embargoed until June\n{RECORD}\n")
    (record,) = records.load_all(book)
    assert records.find([record], "cve-2024-0001") is record
    assert records.find([record], "GHSA-mc76-5925-c5p6") is record
    assert records.find([record], "CVE-2024-1") is None
    records.add_backport(record, "v0.57", ["b" * 40])
    once = path.read_text()
    records.add_backport(record, "v0.57", ["b" * 40])
    assert path.read_text() == once, "twice is once"
    records.add_backport(record, "v0.57", ["c" * 40])
    records.add_backport(record, "v0.58", ["d" * 40])
    assert path.read_text().startswith("# embargoed until June\n")
    (grown,) = records.load_all(book)
    assert [(one.branch, one.commits) for one in grown.backports] == [
        ("v0.57", ("b" * 40, "c" * 40)),
        ("v0.58", ("d" * 40,)),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('commits = ["a"]\n', "id: is missing"),
        ('id = "../x"\n', "id: expected letters"),
        ('id = "x"\ncommits = ["HEAD"]\n', "commits: 'HEAD' is not a commit id"),
        ('id = "x"\ncommits = ["--upload-pack=x"]\n', "is not a commit id"),
        (
            'id = "x"\n[[backport]]\nbranch = "v1"\ncommits = [3]\n',
            "backport[0].commits: expected a list of lines of text",
        ),
    ],
)
def test_a_broken_record_is_one_clear_line(tmp_path, text, said):
    path = tmp_path / "fixes" / "x.toml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InvalidFile) as caught:
        records.load_all(tmp_path / "backports.toml")
    assert said in str(caught.value)


def test_two_records_must_not_share_an_id(tmp_path):
    (tmp_path / "fixes").mkdir()
    for name in ("a", "b"):
        (tmp_path / "fixes" / f"{name}.toml").write_text(RECORD)
    with pytest.raises(InvalidFile, match=r"b\.toml: id: has the same id as .*a\.toml"):
        records.load_all(tmp_path / "backports.toml")


def test_an_id_becomes_a_file_name_and_nothing_else(tmp_path):
    for wrong in ("", "../x", "a/b", ".hidden", "a b", "x" * 200, "-x"):
        with pytest.raises(UsageError):
            records.create(tmp_path / "b.toml", records.NewRecord(wrong, "l", "s", ("a" * 40,)))
    assert list(tmp_path.iterdir()) == []
