"""``haulout broker collateral fetch``: from the vendors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker.collateral import common
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "fetch",
    cls=Verb,
    short_help="Fetch what AMD and Intel publish.",
    examples=(
        Example("haulout broker collateral fetch report.bin --state broker", "fetch what verifying a report takes"),
        Example("haulout broker collateral fetch --state broker", "renew what is there"),
    ),
)
@click.argument("evidence", metavar="[EVIDENCE]...", nargs=-1, type=click.Path(path_type=Path))
@common.early
@click.option("--kds", metavar="URL", help="In place of AMD's service: something that caches it.")
@click.option("--pcs", metavar="URL", help="In place of Intel's service: a PCCS.")
@common.folder
@options.common
@click.pass_obj
def command(
    session: Session,
    evidence: tuple[Path, ...],
    early: bool,
    kds: str | None,
    pcs: str | None,
    folder: Path,
    cache: Path | None,
    test_roots: tuple[str, ...],
) -> int:
    """Fetch certificates and collateral from AMD and Intel, verify and keep them.

    EVIDENCE is an SEV-SNP report or a TDX quote. Without any, what is there and its vendor renews is fetched again.
    """
    from haulout.brokers import fetch_collateral  # noqa: PLC0415 - loads the cryptography
    from haulout.tee import KDS, PCS  # noqa: PLC0415 - as above

    report = fetch_collateral(
        cache or folder / "collateral",
        evidence,
        early=early,
        kds=kds or KDS,
        pcs=pcs or PCS,
        test_roots=test_roots,
    )
    session.result("broker collateral fetch", report.to_dict(), common.lines(report), brief=str(len(report.entries)))
    return 0
