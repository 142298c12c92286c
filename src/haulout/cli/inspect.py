"""``haulout inspect``: what a reference holds, or what a local file is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verb
from haulout.errors import InvalidReference, NotFoundError, UsageError
from haulout.oci import parse_reference

if TYPE_CHECKING:
    from haulout.cli.session import Session
    from haulout.oci import Reference

_NO = 1
"""Exit code where the answer is no: the file must not be used."""


@click.command(
    "inspect",
    cls=Verb,
    examples=(
        Example("haulout inspect registry.example.com/machines:5.0", "show everything a reference holds"),
        Example("haulout inspect disk.qcow2", "show what a file is, and why it must not be used"),
        Example("haulout inspect oci:machines:5.0 --json", "the same for programs"),
    ),
)
@click.argument("subject", metavar="REF|FILE", type=click.Path(readable=False))
@options.registry
@options.common
@click.pass_obj
def command(session: Session, subject: str) -> int:
    """Show what a reference holds, or what a local file is.

    An argument that names an existing file, or begins with / or ./, is a file; any other is a reference. Write
    docker:// or ./ in front to be explicit.

    The file is not opened by other programs, and names inside it are not followed. Exit status is 1 where it has
    dangers that forbid its use, such as a backing file.
    """
    found = subject_of(subject)
    if isinstance(found, Path):
        from haulout.cli import disk_report  # noqa: PLC0415
        from haulout.disk import inspect  # noqa: PLC0415

        info = inspect(found)
        session.result("inspect", info.to_dict(), disk_report.lines(info))
        return 0 if info.safe else _NO
    from haulout import inventory  # noqa: PLC0415 - loads the HTTP client
    from haulout.cli import inventory_report  # noqa: PLC0415

    with session.progress() as progress:
        held = inventory(found, connections=session.connections(), progress=progress)
    session.result("inspect", held.to_dict(), inventory_report.lines(held))
    return 0


def subject_of(text: str) -> Path | Reference:
    """Decide whether text names a file or a reference.

    Raises:
        InvalidReference: it is neither a file nor a reference.
        NotFoundError: it can only be a file, and does not exist.
        UsageError: it is an image layout, which is a reference once it is written as one.
    """
    if text.startswith(("oci:", "oci-archive:", "docker://")):
        return parse_reference(text)
    path = Path(text)
    if os.path.lexists(path):
        if (path / "oci-layout").is_file():
            raise UsageError(f"{text} is an OCI image layout", hint=f"name a tag in it: oci:{text.rstrip('/')}:TAG")
        return path
    if text.startswith(("/", "./", "../")):
        raise NotFoundError(f"no such file: {text}")
    try:
        return parse_reference(text)
    except InvalidReference as exc:
        if "/" in text or not text:
            raise
        raise NotFoundError(
            f"no such file: {text}", hint="if you meant a reference, write HOST/NAME:TAG or oci:DIR:TAG"
        ) from exc
