"""Lists tags (distribution-spec, "Listing Tags")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from haulout.errors import RegistryError
from haulout.registry.pages import read_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.registry.access import Access

MAX_PAGES: Final = 1000
MAX_PAGE: Final = 16 * 1024 * 1024
"""Bytes of one page: registries without pagination send everything at once."""
_PAGE: Final = 1000


def list_tags(access: Access, prefix: str = "", *, optional: bool = False) -> Iterator[str]:
    """Yield the tags that begin with ``prefix``, as the registry orders them; where ``optional``, after one try.

    Raises:
        NotFoundError: no such repository.
        RegistryError: the answer is not a list of tags, or does not end.
    """
    what = f"the tags of {access.name}"
    target = f"tags/list?n={_PAGE}"
    if len(prefix) > 1:
        # Everything that begins with the prefix sorts after the prefix without its last character, however a registry
        # collates; one that ignores ``last`` only sends more.
        target = f"{target}&last={quote(prefix[:-1], safe='')}"
    # To a push the list is optional: it must not wait for a registry that has none.
    tries = 1 if optional or access.writes else None
    for page in read_pages(access, target, what=what, most=MAX_PAGE, pages=MAX_PAGES, tries=tries):
        names = page.json_object(what).get("tags")
        if names is None:
            names = []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise RegistryError(f"{what}: {access.host.name} does not send a list of tags")
        yield from (name for name in names if name.startswith(prefix))
