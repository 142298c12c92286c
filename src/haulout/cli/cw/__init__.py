"""``haulout cw``: images of confidential workloads."""

from __future__ import annotations

from typing import Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verbs

VERBS: Final = {
    "build": "haulout.cli.cw.build",
    "guest": "haulout.cli.cw.guest",
    "inspect": "haulout.cli.cw.inspect",
    "open": "haulout.cli.cw.open",
    "extract": "haulout.cli.cw.extract",
    "rekey": "haulout.cli.cw.rekey",
    "trustee": "haulout.cli.cw.trustee",
    "run": "haulout.cli.cw.run",
}


@click.group(
    "cw",
    cls=Verbs,
    verbs=VERBS,
    examples=(
        Example("haulout cw build root oci:secret:3 --passphrase-out secret.key", "encrypt a root file system"),
        Example("haulout cw inspect oci:secret:3 --passphrase-file secret.key", "check all of it"),
    ),
)
@options.common
def command() -> None:
    """Build and open encrypted images for confidential VMs.

    The images are those of "buildah mkcw", and also bound to their workload: docs/confidential.md.
    """
