"""References: which registry repository or layout on disk, and which tag or digest in it.

Grammar (distribution-spec, "Pulling manifests"; the whole string must match)::

    reference  = registry | layout | archive
    registry   = ["docker://" | "oci://"] host [":" port] "/" repository [":" tag] ["@" digest]
    layout     = "oci:" directory [":" tag] ["@" digest]
    archive    = "oci-archive:" file [":" tag] ["@" digest]
    host       = dot-separated labels, "localhost", an IPv4 address, or "[" IPv6 "]"
    repository = component *("/" component)        component: lowercase letters, digits, "." "_" "__" "-"
    tag        = [A-Za-z0-9_] then up to 127 of [A-Za-z0-9_.-]

The host is never guessed: ``debian:12`` is refused, and the error shows the full name, because a client that fills in a
registry asks a stranger's for your image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast

from haulout.errors import InvalidDigest, InvalidReference
from haulout.oci.digest import Digest

DOCKER_HUB: Final = "docker.io"
_SCHEMES: Final = ("docker://", "oci://")
_MAX_REPOSITORY: Final = 255
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_TAG_REST = re.compile(r"[A-Za-z0-9_.-]*")


class _Named:
    """What all kinds of reference can do. Each is a dataclass with ``tag`` and ``digest`` as its last fields."""

    __slots__ = ()
    json_members: ClassVar = str

    if TYPE_CHECKING:
        tag: str | None
        digest: Digest | None

    @property
    def name(self) -> str:
        """The place alone, as it is written."""
        raise NotImplementedError

    @property
    def selector(self) -> str | Digest:
        """What to ask its place for: the digest, else the tag."""
        return self.digest or self.tag or "latest"

    def at(self, digest: Digest) -> Self:
        """The same place, pinned to ``digest``."""
        return self._selecting(None, digest)

    def with_tag(self, tag: str) -> Self:
        """The same place under another tag."""
        return self._selecting(tag, None)

    def _selecting(self, tag: str | None, digest: Digest | None) -> Self:
        # Their fields cannot begin here: those of a base class would come first.
        made: Self = replace(cast("Any", self), tag=tag, digest=digest)
        return made

    def __str__(self) -> str:
        return f"{self.name}{f':{self.tag}' if self.tag else ''}{f'@{self.digest}' if self.digest else ''}"


@dataclass(frozen=True, slots=True)
class RegistryReference(_Named):
    """``host/repository[:tag][@digest]``; at least one of tag and digest, ``latest`` where neither was given."""

    host: str
    """Host and optional port, as typed, lower-cased."""
    repository: str
    tag: str | None
    digest: Digest | None

    @property
    def name(self) -> str:
        """``host/repository``."""
        return f"{self.host}/{self.repository}"


@dataclass(frozen=True, slots=True)
class LayoutReference(_Named):
    """``oci:DIR:TAG``: an OCI image layout on disk (image-spec, image-layout.md)."""

    directory: str
    tag: str | None
    digest: Digest | None

    def __post_init__(self) -> None:
        if self.directory.startswith("//"):
            # ``oci://`` begins a reference to a registry; the folder is the same with one slash.
            object.__setattr__(self, "directory", f"/{self.directory.lstrip('/')}")

    @property
    def name(self) -> str:
        """``oci:DIR``."""
        return f"oci:{self.directory}"


@dataclass(frozen=True, slots=True)
class ArchiveReference(_Named):
    """``oci-archive:FILE:TAG``: a tar archive of an OCI image layout, as Podman and skopeo write and read it."""

    file: str
    tag: str | None
    """None with no digest either: the only image in it."""
    digest: Digest | None

    @property
    def name(self) -> str:
        """``oci-archive:FILE``."""
        return f"oci-archive:{self.file}"

    @property
    def selector(self) -> str | Digest:
        """What to ask its place for: the digest, else the tag; "" for the only image."""
        return self.digest or self.tag or ""


Reference = RegistryReference | LayoutReference | ArchiveReference


def parse_reference(text: str) -> Reference:
    """Parse any reference.

    Raises:
        InvalidReference: pointing at the first character that does not fit.
    """
    if not text:
        raise InvalidReference(text, 0, "it is empty", hint=_EXAMPLES)
    for position, character in enumerate(text):
        if not character.isprintable():
            raise InvalidReference(text, position, f"unprintable character {character!r}")
    # oci:// is how Helm, Ironic and Metal3 write a registry; a layout has no slashes that mean nothing.
    scheme = next((scheme for scheme in _SCHEMES if text.startswith(scheme)), "")
    if text.startswith("oci:") and not scheme:
        directory, tag, digest = _parse_local(text, "oci:", "the directory is missing", "write oci:DIR:TAG")
        return LayoutReference(directory, tag or (None if digest else "latest"), digest)
    if text.startswith("oci-archive:"):
        return ArchiveReference(
            *_parse_local(text, "oci-archive:", "the file is missing", "write oci-archive:FILE:TAG")
        )
    for wrong in ("http://", "https://"):
        if text.startswith(wrong):
            raise InvalidReference(text, 0, f"{wrong} does not belong in a reference", hint="write host/repository:tag")
    return _parse_registry(text, len(scheme))


_EXAMPLES: Final = "write host/repository:tag, host/repository@sha256:…, oci:DIR:TAG or oci-archive:FILE:TAG"


def _parse_registry(text: str, start: int) -> RegistryReference:
    body, digest = _cut_digest(text)
    slash = body.find("/", start)
    if slash == start and start:
        hint = f"for an image layout write oci:{text[start:]}" if text.startswith("oci:") else _EXAMPLES
        raise InvalidReference(text, start, "no registry host", hint=hint)
    if slash < 0:
        name = body[start:].split(":")[0]
        raise InvalidReference(
            text,
            start,
            "no registry host",
            hint=f"spell the host out, for example {DOCKER_HUB}/library/{name or 'name'}:tag, or use oci:DIR:TAG",
        )
    host = body[start:slash]
    found = _HOST.match(host)
    if found is None or found.end() != len(host):
        raise InvalidReference(text, start + (found.end() if found else 0), f"{host[:80]!r} is not a host name")
    if "." not in host and ":" not in host and host.lower() != "localhost":
        raise InvalidReference(
            text,
            start,
            f"{host!r} does not look like a registry host",
            hint=f"did you mean {DOCKER_HUB}/{text[start:]}? the host is never guessed",
        )
    _, colon, port = host.rpartition(":")
    if colon and not host.endswith("]") and not 0 < int(port) < 65536:
        raise InvalidReference(text, start + host.rindex(":") + 1, f"{port} is not a port")
    rest_start = slash + 1
    colon_at = body.find(":", rest_start)
    repository = body[rest_start : colon_at if colon_at >= 0 else len(body)]
    _check_repository(text, repository, rest_start)
    tag = None
    if colon_at >= 0:
        tag = _check_tag(text, body[colon_at + 1 :], colon_at + 1)
    if tag is None and digest is None:
        tag = "latest"
    host = host.lower()
    if host == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return RegistryReference(host, repository, tag, digest)


def _parse_local(text: str, scheme: str, missing: str, hint: str) -> tuple[str, str | None, Digest | None]:
    start = len(scheme)
    body, digest = _cut_digest(text)
    colon = body.rfind(":", start)
    # A colon before a slash belongs to the path, as in oci:/mnt/a:b/layout.
    if colon >= 0 and "/" in body[colon:]:
        colon = -1
    path = body[start : colon if colon >= 0 else len(body)]
    if not path:
        raise InvalidReference(text, start, missing, hint=hint)
    return path, _check_tag(text, body[colon + 1 :], colon + 1) if colon >= 0 else None, digest


def _cut_digest(text: str) -> tuple[str, Digest | None]:
    at = text.rfind("@")
    is_local = text.startswith(("oci:", "oci-archive:")) and not text.startswith(_SCHEMES)
    if at < 0 or (is_local and "/" in text[at:]):
        return text, None
    try:
        return text[:at], Digest.parse(text[at + 1 :])
    except InvalidDigest as exc:
        raise InvalidReference(text, at + 1, "expected sha256: and 64 lowercase hexadecimal digits") from exc


def _check_repository(text: str, repository: str, start: int) -> None:
    if not repository:
        raise InvalidReference(text, start, "the repository is missing")
    if len(repository) > _MAX_REPOSITORY:
        raise InvalidReference(text, start + _MAX_REPOSITORY, f"a repository has at most {_MAX_REPOSITORY} characters")
    position = start
    for component in repository.split("/"):
        found = _COMPONENT.match(component)
        end = found.end() if found else 0
        if end != len(component) or not component:
            wrong = component[end : end + 1]
            reason = f"{wrong!r} does not belong in a repository name" if wrong else "a name is missing"
            hint = (
                f"repositories are lower-case: {text.replace(repository, repository.lower(), 1)}"
                if wrong.isupper()
                else None
            )
            raise InvalidReference(text, position + end, reason, hint=hint)
        position += len(component) + 1


def _check_tag(text: str, tag: str, start: int) -> str:
    if _TAG.fullmatch(tag) is None:
        found = _TAG_REST.match(tag)
        end = min(found.end() if found else 0, 128)
        if not tag:
            raise InvalidReference(text, start, "the tag is missing")
        if tag[0] in ".-":
            end = 0
        reason = (
            f"{tag[end]!r} does not belong in a tag"
            if end < len(tag) and end < 128
            else "a tag has at most 128 characters"
        )
        raise InvalidReference(text, start + end, reason)
    return tag
