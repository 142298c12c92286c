"""``haulout cw build``: an encrypted image out of an image or a folder."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haulout.cli import options
from haulout.cli.cw import params
from haulout.cli.inspect import subject_of
from haulout.cli.params import ReferenceParam
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from haulout.cli.session import Session
    from haulout.oci import Reference

_DEFAULTS = {"tee": "snp", "cpus": 2, "memory": 512, "slop": "25%"}


def _refuse(context: click.Context, parameter: click.Parameter, value: Any) -> None:  # noqa: ARG001
    if value is not None and not context.resilient_parsing:
        params.refuse_passphrase("--passphrase", "--passphrase-file FILE")


@click.command(
    "build",
    cls=Verb,
    examples=(
        Example("haulout cw build root oci:secret:1 --passphrase-out key", "encrypt a folder, with a new passphrase"),
        Example(
            "haulout cw build root oci:secret:2 --type tdx --passphrase-file key --policy-out policy.toml",
            "for TDX, with a passphrase of yours, and write the policy that names it",
        ),
    ),
)
@click.argument("image", metavar="IMAGE", type=click.Path(readable=False))
@click.argument("dest", metavar="DEST", type=ReferenceParam())
@click.option(
    "-t", "--type", "tee", metavar="TEE", type=params.TeeParam(), help="snp (the default), tdx, cca, sev or sev_no_es."
)
@click.option("--passphrase-file", metavar="FILE", help="The passphrase of the disk is in FILE; - is standard input.")
@click.option(
    "--passphrase-out", metavar="FILE", help="Make a passphrase and keep it in FILE, which must not be there yet."
)
@click.option("-p", "--passphrase", metavar="TEXT", hidden=True, expose_value=False, callback=_refuse, help="Refused.")
@click.option(
    "-u",
    "--attestation-url",
    metavar="URL",
    help="The broker that the guest asks for its passphrase, and that is told of it now.",
)
@click.option(
    "--attestation-plain-http", is_flag=True, help="Tell it the passphrase over plain HTTP, even on another machine."
)
@click.option("--ignore-attestation-errors", is_flag=True, default=None, help="Go on where the broker cannot be told.")
@click.option("-w", "--workload-id", metavar="ID", type=params.WorkloadParam(), help="By default, 32 random digits.")
@click.option("-c", "--cpus", metavar="N", type=click.IntRange(1, 255), help="Processors of the guest; 2 by default.")
@click.option(
    "-m", "--memory", metavar="MB", type=click.IntRange(1, (1 << 32) - 1), help="Memory of the guest; 512 by default."
)
@click.option(
    "-s",
    "--slop",
    metavar="ROOM",
    help="Room to leave in the root: N%, sizes such as 100MB, or both with + between; 25% by default.",
)
@click.option(
    "--add-file",
    "added",
    metavar="SRC[:DST]",
    multiple=True,
    help="Add a file to the root, under its own path if DST is not given. May be repeated.",
)
@click.option(
    "-b",
    "--base-image",
    "base",
    metavar="REF",
    type=ReferenceParam(),
    help="Put the layers of this image below; they are not encrypted.",
)
@click.option(
    "--broker-key",
    metavar="FILE",
    help="Public key of the broker, in PEM or as a JSON Web Key: it becomes a part of the binding.",
)
@click.option(
    "--sev-chain", metavar="FILE", help="Certificate chain of the platform, for SEV: what 'sevctl export -f' writes."
)
@click.option(
    "-f",
    "--firmware-library",
    metavar="FILE",
    help="Measure libkrun's firmware in this library, by the program krunfw_measurement.",
)
@click.option("--ovmf", metavar="FILE", help="Measure a guest that boots this firmware, built for SEV-SNP.")
@click.option("--kernel", metavar="FILE", help="And this kernel.")
@click.option("--initrd", metavar="FILE", help="And this initrd.")
@click.option("--append", metavar="TEXT", default="", help="And this command line.")
@click.option(
    "--vcpu-type", metavar="MODEL", default="EPYC-v4", show_default=True, help="Its processors, in QEMU's words."
)
@click.option("--measurement", metavar="HEX", help="The launch measurement, where you know it.")
@click.option(
    "--policy-out", metavar="FILE", help="Write a policy for 'haulout evidence verify' that names this workload."
)
@click.option(
    "--timestamp",
    metavar="SECONDS",
    type=click.IntRange(0, (1 << 32) - 1),
    envvar="SOURCE_DATE_EPOCH",
    help="Time of creation, in seconds since 1970; by default $SOURCE_DATE_EPOCH, or now.",
)
@click.option(
    "--cw",
    "keys",
    metavar="KEY=VALUE,…",
    type=params.KeyValuesParam(),
    default=None,
    help="The same in the words of 'buildah build --cw'.",
)
@options.registry
@options.common
@click.pass_obj
def command(session: Session, /, image: str, dest: Reference, keys: dict[str, Any] | None, **given: Any) -> int:
    """Encrypt an image or a folder for a confidential machine.

    IMAGE is oci:DIR:TAG, a registry's reference, or a folder with a root file system. The disk is made and encrypted in
    one pass, straight into DEST: nothing plain is written anywhere, and no privilege is needed.

    Whoever is to open the disk needs its passphrase: name a file for it (--passphrase-out), or bring one
    (--passphrase-file), or name a broker that is told of it (--attestation-url). Never write it on a command line: that
    is no secret.

    The image is bound to its workload: evidence of a machine that carries the printed value as HOST_DATA (SEV-SNP),
    MRCONFIGID (TDX) or personalization value (CCA) speaks for this disk and no other.
    """
    from haulout.cli.cw import building  # noqa: PLC0415 - loads the cryptography

    begun = time.monotonic()
    wanted = merged(given, keys or {})
    with ExitStack() as stack:
        progress = stack.enter_context(session.progress())
        done = building.run(image, subject_of(image), dest, wanted, session, progress)
    session.result(
        "cw build",
        {**building.document(done), "seconds": round(time.monotonic() - begun, 3)},
        building.lines(done),
        brief=str(done.pinned),
    )
    return 0


def merged(given: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    """Join options and keys of ``--cw``; what neither says has its default.

    Raises:
        UsageError: both say the same thing.
    """
    for name in keys:
        if given.get(name) is not None:
            raise UsageError(f"--cw and an option both say {name.replace('_', '-')}", hint="say it once")
    found = given | keys
    found |= {name: value for name, value in _DEFAULTS.items() if found.get(name) is None}
    if not 1 <= found["cpus"] <= 255:
        raise UsageError(f"a guest with {found['cpus']} processors cannot be; 1 to 255 can")
    if not 1 <= found["memory"] < 1 << 32:
        raise UsageError(f"a guest with {found['memory']} MiB of memory cannot be; 1 to {(1 << 32) - 1} can")
    if found["passphrase_file"] and found["passphrase_out"]:
        raise UsageError("--passphrase-file brings a passphrase, --passphrase-out makes one", hint="use one of both")
    if not (found["passphrase_file"] or found["passphrase_out"] or found["attestation_url"]):
        raise UsageError(
            "nobody would know the passphrase of the disk",
            hint="use --passphrase-out FILE, --passphrase-file FILE, or --attestation-url URL",
        )
    if found["ignore_attestation_errors"] and not (found["passphrase_file"] or found["passphrase_out"]):
        raise UsageError(
            "if the broker is not told, nobody knows the passphrase", hint="use --passphrase-out FILE as well"
        )
    return found


def file_of(name: str | None) -> Path | None:
    """Turn an option's value into a path."""
    return None if name is None else Path(name)
