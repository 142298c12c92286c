"""``haulout cw run``: a confidential image under QEMU, with an emulated TEE."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.cw.params import ForwardParam
from haulout.cli.inspect import subject_of
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.cli.session import Session
    from haulout.guests import WorkloadRequest, WorkloadRun

_NO = 1
_HARDWARE = ("krun", "qemu-snp", "qemu-tdx")


@click.command(
    "run",
    cls=Verb,
    examples=(
        Example("haulout cw run oci:secret:1 --guest guest -p 8080:80", "boot an image, and forward a port to it"),
        Example(
            "haulout cw run oci:secret:1 --guest guest --unpack disk --print-arguments qemu-snp",
            "show how QEMU boots it on SEV-SNP",
        ),
    ),
)
@click.argument("subject", metavar="IMAGE", type=click.Path(readable=False))
@click.option(
    "--guest", metavar="DIR", type=click.Path(path_type=Path), required=True, help="What 'haulout cw guest' built."
)
@click.option("--broker-url", metavar="URL", help="The key broker.  [default: the URL in the image]")
@click.option(
    "--resource",
    metavar="REPO/TYPE/TAG",
    help="The broker's resource that holds the passphrase.  [default: default/key/ID of the workload]",
)
@click.option("--append", metavar="TEXT", default="", help="Add to the kernel's command line, which is measured.")
@click.option(
    "-p",
    "--publish",
    "forwards",
    metavar="HOST:GUEST",
    type=ForwardParam(),
    multiple=True,
    help="Forward a TCP port of 127.0.0.1 to the guest. May be repeated.",
)
@click.option(
    "-c", "--cpus", metavar="N", type=click.IntRange(1, 255), help="Processors.  [default: as the image says]"
)
@click.option(
    "-m",
    "--memory",
    metavar="MB",
    type=click.IntRange(256, (1 << 32) - 1),
    help="Memory, in MiB.  [default: as the image says, at least 512]",
)
@click.option(
    "--unpack", metavar="DIR", type=click.Path(path_type=Path), help="Unpack the image into DIR, and leave it there."
)
@click.option(
    "--emulator",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder with the keys of the emulated TEE.  [default: emulator in the guest's folder]",
)
@click.option("--time-limit", "seconds", metavar="SECONDS", type=click.IntRange(1), help="Switch it off after SECONDS.")
@click.option(
    "--print-arguments",
    "hardware",
    metavar="|".join(_HARDWARE),
    type=click.Choice(_HARDWARE),
    help="Print the command line for real hardware, and run nothing.",
)
@options.registry
@options.common
@click.pass_obj
def command(
    session: Session, /, subject: str, guest: Path, emulator: Path | None, hardware: str | None, **given: Any
) -> int:
    """Run a confidential image under QEMU with an emulated TEE.

    IMAGE is oci:DIR:TAG, a registry reference, or a folder that one was unpacked into. The guest attests to the key
    broker, unlocks the disk and starts the workload. The TEE is emulated: it measures the kernel, the initramfs and the
    command line that QEMU gets, and signs for the binding. Nothing protects the guest from this machine, and only a
    policy for tests accepts such evidence.

    A broker on 127.0.0.1 is reached. Exit status is that of the workload, and 1 if the guest refuses to start it.
    """
    from haulout.guests import Hardware, WorkloadRequest, workload_arguments  # noqa: PLC0415

    values = {name: value for name, value in given.items() if value is not None}
    request = WorkloadRequest(subject=subject_of(subject), guest=guest, **values)
    if hardware is not None:
        with session.progress() as progress:
            argv = workload_arguments(request, Hardware(hardware), connections=session.connections(), progress=progress)
        session.result("cw run", {"arguments": argv}, (shlex.join(argv),))
        return 0
    return _run(session, request, emulator or guest / "emulator")


def _run(session: Session, request: WorkloadRequest, emulator: Path) -> int:
    from haulout.cli.cw.emulated import emulator_in  # noqa: PLC0415 - loads the cryptography
    from haulout.guests import run_workload  # noqa: PLC0415

    # With --json, stdout is the result.
    target = sys.stderr.buffer if session.as_json else sys.stdout.buffer

    def console(line: bytes) -> None:
        target.write(line)
        target.flush()

    with session.progress() as progress:
        run = run_workload(
            request,
            emulator_in(emulator),
            console=console,
            told=lambda step, text: None,  # noqa: ARG005 - the console says the same
            connections=session.connections(),
            progress=progress,
        )
    session.result("cw run", run.to_dict(), lines(run))
    return _NO if run.rule is not None or run.code is None else run.code


def lines(run: WorkloadRun) -> Iterator[str]:
    """Write how a run ended, for people."""
    if run.rule is not None:
        verb = "died" if run.started else "was not started"
        yield f"workload {run.workload_id} {verb}: {run.reason}"
        yield f"  rule    {run.rule}"
    else:
        yield f"workload {run.workload_id} ended with exit code {run.code}"
    yield f"  time    {run.seconds:.1f} s" + (
        "" if run.start_seconds is None else f", started after {run.start_seconds:.1f} s"
    )
