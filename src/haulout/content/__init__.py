"""Content: the ports of a place that holds it, and the places that need no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.content.expand import STEP, expand, sniff
    from haulout.content.fallback import deleted_with_its_line
    from haulout.content.layout import LayoutStore
    from haulout.content.ports import (
        BlobReader,
        BlobStream,
        Deleter,
        Distrusting,
        Ingest,
        ManifestReader,
        ReferrerLister,
        Store,
        StoredManifest,
    )
    from haulout.content.remember import Remembered, RememberingStore
    from haulout.content.shared_index import SharedIndex, TaggedIndex
    from haulout.content.verify import VerifiedFile, VerifiedReader, read_blob

__all__ = [
    "STEP",
    "BlobReader",
    "BlobStream",
    "Deleter",
    "Distrusting",
    "Ingest",
    "LayoutStore",
    "ManifestReader",
    "ReferrerLister",
    "Remembered",
    "RememberingStore",
    "SharedIndex",
    "Store",
    "StoredManifest",
    "TaggedIndex",
    "VerifiedFile",
    "VerifiedReader",
    "deleted_with_its_line",
    "expand",
    "read_blob",
    "sniff",
]

open_face(
    __name__,
    {
        "expand": ("STEP", "expand", "sniff"),
        "fallback": ("deleted_with_its_line",),
        "layout": ("LayoutStore",),
        "ports": (
            "BlobReader",
            "BlobStream",
            "Deleter",
            "Distrusting",
            "Ingest",
            "ManifestReader",
            "ReferrerLister",
            "Store",
            "StoredManifest",
        ),
        "remember": ("Remembered", "RememberingStore"),
        "shared_index": ("SharedIndex", "TaggedIndex"),
        "verify": ("VerifiedFile", "VerifiedReader", "read_blob"),
    },
)
