"""Storing the manifests that a push writes: all have the empty config, and some a subject."""

from __future__ import annotations

import io
import random
import time
from typing import TYPE_CHECKING, Final

from haulout.errors import RegistryError
from haulout.oci import EMPTY, empty_config_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from haulout.content import Store
    from haulout.oci import Descriptor, Manifest

_TRIES: Final = 6
_BAD_REQUEST: Final = 400


def put_artifact(
    store: Store,
    layers: tuple[Descriptor, ...],
    artifact_type: str,
    *,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
    tag: str | None = None,
) -> tuple[Descriptor, Manifest]:
    """Store a manifest with the empty config, and the config with it.

    Args:
        store: the layers are in it already.
        layers: of the manifest.
        artifact_type: of the manifest.
        annotations: of the manifest.
        subject: what it is attached to.
        tag: what it is stored under; None: its digest alone.

    Raises:
        HauloutError: as storing a manifest does.
    """
    manifest = empty_config_manifest(
        layers, artifact_type=artifact_type, subject=subject, annotations=dict(annotations or {})
    )
    _put_config(store)
    return put_manifest(store, manifest.to_bytes(), manifest.media_type, tag), manifest


def put_manifest(store: Store, data: bytes, media_type: str, tag: str | None = None) -> Descriptor:
    """Store a manifest, trying again where the registry does not see yet what another publisher uploads this moment.

    docker-registry 2.8 rewrites the link of a blob that is uploaded twice at once (every artifact shares the empty
    config), and for that instant refuses manifests that name it, with status 400.

    Raises:
        RegistryError: it refuses each time.
    """
    for attempt in range(_TRIES):
        try:
            return store.push_manifest(data, media_type, tag)
        except RegistryError as exc:
            if exc.status != _BAD_REQUEST or attempt == _TRIES - 1:
                raise
            time.sleep(random.uniform(0.02, 0.1) * 2**attempt)  # noqa: S311 - jitter, not a secret
            _put_config(store)
    raise AssertionError("the loop returns or raises")


def _put_config(store: Store) -> None:
    store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
