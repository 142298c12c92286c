"""``haulout backport pick``: put fixes onto a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    short_help="Put fixes onto a branch.",
    examples=(
        Example(
            "haulout backport pick v0.59 main~1 --lib common --topic fix-v0.59",
            "pick a commit into a new branch that begins at v0.59",
        ),
        Example("haulout backport pick v0.59 CVE-2024-0001 --lib common", "pick a fix that a record describes"),
    ),
)
@click.argument("branch", metavar="BRANCH")
@click.argument("fixes", metavar="[FIX]...", nargs=-1)
@common.library
@click.option("--topic", metavar="NAME", help="Make a new branch NAME with the picks, and leave BRANCH alone.")
@click.option(
    "--mainline",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Pick merge commits too, as what they changed against their parent N.",
)
@click.option("--id", "record", metavar="ID", help="Id of the fix record to make, where none has the fix.")
@click.option("--continue", "going_on", is_flag=True, help="Go on after a conflict was resolved and staged.")
@click.option("--abort", "giving_up", is_flag=True, help="Give up: BRANCH is as it was.")
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

    It happens in a temporary worktree: one commit for each, with its author and where it came from (cherry-pick -x).
    BRANCH moves when all are picked. What is there already is passed over. A conflict stops with exit status 1; it is
    resolved in the worktree that is named, and --continue goes on. Nothing is pushed: the command and a text for the
    pull request are printed, and the fix record grows.
    """
    from haulout.backports import pick  # noqa: PLC0415

    if (going_on or giving_up) and (fixes or topic or mainline or going_on is giving_up):
        raise UsageError("--continue and --abort stand alone, with BRANCH")
    if not (fixes or going_on or giving_up):
        raise UsageError("nothing to pick", hint="name commits, a series A..B, or ids of fix records")
    book = common.found_ledger(ledger)
    if giving_up:
        done = pick.abort(lib, branch)
    elif going_on:
        done = pick.go_on(lib, branch, book=book, record=record)
    else:
        with session.progress() as progress:
            done = pick.pick(
                lib, branch, fixes, book=book, topic=topic, mainline=mainline, record=record, progress=progress
            )
    session.result("backport pick", document(done), lines(done, branch, lib), brief=done.after)
    if done.unwritten:
        return StorageError.exit_code
    return 1 if done.stop is not None else 0


def document(done: PickResult) -> dict[str, Any]:
    """Return the JSON."""
    from haulout.backports import proposal  # noqa: PLC0415

    sent = proposal(done) if done.picked and done.stop is None else None
    stop = done.stop
    return {
        "status": str(done.outcome),
        "branch": done.branch,
        "target": done.target,
        "before": done.before,
        "after": done.after,
        "picked": [{"source": one.source, "commit": one.commit, "subject": one.subject} for one in done.picked],
        "present": list(done.present),
        "conflict": None
        if stop is None
        else {
            "source": common.commit_document(stop.source),
            "files": list(stop.files),
            "prerequisites": [common.commit_document(one) for one in stop.prerequisites],
            "instead": [common.commit_document(one) for one in stop.instead],
            "worktree": str(stop.worktree),
        },
        "records": [str(path) for path in done.recorded],
        "unrecorded": [{"path": str(one.path), "reason": one.reason, "text": one.text} for one in done.unwritten],
        "push": None if sent is None else sent.push,
        "pull_request": None
        if sent is None
        else {"base": sent.base, "head": sent.head, "title": sent.title, "body": sent.body},
    }


def lines(done: PickResult, branch: str, lib: Path) -> Iterator[str]:
    """Write it for people."""
    from haulout.backports import proposal  # noqa: PLC0415

    for oid in done.present:
        yield f"already there: {oid[:12]}"
    for one in done.picked:
        yield f"picked {one.source[:12]} as {one.commit[:12]}: {one.subject}"
    if done.stop is not None:
        yield from _stopped(done, branch, lib)
        return
    if done.outcome == "aborted":
        yield f"given up: {done.target} is as it was"
        return
    if not done.picked:
        yield f"nothing to do: {done.branch} is as it was, at {done.before[:12]}"
        return
    yield f"{done.target} is at {done.after[:12]} now, {count(len(done.picked), 'commit')} further"
    for path in done.recorded:
        yield f"entered into {path}"
    for unwritten in done.unwritten:
        yield f"not entered, although {done.target} has moved: {unwritten.reason}"
        yield f"add this to {unwritten.path} yourself:"
        yield from (f"  {line}" if line else "" for line in unwritten.text.rstrip().splitlines())
        yield ""
    if not done.recorded and not done.unwritten:
        yield "entered nowhere: there is no ledger; say where with --ledger FILE"
    sent = proposal(done)
    yield f"to publish it: {sent.push}"
    yield ""
    yield f"pull request, {sent.head} into {sent.base}:"
    yield f"  {sent.title}"
    yield ""
    for line in sent.body.splitlines():
        yield f"  {line}" if line else ""


def _stopped(done: PickResult, branch: str, lib: Path) -> Iterator[str]:
    from haulout.backports import again  # noqa: PLC0415

    stop = done.stop
    assert stop is not None
    yield f"conflict: {stop.source.oid[:12]} does not go onto {done.branch}: {stop.source.subject}"
    yield "in these files:"
    for path in stop.files:
        yield f"  {path}"
    if stop.prerequisites:
        yield "they were changed before it by commits that the branch does not have; perhaps pick these first:"
        for commit in stop.prerequisites:
            yield f"  {commit.oid[:12]} {commit.subject}"
    for commit in stop.instead:
        yield f"another form of it applies: {commit.oid[:12]} {commit.subject}"
        yield f"  give up, then: {again(lib, branch, commit.oid[:12])}"
    yield f"resolve it in {stop.worktree}"
    yield "  edit the files, then: git add FILE"
    yield f"  then: {again(lib, branch, '--continue')}"
    yield f"  or give up: {again(lib, branch, '--abort')}"
    yield f"{done.target} has not moved"
