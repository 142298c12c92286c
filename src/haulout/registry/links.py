"""Pagination by Link headers (RFC 8288), as tags and referrers use it."""

from __future__ import annotations

import re
from typing import Final

_LINK: Final = re.compile(r"<([^>]*)>((?:[^,\"]|\"[^\"]*\")*)")
_NEXT: Final = re.compile(r";\s*rel\s*=\s*\"?next\"?(?:\s|;|$)", re.IGNORECASE)
_MAX_HEADER: Final = 8192


def next_link(header: str) -> str | None:
    """Find the target of ``rel="next"``; None on the last page."""
    for found in _LINK.finditer(header[:_MAX_HEADER]):
        if _NEXT.search(found[2]):
            return found[1]
    return None
