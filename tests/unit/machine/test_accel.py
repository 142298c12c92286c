"""Accelerators are tried, not believed, and what was found out is remembered."""

from __future__ import annotations

import json
import sys

import pytest
from tests.support.servers import find

from haulout.errors import ToolError
from haulout.machine import Accelerator
from haulout.machine.qemu import accel


def fake(folder, text):
    """A program that stands for QEMU."""
    path = folder / "qemu-fake"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.tools
@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_a_guest_really_runs_under_tcg(architecture):
    program = f"qemu-system-{architecture}"
    if find(program) is None:
        pytest.skip(f"not installed: {program}")
    assert accel.probe(program, Accelerator.TCG, architecture)
    assert not accel.probe(program, Accelerator.HVF, architecture) or sys.platform == "darwin"


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
@pytest.mark.parametrize("text", ["exit 0", "exit 1", "kill -ABRT $$", "exec sleep 60"])
def test_a_guest_that_dies_or_hangs_does_not_run(tmp_path, text, architecture):
    assert not accel.probe(fake(tmp_path, text), Accelerator.KVM, architecture, seconds=0.3)


def test_what_does_not_work_is_passed_over_and_that_is_remembered(tmp_path):
    calls, notes = tmp_path / "calls", tmp_path / "cache/notes.json"
    program = fake(tmp_path, f'echo "$2" >>{calls}; [ "$2" = tcg ] && exit 33; exit 134')
    for _ in range(2):
        assert accel.choose(program, Accelerator.AUTO, "x86_64", notes) is Accelerator.TCG
    assert calls.read_text() == "kvm\ntcg\n"
    # Another QEMU, another verdict.
    fake(tmp_path, f'echo "$2" >>{calls}; exit 33')
    assert accel.choose(program, Accelerator.AUTO, "x86_64", notes) is Accelerator.KVM
    # Another kernel or host, too: the home directory may be there, and KVM not.
    note = json.loads(notes.read_bytes())
    for at in range(len(note["key"])):
        notes.write_text(json.dumps({**note, "key": [*note["key"][:at], "other", *note["key"][at + 1 :]]}))
        calls.unlink()
        accel.choose(program, Accelerator.AUTO, "x86_64", notes)
        assert calls.read_text() == "kvm\n"
    notes.write_text(json.dumps({**note, "accelerator": "auto"}))
    assert accel.choose(program, Accelerator.AUTO, "x86_64", notes) is Accelerator.KVM
    notes.write_text("{")
    assert accel.choose(program, Accelerator.AUTO, "x86_64", notes) is Accelerator.KVM
    assert json.loads(notes.read_text())["accelerator"] == "kvm"


def test_a_wish_is_taken_as_it_is(tmp_path):
    assert accel.choose("no-such-program", Accelerator.KVM, "x86_64", tmp_path / "notes") is Accelerator.KVM


def test_no_qemu_is_said(tmp_path):
    with pytest.raises(ToolError, match="not installed"):
        accel.choose("no-such-program", Accelerator.AUTO, "x86_64", tmp_path / "notes")
    with pytest.raises(ToolError, match="runs no guest"):
        accel.choose(fake(tmp_path, "exit 1"), Accelerator.AUTO, "x86_64", tmp_path / "notes")


def test_each_system_has_its_candidates():
    assert accel.candidates("linux") == (Accelerator.KVM, Accelerator.TCG)
    assert accel.candidates("darwin") == (Accelerator.HVF, Accelerator.TCG)
    assert accel.candidates("freebsd14") == (Accelerator.TCG,)
