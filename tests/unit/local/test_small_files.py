"""Small files that are read whole, and tables in them."""

from __future__ import annotations

import pytest

from haulout.errors import InvalidEvidence, StorageError
from haulout.local import parse_toml, read_small


def test_a_file_that_is_too_large_is_the_error_that_the_caller_wants(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_small(path, 5) == b"12345"
    with pytest.raises(StorageError, match="larger than 4 bytes"):
        read_small(path, 4)
    with pytest.raises(InvalidEvidence, match=r"^it cannot be read: it is larger than 4 bytes, the most that is read$"):
        read_small(path, 4, too_large=lambda reason: InvalidEvidence("it", reason))


@pytest.mark.parametrize("text", ["a", "a = 1\na = 1", "a = " + "9" * 5000, "a = " + "[" * 100_000])
def test_every_complaint_about_toml_is_the_error_that_the_caller_wants(text):
    def wrong(where, reason, *, hint=None):
        assert where == ""
        return InvalidEvidence("file", reason, hint=hint)

    with pytest.raises(InvalidEvidence, match="is not TOML: ") as caught:
        parse_toml(text, wrong)
    assert str(caught.value).isprintable()
