"""Lists tags (distribution-spec, "Listing Tags")."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from haulout.errors import RegistryError
from haulout.http import FOREIGN, Origin, Request, resolve_location
from haulout.registry.links import next_link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.registry.access import Access

MAX_PAGES: Final = 1000
MAX_PAGE: Final = 16 * 1024 * 1024
"""Bytes of one page: registries without pagination send everything at once."""
_PAGE: Final = 1000


def list_tags(access: Access, prefix: str = "") -> Iterator[str]:
    """Yield the tags that begin with ``prefix``, as the registry orders them.

    Raises:
        NotFoundError: no such repository.
        RegistryError: the answer is no list of tags, or does not end.
    """
    what = f"the tags of {access.name}"
    target = f"tags/list?n={_PAGE}"
    if len(prefix) > 1:
        # Everything that begins with the prefix sorts after the prefix without its last character, however a registry
        # collates; one that ignores ``last`` only sends more.
        target = f"{target}&last={quote(prefix[:-1], safe='')}"
    for _ in range(MAX_PAGES):
        document, following = _page(access, target, what)
        names = document.get("tags")
        if names is None:
            names = []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise RegistryError(f"{what}: {access.host.name} does not send a list of tags")
        yield from (name for name in names if name.startswith(prefix))
        if following is None:
            return
        target = following
    raise RegistryError(f"{what}: more than {MAX_PAGES} pages")


def _page(access: Access, target: str, what: str) -> tuple[dict[str, Any], str | None]:
    patience = access.patience(what)
    while True:
        with access.request(Request("GET", target), what=what, patience=patience) as reply:
            try:
                body = reply.body(MAX_PAGE, what)
            except FOREIGN as error:
                patience.after(error, access.host.name)
                continue
            following = next_link(reply.headers.get("link", ""))
            break
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise RegistryError(f"{what}: {access.host.name} does not send JSON") from exc
    if not isinstance(document, dict):
        raise RegistryError(f"{what}: {access.host.name} does not send a list of tags")
    return document, None if following is None else same_origin(access, reply.url, following, what)


def same_origin(access: Access, base: str, link: str, what: str) -> str:
    """Resolve the next page's address, which must be on the registry itself: it is asked with credentials.

    Raises:
        RegistryError: it is elsewhere.
    """
    url = resolve_location(base, link)
    here, there = access.host.origin, Origin.of(url)
    if there.host != here.host:
        raise RegistryError(f"{what}: {access.host.name} continues the list on another host, {there.netloc}")
    # Scheme and port stay ours: registries behind proxies often get them wrong.
    path = url.partition("://")[2].partition("/")
    return f"/{path[2]}"
