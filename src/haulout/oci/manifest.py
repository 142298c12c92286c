"""Image manifests and image indexes (image-spec) as values, parsed strictly and written as Podman writes them."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from haulout.errors import InvalidManifest
from haulout.oci import json, mediatype
from haulout.oci.descriptor import EMPTY, Descriptor, annotations_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_DIGEST: Final = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]{32,512}")
MAX_ENTRIES: Final = 4096
"""Most layers or index entries read."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest (image-spec, manifest.md; Docker schema 2 reads alike)."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = mediatype.OCI_MANIFEST
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, data: bytes, what: str, media_type: str | None = None) -> Self:
        """Parse the bytes of a manifest.

        Args:
            data: as received, already checked against its digest.
            what: what it is, for errors.
            media_type: what the descriptor or Content-Type announced.

        Raises:
            InvalidManifest: wrong schema, or the body says it is another type than announced.
        """
        rest = _document(data, what, media_type)
        if "manifests" in rest or "fsLayers" in rest:
            raise InvalidManifest(what, "it claims to be a manifest and an index at once")
        kind = _media_type(rest, what, media_type, mediatype.OCI_MANIFEST, mediatype.MANIFESTS)
        with _parts_of(what):
            return cls(
                Descriptor.from_json(rest.pop("config", None), "config"),
                _descriptors(rest.pop("layers", None), what, "layers"),
                kind,
                _artifact_type(rest, what),
                _subject(rest),
                annotations_from_json(rest.pop("annotations", None), "manifest"),
                rest,
            )

    def to_bytes(self) -> bytes:
        """Serialise compactly, in the key order of Podman's own manifests."""
        layers = [layer.to_json() for layer in self.layers]
        return _written(self, {"config": self.config.to_json(), "layers": layers})

    @property
    def effective_artifact_type(self) -> str:
        """``artifactType``, or the config's media type where it is absent (image-spec)."""
        return self.artifact_type or self.config.media_type

    @property
    def is_container(self) -> bool:
        """Whether it is a runnable container image rather than an artifact."""
        return self.config.media_type in mediatype.IMAGE_CONFIGS


def empty_config_manifest(
    layers: tuple[Descriptor, ...],
    *,
    artifact_type: str | None = None,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Build an artifact manifest: the empty config, and at least one layer (the empty one if there is none)."""
    return Manifest(
        EMPTY, layers or (EMPTY,), artifact_type=artifact_type, subject=subject, annotations=annotations or {}
    )


@dataclass(frozen=True, slots=True)
class Index:
    """An image index (image-spec, image-index.md; a Docker manifest list reads alike)."""

    manifests: tuple[Descriptor, ...]
    media_type: str = mediatype.OCI_INDEX
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    unusable: Mapping[int, Any] = field(default_factory=dict, hash=False)
    """Entries under digests of other algorithms than ours, by their number: passed over, and kept when rewriting."""

    @classmethod
    def parse(
        cls, data: bytes, what: str, media_type: str | None = None, *, largest: int = json.MAX_MANIFEST_BYTES
    ) -> Self:
        """Parse the bytes of an index; arguments and errors as :meth:`Manifest.parse`.

        With another ``largest``, for a file of this machine, that many bytes bound its entries, and not their number.
        """
        rest = _document(data, what, media_type, largest)
        most = MAX_ENTRIES if largest <= json.MAX_MANIFEST_BYTES else largest
        if "layers" in rest or "fsLayers" in rest or "config" in rest:
            raise InvalidManifest(what, "it claims to be an index and a manifest at once")
        kind = _media_type(rest, what, media_type, mediatype.OCI_INDEX, mediatype.INDEXES)
        with _parts_of(what):
            entries = rest.pop("manifests", None)
            unusable = {}
            if isinstance(entries, list):
                unusable = {number: entry for number, entry in enumerate(entries) if _is_foreign(entry)}
                _require_few(entries, what, "manifests", most)
                entries = [entry for number, entry in enumerate(entries) if number not in unusable]
            return cls(
                _descriptors(entries, what, "manifests", most),
                kind,
                _artifact_type(rest, what),
                _subject(rest),
                annotations_from_json(rest.pop("annotations", None), "index"),
                rest,
                unusable,
            )

    def to_bytes(self) -> bytes:
        """Serialise compactly; fields we do not read are kept."""
        entries = [entry.to_json() for entry in self.manifests]
        for number, entry in self.unusable.items():
            entries.insert(number, entry)
        return _written(self, {"manifests": entries})


def parse_any(data: bytes, what: str, media_type: str | None = None) -> Manifest | Index:
    """Parse a manifest or an index, whichever ``media_type`` (else the document) says it is.

    Raises:
        InvalidManifest: neither, or both.
    """
    kind = manifest_media_type(data, what, media_type)
    return Index.parse(data, what, kind) if kind in mediatype.INDEXES else Manifest.parse(data, what, kind)


def manifest_media_type(data: bytes, what: str, announced: str | None = None) -> str:
    """Say which kind of manifest or index the bytes are: as announced, else as they say, else by their shape.

    Raises:
        InvalidManifest: not JSON, or announced as something that is neither.
    """
    if announced is not None and announced in mediatype.INDEXES | mediatype.MANIFESTS:
        return announced
    document = json.loads(data, what)
    stated = document.get("mediaType")
    if isinstance(stated, str) and stated in mediatype.INDEXES | mediatype.MANIFESTS:
        return stated
    if announced is not None and announced not in {"application/json", mediatype.OCTETS}:
        raise InvalidManifest(what, f"its media type is {announced[:80]!r}, which is neither a manifest nor an index")
    return mediatype.OCI_INDEX if "manifests" in document else mediatype.OCI_MANIFEST


def _document(data: bytes, what: str, media_type: str | None, largest: int = json.MAX_MANIFEST_BYTES) -> dict[str, Any]:
    document = json.loads(data, what, largest=largest)
    version = document.pop("schemaVersion", None)
    if version == 1 and version is not True:
        raise InvalidManifest(what, "Docker schema 1 is not supported", hint="push the image again with a current tool")
    if version != 2 or isinstance(version, bool):
        announced = f" (announced as {media_type})" if media_type else ""
        raise InvalidManifest(what, f"schemaVersion must be 2{announced}")
    return document


def _media_type(rest: dict[str, Any], what: str, announced: str | None, default: str, accepted: frozenset[str]) -> str:
    # A body that says one type under a descriptor that says another is how one digest becomes two documents
    # (CVE-2021-41190).
    stated = rest.pop("mediaType", None)
    if stated is not None and not isinstance(stated, str):
        raise InvalidManifest(what, "mediaType must be a string")
    kind = stated or announced or default
    if announced in mediatype.INDEXES | mediatype.MANIFESTS and kind != announced:
        raise InvalidManifest(what, f"announced as {announced}, but the body says {kind[:80]}")
    if kind not in accepted:
        raise InvalidManifest(what, f"its media type is {kind[:80]!r}, where {default!r} is expected")
    return kind


def _descriptors(value: object, what: str, key: str, most: int = MAX_ENTRIES) -> tuple[Descriptor, ...]:
    # Go writes an empty list as null.
    if value is None and key == "manifests":
        return ()
    if not isinstance(value, list):
        raise InvalidManifest(what, "a list is expected", path=key)
    _require_few(value, what, key, most)
    return tuple(Descriptor.from_json(item, f"{key}[{number}]") for number, item in enumerate(value))


def _require_few(entries: Sequence[object], what: str, key: str, most: int) -> None:
    if len(entries) > most:
        raise InvalidManifest(what, f"{len(entries)} entries; at most {most} are accepted", path=key)


def _is_foreign(entry: object) -> bool:
    """Return whether an entry has a valid digest of another algorithm (image-spec, descriptor.md, "Digests")."""
    digest = entry.get("digest") if isinstance(entry, dict) else None
    return isinstance(digest, str) and not digest.startswith("sha256:") and _DIGEST.fullmatch(digest) is not None


def _subject(rest: dict[str, Any]) -> Descriptor | None:
    value = rest.pop("subject", None)
    return None if value is None else Descriptor.from_json(value, "subject")


@contextlib.contextmanager
def _parts_of(what: str) -> Iterator[None]:
    """Say of which document a broken part is one."""
    try:
        yield
    except InvalidManifest as exc:
        if exc.what == what:
            raise
        raise InvalidManifest(what, exc.reason, path=exc.path, hint=exc.hint) from exc


def _artifact_type(rest: dict[str, Any], what: str) -> str | None:
    value = rest.pop("artifactType", None)
    if value is not None and not isinstance(value, str):
        raise InvalidManifest(what, "artifactType must be a string")
    return value or None


def _written(document: Manifest | Index, parts: dict[str, Any]) -> bytes:
    out: dict[str, Any] = {"schemaVersion": 2, "mediaType": document.media_type}
    if document.artifact_type:
        out["artifactType"] = document.artifact_type
    out |= parts
    if document.subject is not None:
        out["subject"] = document.subject.to_json()
    out |= document.extra
    if document.annotations:
        out["annotations"] = dict(document.annotations)
    return json.dumps(out)
