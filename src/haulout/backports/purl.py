"""Package URLs (https://github.com/package-url/purl-spec). Pure."""

from __future__ import annotations

import re
from urllib.parse import quote


def purl(name: str, version: str, url: str | None, commit: str) -> str:
    """Return the package URL of a library at a version.

    A Go module is ``pkg:golang``; anything else is ``pkg:generic`` with where its source is, as far as that is known.

    Args:
        name: its Go module, or what it is called.
        version: of a tag, or a pseudo-version.
        url: where the clone came from.
        commit: the full id.
    """
    path = "/".join(quote(part, safe="-._~") for part in name.split("/"))
    if re.match(r"[\w-]+(?:\.[\w-]+)+/", name):
        return f"pkg:golang/{path}@{quote(version, safe='-._~')}"
    where = f"?vcs_url=git%2B{quote(url, safe='')}%40{commit}" if url and re.match(r"https?://[^@/]+/", url) else ""
    return f"pkg:generic/{path}@{quote(version, safe='-._~')}{where}"
