"""``haulout machine init``: make a machine from a published disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.machine import common
from haulout.cli.params import ReferenceParam
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session
    from haulout.machine import Forward, Mount
    from haulout.oci import Reference


PATH = click.Path(path_type=Path, readable=False)


@click.command(
    "init",
    cls=Verb,
    examples=(
        Example(
            "haulout machine init web registry.example.com/machines:5.0",
            "make a machine with 2 processors and 2 GiB of memory",
        ),
        Example(
            "haulout machine init small oci:machines:5.0 --cpus 1 --memory 512 --disk 5",
            "make a small one from an image layout",
        ),
        Example(
            "haulout machine init new registry.example.com/machines:5.0 --lazy",
            "make one whose disk is fetched while it runs",
        ),
    ),
)
@common.name
@click.argument("reference", metavar="REF", type=ReferenceParam())
@common.resources
@click.option(
    "--accelerator",
    type=click.Choice(("auto", "kvm", "hvf", "tcg")),
    default="auto",
    help="What runs the machine's instructions; auto tries what works here.  [default: auto]",
)
@click.option(
    "--firmware",
    type=click.Choice(("auto", "bios", "uefi")),
    default="auto",
    help="What starts the boot loader; auto: UEFI for a disk with an EFI system partition.  [default: auto]",
)
@click.option("--cloud-init", type=PATH, metavar="FILE", help="User-data to add to the machine's first boot.")
@click.option("--ignition", type=PATH, metavar="FILE", help="Ignition 3 configuration to add to the first boot.")
@click.option("--lazy", is_flag=True, help="Fetch only the start of the disk; start --lazy fetches what it reads.")
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session,
    name: str,
    reference: Reference,
    cpus: int | None,
    memory: int | None,
    disk: int | None,
    mounts: tuple[Mount, ...] | None,
    forwards: tuple[Forward, ...] | None,
    ca: tuple[str, ...],
    proxy: str | None,
    accelerator: str,
    firmware: str,
    cloud_init: Path | None,
    ignition: Path | None,
    lazy: bool,
) -> None:
    """Fetch the disk that REF means, and make a machine of it.

    The disk is verified, and shared by all machines made from it. The machine's own changes go to a file of their own,
    and its containers and volumes to a data disk. Data that was kept when a machine of this name was removed is used
    again. Unless options say otherwise, it has 2 processors, 2048 MiB of memory, and a data disk of up to 100 GiB.
    """
    from haulout.machine import Accelerator, Firmware  # noqa: PLC0415
    from haulout.machines import machine_init  # noqa: PLC0415 - loads decompression and the HTTP client

    with session.progress() as progress:
        made = machine_init(
            name,
            reference,
            cpus=cpus,
            memory=memory,
            disk=disk,
            mounts=mounts or (),
            forwards=forwards or (),
            ca=ca,
            proxy=proxy or "host",
            cloud_init=cloud_init,
            ignition=ignition,
            accelerator=Accelerator(accelerator),
            firmware=Firmware(firmware),
            lazy=lazy,
            connections=session.connections(),
            progress=progress,
        )
    session.result(
        "machine init",
        made.to_dict(),
        (
            f"made machine {name}: {common.amounts(made.machine.resources)}",
            f"  start it with: haulout machine start {name}{' --lazy' * lazy}",
        ),
        brief=name,
    )
