"""Open the disk of a workload: list what is in it, write it as a plain disk, take files out of it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from haulout import workload
from haulout.documents import Document
from haulout.errors import UsageError
from haulout.places import open_store
from haulout.progress import NullProgress
from haulout.registry import ConnectionOptions
from haulout.usecases.arguments import reference_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from haulout.oci import Reference
    from haulout.progress import Progress
    from haulout.workload import Extraction, FoundFile, UnlockedContent


@dataclass(frozen=True, slots=True)
class OpenedWorkload(Document):
    """What is in a disk.

    Attributes:
        size: bytes of the plain disk: the file system, and dm-verity's hashes where the image is bound.
        file_system_size: bytes of the file system alone, with which it begins.
        verified: whether every block was compared with the root hash in the image's binding.
        files: everything in it; empty where the disk was written to a file.
        output: the file; None where there is none.
    """

    size: int
    file_system_size: int
    verified: bool
    files: tuple[FoundFile, ...]
    output: Path | None

    json_members: ClassVar = ("size", "file_system_size", "verified", "output", "files")


@dataclass(frozen=True, slots=True)
class ExtractedWorkload(Document):
    """What was taken out of a disk.

    Attributes:
        folder: where it is.
        verified: whether every block was compared with the root hash in the image's binding.
        owners: whether files have the owners that they have in the disk.
        extraction: how much of it there is.
    """

    folder: Path
    verified: bool
    owners: bool
    extraction: Extraction

    json_members: ClassVar = ("folder", "verified", "owners", "*extraction")


def open_workload(
    subject: str | Path | Reference,
    passphrase: bytes,
    *,
    output: str | os.PathLike[str] | None = None,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> OpenedWorkload:
    """Unlock the disk of a workload, verify all of it, and list what is in it, or write it to a file.

    Args:
        subject: an image, as text or parsed; or a disk by itself, as a path.
        passphrase: of the disk.
        output: where the plain disk goes, readable by its owner only; it is replaced when it is complete. None: nothing
            is written.
        connections: how registries are reached.
        progress: receives the progress of the work.

    Raises:
        InvalidWorkload: it breaks a rule.
        WrongPassphrase: the passphrase does not open it.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    progress = progress or NullProgress()
    with _unlocked(subject, passphrase, connections, progress) as content:
        target = None if output is None else Path(output)
        if target is not None:
            workload.write_disk(content, target, progress)
        files = tuple(content.files()) if target is None else ()
        return OpenedWorkload(content.size, content.system.size, content.verified, files, target)


def extract_workload(
    subject: str | Path | Reference,
    passphrase: bytes,
    folder: str | os.PathLike[str],
    *,
    paths: Sequence[str] = (),
    owners: bool | None = None,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> ExtractedWorkload:
    """Unlock the disk of a workload, verify all of it, and take files out of it.

    Args:
        subject: an image, as text or parsed; or a disk by itself, as a path.
        passphrase: of the disk.
        folder: where they go; nothing must be there. It appears when it is complete.
        paths: which files and folders; none: all.
        owners: whether to give files the owners that they have in the disk; None: if this is run by root.
        connections: how registries are reached.
        progress: receives the progress of the work.

    Raises:
        InvalidWorkload: it breaks a rule.
        WrongPassphrase: the passphrase does not open it.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    progress = progress or NullProgress()
    target, same = Path(folder), os.geteuid() == 0 if owners is None else owners
    with _unlocked(subject, passphrase, connections, progress) as content:
        extraction = workload.extract(content, target, paths, owners=same, progress=progress)
        return ExtractedWorkload(target, content.verified, same, extraction)


@contextmanager
def _unlocked(
    subject: str | Path | Reference, passphrase: bytes, connections: ConnectionOptions | None, progress: Progress
) -> Iterator[UnlockedContent]:
    if isinstance(subject, Path):
        if subject.is_dir():
            raise UsageError(f"{subject} is a directory", hint="name a disk.img, or an image layout as oci:DIR:TAG")
        with workload.unlock(subject, passphrase, progress) as content:
            yield content
        return
    reference = reference_of(subject)
    with (
        open_store(reference, connections or ConnectionOptions(), progress) as store,
        workload.unlock(workload.Image(store, reference), passphrase, progress) as content,
    ):
        yield content
