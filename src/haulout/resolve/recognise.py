"""Distinguish disks, containers and attachments by what their publishers wrote. Pure; every rule names its source.

Nothing here is trusted beyond choosing what to fetch: the disk itself is inspected after it was verified.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from haulout.disk import DiskFormat
from haulout.errors import InvalidPlatform
from haulout.oci import Architecture, Descriptor, Manifest, mediatype
from haulout.oci import annotations as keys
from haulout.resolve.query import canonical_type

if TYPE_CHECKING:
    from collections.abc import Mapping


class Role(StrEnum):
    """What a manifest is for."""

    DISK = "disk"
    CONTAINER = "container"
    ATTACHMENT = "attachment"
    """Signatures, attestations, bills of materials, tables of contents: never a disk."""
    INDEX = "index"
    UNKNOWN = "unknown"
    """The descriptor does not say; the manifest must be read."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A manifest as far as it is known."""

    descriptor: Descriptor
    role: Role
    architecture: Architecture | None
    disk_type: str | None

    def __str__(self) -> str:
        return "/".join(part for part in (self.architecture, self.disk_type or "unknown type") if part)


_EXTENSIONS: Final = {name.extension: name.disk_type.value for name in DiskFormat} | {"qcow": "qemu", "vhd": "vhd"}
_COMPRESSIONS: Final = {
    "zst": "zst",
    "zstd": "zst",
    "gz": "gz",
    "gzip": "gz",
    "xz": "xz",
    "bz2": "bz2",
    "bzip2": "bz2",
    "lz4": "lz4",
    "zip": "zip",
}
_VENDOR_DISK = re.compile(
    # lf-edge/edge-containers, mediatypes.md · KubeVirt VEP 256 · Flight Control and RHACM ("vnd.diskimage.raw.gzip")
    r"application/(?:vnd\.lfedge\.disk(?:\.layer)?(?:\.v\d+)?\+|vnd\.kubevirt\.disk\.|vnd\.diskimage\.|x-)"
    # "x-tar" is the type of any archive.
    rf"({'|'.join(sorted({*_EXTENSIONS, 'ova'} - {'tar'}))})(?:[.+-]?disk)?(?:[.+](zstd?|gz|gzip|xz|bz2))?"
)
_ATTACHMENT = re.compile(
    r"sigstore|cosign|notary|in-toto|spdx|cyclonedx|sbom|openvex|csaf|signature|attestation|io\.github\.haulout\."
)
_TAR_LAYER = re.compile(
    r"application/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1|docker\.image\.rootfs\.(?:foreign\.)?diff)"
    r"\.tar(?:[.+](?:gzip|zstd))?"
)
_ARCHITECTURE = re.compile(
    r"(?:^|[._-])(x86_64|amd64|x64|aarch64|arm64|riscv64|ppc64le|s390x|armv7l|i686|i386|loongarch64|loong64)"
    r"(?=[._-]|$)",
    re.IGNORECASE,
)


def classify(entry: Descriptor, inherited: Architecture | None = None) -> Candidate:
    """Classify an index entry or referrer by its descriptor alone.

    Args:
        entry: the descriptor.
        inherited: the architecture of what it is attached to or nested in.
    """
    return Candidate(entry, _role(entry), architecture_of(entry) or inherited, type_of(entry))


def _role(entry: Descriptor) -> Role:
    platform = entry.platform
    stated = keys.DISKTYPE in entry.annotations
    if entry.is_index:
        role = Role.INDEX
    elif (
        entry.media_type not in mediatype.MANIFESTS
        or keys.REFERENCE_TYPE in entry.annotations
        or (is_attachment(entry.artifact_type) and not stated)
    ):
        role = Role.ATTACHMENT
    elif entry.artifact_type in mediatype.IMAGE_CONFIGS and not stated:
        role = Role.CONTAINER
    # Podman's builders give disk entries the kernel's names of architectures, so as not to be taken for containers.
    elif type_of(entry) is not None or (platform is not None and platform.is_kernel_named):
        role = Role.DISK
    elif entry.artifact_type is None and platform is not None and platform.known_architecture is not None:
        role = Role.CONTAINER
    else:
        role = Role.UNKNOWN
    return role


def look_inside(candidate: Candidate, manifest: Manifest) -> Candidate:
    """Classify a manifest that has been read; what its descriptor states takes precedence."""
    entry = candidate.descriptor
    layers = disk_layers(manifest)
    kind = candidate.disk_type or annotated_type(manifest.annotations)
    if kind is None:
        kinds = {type_of(layer) for layer in layers}
        kind = kinds.pop() if len(kinds) == 1 else None
    architectures = {_architecture_in(layer.title) for layer in layers}
    named = architectures.pop() if len(architectures) == 1 else None
    platform = entry.platform.known_architecture if entry.platform else None
    architecture = platform or named or candidate.architecture
    if candidate.role is Role.DISK or layers:
        role = Role.DISK
    elif manifest.is_container:
        role = Role.CONTAINER
    elif is_attachment(manifest.effective_artifact_type):
        role = Role.ATTACHMENT
    else:
        role = Role.DISK if kind is not None else Role.UNKNOWN
    return Candidate(entry, role, architecture, kind)


def disk_layers(manifest: Manifest) -> tuple[Descriptor, ...]:
    """Return the layers that look like disks, by title or media type."""
    return tuple(layer for layer in file_layers(manifest) if _looks_like_disk(layer))


def file_layers(manifest: Manifest) -> tuple[Descriptor, ...]:
    """Return the layers that may be files at all: no file system of a container, no directory, no table of our own."""
    ours = {mediatype.TOC, mediatype.HINTS, mediatype.CRUMBS, mediatype.OCI_EMPTY}
    return tuple(
        layer
        for layer in manifest.layers
        if not is_tar_layer(layer) and not is_directory(layer) and layer.media_type not in ours
    )


def tar_layers(manifest: Manifest) -> tuple[Descriptor, ...]:
    """Return the file system layers of a container image."""
    return tuple(layer for layer in manifest.layers if is_tar_layer(layer))


def is_tar_layer(layer: Descriptor) -> bool:
    """Whether it is a file system layer of a container image.

    oras gives files of unknown type the media type of a tar layer, but also a title, which tar layers never have.
    """
    return layer.title is None and _TAR_LAYER.fullmatch(layer.media_type) is not None


def is_directory(layer: Descriptor) -> bool:
    """Whether it is the archive of a directory, as ``oras push DIR`` marks it."""
    return layer.annotations.get(keys.UNPACK) == "true"


def is_attachment(artifact_type: str | None) -> bool:
    """Whether an artifact type is one of those attached to things, never a disk."""
    return artifact_type is not None and _ATTACHMENT.search(artifact_type) is not None


def type_of(descriptor: Descriptor) -> str | None:
    """Return the disk type a descriptor states: annotation, media type, artifact type, title; in this order."""
    stated = annotated_type(descriptor.annotations)
    if stated is not None:
        return stated
    for media_type in (descriptor.media_type, descriptor.artifact_type or ""):
        found = _VENDOR_DISK.fullmatch(media_type)
        if found is not None:
            return _EXTENSIONS.get(found[1])
    return _EXTENSIONS.get(_extensions(descriptor.title)[0] or "")


def annotated_type(annotations: Mapping[str, str]) -> str | None:
    """Return the disk type that annotations state, None where they state none."""
    value = annotations.get(keys.DISKTYPE)
    return canonical_type(value) if value else None


def compression_of(layer: Descriptor) -> str | None:
    """Return ``zst``, ``gz``, ``xz``, ``bz2``, ``lz4`` or ``zip``; ``none`` for a bare disk; None where nothing says.

    A guess for choosing and showing: the decoder looks at the bytes.
    """
    form, packed = _extensions(layer.title)
    if packed is not None:
        return packed
    vendor = _VENDOR_DISK.fullmatch(layer.media_type)
    if vendor is not None:
        return _COMPRESSIONS.get(vendor[2] or "", "none")
    suffix = re.split(r"[/+.]", layer.media_type)[-1].removeprefix("x-")
    if suffix in _COMPRESSIONS:
        return _COMPRESSIONS[suffix]
    return "none" if form in _EXTENSIONS else None


def architecture_of(descriptor: Descriptor) -> Architecture | None:
    """Return the architecture a descriptor states by platform or title."""
    platform = descriptor.platform.known_architecture if descriptor.platform else None
    return platform or _architecture_in(descriptor.title)


def _looks_like_disk(layer: Descriptor) -> bool:
    form = _extensions(layer.title)[0]
    return type_of(layer) is not None or form == "img" or _VENDOR_DISK.fullmatch(layer.media_type) is not None


def _extensions(title: str | None) -> tuple[str | None, str | None]:
    """Return the format's and the compression's extension of a title, each None where absent."""
    parts = (title or "").lower().split(".")
    packed = _COMPRESSIONS.get(parts[-1]) if len(parts) > 1 else None
    if packed is not None:
        parts.pop()
    return (parts[-1] if len(parts) > 1 else None), packed


def _architecture_in(title: str | None) -> Architecture | None:
    found = _ARCHITECTURE.search(title or "")
    try:
        return Architecture.parse(found[1]) if found else None
    except InvalidPlatform:
        return None
