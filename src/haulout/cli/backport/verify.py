"""``haulout backport verify``: check a consumer's pin and vendored copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.backport import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from haulout.backports import VerifyResult
    from haulout.cli.session import Session


@click.command(
    "verify",
    cls=Verb,
    short_help="Check what a consumer pins and vendors of a library.",
    examples=(
        Example(
            "haulout backport verify --lib common --consumer cri-o@release-1.30",
            "check what a branch of a consumer has of the library",
        ),
    ),
)
@common.library
@click.option("--consumer", required=True, metavar="REPO@BRANCH", help="The consumer's clone, and its branch.")
@click.option("--branch", metavar="NAME", help="The library's branch for it.  [default: the one in the ledger]")
@click.option("--module", metavar="PATH", help="The library's Go module.  [default: the one in its go.mod]")
@click.option("--make", metavar="TARGET", help="Also run this make target of the consumer, in a throw-away clone.")
@common.ledger
@options.common
@click.pass_obj
def command(
    session: Session,
    lib: Path,
    consumer: str,
    branch: str | None,
    module: str | None,
    make: str | None,
    ledger: Path | None,
) -> int:
    """Check that a consumer has what the library's branch for it has, offline and without Go.

    The commit of the version in go.mod must be on the library's branch; how far it is behind is shown. Every vendored
    file must be the library's at that commit; local patches are shown.

    The exit code is 1 where a check fails, or cannot be made because a commit is not in the clone.
    """
    from haulout.backports import find_ledger, verify  # noqa: PLC0415

    found = verify(lib, consumer, branch=branch, ledger=find_ledger(ledger), module=module, make=make)
    session.result("backport verify", found.to_dict(), lines(found), brief="good" if found.good else "bad")
    return 0 if found.good else 1


def lines(found: VerifyResult) -> Iterator[str]:
    """Write it for people."""
    yield f"{found.consumer} at {found.consumer_commit[:12]}, {found.module}"
    for check in found.checks:
        yield f"  {check.verdict:<7}  {check.name:<7}  {check.text}"
    if found.behind:
        yield "on the branch, but not in the consumer:"
        for commit in found.behind[:20]:
            yield f"  {commit.oid[:12]} {commit.subject}"
    files = found.vendored
    if files is not None and files.extra:
        yield "not from the library:"
        for path in files.extra[:20]:
            yield f"  {path}"
    if files is not None and files.patch:
        yield "patched in the tree:"
        for line in files.patch.expandtabs().splitlines():
            yield f"  {line}"
    if found.output and not found.good:
        yield "end of the output of make:"
        for line in found.output.expandtabs().splitlines()[-20:]:
            yield f"  {line}"
