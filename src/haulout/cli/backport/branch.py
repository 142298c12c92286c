"""``haulout backport branch``: begin a consumer branch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.backport import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.backports import BranchResult
    from haulout.cli.session import Session


@click.command(
    "branch",
    cls=Verb,
    short_help="Begin a branch of a library for a consumer.",
    examples=(
        Example(
            "haulout backport branch --lib common --tag v0.53.0 --consumer crio-1.31",
            "begin a branch for a consumer that pins v0.53.0",
        ),
    ),
)
@common.library
@click.option("--tag", required=True, metavar="TAG", help="Where the branch begins: the tag that the consumer pins.")
@click.option("--consumer", required=True, metavar="NAME-X.Y", help="Who it is for; this is the branch's name.")
@click.option("--rhel", is_flag=True, help="It is for RHEL: the name ends in -rhel.")
@click.option("--consumer-branch", metavar="NAME", help="The consumer's own branch.  [default: release-X.Y]")
@common.main_branch
@common.ledger
@options.common
@click.pass_obj
def command(
    session: Session,
    lib: Path,
    tag: str,
    consumer: str,
    rhel: bool,
    consumer_branch: str | None,
    main: str | None,
    ledger: Path | None,
) -> int:
    """Begin a branch of the library for a consumer, and enter it into the ledger.

    It is refused, with exit status 1, where a release branch serves the tag's line already (pick onto that one), and
    where the name is taken at another base. Done again, it changes nothing. The branch is local: the command that
    publishes it is printed.
    """
    from haulout.backports import Consumer, branch  # noqa: PLC0415

    book = common.found_ledger(ledger, create=True)
    assert book is not None
    made = branch(lib, tag, Consumer.parse(consumer, rhel=rhel), book=book, consumer_branch=consumer_branch, main=main)
    session.result("backport branch", document(made), lines(made), brief=made.kept.name if made.ledger else None)
    return 1 if made.status == "refused" else 0


def document(made: BranchResult) -> dict[str, Any]:
    """Return the JSON."""
    kept = made.kept
    return {
        "status": made.status,
        "branch": kept.name,
        "library": kept.library,
        "base": kept.base,
        "base_commit": kept.base_commit,
        "consumer": kept.consumer,
        "consumer_version": kept.consumer_version,
        "consumer_branch": kept.consumer_branch,
        "reason": made.reason,
        "instead": made.instead,
        "ledger": None if made.ledger is None else str(made.ledger),
        "recorded": made.recorded,
        "push": made.push,
    }


def lines(made: BranchResult) -> Iterator[str]:
    """Write it for people."""
    kept = made.kept
    if made.status == "refused":
        yield f"refused: {made.reason}"
        return
    verb = "made" if made.status == "created" else "there already:"
    yield f"{verb} {kept.name} at {kept.base} ({kept.base_commit[:12]}) of {kept.library}"
    yield f"for {kept.serves}, whose branch is {kept.consumer_branch}"
    yield f"{'entered into' if made.recorded else 'as in'} {made.ledger}"
    if made.push:
        yield f"to publish it: {made.push}"
