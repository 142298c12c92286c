"""Content: the ports of a place that holds it, and the places that need no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.content.announcements import ANNOUNCEMENT_LIFE_MS, Announcement, announcement_in
    from haulout.content.archive import ArchiveStore, ArchiveWriter, replacing_archive
    from haulout.content.collect import Collected, collect
    from haulout.content.copy import Copied, CopyOptions, CopyTarget, copy
    from haulout.content.copy_plan import CopyPlan
    from haulout.content.dry_run import DryRunStore
    from haulout.content.expand import STEP, expand, sniff
    from haulout.content.fallback import deleted_with_its_line
    from haulout.content.graph import Graph, read_graph
    from haulout.content.layout import LayoutStore
    from haulout.content.memory import MemoryStore
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
    from haulout.content.subjects import Node
    from haulout.content.verify import VerifiedFile, VerifiedReader, open_verified, read_blob

__all__ = [
    "ANNOUNCEMENT_LIFE_MS",
    "STEP",
    "Announcement",
    "ArchiveStore",
    "ArchiveWriter",
    "BlobReader",
    "BlobStream",
    "Collected",
    "Copied",
    "CopyOptions",
    "CopyPlan",
    "CopyTarget",
    "Deleter",
    "Distrusting",
    "DryRunStore",
    "Graph",
    "Ingest",
    "LayoutStore",
    "ManifestReader",
    "MemoryStore",
    "Node",
    "ReferrerLister",
    "Remembered",
    "RememberingStore",
    "SharedIndex",
    "Store",
    "StoredManifest",
    "TaggedIndex",
    "VerifiedFile",
    "VerifiedReader",
    "announcement_in",
    "collect",
    "copy",
    "deleted_with_its_line",
    "expand",
    "open_verified",
    "read_blob",
    "read_graph",
    "replacing_archive",
    "sniff",
]

open_face(
    __name__,
    {
        "announcements": ("ANNOUNCEMENT_LIFE_MS", "Announcement", "announcement_in"),
        "collect": ("Collected", "collect"),
        "archive": ("ArchiveStore", "ArchiveWriter", "replacing_archive"),
        "copy": ("Copied", "CopyOptions", "CopyTarget", "copy"),
        "copy_plan": ("CopyPlan",),
        "dry_run": ("DryRunStore",),
        "expand": ("STEP", "expand", "sniff"),
        "fallback": ("deleted_with_its_line",),
        "graph": ("Graph", "read_graph"),
        "layout": ("LayoutStore",),
        "memory": ("MemoryStore",),
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
        "subjects": ("Node",),
        "verify": ("VerifiedFile", "VerifiedReader", "open_verified", "read_blob"),
    },
)
