"""Options that several verbs share. Their values go to the session, not to the verb."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from haulout.cli.params import NumberParam, RateParam, SizeParam
from haulout.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

PROGRESS_MODES = ("auto", "plain", "json", "none")
_LONGEST_WAIT: Final = 86400


class Shared(click.Option):
    """An option that means the same for every verb, so that one variable sets it for all: ``HAULOUT_RETRIES``."""


def variables(path: str, option: click.Option) -> tuple[str, ...]:
    """Return the environment variables that stand for an option of a verb; the first that is set counts.

    Args:
        path: the words before the option, such as ``haulout backport pick``.
        option: of that verb.
    """
    name = max(option.opts, key=len).lstrip("-")
    own = f"{path} {name}"
    shared = ("haulout " + name,) if isinstance(option, Shared) else ()
    return tuple(dict.fromkeys(text.upper().replace(" ", "_").replace("-", "_") for text in (own, *shared)))


def read_environment(context: click.Context) -> None:
    """Let each option of the context's verb be set by its variables."""
    for parameter in context.command.get_params(context):
        # Neither --help nor --version.
        if isinstance(parameter, click.Option) and parameter.envvar is None and not parameter.is_eager:
            parameter.envvar = variables(context.command_path, parameter)


def _is_given(context: click.Context, parameter: click.Parameter) -> bool:
    # An option left out after the verb must not undo the same option before it, and nor must a variable.
    source = context.get_parameter_source(parameter.name or "")
    given = context.ensure_object(Session).given
    if source in {None, click.core.ParameterSource.DEFAULT} or context.resilient_parsing:
        return False
    if source is click.core.ParameterSource.ENVIRONMENT:
        return parameter.name not in given
    given.add(parameter.name or "")
    return True


def _into_session(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if _is_given(context, parameter):
        setattr(context.ensure_object(Session), parameter.name or "", value)


def _into_connection(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep the member of ConnectionOptions that the parameter is named after."""
    if _is_given(context, parameter):
        context.ensure_object(Session).connection[parameter.name or ""] = value


def _into_retries(context: click.Context, parameter: click.Parameter, value: int) -> None:
    if _is_given(context, parameter):
        context.ensure_object(Session).connection["attempts"] = value + 1


def _into_waits(context: click.Context, parameter: click.Parameter, value: float) -> None:
    if _is_given(context, parameter):
        connection = context.ensure_object(Session).connection
        connection["connect_seconds"] = connection["stall_seconds"] = value


def _flag(names: str, target: str, text: str, into: Callable[..., None] = _into_session) -> Decorator:
    return click.option(*names.split(), target, cls=Shared, is_flag=True, expose_value=False, callback=into, help=text)


def _valued(name: str, kind: click.ParamType[Any], metavar: str, text: str, into: Callable[..., None]) -> Decorator:
    return click.option(
        *name.split(), cls=Shared, type=kind, metavar=metavar, expose_value=False, callback=into, help=text
    )


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options every verb has, which may also stand before the verb."""
    for option in reversed(
        (
            _flag("--json", "as_json", "Print the result as one JSON object (docs/json.md)."),
            _flag(
                "-q --quiet",
                "quiet",
                "Print only the result itself (a path, reference or digest); no progress or notes.",
            ),
            click.option(
                "--progress",
                "progress_mode",
                cls=Shared,
                type=click.Choice(PROGRESS_MODES),
                expose_value=False,
                callback=_into_session,
                help="How to report progress on standard error: bars on a terminal and lines elsewhere (auto), "
                "lines (plain), JSON lines (json), or nothing (none).",
            ),
            _flag("--debug", "debug", "Show the traceback of an error."),
        )
    ):
        function = option(function)
    return function


def registry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of verbs that talk to a registry."""
    for option in reversed(
        (
            _flag(
                "--plain-http", "plain_http", "Use HTTP without TLS (loopback hosts need no option).", _into_connection
            ),
            _flag("--insecure", "insecure", "Do not verify the registry's TLS certificate.", _into_connection),
            _valued(
                "--ca-file",
                click.Path(path_type=Path),
                "FILE",
                "Trust the certificate authorities in this PEM file, in addition to the system's.",
                _into_connection,
            ),
            click.option(
                "--allow-host",
                "allowed_hosts",
                cls=Shared,
                multiple=True,
                metavar="HOST[:PORT]",
                expose_value=False,
                callback=_into_connection,
                help="Let the registry send this client to HOST, even in the local network or without TLS, for blobs "
                "and for tokens (with your credentials); may be given several times.",
            ),
            _valued(
                "--limit-rate on_bytes",
                RateParam(),
                "RATE",
                "Transfer at most so many bytes per second over all connections, both ways, such as 500K or 10M.",
                _into_connection,
            ),
            _valued(
                "--timeout",
                NumberParam(1, _LONGEST_WAIT, float),
                "SECONDS",
                "Longest wait for a connection, and longest silence of a server.  [default: 10 and 30]",
                _into_waits,
            ),
            _valued(
                "--retries",
                NumberParam(0, 100),
                "N",
                "Times that a failed request is repeated.  [default: 4]",
                _into_retries,
            ),
            _flag("--debug-http", "debug_http", "Log every HTTP request on standard error, without secrets."),
        )
    ):
        function = option(function)
    return function


def uploads(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of verbs that send blobs to a registry, with those of all that talk to one."""
    return _valued(
        "--upload-chunk",
        SizeParam(),
        "SIZE",
        "Send blobs in pieces of SIZE, such as 8M.  [default: whole; in pieces where a registry wants them]",
        _into_connection,
    )(registry(function))


def copying(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of verbs that copy versions."""
    no_referrers = click.option(
        "--no-referrers", is_flag=True, help="Leave what is attached: deltas, signatures, SBOMs."
    )
    return no_referrers(dry_run(connections(uploads(function))))


def jobs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--jobs`` to a verb that computes."""
    return _jobs("Number of parallel jobs, 1 to 256.  [default: number of CPUs]")(function)


def connections(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--jobs`` to a verb that fetches."""
    return _jobs("Number of parallel connections, 1 to 256.  [default: 4]")(function)


def _jobs(text: str) -> Decorator:
    return click.option("--jobs", cls=Shared, type=NumberParam(1, 256), metavar="N", help=text)


def attached_to(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--arch`` and ``--disk-type`` to a verb about what is attached: to one disk instead of the index."""
    from haulout.cli.params import ArchitectureParam, DiskTypeParam  # noqa: PLC0415 - most verbs have their own

    arch = click.option("--arch", type=ArchitectureParam(), metavar="ARCH", help="Of the disk of this architecture.")
    kind = click.option("--disk-type", "disk_type", type=DiskTypeParam(), help="Of the disk of this type.")
    return arch(kind(function))


def dry_run(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--dry-run`` to a verb that changes something."""
    return click.option("--dry-run", "dry_run", is_flag=True, help="Show what would be done, and change nothing.")(
        function
    )
