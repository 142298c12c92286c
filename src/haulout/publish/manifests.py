"""Storing the manifests that a push writes: all have the empty config, and some a subject."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from haulout.oci import EMPTY, empty_config_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from haulout.content import Store
    from haulout.oci import Descriptor, Manifest


def put_artifact(
    store: Store,
    layers: tuple[Descriptor, ...],
    artifact_type: str,
    *,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
) -> tuple[Descriptor, Manifest]:
    """Store a manifest with the empty config, and the config with it.

    Args:
        store: the layers are in it already.
        layers: of the manifest.
        artifact_type: of the manifest.
        annotations: of the manifest.
        subject: what it is attached to.

    Raises:
        HauloutError: as storing a manifest does.
    """
    manifest = empty_config_manifest(
        layers, artifact_type=artifact_type, subject=subject, annotations=dict(annotations or {})
    )
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
    return store.push_manifest(manifest.to_bytes(), manifest.media_type), manifest
