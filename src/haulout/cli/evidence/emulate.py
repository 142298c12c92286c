"""``haulout evidence emulate``: evidence without the hardware, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.evidence.params import BytesParam, read_file
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from haulout.cli.session import Session

_LARGEST_BOOT = 1 << 30


@click.command(
    "emulate",
    cls=Verb,
    examples=(
        Example("haulout evidence emulate cca lab --boot disk.raw", "make a token of a realm that booted a file"),
        Example(
            "haulout evidence verify lab/evidence.bin --cert lab/certificates.pem --policy lab/policy.toml",
            "and judge it by the policy made with it",
        ),
    ),
)
@click.argument("kind", metavar="snp|tdx|cca", type=click.Choice(["snp", "tdx", "cca"]))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--boot",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="A file that the guest boots: firmware, kernel, initrd. May be repeated; the order counts.",
)
@click.option("--command-line", metavar="TEXT", default="", help="The kernel's command line, which is measured, too.")
@click.option(
    "--report-data",
    metavar="HEX",
    type=BytesParam(64),
    help="The 64 bytes that the guest was asked to carry; by default zeros.",
)
@click.option(
    "--workload",
    metavar="HEX",
    type=BytesParam(32, 48, 64),
    help="What binds the workload: HOST_DATA (32 bytes), MRCONFIGID (48) or personalization value (64).",
)
@options.common
@click.pass_obj
def command(
    session: Session,
    kind: str,
    folder: Path,
    boot: tuple[str, ...],
    command_line: str,
    report_data: bytes | None,
    workload: bytes | None,
) -> int:
    """Make evidence without the hardware, for tests.

    DIR gets evidence.bin, certificates.pem (or, for TDX, collateral.json), and policy.toml, which accepts this evidence
    and no other. The keys are kept in DIR: the same platform signs next time. No policy accepts it unless it is marked
    as one for tests and names this platform's root.
    """
    from haulout import emulator  # noqa: PLC0415 - loads the cryptography
    from haulout.emulator import (  # noqa: PLC0415
        BINDING,
        scene,
        store,
    )
    from haulout.tee import Kind  # noqa: PLC0415

    which = Kind(kind)
    if workload is not None and len(workload) != BINDING[which]:
        raise UsageError(f"--workload of {which} has {2 * BINDING[which]} hexadecimal digits, not {2 * len(workload)}")
    now = datetime.now(UTC)
    booted = emulator.Boot(tuple(read_file(name, _LARGEST_BOOT) for name in boot), command_line)
    platform = store.open_or_make(folder, which, now)
    made = scene(platform, booted, now, report_data=report_data or bytes(64), workload=workload)
    for name, data in made.files.items():
        store.keep(folder, name, data)
    paths = {name.partition(".")[0]: str(folder / name) for name in made.files}
    root = store.root_of(platform).fingerprint()
    session.result(
        "evidence emulate",
        {"kind": kind, "root_fingerprint": root, "measurement": made.measurement.hex(), "files": paths},
        (
            f"{folder}: evidence of an emulated {kind} platform, for tests only",
            f"  measurement  {made.measurement.hex()}",
            f"  root         {root}",
            *(f"  {name:<12} {path}" for name, path in paths.items()),
        ),
        brief="",
    )
    return 0
