"""Tags that are not versions of anything: those that tools write beside what people name. Pure."""

from __future__ import annotations

import re
from typing import Final

from haulout.oci.digest import Digest

_HELPER: Final = re.compile(
    # Ours: announcements of publishers, those of earlier releases among them (docs/formats/registry.md).
    r"haulout\.(?:ref\.[0-9a-f]{32}\.|[0-9a-f]{16}\.).*"
    # Lists of referrers (distribution-spec, "Referrers Tag Schema"), and what cosign keeps beside an image.
    r"|sha(?:256|512)-[0-9a-f]{64}(?:\.[a-z]{1,16})?"
)


def is_helper_tag(tag: str) -> bool:
    """Return whether a tag was written by a tool for its own use: an announcement, a list of referrers, a signature."""
    return _HELPER.fullmatch(tag) is not None


def fallback_tag(subject: Digest) -> str:
    """Return the tag that lists the referrers of a manifest where a registry does not (distribution-spec)."""
    return f"sha256-{subject.hex}"


def subject_of_tag(tag: str) -> Digest | None:
    """Return the manifest to which the content of a tag is attached by the tag's name alone; None for others.

    ``sha256-<hex>`` is the list of referrers, ``sha256-<hex>.sig`` and the like are cosign's.
    """
    return Digest(tag[7:71]) if tag.startswith("sha256-") and is_helper_tag(tag) else None
