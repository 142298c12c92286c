"""Media and artifact types, named once."""

from __future__ import annotations

from typing import Final

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"

ZSTD: Final = "application/zstd"
OCTETS: Final = "application/octet-stream"

DISK_ARTIFACT: Final = "application/vnd.io.github.haulout.disk.v1"
"""Artifact type of a disk manifest. Podman ignores it; the image specification demands one beside an empty config."""
TOC_ARTIFACT: Final = "application/vnd.io.github.haulout.toc.v1"
"""Artifact type of the referrer that carries TOC and hints."""
TOC: Final = "application/vnd.io.github.haulout.toc.v1+binary"
HINTS: Final = "application/vnd.io.github.haulout.hints.v1+binary"
CRUMBS: Final = "application/vnd.io.github.haulout.crumbs.v1+binary"
DELTA_ARTIFACT: Final = "application/vnd.io.github.haulout.delta.v1"
"""Artifact type of the referrer that carries a published delta."""
DELTA_INDEX: Final = "application/vnd.io.github.haulout.delta.index.v1+zstd"
DELTA_HINTS: Final = "application/vnd.io.github.haulout.delta.hints.v1+binary"
DELTA_DATA: Final = "application/vnd.io.github.haulout.delta.data.v1+binary"
INTENT_ARTIFACT: Final = "application/vnd.io.github.haulout.intent.v1"
"""Artifact type of a publisher's announced index entry (docs/formats/registry.md, "Two publishers")."""

TRACE_ARTIFACT: Final = "application/vnd.io.github.haulout.boot-trace.v1"
"""Artifact type of the referrer that carries a boot trace (docs/formats/trace.md)."""
TRACE: Final = "application/vnd.io.github.haulout.boot-trace.v1+binary"

MACHINE_ARTIFACT: Final = "application/vnd.io.github.haulout.machine.v1"
"""Artifact type of an exported machine: of its index, and of the manifest with its file (docs/formats/machine.md)."""
MACHINE_DATA: Final = "application/vnd.io.github.haulout.machine.data.v1"
"""Artifact type of a manifest that lists chunks of its data disk."""
MACHINE: Final = "application/vnd.io.github.haulout.machine.v1+json"
MACHINE_CHUNK: Final = "application/vnd.io.github.haulout.machine.chunk.v1+zstd"
SEALED: Final = "application/vnd.io.github.haulout.sealed.v1"

INDEXES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
IMAGE_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
