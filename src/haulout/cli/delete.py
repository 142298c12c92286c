"""``haulout delete``: delete one version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options, prune
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "delete",
    cls=Verb,
    examples=(
        Example("haulout delete registry.example.com/machines:5.0 --dry-run", "show what would go with a version"),
        Example("haulout delete oci:machines:5.0", "delete a version of an image layout, and free its room"),
    ),
)
@click.argument("reference", metavar="REF")
@click.option("-f", "--force", is_flag=True, help="Delete by digest, with all tags of the manifest.")
@options.dry_run
@options.registry
@options.common
@click.pass_obj
def command(session: Session, reference: str, force: bool, dry_run: bool) -> None:
    """Delete the tag REF, with everything that only it needs.

    Other tags of the same manifest stay, and so does what they need. REF by digest deletes the manifest itself, with
    all its tags, and takes --force. To delete old versions: haulout prune.
    """
    from haulout import delete  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        done = delete(reference, force=force, dry_run=dry_run, connections=session.connections(), progress=progress)
    brief = [each.name for each in done.versions]
    session.result("delete", done.to_dict(), prune.lines(done), brief=brief)
