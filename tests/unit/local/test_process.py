"""Running programs."""

import sys

import pytest

from haulout.errors import ToolError
from haulout.local.process import started, wait


def test_a_program_is_waited_for():
    with started([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        assert wait(process, seconds=20) == 3


def test_a_program_that_does_not_end_is_named():
    with (
        started(["sleep", "60"], grace=0) as process,
        pytest.raises(ToolError, match="sleep: did not end within 0 sec"),
    ):
        wait(process, seconds=0.05)
