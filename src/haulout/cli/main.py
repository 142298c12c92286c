"""The entry point, and the only place where an error becomes text, a hint and an exit code.

Heavy imports are kept out: ``haulout --version`` and the message of a failure must be quick.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import signal
import sys
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

import haulout
from haulout.cli.session import Session
from haulout.cli.terminal import SPELLED_OUT, neutral, spelled_out
from haulout.errors import HauloutError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import click

BUG: Final = 70
"""Exit code of an unexpected error (EX_SOFTWARE of sysexits.h)."""
_LONGEST: Final = 2000
"""Characters of an error that are shown; a registry may send any number."""
_LONG_WORD: Final = r"(\S{200})\S{200,}(\S{100})"
"""What is no name that anybody reads: its middle is left out."""
_AGAIN: Final = "run the same command again to continue"


class Terminated(BaseException):
    """A signal asked for the end; raised in the main thread so that every ``with`` block cleans up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True, slots=True)
class Failure:
    """What is printed about an error, in this order in the JSON."""

    kind: str
    message: str
    hint: str | None
    exit_code: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: without the program's name; None: those of this process.
    """
    # numpy starts a thread on each processor for linear algebra, of which there is none here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    argv = list(sys.argv[1:] if arguments is None else arguments)
    session = Session.foreseen(argv, os.environ)
    if sys.platform == "win32":
        # Before anything is imported that Windows lacks, such as fcntl.
        return _tell(UsageError("Windows is not supported; run haulout in WSL (wsl --install)"), session)
    codecs.register_error(SPELLED_OUT, spelled_out)
    for stream in (sys.stdout, sys.stderr):
        # A locale without some letter must not turn a result into a failure.
        with suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors=SPELLED_OUT)  # type: ignore[union-attr]
    try:
        with _signals():
            code = _run(argv, session)
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
    except BrokenPipeError:
        _forget_stdout()
        return 128 + signal.SIGPIPE
    except BaseException as error:  # noqa: BLE001 - the border of the program: nothing may pass as a traceback
        return _tell(error, session)


def explain(error: BaseException) -> Failure:
    """Turn an error into what the user reads. Pure."""
    kind = type(error).__name__
    if isinstance(error, HauloutError):
        return Failure(kind, error.message, error.hint, error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return Failure("Interrupted", f"interrupted; {_AGAIN}", None, 128 + signal.SIGINT)
    if isinstance(error, Terminated):
        name = signal.Signals(error.number).name
        return Failure("Interrupted", f"ended by {name}; {_AGAIN}", None, 128 + error.number)
    if isinstance(error, MemoryError):
        return Failure("StorageError", "not enough memory", "try again with --jobs 1", StorageError.exit_code)
    if isinstance(error, OSError):
        where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "the operating system"
        reason = f"{where}: {error.strerror or str(error) or kind}"
        return Failure("StorageError", reason, None, StorageError.exit_code)
    return _click_failure(error) or Failure(
        "InternalError",
        f"this is a bug in haulout {haulout.__version__}: {kind}: {error}",
        "please report it, with what the same command prints under --debug",
        BUG,
    )


def _click_failure(error: BaseException) -> Failure | None:
    import click  # noqa: PLC0415 - by now it is loaded, unless the error came very early

    if isinstance(error, click.Abort):
        # What a prompt raises at the end of its input; Ctrl-C under a prompt comes as its cause.
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            return explain(KeyboardInterrupt())
        return Failure("UsageError", "no answer was given", None, UsageError.exit_code)
    if isinstance(error, click.ClickException):
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "haulout"
        hint = _variable_hint(error)
        message = error.format_message()
        if isinstance(error, click.NoSuchOption):
            from haulout.cli.other_tools import option_hint  # noqa: PLC0415 - for this message only

            there = [] if error.ctx is None else error.ctx.command.get_params(error.ctx)
            message = f"no such option: {error.option_name[:80]}"
            hint = option_hint(error.option_name, [name for one in there for name in one.opts])
        elif isinstance(error, click.BadParameter) and isinstance(error.param, click.Argument):
            message = error.message or message
        message = message[:1].lower() + message[1:].rstrip(".")
        return Failure("UsageError", message, hint or f"see {path} --help", UsageError.exit_code)
    return None


def _variable_hint(error: click.ClickException) -> str | None:
    import click  # noqa: PLC0415 - by now it is loaded

    if isinstance(error, click.BadParameter) and error.param is not None and error.ctx is not None:
        from haulout.cli.params import spelling  # noqa: PLC0415 - for this message only

        name = spelling(error.param, error.ctx)
        return f"the environment variable {name} says so" if not name.startswith("-") and name.isupper() else None
    return None


def _run(argv: list[str], session: Session) -> int:
    if "--version" in argv and set(argv) <= {"--version", "--json"}:
        session.result("version", {"version": haulout.__version__}, (f"haulout {haulout.__version__}",))
        return 0
    import click  # noqa: PLC0415 - a tenth of a second

    from haulout.cli.tree import haulout as tree  # noqa: PLC0415

    if instruction := os.environ.get("_HAULOUT_COMPLETE"):
        from click.shell_completion import shell_complete  # noqa: PLC0415

        return shell_complete(tree, {}, "haulout", "_HAULOUT_COMPLETE", instruction)
    try:
        with tree.make_context("haulout", argv, obj=session) as context:
            answer = tree.invoke(context)
            return answer if isinstance(answer, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return UsageError.exit_code
    except click.exceptions.Exit as exit_:
        return exit_.exit_code


def _tell(error: BaseException, session: Session) -> int:
    failure = explain(error)
    lost = _empty_stdout()
    if isinstance(error, OSError) and error.filename is None and lost is not None:
        failure = replace(failure, message=f"standard output cannot be written: {lost.strerror or lost}")
    try:
        if session.debug:
            _trace(error)
        if session.progress_mode == "json":
            _line(json.dumps({"event": "error", **asdict(failure)}))
        else:
            _line(f"haulout: {_shown(failure.message)}")
            if failure.hint:
                _line(f"  hint: {_shown(failure.hint)}")
        if session.as_json and sys.stdout is not None:
            print(json.dumps({"error": asdict(failure)}), flush=True)
    except (OSError, ValueError):
        # Standard error is closed; the exit code remains.
        _forget_stdout()
    return failure.exit_code


def _shown(text: str) -> str:
    short = re.sub(_LONG_WORD, r"\1…\2", text)
    return neutral(short if len(short) <= _LONGEST else f"{short[:_LONGEST]}…")


def _line(text: str) -> None:
    if sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)


def _trace(error: BaseException) -> None:
    import traceback  # noqa: PLC0415

    for part in traceback.format_exception(error):
        for line in part.rstrip("\n").split("\n"):
            _line(neutral(line))


def _empty_stdout() -> OSError | None:
    """Write what is left for stdout, or forget it; return why it could not be written."""
    # A result that could not be written must not come up again, as a complaint of the interpreter at its end.
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        _forget_stdout()
        return error if isinstance(error, OSError) else None
    return None


def _forget_stdout() -> None:
    # The interpreter flushes stdout once more at its end, and would complain there.
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@contextmanager
def _signals() -> Iterator[None]:
    def end(number: int, frame: Any) -> NoReturn:  # noqa: ARG001
        raise Terminated(number)

    before: dict[int, Any] = {}
    try:
        for number in (int(signal.SIGTERM), int(signal.SIGHUP)):
            # Under nohup a hang-up stays ignored. Outside the main thread there are no handlers to set.
            with suppress(ValueError):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
