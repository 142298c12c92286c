"""`backport status` of one fix over 200 branches, beside cherry-picking it onto each in a worktree, in one run.

Usage: python benchmarks/backports.py [ROUNDS]. Makes a library of 20,000 commits and 200 branches with git fast-import: a
file that drifts and was renamed, branches that changed it themselves, picks adapted in several ways, reverts, branches from before the file. Prints medians
and the ratio, and whether the clone is as it was. Machines are noisy, so look at the ratio.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HAULOUT = Path(sys.executable).with_name("haulout")
COMMITS = 20_000
BRANCHES = 200
OWN = 40
"""Commits on each branch."""
FILES = 1_200
ERAS = 12
"""Ways in which the file around the fix looks over time."""
LIMIT_SECONDS = 3.0
LIMIT_RATIO = 0.1
PATH, OLD_PATH, TEST = "pkg/mounts/mounts.go", "pkg/secrets/mount.go", "pkg/mounts/mounts_test.go"


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="haulout-bench-") as made:
        library = Path(made, "library")
        began = time.monotonic()
        fix, states = build(library)
        print(f"library: {count(library)} commits, {len(states)} branches, built in {time.monotonic() - began:.1f} s")
        before = fingerprint(library)
        times, found = [], {}
        for _ in range(rounds):
            seconds, found = status(library, fix)
            times.append(seconds)
        same = fingerprint(library) == before
        wrong = {name: (found.get(name), state) for name, state in states.items() if found.get(name) != state}
        picks = [cherry_picks(library, Path(made, "worktree"), fix, list(states)) for _ in range(max(1, rounds // 2))]
    ours, theirs = statistics.median(times), statistics.median(picks)
    ratio = ours / theirs
    print(f"status over {len(states)} branches: {ours:.2f} s (of {', '.join(f'{one:.2f}' for one in times)})")
    print(f"cherry-pick onto each in a worktree: {theirs:.1f} s (of {', '.join(f'{one:.1f}' for one in picks)})")
    print(f"ratio: {ratio:.3f} (limit {LIMIT_RATIO}); limit of status {LIMIT_SECONDS} s")
    print(f"clone as it was: {'yes' if same else 'NO'}; states as built: {wrong or 'all'}")
    return 0 if same and not wrong and ratio <= LIMIT_RATIO and ours <= LIMIT_SECONDS else 1


def status(library: Path, fix: str) -> tuple[float, dict[str, str]]:
    """Run the command itself, start of the interpreter included."""
    began = time.monotonic()
    done = subprocess.run(
        [HAULOUT, "backport", "status", fix, "--lib", library, "--json", "--progress", "none", "--branches", "b-*"],
        capture_output=True,
        check=False,
        cwd=library.parent,
    )
    seconds = time.monotonic() - began
    assert done.returncode in {0, 1}, done.stderr
    cells = json.loads(done.stdout)["fixes"][0]["branches"]
    return seconds, {cell["branch"]: cell["state"] for cell in cells}


def cherry_picks(library: Path, worktree: Path, fix: str, branches: list[str]) -> float:
    """Do it the way it is done by hand: one worktree, each branch checked out, and the fix picked."""
    git(library, "worktree", "add", "-q", "--detach", str(worktree), "main")
    began = time.monotonic()
    for branch in branches:
        git(worktree, "checkout", "-q", "--detach", "--force", branch)
        if git(worktree, "cherry-pick", "-x", fix, check=False).returncode:
            git(worktree, "cherry-pick", "--abort", check=False)
    seconds = time.monotonic() - began
    git(library, "worktree", "remove", "--force", str(worktree))
    return seconds


def git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "B"), ("EMAIL", "b@example.com"))
    }
    fixed = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, check=check, env=os.environ | who | fixed
    )


def count(library: Path) -> int:
    return int(git(library, "rev-list", "--all", "--count").stdout)


def fingerprint(library: Path) -> str:
    """Hash names, contents and times of everything in the clone."""
    digest = hashlib.sha256()
    for folder, folders, files in sorted(os.walk(library)):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            digest.update(f"{path} {path.stat().st_mtime_ns} {path.stat().st_mode}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def source(era: int, *, safe: bool = False, adapted: bool = False, end: str = "") -> str:
    """The file around the fix: what is near it changes with every other era."""
    lines = ["package mounts", ""]
    lines += [f"// rule {number}, as of {era if number % 9 == era % 9 else 0}" for number in range(60)]
    lines.insert(30, f"\tlist := all{era // 2}(container)")
    call = "resolveInside" if adapted else "resolve"
    lines.insert(31, f"\tdir := {call}(container, list)" if safe else "\tdir := container + list")
    return "\n".join([*lines, end]) + "\n"


def build(library: Path) -> tuple[str, dict[str, str]]:
    """Write the library; return the fix, and the state that every branch was given."""
    subprocess.run(["git", "init", "-q", "-b", "main", library], check=True)
    rng = random.Random(4)
    stream = Stream()
    main_length = COMMITS - BRANCHES * OWN
    fix_at = main_length - 300
    forks: dict[int, list[int]] = {}
    for number in range(BRANCHES):
        forks.setdefault(rng.randrange(100, fix_at - 10), []).append(number)
    stream.commit(
        "main",
        "Begin",
        {f"src/d{number % 40}/f{number}.go": f"package d{number % 40}\n" * 8 for number in range(FILES)},
    )
    marks: dict[int, int] = {}
    added, renamed = main_length // 20, main_length // 4
    for step in range(1, main_length):
        files: dict[str, str | None] = {
            f"src/d{step % 40}/f{(step * 7) % FILES}.go": f"package d{step % 40} // {step}\n" * 8
        }
        era = step * ERAS // main_length
        if step == added or (step > added and step * ERAS // main_length != (step - 1) * ERAS // main_length):
            files[PATH if step >= renamed else OLD_PATH] = source(era)
        if step == renamed:
            files |= {OLD_PATH: None, PATH: source(era)}
        author = "Bo <bo@example.com>"
        if step == fix_at:
            files = {PATH: source(era, safe=True), TEST: "package mounts // tests\n"}
            author = "Anna <anna@example.com>"
        marks[step] = stream.commit(
            "main", "Resolve mounts inside" if step == fix_at else f"Step {step}", files, author=author, when=step
        )
    states: dict[str, str] = {}
    for step, numbers in sorted(forks.items()):
        for number in numbers:
            states[f"b-{number}"] = branch(stream, number, step, marks[step], main_length, added, renamed, fix_at)
    stream.run(library)
    git(library, "reset", "-q", "--hard")
    # As a clone comes: one pack.
    git(library, "repack", "-adq")
    (fix,) = git(library, "log", "--format=%H", "--grep=^Resolve mounts inside$", "main").stdout.decode().split()
    return fix, states


def branch(
    stream: Stream, number: int, step: int, at: int, main_length: int, added: int, renamed: int, fix_at: int
) -> str:
    """Add one branch; return what it is."""
    name, era = f"b-{number}", step * ERAS // main_length
    path = PATH if step >= renamed else OLD_PATH
    stream.fork(name, at)
    kind = number % 5
    state = "not affected" if step < added else "missing, applies"
    for own in range(OWN):
        files: dict[str, str | None] = {
            f"src/d{own}/f{(number * 31 + own) % FILES}.go": f"package d{own} // {number}\n" * 8
        }
        author, when, message = "Bo <bo@example.com>", main_length + own, f"[{name}] Work {own}"
        # Every other branch has changed the file on its own, so that no two are equal.
        end = f"// {name}" if number % 2 else ""
        if step >= added and own == 10 and end:
            files = {path: source(era, end=end)}
        if step >= added and own == 20 and kind in {0, 1, 2}:
            files = {path: source(era, safe=True, adapted=kind == 2, end=end)}
            if kind != 2:
                files[TEST] = "package mounts // tests\n"
            author, when, message, state = (
                "Anna <anna@example.com>",
                fix_at,
                f"[{name}] Resolve mounts inside",
                "present",
            )
        if step >= added and own == 30 and kind == 1 and number % 2:
            files, state = {path: source(era, end=end), TEST: None}, "reverted"
            message = f'Revert "[{name}] Resolve mounts inside"'
        stream.commit(name, message, files, author=author, when=when)
    return state


class Stream:
    """What git fast-import reads."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.mark = 0
        self.started: set[str] = set()

    def fork(self, name: str, mark: int) -> None:
        self.parts.append(f"reset refs/heads/{name}\nfrom :{mark}\n\n".encode())

    def commit(
        self,
        name: str,
        message: str,
        files: dict[str, str | None],
        *,
        author: str = "Bo <bo@example.com>",
        when: int = 0,
    ) -> int:
        self.mark += 1
        start = 1_600_000_000
        text = message.encode()
        self.parts.append(
            f"commit refs/heads/{name}\nmark :{self.mark}\nauthor {author} {start + when * 600} +0000\n"
            f"committer Bo <bo@example.com> {start + when * 600} +0000\ndata {len(text)}\n".encode()
            + text
            + b"\n"
        )
        for path, content in files.items():
            if content is None:
                self.parts.append(f"D {path}\n".encode())
            else:
                raw = content.encode()
                self.parts.append(f"M 100644 inline {path}\ndata {len(raw)}\n".encode() + raw + b"\n")
        return self.mark

    def run(self, library: Path) -> None:
        subprocess.run(["git", "-C", library, "fast-import", "--quiet"], input=b"".join(self.parts), check=True)


if __name__ == "__main__":
    sys.exit(main())
