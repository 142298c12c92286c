"""Publishing by hand, as other tools do: one blob, one manifest, one index."""

from __future__ import annotations

import io
from functools import partial

from haulout.oci import (
    Descriptor,
    Index,
    Manifest,
    Platform,
    RegistryReference,
    empty_config_manifest,
    mediatype,
    parse_reference,
)
from haulout.oci import annotations as keys
from haulout.oci.descriptor import EMPTY
from haulout.registry import ConnectionOptions, Registries


def publish_container(server, repository, tag, config, *layers):
    """Publish a container image of these layers, tar archives packed by gzip."""
    reference = parse_reference(f"{server.host}/{repository}:{tag}")
    assert isinstance(reference, RegistryReference)
    described = Descriptor.of(mediatype.OCI_CONFIG, config)
    tars = tuple(Descriptor.of("application/vnd.oci.image.layer.v1.tar+gzip", layer) for layer in layers)
    with Registries(ConnectionOptions()) as registries, registries.repository(reference, push=True) as store:
        for descriptor, data in zip((described, *tars), (config, *layers), strict=True):
            store.push_blob(descriptor, partial(io.BytesIO, data))
        manifest = Manifest(described, tars)
        store.push_manifest(manifest.to_bytes(), manifest.media_type, tag)


def publish_blob(
    server, repository, tag, blob, title, disk_type, architecture="x86_64", media_type="application/zstd", disk=None
):
    """Publish ``blob`` as the only disk of a tag, in the form of Podman machine; without a title if it is None.

    ``disk`` is what the manifest states of the plain disk, if anything.
    """
    reference = parse_reference(f"{server.host}/{repository}:{tag}")
    assert isinstance(reference, RegistryReference)
    with Registries(ConnectionOptions()) as registries, registries.repository(reference, push=True) as store:
        layer = Descriptor.of(media_type, blob, annotations={} if title is None else {keys.TITLE: title})
        store.push_blob(layer, lambda: io.BytesIO(blob))
        store.push_blob(EMPTY, lambda: io.BytesIO(b"{}"))
        manifest = empty_config_manifest((layer,), annotations={} if disk is None else {keys.DISK: str(disk)})
        described = store.push_manifest(manifest.to_bytes(), manifest.media_type)
        entry = Descriptor(
            described.media_type,
            described.digest,
            described.size,
            annotations={keys.DISKTYPE: disk_type},
            platform=Platform(architecture, "linux"),
        )
        index = Index((entry,))
        store.push_manifest(index.to_bytes(), index.media_type, tag)
