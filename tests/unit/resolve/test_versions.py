"""The order of tags as people look for them."""

from __future__ import annotations

import random

import pytest

from haulout.resolve import is_version, newest_first, series


@pytest.mark.parametrize(
    "wanted",
    [
        ["latest", "next", "5.10", "5.10-rc1", "5.9", "5"],
        ["1.0.1", "1.0-2", "1.0", "1.0-beta", "0.9"],
        ["v2", "v1.12", "v1.2", "next-1.9", "next-1.1"],
        ["20260101", "20251231"],
    ],
)
def test_newest_first(wanted):
    wanted = sorted(wanted, key=lambda tag: (is_version(tag), series(tag) if is_version(tag) else ""))
    shuffled = random.Random(5).sample(wanted, len(wanted))
    assert newest_first(iter(shuffled)) == wanted
