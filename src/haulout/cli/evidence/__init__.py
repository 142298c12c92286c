"""``haulout evidence``: what a trusted execution environment signed about itself."""

from __future__ import annotations

from typing import Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verbs

VERBS: Final = {
    "verify": "haulout.cli.evidence.verify",
    "emulate": "haulout.cli.evidence.emulate",
}


@click.group(
    "evidence",
    cls=Verbs,
    verbs=VERBS,
    examples=(
        Example("haulout evidence verify report.bin --cert certificates.pem --policy policy.toml", "check a report"),
    ),
)
@options.common
def command() -> None:
    """Check what a TEE says of itself: AMD SEV-SNP, Intel TDX, Arm CCA.

    Nothing is fetched: certificates and collateral are files at hand.
    """
