"""``haulout backport pick``: pick fixes onto a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.backport import common
from haulout.cli.terminal import count
from haulout.cli.tree import Example, Verb
from haulout.errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.backports import PickResult
    from haulout.cli.session import Session


@click.command(
    "pick",
    cls=Verb,
    short_help="Pick fixes onto a branch.",
    examples=(
        Example(
            "haulout backport pick v0.59 main~1 --lib common --topic fix-v0.59",
            "pick a commit into a new branch that starts at v0.59",
        ),
        Example("haulout backport pick v0.59 CVE-2024-0001 --lib common", "pick a fix that has a record"),
    ),
)
@click.argument("branch", metavar="BRANCH")
@click.argument("fixes", metavar="[FIX]...", nargs=-1)
@common.library
@click.option("--topic", metavar="NAME", help="Create the branch NAME with the picks, and leave BRANCH as it is.")
@click.option(
    "--mainline",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Pick merge commits too, by their changes against parent N.",
)
@click.option("--id", "record", metavar="ID", help="Id of the fix record to create, where none has the fix.")
@click.option("--continue", "going_on", is_flag=True, help="Continue after a conflict was resolved and staged.")
@click.option("--abort", "giving_up", is_flag=True, help="Abort: leave BRANCH as it was.")
@common.ledger
@options.common
@click.pass_obj
def command(
    session: Session,
    branch: str,
    fixes: tuple[str, ...],
    lib: Path,
    topic: str | None,
    mainline: int | None,
    record: str | None,
    going_on: bool,
    giving_up: bool,
    ledger: Path | None,
) -> int:
    """Pick fixes onto BRANCH: commits, series A..B (in order), or ids of fix records.

    Fixes are picked in a temporary worktree: one commit each, with its author and its source (cherry-pick -x). BRANCH
    moves when all are picked. Fixes that are already there are skipped. A conflict stops the picks with exit code 1:
    resolve it in the worktree that is printed, then use --continue. Nothing is pushed: the command and a text for the
    pull request are printed, and the picks are added to the fix record.
    """
    from haulout.backports import abort_pick, find_ledger, pick, resume_pick  # noqa: PLC0415

    if (going_on or giving_up) and (fixes or topic or mainline or going_on is giving_up):
        raise UsageError("--continue and --abort take only BRANCH")
    if not (fixes or going_on or giving_up):
        raise UsageError("nothing to pick", hint="name commits, a series A..B, or ids of fix records")
    book = find_ledger(ledger)
    if giving_up:
        done = abort_pick(lib, branch)
    elif going_on:
        done = resume_pick(lib, branch, ledger=book, record=record)
    else:
        with session.progress() as progress:
            done = pick(
                lib, branch, fixes, ledger=book, topic=topic, mainline=mainline, record=record, progress=progress
            )
    session.result("backport pick", done.to_dict(), lines(done, branch, lib), brief=done.after)
    if done.unwritten:
        return StorageError.exit_code
    return 1 if done.stop is not None else 0


def lines(done: PickResult, branch: str, lib: Path) -> Iterator[str]:
    """Write it for people."""
    for oid in done.present:
        yield f"already there: {oid[:12]}"
    for one in done.picked:
        yield f"picked {one.source[:12]} as {one.commit[:12]}: {one.subject}"
    if done.stop is not None:
        yield from _stopped(done, branch, lib)
        return
    if done.outcome == "aborted":
        yield f"aborted: {done.target} is as it was"
        return
    if not done.picked:
        yield f"nothing to do: {done.branch} is as it was, at {done.before[:12]}"
        return
    yield f"{done.target} is at {done.after[:12]} now, {count(len(done.picked), 'commit')} further"
    for path in done.recorded:
        yield f"added to {path}"
    for unwritten in done.unwritten:
        yield f"not recorded, although {done.target} has moved: {unwritten.reason}"
        yield f"add this to {unwritten.path} yourself:"
        yield from (f"  {line}" if line else "" for line in unwritten.text.rstrip().splitlines())
        yield ""
    if not done.recorded and not done.unwritten:
        yield "not recorded: there is no ledger; name one with --ledger FILE"
    sent = done.proposal
    assert sent is not None
    yield f"to publish it: {sent.push}"
    yield ""
    yield f"pull request, {sent.head} into {sent.base}:"
    yield f"  {sent.title}"
    yield ""
    for line in sent.body.splitlines():
        yield f"  {line}" if line else ""


def _stopped(done: PickResult, branch: str, lib: Path) -> Iterator[str]:
    from haulout.backports import resume_command  # noqa: PLC0415

    stop = done.stop
    assert stop is not None
    yield f"conflict: {stop.source.oid[:12]} does not apply onto {done.branch}: {stop.source.subject}"
    yield "in these files:"
    for path in stop.files:
        yield f"  {path}"
    if stop.prerequisites:
        yield "commits before it changed them and are not on the branch; you may need to pick these first:"
        for commit in stop.prerequisites:
            yield f"  {commit.oid[:12]} {commit.subject}"
    for commit in stop.instead:
        yield f"a backport of it applies: {commit.oid[:12]} {commit.subject}"
        yield f"  abort, then: {resume_command(lib, branch, commit.oid[:12])}"
    yield f"resolve it in {stop.worktree}"
    yield "  edit the files, then: git add FILE"
    yield f"  then: {resume_command(lib, branch, '--continue')}"
    yield f"  or abort: {resume_command(lib, branch, '--abort')}"
    yield f"{done.target} has not moved"
