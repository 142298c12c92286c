"""``haulout machine import``: make a machine of an export."""

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
    "import",
    cls=Verb,
    short_help="Make a machine of an export.",
    examples=(
        Example("haulout machine import oci:backup:web", "make the machine that was exported"),
        Example(
            "haulout machine import registry.example.com/backup:web copy --passphrase-file secret",
            "make it under another name, of an encrypted export",
        ),
    ),
)
@click.argument("source", metavar="SRC", type=ReferenceParam())
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--podman", metavar="MACHINE", help="Take over this machine of podman's; SRC is the disk of the new one.")
@passphrases.option
@options.connections
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    source: Reference,
    name: str | None,
    podman: str | None,
    passphrase_file: str | None,
    jobs: int | None,
) -> None:
    """Make a machine of an export, with the same data and settings, under its name or NAME.

    The system's disk is fetched by digest, from the export or from where the machine had it. Mounts whose directories
    this host lacks are left out, and named. If the export is encrypted, you are asked for the passphrase.

    With --podman, SRC is a published disk, and the new machine gets the settings of a machine of podman 5 or 6, which
    must run, and copies of its volumes, rootless and rootful. Given again, it copies those that are not there yet.
    """
    from haulout.machines import machine_import, machine_import_podman  # noqa: PLC0415 - loads the HTTP client

    if podman is not None:
        with session.progress() as progress:
            taken = machine_import_podman(podman, source, name, connections=session.connections(), progress=progress)
        lines = [f"took over podman's machine {podman} as {taken.name}"]
        lines += [f"  copied {each}" for each in taken.volumes] + [f"  was there: {each}" for each in taken.present]
        session.result("machine import", taken.to_dict(), lines, brief=taken.name)
        return
    passphrase = passphrases.given(passphrase_file)
    with session.progress() as progress:
        made = machine_import(
            source,
            name,
            passphrase=passphrase,
            ask=lambda: passphrases.asked(twice=False),
            jobs=jobs,
            connections=session.connections(),
            progress=progress,
        )
    session.result(
        "machine import",
        made.to_dict(),
        (
            f"made machine {made.machine.name}: {common.amounts(made.machine.resources)}",
            f"  fetched {size(made.traffic.received)}",
            f"  start it with: haulout machine start {made.machine.name}",
        ),
        brief=made.machine.name,
    )
