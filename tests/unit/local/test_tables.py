"""Files that people wrote: what is read, and errors that name the file and the key."""

from __future__ import annotations

import pytest

from haulout.errors import InvalidEvidence, InvalidFile, NotFoundError, StorageError
from haulout.local import parse_toml, read_text, read_toml


def test_lines_may_hold_any_letters(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('name = "a\\tb\\u00a0c"\nmany = ["x\\u200dy", "z"]\none = "alone"\nlong = "' + "x" * 5000 + '"\n')
    table = read_toml(path)
    assert table.line("name") == "a\tb\u00a0c"
    assert table.lines("many") == ("x\u200dy", "z")
    assert table.lines("one") == ("alone",)
    assert table.lines("absent") == ()
    assert len(table.line("long")) == 5000
    assert table.line("absent", "") == ""


@pytest.mark.parametrize("text", ['a = "x\\ny"', 'a = "\\u0000"', "a = 3", 'a = " "', "", "a = ['']", "a = [3]"])
def test_what_is_not_a_line_names_its_key(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(InvalidFile) as caught:
        read_toml(path).line("a")
    assert caught.value.where == "a"
    if "[" in text:
        with pytest.raises(InvalidFile, match="expected a list of lines of text"):
            read_toml(path).lines("a")


def test_what_cannot_be_read_says_why(tmp_path):
    path = tmp_path / "a.toml"
    with pytest.raises(NotFoundError):
        read_toml(path)
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(InvalidFile, match="is not UTF-8 text, at byte 5"):
        read_text(path)
    path.write_text("a =")
    with pytest.raises(InvalidFile, match="is not TOML"):
        read_toml(path)
    with pytest.raises(StorageError):
        read_text(tmp_path)


@pytest.mark.parametrize("text", ["a", "a = 1\na = 1", "a = " + "9" * 5000, "a = " + "[" * 100_000])
def test_every_complaint_about_toml_is_the_error_that_the_caller_wants(text):
    def wrong(where, reason, *, hint=None):
        assert where == ""
        return InvalidEvidence("file", reason, hint=hint)

    with pytest.raises(InvalidEvidence, match="is not TOML: ") as caught:
        parse_toml(text, wrong)
    assert str(caught.value).isprintable()
