"""The entrypoint that says its sentence and fails."""

from __future__ import annotations

import subprocess
import sys

import pytest

from haulout.workload.build import entrypoint


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="an ELF runs on Linux")
def test_the_entrypoint_says_its_sentence_and_fails(tmp_path):
    import platform

    if platform.machine() != "x86_64":
        pytest.skip("this machine runs no x86-64 programs")
    program = tmp_path / "entrypoint"
    program.write_bytes(entrypoint.program("amd64"))
    program.chmod(0o755)
    done = subprocess.run([str(program)], capture_output=True, timeout=10, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, entrypoint.TEXT, b"")


def test_the_entrypoint_of_arm_is_what_an_assembler_makes():
    # as -march=armv8-a: mov x0,1; mov x1,0x9c; movk x1,0x40,lsl 16; mov x2,75; mov x8,64; svc 0; mov x0,1; mov x8,93; svc 0
    code = entrypoint.program("arm64")[120 : -len(entrypoint.TEXT)]
    assert code.hex(" ", 4) == "200080d2 811380d2 0108a0f2 620980d2 080880d2 010000d4 200080d2 a80b80d2 010000d4"
