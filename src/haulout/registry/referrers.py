"""Lists referrers (distribution-spec, "Listing Referrers")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from haulout.errors import RegistryError
from haulout.oci import MAX_MANIFEST_BYTES, Index
from haulout.registry import fallback, manifests
from haulout.registry.errcode import codes
from haulout.registry.pages import read_pages

if TYPE_CHECKING:
    from haulout.oci import Descriptor, Digest
    from haulout.registry.access import Access, ReferrersMemory

MAX_PAGES: Final = 64
MAX_ENTRIES: Final = 4096
_NO_API: Final = frozenset({404, 405, 501})


def list_referrers(
    access: Access, memory: ReferrersMemory, subject: Digest, artifact_type: str | None = None
) -> tuple[Descriptor, ...]:
    """List what points at ``subject``.

    Raises:
        InvalidManifest: the list is not an image index.
        RegistryError: it does not end.
    """
    found = None if memory.lacks_api else _from_api(access, memory, subject, artifact_type)
    if found is None:
        index = fallback.read(access, subject, is_strict=False)
        found = index.manifests if index is not None else ()
    # Again on our side: filtering is optional for registries.
    return tuple(entry for entry in found if artifact_type is None or entry.artifact_type == artifact_type)


def _from_api(
    access: Access, memory: ReferrersMemory, subject: Digest, artifact_type: str | None
) -> tuple[Descriptor, ...] | None:
    what = f"the referrers of {access.name}@{subject}"
    query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
    target = f"referrers/{subject}{query}"
    found: list[Descriptor] = []
    accept = _NO_API | {200}
    for page in read_pages(access, target, what=what, most=MAX_MANIFEST_BYTES, pages=MAX_PAGES, accept=accept):
        if page.status in _NO_API:
            # An unknown repository says nothing about the API.
            memory.lacks_api = "NAME_UNKNOWN" not in codes(page.body)
            return None
        manifests.refuse_web_page(page, what)
        found += Index.parse(page.body, what).manifests
        if len(found) > MAX_ENTRIES:
            raise RegistryError(f"{what}: more than {MAX_ENTRIES} entries")
    return tuple(found)
