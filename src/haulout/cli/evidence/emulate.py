"""``haulout evidence emulate``: evidence without the hardware, for tests."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.evidence.params import BytesParam
from haulout.cli.tree import Example, Verb
from haulout.errors import HauloutError

if TYPE_CHECKING:
    from haulout.cli.session import Session


def _kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Complete the TEEs that can be emulated; without the packages for them, none."""
    with suppress(HauloutError):
        from haulout.emulator import PLATFORMS  # noqa: PLC0415 - loads the cryptography

        return [kind for kind in PLATFORMS if kind.startswith(incomplete)]
    return []


@click.command(
    "emulate",
    cls=Verb,
    examples=(
        Example("haulout evidence emulate cca lab --boot disk.raw", "make a CCA token of a realm that booted a file"),
        Example(
            "haulout evidence verify lab/evidence.bin --cert lab/certificates.pem --policy lab/policy.toml",
            "verify it with the policy made with it",
        ),
    ),
)
@click.argument("kind", metavar="snp|tdx|cca", shell_complete=_kinds)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--boot",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="A file that the guest boots: firmware, kernel, initrd. May be repeated; the order matters.",
)
@click.option("--command-line", metavar="TEXT", default="", help="The kernel's command line, which is also measured.")
@click.option(
    "--report-data",
    metavar="HEX",
    type=BytesParam(64),
    default="00" * 64,
    help="Report data to put into the evidence, 64 bytes.  [default: zeros]",
)
@click.option(
    "--workload",
    metavar="HEX",
    type=BytesParam(32, 48, 64),
    help="The value that binds the workload: HOST_DATA (32 bytes), MRCONFIGID (48) or personalization value (64).",
)
@options.common
@click.pass_obj
def command(
    session: Session,
    kind: str,
    folder: Path,
    boot: tuple[str, ...],
    command_line: str,
    report_data: bytes,
    workload: bytes | None,
) -> int:
    """Make evidence without the hardware, for tests.

    DIR gets evidence.bin, certificates.pem (or, for TDX, collateral.json), and policy.toml,
    which accepts this evidence and no other. The keys are kept in DIR, so the same platform signs next time. Only a
    policy that is marked as one for tests and names this platform's root accepts such evidence.
    """
    from haulout.emulator import emulate  # noqa: PLC0415 - loads the cryptography

    made = emulate(kind, folder, boot=boot, command_line=command_line, report_data=report_data, workload=workload)
    session.result(
        "evidence emulate",
        made.to_dict(),
        (
            f"{folder}: evidence of an emulated {kind} platform, for tests only",
            f"  measurement  {made.measurement.hex()}",
            f"  root         {made.root_fingerprint}",
            *(f"  {name:<12} {path}" for name, path in made.files.items()),
        ),
        brief="",
    )
    return 0
