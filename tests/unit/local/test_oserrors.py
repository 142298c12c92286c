"""What the operating system says, and the way out that is named."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from haulout.errors import StorageError
from haulout.local.oserrors import is_full, reason_of, storage_error, storage_errors


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "make room, or choose another place with --output"),
        (errno.EDQUOT, "make room, or choose another place with --output"),
        (errno.EFBIG, "choose another place with --output"),
        (errno.EROFS, "choose a place you may write to with --output"),
        (errno.ENAMETOOLONG, "choose a shorter name with --output"),
        (errno.EIO, None),
    ],
)
def test_the_hint_fits_the_error_and_names_the_option(number, hint):
    error = storage_error("disk", OSError(number, os.strerror(number)), option="--output")
    assert error.hint == hint
    assert is_full(OSError(number, "")) == (number in {errno.ENOSPC, errno.EDQUOT})


def test_without_an_option_none_is_named_and_a_hint_of_the_callers_goes_first():
    assert storage_error("disk", OSError(errno.ENOSPC, "")).hint == "make room, or choose another place"
    assert storage_error("disk", OSError(errno.EROFS, "")).hint == "choose another place"
    for number in (errno.EACCES, errno.EPERM):
        hint = storage_error("a/disk", OSError(number, "")).hint
        assert hint == "see who may use it, and the folders above it: ls -ld a/disk"
    assert storage_error("disk", OSError(errno.ENAMETOOLONG, "")).hint is None
    assert storage_error("disk", OSError(errno.ENOSPC, ""), hint="set TMPDIR").hint == "set TMPDIR"


def test_what_nobody_has_a_word_for_is_said_as_the_system_says_it():
    assert reason_of(OSError(errno.EXDEV, "Invalid cross-device link")) == "invalid cross-device link"
    assert reason_of(OSError()) == "oserror"


@pytest.mark.parametrize("name", ["nul\0byte", "lone\udcff\ud800"])
def test_a_name_that_no_file_has_is_an_error_of_storage(name):
    with (
        pytest.raises(StorageError, match="cannot look: it is not a file name"),
        storage_errors("it", doing="cannot look"),
    ):
        Path(name).stat()


def test_other_errors_of_values_are_left_alone():
    with pytest.raises(ValueError, match="base 10"), storage_errors("it"):
        int("x")
