"""Small libraries with history for tests of backports, made by the real git: the three fixtures that the rules were
learnt on, and a bench to build others.

All commits have fixed authors and dates, so ids are the same in every run.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

START = 1_700_000_000
ANNA = ("Anna Ahlberg", "anna@example.com")
BO = ("Bo Berg", "bo@example.com")


@dataclass
class Lab:
    """A repository under construction."""

    path: Path
    clock: int = START
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, path: Path, *options: str) -> Lab:
        """Begin a repository whose first branch is ``main``."""
        path.mkdir(parents=True)
        lab = cls(path)
        lab.git("init", "-q", "-b", "main", *options)
        for name, value in (
            ("user.name", BO[0]),
            ("user.email", BO[1]),
            ("commit.gpgSign", "false"),
            ("core.autocrlf", "false"),
            # What runs behind a commit would change folders while they are copied.
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("protocol.file.allow", "always"),
        ):
            lab.git("config", name, value)
        return lab

    def git(self, *arguments: str, check: bool = True, stdin: bytes | None = None, **more: str) -> str:
        """Run git here."""
        done = subprocess.run(
            ["git", "-C", str(self.path), *arguments],
            capture_output=True,
            check=False,
            input=stdin,
            timeout=120,
            env={
                **{name: os.environ[name] for name in ("PATH", "GIT_EXEC_PATH") if name in os.environ},
                "HOME": str(self.path),
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_COMMITTER_DATE": f"{self.clock} +0000",
                "GIT_AUTHOR_DATE": f"{self.clock} +0000",
                **self.environment,
                **more,
            },
        )
        assert not check or done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")

    def write(self, path: str, text: str | bytes) -> None:
        """Write a file."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def commit(
        self,
        message: str,
        files: dict[str, str | bytes | None] | None = None,
        *,
        author: tuple[str, str] = BO,
        authored: int | None = None,
    ) -> str:
        """Commit files (None: remove) and return the id."""
        self.clock += 3600
        for path, text in (files or {}).items():
            if text is None:
                self.git("rm", "-q", path)
            else:
                self.write(path, text)
                self.git("add", path)
        self.git(
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            message,
            GIT_AUTHOR_NAME=author[0],
            GIT_AUTHOR_EMAIL=author[1],
            GIT_AUTHOR_DATE=f"{authored or self.clock} +0000",
        )
        return self.head

    @property
    def head(self) -> str:
        """The id of HEAD."""
        return self.git("rev-parse", "HEAD")

    def switch(self, branch: str, at: str | None = None) -> None:
        """Go to a branch; make it at a commit."""
        self.git("checkout", "-q", *(["-b", branch, at] if at else [branch]))

    def tag(self, name: str) -> None:
        """Tag HEAD."""
        self.git("tag", name)

    def bytes(self) -> dict[str, tuple[int, bytes, int]]:
        """Return everything below the folder: mode, content and modification time."""
        found = {}
        for folder, folders, files in os.walk(self.path):
            for name in (*folders, *files):
                path = Path(folder, name)
                state = path.lstat()
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                found[str(path.relative_to(self.path))] = (state.st_mode, content, state.st_mtime_ns)
        return found


def source(version: int, *, safe: bool = False, tail: str = "") -> str:
    """Return the file that the first fixture mends, as it was at a version of the library."""
    lines = [f"package subscriptions // era {version // 10}", ""]
    lines += [f"// line {number} as of {version if number in {8, 14} else 0}" for number in range(20)]
    if version >= 40:
        lines.insert(12, "\toptions := defaults(container)")
    lines += ["func addFIPS(container string) error {", f"\tmounts := list{'All' if version >= 58 else ''}(container)"]
    lines += [
        "\tdir := resolve(container, mounts)" if safe else "\tdir := container + mounts",
        "\treturn bind(dir)",
        "}",
    ]
    return "\n".join([*lines, tail]) if tail else "\n".join(lines) + "\n"


FILE = "pkg/subscriptions/subscriptions.go"
CVE = "CVE-2024-0001"
SUBJECT = "subscriptions: resolve paths inside of the container"
MESSAGE = f"{SUBJECT}\n\nA link in the image could lead out of it.\n\nFixes {CVE}."


@dataclass
class Security:
    """Fixture 1: a fix with eleven copies and two patch-ids, all of one author and author date, without trailers."""

    lab: Lab
    fix: str
    oldest: str
    """The copy on ``v0.57``: the second patch-id."""
    present: list[str]
    missing: list[str]
    absent: list[str]


def security(path: Path) -> Security:
    """Build fixture 1 after CVE-2024-9341 in containers/common."""
    lab = Lab.make(path)
    lab.commit("Begin", {"go.mod": "module example.com/library/common\n\ngo 1.21\n", "README.md": "A library.\n"})
    lab.tag("v0.8.0")
    lab.commit("Add subscriptions", {FILE: source(29)}, author=ANNA)
    for version in (29, 40, 52, 53, 55, 57, 58, 59, 60, 61):
        lab.commit(f"Work on 0.{version}", {FILE: source(version), "version.txt": f"0.{version}\n"})
        lab.tag(f"v0.{version}.0")
    when = lab.clock + 60
    fix = lab.commit(MESSAGE, {FILE: source(61, safe=True)}, author=ANNA, authored=when)
    lab.commit("Go on", {"version.txt": "0.62\n"})
    lab.tag("v0.62.0")
    bases = {
        "crio-1.24": 52,
        "crio-1.25": 52,
        "crio-1.26": 52,
        "crio-1.27": 53,
        "crio-1.28": 55,
        "crio-1.29": 57,
        "crio-1.30": 58,
    }
    plain = {"v0.57": 57, "v0.58": 58, "v0.60": 60, "v0.61": 61}
    copied = {name: at for name, at in (bases | plain).items() if name != "crio-1.24"}
    for name, version in (bases | plain | {"v0.29": 29, "v0.40": 40, "v0.55": 55, "v0.59": 59}).items():
        lab.switch(name, f"v0.{version}.0")
        lab.commit(f"[{name}] Name the owners", {"OWNERS": f"approvers of {name}\n"})
    lab.switch("v0.8", "v0.8.0")
    oldest = ""
    for name, version in copied.items():
        lab.switch(name)
        prefix, ending = (
            (f"[{name}] ", "\n\nA link in the image could lead out of it.")
            if name.startswith("crio")
            else ("", MESSAGE.removeprefix(SUBJECT))
        )
        made = lab.commit(f"{prefix}{SUBJECT}{ending}", {FILE: source(version, safe=True)}, author=ANNA, authored=when)
        oldest = made if name == "v0.57" else oldest
    lab.switch("main")
    return Security(lab, fix, oldest, [*copied, "main"], ["crio-1.24", "v0.29", "v0.40", "v0.55", "v0.59"], ["v0.8"])


@dataclass
class Undone:
    """Fixture 2: ``crio-1.28`` picked a fix and reverted it; every message says it is there, the content that it is not."""

    lab: Lab
    fix: str
    pick: str
    revert: str


def undone(path: Path) -> Undone:
    """Build fixture 2 after crio-1.28 of containers/common."""
    lab = Lab.make(path)
    text = "".join(f"line {number}\n" for number in range(30))
    lab.commit("Begin", {"a.go": text})
    lab.tag("v0.55.0")
    lab.switch("crio-1.28", "v0.55.0")
    lab.switch("main")
    fix = lab.commit("Mend line 9", {"a.go": text.replace("line 9\n", "line 9, mended\n")}, author=ANNA)
    lab.switch("crio-1.28")
    lab.clock += 60
    lab.git("cherry-pick", "-x", fix)
    pick = lab.head
    lab.clock += 60
    lab.git("revert", "--no-edit", pick)
    revert = lab.head
    lab.switch("main")
    return Undone(lab, fix, pick, revert)


@dataclass
class Vendoring:
    """Fixture 3: a consumer whose branches pin the tips of the library's branches for it, and vendor them."""

    library: Security
    consumer: Lab
    module: str = "example.com/library/common"


def pseudo(lab: Lab, commit: str, base: str = "") -> str:
    """Return the version Go gives a commit."""
    seconds = int(lab.git("show", "-s", "--format=%ct", commit))
    import time

    stamp = f"{time.strftime('%Y%m%d%H%M%S', time.gmtime(seconds))}-{commit[:12]}"
    if not base:
        return f"v0.0.0-{stamp}"
    head, _, patch = base.rpartition(".")
    return f"{head}.{int(patch) + 1}-0.{stamp}"


def vendoring(path: Path) -> Vendoring:
    """Build fixture 3 after cri-o: ``release-1.25`` to ``release-1.30`` at their branches' tips, ``release-1.24`` behind."""
    library = security(path / "common")
    made = Vendoring(library, Lab.make(path / "cri-o"))
    consumer = made.consumer
    consumer.commit(
        "Begin",
        {
            "main.go": "package main\n",
            "Makefile": 'check-vendor:\n\t@grep -q common vendor/modules.txt && test -z "$$(git status --porcelain)"\nbroken:\n\t@echo no good; exit 3\n',
        },
    )
    bases = {
        "crio-1.24": "v0.52.0",
        "crio-1.25": "v0.52.0",
        "crio-1.26": "v0.52.0",
        "crio-1.27": "v0.53.0",
        "crio-1.28": "v0.55.0",
        "crio-1.29": "v0.57.0",
        "crio-1.30": "v0.58.0",
    }
    for name, base in bases.items():
        consumer.switch(f"release-{name[5:]}", "main")
        tip = library.lab.git("rev-parse", name)
        if name == "crio-1.24":
            tip = library.lab.git("rev-parse", f"{name}^")
        vendor(made, tip, base)
    consumer.switch("main")
    return made


def vendor(
    made: Vendoring,
    commit: str,
    base: str,
    *,
    changed: dict[str, str | None] | None = None,
    version: str | None = None,
    more: str = "",
) -> str:
    """Bump the consumer's pin, as ``go mod vendor`` would: without tests, and with modules.txt."""
    version = version or pseudo(made.library.lab, commit, base)
    files: dict[str, str | bytes | None] = {
        "go.mod": f"module example.com/cri-o\n\ngo 1.21\n\nrequire (\n\t{made.module} {version}\n\texample.com/other v1.2.3 // indirect\n)\n{more}",
        "vendor/modules.txt": f"# {made.module} {version}\n## explicit; go 1.21\n{made.module}/pkg/subscriptions\n# example.com/other v1.2.3\n",
    }
    for path in (FILE, "README.md"):
        files[f"vendor/{made.module}/{path}"] = made.library.lab.git("show", f"{commit}:{path}") + "\n"
    for path, text in (changed or {}).items():
        files[f"vendor/{made.module}/{path}"] = text
    return made.consumer.commit(f"Bump common to {version}", files)
