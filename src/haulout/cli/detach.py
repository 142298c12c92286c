"""``haulout detach``: delete something that is attached to a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options, prune
from haulout.cli.params import ReferenceParam
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session
    from haulout.oci import Reference


@click.command(
    "detach",
    cls=Verb,
    examples=(
        Example(
            'haulout detach oci:machines:5.0 "$(haulout discover oci:machines:5.0 --type text/markdown --json '
            '| jq -r .subjects[0].referrers[0].manifest)"',
            "delete the notes that were attached to a version",
        ),
    ),
)
@click.argument("reference", metavar="REF", type=ReferenceParam())
@click.argument("digest", metavar="DIGEST")
@options.dry_run
@options.registry
@options.common
@click.pass_obj
def command(session: Session, reference: Reference, digest: str, dry_run: bool) -> None:
    """Delete what is attached to REF under DIGEST.

    What is attached to that goes with it. DIGEST is that of an attached manifest, or its first digits: haulout
    discover shows them. The registry frees the
    room when it collects its garbage, a layout when it is pruned.
    """
    from haulout import detach  # noqa: PLC0415 - loads the HTTP client

    with session.progress() as progress:
        done = detach(reference, digest, dry_run=dry_run, connections=session.connections(), progress=progress)
    what = "would detach" if dry_run else "detached"
    lines = [f"{what} {each}" for each in done.detached]
    session.result("detach", done.to_dict(), [*lines, prune.REFUSED] if done.refused else lines, brief="")
