"""``haulout cw build``: an encrypted image out of an image or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.cw import params
from haulout.cli.inspect import subject_of
from haulout.cli.params import ReferenceParam
from haulout.cli.terminal import size
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout import BuildRequest, BuiltWorkload
    from haulout.cli.session import Session
    from haulout.oci import Reference
    from haulout.workload import Measurement

_WITHOUT_ES = "sev_no_es"
_SAME = (
    *("passphrase_out", "workload_id", "cpus", "memory", "slop", "added", "base", "broker_key", "sev_chain"),
    *("policy_out", "created"),
)
"""Parameters that a request has under the same names."""


@click.command(
    "build",
    cls=Verb,
    examples=(
        Example("haulout cw build root oci:secret:1 --passphrase-out key", "encrypt a folder, with a new passphrase"),
        Example(
            "haulout cw build root oci:secret:2 --type tdx --passphrase-file key --policy-out policy.toml",
            "encrypt for TDX with your own passphrase, and write a policy for it",
        ),
    ),
)
@click.argument("source", metavar="IMAGE", type=click.Path(readable=False))
@click.argument("dest", metavar="DEST", type=ReferenceParam())
@click.option(
    "-t",
    "--type",
    "tee",
    metavar="TEE",
    type=params.TeeParam(),
    help="TEE of the guest: snp, tdx, cca, sev or sev_no_es.  [default: snp]",
)
@click.option("--passphrase-file", metavar="FILE", help="Read the passphrase from FILE, or - for standard input.")
@click.option(
    "--passphrase-out", metavar="FILE", type=Path, help="Write a new passphrase to FILE, which must not exist."
)
@params.no_passphrase
@click.option(
    "-u",
    "--attestation-url",
    metavar="URL",
    help="URL of the key broker: the passphrase is registered there, and the guest fetches it from there.",
)
@click.option(
    "--attestation-plain-http",
    is_flag=True,
    help="Send the passphrase to the broker over plain HTTP, even to another machine.",
)
@click.option("--ignore-attestation-errors", is_flag=True, default=None, help="Continue if registering fails.")
@click.option(
    "-w", "--workload-id", metavar="ID", type=params.WorkloadParam(), help="Workload id.  [default: 32 random digits]"
)
@click.option("-c", "--cpus", metavar="N", type=click.IntRange(1, 255), help="Processors of the guest.  [default: 2]")
@click.option(
    "-m",
    "--memory",
    metavar="MB",
    type=click.IntRange(1, (1 << 32) - 1),
    help="Memory of the guest, in MiB.  [default: 512]",
)
@click.option(
    "-s",
    "--slop",
    metavar="ROOM",
    help="Free space in the root: N%, a size such as 100MB, or several joined by +.  [default: 25%]",
)
@click.option(
    "--add-file",
    "added",
    metavar="SRC[:DST]",
    type=params.AddedFileParam(),
    multiple=True,
    help="Add a file to the root, under its own path if DST is not given. May be repeated.",
)
@click.option(
    "-b",
    "--base-image",
    "base",
    metavar="REF",
    type=ReferenceParam(),
    help="Add the layers of this image below; they are not encrypted.",
)
@click.option(
    "--broker-key",
    metavar="FILE",
    type=Path,
    help="Public key of the broker, in PEM or as a JSON Web Key; it becomes part of the binding.",
)
@click.option(
    "--sev-chain",
    metavar="FILE",
    type=Path,
    help="For SEV: the platform's certificates, from 'sevctl export -f'.",
)
@click.option(
    "-f",
    "--firmware-library",
    metavar="FILE",
    type=Path,
    help="Measure libkrun's firmware in this library, with the program krunfw_measurement.",
)
@click.option("--ovmf", metavar="FILE", type=Path, help="Measure a guest that boots this firmware, built for SEV-SNP.")
@click.option("--kernel", metavar="FILE", type=Path, help="With --ovmf: the kernel.")
@click.option("--initrd", metavar="FILE", type=Path, help="With --ovmf: the initrd.")
@click.option("--append", metavar="TEXT", default="", help="With --ovmf: the kernel command line.")
@click.option(
    "--vcpu-type",
    metavar="MODEL",
    default="EPYC-v4",
    show_default=True,
    help="With --ovmf: the processor model, as QEMU names it.",
)
@click.option("--measurement", metavar="HEX", help="The launch measurement, if you know it.")
@click.option("--policy-out", metavar="FILE", type=Path, help="Write a policy for 'haulout evidence verify'.")
@click.option(
    "--timestamp",
    "created",
    metavar="SECONDS",
    type=click.IntRange(0, (1 << 32) - 1),
    envvar="SOURCE_DATE_EPOCH",
    help="Time of creation, in seconds since 1970.  [default: $SOURCE_DATE_EPOCH, or now]",
)
@click.option(
    "--cw",
    "keys",
    metavar="KEY=VALUE,…",
    type=params.KeyValuesParam(),
    default=None,
    help="The same options as keys of 'buildah build --cw'.",
)
@options.uploads
@options.common
@click.pass_obj
def command(session: Session, /, source: str, dest: Reference, keys: dict[str, Any] | None, **given: Any) -> int:
    """Encrypt an image or a folder for a confidential machine.

    IMAGE is oci:DIR:TAG, a registry reference, or a folder with a root file system. The disk is made and encrypted in
    one pass, straight into DEST: nothing unencrypted is written anywhere, and no privilege is needed.

    The disk opens with its passphrase. Have one made and written to a file (--passphrase-out), bring your own
    (--passphrase-file), or name a broker to register it with (--attestation-url). Never write it on a command line,
    where other processes can read it.

    The image is bound to its workload: only evidence that carries the printed value as HOST_DATA (SEV-SNP), MRCONFIGID
    (TDX) or personalization value (CCA) proves that a machine runs this disk.
    """
    from haulout import build_workload  # noqa: PLC0415 - loads the cryptography

    request = request_of(source, dest, merged(given, keys or {}))
    with session.progress() as progress:
        built = build_workload(request, connections=session.connections(), progress=progress)
    session.result("cw build", built.to_dict(), lines(built), brief=str(built.pinned))
    return 0


def merged(given: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    """Join options and keys of ``--cw``.

    Raises:
        UsageError: a value is given twice.
    """
    for name in keys:
        if given.get(name) is not None:
            raise UsageError(f"{name.replace('_', '-')} is given both in --cw and as an option", hint="give it once")
    return given | keys


def request_of(source: str, dest: Reference, given: dict[str, Any]) -> BuildRequest:
    """Turn what was given into a request; what was not has its default.

    Raises:
        UsageError: options contradict each other.
    """
    from haulout import Broker, BuildRequest  # noqa: PLC0415
    from haulout.workload import Tee, read_passphrase  # noqa: PLC0415

    values = {name: given[name] for name in _SAME if given[name] is not None}
    if given["attestation_url"]:
        values["broker"] = Broker(
            given["attestation_url"],
            plain_http=given["attestation_plain_http"],
            optional=bool(given["ignore_attestation_errors"]),
        )
    if given["passphrase_file"]:
        values["passphrase"] = read_passphrase(given["passphrase_file"])
    tee = given["tee"] or Tee.SNP.value
    values["tee"] = Tee.SEV if tee == _WITHOUT_ES else Tee(tee)
    return BuildRequest(
        source=subject_of(source), target=dest, es=tee != _WITHOUT_ES, measurement=measurement_of(given), **values
    )


def measurement_of(given: dict[str, Any]) -> Measurement | None:
    """Return how the launch measurement is known; None: it is not.

    Raises:
        UsageError: in several ways, or parts of one are missing.
    """
    from haulout.workload import GivenMeasurement, KrunGuest, SnpGuest  # noqa: PLC0415

    ways = [name for name in ("measurement", "firmware_library", "ovmf") if given[name]]
    if len(ways) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in ways)
        raise UsageError(f"{names} cannot be combined: each gives the measurement", hint="use one of them")
    if given["ovmf"]:
        return SnpGuest(given["ovmf"], given["vcpu_type"], given["kernel"], given["initrd"], given["append"])
    if given["kernel"] or given["initrd"] or given["append"]:
        raise UsageError("--kernel, --initrd and --append can be used only with --ovmf")
    if given["firmware_library"]:
        return KrunGuest(given["firmware_library"])
    return GivenMeasurement(given["measurement"]) if given["measurement"] else None


def lines(built: BuiltWorkload) -> Iterator[str]:
    """Write a build for people."""
    from haulout.cli.cw import report  # noqa: PLC0415 - not needed for --json

    disk = built.image.disk
    yield f"built {built.reference} for {built.config.tee.upper()}"
    yield (
        f"  disk            {size(disk.size)}: {size(disk.content_size)} of files "
        f"in an ext4 of {size(disk.file_system_size)}"
    )
    yield from report.binding_lines(built.image.binding)
    if built.measurement is not None:
        yield f"  measurement     {built.measurement.hex()}"
    if built.registered:
        yield f"  passphrase      registered with {built.config.attestation_url}"
    if built.passphrase_file:
        yield f"  passphrase      {built.passphrase_file}: keep it, and keep it secret"
    if built.policy:
        yield f"  policy          {built.policy}"
    yield str(built.pinned)
