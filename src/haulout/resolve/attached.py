"""What is attached to a reference: referrers at every level, and what cosign's tags hold, as a tree.

Types come from the manifests themselves. Lists of referrers that other tools keep under a fallback tag may be wrong:
cosign 3.1.1 writes the media type of the empty config there (sigstore/cosign issue 4641).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from haulout.content import ManifestReader, ReferrerLister
from haulout.errors import ContentError, DeniedError, NotFoundError, RegistryError
from haulout.oci import Descriptor, Digest, Index, Manifest, mediatype, subject_of_tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from haulout.content import Store, StoredManifest

MAX_ATTACHED: Final = 1024
"""Most attached manifests read."""
MAX_DEPTH: Final = 6
"""Deepest chain of referrers followed."""


class Source(ManifestReader, ReferrerLister, Protocol):
    """What is read."""


@dataclass(frozen=True, slots=True)
class Attached:
    """One manifest that is attached to another."""

    json_members: ClassVar = (
        *("manifest=digest", "artifact_type", "listed_type", "tag", "size", "files=_files", "annotations", "referrers"),
    )

    descriptor: Descriptor
    artifact_type: str
    """By the manifest itself."""
    listed_type: str | None
    """By the list of referrers, where that says something else."""
    tag: str | None
    """Cosign's tag that holds it; None where it refers by ``subject``."""
    annotations: Mapping[str, str] = field(hash=False)
    layers: tuple[Descriptor, ...]
    referrers: tuple[Attached, ...] = ()

    @property
    def digest(self) -> Digest:
        """Of its manifest."""
        return self.descriptor.digest

    @property
    def files(self) -> tuple[Descriptor, ...]:
        """Its layers but empty ones."""
        return tuple(layer for layer in self.layers if layer.media_type != mediatype.OCI_EMPTY)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files)

    @property
    def _files(self) -> list[dict[str, object]]:
        return [
            {"title": file.title, "media_type": file.media_type, "digest": file.digest, "size": file.size}
            for file in self.files
        ]

    def walk(self) -> Iterator[Attached]:
        """Yield it and everything attached to it."""
        yield self
        for each in self.referrers:
            yield from each.walk()


@dataclass(frozen=True, slots=True)
class Subject:
    """A manifest or index of a reference, with what is attached to it."""

    json_members: ClassVar = ("manifest=digest", "platform", "disk_type", "referrers")

    descriptor: Descriptor
    """As its index gives it."""
    referrers: tuple[Attached, ...]

    @property
    def digest(self) -> Digest:
        """Of the manifest."""
        return self.descriptor.digest

    @property
    def platform(self) -> str | None:
        """Operating system and architecture, of an entry that has them."""
        platform = self.descriptor.platform
        return None if platform is None else f"{platform.os}/{platform.architecture}"

    @property
    def disk_type(self) -> str | None:
        """What its entry states."""
        return self.descriptor.annotations.get("disktype")

    def walk(self) -> Iterator[Attached]:
        """Yield everything attached to it."""
        for each in self.referrers:
            yield from each.walk()


def subjects(
    store: Store, root: StoredManifest, *, entries: bool = True, depth: int = MAX_DEPTH
) -> tuple[tuple[Subject, ...], tuple[str, ...]]:
    """Find what is attached to a manifest and, of an index, to its entries.

    Args:
        store: where it is.
        root: the manifest or index.
        entries: whether entries of an index are looked at, too.
        depth: levels of what is attached to what is attached.

    Returns:
        The root, and those entries to which something is attached; and notes of what cannot be read, one line each.

    Raises:
        ContentError: the root is broken.
    """
    parsed = root.parse(f"manifest {root.descriptor.digest}")
    walk = _Walk(store, depth)
    below = parsed.manifests if entries and isinstance(parsed, Index) else ()
    found = [Subject(each, walk.attached(each.digest, depth)) for each in (root.descriptor, *below)]
    return tuple(each for each in found if each.referrers or each is found[0]), tuple(walk.notes)


class _Walk:
    def __init__(self, store: Store, depth: int) -> None:
        self._store = store
        self._read = 0
        self._seen: set[Digest] = set()
        self.notes: list[str] = []
        self._tags: dict[Digest, list[str]] = {}
        try:
            for tag in store.tags("sha256-") if depth else ():
                if "." in tag and (subject := subject_of_tag(tag)) is not None:
                    self._tags.setdefault(subject, []).append(tag)
        except (NotFoundError, DeniedError, RegistryError) as error:
            self.notes.append(f"tags of cosign signatures cannot be looked for: {error}")

    def attached(self, subject: Digest, depth: int) -> tuple[Attached, ...]:
        if depth == 0 or subject in self._seen:
            return ()
        self._seen.add(subject)
        found = [self._one(subject, entry.digest, entry.artifact_type, None, depth) for entry in self._listed(subject)]
        found += [self._one(subject, tag, None, tag, depth) for tag in self._tags.get(subject, ())]
        return tuple(each for each in found if each is not None)

    def _listed(self, subject: Digest) -> tuple[Descriptor, ...]:
        try:
            return self._store.referrers(subject)
        except (NotFoundError, ContentError) as error:
            self.notes.append(f"what is attached to {subject.short} cannot be listed: {error}")
            return ()

    def _one(
        self, subject: Digest, selector: str | Digest, listed: str | None, tag: str | None, depth: int
    ) -> Attached | None:
        self._read += 1
        if self._read > MAX_ATTACHED:
            raise ContentError(f"more than {MAX_ATTACHED} manifests are attached")
        try:
            stored = self._store.manifest(selector)
            parsed = stored.parse(f"manifest {stored.descriptor.digest}")
        except (NotFoundError, ContentError) as error:
            self.notes.append(f"listed as attached to {subject.short}, but: {error}")
            return None
        if tag is None and (parsed.subject is None or parsed.subject.digest != subject):
            self.notes.append(f"listed as attached to {subject.short}, but refers to something else: {selector}")
            return None
        kind = type_of_attached(parsed)
        return Attached(
            stored.descriptor,
            kind,
            listed if listed not in {None, kind} else None,
            tag,
            parsed.annotations,
            parsed.layers if isinstance(parsed, Manifest) else (),
            self.attached(stored.descriptor.digest, depth - 1),
        )


def type_of_attached(parsed: Manifest | Index) -> str:
    """Return what an attached manifest is: its artifact type, else its config's type, else that of its first layer."""
    if isinstance(parsed, Index):
        return parsed.artifact_type or parsed.media_type
    kind = parsed.effective_artifact_type
    # Before artifact types, cosign and others gave the type to the layer alone.
    says_nothing = kind in mediatype.IMAGE_CONFIGS or kind == mediatype.OCI_EMPTY
    return parsed.layers[0].media_type if says_nothing and parsed.layers else kind
