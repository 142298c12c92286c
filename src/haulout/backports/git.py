"""Run ``git``: the only place that starts it.

Always with an argument list, in the C locale, without optional locks, prompts, pagers or editors. Names that people
type reach git after ``--end-of-options`` alone, and only to become object ids; everything else runs on those.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from haulout.errors import ContentError, DeniedError, HauloutError, NotFoundError, StorageError, ToolError
from haulout.local import nameless_file, started

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_LOG = logging.getLogger(__name__)

TOOL: Final = "git"
OLDEST: Final = (2, 39)
"""Debian 12 has it; ``merge-tree --write-tree`` came with 2.38."""
_INSTALL: Final = "install it: the package is called git"
_SECONDS: Final = 3600.0
"""After which a git that does not end is given up."""

_KEPT: Final = re.compile(
    r"GIT_(?:CONFIG_(?:GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|VALUE_\d+)|COMMITTER_\w+|EXEC_PATH|CEILING_DIRECTORIES"
    r"|DISCOVERY_ACROSS_FILESYSTEM)"
)
"""Of git's own variables, those that people set on purpose. GIT_DIR and its like come from hooks and would mislead."""

_SETTINGS: Final = (
    "color.diff=false",
    "color.ui=false",
    # Else lines of a message that begin with # go with git's notes about conflicts.
    "commit.cleanup=scissors",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "core.warnAmbiguousRefs=true",
    "diff.context=3",
    "diff.dstPrefix=b/",
    "diff.interHunkContext=0",
    "diff.mnemonicPrefix=false",
    "diff.noprefix=false",
    "diff.srcPrefix=a/",
    "diff.submodule=short",
    "gc.auto=0",
    "i18n.logOutputEncoding=UTF-8",
    "log.follow=false",
    "log.showRoot=true",
    "log.showSignature=false",
    "maintenance.auto=false",
    "merge.conflictStyle=merge",
    # It would write all lines of a file anew where status says that only its line ends are in the way.
    "merge.renormalize=false",
    "rerere.enabled=false",
)
"""Settings of a user that would change what is printed, or write behind our back."""
_FIRST: Final = ("--no-pager", "--no-optional-locks", *(part for setting in _SETTINGS for part in ("-c", setting)))


@dataclass(frozen=True, slots=True)
class Done:
    """A git that ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Standard output as text, without its last line end."""
        return decode(self.out).removesuffix("\n")

    @property
    def fields(self) -> list[str]:
        """What stands between the NUL bytes of standard output, where it is not empty."""
        return [field for field in decode(self.out).split("\0") if field]


def decode(raw: bytes) -> str:
    """Return git's bytes as text; what is not UTF-8 survives as surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Undo :func:`decode`."""
    return text.encode("utf-8", "surrogateescape")


def environment(given: Mapping[str, str], *, offline: bool = True) -> dict[str, str]:
    """Return the environment git runs in. Pure.

    Args:
        given: this process's.
        offline: let no object be fetched from anywhere, whatever a partial clone would like.
    """
    kept = {name: value for name, value in given.items() if not name.startswith("GIT_") or _KEPT.fullmatch(name)}
    kept.pop("LANGUAGE", None)
    made = kept | {
        "LC_ALL": "C",
        "GIT_EDITOR": ":",
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
    }
    if offline:
        # git before 2.44 does not know the first; no protocol is called none.
        made |= {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
    return made


@dataclass(frozen=True, slots=True)
class Git:
    """git in one place."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=lambda: environment(os.environ))

    def argv(self, *arguments: str) -> list[str]:
        """Return the whole command line."""
        return [TOOL, "-C", os.fspath(self.folder), *_FIRST, *arguments]

    def run(self, *arguments: str, stdin: bytes = b"", ok: Sequence[int] = (0,)) -> Done:
        """Run git to its end, in this process's group: it may ask for a passphrase on the terminal where it fetches.

        Args:
            arguments: the command and what follows it.
            stdin: its standard input.
            ok: exit codes that are results, not failures.

        Raises:
            HauloutError: of the kind that :func:`failure` finds in what git printed.
        """
        command = self.argv(*arguments)
        _LOG.debug("running %s", shlex.join(arguments))
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, env=dict(self.variables), timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise ToolError(TOOL, f"{arguments[0]} did not end within {_SECONDS:.0f} seconds") from None
        except (OSError, ValueError) as error:
            raise not_started(error, self.folder) from error
        err = decode(done.stderr)
        if done.returncode not in ok:
            raise failure(arguments[0], done.returncode, err, self.folder)
        return Done(done.returncode, done.stdout, err)

    def text(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run git; return what it printed."""
        return self.run(*arguments, stdin=stdin).text

    def yes(self, *arguments: str) -> bool:
        """Run a git command that exits with 0 for yes and 1 for no."""
        return self.run(*arguments, ok=(0, 1)).code == 0

    @contextmanager
    def process(self, *arguments: str, stdin: int | IO[bytes] = subprocess.PIPE) -> Iterator[GitProcess]:
        """Start a git that does not outlive the block."""
        with (
            nameless_file() as errors,
            started(
                self.argv(*arguments),
                environment=self.variables,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=errors,
                hint=_INSTALL,
            ) as process,
        ):
            try:
                yield GitProcess(arguments[0], process, errors, self.folder)
            finally:
                for stream in (process.stdin, process.stdout):
                    # One that ended before it read everything breaks the pipe; its exit code says so.
                    with suppress(OSError):
                        if stream is not None:
                            stream.close()

    def piped(self, first: Sequence[str], second: Sequence[str], stdin: bytes) -> bytes:
        """Run ``git first | git second``; return what the second printed."""
        with nameless_file() as asked:
            with open(asked.fileno(), "wb", closefd=False) as file:
                file.write(stdin)
            asked.seek(0)
            with self.process(*first, stdin=asked) as source, self.process(*second, stdin=source.out) as sink:
                # Ours is closed, so that the first gets a broken pipe when the second ends early.
                source.out.close()
                found = sink.out.read()
                sink.finish()
                source.finish()
        return found


@dataclass(frozen=True, slots=True)
class GitProcess:
    """A running git."""

    verb: str
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    folder: Path

    @property
    def out(self) -> IO[bytes]:
        """What it prints."""
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def into(self) -> IO[bytes]:
        """What it reads."""
        assert self.process.stdin is not None
        return self.process.stdin

    def finish(self) -> None:
        """Wait for its end.

        Raises:
            HauloutError: it failed.
        """
        code = self.process.wait(_SECONDS)
        if code:
            raise self.failed(code)

    def failed(self, code: int) -> HauloutError:
        """Return the error for its exit code."""
        self.errors.seek(0)
        return failure(self.verb, code, decode(self.errors.read(65536)), self.folder)


def version(git: Git) -> tuple[int, ...]:
    """Return git's version.

    Raises:
        ToolError: it is too old.
    """
    shown = git.text("version")
    found = re.search(r"\d+(?:\.\d+)+", shown)
    numbers = tuple(int(part) for part in found[0].split(".")) if found else ()
    if numbers[:2] < OLDEST:
        raise ToolError(TOOL, f"{shown} is too old", hint=f"install git {'.'.join(map(str, OLDEST))} or newer")
    return numbers


def not_started(error: OSError | ValueError, folder: Path) -> HauloutError:
    """Return the error for a git that could not be started."""
    if isinstance(error, ValueError):
        return StorageError(os.fspath(folder), "it is not a file name")
    if isinstance(error, FileNotFoundError):
        return ToolError(TOOL, "is not installed", hint=_INSTALL)
    return ToolError(TOOL, f"cannot be started: {error.strerror}", hint=_INSTALL)


_WHOLE: Final = "fetch what is missing: git fetch --refetch --filter=blob:limit=1t"
_DAMAGED: Final = re.compile(
    r"corrupt|bad object|unable to read|could not read|is empty|invalid sha1 pointer|bad tree object|missing object"
    r"|missing blob|unable to find|inflate|loose object|pack.* (?:far too short|is truncated)|bad signature",
    re.IGNORECASE,
)


_FILTER: Final = re.compile(
    r"^fatal: (?P<path>.*): (?P<way>smudge|clean) filter '?(?P<name>.*?)'? failed$", re.MULTILINE
)


def _filter_failed(found: re.Match[str]) -> ToolError:
    name = f"filter.{found['name']}"
    return ToolError(
        TOOL,
        f"the {found['way']} filter {found['name']} failed on {found['path']}",
        hint=f"install what git config {name}.{found['way']} names; or do without: git config {name}.required false",
    )


def failure(verb: str, code: int, err: str, folder: Path) -> HauloutError:
    """Return the error for what a failed git printed. Pure."""
    filtered = _FILTER.search(err)
    if filtered is not None:
        return _filter_failed(filtered)
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    meant = next((line for line in lines if line.startswith(("fatal:", "error:", "BUG:"))), lines[-1] if lines else "")
    said = re.sub(r"^(?:fatal|error): ", "", meant)[:300]
    where = os.fspath(folder)
    clone = "name a clone with --lib (or --consumer)"
    trust = f"if you trust it: git config --global --add safe.directory {shlex.quote(where)}"
    damaged = f"{where} is damaged or incomplete: git {verb}: {said}"
    known: tuple[tuple[bool, HauloutError], ...] = (
        ("not a git repository" in said, NotFoundError(f"no git repository: {where}", hint=clone)),
        ("cannot change to" in said, NotFoundError(f"no such folder: {where}", hint=clone)),
        ("dubious ownership" in said, DeniedError(f"{where} belongs to another user", hint=trust)),
        ("promisor remote" in said, ContentError(f"{where} is a partial clone: {said}", hint=_WHOLE)),
        (
            "No space left" in err,
            StorageError(where, "the file system is full", hint="make room, or set TMPDIR to another place"),
        ),
        (code < 0, ToolError(TOOL, f"{verb} was killed by signal {-code}")),
        (bool(_DAMAGED.search(said)), ContentError(damaged, hint="look at it with: git fsck; then clone anew")),
        ("Permission denied" in said, StorageError(where, f"git {verb}: {said}")),
    )
    other = ToolError(TOOL, f"{verb}: {said or f'exit code {code}'}")
    return next((error for matches, error in known if matches), other)
