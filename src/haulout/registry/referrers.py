"""Lists and maintains referrers (distribution-spec, "Listing Referrers", "Referrers Tag Schema")."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from haulout.errors import ConflictError, InvalidManifest, NotFoundError, RegistryError
from haulout.oci import Descriptor, Digest, Index, Manifest
from haulout.oci.json import MAX_MANIFEST_BYTES
from haulout.registry import manifests
from haulout.registry.errcode import codes
from haulout.registry.failures import FOREIGN
from haulout.registry.host import take_answer
from haulout.registry.links import next_link
from haulout.registry.request import Request
from haulout.registry.tags import same_origin

if TYPE_CHECKING:
    from haulout.registry.access import Access

MAX_PAGES: Final = 64
MAX_ENTRIES: Final = 4096
_NO_API: Final = frozenset({404, 405, 501})
_TRIES: Final = 12
_CHECKS: Final = 2
"""Times an entry must be seen after writing before it counts as there."""
_FIRST_CHECK: Final = 0.05


class ReferrersMemory:
    """What is known of one repository, shared by all its users in this process."""

    def __init__(self) -> None:
        self.lacks_api = False
        self.writing = Lock()
        """One writer of fallback tags at a time, so that our own threads do not race each other."""


def fallback_tag(subject: Digest) -> str:
    """The tag under which referrers are kept where the API is missing."""
    return f"sha256-{subject.hex}"


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
        index = _read_fallback(access, subject, is_strict=False)
        found = index.manifests if index is not None else ()
    # Again on our side: filtering is optional for registries.
    return tuple(entry for entry in found if artifact_type is None or entry.artifact_type == artifact_type)


def add(access: Access, memory: ReferrersMemory, subject: Digest, entry: Descriptor) -> None:
    """Enter a referrer into the fallback tag's index; does nothing where it is there.

    There is no lock between publishers: each looks again after writing, later than another's write can be that began
    before, and writes again what another has undone.

    Raises:
        InvalidManifest: the tag is something else than an index, and is left alone.
        ConflictError: others kept undoing it.
    """
    tag = fallback_tag(subject)
    with memory.writing:
        for number in range(_TRIES):
            began = time.monotonic()
            index = _read_fallback(access, subject, is_strict=True) or Index(())
            if all(there.digest != entry.digest for there in index.manifests):
                updated = replace(index, manifests=(*index.manifests, entry))
                manifests.write(access, updated.to_bytes(), updated.media_type, tag)
            elif number == 0:
                return
            took = time.monotonic() - began
            if _stays(access, subject, entry, max(_FIRST_CHECK, 2 * took)):
                return
    raise ConflictError(
        f"{access.name}:{tag}: other publishers kept replacing this list of referrers", hint="try again in a moment"
    )


def describe(descriptor: Descriptor, document: Manifest | Index) -> Descriptor:
    """Make the entry of a referrer: its artifact type (or its config's type), and all its annotations."""
    kind = document.effective_artifact_type if isinstance(document, Manifest) else document.artifact_type
    return replace(descriptor, artifact_type=kind, annotations=document.annotations)


def _stays(access: Access, subject: Digest, entry: Descriptor, wait: float) -> bool:
    for _ in range(_CHECKS):
        time.sleep(wait * (0.5 + random.random()))  # noqa: S311 - keeps publishers apart, keeps no secret
        index = _read_fallback(access, subject, is_strict=True)
        if index is None or all(there.digest != entry.digest for there in index.manifests):
            return False
    return True


def _read_fallback(access: Access, subject: Digest, *, is_strict: bool) -> Index | None:
    try:
        stored = manifests.read(access, fallback_tag(subject))
    except NotFoundError:
        return None
    what = manifests.describe(access, fallback_tag(subject))
    if not stored.descriptor.is_index:
        if is_strict:
            raise InvalidManifest(what, "it is kept for the list of referrers, but holds something else")
        # GitLab resolves this tag to the subject itself (oras-go issue 1396).
        return None
    return Index.parse(stored.data, what, stored.descriptor.media_type)


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
