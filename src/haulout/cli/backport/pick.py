"""``haulout backport pick``: pick fixes onto a branch."""

from __future__ import annotations

import shlex
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

    from haulout.backports import PickResult, PicksResult, Proposal, Stop
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
        Example(
            "haulout backport pick --all-missing CVE-2024-0001 --lib common",
            "pick a fix onto every supported branch that lacks it, each into a new branch",
        ),
        Example("haulout backport pick v0.59 CVE-2024-0001 --lib common --direct", "pick a fix onto v0.59 itself"),
    ),
)
@click.argument("words", metavar="[BRANCH] [FIX]...", nargs=-1)
@common.library
@click.option(
    "--onto", metavar="BRANCH", multiple=True, help="Pick onto this branch, or onto all that this glob matches."
)
@click.option("--all-missing", is_flag=True, help="Pick onto every supported branch that lacks a FIX.")
@click.option(
    "--supported",
    metavar="GLOB",
    multiple=True,
    help="Branches that must have the fixes, for --all-missing.  [default: those in the ledger; without one, all]",
)
@click.option("--topic", metavar="NAME", help="Name of the new branch.  [default: backport-FIX-to-BRANCH]")
@click.option("--direct", is_flag=True, help="Move BRANCH itself, instead of creating a branch that starts there.")
@click.option("--signoff", "-s", is_flag=True, help="Add a Signed-off-by line to every commit.")
@click.option("--exact", is_flag=True, help="Pick no backport of FIX where FIX itself conflicts.")
@click.option("--force", is_flag=True, help="Pick also what is already there.")
@click.option(
    "--mainline",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Pick a merge commit as one, by its changes against parent N.  [default: pick the commits it brought]",
)
@click.option("--id", "record", metavar="ID", help="Id of the fix record to create, where none has the fix.")
@click.option("--continue", "going_on", is_flag=True, help="Continue after a conflict was resolved and staged.")
@click.option("--abort", "giving_up", is_flag=True, help="Abort: leave BRANCH as it was.")
@common.ledger
@options.common
@click.pass_obj
def command(
    session: Session,
    words: tuple[str, ...],
    lib: Path,
    onto: tuple[str, ...],
    all_missing: bool,
    supported: tuple[str, ...],
    topic: str | None,
    direct: bool,
    signoff: bool,
    exact: bool,
    force: bool,
    mainline: int | None,
    record: str | None,
    going_on: bool,
    giving_up: bool,
    ledger: Path | None,
) -> int:
    """Pick fixes onto BRANCH: commits, merges, series A..B (in order), pull requests '#N', or ids of fix records.

    What is picked is decided as by "haulout backport status". Fixes that are already there are skipped. Where FIX
    conflicts and a known backport of it applies, that is picked. The picks go into a new branch that starts at BRANCH:
    one commit each, with its author and its source (cherry-pick -x), made in a temporary worktree. It is created when
    all are picked.

    With --onto or --all-missing, fixes are picked onto several branches; all arguments are then FIX.

    A conflict stops the picks onto that branch with exit code 1: resolve it in the worktree that is printed, then use
    --continue. Nothing is pushed: the command and a text for the pull request are printed. Where there is a ledger, the
    picks are added to the fix record.
    """
    from haulout.backports import abort_pick, find_ledger, pick, picks, resume_pick  # noqa: PLC0415

    several = bool(onto) or all_missing
    started = bool(topic or mainline or direct or signoff or exact or force or several)
    if (going_on or giving_up) and (len(words) != 1 or started or going_on is giving_up):
        raise UsageError("--continue and --abort take only BRANCH")
    if onto and all_missing:
        raise UsageError(
            "--onto and --all-missing exclude each other", hint="--supported GLOB chooses among the missing"
        )
    if several and topic:
        raise UsageError("--topic names one branch", hint="leave it out: each gets a name of its own")
    if direct and topic:
        raise UsageError("--topic and --direct exclude each other")
    if supported and not all_missing:
        raise UsageError("--supported goes with --all-missing")
    if not (going_on or giving_up) and len(words) < (1 if several else 2):
        raise UsageError("nothing to pick", hint="name commits, a series A..B, or ids of fix records")
    book = find_ledger(ledger)
    if giving_up or going_on:
        done = abort_pick(lib, words[0]) if giving_up else resume_pick(lib, words[0], ledger=book, record=record)
        return _ended(session, done, lib)
    with session.progress() as progress:
        if several:
            found = picks(
                lib,
                words,
                onto=onto,
                missing=all_missing,
                supported=supported,
                ledger=book,
                direct=direct,
                mainline=mainline,
                record=record,
                signoff=signoff,
                exact=exact,
                force=force,
                progress=progress,
            )
        else:
            done = pick(
                lib,
                words[0],
                words[1:],
                ledger=book,
                topic=topic,
                direct=direct,
                mainline=mainline,
                record=record,
                signoff=signoff,
                exact=exact,
                force=force,
                progress=progress,
            )
    return _all_ended(session, found, lib) if several else _ended(session, done, lib)


def _ended(session: Session, done: PickResult, lib: Path) -> int:
    session.result("backport pick", done.to_dict(), lines(done, lib), brief=done.after)
    return _code(done)


def _all_ended(session: Session, found: PicksResult, lib: Path) -> int:
    brief = "complete" if found.complete else "incomplete"
    session.result("backport pick", found.to_dict(), _every_line(found, lib), brief=brief)
    if found.failed:
        return max(one.exit_code for one in found.failed)
    return max((_code(one) for one in found.picks), default=0)


def _code(done: PickResult) -> int:
    if done.unwritten:
        return StorageError.exit_code
    return 1 if done.stop is not None else 0


def _every_line(found: PicksResult, lib: Path) -> Iterator[str]:
    for done in found.picks:
        yield f"{done.branch}:"
        yield from (f"  {line}" if line else "" for line in lines(done, lib))
    for one in found.failed:
        yield f"{one.branch}:"
        yield f"  not picked: {one.reason}"
        if one.hint:
            yield f"  hint: {one.hint}"
    if not found.picks and not found.failed:
        yield "nothing to do: no supported branch lacks it"


def lines(done: PickResult, lib: Path) -> Iterator[str]:
    """Write it for people."""
    yield from _judged(done)
    for oid in done.present:
        yield f"already there: {oid[:12]}"
    for made in done.picked:
        of = f", a backport of {made.of[:12]}," if made.of else ""
        yield f"picked {made.source[:12]}{of} as {made.commit[:12]}: {made.subject}"
    if done.stop is not None:
        yield from _stopped(done, done.stop, lib)
        return
    if done.outcome == "aborted":
        yield f"aborted: {done.target} is as it was"
        return
    if not done.picked:
        yield f"nothing to do: {done.target} is as it was, at {done.before[:12]}"
        return
    yield f"{done.target} is at {done.after[:12]} now, {count(len(done.picked), 'commit')} further"
    for path in done.recorded:
        yield f"added to {path}"
    for unwritten in done.unwritten:
        yield f"not recorded, although {done.target} has moved: {unwritten.reason}"
        yield f"add this to {unwritten.path} yourself:"
        yield from (f"  {line}" if line else "" for line in unwritten.text.rstrip().splitlines())
        yield ""
    if done.proposal is not None:
        yield from _proposed(done.proposal)


def _judged(done: PickResult) -> Iterator[str]:
    for one in done.judged:
        if not one.state.startswith("missing"):
            yield f"{one.fix} is {one.state}: {'; '.join(each.text for each in one.evidence)}"


def _proposed(sent: Proposal) -> Iterator[str]:
    yield f"to publish it: {sent.push}"
    yield ""
    yield f"pull request, {sent.head} into {sent.base}:"
    yield f"  {sent.title}"
    yield ""
    for line in sent.body.splitlines():
        yield f"  {line}" if line else ""


def _stopped(done: PickResult, stop: Stop, lib: Path) -> Iterator[str]:
    from haulout.backports import resume_command  # noqa: PLC0415

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
        yield f"  abort, then: {resume_command(lib, done.branch, commit.oid[:12])}"
    yield from dict.fromkeys(why.text for one in done.judged for why in one.evidence if why.signal == "line-ends")
    yield f"resolve it in {stop.worktree}"
    for path in stop.absent:
        name = shlex.quote(path)
        yield f"  {path} is not on {done.branch}; to leave it out: git rm {name}; to add it: git add {name}"
    for path in stop.deleted:
        yield f"  {stop.source.oid[:12]} deletes {path}; to do so: git rm {shlex.quote(path)}"
    yield "  edit the files, then: git add FILE"
    yield f"  then: {resume_command(lib, done.target, '--continue')}"
    yield f"  or abort: {resume_command(lib, done.target, '--abort')}"
    yield f"{done.target} has not moved" if done.target == done.branch else f"{done.target} is not created yet"
