"""``haulout evidence``: what a trusted execution environment signed about a guest."""

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
        Example("haulout evidence emulate cca lab", "make evidence without the hardware"),
        Example(
            "haulout evidence verify lab/evidence.bin --cert lab/certificates.pem --policy lab/policy.toml", "verify it"
        ),
    ),
)
@options.common
def command() -> None:
    """Verify attestation evidence (SEV-SNP, TDX, Arm CCA).

    Evidence is what the processor signs about a confidential VM. Nothing is fetched: certificates and collateral are
    local files.
    """
