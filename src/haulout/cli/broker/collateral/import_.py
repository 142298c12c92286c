"""``haulout broker collateral import``: keep what files hold."""

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
    "import",
    cls=Verb,
    short_help="Keep what AMD and Intel publish, from files.",
    examples=(
        Example("haulout broker collateral import vcek.pem --state broker", "keep the certificate of a chip"),
        Example("haulout broker collateral import collateral.json --state broker", "keep Intel's collateral"),
    ),
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@common.early
@common.folder
@options.common
@click.pass_obj
def command(
    session: Session,
    files: tuple[Path, ...],
    early: bool,
    folder: Path,
    cache: Path | None,
    test_roots: tuple[str, ...],
) -> int:
    """Keep certificates, revocation lists and Intel's collateral from files, once they are verified.

    FILE is in one of the forms that evidence verify takes, or a folder of such files. What it is is found out. A broker
    that runs uses it within half a minute. What is there and was issued later stays.
    """
    from haulout.brokers import import_collateral  # noqa: PLC0415 - loads the cryptography

    report = import_collateral(cache or folder / "collateral", files, early=early, test_roots=test_roots)
    session.result("broker collateral import", report.to_dict(), common.lines(report), brief=str(len(report.entries)))
    return 0
