"""Content descriptors (image-spec, descriptor.md) as values."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from haulout.errors import InvalidDigest, InvalidManifest
from haulout.oci import annotations as keys
from haulout.oci import mediatype
from haulout.oci.digest import Digest
from haulout.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SIZE: Final = 1 << 56
"""Largest size believed (64 PiB): beyond it, arithmetic on offsets is an attack, not a disk."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What, how large and under which digest. Foreign ``urls`` are kept when rewriting and never followed."""

    json_members: ClassVar = ("title", "media_type", "digest", "size", "annotations")

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    artifact_type: str | None = None
    data: bytes | None = None
    """The content itself, embedded; already checked against digest and size."""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Fields we do not read, kept so that rewriting an index loses nothing."""

    @classmethod
    def of(cls, media_type: str, content: bytes, **rest: Any) -> Self:
        """Describe ``content``."""
        return cls(media_type, Digest.of(content), len(content), **rest)

    @classmethod
    def from_json(cls, value: object, path: str) -> Self:
        """Read the descriptor found at JSON ``path``.

        Raises:
            InvalidManifest: a member is missing, of the wrong type or out of range, or ``data`` does not match.
        """
        if not isinstance(value, dict):
            raise InvalidManifest("descriptor", "an object is expected", path=path)
        rest = dict(value)
        media_type = rest.pop("mediaType", None)
        if not isinstance(media_type, str) or not media_type:
            raise InvalidManifest("descriptor", "mediaType is missing", path=path)
        digest = _digest(rest.pop("digest", None), path)
        size = rest.pop("size", None)
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MAX_SIZE:
            raise InvalidManifest("descriptor", f"{str(size)[:40]} is not a size", path=f"{path}.size")
        platform = rest.pop("platform", None)
        artifact_type = rest.pop("artifactType", None)
        if artifact_type is not None and not isinstance(artifact_type, str):
            raise InvalidManifest("descriptor", "a string is expected", path=f"{path}.artifactType")
        return cls(
            media_type,
            digest,
            size,
            annotations_from_json(rest.pop("annotations", None), path),
            None if platform is None else Platform.from_json(platform, f"{path}.platform"),
            artifact_type,
            _data(rest.pop("data", None), digest, size, path),
            rest,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object in Podman's key order."""
        out: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.data is not None:
            out["data"] = base64.b64encode(self.data).decode()
        out |= self.extra
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        if self.platform is not None:
            out["platform"] = self.platform.to_json()
        if self.artifact_type:
            out["artifactType"] = self.artifact_type
        return out

    def bare(self) -> Self:
        """Return only media type, digest and size, as a ``subject`` is written."""
        return replace(self, annotations={}, platform=None, artifact_type=None, data=None, extra={})

    @property
    def title(self) -> str | None:
        """The file name its publisher gave it; untrusted text, never a path."""
        return self.annotations.get(keys.TITLE)

    @property
    def is_index(self) -> bool:
        """Whether it points to an image index or a Docker manifest list."""
        return self.media_type in mediatype.INDEXES


EMPTY: Final = Descriptor(mediatype.OCI_EMPTY, Digest.of(b"{}"), 2, data=b"{}")
"""The empty config (image-spec, manifest.md, "Guidance for an Empty Descriptor")."""


def annotations_from_json(value: object, path: str) -> dict[str, str]:
    """Read an ``annotations`` object; absent and null are empty.

    Raises:
        InvalidManifest: not an object of strings.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidManifest("annotations", "an object of strings is expected", path=f"{path}.annotations")
    return value


def _digest(text: object, path: str) -> Digest:
    try:
        return Digest.parse(text if isinstance(text, str) else "")
    except InvalidDigest as exc:
        raise InvalidManifest("descriptor", str(exc), path=f"{path}.digest") from exc


def _data(text: object, digest: Digest, size: int, path: str) -> bytes | None:
    if text is None:
        return None
    try:
        data = base64.b64decode(text if isinstance(text, str) else "!", validate=True)
    except ValueError as exc:
        # binascii.Error, or a character outside ASCII.
        raise InvalidManifest("descriptor", "data is not base64", path=f"{path}.data") from exc
    if len(data) != size or Digest.of(data) != digest:
        raise InvalidManifest("descriptor", "the embedded data is not what the digest names", path=f"{path}.data")
    return data
