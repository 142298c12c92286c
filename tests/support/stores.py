"""Blobs and manifests put into stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout.oci import Descriptor, Index, Manifest, mediatype

if TYPE_CHECKING:
    from haulout.content.ports import Store


BLOB = b"0123456789" * 100


def put(store: Store, data: bytes = BLOB, media_type: str = mediatype.ZSTD) -> Descriptor:
    with store.ingest() as ingest:
        half = len(data) // 2
        ingest.write(data[:half])
        ingest.write(memoryview(data)[half:])
        return ingest.commit(media_type)


def put_manifest(store: Store, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
    return store.push_manifest(manifest.to_bytes(), manifest.media_type, tag)
