"""`backport status` over fixes of odd sizes, beside `git cherry` and a `git patch-id` of each commit, in one run.

Usage: python benchmarks/backports_shapes.py [SHAPE...]. Makes a library for each shape with git fast-import: a commit of
1,000 files in a small library, in one with copies of other people's code under vendor/ (as containerd), in a long history of flat
folders (as systemd), in a tree of 40,000 files (as the kernel); and 100 fixes of 50 files. Half of the branches picked the fix, with drift
in a tenth of its files; others lack it, or have a part of its files under other names. Exit code 0: no fix took more than
3 s, and every state is as built. Machines are noisy, so look at the ratio.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.backports import HAULOUT, Stream, git  # noqa: E402 - after the path is set

LIMIT_SECONDS = 3.0


@dataclass(frozen=True)
class Shape:
    """A library, and the fixes in it."""

    files: int
    """Of the whole tree."""
    commits: int
    """On main."""
    branches: int
    size: int
    """Files of a fix."""
    fixes: int = 1
    folder: str = "pkg/p{}/"
    """Where files are; the number is that of the file, of which each folder has as many as ``each``."""
    each: int = 20
    lines: int = 60


SHAPES = {
    "small": Shape(1_200, 2_000, 12, 1_000),
    "containerd": Shape(9_000, 15_000, 12, 1_000, folder="vendor/example.com/m{}/"),
    "systemd": Shape(6_000, 60_000, 16, 1_000, folder="src/s{}/", each=400),
    "kernel": Shape(40_000, 40_000, 16, 1_000, folder="drivers/d{}/", each=40),
    "many": Shape(6_000, 5_000, 12, 50, fixes=100),
}


def main() -> int:
    wrong = 0
    for name in sys.argv[1:] or SHAPES:
        shape = SHAPES[name]
        with tempfile.TemporaryDirectory(prefix="haulout-bench-") as made:
            library = Path(made, "library")
            fixes, states = build(library, shape)
            began = time.monotonic()
            found = status(library, fixes)
            ours = (time.monotonic() - began) / len(fixes)
            began = time.monotonic()
            for branch in states:
                git(library, "cherry", f"b-{branch}", fixes[0], f"{fixes[0]}^")
            cherry = time.monotonic() - began
            began = time.monotonic()
            patch_ids(library)
            ids = time.monotonic() - began
        bad = {
            (fix[:10], branch): (cell, states[branch])
            for fix, cells in found.items()
            for branch, cell in cells.items()
            if cell != states[branch]
        }
        wrong += bool(bad) or ours > LIMIT_SECONDS
        print(
            f"{name:<11} {shape.fixes} x {shape.size} files, {shape.branches} branches: {ours:.2f} s a fix"
            f" (limit {LIMIT_SECONDS:.0f} s); git cherry {cherry:.2f} s, ratio {ours / cherry:.2f};"
            f" git patch-id of all {ids:.2f} s, ratio {ours / ids:.2f}; states as built: {bad or 'all'}",
            flush=True,
        )
    return int(wrong > 0)


def status(library: Path, fixes: list[str]) -> dict[str, dict[str, str]]:
    """Run the command itself, start of the interpreter included."""
    command = [HAULOUT, "backport", "status", *fixes, "--lib", library, "--json", "--progress", "none"]
    done = subprocess.run([*command, "--branches", "b-*"], capture_output=True, check=False, cwd=library.parent)
    assert done.returncode in {0, 1}, done.stderr
    return {
        fix: {cell["branch"].removeprefix("b-"): cell["state"] for cell in one["branches"]}
        for fix, one in zip(fixes, json.loads(done.stdout)["fixes"], strict=True)
    }


def patch_ids(library: Path) -> None:
    """Find the patch-id of every commit, as a script without an index of them would."""
    log = subprocess.Popen(["git", "-C", library, "log", "-p", "--all", "--no-merges"], stdout=subprocess.PIPE)
    subprocess.run(["git", "patch-id", "--stable"], stdin=log.stdout, stdout=subprocess.DEVNULL, check=True)
    log.wait()


def source(number: int, shape: Shape, *, fixed: bool = False, drift: str = "") -> str:
    lines = [f"step {number} {line} := call({line})" for line in range(shape.lines)]
    if fixed:
        lines[shape.lines // 2] = f"guarded {number} := call(limit)"
    if drift:
        lines[2] = drift
    return "\n".join(lines) + "\n"


def build(library: Path, shape: Shape) -> tuple[list[str], dict[str, str]]:
    """Write the library; return the fixes, and the state that each branch was given, by its number."""
    subprocess.run(["git", "init", "-q", "-b", "main", library], check=True)
    stream = Stream()

    def name(number: int) -> str:
        return f"{shape.folder.format(number // shape.each)}f{number}.c"

    stream.commit("main", "Begin", {name(one): source(one, shape) for one in range(shape.files)})
    # What a fix changes lies all over the tree.
    spread = shape.files // shape.size
    fixed = [[(one * spread + fix) % shape.files for one in range(shape.size)] for fix in range(shape.fixes)]
    touched = {one for some in fixed for one in some}
    marks = {}
    for step in range(shape.commits):
        marks[step] = stream.commit("main", f"Step {step}", {f"log/l{step % 500}": f"{step}\n"}, when=step)
    states: dict[str, str] = {}
    fork = {branch: shape.commits * branch // (2 * shape.branches) for branch in range(shape.branches)}
    for fix, numbers in enumerate(fixed):
        files: dict[str, str | None] = {name(one): source(one, shape, fixed=True) for one in numbers}
        stream.commit("main", f"Guard {fix}", files, author="Anna <anna@example.com>", when=shape.commits + fix)
    for branch in range(shape.branches):
        at = f"b-{branch}"
        stream.fork(at, marks[fork[branch]])
        drift = f"own {branch}"
        work = [one for one in sorted(touched) if (one * 7 + branch) % 10 == 0]
        stream.commit(at, "Drift", {name(one): source(one, shape, drift=drift) for one in work}, when=shape.commits)
        drifted = set(work)
        states[str(branch)] = "present" if branch % 2 else "missing, applies"
        renamed = branch % 4 == 2
        if renamed:
            some = [one for one in sorted(touched) if one % 5 == 0]
            moved: dict[str, str | None] = {name(one): None for one in some}
            moved |= {f"old/{name(one)}": source(one, shape, drift=drift if one in drifted else "") for one in some}
            stream.commit(at, "Rename", moved, when=shape.commits)
        for fix, numbers in enumerate(fixed if branch % 2 else ()):
            files = {
                name(one): source(one, shape, fixed=True, drift=drift if one in drifted else "") for one in numbers
            }
            stream.commit(at, f"Guard {fix}", files, author="Anna <anna@example.com>", when=shape.commits + fix)
    stream.run(library)
    git(library, "repack", "-adq")
    found = git(library, "log", "--reverse", "--format=%H", "--grep=^Guard ", "main").stdout.decode().split()
    return found, states


if __name__ == "__main__":
    sys.exit(main())
