"""From a reference and a query to one disk, over the three shapes and the container disk.

Requests, in the common case: the index, and the chosen manifest. More are made only where an index does not say what
its entries are, and never more than :data:`MAX_READ`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from haulout.content import BlobReader, ManifestReader, ReferrerLister, StoredManifest, read_blob
from haulout.errors import (
    ContentError,
    HauloutError,
    InvalidManifest,
    InvalidPlatform,
    NoMatchingDisk,
    NotFoundError,
    SizeMismatch,
)
from haulout.oci import Architecture, Descriptor, Digest, Index, Manifest, Reference, json, parse_any
from haulout.oci import annotations as keys
from haulout.resolve.choose import choose, choose_layer, spelled
from haulout.resolve.disk import ResolvedDisk, Shape
from haulout.resolve.query import CONTAINER_DISK
from haulout.resolve.recognise import (
    Candidate,
    Role,
    annotated_type,
    architecture_of,
    classify,
    disk_layers,
    file_layers,
    is_attachment,
    is_directory,
    look_inside,
    tar_layers,
    type_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from haulout.resolve.query import DiskQuery

MAX_READ: Final = 64
"""Most manifests read to resolve one reference."""
MAX_NESTING: Final = 3
"""Deepest index in an index that is followed."""
MAX_REFERRERS: Final = 64
"""Most referrers of one manifest that are considered."""


_BOOTABLE: Final = "containers.bootc"
"""Label of a bootable container image."""


class Source(ManifestReader, BlobReader, ReferrerLister, Protocol):
    """What resolving needs of a store."""


def resolve(
    store: Source, reference: Reference, query: DiskQuery, *, root: StoredManifest | None = None
) -> ResolvedDisk:
    """Find the one disk that ``reference`` and ``query`` mean.

    Args:
        store: the repository or layout that ``reference`` names.
        reference: where to look; its digest takes precedence over its tag.
        query: which disk.
        root: what ``reference`` names, where that was read before; None: it is read.

    Raises:
        NotFoundError: no such reference; or it is a container image without disks.
        NoMatchingDisk: it holds disks, but none that fits, or several, and only the user can choose.
        ContentError: a manifest is not what it claims to be.
    """
    return _Resolving(store, reference, query).run(root)


def container_image_error(reference: Reference) -> NotFoundError:
    """Return the error for an ordinary container image, also after its layers were searched without success."""
    return NotFoundError(
        f"{reference} is a container image, not a disk, and no disk is attached to it",
        hint="run it with podman; to see what the reference holds: haulout inspect",
    )


def confidential_workload_error(reference: Reference) -> NotFoundError:
    """Return the error for an image that only runs encrypted."""
    return NotFoundError(
        f"{reference} is a confidential workload, not a disk", hint=f"to see what it is: haulout cw inspect {reference}"
    )


class _Resolving:
    def __init__(self, store: Source, reference: Reference, query: DiskQuery) -> None:
        self._store = store
        self._reference = reference
        self._name = str(reference)
        self._query = query
        self._read: dict[Digest, tuple[StoredManifest, Manifest | Index]] = {}
        self._damage: ContentError | None = None
        """The first damaged manifest met while looking around; reported if nothing else does."""

    def run(self, root: StoredManifest | None) -> ResolvedDisk:
        root = root or self._store.manifest(self._reference.selector)
        parsed = root.parse(self._name)
        self._read[root.descriptor.digest] = root, parsed
        if isinstance(parsed, Index):
            return self._index(root.descriptor, parsed)
        return self._single(root.descriptor, parsed)

    # Shape 3: one manifest

    def _single(self, descriptor: Descriptor, manifest: Manifest) -> ResolvedDisk:
        candidate = look_inside(classify(replace(descriptor, artifact_type=manifest.artifact_type)), manifest)
        if not manifest.is_container or candidate.role is Role.DISK:
            return self._file_in(candidate, manifest)
        inherited = self._container_architecture(manifest)
        attached = self._attached(descriptor.digest, inherited)
        chosen = self._choose(attached)
        if chosen is not None:
            return self._chosen(chosen, Shape.REFERRERS)
        if spelled(attached):
            raise self._nothing(spelled(attached))
        return self._container_disk(descriptor, inherited)

    def _file_in(self, candidate: Candidate, manifest: Manifest) -> ResolvedDisk:
        if not self._query.takes_architecture(candidate.architecture) or not self._query.takes_type(
            candidate.disk_type
        ):
            raise NoMatchingDisk(self._name, str(self._query), [str(candidate)])
        return self._disk(candidate, manifest, Shape.SINGLE)

    # Shape 1: an index

    def _index(self, descriptor: Descriptor, index: Index) -> ResolvedDisk:
        candidates = list(self._flatten(index, None, MAX_NESTING))
        chosen = choose(candidates, self._query, self._name, settled=False)
        if chosen is None:
            candidates = self._looked_into(candidates)
            chosen = self._choose(candidates)
        if chosen is not None:
            return self._chosen(chosen, Shape.INDEX)
        attached = self._attached_to_containers(descriptor.digest, candidates)
        chosen = self._choose(attached)
        if chosen is not None:
            return self._chosen(chosen, Shape.REFERRERS)
        there = spelled([*candidates, *attached])
        files = [] if there else self._files(candidates)
        if len(files) == 1:
            return self._chosen(files[0], Shape.INDEX)
        containers = [item for item in candidates if item.role is Role.CONTAINER]
        if (there and self._query.disk_type != CONTAINER_DISK) or not containers:
            raise self._nothing(there)
        fitting = [item for item in containers if self._query.takes_architecture(item.architecture)]
        if not fitting:
            raise self._nothing(list(dict.fromkeys(f"{_go(item.architecture)} container" for item in containers)))
        return self._container_disk(fitting[0].descriptor, fitting[0].architecture)

    def _flatten(self, index: Index, inherited: Architecture | None, depth: int) -> Iterator[Candidate]:
        for entry in index.manifests:
            candidate = classify(entry, inherited)
            if candidate.role is not Role.INDEX:
                yield candidate
            # Each nested index once: listing one a thousand times over must not cost a million entries.
            elif depth and entry.digest not in self._read and self._query.takes_architecture(candidate.architecture):
                _, nested = self._get(entry)
                assert isinstance(nested, Index)
                yield from self._flatten(nested, candidate.architecture, depth - 1)

    def _looked_into(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Read the manifests that may fit and whose descriptors say too little."""
        return [self._look(item) if self._may_fit(item) else item for item in candidates]

    def _files(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the artifacts that nothing marks as disks, but that hold files and may fit."""
        return [
            item
            for item in candidates
            if item.role is Role.UNKNOWN
            and self._query.takes_architecture(item.architecture)
            and item.descriptor.digest in self._read
            and isinstance(manifest := self._read[item.descriptor.digest][1], Manifest)
            and file_layers(manifest)
        ]

    def _may_fit(self, item: Candidate) -> bool:
        says_enough = item.role is Role.ATTACHMENT or (item.role is Role.DISK and item.disk_type is not None)
        return not says_enough and self._query.takes_architecture(item.architecture) and len(self._read) < MAX_READ

    def _look(self, item: Candidate) -> Candidate:
        try:
            _, manifest = self._get(item.descriptor)
        except NotFoundError:
            # Left behind by a partial copy, or deleted under a list of referrers. Another entry may do.
            return item
        except ContentError as exc:
            self._damage = self._damage or exc
            return item
        return look_inside(item, manifest) if isinstance(manifest, Manifest) else item

    def _nothing(self, there: list[str]) -> HauloutError:
        return self._damage or NoMatchingDisk(self._name, str(self._query), there)

    def _choose(self, candidates: Sequence[Candidate]) -> Candidate | None:
        return choose(candidates, self._query, self._name)

    # Shape 2: attached to a bootable container image

    def _attached_to_containers(self, index: Digest, candidates: Sequence[Candidate]) -> list[Candidate]:
        found: list[Candidate] = []
        for item in candidates:
            if item.role is Role.CONTAINER and self._query.takes_architecture(item.architecture):
                found.extend(self._attached(item.descriptor.digest, item.architecture))
                if self._choose(found) is not None:
                    return found
        return found + self._attached(index, None)

    def _attached(self, subject: Digest, inherited: Architecture | None) -> list[Candidate]:
        referrers = self._store.referrers(subject)
        # The list comes from outside: only what may be a disk is looked at, and only so much of it.
        likely = [entry for entry in referrers if not is_attachment(entry.artifact_type)][:MAX_REFERRERS]
        return self._looked_into([classify(entry, inherited) for entry in likely])

    # The container disk

    def _container_disk(
        self, descriptor: Descriptor, architecture: Architecture | None, shape: Shape = Shape.SINGLE
    ) -> ResolvedDisk:
        stored, manifest = self._get(descriptor)
        assert isinstance(manifest, Manifest)
        if keys.WORKLOAD in manifest.annotations:
            raise confidential_workload_error(self._reference)
        layers = tar_layers(manifest)
        if not layers or self._is_bootable(manifest):
            raise self._damage or container_image_error(self._reference)
        if not self._query.takes_architecture(architecture):
            raise self._nothing([f"{_go(architecture)} container"])
        return ResolvedDisk(
            self._reference,
            shape,
            stored,
            manifest,
            layers,
            architecture,
            disk_type=annotated_type(descriptor.annotations),
            container_disk=True,
            asked=self._query,
        )

    def _config(self, manifest: Manifest) -> dict[str, Any]:
        what = f"image config of {self._name}"
        return json.loads(read_blob(self._store, manifest.config, json.MAX_MANIFEST_BYTES, what), what)

    def _container_architecture(self, manifest: Manifest) -> Architecture | None:
        name = self._config(manifest).get("architecture")
        try:
            return Architecture.parse(name) if isinstance(name, str) else None
        except InvalidPlatform:
            return None

    def _is_bootable(self, manifest: Manifest) -> bool:
        """Return whether an image says that it boots by itself (bootc): it is large, and nobody searches it."""
        try:
            runtime = self._config(manifest).get("config")
        except (ContentError, NotFoundError):
            return False
        labels = runtime.get("Labels") if isinstance(runtime, dict) else None
        return isinstance(labels, dict) and labels.get(_BOOTABLE) in {"1", "true"}

    # All shapes

    def _chosen(self, candidate: Candidate, shape: Shape) -> ResolvedDisk:
        _, manifest = self._get(candidate.descriptor)
        if not isinstance(manifest, Manifest):
            raise InvalidManifest(str(candidate.descriptor.digest), "a disk entry must be a manifest, not an index")
        if manifest.is_container and not disk_layers(manifest):
            return self._container_disk(candidate.descriptor, candidate.architecture, shape)
        return self._disk(candidate, manifest, shape)

    def _disk(self, candidate: Candidate, manifest: Manifest, shape: Shape) -> ResolvedDisk:
        # What the entry says was weighed already: the layer need not say it again, and may say it in other words.
        stated = replace(
            self._query,
            architecture=None if candidate.architecture else self._query.architecture,
            disk_type=None if candidate.disk_type else self._query.disk_type,
        )
        layer = choose_layer(manifest, stated, self._name)
        if layer is None and any(is_directory(each) for each in manifest.layers):
            raise ContentError(
                f"{self._name} is a directory that oras pushed, not a disk",
                hint=f"fetch the directory with oras pull {self._name}; a disk in it is published with haulout push",
            )
        if layer is None:
            raise ContentError(
                f"{self._name} is an artifact of type {manifest.effective_artifact_type[:80]} and holds no disk",
                hint="to see what the reference holds: haulout inspect",
            )
        stored, _ = self._read[candidate.descriptor.digest]
        return ResolvedDisk(
            self._reference,
            shape,
            stored,
            manifest,
            (layer,),
            candidate.architecture or architecture_of(layer),
            candidate.disk_type or type_of(layer),
            asked=self._query,
        )

    def _get(self, entry: Descriptor) -> tuple[StoredManifest, Manifest | Index]:
        what = f"manifest {entry.digest} of {self._name}"
        if entry.digest not in self._read:
            if len(self._read) > MAX_READ:
                raise ContentError(f"{self._name} leads to more than {MAX_READ} manifests", hint="ask by digest")
            stored = self._store.manifest(entry.digest)
            if stored.descriptor.size != entry.size:
                raise SizeMismatch(what, entry.size, stored.descriptor.size)
            self._read[entry.digest] = stored, parse_any(stored.data, what, entry.media_type)
        found = self._read[entry.digest]
        # One digest must not be two documents, whatever two entries say of it.
        if found[1].media_type != entry.media_type:
            raise InvalidManifest(what, f"it is announced as {entry.media_type}, but is {found[1].media_type}")
        return found


def _go(architecture: Architecture | None) -> str:
    return architecture.go if architecture else "unknown"
