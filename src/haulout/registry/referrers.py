"""Lists referrers (distribution-spec, "Listing Referrers")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from haulout.errors import ContentError, DeniedError, NotFoundError, RegistryError
from haulout.oci import MAX_MANIFEST_BYTES, Index
from haulout.registry import fallback, manifests
from haulout.registry.errcode import codes
from haulout.registry.pages import read_pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.http import Answer
    from haulout.oci import Descriptor, Digest
    from haulout.registry.access import Access, ReferrersMemory

MAX_PAGES: Final = 64
MAX_ENTRIES: Final = 4096
_UNKNOWN: Final = frozenset({404, 405, 501})
"""What a registry without the API answers (distribution-spec: 404). Others answer what they like."""
_ANY: Final = frozenset(range(200, 600)) - {408, 429}


def list_referrers(
    access: Access,
    memory: ReferrersMemory,
    subject: Digest,
    artifact_type: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> tuple[Descriptor, ...]:
    """List what points at ``subject``.

    Anything but a list is taken for a registry without the API, whose list is under the fallback tag.

    Args:
        access: where.
        memory: what is known of the repository.
        subject: whose referrers.
        artifact_type: only those of this type.
        note: receives a line where the API answers neither with a list nor as one that is missing.

    Raises:
        InvalidManifest: the list under the fallback tag is not an image index.
        RegistryError: the list does not end.
    """
    found = None if memory.lacks_api else _from_api(access, memory, subject, artifact_type, note)
    if found is None:
        index = fallback.read(access, subject)
        found = index.manifests if index is not None else ()
    # Again on our side: filtering is optional for registries.
    return tuple(entry for entry in found if artifact_type is None or entry.artifact_type == artifact_type)


def _from_api(
    access: Access,
    memory: ReferrersMemory,
    subject: Digest,
    artifact_type: str | None,
    note: Callable[[str], None],
) -> tuple[Descriptor, ...] | None:
    what = f"the referrers of {access.name}@{subject}"
    query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
    pages = read_pages(
        access, f"referrers/{subject}{query}", what=what, most=MAX_MANIFEST_BYTES, pages=MAX_PAGES, accept=_ANY
    )
    found: list[Descriptor] = []
    try:
        first = next(pages)
        if first.status in _UNKNOWN:
            # An unknown repository says nothing about the API.
            memory.lacks_api = "NAME_UNKNOWN" not in codes(first.body)
            return None
        found += _page(first, what)
    except (RegistryError, DeniedError, NotFoundError, ContentError) as exc:
        # Harbor, Quay and Nexus had 400, 406, 500 and web pages here. Who may read the repository was asked before.
        memory.lacks_api = True
        note(f"{access.host.name} does not list referrers ({exc}); reading the fallback tag instead")
        return None
    for page in pages:
        found += _page(page, what)
        if len(found) > MAX_ENTRIES:
            break
    if len(found) > MAX_ENTRIES:
        raise RegistryError(f"{what}: more than {MAX_ENTRIES} entries")
    return tuple(found)


def _page(page: Answer, what: str) -> tuple[Descriptor, ...]:
    if page.status != 200:
        raise RegistryError(f"{what}: {page.host} answers {page.phrase}", status=page.status)
    manifests.refuse_web_page(page, what)
    return Index.parse(page.body, what).manifests
