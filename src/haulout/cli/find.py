"""``haulout find``: what a digest or a file is, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import FindResult, Match
    from haulout.cli.session import Session

_NO = 1
"""Exit code where the answer is no: it is nowhere."""


@click.command(
    "find",
    cls=Verb,
    examples=(
        Example("haulout find disk.raw oci:machines", "find the version whose disk this file is"),
        Example(
            "haulout find sha256:4e1cd1a6de4b3e3a1f0c2ca4b2a2b1f6a1d7c2d2b7c9c7f2a5d7f0a9b8c7d6e5 "
            "registry.example.com/machines",
            "find a digest in a repository, and files on this machine that were pulled from it",
        ),
    ),
)
@click.argument("subject", metavar="DIGEST|FILE")
@click.argument("repositories", metavar="[REPO]...", nargs=-1)
@options.registry
@options.common
@click.pass_obj
def command(session: Session, subject: str, repositories: tuple[str, ...]) -> int:
    """Show which disk and version a digest or file is.

    DIGEST may be that of a disk, plain or compressed, a manifest, an index, a table of contents or a layer; a FILE is
    hashed. It is looked for in each REPO, host/repository or oci:DIR, and among the files that were pulled to this
    machine. Exit status is 1 where it is nowhere.
    """
    from haulout import find  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        found = find(subject, repositories, connections=session.connections(), progress=progress)
    session.result("find", found.to_dict(), lines(found))
    return 0 if found.matches or found.files else _NO


def lines(found: FindResult) -> Iterator[str]:
    """Write where it is for people."""
    if not found.matches and not found.files:
        yield f"{found.digest} is not found"
    for match in found.matches:
        yield from _match(match)
    for each in found.files:
        state = {True: "", False: ", changed since", None: ""}[each.unchanged]
        yield f"file {each.path}{f', pulled from {each.place}' if each.place else ''}{state}"


def _match(match: Match) -> Iterator[str]:
    kind = "/".join(part for part in (match.architecture, match.disk_type) if part)
    yield f"{match.is_a}{f' of {kind}' if kind else ''} in {match.repository}: {', '.join(match.tags) or 'no tag'}"
    yield f"  manifest {match.manifest}"
    if match.blob is not None:
        yield f"  blob {match.blob.digest}, {size(match.blob.size)}{f', {match.title}' if match.title else ''}"
    if match.disk is not None:
        yield f"  disk {match.disk.digest}, {size(match.disk.size)}"
    for container in match.containers:
        yield f"  container image {container}"
    for disk in match.disks:
        yield f"  holds {disk.architecture or 'unknown'}/{disk.disk_type or 'unknown'}: {disk.manifest}"
