"""``haulout tags``: the versions of a repository, with their disks and sizes."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.terminal import count, size, table
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import ListedTag, TagList
    from haulout.cli.session import Session


@click.command(
    "tags",
    cls=Verb,
    examples=(
        Example("haulout tags registry.example.com/machines", "list the versions, newest first"),
        Example("haulout tags oci:machines --json", "list those of an image layout, for programs"),
        Example("haulout tags registry.example.com/machines --all", "list the helper tags of tools, too"),
    ),
)
@click.argument("repository", metavar="REPO")
@click.option("--all", "helpers", is_flag=True, help="Also list helper tags, such as lists of referrers.")
@options.registry
@options.common
@click.pass_obj
def command(session: Session, repository: str, helpers: bool) -> None:
    """List the tags of REPO with their disks and sizes.

    REPO is host/repository or oci:DIR. Tags without a number, such as latest, come first; then the versions, newest
    first.
    """
    from haulout import tags  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        found = tags(repository, helpers=helpers, connections=session.connections(), progress=progress)
    session.result("tags", found.to_dict(), lines(found), brief=[each.tag for each in found.tags])


def lines(found: TagList) -> Iterator[str]:
    """Write the tags for people."""
    hidden = found.helper_tags - sum(1 for each in found.tags if each.is_helper)
    more = f" ({count(hidden, 'helper tag')} not shown: --all)" if hidden else ""
    yield f"{found.repository}: {count(len(found.tags), 'tag')}{more}"
    if found.tags:
        yield from table(("tag", "created", "size", "disks"), [_row(each) for each in found.tags])


def _row(each: ListedTag) -> tuple[str, str, str, str]:
    created = each.created.strftime("%Y-%m-%d %H:%M") if each.created else "-"
    if each.note is not None:
        return each.tag, created, "-", f"not readable: {each.note}"
    return each.tag, created, size(each.size), _disks(each) or "no disk"


def _disks(each: ListedTag) -> str:
    by_architecture = groupby(each.disks, lambda disk: disk.architecture)
    return "; ".join(
        f"{architecture or 'unknown'}: {', '.join(disk.disk_type or 'unknown' for disk in disks)}"
        for architecture, disks in by_architecture
    )
