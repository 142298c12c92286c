"""File names: those that a push gives (titles), and those accepted from elsewhere. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from haulout.errors import ContentError, UsageError

if TYPE_CHECKING:
    from haulout.disk import DiskFormat, DiskType
    from haulout.oci import Architecture, Reference
    from haulout.resolve import ResolvedDisk

_LONGEST: Final = 200
_SAFE: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+@~ -]{{0,{_LONGEST - 1}}}")
_MAX_TYPE: Final = 40
_COMPRESSED: Final = (".zst", ".zstd", ".gz", ".xz", ".bz2")


def base_name(reference: Reference) -> str:
    """Return the NAME of titles for ``reference``: the last part of its repository, or of the layout's folder."""
    last = reference.name.rstrip("/").rpartition("/")[2].removeprefix("oci:").removeprefix("oci-archive:")
    return _plain(last) or "disk"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text).strip(".-")


def title_for(name: str, architecture: Architecture, disk_type: DiskType) -> str:
    """Return ``NAME.<arch>.<disktype>.<ext>.zst``, the form Podman machine's cache depends on.

    Raises:
        UsageError: ``name`` is too long, or would not be a plain file name.
    """
    title = f"{name}.{architecture}.{disk_type}.{disk_type.disk_format.extension}.zst"
    room = _LONGEST - (len(title) - len(name))
    if len(name) > room:
        raise UsageError(
            f"{name[:40]!r}… is too long for a title: {len(name)} characters; at most {room} fit",
            hint="choose a shorter one with --title",
        )
    if _SAFE.fullmatch(title) is None:
        raise UsageError(
            f"{name!r} cannot begin a title", hint="use only letters, digits and . _ -, and do not begin with a dot"
        )
    return title


def is_plain_name(title: str) -> bool:
    """Return whether a title may be used as a file name: no path, no hidden file, nothing to escape."""
    return _SAFE.fullmatch(title) is not None


def file_name(found: ResolvedDisk, as_format: DiskFormat | None) -> str:
    """Return the name for a pulled disk where the user gave none.

    Raises:
        ContentError: the publisher's title is not a plain file name; it is never used as a path.
    """
    title = found.title
    if title is None:
        # An unknown disk type is whatever its publisher wrote.
        parts = [base_name(found.reference), found.architecture, _plain(found.disk_type or "")[:_MAX_TYPE]]
        title = ".".join(str(part) for part in parts if part) + ".disk"
    elif not is_plain_name(title):
        raise ContentError(
            f"the disk is titled {title[:80]!r}, which is not a plain file name", hint="name the file with --output"
        )
    for suffix in _COMPRESSED:
        title = title.removesuffix(suffix)
    if as_format is not None and not title.endswith(f".{as_format.extension}"):
        title = f"{title}.{as_format.extension}"
    return title
