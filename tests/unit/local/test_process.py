"""Programs that are run to their end."""

from __future__ import annotations

import pytest

from haulout.errors import ToolError
from haulout.local import nameless_file, run_into


def test_all_that_is_printed_stands_in_one_file_in_order():
    with nameless_file() as output:
        assert run_into(["sh", "-c", "echo a; echo b >&2; echo c; exit 3"], output, seconds=20) == 3
        output.seek(0)
        assert output.read() == b"a\nb\nc\n"


def test_one_that_does_not_end_or_is_not_there():
    with nameless_file() as output:
        with pytest.raises(ToolError, match="sleep: did not end within 0 seconds"):
            run_into(["sleep", "60"], output, seconds=0.1)
        with pytest.raises(ToolError, match="is not installed") as caught:
            run_into(["no-such-program"], output, seconds=1, hint="install it")
        assert caught.value.hint == "install it"
