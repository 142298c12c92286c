"""Libraries with fixes and branches as real ones have them, and what is true of each: generated, the same for each seed.

Files are lists of blocks. A fix inserts, replaces or removes lines in some of them; a branch picks it, maybe adapted,
and then goes on: it moves what was brought, indents it anew, renames the file, reverts the pick, picks it again. What
is where is known, as the generator put it there; trailers and messages are as ``git`` and people write them.
"""

from __future__ import annotations

import os
import random
import subprocess
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

START = 1_650_000_000
PRESENT, REVERTED, MISSING, PARTLY = "present", "reverted", "missing", "partly"
Files = dict[str, list[list[str]]]


@dataclass
class Fix:
    """A fix on main, and what it does."""

    number: int
    kind: str
    name: str = ""
    """What a person names: a commit or a merge."""
    singles: list[tuple[str, str, list[Edit]]] = field(default_factory=list)
    """Its commits: id, subject, edits."""


@dataclass(frozen=True)
class Edit:
    """What a fix does to one block of one file; ``block`` -1: it creates the file."""

    file: str
    block: int
    how: str
    lines: tuple[str, ...]


@dataclass
class Branch:
    """A line of development."""

    name: str
    files: Files
    tip: str
    names: dict[str, str] = field(default_factory=dict)
    """Files that have another name here."""


@dataclass
class Made:
    """A library, and the truth about it."""

    path: Path
    fixes: list[Fix]
    truth: dict[tuple[str, str], str]
    """By name of the fix and branch."""
    story: dict[tuple[str, str], str]


class Import:
    """``git fast-import``, asked for the id of every commit."""

    def __init__(self, path: Path) -> None:
        subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
        self.process = subprocess.Popen(
            ["git", "-C", path, "fast-import", "--quiet", "--cat-blob-fd=1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.mark = 0
        self.marks: dict[str, int] = {}
        self.when = START

    def commit(self, branch: str, parents: list[str], message: str, files: dict[str, str | None], author: str) -> str:
        self.mark += 1
        self.when += 60
        who = f"{author} <{author.lower()}@example.com>"
        head = f"commit refs/heads/{branch}\nmark :{self.mark}\nauthor {who} {self.when} +0000\n"
        parts = [f"{head}committer Bo <bo@example.com> {self.when} +0000\ndata {len(message.encode())}\n{message}\n"]
        parts += [f"{'merge' if number else 'from'} :{self.marks[oid]}\n" for number, oid in enumerate(parents)]
        for path, text in files.items():
            if text is None:
                parts.append(f"D {path}\n")
            else:
                parts.append(f"M 100644 inline {path}\ndata {len(text.encode())}\n{text}\n")
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(("".join(parts) + f"get-mark :{self.mark}\n").encode())
        self.process.stdin.flush()
        oid = self.process.stdout.readline().decode().strip()
        self.marks[oid] = self.mark
        return oid

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait() == 0


KINDS = ("insert", "insert", "replace", "remove", "create", "notes", "two files", "merge", "squash")
STORIES = (
    "missing",
    "missing",
    "missing, drifted",
    "missing, changed",
    "picked",
    "picked",
    "picked, adapted",
    "picked, drifted",
    "picked, moved",
    "picked, moved to another file",
    "picked, indented",
    "picked, renamed",
    "picked, released",
    "reverted",
    "reverted by subject",
    "reverted, again",
    "reverted, reapplied",
    "revert picked",
    "partly",
    "squashed",
)


class Generator:
    """Makes one library."""

    def __init__(self, path: Path, seed: int, *, fixes: int, branches: int, files: int = 8, blocks: int = 14) -> None:
        self.rng = random.Random(seed)
        self.git = Import(path)
        self.path = path
        self.serial = 0
        content: Files = {
            f"pkg/p{number % 3}/f{number}.go": [self.block(f"f{number}b{part}") for part in range(blocks)]
            for number in range(files)
        }
        content["CHANGELOG.md"] = [["# Changes"]]
        self.free = [(path, part) for path in content if path.endswith(".go") for part in range(1, blocks - 1)]
        self.rng.shuffle(self.free)
        first = self.git.commit("main", [], "Begin", self.written(content, {}), "Bo")
        self.main = Branch("main", content, first)
        self.made = Made(path, [], {}, {})
        self.branches: list[Branch] = []
        forks = sorted(self.rng.choices(range(fixes // 2), k=branches))
        for number in range(fixes):
            for _ in range(forks.count(number)):
                one = Branch(f"rel-{len(self.branches)}", deepcopy(self.main.files), self.main.tip)
                self.branches.append(one)
                self.go(one, "Open the branch", {})
            self.fix(number)
            self.drift(self.main, self.rng.choice(self.free[-20:]))
        for branch in self.branches:
            self.live(branch)
        self.git.end()

    # -- text

    def block(self, name: str) -> list[str]:
        return [f"func {name}() {{", *(f"\t{name}_step{line} := call{line}({name})" for line in range(7)), "}", ""]

    def line(self, what: str) -> str:
        self.serial += 1
        return f"\t{what}_{self.serial} := prepare({what}, {self.serial})"

    @staticmethod
    def text(blocks: list[list[str]]) -> str:
        return "\n".join(line for block in blocks for line in block) + "\n"

    def written(self, after: Files, before: Files) -> dict[str, str | None]:
        changed: dict[str, str | None] = {
            path: self.text(blocks) for path, blocks in after.items() if before.get(path) != blocks
        }
        return changed | {path: None for path in before if path not in after}

    # -- commits

    def go(self, branch: Branch, message: str, after: Files, author: str = "Bo") -> str:
        files = after or branch.files
        branch.tip = self.git.commit(branch.name, [branch.tip], message, self.written(files, branch.files), author)
        branch.files = files
        return branch.tip

    def drift(self, branch: Branch, place: tuple[str, int]) -> None:
        path, part = place
        files = deepcopy(branch.files)
        path = branch.names.get(path, path)
        if path in files:
            files[path][part].insert(1, self.line("drift"))
            self.go(branch, f"Work on {path} {self.serial}", files)

    def edits(self, number: int, kind: str) -> list[list[Edit]]:
        """Return the edits of each commit of a fix."""

        def one(how: str, tag: str = "") -> Edit:
            path, part = self.free.pop(0)
            name = f"guard{number}{tag}"
            lines = (f"\tif {name}(input) != nil {{", f"\t\treturn reject{number}{tag}(input)", "\t}")
            return Edit(path, part, how, lines)

        if kind in {"insert", "replace", "remove"}:
            return [[one(kind)]]
        if kind == "create":
            lines = tuple(f"var rule{number}_{line} = limit({number}, {line})" for line in range(6))
            return [[Edit(f"pkg/p1/new{number}.go", -1, "create", lines), one("insert")]]
        if kind == "notes":
            note = Edit(f"changelog.d/{number}.bugfix", -1, "create", (f"Input {number} is checked.",))
            return [[one("insert"), note]]
        if kind == "two files":
            first = self.free[0][0]
            # Which lines of one file an adapted pick leaves out on purpose, nobody can tell.
            second = next(number for number, (path, _) in enumerate(self.free) if path != first)
            self.free.insert(1, self.free.pop(second))
            return [[one("insert", "a"), one("replace", "b")]]
        return [[one("insert", "a")], [one("insert", "b")]]

    @staticmethod
    def apply(files: Files, edits: list[Edit], names: dict[str, str], *, adapted: bool = False) -> Files:
        after = deepcopy(files)
        for edit in edits:
            path = names.get(edit.file, edit.file)
            if edit.block < 0:
                after[path] = [list(edit.lines)]
                continue
            block = after[path][edit.block]
            at = max(2, len(block) - 5)
            lines = [line.replace("(input)", "(ctx, input)") for line in edit.lines] if adapted else list(edit.lines)
            if edit.how == "insert":
                block[at:at] = lines
            elif edit.how == "replace":
                block[at] = lines[1][1:]
            else:
                del block[at]
        return after

    def fix(self, number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        fix = Fix(number, kind)
        commits = self.edits(number, kind)
        subject = f"Check input {number}"
        if kind == "merge":
            before, tip = deepcopy(self.main.files), self.main.tip
            files, at = before, tip
            for part, edits in enumerate(commits):
                after = self.apply(files, edits, {})
                title = f"{subject}, part {part}"
                at = self.git.commit(f"pr-{number}", [at], title, self.written(after, files), "Anna")
                fix.singles.append((at, title, edits))
                files = after
            message = f"Merge pull request #{number + 1} from x/pr-{number}"
            self.main.tip = self.git.commit("main", [tip, at], message, self.written(files, before), "Bo")
            self.main.files = files
            fix.name = self.main.tip
        else:
            message = subject
            if kind == "squash":
                titles = [f"{subject}, part {part}" for part in range(len(commits))]
                message += f" (#{number + 1})\n\n" + "\n\n".join(f"* {title}" for title in titles)
            edits = [edit for some in commits for edit in some]
            fix.name = self.go(self.main, message, self.apply(self.main.files, edits, {}), "Anna")
            if kind == "squash":
                # The commits of the pull request are not in the clone.
                fix.singles = [("", title, some) for title, some in zip(titles, commits, strict=True)]
            else:
                fix.singles = [(fix.name, subject, edits)]
        self.made.fixes.append(fix)

    # -- branches

    def live(self, branch: Branch) -> None:
        began = int(branch.tip != "") and self.forked(branch)
        for fix in self.made.fixes:
            key = (fix.name, branch.name)
            if fix.number < began:
                self.made.truth[key], self.made.story[key] = PRESENT, "inherited"
                if self.rng.random() < 0.3:
                    self.after(branch, fix, self.rng.choice(["drifted", "moved", "indented"]))
                    self.made.story[key] += ", changed"
                continue
            story = self.rng.choice(STORIES)
            self.made.story[key] = story
            self.made.truth[key] = self.play(branch, fix, story)

    def forked(self, branch: Branch) -> int:
        """Return the number of the first fix that a branch did not begin with."""
        for fix in self.made.fixes:
            edit = fix.singles[0][2][0]
            blocks = branch.files.get(edit.file)
            if blocks is None or (edit.how == "insert" and edit.lines[0] not in blocks[edit.block]):
                return fix.number
            if edit.how == "replace" and edit.lines[1][1:] not in blocks[edit.block]:
                return fix.number
            if edit.how == "remove" and len(blocks[edit.block]) >= 10:
                return fix.number
        return len(self.made.fixes)

    def pick(self, branch: Branch, fix: Fix, *, adapted: bool = False, squash: bool = False) -> str:
        if squash or (fix.kind == "squash" and adapted):
            edits = [edit for _, _, some in fix.singles for edit in some]
            files = self.apply(branch.files, edits, branch.names, adapted=adapted)
            return self.go(branch, f"Check input {fix.number}\n\n(cherry picked from commit {fix.name})", files, "Anna")
        for oid, title, edits in fix.singles:
            trailer = f"\n\n(cherry picked from commit {oid})" if oid else ""
            files = self.apply(branch.files, edits, branch.names, adapted=adapted)
            made = self.go(branch, title + trailer, files, "Anna")
        return made

    def play(self, branch: Branch, fix: Fix, story: str) -> str:
        edits = [edit for _, _, some in fix.singles for edit in some]
        if story.startswith("missing"):
            if story.endswith("drifted"):
                self.after(branch, fix, "drifted")
            if story.endswith("changed"):
                self.after(branch, fix, "changed at the very place")
            return MISSING
        if story == "partly":
            if fix.kind != "two files":
                return MISSING
            files = self.apply(branch.files, edits[:1], branch.names, adapted=True)
            text = f"Check input {fix.number}\n\n(cherry picked from commit {fix.name})"
            self.go(branch, text, files, "Anna")
            return PARTLY
        before = deepcopy(branch.files)
        if story.startswith("re"):
            return self.revert(branch, fix, story, before)
        self.pick(branch, fix, adapted=story == "picked, adapted", squash=story == "squashed")
        if ", " in story:
            self.after(branch, fix, story.partition(", ")[2])
        return PRESENT

    def revert(self, branch: Branch, fix: Fix, story: str, before: Files) -> str:
        # A revert undoes one commit, so the pick must be one.
        made = self.pick(branch, fix, squash=True)
        after, subject = deepcopy(branch.files), f"Check input {fix.number}"
        what = made
        if story == "revert picked":
            what = fix.name
        body = "" if story == "reverted by subject" else f"\n\nThis reverts commit {what}."
        undone = self.go(branch, f'Revert "{subject}"{body}', before)
        if story == "reverted, again":
            self.go(branch, f"{subject}\n\n(cherry picked from commit {fix.name})", after, "Anna")
        if story == "reverted, reapplied":
            self.go(branch, f'Reapply "{subject}"\n\nThis reverts commit {undone}.', after)
        self.after(branch, fix, "drifted")
        return PRESENT if story in {"reverted, again", "reverted, reapplied"} else REVERTED

    def after(self, branch: Branch, fix: Fix, what: str) -> None:
        """Let a branch go on around what a fix brought."""
        for _, _, edits in fix.singles:
            for edit in edits:
                path = branch.names.get(edit.file, edit.file)
                files = deepcopy(branch.files)
                if what == "released":
                    if not edit.file.startswith("changelog.d/"):
                        continue
                    del files[path]
                    files["CHANGELOG.md"] = [*files["CHANGELOG.md"], [f"* {edit.lines[0]}"]]
                elif edit.block < 0 or path not in files:
                    continue
                elif what == "drifted":
                    block = files[path][edit.block]
                    at = max(2, len(block) - 6)
                    block[at - 1 : at] = [self.line("near"), self.line("near")]
                elif what == "changed at the very place":
                    block = files[path][edit.block]
                    at = max(2, len(block) - 5)
                    block[at - 1 : at + 1] = [self.line("other"), self.line("other")]
                elif what == "renamed":
                    if path != edit.file:
                        continue
                    branch.names[edit.file] = f"internal/{Path(path).name}"
                    files[branch.names[edit.file]] = files.pop(path)
                else:
                    self.shift(files, path, edit, what)
                if files != branch.files:
                    self.go(branch, f"Go on, {what} {self.serial}", files)
                    self.serial += 1

    def shift(self, files: Files, path: str, edit: Edit, what: str) -> None:
        block = files[path][edit.block]
        brought = [
            line for line in block if any(part.strip() in line for part in (edit.lines[0][4:-8], edit.lines[1][9:20]))
        ]
        if what == "indented":
            body = block[1:-2]
            block[1:-2] = ["\tfor range attempts {", *(f"\t{line}" for line in body), "\t}"]
        elif edit.how == "insert" and brought:
            start = block.index(brought[0])
            moved = block[start : start + 3]
            del block[start : start + 3]
            others = [one for one in files if one.endswith(".go") and one != path] if "another" in what else [path]
            target = self.rng.choice(others)
            files[target].append([f"func moved{self.serial}() {{", *moved, "}", ""])


def make(path: Path, seed: int, *, fixes: int, branches: int) -> Made:
    """Make a library."""
    made = Generator(path, seed, fixes=fixes, branches=branches).made
    fixed = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for name, value in (("user.name", "Bo"), ("user.email", "bo@example.com"), ("gc.auto", "0")):
        subprocess.run(["git", "-C", path, "config", name, value], check=True, env=os.environ | fixed)
    subprocess.run(["git", "-C", path, "reset", "-q", "--hard"], check=True, env=os.environ | fixed)
    return made
