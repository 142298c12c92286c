"""``haulout broker log``: what a broker decided."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from haulout.cli import options
from haulout.cli.broker import access
from haulout.cli.params import StringParam
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from haulout.brokers import Head, LogReport, LogSource, Row
    from haulout.cli.session import Session

_NO: Final = 1
"""Exit code where the log is damaged."""


class HeadParam(StringParam):
    """A head of a log, as it was printed."""

    name = "head"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Head:  # noqa: ARG002
        """Parse it."""
        from haulout.brokers import Head  # noqa: PLC0415 - loads the cryptography

        return Head.parse(str(value))


@click.command(
    "log",
    cls=Verb,
    short_help="Show, export or verify the audit log.",
    examples=(
        Example("haulout broker log --since 1d", "show what was decided today, as an owner"),
        Example("haulout broker log --state broker --export", "print all rows as JSON lines, as the operator"),
        Example("haulout broker log --state broker --verify", "is the log whole?"),
    ),
)
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--state",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Read the log of the broker in this folder.",
)
@click.option(
    "--since", metavar="TIME", type=access.MomentParam(), help="Leave out what was before: a time, or 12h, 7d."
)
@click.option("-f", "--follow", is_flag=True, help="Go on, and show what is decided, until Ctrl-C.")
@click.option(
    "--export", is_flag=True, help="Print rows as JSON lines in their canonical form (docs/formats/audit.md)."
)
@click.option("--verify", is_flag=True, help="Find out whether rows were changed, removed or moved.")
@click.option("--head", metavar="NUMBER:HASH", type=HeadParam(), help="With --verify: what it printed before.")
@access.optional
@options.common
@click.pass_obj
def command(
    session: Session,
    file: Path | None,
    folder: Path | None,
    since: datetime | None,
    follow: bool,
    export: bool,
    verify: bool,
    head: Head | None,
    url: str | None,
    token_file: str | None,
) -> int:
    """Show, export or verify the audit log: every decision about a key, with its rule.

    The log is that of the broker in --state, where the operator reads all of it; or that of --broker, where an
    owner gets the rows about their workloads; or FILE, an export.

    --verify prints a head. Keep it where the broker's administrator cannot write, and give it with --head the next
    time: only a head shows that the end of the log is missing, or that all of it was made anew.

    Exit status of --verify is 1 if the log is damaged.
    """
    from haulout.brokers import broker_log, broker_log_verify  # noqa: PLC0415 - loads the HTTP client

    if verify and (export or follow or since is not None):
        raise UsageError("--verify reads the whole log: it cannot be combined with --export, --follow or --since")
    if head is not None and not verify:
        raise UsageError("--head needs --verify")
    source = _source(session, file, folder, url, token_file)
    if verify:
        report = broker_log_verify(source, head=head, connections=session.connections())
        session.result("broker log", report.to_dict(), _verified(report), brief=str(report.head))
        return 0 if report.whole else _NO
    for row in broker_log(source, since=since, follow=follow, connections=session.connections()):
        if export:
            click.echo(row.to_line())
        else:
            session.result("broker log", row.to_dict(), [_line(row)])
        sys.stdout.flush()
    return 0


def _source(
    session: Session, file: Path | None, folder: Path | None, url: str | None, token_file: str | None
) -> LogSource:
    from haulout.brokers import Exported, StateFolder  # noqa: PLC0415 - as above

    if file is not None and folder is not None:
        raise UsageError("FILE and --state cannot be combined")
    if file is not None:
        return Exported(file)
    if folder is not None:
        return StateFolder(folder)
    if url is None:
        raise UsageError(
            "which log?", hint="name the broker's folder with --state, its URL with --broker, or an export"
        )
    return access.opened(session, url, token_file)


def _line(row: Row) -> str:
    entry = row.entry
    about = entry.workload or entry.resource or "-"
    who = entry.machine or entry.client or entry.owner or "-"
    rule = "" if entry.decision == "allowed" else f" [{entry.rule}]"
    return f"{row.number:6}  {entry.at}  {entry.event:8}  {entry.decision:8}  {about}  {who[:24]}  {entry.words}{rule}"


def _verified(report: LogReport) -> Iterator[str]:
    if report.finding is None:
        begin = "" if report.begin in {None, 1} else f", beginning at row {report.begin}"
        yield f"the log is whole: {report.rows} rows{begin}"
    else:
        yield f"the log is NOT whole: {report.finding.words} [{report.finding.damage}]"
        yield f"  whole before that: {report.rows} rows"
    yield f"  head: {report.head}"
    for note in report.notes:
        yield f"  note: {note}"
