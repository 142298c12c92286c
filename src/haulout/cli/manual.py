"""Manual pages, made from the same tree as ``--help``: roff, without a date, so that they never change alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

import haulout
from haulout.cli.options import variables
from haulout.cli.tree import Verb, Verbs
from haulout.cli.tree import haulout as tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from haulout.cli.tree import Example

_ENVIRONMENT: Final = (
    (
        "HAULOUT_OPTION",
        (
            "Default of an option that many verbs have: HAULOUT_JSON, HAULOUT_QUIET, HAULOUT_PROGRESS, HAULOUT_DEBUG, "
            "HAULOUT_JOBS, HAULOUT_PLAIN_HTTP, HAULOUT_INSECURE, HAULOUT_CA_FILE, HAULOUT_LIMIT_RATE, HAULOUT_TIMEOUT, "
            "HAULOUT_RETRIES, HAULOUT_DEBUG_HTTP. Flags take 1 or 0."
        ),
    ),
    ("HAULOUT_VERB_OPTION", "Default of any option of one verb, such as HAULOUT_PULL_ARCH; it goes before the former."),
    ("HAULOUT_LEDGER", "Ledger of haulout backport, unless --ledger names one."),
    ("REGISTRY_AUTH_FILE, DOCKER_CONFIG", "Where credentials are stored: the file, or docker's folder."),
    ("DOCKER_AUTH_CONFIG", "Credentials themselves, as the JSON of docker's config.json."),
    ("NO_COLOR, TERM", "Whether and how progress bars are drawn."),
)


def pages() -> dict[str, str]:
    """Return all manual pages: file name and roff text."""
    root = click.Context(tree, info_name="haulout", **tree.context_settings)
    return {f"{_name(context)}.1": text for context, text in _below(tree, root)}


def _below(command: Verbs | Verb, context: click.Context) -> Iterator[tuple[click.Context, str]]:
    if isinstance(command, Verb):
        yield context, _verb_page(command, context)
        return
    yield context, _group_page(command, context)
    for name in command.verbs:
        verb = command.get_command(context, name)
        assert isinstance(verb, Verb | Verbs)
        yield from _below(verb, click.Context(verb, info_name=name, parent=context))


def _name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _group_page(command: Verbs, context: click.Context) -> str:
    own = _name(context)
    verbs: list[str] = [".SH VERBS"]
    for name in command.verbs:
        verb = command.get_command(context, name)
        assert verb is not None
        verbs += [".TP", f".BR {_text(f'{own}-{name}')} (1)", _text(verb.get_short_help_str(200))]
    above = [] if context.parent is None else [_name(context.parent)]
    return _page(
        own,
        context,
        [
            *verbs,
            *_options(context),
            *_examples(command.examples),
            *_exit_status(),
            *([] if above else _environment()),
            ".SH SEE ALSO",
            *_also([*above, *(f"{own}-{name}" for name in command.verbs)]),
        ],
    )


def _environment() -> Iterator[str]:
    yield ".SH ENVIRONMENT"
    for name, text in _ENVIRONMENT:
        yield from (".TP", f".B {_text(name)}", _text(text))


def _verb_page(command: Verb, context: click.Context) -> str:
    assert context.parent is not None
    above = context.parent
    assert isinstance(above.command, Verbs)
    others = (f"{_name(above)}-{name}" for name in above.command.verbs if name != command.name)
    return _page(
        _name(context),
        context,
        [
            *_options(context),
            *_examples(command.examples),
            *_exit_status(),
            ".SH ENVIRONMENT",
            _text(f"The defaults of the options, in this order: {', '.join(_variables(context))}."),
            ".SH SEE ALSO",
            *_also([_name(above), *others]),
        ],
    )


def _page(name: str, context: click.Context, rest: Iterable[str]) -> str:
    command = context.command
    help_text = command.help or ""
    summary = command.get_short_help_str(200).rstrip(".")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH {_text(name.upper())} 1 "" "haulout {haulout.__version__}" "User Commands"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_text(name)} \\- {_text(summary[:1].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        f".B {_text(context.command_path)}",
        _text(usage),
        ".SH DESCRIPTION",
        *_paragraphs(help_text),
        *rest,
    ]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        yield _text(" ".join(paragraph.split()))


def _variables(context: click.Context) -> Iterator[str]:
    for parameter in context.command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.is_eager:
            yield variables(context.command_path, parameter)[0]


def _options(context: click.Context) -> Iterator[str]:
    yield ".SH OPTIONS"
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        # Newer versions of click have records of arguments too, which say nothing that the usage does not.
        if isinstance(parameter, click.Option) and record is not None:
            names, text = record
            yield from (".TP", f".B {_text(names)}", _text(" ".join(text.split())))


def _examples(examples: Sequence[Example]) -> Iterator[str]:
    yield ".SH EXAMPLES"
    for number, example in enumerate(examples):
        if number:
            yield ".PP"
        yield from (_text(f"{example.purpose[:1].upper()}{example.purpose[1:]}:"), ".PP", ".RS 4", ".nf")
        yield from (_text(example.command), ".fi", ".RE")


def _exit_status() -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for code, text in exit_codes():
        yield from (".TP", f".B {_text(code)}", _text(text))


def exit_codes() -> list[tuple[str, str]]:
    """Return every exit code and its meaning, from the error classes themselves."""
    from haulout.cli.main import BUG  # noqa: PLC0415 - main is the program; only its number is wanted
    from haulout.errors import HauloutError  # noqa: PLC0415

    classes = {kind.exit_code: kind for kind in HauloutError.__subclasses__()}
    own = [(str(code), _summary(kind)) for code, kind in sorted(classes.items())]
    return [
        ("0", "Yes, or done."),
        ("1", "The check completed; the answer is no."),
        *own,
        (str(BUG), "A bug in haulout; please report it."),
        ("128+N", "Ended by signal N: 130 by Ctrl-C, 143 by SIGTERM. Run the same command again to continue."),
    ]


def _summary(kind: type) -> str:
    first = (kind.__doc__ or "").strip().split("\n")[0]
    # "…; ``path`` is where." is for programmers.
    return re.split(r"; ``", first)[0].rstrip(".") + "."


def _also(names: Iterable[str]) -> Iterator[str]:
    listed = list(names)
    for number, name in enumerate(listed):
        yield f".BR {_text(name)} (1){',' if number < len(listed) - 1 else ''}"


def _text(text: str) -> str:
    """Escape text for roff: backslashes, hyphens that people copy, and dots that would begin a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("…", "\\&...")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
