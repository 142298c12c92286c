"""Attach files to what a reference names, find what is attached, fetch it, detach it (distribution-spec, Referrers)."""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.content import open_verified
from haulout.documents import Document
from haulout.errors import ContentError, NotFoundError, UsageError
from haulout.local import open_regular, replacing, storage_errors
from haulout.oci import EMPTY, Descriptor, Digest, empty_config_manifest, mediatype
from haulout.oci import annotations as keys
from haulout.places import Places
from haulout.progress import NullProgress, Traffic
from haulout.resolve import MAX_DEPTH, DiskQuery, is_plain_name, subjects
from haulout.usecases.arguments import architecture_of, disk_type_of, path_of, paths_of, reference_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import BinaryIO

    from haulout.content import StoredManifest
    from haulout.disk import DiskType
    from haulout.oci import Architecture, Reference
    from haulout.progress import Progress
    from haulout.registry import ConnectionOptions
    from haulout.resolve import Attached, Subject

_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
"""RFC 6838, section 4.2."""
_CHUNK: Final = 1 << 20
_SHORTEST: Final = 6
"""Hexadecimal digits that name an attached manifest, where no other begins with them."""


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


@dataclass(frozen=True, slots=True)
class Discovery(Document):
    """What is attached to a reference."""

    json_members: ClassVar = ("reference", "pinned", "subjects", "notes")

    reference: Reference
    pinned: Reference
    subjects: tuple[Subject, ...]
    """The reference itself, then those entries of its index that something is attached to."""
    notes: tuple[str, ...]

    @property
    def attached(self) -> tuple[Attached, ...]:
        """All of it, at every level."""
        return tuple(each for subject in self.subjects for each in subject.walk())


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


@dataclass(frozen=True, slots=True)
class DetachResult(Document):
    """What was detached."""

    json_members: ClassVar = ("reference", "pinned", "detached", "dry_run")

    reference: Reference
    pinned: Reference
    detached: tuple[Digest, ...]
    """The manifest, after what was attached to it."""
    dry_run: bool


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
        subject = _subject(places, reference, architecture, disk_type)
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


def discover(
    reference: str | Reference,
    *,
    artifact_type: str | None = None,
    depth: int | None = None,
    architecture: str | Architecture | None = None,
    disk_type: str | DiskType | None = None,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> Discovery:
    """Find what is attached to ``reference``: to its index, to each entry, and to what is attached.

    Args:
        reference: where to begin.
        artifact_type: only what is of this type, and what leads to it.
        depth: levels of what is attached to what is attached; None: all.
        architecture: with this or ``disk_type``, only what is attached to that disk.
        disk_type: see ``architecture``.
        connections: how registries are reached.
        progress: receives warnings.

    Raises:
        NotFoundError: there is no such reference or disk.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    reference = reference_of(reference)
    with Places(connections, progress or NullProgress()) as places:
        return _discovered(places, reference, artifact_type, depth, architecture, disk_type)


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
        found = _discovered(places, reference, None, None, architecture, disk_type)
        one = _only(found, artifact_type, None if digest is None else str(digest))
        targets = _targets(one, None if output is None else path_of(output))
        store = places.open(reference)
        for file, target in zip(one.files, targets, strict=True):
            with (
                progress.task(target.name, file.size) as task,
                storage_errors(target),
                replacing(target) as out,
                open_verified(store, file) as source,
            ):
                while data := source.read(_CHUNK):
                    out.write(data)
                    task.advance(len(data))
        return FetchResult(
            reference, reference.at(one.digest), one.artifact_type, targets, places.traffic, time.monotonic() - begun
        )


def detach(
    reference: str | Reference,
    digest: str | Digest,
    *,
    dry_run: bool = False,
    connections: ConnectionOptions | None = None,
    progress: Progress | None = None,
) -> DetachResult:
    """Delete one thing that is attached to ``reference``, and what is attached to that.

    Args:
        reference: to which it is attached.
        digest: of its manifest, or the beginning of it.
        dry_run: whether to delete nothing.
        connections: how registries are reached.
        progress: receives warnings.

    Raises:
        NotFoundError: nothing of that digest is attached.
        DeletionRefused: the place does not delete.
        HauloutError: see the tree in :mod:`haulout.errors`.
    """
    reference = reference_of(reference)
    with Places(connections, progress or NullProgress()) as places:
        store = places.open(reference, push=not dry_run, create=False)
        found = _discovered(places, reference, None, None, None, None)
        gone = [each.digest for each in reversed(tuple(_only(found, None, str(digest)).walk()))]
        for each in () if dry_run else gone:
            store.delete_manifest(each)
        return DetachResult(reference, found.pinned, tuple(gone), dry_run)


def _subject(
    places: Places,
    reference: Reference,
    architecture: str | Architecture | None,
    disk_type: str | DiskType | None,
) -> StoredManifest:
    if architecture is None and disk_type is None:
        return places.root(reference)
    query = DiskQuery(
        None if architecture is None else architecture_of(architecture),
        None if disk_type is None else disk_type_of(disk_type),
    )
    return places.resolve(reference, query).stored


def _discovered(
    places: Places,
    reference: Reference,
    artifact_type: str | None,
    depth: int | None,
    architecture: str | Architecture | None,
    disk_type: str | DiskType | None,
) -> Discovery:
    root = _subject(places, reference, architecture, disk_type)
    entries = architecture is None and disk_type is None
    depth = MAX_DEPTH if depth is None else min(depth, MAX_DEPTH)
    found, notes = subjects(places.open(reference), root, entries=entries, depth=depth)
    if artifact_type is not None:
        found = tuple(replace(each, referrers=_leading(each.referrers, artifact_type)) for each in found)
        found = tuple(each for each in found if each.referrers or each is found[0])
    return Discovery(reference, reference.at(root.descriptor.digest), found, notes)


def _leading(attached: tuple[Attached, ...], artifact_type: str) -> tuple[Attached, ...]:
    kept = (replace(each, referrers=_leading(each.referrers, artifact_type)) for each in attached)
    return tuple(each for each in kept if each.artifact_type == artifact_type or each.referrers)


def _only(found: Discovery, artifact_type: str | None, digest: str | None) -> Attached:
    there = {each.digest: each for each in found.attached}
    fitting = [each for each in there.values() if artifact_type in {None, each.artifact_type}]
    if digest is not None:
        begin = digest.removeprefix("sha256:").lower()
        if len(begin) < _SHORTEST or not set(begin) <= set("0123456789abcdef"):
            raise UsageError(
                f"{digest[:80]!r} is not a digest", hint=f"write at least {_SHORTEST} of its hexadecimal digits"
            )
        fitting = [each for each in fitting if each.digest.hex.startswith(begin)]
    wanted = " ".join(part for part in (artifact_type, digest) if part)
    if not fitting:
        kinds = ", ".join(sorted({each.artifact_type[:100] for each in there.values()})[:8])
        raise NotFoundError(
            f"nothing of {wanted[:200]} is attached to {found.reference}; "
            + (f"there is {kinds}" if kinds else "nothing is attached")
        )
    if len(fitting) > 1:
        raise NotFoundError(
            f"{len(fitting)} of {wanted[:200]} are attached to {found.reference}: "
            + ", ".join(each.digest.short for each in fitting[:8]),
            hint="choose one with --digest; haulout discover shows them",
        )
    return fitting[0]


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
