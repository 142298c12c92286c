"""When a running guest is trimmed."""

from __future__ import annotations

import os
import time

import pytest

from haulout.machine.guest.trim import is_due


@pytest.mark.parametrize(
    ("days", "due"), [(0, False), (6.9, False), (7.1, True), (3650, True), (-1, True), (-3650, True)]
)
def test_weekly_whatever_the_clock_does(tmp_path, days, due):
    mark = tmp_path / "trimmed"
    mark.touch()
    then = time.time() - days * 86400 - 1
    os.utime(mark, (then, then))
    assert is_due(mark) is due
    assert not is_due(mark)


def test_the_first_time_and_where_nothing_can_be_marked(tmp_path):
    assert is_due(tmp_path / "trimmed")
    assert not is_due(tmp_path / "missing" / "trimmed")
