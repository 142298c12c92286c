"""Running programs."""

import os
import sys
import time

import pytest

from haulout.errors import ToolError
from haulout.local.process import chunks, last_line, run, started, wait, wait_until


def test_a_program_is_waited_for():
    with started([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        assert wait(process, seconds=20) == 3


def test_a_program_that_does_not_end_is_named():
    with (
        started(["sleep", "60"], grace=0) as process,
        pytest.raises(ToolError, match="sleep: did not end within 0 sec"),
    ):
        wait(process, seconds=0.05)


def python(code):
    return [sys.executable, "-c", code]


def test_a_program_reads_writes_and_ends_as_it_likes(tmp_path):
    code = "import os, sys; print(os.getcwd(), os.environ['A'], sys.stdin.read()); sys.exit('one\\ntw\x1bo\\n')"
    done = run(python(code), seconds=60, stdin=b"in", environment={"A": "b"}, folder=tmp_path)
    assert done.out == f"{tmp_path} b in\n".encode()
    assert (done.code, done.err.splitlines()[0]) == (1, b"one")
    assert done.said.startswith("tw")
    assert done.said.isprintable()
    assert done.argv[0] == sys.executable


def test_a_program_that_takes_too_long_is_ended_with_all_it_started():
    begin = time.monotonic()
    with pytest.raises(ToolError, match="sh: did not end within 1 seconds"):
        run(["sh", "-c", "sleep 60 & sleep 60"], seconds=0.6)
    # Its child holds the pipe: it would not be at an end before.
    assert time.monotonic() - begin < 30


def test_a_program_that_cannot_be_started_is_named(tmp_path):
    with pytest.raises(ToolError, match="absent-program: is not installed") as caught:
        run(["absent-program"], seconds=1, hint="install it")
    assert caught.value.hint == "install it"
    (tmp_path / "text").write_text("no program")
    with pytest.raises(ToolError, match="text: cannot be started: Permission denied"):
        run([str(tmp_path / "text")], seconds=1)


def test_the_last_line_is_shown():
    assert last_line(b"") == ""
    assert last_line(b"first\n  last \n\n") == "last"
    assert last_line(b"x" * 10_000 + b"\nend\xff").startswith("end")


def test_readiness_is_waited_for_and_missed():
    asked: list[int] = []

    def ready():
        asked.append(1)
        return len(asked) == 3

    with started(["sleep", "60"], grace=0) as process:
        wait_until(ready, process, seconds=20, what="the socket", poll=0.01)
        assert len(asked) == 3
        with pytest.raises(ToolError, match="sleep: the socket was not ready within 0 seconds"):
            wait_until(lambda: False, process, seconds=0.05, what="the socket", poll=0.01)
    with (
        started(["false"]) as process,
        pytest.raises(ToolError, match="false: ended with exit code 1 before the socket was ready"),
    ):
        wait_until(lambda: False, process, seconds=20, what="the socket", poll=0.01)


def test_what_comes_through_a_pipe_is_passed_on_until_nothing_comes():
    read, write = os.pipe()
    try:
        os.write(write, b"abcdef")
        pieces = chunks(read, stall=0.05, name="tool", size=4)
        assert [next(pieces), next(pieces)] == [b"abcd", b"ef"]
        with pytest.raises(ToolError, match="tool: made no progress for 0 seconds"):
            next(pieces)
        os.close(write)
        assert list(chunks(read, stall=5, name="tool")) == []
    finally:
        os.close(read)
