"""``haulout backport branch``: create a consumer branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    short_help="Create a branch of a library for a consumer.",
    examples=(
        Example(
            "haulout backport branch --lib common --tag v0.53.0 --consumer crio-1.31",
            "create a branch for a consumer that pins v0.53.0",
        ),
    ),
)
@common.library
@click.option("--tag", required=True, metavar="TAG", help="Tag to start the branch at, which the consumer pins.")
@click.option("--consumer", required=True, metavar="NAME-X.Y", help="Consumer and its version: the branch's name.")
@click.option("--rhel", is_flag=True, help="Create a branch for RHEL: its name ends in -rhel.")
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
    """Create a branch of the library for a consumer, and add it to the ledger.

    The branch is refused, with exit code 1, where a release branch already serves the tag's line (pick onto that one),
    and where its name is taken at another base. Running it again changes nothing. The branch is local: the command that
    publishes it is printed.
    """
    from haulout.backports import branch, find_ledger  # noqa: PLC0415

    book = find_ledger(ledger, create=True)
    assert book is not None
    made = branch(lib, tag, consumer, ledger=book, rhel=rhel, consumer_branch=consumer_branch, main=main)
    session.result("backport branch", made.to_dict(), lines(made), brief=made.entry.name if made.ledger else None)
    return 1 if made.status == "refused" else 0


def lines(made: BranchResult) -> Iterator[str]:
    """Write it for people."""
    entry = made.entry
    if made.status == "refused":
        yield f"refused: {made.reason}"
        return
    verb = "created" if made.status == "created" else "already there:"
    yield f"{verb} {entry.name} at {entry.base} ({entry.base_commit[:12]}) of {entry.library}"
    yield f"for {entry.serves}, whose branch is {entry.consumer_branch}"
    yield f"{'added to' if made.recorded else 'as in'} {made.ledger}"
    if made.push:
        yield f"to publish it: {made.push}"
