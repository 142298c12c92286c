"""Inspect a workload: what its image or disk is, and whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from haulout.errors import UsageError
from haulout.places import open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions
from haulout.usecases.arguments import reference_of
from haulout.workload import Image, inspect_disk, inspect_image

if TYPE_CHECKING:
    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.workload import Findings


def inspect_workload(
    subject: str | Path | Reference,
    *,
    passphrase: bytes | None = None,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> Findings:
    """Check an image or disk of a confidential workload; the disk is opened in memory, if the passphrase is given.

    Args:
        subject: an image, as text or parsed; or a disk by itself, as a path.
        passphrase: of the disk; None: only what is not encrypted is checked.
        connections: how registries are reached.
        progress: receives the progress of the work.

    Raises:
        NotFoundError: there is no such image or file.
        ContentError: it is neither an image nor a disk of a confidential workload, or damaged.
        WrongPassphrase: it does not open the disk.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    progress = progress or NullProgress()
    if isinstance(subject, Path):
        if subject.is_dir():
            raise UsageError(f"{subject} is a directory", hint="name a disk.img, or an image layout as oci:DIR:TAG")
        return inspect_disk(subject, passphrase, progress)
    reference = reference_of(subject)
    with open_store(reference, connections or ConnectionOptions(), progress) as store:
        return inspect_image(Image(store, reference), passphrase, progress)
