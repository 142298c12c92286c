"""Options that several verbs share. Their values go to the session, not to the verb."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haulout.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

PROGRESS_MODES = ("auto", "plain", "json", "none")


def _is_given(context: click.Context, parameter: click.Parameter) -> bool:
    # An option left out after the verb must not undo the same option before it.
    source = context.get_parameter_source(parameter.name or "")
    return source not in {None, click.core.ParameterSource.DEFAULT} and not context.resilient_parsing


def _into_session(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if _is_given(context, parameter):
        setattr(context.ensure_object(Session), parameter.name or "", value)


def _into_connection(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep the member of ConnectionOptions that the parameter is named after."""
    if _is_given(context, parameter):
        context.ensure_object(Session).connection[parameter.name or ""] = value


def _flag(names: str, target: str, text: str, into: Callable[..., None] = _into_session) -> Decorator:
    return click.option(*names.split(), target, is_flag=True, expose_value=False, callback=into, help=text)


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
            click.option(
                "--ca-file",
                "ca_file",
                type=click.Path(path_type=Path),
                metavar="FILE",
                expose_value=False,
                callback=_into_connection,
                help="Trust the certificate authorities in this PEM file, in addition to the system's.",
            ),
            _flag("--debug-http", "debug_http", "Log every HTTP request on standard error, without secrets."),
        )
    ):
        function = option(function)
    return function


def jobs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--jobs`` to a verb that computes."""
    return _jobs("Number of parallel jobs.  [default: number of CPUs]")(function)


def connections(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--jobs`` to a verb that fetches."""
    return _jobs("Number of parallel connections.  [default: 4]")(function)


def _jobs(text: str) -> Decorator:
    return click.option("--jobs", type=click.IntRange(1, 256), metavar="N", help=text)
