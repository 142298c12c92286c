"""Lists referrers (distribution-spec, "Listing Referrers")."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from haulout.errors import RegistryError
from haulout.http import FOREIGN, Request, codes
from haulout.oci import MAX_MANIFEST_BYTES, Index
from haulout.registry import fallback, manifests
from haulout.registry.host import take_answer
from haulout.registry.links import next_link
from haulout.registry.tags import same_origin

if TYPE_CHECKING:
    from haulout.oci import Descriptor, Digest
    from haulout.registry.access import Access

MAX_PAGES: Final = 64
MAX_ENTRIES: Final = 4096
_NO_API: Final = frozenset({404, 405, 501})


class ReferrersMemory:
    """What is known of one repository, shared by all its users in this process."""

    def __init__(self) -> None:
        self.lacks_api = False
        self.writing = Lock()
        """One writer of fallback tags at a time, so that our own threads do not race each other."""


def list_referrers(
    access: Access, memory: ReferrersMemory, subject: Digest, artifact_type: str | None = None
) -> tuple[Descriptor, ...]:
    """List what points at ``subject``.

    Raises:
        InvalidManifest: the list is no image index.
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
    target: str | None = f"referrers/{subject}{query}"
    found: list[Descriptor] = []
    for _ in range(MAX_PAGES):
        assert target is not None
        page = _page(access, memory, target, what)
        if page is None:
            return None
        index, target = page
        found += index.manifests
        if len(found) > MAX_ENTRIES:
            raise RegistryError(f"{what}: more than {MAX_ENTRIES} entries")
        if target is None:
            return tuple(found)
    raise RegistryError(f"{what}: more than {MAX_PAGES} pages")


def _page(access: Access, memory: ReferrersMemory, target: str, what: str) -> tuple[Index, str | None] | None:
    patience = access.patience(what)
    while True:
        with access.request(Request("GET", target), what=what, accept=_NO_API | {200}, patience=patience) as reply:
            if reply.status in _NO_API:
                # An unknown repository says nothing about the API.
                memory.lacks_api = "NAME_UNKNOWN" not in codes(take_answer(reply).body)
                return None
            manifests.refuse_web_page(reply, what)
            try:
                body = reply.body(MAX_MANIFEST_BYTES, what)
            except FOREIGN as error:
                patience.after(error, access.host.name)
                continue
            link = next_link(reply.headers.get("link", ""))
            following = None if link is None else same_origin(access, reply.url, link, what)
            return Index.parse(body, what), following
