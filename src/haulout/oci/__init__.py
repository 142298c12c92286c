"""OCI values: digests, references, platforms, descriptors, manifests, indexes. Pure; parsed once, passed as values."""

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.oci import annotations, json, mediatype
    from haulout.oci.annotations import SizedDigest
    from haulout.oci.descriptor import EMPTY, Descriptor
    from haulout.oci.digest import Digest
    from haulout.oci.json import MAX_MANIFEST_BYTES, loads
    from haulout.oci.manifest import Index, Manifest, empty_config_manifest, manifest_media_type, parse_any
    from haulout.oci.mediatype import INDEXES, MANIFESTS
    from haulout.oci.platform import Architecture, Platform
    from haulout.oci.reference import ArchiveReference, LayoutReference, Reference, RegistryReference, parse_reference
    from haulout.oci.tags import fallback_tag, is_helper_tag, subject_of_tag

__all__ = [
    "EMPTY",
    "INDEXES",
    "MANIFESTS",
    "MAX_MANIFEST_BYTES",
    "Architecture",
    "ArchiveReference",
    "Descriptor",
    "Digest",
    "Index",
    "LayoutReference",
    "Manifest",
    "Platform",
    "Reference",
    "RegistryReference",
    "SizedDigest",
    "annotations",
    "empty_config_manifest",
    "fallback_tag",
    "is_helper_tag",
    "json",
    "loads",
    "manifest_media_type",
    "mediatype",
    "parse_any",
    "parse_reference",
    "subject_of_tag",
]

open_face(
    __name__,
    {
        "annotations": ("SizedDigest",),
        "descriptor": ("EMPTY", "Descriptor"),
        "digest": ("Digest",),
        "json": ("MAX_MANIFEST_BYTES", "loads"),
        "manifest": ("Index", "Manifest", "empty_config_manifest", "manifest_media_type", "parse_any"),
        "mediatype": ("INDEXES", "MANIFESTS"),
        "platform": ("Architecture", "Platform"),
        "reference": ("ArchiveReference", "LayoutReference", "Reference", "RegistryReference", "parse_reference"),
        "tags": ("fallback_tag", "is_helper_tag", "subject_of_tag"),
    },
)
