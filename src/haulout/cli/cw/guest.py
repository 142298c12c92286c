"""``haulout cw guest``: the kernel and initramfs that unlock confidential images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from haulout.cli.session import Session


@click.command(
    "guest",
    cls=Verb,
    examples=(Example("haulout cw guest guest", "build kernel and initramfs into the folder guest"),),
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--kernel-package",
    metavar="NAME",
    help="Debian package of the kernel.  [default: linux-image-cloud-amd64 or -arm64]",
)
@options.common
@click.pass_obj
def command(session: Session, folder: Path, kernel_package: str | None) -> int:
    """Build the guest that unlocks confidential images.

    DIR gets vmlinuz, initramfs and guest.json. The packages of Debian come from the sources of this machine's apt-get;
    nothing is installed, and no privilege is needed. The same packages and the same haulout give the same bytes, and so
    the same launch measurement.

    The guest reads the binding, attests to the key broker, opens LUKS and dm-verity, and starts the workload:
    docs/confidential.md.
    """
    from haulout.guests import build_guest  # noqa: PLC0415 - not needed for --help

    with session.progress() as progress:
        made = build_guest(folder, kernel_package=kernel_package, progress=progress)
    session.result(
        "cw guest",
        made.to_dict(),
        (
            f"{folder}: a guest of {len(made.packages)} packages",
            f"  kernel        {made.kernel}",
            f"  initramfs     {made.initramfs}: {size(made.size)}",
            f"  command line  {made.command_line}",
        ),
        brief=str(folder),
    )
    return 0
