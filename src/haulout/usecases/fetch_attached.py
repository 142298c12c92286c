"""Fetch the files that are attached to what a reference names."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.content import open_verified
from haulout.documents import Document
from haulout.errors import ContentError, NotFoundError, UsageError
from haulout.local import replacing, storage_errors
from haulout.places import Places
from haulout.progress import NullProgress, Traffic
from haulout.resolve import is_plain_name
from haulout.usecases.arguments import path_of, reference_of

if TYPE_CHECKING:
    import os

    from haulout.disk import DiskType
    from haulout.oci import Architecture, Digest, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.resolve import Attached

from haulout.usecases.discover import choose, discovered

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FetchResult(Document):
    """What was fetched."""

    json_members: ClassVar = ("reference", "pinned", "artifact_type", "files", "*traffic", "seconds")

    reference: Reference
    pinned: Reference
    """What is attached, by digest."""
    artifact_type: str
    files: tuple[Path, ...]
    traffic: Traffic
    seconds: float


def fetch_attached(
    reference: str | Reference,
    *,
    artifact_type: str | None = None,
    digest: str | Digest | None = None,
    output: str | os.PathLike[str] | None = None,
    architecture: str | Architecture | None = None,
    disk_type: str | DiskType | None = None,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> FetchResult:
    """Fetch the files of the one thing of a type that is attached to ``reference``, verified.

    Args:
        reference: to which it is attached.
        artifact_type: its type.
        digest: its digest, or the beginning of it, where several are of that type.
        output: a directory, or the name of the only file; None: the files' titles in the current directory. A file
            that is there is replaced, once the new one is whole.
        architecture: with this or ``disk_type``, only what is attached to that disk.
        disk_type: see ``architecture``.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        NotFoundError: nothing of that type is attached, or several are and none was chosen.
        ContentError: a title is not a plain file name; or a file is not what its manifest says.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    begun = time.monotonic()
    reference, progress = reference_of(reference), progress or NullProgress()
    if artifact_type is None and digest is None:
        raise UsageError("which of what is attached?", hint="name its type with --type, or its digest with --digest")
    with Places(connections, progress) as places:
        found = discovered(places, reference, None, None, architecture, disk_type)
        one = choose(found, artifact_type, None if digest is None else str(digest))
        targets = _targets(one, None if output is None else path_of(output))
        store = places.open(reference)
        with ExitStack() as whole:
            # All files appear, or none does.
            for file, target in zip(one.files, targets, strict=True):
                whole.enter_context(storage_errors(target))
                out = whole.enter_context(replacing(target))
                with (
                    progress.task(target.name, file.size) as task,
                    storage_errors(target),
                    open_verified(store, file) as source,
                ):
                    while data := source.read(_CHUNK):
                        out.write(data)
                        task.advance(len(data))
        return FetchResult(
            reference, reference.at(one.digest), one.artifact_type, targets, places.traffic, time.monotonic() - begun
        )


def _targets(one: Attached, output: Path | None) -> tuple[Path, ...]:
    if not one.files:
        raise NotFoundError(f"{one.artifact_type} {one.digest.short} holds no file")
    if output is not None and not output.is_dir():
        if len(one.files) > 1:
            raise UsageError(f"there are {len(one.files)} files, and {output} is not a directory")
        return (output,)
    names = [file.title if file.title is not None else file.digest.short for file in one.files]
    for name in names:
        if not is_plain_name(name):
            raise ContentError(
                f"a file is titled {name[:80]!r}, which is not a plain file name", hint="name the file with --output"
            )
    if len(set(names)) != len(names):
        raise ContentError(f"several files of {one.digest.short} have one title")
    return tuple((output or Path()) / name for name in names)
