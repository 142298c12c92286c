"""The ledger: what is read, what is refused, and that comments survive."""

from __future__ import annotations

from dataclasses import replace

import pytest

from haulout.backports.ledger import LedgerEntry, add_entry, load_ledger
from haulout.errors import InvalidFile

KEPT = LedgerEntry("example.com/common", "crio-1.27", "v0.53.0", "a" * 40, "crio", "1.27", "release-1.27")


def test_a_ledger_is_begun_and_goes_on_with_its_comments(tmp_path):
    path = tmp_path / "ledgers" / "backports.toml"
    add_entry(path, KEPT)
    text = (
        path.read_text()
        .replace("[[branch]]", "# asked for in the meeting\n[[branch]]")
        .replace("supported = true", "supported = false  # since May")
    )
    path.write_text(text)
    other = LedgerEntry("example.com/common", "podman-5.8", "v0.60.0", "b" * 40, "podman", "5.8", "v5.8")
    add_entry(path, other)
    assert path.read_text().startswith(text)
    assert load_ledger(path).branches == (
        replace(KEPT, supported=False),
        other,
    )


def test_who_must_have_fixes(tmp_path):
    path = tmp_path / "backports.toml"
    assert load_ledger(path).supports("x", "anything")
    add_entry(path, KEPT)
    found = load_ledger(path)
    assert found.supports("common", "crio-1.27")
    assert found.supports("example.com/common", "crio-1.27")
    assert not found.supports("example.com/common", "v0.57")
    assert found.supports("example.com/image", "v0.57"), "it says nothing about that library"
    path.write_text('supported = ["main", "v0.5*"]\n' + path.read_text())
    assert load_ledger(path).supports("example.com/common", "v0.57")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[branch]\n", "is not TOML"),
        ("branch = 3\n", "branch: expected an array of tables"),
        ("[[branch]]\nname = 3\n", "branch[0].library: is missing"),
        ('[[branch]]\nlibrary = "a\\nb"\n', "branch[0].library: expected one line of text"),
        ('[[branch]]\nlibary = "x"\n', "branch[0].libary: is not a known key"),
        ('supported = "x"\nsuported = "y"\n', "suported: is not a known key"),
        ("supported = [1]\n", "supported: expected a list of lines of text"),
        ("\0", "is not TOML"),
        ("a" * 5000 + " = " + "[" * 3000, "is not TOML"),
        (b"\xff\xfe", "is not UTF-8 text, at byte 0"),
    ],
)
def test_a_broken_ledger_is_one_clear_line_and_stays_as_it_is(tmp_path, text, said):
    path = tmp_path / "backports.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    with pytest.raises(InvalidFile) as caught:
        load_ledger(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
