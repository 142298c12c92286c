"""Quirks and limits of particular registries, as tables: no API announces them."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

MIB: Final = 1024 * 1024
MANIFEST_ATTEMPTS: Final = 6
"""Attempts to store a manifest that is refused with status 400, see :meth:`RegistryRepository.push_manifest`."""
ASKED_FROM: Final = 16 * MIB
"""Bytes from which asking whether a blob is there, before it is sent, is worth a request of its own."""
_DOCKER_HUB_API: Final = "registry-1.docker.io"
DOCKER_HUB_HOSTS: Final = frozenset({"docker.io", "index.docker.io", _DOCKER_HUB_API})


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Limits of one registry, in bytes."""

    chunk: int = 8 * MIB
    """Size of a PATCH, where blobs must be sent in pieces."""
    largest_blob: int | None = None
    """Blobs above this are known to be refused; shown to the user once that has happened."""


_LIMITS: Final = (
    # PATCH of more than 4 MiB is refused: oras-project/rust-oci-client issue 35.
    # 10 GB per layer: GitHub's documentation.
    ("ghcr.io", UploadLimits(4 * MIB, 10_000_000_000)),
    # Parts of at least 5 MiB: dotnet/sdk-container-builds issue 424. 52 000 MiB per layer: Amazon's quotas.
    ("*.dkr.ecr.*.amazonaws.com", UploadLimits(10 * MIB, 52_000 * MIB)),
    ("public.ecr.aws", UploadLimits(10 * MIB, 10_000 * MIB)),
    # 20 GB per blob: oras-project/oras-py pull request 137.
    ("quay.io", UploadLimits(8 * MIB, 20_000_000_000)),
)


def limits_for(host: str) -> UploadLimits:
    """Look up a host; the defaults where nothing is known of it."""
    return next((limits for pattern, limits in _LIMITS if fnmatchcase(host, pattern)), UploadLimits())


def api_host(host: str) -> str:
    """Return where a host serves its API."""
    return _DOCKER_HUB_API if host in DOCKER_HUB_HOSTS else host
