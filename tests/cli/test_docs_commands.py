"""Every command that a document shows is run, in the document's order, in a sandbox of its own."""

from __future__ import annotations

import re
import sys

import pytest
from tests.support.documents import Block, blocks
from tests.support.sandbox import BOOTED, ROOT, Sandbox, sandbox
from tests.support.servers import find, needs

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = {
    path.relative_to(ROOT).as_posix(): [block for block in blocks(path) if block.language == "console"]
    for path in DOCUMENTS
}
RUN = {name: [block for block in found if block.not_run is None] for name, found in BLOCKS.items()}
OTHERS = ("buildah", "qemu-system-x86_64")
"""Programs that a page may do without, where they are not installed."""
NOT_RUN = [(name, block) for name, found in BLOCKS.items() for block in found if block.not_run is not None]


def follow(place: Sandbox, block: Block, where: str) -> str:
    """Run a block's commands; return what the last one printed."""
    out = ""
    assert block.commands, f"{where}:{block.line}: a console block without a line that begins with '$ '"
    for number, command in enumerate(block.commands):
        done = place.shell(command)
        expected = block.exit_code if number == len(block.commands) - 1 else 0
        assert done.code == expected, f"{where}:{block.line}: $ {command}\n{done.out}{done.err}"
        out = done.out
        if command.startswith("qemu-system"):
            # The firmware writes to the same serial port, in between.
            assert re.sub(r"[^a-z ]", "", out).count(BOOTED.decode()) == 1, f"{where}:{block.line}: $ {command}\n{out}"
        if where == "README.md" and block.outputs[number]:
            assert plain(out) == plain(block.outputs[number]), f"{where}:{block.line}: $ {command}\n{out}"
    return out


def plain(output: str) -> list[str]:
    """Take out of an output what differs from run to run and from one zstd to the next: digests, times and sizes."""
    output = re.sub(r"sha256:[0-9a-f]+…?", "sha256:…", output.rstrip())
    output = re.sub(r"[0-9.]+ (ms|s|B|KiB|MiB|frames?|segments?)\b", r"N", output)
    return re.sub(r" +", " ", output).splitlines()


@pytest.mark.tools
@needs("qemu-img", "docker-registry")
@pytest.mark.parametrize("name", [name for name, found in RUN.items() if found])
def test_the_commands_of_a_document_run(name, tmp_path):
    libraries = any("backport" in command for block in RUN[name] for command in block.commands)
    used = {command.split(" ")[0] for block in RUN[name] for command in block.commands}
    if missing := [program for program in OTHERS if program in used and not find(program)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with sandbox(tmp_path, libraries=libraries) as place:
        for block in RUN[name]:
            follow(place, block, name)


PYTHON = {
    path.relative_to(ROOT).as_posix(): found
    for path in DOCUMENTS
    if (found := [block for block in blocks(path) if block.language == "python"])
}


@pytest.mark.parametrize("name", PYTHON)
def test_the_python_of_a_document_runs(name, tmp_path):
    with sandbox(tmp_path, registry=False) as place:
        for block in PYTHON[name]:
            (place.path / "example.py").write_text(block.text)
            done = place.shell(f"{sys.executable} example.py")
            assert done.code == 0, f"{name}:{block.line}\n{done.out}{done.err}"


@pytest.mark.parametrize(("name", "block"), NOT_RUN, ids=[f"{name}:{block.line}" for name, block in NOT_RUN])
def test_a_block_that_is_not_run_says_why(name, block):
    assert len(block.not_run) > 10, f"{name}:{block.line}: a reason is wanted"
    pytest.skip(f"{name}:{block.line}: {block.not_run}")


def test_the_reader_of_documents_sees_what_is_there(tmp_path):
    path = tmp_path / "d.md"
    path.write_text(
        "text\n```console\n$ one \\\n    --more\noutput\n$ two\n```\n\n<!-- not run: needs the moon -->\n\n"
        "```console\n$ fly\n```\n<!-- exit: 4 -->\n```console\n$ fail\n```\n```json\n{}\n```\n"
    )
    first, second, third, fourth = blocks(path)
    assert (first.outputs, second.outputs) == (["output", ""], [""])
    assert (first.line, first.commands, first.not_run, first.exit_code) == (2, ["one \\\n    --more", "two"], None, 0)
    assert (second.commands, second.not_run) == (["fly"], "needs the moon")
    assert (third.commands, third.exit_code) == (["fail"], 4)
    assert (fourth.language, fourth.commands) == ("json", [])
