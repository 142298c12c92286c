"""Lists that come in pages, linked by Link headers (RFC 8288), as tags and referrers use them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from haulout.errors import RegistryError
from haulout.http import Origin, Request, resolve_location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.http import Answer
    from haulout.registry.access import Access

_LINK: Final = re.compile(r"<([^>]*)>((?:[^,\"]|\"[^\"]*\")*)")
_NEXT: Final = re.compile(r";\s*rel\s*=\s*\"?next\"?(?:\s|;|$)", re.IGNORECASE)
_MAX_HEADER: Final = 8192


def read_pages(
    access: Access,
    target: str,
    *,
    what: str,
    most: int,
    pages: int,
    accept: frozenset[int] = frozenset({200}),
    tries: int | None = None,
) -> Iterator[Answer]:
    """Yield the pages of a list.

    Args:
        access: where.
        target: the first page.
        what: names the list, to begin errors with.
        most: bytes of one page.
        pages: how many are read.
        tries: attempts per page; None: as usual.
        accept: statuses that are returned; one that is not 200 ends the list.

    Raises:
        RegistryError: the list goes on elsewhere, or does not end.
    """
    for _ in range(pages):
        attempts = access.attempts(what, tries)
        answer = access.read(Request("GET", target), what=what, most=most, accept=accept, attempts=attempts)
        yield answer
        link = next_link(answer.headers.get("link", "")) if answer.status == 200 else None
        if link is None:
            return
        target = same_origin(access, answer.url, link, what)
    raise RegistryError(f"{what}: more than {pages} pages")


def next_link(header: str) -> str | None:
    """Find the target of ``rel="next"``; None on the last page."""
    for found in _LINK.finditer(header[:_MAX_HEADER]):
        if _NEXT.search(found[2]):
            return found[1]
    return None


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
