"""``haulout backport verify``: check a consumer's pin and vendored copy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.backport import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.backports import VerifyResult
    from haulout.cli.session import Session


@click.command(
    "verify",
    cls=Verb,
    short_help="Check what a consumer pins and vendors.",
    examples=(
        Example(
            "haulout backport verify --lib common --consumer cri-o@release-1.30",
            "check what a branch of a consumer has of the library",
        ),
    ),
)
@common.library
@click.option("--consumer", required=True, metavar="REPO@BRANCH", help="The consumer's clone, and its branch.")
@click.option("--branch", metavar="NAME", help="The library's branch for it.  [default: as the ledger says]")
@click.option("--module", metavar="PATH", help="The library's Go module.  [default: of its go.mod]")
@click.option("--make", metavar="TARGET", help="Run the consumer's own check too, in a throw-away clone.")
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
    """Check that a consumer has what the library's branch for it has: the vendor bump, offline and without Go.

    The version in go.mod leads to a commit, which must be on the library's branch; how far it is behind is shown. Every
    vendored file must be the library's at that commit; patches made in the tree are shown.

    Exit status is 1 where a check fails, or cannot be made because a commit is not in the clone.
    """
    from haulout.backports import split_consumer, verify  # noqa: PLC0415

    path, name = split_consumer(consumer)
    found = verify(lib, Path(path), name, name=branch, book=common.found_ledger(ledger), module=module, make=make)
    session.result("backport verify", document(found), lines(found), brief="good" if found.good else "bad")
    return 0 if found.good else 1


def document(found: VerifyResult) -> dict[str, Any]:
    """Return the JSON."""
    pin, files = found.pin, found.vendored
    return {
        "consumer": found.consumer,
        "consumer_commit": found.consumer_commit,
        "good": found.good,
        "module": found.module,
        "pin": {
            "required": pin.required,
            "replaced": pin.replaced,
            "version": pin.version.text,
            "commit": pin.commit,
        },
        "branch": found.branch,
        "behind": [common.commit_document(one) for one in found.behind],
        "checks": [{"check": one.name, "verdict": str(one.verdict), "text": one.text} for one in found.checks],
        "vendored": None
        if files is None
        else {
            "files": files.files,
            "same": files.same,
            "patched": list(files.patched),
            "extra": list(files.extra),
            "patch": files.patch,
        },
        "output": found.output,
    }


def lines(found: VerifyResult) -> Iterator[str]:
    """Write it for people."""
    yield f"{found.consumer} at {found.consumer_commit[:12]}, {found.module}"
    for check in found.checks:
        yield f"  {check.verdict:<7}  {check.name:<7}  {check.text}"
    if found.behind:
        yield "the branch has, and the consumer has not:"
        for commit in found.behind[:20]:
            yield f"  {commit.oid[:12]} {commit.subject}"
    files = found.vendored
    if files is not None and files.extra:
        yield "not of the library:"
        for path in files.extra[:20]:
            yield f"  {path}"
    if files is not None and files.patch:
        yield "patched in the tree:"
        for line in files.patch.expandtabs().splitlines():
            yield f"  {line}"
    if found.output and not found.good:
        yield "what make said at its end:"
        for line in found.output.expandtabs().splitlines()[-20:]:
            yield f"  {line}"
