"""``haulout machine export``: write a machine to a registry, a layout or an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common, passphrases
from haulout.cli.params import ReferenceParam
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session
    from haulout.oci import Reference


@click.command(
    "export",
    cls=Verb,
    short_help="Write a machine to a registry, layout or archive.",
    examples=(
        Example("haulout machine export web oci:backup:web", "export a machine to an image layout"),
        Example(
            "haulout machine export web registry.example.com/backup:web --passphrase-file secret",
            "export it to a registry, encrypted",
        ),
    ),
)
@common.name
@click.argument("destination", metavar="DEST", type=ReferenceParam())
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase on the terminal, and encrypt the export.")
@passphrases.option
@click.option("--image", is_flag=True, help="Include the disk of the system, too, so that no other registry is needed.")
@options.connections
@options.uploads
@options.common
@click.pass_obj
def command(
    session: Session,
    name: str,
    destination: Reference,
    encrypt: bool,
    passphrase_file: str | None,
    image: bool,
    jobs: int | None,
) -> None:
    """Write a machine to DEST: a registry, an image layout (oci:DIR:TAG) or an archive.

    The machine's settings and its data travel. Its system travels as a reference by digest; what it changed in
    itself does not, as with a new system on kept data. Holes in the data disk cost nothing, and a later export
    to the same tag sends only what changed.

    A machine may run meanwhile: its data disk is copied first, as it is in one moment, at which the file systems of a
    machine with QEMU's guest agent are at rest. There must be room for that copy.

    With a passphrase, settings and data are encrypted. Later exports to the tag need the same passphrase.
    """
    from haulout.machines import machine_export  # noqa: PLC0415 - loads the HTTP client

    passphrase = passphrases.given(passphrase_file)
    if passphrase is None and encrypt:
        passphrase = passphrases.asked(twice=True)
    with session.progress() as progress:
        done = machine_export(
            name,
            destination,
            passphrase=passphrase,
            image=image,
            jobs=jobs,
            connections=session.connections(),
            progress=progress,
        )
    session.result(
        "machine export",
        done.to_dict(),
        (
            f"exported {name}{', encrypted,' * done.encrypted} to {done.pinned}",
            f"  {size(done.data_content)} of data in {done.chunks} chunks",
            f"  sent {done.sent_chunks} of them, {size(done.sent_bytes)}",
            f"  what its system changed in itself ({size(done.left_behind)}) stays here",
        ),
        brief=str(done.pinned),
    )
