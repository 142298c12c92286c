"""Storing the manifests that a push writes: all have the empty config, and some a subject."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from haulout.oci import EMPTY, empty_config_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from haulout.content import Store
    from haulout.oci import Descriptor, Manifest


def put_empty_config(store: Store, mount_from: str | None = None) -> None:
    """Store the config of all our manifests.

    Put before a large blob, it says whether anything of ours is in a repository already.

    Args:
        store: where.
        mount_from: a repository of the same registry that has it, for sure.

    Raises:
        HauloutError: as storing a blob does.
    """
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"), mount_from=mount_from)


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
    put_empty_config(store)
    return store.push_manifest(manifest.to_bytes(), manifest.media_type), manifest
