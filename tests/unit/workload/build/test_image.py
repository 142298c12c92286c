"""The room that is left in an image."""

from __future__ import annotations

import pytest

from haulout.errors import UsageError
from haulout.workload.build.image import size_with


@pytest.mark.parametrize(
    ("content", "wanted", "size"),
    [
        (100 << 20, "25%", 125 << 20),
        (100 << 20, "", 100 << 20),
        (100 << 20, "10%+10MB", 120 << 20),
        (100 << 20, "10MB+10%", 121 << 20),
        (100 << 20, "200%", 300 << 20),
        (100 << 20, "1g", (100 << 20) + (1 << 30)),
        (1, "25%", 10 << 20),
        ((10 << 20) + 1, "0%", (10 << 20) + 4096),
    ],
)
def test_slop(content, wanted, size):
    assert size_with(content, wanted) == size


@pytest.mark.parametrize("wanted", ["x", "-1%", "%", "1.5%", "12e3", "10%10MB", "9" * 30, "99999999%+99999999%"])
def test_slop_that_is_none(wanted):
    with pytest.raises(UsageError):
        size_with(1 << 30, wanted)
