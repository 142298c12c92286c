"""``haulout backport``: consumer branches of libraries, and which of them carry which fix."""

from __future__ import annotations

from typing import Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verbs

VERBS: Final = {
    "branch": "haulout.cli.backport.branch",
    "pick": "haulout.cli.backport.pick",
    "status": "haulout.cli.backport.status",
    "verify": "haulout.cli.backport.verify",
    "log": "haulout.cli.backport.log",
    "fixes": "haulout.cli.backport.fixes",
}


@click.group(
    "backport",
    cls=Verbs,
    verbs=VERBS,
    short_help="Manage backport branches and track which fixes they contain.",
    examples=(
        Example("haulout backport status CVE-2024-0001 --lib common", "show which branches have a fix"),
        Example("haulout backport pick v0.59 CVE-2024-0001 --lib common", "pick it onto a branch that lacks it"),
    ),
)
@options.common
def command() -> None:
    """Manage backport branches and track which fixes they contain.

    A consumer branch starts at the tag that a consumer pins, where the library has no release branch for it. All verbs
    work on local clones: nothing is fetched, and nothing is pushed.
    """
