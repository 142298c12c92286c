"""``haulout cw trustee``: what Trustee has to be told of a workload."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.params import ReferenceParam
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import TrusteeExport
    from haulout.cli.session import Session
    from haulout.oci import Reference


@click.command(
    "trustee",
    cls=Verb,
    examples=(
        Example("haulout cw trustee oci:secret:1 --out trustee", "write init-data, reference values and commands"),
        Example(
            "haulout cw trustee oci:secret:1 --out trustee2 --resource shop/web/key --kbs-url https://kbs.example.com",
            "with the path of the passphrase, and the address of the broker for the guest",
        ),
    ),
)
@click.argument("image", metavar="REF", type=ReferenceParam())
@click.option("--out", "folder", metavar="DIR", type=Path, required=True, help="Write to DIR, which is made.")
@click.option(
    "--resource",
    metavar="PATH",
    help="Path of the passphrase: REPOSITORY/TYPE/TAG.  [default: default/WORKLOAD/passphrase]",
)
@click.option(
    "--kbs-url", metavar="URL", default="", help="Address of the KBS, for the guest; it goes into the init-data."
)
@options.registry
@options.common
@click.pass_obj
def command(session: Session, image: Reference, folder: Path, resource: str | None, kbs_url: str) -> int:
    """Write what Trustee has to be told of a workload.

    DIR gets initdata.toml, which holds the binding and whose digest the guest has to carry; reference-values.json and
    rvps-message.json with the launch measurement, if the image names it; and upload.sh, which uploads the passphrase
    and the reference values with kbs-client. The passphrase is not needed, and not in any of them.
    """
    from haulout import export_for_trustee  # noqa: PLC0415 - loads the cryptography

    with session.progress() as progress:
        made = export_for_trustee(
            image, folder, resource=resource, url=kbs_url, connections=session.connections(), progress=progress
        )
    session.result("cw trustee", made.to_dict(), _lines(made), brief=str(folder))
    return 0


def _lines(made: TrusteeExport) -> Iterator[str]:
    yield f"{made.folder}: {', '.join(made.files)}"
    yield f"  resource        {made.resource}"
    yield f"  init-data       {made.init_data.hex()} ({made.field})"
