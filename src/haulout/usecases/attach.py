"""Attach files to what a reference names (distribution-spec, "Listing Referrers")."""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.documents import Document
from haulout.errors import UsageError
from haulout.local import open_regular, storage_errors
from haulout.oci import EMPTY, Descriptor, Digest, empty_config_manifest, mediatype
from haulout.oci import annotations as keys
from haulout.places import Places
from haulout.progress import NullProgress, Traffic
from haulout.resolve import is_plain_name
from haulout.usecases.arguments import paths_of, reference_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions

from haulout.usecases.discover import subject_of

_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
"""RFC 6838, section 4.2."""
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class AttachResult(Document):
    """What was attached."""

    json_members: ClassVar = (
        *("reference", "subject", "manifest", "pinned", "artifact_type", "files", "dry_run", "*traffic", "seconds"),
    )

    reference: Reference
    subject: Digest
    """What it is attached to."""
    manifest: Digest
    """Of what is attached."""
    artifact_type: str
    files: tuple[Descriptor, ...]
    dry_run: bool
    traffic: Traffic
    seconds: float

    @property
    def pinned(self) -> Reference:
        """What is attached, by digest."""
        return self.reference.at(self.manifest)


def attach(  # noqa: PLR0913 - each is one word of the request
    reference: str | Reference,
    files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    artifact_type: str,
    media_type: str = mediatype.OCTETS,
    annotations: Mapping[str, str] | None = None,
    architecture: str | Architecture | None = None,
    disk_type: str | DiskType | None = None,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> AttachResult:
    """Attach files to what ``reference`` names; attaching the same again changes nothing.

    Args:
        reference: what they are attached to: the index, or the single manifest.
        files: in their order; each is titled by its name.
        artifact_type: what they are together, a media type.
        media_type: of each file.
        annotations: of the manifest.
        architecture: with this or ``disk_type``, they are attached to that disk.
        disk_type: see ``architecture``.
        dry_run: whether to write nothing.
        connections: how registries are reached.
        progress: receives the work.

    Raises:
        NotFoundError: there is no such reference, disk or file.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    begun = time.monotonic()
    reference, progress, paths = (
        reference_of(reference),
        progress or NullProgress(),
        paths_of([files] if isinstance(files, str | os.PathLike) else files),
    )
    for text in (artifact_type, media_type):
        if _TYPE.fullmatch(text) is None:
            raise UsageError(f"{text[:100]!r} is not a media type", hint="for example application/spdx+json")
    if not paths:
        raise UsageError("no file to attach", hint="name at least one")
    layers = _described(paths, media_type)
    with Places(connections, progress) as places:
        store = places.open(reference, push=not dry_run, create=False)
        subject = subject_of(places, reference, architecture, disk_type)
        manifest = empty_config_manifest(
            layers, artifact_type=artifact_type, subject=subject.descriptor.bare(), annotations=dict(annotations or {})
        )
        data = manifest.to_bytes()
        if not dry_run:
            for path, layer in zip(paths, layers, strict=True):
                with progress.task(path.name, layer.size) as task:
                    store.push_blob(layer, partial(_opened, path), task)
            store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
            store.push_manifest(data, manifest.media_type)
        return AttachResult(
            reference,
            subject.descriptor.digest,
            Digest.of(data),
            artifact_type,
            layers,
            dry_run,
            places.traffic,
            time.monotonic() - begun,
        )


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _described(paths: tuple[Path, ...], media_type: str) -> tuple[Descriptor, ...]:
    found = []
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path} is a directory", hint="attach files, or a tar archive of it")
        name = path.name
        if not is_plain_name(name):
            raise UsageError(f"{name[:80]!r} cannot be a title", hint="use letters, digits and . _ - + @ ~")
        digest, size = hashlib.sha256(), 0
        with open_regular(path) as fd, storage_errors(path), open(fd, "rb", closefd=False) as file:
            while data := file.read(_CHUNK):
                digest.update(data)
                size += len(data)
        found.append(Descriptor(media_type, Digest(digest.hexdigest()), size, {keys.TITLE: name}))
    if len({each.title for each in found}) != len(found):
        raise UsageError("several files have one name", hint="rename one, or attach them apart")
    return tuple(found)
